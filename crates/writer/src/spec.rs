use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::units;

/// A sink as people write it: a kind, for files a path, and options after commas.
///
/// ```text
/// stdout[,name=NAME][,from=now|start]
/// file:PATH[,max-size=64MiB][,max-age=24h][,keep=7][,fsync=batch|never][,name=NAME][,from=now|start]
/// ```
///
/// Sizes take KiB, MiB, GiB (powers of 1024), k, M, G (powers of 1000) or no unit for bytes; durations s, m, h, d.
/// A path cannot have a comma.
///
/// ```
/// let spec = podtrail_writer::Spec::parse("file:/var/log/pods.ndjson,max-size=64MiB,keep=7")?;
/// assert_eq!(spec.sink_name(), "file:/var/log/pods.ndjson");
/// # Ok::<(), podtrail_writer::SpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spec {
    /// Where records go.
    pub target: Target,
    /// Where a sink that is new starts.
    pub from: StartFrom,
    /// The `name=` option.
    pub name: Option<String>,
}

/// Where the records of a sink go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file.
    File(FileConfig),
}

/// Where a sink starts that has no position yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartFrom {
    /// At the oldest record that is still kept.
    #[default]
    Start,
    /// With the first record after it was added.
    Now,
}

/// Which file a `File` writer writes, and when it starts another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileConfig {
    /// The file that is written; closed parts get a time stamp after its name. Its folder must exist.
    pub path: PathBuf,
    /// Rotate before the file would grow beyond so many bytes. A larger batch has a file of its own.
    pub max_size: Option<u64>,
    /// Rotate with the first batch that comes so long after the file's first one.
    pub max_age: Option<Duration>,
    /// How many closed parts are kept, the newest; without it, all.
    pub keep: Option<usize>,
    /// When what was written is made safe against a power cut.
    pub fsync: FsyncPolicy,
}

impl FileConfig {
    /// One file that grows for ever, synced after each batch.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), max_size: None, max_age: None, keep: None, fsync: FsyncPolicy::default() }
    }
}

/// When a file is made safe against a power cut. Against a crash of the process it always is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FsyncPolicy {
    /// After each batch, before it counts as committed.
    #[default]
    Batch,
    /// When the kernel sees fit: a power cut can lose records that count as committed.
    Never,
}

/// Why a text is not a [`Spec`], or two do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SpecError(String);

impl Spec {
    /// Reads a sink from its text.
    ///
    /// # Errors
    /// If the kind or an option is unknown, an option is given twice, or a value does not fit; the message names it.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        parse(text).map_err(|problem| SpecError(format!("sink `{text}`: {problem}")))
    }

    /// Reads the sinks of one program, which need a place and a name each.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and if two write to one place, by whatever path, or have one name.
    pub fn parse_all(texts: &[impl AsRef<str>]) -> Result<Vec<Self>, SpecError> {
        let mut specs: Vec<Self> = Vec::new();
        for text in texts {
            let spec = Self::parse(text.as_ref())?;
            if specs.iter().any(|other| spec.target.is_same_as(&other.target)) {
                return Err(SpecError(format!("two writers write to {}: leave one out", spec.target)));
            }
            let name = spec.sink_name();
            if specs.iter().any(|other| name == other.sink_name()) {
                return Err(SpecError(format!("two writers are called {name}: change one's name=")));
            }
            specs.push(spec);
        }
        Ok(specs)
    }

    /// The name under which the sink's position is kept: `name=`, or the kind and path, never the other options, so
    /// that changing those does not make it another sink.
    pub fn sink_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.target.to_string())
    }
}

#[cfg(all(feature = "stdout", feature = "file"))]
impl Spec {
    /// The writer to it, and the handle that opens it anew if it is a file.
    ///
    /// # Errors
    /// If a file's folder is missing or cannot be read, or its path is something else than a regular file.
    pub fn open(&self) -> Result<(Box<dyn crate::Writer>, Option<crate::FileHandle>), crate::Error> {
        match &self.target {
            Target::Stdout => Ok((Box::new(crate::stdout()), None)),
            Target::File(config) => {
                let file = crate::File::new(config.clone())?;
                let handle = file.handle();
                Ok((Box::new(file), Some(handle)))
            }
        }
    }
}

