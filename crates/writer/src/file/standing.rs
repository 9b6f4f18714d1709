//! How much of a batch a file already holds, after a restart or an error.

use std::path::Path;
use std::{fs, io};

use podtrail_event::Timestamp;

use super::disk::{self, Trouble};
use super::token::Token;

/// Beyond the committed length there is at most a batch and a torn line; of more, so much is looked at.
const TORN: usize = 1 << 20;

/// An open file and the committed length it was left at.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) file: fs::File,
    pub(super) token: Token,
}

/// The file to go on with, and what of the batch needs no writing.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) open: Open,
    /// Bytes of the batch that were found, in this file and in one that was renamed.
    pub(super) held: usize,
    /// Those in this file.
    pub(super) here: usize,
}

/// Finds where the stream stands: in the file at `path`, which is created if need be, and in the one that `token`
/// names if that was renamed meanwhile. Cuts a torn last line.
pub(super) fn find(path: &Path, token: Option<&Token>, text: &[u8], now: Timestamp) -> Result<Standing, Trouble> {
    let Some(token) = token else { return join(path, text, now, Tear::Refuse) };
    if disk::look(path)?.is_some_and(|meta| token.is_of(&meta)) {
        return follow(path, token, text, now);
    }
    let elsewhere = renamed(path, token, text)?;
    let standing = join(path, &text[elsewhere..], now, Tear::Refuse)?;
    Ok(Standing { held: elsewhere + standing.held, ..standing })
}

/// The standing in the very file that the token is about.
fn follow(path: &Path, token: &Token, text: &[u8], now: Timestamp) -> Result<Standing, Trouble> {
    let file = disk::open(path)?;
    let length = file.metadata()?.len();
    if length < token.length {
        let (path, missing) = (path.display(), token.length - length);
        tracing::error!(%path, missing, "file is shorter than what was committed to it: somebody cut it, or a power cut did");
        return join_open(file, text, now, Tear::Cut);
    }
    let tail = disk::read_from(&file, token.length, text.len().saturating_add(TORN))?;
    let Some(held) = ours(&tail, text) else {
        return Err(Trouble::Refused(format!(
            "another program wrote to it after byte {0}: move the file away to start a new one, \
             or cut it with `truncate -s {0}`",
            token.length
        )));
    };
    let length = token.length + held as u64;
    if held < tail.len() {
        disk::cut(&file, length)?;
    }
    Ok(Standing { open: Open { file, token: Token { length, ..*token } }, held, here: held })
}

/// What to do about an unfinished last line that is not the batch's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tear {
    Cut,
    Refuse,
}

/// The standing in a file of which nothing is known: it may end with the beginning of the batch.
fn join(path: &Path, text: &[u8], now: Timestamp, tear: Tear) -> Result<Standing, Trouble> {
    join_open(disk::open(path)?, text, now, tear)
}

fn join_open(file: fs::File, text: &[u8], now: Timestamp, tear: Tear) -> Result<Standing, Trouble> {
    let length = file.metadata()?.len();
    let start = length.saturating_sub(text.len() as u64 + 1);
    let end = disk::read_from(&file, start, text.len().saturating_add(1))?;
    let (held, torn) = match overlap(&end, start == 0, text) {
        Some(found) => found,
        None if tear == Tear::Cut => (0, torn_length(&file, length)?),
        None => {
            let reason =
                "it ends within a line that is not this sink's: complete or cut that line, or name another file";
            return Err(Trouble::Refused(reason.to_owned()));
        }
    };
    if torn > 0 {
        disk::cut(&file, length - torn)?;
    }
    let token = Token::new(&file, length - torn, now)?;
    Ok(Standing { open: Open { file, token }, held, here: held })
}

/// How many bytes of whole lines of `text` the `tail` starts with, if nothing follows them but a torn line; `None` if
/// something else does.
///
/// A power cut can leave zeros where a line was to be, even before parts of it that did reach the disk; no JSON
/// document has a zero byte.
fn ours(tail: &[u8], text: &[u8]) -> Option<usize> {
    let same = tail.iter().zip(text).take_while(|(a, b)| a == b).count();
    let held = whole_lines(&text[..same]);
    let (rest, expected) = (&tail[held..], &text[held..]);
    let torn = tail.len() < text.len().saturating_add(TORN) && !rest.contains(&b'\n');
    (torn || is_torn_from(rest, expected)).then_some(held)
}

/// Whether `rest` is the beginning of what was expected, but for zeros.
fn is_torn_from(rest: &[u8], expected: &[u8]) -> bool {
    rest.len() <= expected.len() && rest.iter().zip(expected).all(|(a, b)| a == b || *a == 0)
}

