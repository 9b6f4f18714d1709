//! What docs/OPERATING.md and the manifests say, against the sources.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The text of all Rust files below a folder.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|end| end == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_log_line_that_is_explained_is_logged() {
    let mut text = String::new();
    for krate in fs::read_dir(root().join("crates")).unwrap() {
        sources(&krate.unwrap().path().join("src"), &mut text);
    }
    sources(&root().join("examples/tracker/src"), &mut text);
    let operating = read("docs/OPERATING.md");
    let rows = operating.lines().filter(|line| ["| WARN `", "| ERROR `"].iter().any(|start| line.starts_with(start)));
    let messages: Vec<_> = rows
        .flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2))
        .map(|message| message.trim_end_matches('…').trim_end())
        .collect();
    assert!(messages.len() > 10, "{messages:?}");
    for message in messages {
        assert!(text.contains(&format!("\"{message}")), "nothing logs {message:?}");
    }
}

#[test]
fn the_permissions_are_told_once() {
    let rules = |text: &str| -> Vec<(String, Vec<String>)> {
        let list = |line: &str, key: &str| {
            let (_, rest) = line.split_once(&format!("{key}: ["))?;
            let words = rest.split_once(']')?.0.split(", ").map(str::to_owned);
            Some(words.collect::<Vec<_>>())
        };
        let found = |key| text.lines().filter_map(move |line| list(line, key));
        found("resources").flatten().zip(found("verbs")).collect()
    };
    let manifest = rules(&read("examples/deploy/tracker/rbac.yaml"));
    assert_eq!(manifest.len(), 3, "{manifest:?}");
    assert_eq!(rules(&read("README.md")), manifest);
    let operating = read("docs/OPERATING.md");
    for (resource, verbs) in manifest {
        let row = format!("| `{resource}` | {}", verbs.join(", "));
        assert!(operating.contains(&row), "no {row:?}");
    }
}
