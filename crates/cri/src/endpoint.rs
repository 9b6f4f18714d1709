use std::fmt;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::{Error, ErrorKind, Result};

/// Where the runtimes listen when nobody says otherwise: CRI-O, cri-dockerd, K3s and RKE2, k0s, MicroK8s, and containerd. That is the last,
/// since Docker has one of its own there, beside whichever runtime Kubernetes uses.
const WELL_KNOWN: [&str; 8] = [
    "/run/crio/crio.sock",
    "/var/run/crio/crio.sock",
    "/run/cri-dockerd.sock",
    "/var/run/cri-dockerd.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/k0s/containerd.sock",
    "/var/snap/microk8s/common/run/containerd.sock",
    "/run/containerd/containerd.sock",
];

/// Longer paths do not fit the address of a Unix socket (`sun_path` of unix(7), with its final zero).
const MAX_PATH: usize = 107;

/// The Unix socket of a container runtime.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    path: PathBuf,
}

impl Endpoint {
    /// The environment variable that says where the runtime is, as crictl and kubeadm read it.
    pub const VARIABLE: &'static str = "CONTAINER_RUNTIME_ENDPOINT";

    /// The endpoint that is given, or else the first of the well-known sockets that exists.
    ///
    /// `given` is a flag's value or that of [`VARIABLE`](Self::VARIABLE); the environment is not read here. `prefix` is put before
    /// the well-known paths (not before what is given), for a container that has the node's root directory at `/host`.
    ///
    /// # Errors
    ///
    /// If what is given is no endpoint, or no well-known socket exists; the message lists them.
    pub fn detect(given: Option<&str>, prefix: Option<&Path>) -> Result<Self> {
        if let Some(given) = given {
            return given.parse();
        }
        let prefix = prefix.unwrap_or_else(|| Path::new("/"));
        let mut candidates = WELL_KNOWN.iter().map(|path| prefix.join(path.trim_start_matches('/')));
        let found = candidates.find(|path| path.metadata().is_ok_and(|file| file.file_type().is_socket()));
        let path = found.ok_or_else(|| {
            let tried = WELL_KNOWN.map(|path| prefix.join(path.trim_start_matches('/')).display().to_string());
            let variable = Self::VARIABLE;
            let what = format!("no container runtime found: say where it is by {variable}; tried {}", tried.join(", "));
            Error::new(ErrorKind::Endpoint, what)
        })?;
        Self::of(path)
    }

    /// The path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn of(path: PathBuf) -> Result<Self> {
        let bytes = path.as_os_str().as_encoded_bytes();
        if bytes.len() > MAX_PATH || bytes.contains(&0) {
            let what = format!(
                "a socket's path has at most {MAX_PATH} bytes, none of them zero; this one has {}",
                bytes.len()
            );
            return Err(Error::new(ErrorKind::Endpoint, what));
        }
        Ok(Self { path })
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    /// Reads `unix:///path`, `unix:/path` or `/path`.
    fn from_str(text: &str) -> Result<Self> {
        let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")).unwrap_or(text);
        if !path.starts_with('/') || path.ends_with('/') {
            let shown: String = text.chars().take(120).collect();
            let what = format!("{shown:?} is no endpoint of a container runtime: unix:///path/of/its.sock is");
            return Err(Error::new(ErrorKind::Endpoint, what));
        }
        Self::of(path.into())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_forms_are_endpoints_and_others_are_not() {
        for text in ["unix:///run/x.sock", "unix:/run/x.sock", "/run/x.sock"] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), "unix:///run/x.sock", "{text}");
        }
        let long = format!("/{}", "x".repeat(MAX_PATH));
        for text in [
            "",
            "/",
            "unix://",
            "run/x.sock",
            "unix://run/x.sock",
            "tcp://127.0.0.1:1",
            "npipe:////./pipe/x",
            "/a\0b",
            &long,
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Endpoint, "{text:?}");
        }
    }

    #[test]
    fn the_first_well_known_socket_under_the_prefix_is_found_and_a_file_is_none() {
        let root = tempfile::tempdir().unwrap();
        let nothing = Endpoint::detect(None, Some(root.path())).unwrap_err().to_string();
        assert!(nothing.contains("/run/crio/crio.sock") && nothing.contains("CONTAINER_RUNTIME_ENDPOINT"), "{nothing}");

        let path = |path: &str| root.path().join(path.trim_start_matches('/'));
        for folder in ["run/containerd", "run/crio"] {
            std::fs::create_dir_all(path(folder)).unwrap();
        }
        std::fs::write(path(WELL_KNOWN[0]), "").unwrap();
        let last = path(WELL_KNOWN[7]);
        let _socket = std::os::unix::net::UnixListener::bind(&last).unwrap();
        assert_eq!(Endpoint::detect(None, Some(root.path())).unwrap().path(), last);

        let given = Endpoint::detect(Some("/run/other.sock"), Some(root.path())).unwrap();
        assert_eq!(given.path(), Path::new("/run/other.sock"));
    }
}
