//! What the runtimes tell about a sandbox or container beyond CRI: JSON, in the entry `info` of a verbose answer.

use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::{Error, ErrorKind, Result};

/// The most that is read, in bytes: as much as an answer may have. containerd says about 20 KiB, and each annotation of the pod twice, in
/// which a `<` takes six bytes: whoever makes a pod decides how long this is.
const MAX_LENGTH: usize = 16 << 20;
/// `PID_MAX_LIMIT` of the kernel's threads.h.
const MAX_PID: u32 = 1 << 22;

/// Where a network namespace is, in the mount and pid namespaces of the runtime.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Location {
    /// It is mounted on this file, which is absolute and has no `..`.
    Path(PathBuf),
    /// It is that of the process with this number, which is not 0.
    Process(u32),
}

impl Location {
    /// The file to open where the process file system is mounted at `proc`: `/host/proc/1234/ns/net`.
    pub fn file(&self, proc: &Path) -> PathBuf {
        match self {
            Self::Path(path) => path.clone(),
            Self::Process(pid) => proc.join(pid.to_string()).join("ns/net"),
        }
    }
}

/// What a runtime says about a sandbox or a container beyond CRI: its process and where its network namespace is.
///
/// containerd and CRI-O give `pid` and `runtimeSpec`, the configuration of the OCI runtime; CRI-O no `pid` for a sandbox without a
/// process of its own; containerd also `sandboxMetadata`; cri-dockerd, for containers alone, `pid` and `sandboxID`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SandboxInfo {
    /// The first process, if there is one.
    pub pid: Option<u32>,
    /// The network namespace, as far as the runtime describes it.
    pub network: Network,
    /// The sandbox of a container, where it is said.
    pub sandbox_id: Option<String>,
}

/// What is said about a network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Network {
    /// Nothing.
    #[default]
    Unsaid,
    /// It is the one mounted here.
    Path(PathBuf),
    /// It is that of this process.
    Process(u32),
    /// The process has one of its own, which is nowhere else.
    Own,
    /// The process has none of its own: it is in the node's.
    Node,
}

impl SandboxInfo {
    /// Reads the JSON that a runtime gives as `info`.
    ///
    /// # Errors
    ///
    /// If it is no JSON of that form, has more than 16 MiB, a process has an impossible number, or a path is not absolute or has `..`.
    pub fn parse(json: &str) -> Result<Self> {
        let malformed =
            |why| Error::new(ErrorKind::Malformed, format!("the runtime's verbose info is of no use: {why}"));
        if json.len() > MAX_LENGTH {
            return Err(malformed("it is too long"));
        }
        let info: Info = serde_json::from_str(json).map_err(|e| {
            Error::caused(ErrorKind::Malformed, "the runtime's verbose info is not what runtimes give", e)
        })?;
        if info.closed == Some(true) {
            return Err(Error::new(
                ErrorKind::NotReady,
                "the sandbox's network namespace is closed: the pod is ending",
            ));
        }
        let pid = match info.pid {
            None | Some(0) => None,
            Some(pid) => Some(in_range(pid).ok_or_else(|| malformed("a process has an impossible number"))?),
        };
        let network = info.network().map_err(malformed)?;
        Ok(Self { pid, network, sandbox_id: info.sandbox_id })
    }

    /// Where the network namespace is: a path rather than a process, which may have ended.
    ///
    /// `host_network` is what CRI says of the sandbox. `None` if the runtime does not say where.
    ///
    /// # Errors
    ///
    /// If the process is in the node's network while the sandbox has one of its own, by CRI.
    pub fn location(&self, host_network: bool) -> Result<Option<Location>> {
        match (&self.network, self.pid) {
            (Network::Path(path), _) => Ok(Some(Location::Path(path.clone()))),
            (Network::Process(pid), _) => Ok(Some(Location::Process(*pid))),
            (Network::Node, Some(pid)) if !host_network => {
                let what =
                    format!("process {pid} of the sandbox is in the node's network, and the pod has one of its own");
                Err(Error::new(ErrorKind::NoNamespace, what))
            }
            (Network::Node | Network::Own | Network::Unsaid, pid) => Ok(pid.map(Location::Process)),
        }
    }
}

/// What the runtimes' own types say, as far as it is used. Go writes an absent value as `null`, or not at all.
#[derive(Deserialize)]
struct Info {
    pid: Option<i64>,
    #[serde(rename = "sandboxID")]
    sandbox_id: Option<String>,
    #[serde(rename = "netNamespaceClosed")]
    closed: Option<bool>,
    #[serde(rename = "runtimeSpec")]
    spec: Option<Spec>,
    #[serde(rename = "sandboxMetadata")]
    metadata: Option<Versioned>,
}

/// `config.json` of the OCI runtime specification.
#[derive(Deserialize)]
struct Spec {
    linux: Option<Linux>,
}

#[derive(Deserialize)]
struct Linux {
    namespaces: Option<Vec<Namespace>>,
}

#[derive(Deserialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: String,
    path: Option<String>,
}

/// containerd's, which it has for sandboxes without a process too.
#[derive(Deserialize)]
struct Versioned {
    #[serde(rename = "Metadata")]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "NetNSPath")]
    netns: Option<String>,
}

impl Info {
    fn network(&self) -> Result<Network, &'static str> {
        let namespaces = self.spec.as_ref().and_then(|spec| spec.linux.as_ref()?.namespaces.as_deref());
        let of_the_process =
            namespaces.map(|namespaces| namespaces.iter().find(|namespace| namespace.kind == "network"));
        if let Some(path) = of_the_process.flatten().and_then(|namespace| path(namespace.path.as_deref())) {
            return named(path);
        }
        if let Some(path) = self.metadata.as_ref().and_then(|m| path(m.metadata.as_ref()?.netns.as_deref())) {
            return named(path);
        }
        Ok(match of_the_process {
            None => Network::Unsaid,
            Some(None) => Network::Node,
            Some(Some(_)) => Network::Own,
        })
    }
}