/// The longest start of `text` that `end`, the end of a file, ends with from the start of a line on: the bytes of its
/// whole lines, and those of a torn one. `None` if the file ends within another line.
fn overlap(end: &[u8], is_whole_file: bool, text: &[u8]) -> Option<(usize, u64)> {
    let breaks = end.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let held = is_whole_file.then_some(0).into_iter().chain(breaks).find(|at| text.starts_with(&end[*at..]))?;
    let same = end.len() - held;
    let whole = whole_lines(&text[..same]);
    Some((whole, (same - whole) as u64))
}

/// The length of `text` up to its last line break.
fn whole_lines(text: &[u8]) -> usize {
    text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

/// The length of what follows the last line break of a file.
fn torn_length(file: &fs::File, length: u64) -> Result<u64, Trouble> {
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(1 << 16);
        let piece = disk::read_from(file, start, 1 << 16)?;
        let piece = &piece[..piece.len().min((end - start) as usize)];
        if let Some(at) = piece.iter().rposition(|byte| *byte == b'\n') {
            return Ok(length - start - at as u64 - 1);
        }
        end = start;
    }
    Ok(length)
}

/// How many bytes of the batch are in the file that `token` is about, if that has another name in the folder now, as
/// rotation by hand or by logrotate leaves it.
///
/// When our file is gone, any other may have its inode: one that does not go on with the batch is not touched.
fn renamed(path: &Path, token: &Token, text: &[u8]) -> Result<usize, Trouble> {
    for entry in fs::read_dir(disk::folder(path))? {
        let old = entry?.path();
        // Others may remove what is theirs meanwhile.
        if !fs::symlink_metadata(&old).is_ok_and(|meta| meta.is_file() && token.is_of(&meta)) {
            continue;
        }
        let file = match fs::File::options().read(true).append(true).open(&old) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e.into()),
        };
        let tail = disk::read_from(&file, token.length, text.len().saturating_add(1))?;
        let Some(held) = ours(&tail, text) else { continue };
        // What is behind our lines, and is not the next one torn, is another's.
        let torn = is_torn_from(&tail[held..], &text[held..]);
        if held == 0 && !torn {
            continue;
        }
        tracing::info!(path = %path.display(), renamed = %old.display(), "file was renamed, starting another");
        if torn && !tail.is_empty() {
            // Makes what is kept durable, too.
            disk::cut(&file, token.length + held as u64)?;
        }
        return Ok(held);
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_ours_if_it_is_the_batch_cut_anywhere() {
        let text = b"{1}\n{22}\n{3}\n";
        for cut in 0..=text.len() {
            assert_eq!(ours(&text[..cut], text), Some(whole_lines(&text[..cut])), "cut at {cut}");
        }
        let cases: [(&[u8], Option<usize>); 8] = [
            (b"{1}\n{garbage", Some(4)),
            (b"{1}\n\0\0\0\0\0", Some(4)),
            (b"{1}\n\0\0\0\0\n{3", Some(4)),
            (b"\0\0\0\0{22}\n", Some(0)),
            (b"{1}\n{other}\n", None),
            (b"{other}\n", None),
            (b"{1}\n{22}\n{3}\n{4}\n", None),
            (b"{1}\n{22}\n{3}\n{torn", Some(13)),
        ];
        for (tail, held) in cases {
            assert_eq!(ours(tail, text), held, "{}", tail.escape_ascii());
        }
    }

    #[test]
    fn an_unknown_file_overlaps_the_batch_from_a_line_start_only() {
        let text = b"{1}\n{22}\n{3}\n";
        type Case = (&'static [u8], bool, Option<(usize, u64)>);
        let cases: [Case; 10] = [
            (b"", true, Some((0, 0))),
            (b"{1}\n{2", true, Some((4, 2))),
            (b"{0}\n{1}\n", true, Some((4, 0))),
            (b"{0}\n{1}\n{22}\n{3}\n", true, Some((13, 0))),
            (b"{0}\n{1", true, Some((0, 2))),
            (b"{0}\n", true, Some((0, 0))),
            (b"{0}", true, None),
            (b"{1}\n{2", false, None),
            (b"x{1}\n", true, Some((0, 0))),
            (b"{1}\n{1}\n", true, Some((4, 0))),
        ];
        for (end, whole, found) in cases {
            assert_eq!(overlap(end, whole, text), found, "{}", end.escape_ascii());
        }
    }
}