impl Target {
    /// Whether both are one place, by whatever path: two writers there would spoil each other's records.
    pub fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Stdout, Self::Stdout) => true,
            (Self::File(one), Self::File(other)) => place(&one.path) == place(&other.path),
            _ => false,
        }
    }
}

/// The file's path without links; of one that is not there yet, its folder's.
fn place(path: &Path) -> PathBuf {
    let in_folder = || {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        Some(folder.canonicalize().ok()?.join(path.file_name()?))
    };
    path.canonicalize().ok().or_else(in_folder).unwrap_or_else(|| path.to_owned())
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::File(file) => write!(f, "file:{}", file.path.display()),
        }
    }
}

impl FromStr for Spec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        Self::parse(text)
    }
}

fn parse(text: &str) -> Result<Spec, String> {
    let (head, options) = text.split_once(',').map_or((text, None), |(head, options)| (head, Some(options)));
    let target = match head.split_once(':').unwrap_or((head, "")) {
        ("stdout", "") => Target::Stdout,
        ("stdout", _) => return Err("stdout takes no path".to_owned()),
        ("file", "") => return Err("a file needs a path: file:PATH".to_owned()),
        ("file", path) => Target::File(FileConfig::new(path)),
        (kind, _) => return Err(format!("unknown kind `{kind}` (known: stdout, file:PATH)")),
    };
    let mut spec = Spec { target, from: StartFrom::Start, name: None };
    let mut seen = BTreeSet::new();
    for option in options.into_iter().flat_map(|options| options.split(',')) {
        let (key, value) = option.split_once('=').ok_or_else(|| format!("option `{option}` is not NAME=VALUE"))?;
        if !seen.insert(key) {
            return Err(format!("option `{key}` is given twice"));
        }
        spec.set(key, value).map_err(|problem| match problem {
            Some(problem) => format!("option `{key}`: `{value}` is {problem}"),
            None => format!("unknown option `{key}` (known: {})", spec.known()),
        })?;
    }
    Ok(spec)
}