fn path(said: Option<&str>) -> Option<&str> {
    said.filter(|path| !path.is_empty())
}

fn named(path: &str) -> Result<Network, &'static str> {
    let plain = |component| matches!(component, Component::RootDir | Component::Normal(_));
    if !path.starts_with('/') || path.contains('\0') || !Path::new(path).components().all(plain) {
        return Err("the path of its network namespace is not absolute, or not plain");
    }
    let Ok(in_proc) = Path::new(path).strip_prefix("/proc") else { return Ok(Network::Path(path.into())) };
    // Whose it is must be plain: /proc/self is another process for everyone who reads it.
    let pid = in_proc.to_str().and_then(|path| path.strip_suffix("/ns/net")?.parse().ok());
    pid.and_then(in_range).map(Network::Process).ok_or("the path of its network namespace is that of no process")
}

fn in_range(pid: i64) -> Option<u32> {
    u32::try_from(pid).ok().filter(|pid| (1..=MAX_PID).contains(pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(json: &str) -> Result<Option<Location>> {
        SandboxInfo::parse(json).and_then(|info| info.location(false))
    }

    #[test]
    fn a_path_is_preferred_to_a_process() {
        let of = |network: &str| {
            format!(r#"{{"pid":1234,"runtimeSpec":{{"linux":{{"namespaces":[{{"type":"pid"}},{network}]}}}}}}"#)
        };
        let path = |path: &str| Some(Location::Path(path.into()));
        let cases = [
            (r#"{"pid":1234}"#.to_owned(), Some(Location::Process(1234))),
            (of(r#"{"type":"network","path":"/var/run/netns/a"}"#), path("/var/run/netns/a")),
            (of(r#"{"type":"network"}"#), Some(Location::Process(1234))),
            (of(r#"{"type":"network","path":""}"#), Some(Location::Process(1234))),
            (of(r#"{"type":"network","path":"/proc/77/ns/net"}"#), Some(Location::Process(77))),
            (
                r#"{"pid":0,"sandboxMetadata":{"Metadata":{"NetNSPath":"/run/netns/b"}}}"#.to_owned(),
                path("/run/netns/b"),
            ),
            (r#"{"pid":7,"runtimeSpec":null,"sandboxMetadata":null}"#.to_owned(), Some(Location::Process(7))),
            ("{}".to_owned(), None),
            (r#"{"pid":0}"#.to_owned(), None),
        ];
        for (json, expected) in cases {
            assert_eq!(location(&json).unwrap(), expected, "{json}");
        }
    }

    #[test]
    fn a_pods_maker_cannot_make_it_too_long() {
        let annotation = r"\u003c".repeat(256 << 10);
        let json = format!(
            r#"{{"pid":7,"config":{{"annotations":{{"a":"{annotation}"}}}},"sandboxMetadata":{{"Metadata":{{"a":"{annotation}"}}}}}}"#
        );
        assert_eq!(SandboxInfo::parse(&json).unwrap().pid, Some(7));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let path = |path: &str| {
            format!(r#"{{"pid":1,"runtimeSpec":{{"linux":{{"namespaces":[{{"type":"network","path":"{path}"}}]}}}}}}"#)
        };
        let closed = r#"{"pid":1,"netNamespaceClosed":true}"#;
        let deep = "[".repeat(100_000);
        let deep_inside = format!(r#"{{"pid":1,"config":{deep}"#);
        let huge = format!(r#"{{"pid":1,"x":"{}"}}"#, "x".repeat(MAX_LENGTH));
        let mut cases: Vec<String> = [
            "",
            "not json",
            "null",
            "[]",
            r#"{"pid":-1}"#,
            r#"{"pid":4294967297}"#,
            r#"{"pid":4194305}"#,
            r#"{"pid":1.5}"#,
            r#"{"pid":"1"}"#,
            r#"{"pid":1,"pid":2}"#,
            r#"{"pid":1}x"#,
            closed,
            &deep,
            &deep_inside,
            &huge,
        ]
        .map(str::to_owned)
        .into();
        let paths = [
            "run/netns/a",
            "/run/../etc",
            "..",
            "/proc/self/ns/net",
            "/proc/0/ns/net",
            "/proc/1/ns/mnt",
            "/proc",
            "/a\\u0000",
        ];
        cases.extend(paths.map(path));
        // The node's network, of a pod that has its own.
        cases.push(r#"{"pid":1,"runtimeSpec":{"linux":{"namespaces":[{"type":"pid"}]}}}"#.into());
        for json in cases {
            let shown = json.get(..200).unwrap_or(&json);
            assert!(location(&json).is_err(), "{shown}");
        }
    }

    #[test]
    fn in_the_nodes_network_the_process_is_enough() {
        let json = r#"{"pid":9,"runtimeSpec":{"linux":{"namespaces":[{"type":"pid"}]}}}"#;
        assert_eq!(SandboxInfo::parse(json).unwrap().location(true).unwrap(), Some(Location::Process(9)));
    }

    #[test]
    fn a_process_is_looked_for_where_its_file_system_is_mounted() {
        let file = |proc: &str| Location::Process(1234).file(Path::new(proc));
        assert_eq!(file("/host/proc"), Path::new("/host/proc/1234/ns/net"));
        assert_eq!(file("/proc"), Path::new("/proc/1234/ns/net"));
    }
}
