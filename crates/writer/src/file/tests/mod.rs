pub(super) mod faults;
mod stories;
mod streams;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::Fanout;
use crate::conformance::{self, Harness};

/// The bytes of a file and its closed parts in order, each part once.
fn joined(path: &Path) -> Vec<u8> {
    let name = path.file_name().unwrap().to_str().unwrap();
    let mut parts: Vec<String> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|other| other.starts_with(&format!("{name}.")) && !other.ends_with(".tmp"))
        .collect();
    parts.sort();
    let packed: Vec<_> = parts.iter().filter_map(|part| part.strip_suffix(".gz").map(str::to_owned)).collect();
    parts.retain(|part| !packed.contains(part));
    let mut text = Vec::new();
    for part in parts.iter().map(|part| path.with_file_name(part)).chain([path.to_owned()]) {
        let Ok(mut file) = fs::File::open(&part) else { continue };
        if part.extension().is_some_and(|end| end == "gz") {
            flate2::read::GzDecoder::new(file).read_to_end(&mut text).unwrap();
        } else {
            file.read_to_end(&mut text).unwrap();
        }
    }
    text
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

struct Bed {
    folder: TempDir,
    rotating: bool,
}

impl Bed {
    fn path(&self) -> PathBuf {
        self.folder.path().join("events.ndjson")
    }
}

#[async_trait]
impl Harness for Bed {
    type Writer = File;

    async fn open(&mut self) -> File {
        let max_size = self.rotating.then_some(150);
        File::new(FileConfig { max_size, ..FileConfig::new(self.path()) }).unwrap()
    }

    async fn delivered(&mut self) -> Vec<Bytes> {
        let text = joined(&self.path());
        let mut lines: Vec<_> = text.split(|byte| *byte == b'\n').map(Bytes::copy_from_slice).collect();
        assert_eq!(lines.pop(), Some(Bytes::new()), "the last line is whole");
        lines
    }

    async fn tear(&mut self, bytes: usize) -> bool {
        let file = fs::File::options().write(true).open(self.path()).unwrap();
        file.set_len(file.metadata().unwrap().len() - bytes as u64).unwrap();
        true
    }
}

async fn bed(rotating: bool) -> Bed {
    Bed { folder: tempfile::tempdir().unwrap(), rotating }
}

#[tokio::test]
async fn conforms_in_one_file() {
    conformance::run(|| bed(false)).await;
}

#[tokio::test]
async fn conforms_while_rotating() {
    conformance::run(|| bed(true)).await;
}

/// Two files as one writer.
struct Pair(Bed, Bed);

#[async_trait]
impl Harness for Pair {
    type Writer = Fanout;

    async fn open(&mut self) -> Fanout {
        Fanout::new().with("a", self.0.open().await).unwrap().with("b", self.1.open().await).unwrap()
    }

    async fn delivered(&mut self) -> Vec<Bytes> {
        let lines = self.0.delivered().await;
        assert_eq!(lines, self.1.delivered().await);
        lines
    }

    async fn tear(&mut self, bytes: usize) -> bool {
        self.1.tear(bytes).await
    }
}

#[tokio::test]
async fn a_fan_out_of_files_conforms() {
    conformance::run(|| async { Pair(bed(true).await, bed(false).await) }).await;
}