impl Spec {
    fn known(&self) -> &'static str {
        match self.target {
            Target::Stdout => "name, from",
            Target::File(_) => "max-size, max-age, keep, fsync, name, from",
        }
    }

    /// Sets an option; the error says what the value is not, or `None` if there is no such option.
    fn set(&mut self, key: &str, value: &str) -> Result<(), Option<&'static str>> {
        match (key, &mut self.target) {
            ("name", _) if value.is_empty() => return Err(Some("not a name")),
            ("name", _) => self.name = Some(value.to_owned()),
            ("from", _) => {
                self.from = match value {
                    "start" => StartFrom::Start,
                    "now" => StartFrom::Now,
                    _ => return Err(Some("neither start nor now")),
                }
            }
            ("max-size", Target::File(file)) => {
                file.max_size = Some(units::size(value).ok_or(Some("not a size above 0 such as 64MiB"))?);
            }
            ("max-age", Target::File(file)) => {
                file.max_age = Some(units::duration(value).ok_or(Some("not a duration above 0 such as 24h"))?);
            }
            ("keep", Target::File(file)) => {
                let keep = value.parse().ok().filter(|keep| *keep > 0);
                file.keep = Some(keep.ok_or(Some("not a number of files above 0"))?);
            }
            ("fsync", Target::File(file)) => {
                file.fsync = match value {
                    "batch" => FsyncPolicy::Batch,
                    "never" => FsyncPolicy::Never,
                    _ => return Err(Some("neither batch nor never")),
                }
            }
            _ => return Err(None),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_have_the_parts_that_were_written() {
        let spec = Spec::parse("stdout").unwrap();
        assert_eq!((spec.target, spec.from, spec.name), (Target::Stdout, StartFrom::Start, None));
        let spec = Spec::parse("stdout,from=now,name=console").unwrap();
        assert_eq!((spec.from, spec.name.as_deref()), (StartFrom::Now, Some("console")));
        assert_eq!("file:a:b".parse::<Spec>().unwrap().target, Target::File(FileConfig::new("a:b")));
        let text = "file:/x/y.ndjson,max-size=64MiB,max-age=24h,keep=7,name=audit,fsync=never,from=start";
        let file = FileConfig {
            path: "/x/y.ndjson".into(),
            max_size: Some(64 << 20),
            max_age: Some(Duration::from_secs(86_400)),
            keep: Some(7),
            fsync: FsyncPolicy::Never,
        };
        assert_eq!(Spec::parse(text).unwrap().target, Target::File(file));
    }

    #[test]
    fn a_sink_is_named_by_name_or_else_by_kind_and_path_alone() {
        let cases = [
            ("stdout,from=now", "stdout"),
            ("file:/x,max-size=1k,from=now", "file:/x"),
            ("file:/x,keep=1,name=audit", "audit"),
        ];
        for (text, name) in cases {
            assert_eq!(Spec::parse(text).unwrap().sink_name(), name);
        }
    }

    #[test]
    fn a_place_is_one_by_whatever_path() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name).display().to_string();
        std::fs::create_dir(home.path().join("logs")).unwrap();
        std::os::unix::fs::symlink(home.path().join("logs"), home.path().join("link")).unwrap();
        let same = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|text| Spec::parse(text).unwrap().target);
            one.is_same_as(&other)
        };
        let file = |name: &str| format!("file:{}", path(name));
        for there in [false, true] {
            for other in ["logs/a", "link/a", "logs/../link/./a", "logs/a,keep=3,name=b"] {
                assert!(same(&file("logs/a"), &file(other)), "{other}, there: {there}");
            }
            std::fs::write(path("logs/a"), "").unwrap();
        }
        assert!(same("stdout", "stdout,name=b") && same("file:a", "file:./a"));
        for (one, other) in [("logs/a", "logs/b"), ("logs/a", "a"), ("none/a", "none/b")] {
            assert!(!same(&file(one), &file(other)), "{one} and {other}");
        }
        assert!(!same("stdout", "file:stdout"));
    }

    #[test]
    fn sinks_of_one_program_are_apart_in_place_and_name() {
        assert_eq!(Spec::parse_all(&["stdout", "file:a", "file:b,name=c"]).unwrap().len(), 3);
        for (texts, why) in [
            (["file:a,name=x", "file:./a,name=y"], "two writers write to file:./a: leave one out"),
            (["file:a,name=x", "file:b,name=x"], "two writers are called x: change one's name="),
            (["stdout", "kafka:x"], "sink `kafka:x`: unknown kind `kafka` (known: stdout, file:PATH)"),
        ] {
            assert_eq!(Spec::parse_all(&texts).unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn errors_name_the_option() {
        let cases = [
            ("", "unknown kind ``"),
            ("kafka:x", "unknown kind `kafka` (known: stdout, file:PATH)"),
            ("stdout:x", "stdout takes no path"),
            ("file:", "a file needs a path"),
            ("file,keep=1", "a file needs a path"),
            ("stdout,keep=1", "unknown option `keep` (known: name, from)"),
            ("file:/x,size=1", "unknown option `size`"),
            ("file:/x,keep", "option `keep` is not NAME=VALUE"),
            ("file:/x,", "option `` is not NAME=VALUE"),
            ("file:/x,keep=0", "option `keep`: `0` is not a number of files"),
            ("file:/x,keep=1,keep=2", "option `keep` is given twice"),
            ("file:/x,max-size=64MB", "option `max-size`: `64MB` is not a size"),
            ("file:/x,max-age=1w", "option `max-age`: `1w` is not a duration"),
            ("file:/x,fsync=always", "option `fsync`: `always` is neither batch nor never"),
            ("file:/x,from=2024", "option `from`: `2024` is neither start nor now"),
            ("file:/x,name=", "option `name`: `` is not a name"),
        ];
        for (text, part) in cases {
            let message = Spec::parse(text).unwrap_err().to_string();
            assert!(message.contains(part) && message.starts_with(&format!("sink `{text}`: ")), "{message}");
        }
    }
}
