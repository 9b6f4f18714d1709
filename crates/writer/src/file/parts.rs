//! Closed parts: their names, their packing and their end.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use podtrail_event::Timestamp;

use super::disk::{folder, step, sync_folder, with_suffix};
use super::token::Token;

/// Of fixed width, so that parts are in order by name.
const STAMP: &str = "%Y%m%dT%H%M%S.%9fZ";

/// In which forms a part exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Forms {
    plain: bool,
    packed: bool,
    unfinished: bool,
}

/// The name of the part that is closed now: after all others, whatever the clock says.
pub(super) fn next(path: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let newest = list(path)?.into_keys().next_back().and_then(|stamp| parse(&stamp));
    let nanosecond = newest.map_or(now.as_nanosecond(), |newest| newest.saturating_add(1).max(now.as_nanosecond()));
    let stamp = jiff::Timestamp::from_nanosecond(nanosecond.into()).map_err(io::Error::other)?.strftime(STAMP);
    Ok(with_suffix(path, &format!(".{stamp}")))
}

/// Finishes an interrupted packing: a packed part is whole, one that is not finished is nothing.
pub(super) fn settle(path: &Path) -> io::Result<()> {
    for (stamp, forms) in list(path)? {
        let part = with_suffix(path, &format!(".{stamp}"));
        if forms.unfinished {
            remove(&with_suffix(&part, ".gz.tmp"))?;
        }
        if forms.packed && forms.plain {
            remove(&part)?;
        }
    }
    Ok(())
}

/// Removes all closed parts but the newest `keep`, and packs those that are not. Leaves the file of `token`: until a
/// batch after it is committed, a restart looks for it. Returns whether there is more to do then.
pub(super) fn tidy(path: &Path, keep: Option<usize>, token: Option<&Token>) -> io::Result<bool> {
    settle(path)?;
    let parts = list(path)?;
    let surplus = keep.map_or(0, |keep| parts.len().saturating_sub(keep));
    let mut more = false;
    for (at, (stamp, forms)) in parts.into_iter().enumerate() {
        let part = with_suffix(path, &format!(".{stamp}"));
        if forms.packed {
            if at < surplus {
                remove(&with_suffix(&part, ".gz"))?;
            }
        } else if forms.plain {
            let meta = fs::metadata(&part)?;
            match token.is_some_and(|token| token.is_of(&meta)) {
                true => more = true,
                false if at < surplus => remove(&part)?,
                false => pack(&part)?,
            }
        }
    }
    Ok(more)
}

/// Replaces a part by its packed form. At every moment one of the two is whole.
fn pack(part: &Path) -> io::Result<()> {
    let (packed, unfinished) = (with_suffix(part, ".gz"), with_suffix(part, ".gz.tmp"));
    step("create packed")?;
    let file = fs::File::options().write(true).create(true).truncate(true).mode(0o640).open(&unfinished)?;
    let mut encoder = GzEncoder::new(io::BufWriter::with_capacity(1 << 16, file), Compression::default());
    io::copy(&mut fs::File::open(part)?, &mut encoder)?;
    step("finish packed")?;
    let mut file = encoder.finish()?;
    file.flush()?;
    step("sync packed")?;
    file.get_ref().sync_all()?;
    step("rename packed")?;
    fs::rename(unfinished, packed)?;
    sync_folder(part)?;
    remove(part)
}

fn remove(path: &Path) -> io::Result<()> {
    step("remove")?;
    fs::remove_file(path)
}

/// The closed parts of `path` by their stamps, oldest first. Names that we do not give are not ours to touch.
fn list(path: &Path) -> io::Result<BTreeMap<String, Forms>> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(BTreeMap::new()) };
    let mut parts = BTreeMap::<String, Forms>::new();
    for entry in fs::read_dir(folder(path))? {
        let entry = entry?.file_name();
        let Some(rest) = entry.to_str().and_then(|entry| entry.strip_prefix(name)?.strip_prefix('.')) else { continue };
        let (stamp, end) = rest.split_once('Z').unwrap_or((rest, "?"));
        let stamp = format!("{stamp}Z");
        if parse(&stamp).is_none() {
            continue;
        }
        match end {
            "" => parts.entry(stamp).or_default().plain = true,
            ".gz" => parts.entry(stamp).or_default().packed = true,
            ".gz.tmp" => parts.entry(stamp).or_default().unfinished = true,
            _ => {}
        }
    }
    Ok(parts)
}

/// The nanosecond of a stamp, if it is one to the letter.
fn parse(stamp: &str) -> Option<i64> {
    let time = DateTime::strptime(STAMP, stamp).ok()?;
    let time = Offset::UTC.to_timestamp(time).ok()?;
    (time.strftime(STAMP).to_string() == stamp).then(|| i64::try_from(time.as_nanosecond()).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_named_after_all_others_even_if_the_clock_went_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.ndjson");
        let mut before = String::new();
        for second in [1_000_000_000, 1_700_000_000, 1_600_000_000, 1_600_000_000, 1_800_000_000] {
            let part = next(&path, Timestamp::from_second(second)).unwrap();
            fs::write(&part, "").unwrap();
            let name = part.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(name > before, "{name} after {before}");
            before = name;
        }
        assert_eq!(before, "e.ndjson.20270115T080000.000000000Z");
    }

    #[test]
    fn only_names_that_we_give_are_parts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.ndjson");
        let stamp = "20270115T080000.000000001Z";
        let others = ["e.ndjson", "e.ndjson.1", "e.ndjson.20270115", "e.ndjson.20271315T080000.000000001Z"];
        let others = others.into_iter().map(str::to_owned).chain([
            format!("f.ndjson.{stamp}"),
            format!("e.ndjson.{stamp}.bak"),
            format!("e.ndjson.{stamp}.gz.bak"),
            "e.ndjson.20270115T080000.1Z".to_owned(),
        ]);
        let ours = ["", ".gz", ".gz.tmp"].map(|end| format!("e.ndjson.{stamp}{end}"));
        for name in others.chain(ours) {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let forms = Forms { plain: true, packed: true, unfinished: true };
        assert_eq!(list(&path).unwrap(), BTreeMap::from([(stamp.to_owned(), forms)]));
        settle(&path).unwrap();
        let forms = Forms { packed: true, ..Forms::default() };
        assert_eq!(list(&path).unwrap(), BTreeMap::from([(stamp.to_owned(), forms)]));
    }
}
