//! Lines out of chunks, with a bound.

use std::io::BufRead;

use bytes::Bytes;

use crate::digest::Sha256;

/// One line of a watch, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Whole(Bytes),
    /// One that was too long: its start, and how long it was, and the SHA-256 of all of it.
    Oversize {
        head: Vec<u8>,
        length: usize,
        sha256: String,
    },
}

/// Cuts what is pushed into lines of at most `max` bytes. Of a longer line only the start is kept while the rest passes.
#[derive(Debug)]
pub(crate) struct Lines {
    max: usize,
    chunk: Bytes,
    partial: Vec<u8>,
    /// How long the line is whose rest is being skipped, so far, and its hash.
    skipped: Option<(usize, Sha256)>,
}

const HEAD: usize = 256;

impl Lines {
    pub(crate) const fn new(max: usize) -> Self {
        Self { max, chunk: Bytes::new(), partial: Vec::new(), skipped: None }
    }

    /// Gives it the next chunk. Those before it must have been used up by [`next`](Self::next).
    pub(crate) fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty(), "the last chunk was used up");
        self.chunk = chunk;
    }

    /// The next line that is complete.
    pub(crate) fn next(&mut self) -> Option<Line> {
        while !self.chunk.is_empty() {
            let Some(at) = newline(&self.chunk) else {
                let rest = std::mem::take(&mut self.chunk);
                self.keep(&rest);
                return None;
            };
            let mut line = self.chunk.split_to(at + 1);
            line.truncate(at);
            if self.partial.is_empty() && line.len() <= self.max {
                if line.is_empty() {
                    continue;
                }
                return Some(Line::Whole(line));
            }
            self.keep(&line);
            let head = std::mem::take(&mut self.partial);
            return Some(match self.skipped.take() {
                Some((length, hash)) => Line::Oversize { head, length, sha256: hash.hex() },
                None => Line::Whole(head.into()),
            });
        }
        None
    }

    /// Whether the last line pushed has not ended.
    pub(crate) const fn is_cut(&self) -> bool {
        !self.partial.is_empty()
    }

    fn keep(&mut self, part: &[u8]) {
        match &mut self.skipped {
            Some((length, hash)) => {
                *length += part.len();
                hash.update(part);
            }
            None if self.partial.len() + part.len() <= self.max => self.partial.extend_from_slice(part),
            None => {
                let mut hash = Sha256::new();
                hash.update(&self.partial);
                hash.update(part);
                self.skipped = Some((self.partial.len() + part.len(), hash));
                let room = HEAD.saturating_sub(self.partial.len());
                self.partial.extend_from_slice(&part[..part.len().min(room)]);
                self.partial.truncate(HEAD);
                self.partial.shrink_to_fit();
            }
        }
    }
}

/// Where the first line ends. (The standard library's fastest search for a byte is behind `BufRead`.)
fn newline(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    let read = rest.skip_until(b'\n').ok()?;
    let last = read.checked_sub(1)?;
    (bytes[last] == b'\n').then_some(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]], max: usize) -> (Vec<Line>, bool) {
        let (mut lines, mut out) = (Lines::new(max), Vec::new());
        for chunk in chunks {
            lines.push(Bytes::copy_from_slice(chunk));
            while let Some(line) = lines.next() {
                out.push(line);
            }
        }
        (out, lines.is_cut())
    }

    fn whole(text: &str) -> Line {
        Line::Whole(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn lines_are_found_wherever_the_chunks_end() {
        for chunks in
            [&[b"ab\ncd\n" as &[u8]] as &[&[u8]], &[b"a", b"b\nc", b"d\n"], &[b"ab", b"\n", b"\ncd", b"", b"\n"]]
        {
            assert_eq!(split(chunks, 8), (vec![whole("ab"), whole("cd")], false), "{chunks:?}");
        }
        assert_eq!(split(&[b"ab\nc"], 8), (vec![whole("ab")], true));
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_without_being_kept() {
        let long = vec![b'x'; 5000];
        let (lines, cut) = split(&[b"ab\nxx", &long, &long, b"x\ncd\n"], 8);
        let (head, sha256) = (vec![b'x'; HEAD], Sha256::of(&[b'x'; 10_003]));
        assert_eq!(lines, [whole("ab"), Line::Oversize { head, length: 10_003, sha256 }, whole("cd")]);
        assert!(!cut);

        let mut lines = Lines::new(4096);
        for _ in 0..100 {
            lines.push(Bytes::from(long.clone()));
            assert_eq!(lines.next(), None);
        }
        assert!(lines.partial.capacity() <= 4096 && lines.is_cut());
    }

    proptest! {
        #[test]
        fn chunks_make_no_difference(text in "[ab\n]{0,60}", cuts in proptest::collection::vec(0_usize..60, 0..6)) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let chunks: Vec<_> = cuts.windows(2).map(|w| &text.as_bytes()[w[0]..w[1]]).collect();
            let lengths = |lines: Vec<Line>| lines.into_iter().map(|line| match line {
                Line::Whole(bytes) => bytes.len(),
                Line::Oversize { length, .. } => length,
            }).collect::<Vec<_>>();
            let complete = &text[..text.rfind('\n').map_or(0, |at| at + 1)];
            let expected: Vec<_> = complete.split('\n').map(str::len).filter(|n| *n > 0).collect();
            prop_assert_eq!(lengths(split(&chunks, 10).0), expected);
        }
    }
}
