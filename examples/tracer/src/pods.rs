//! Which pods are meant, and their network namespaces.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use podtrail_cri::{Client, Config, Endpoint, Labels, Pod, SandboxStatus};
use podtrail_daemon::Failure;
use podtrail_netns::Netns;

use crate::annotate::say;
use crate::args::{PodArgs, given};
use crate::request::Wanted;

/// A pod of this node.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// How the runtime is asked for it: by UID where that is known, so that no later pod of the name is taken for it.
    pod: Pod,
    /// Whether the API says so.
    host_network: bool,
    /// The node that the API says it is on, where that is not known to be this one.
    elsewhere: Option<String>,
}

impl Found {
    /// Known by its UID.
    pub(crate) fn new(namespace: String, name: String, uid: String) -> Self {
        Self { namespace, name, pod: Pod::with_uid(uid), host_network: false, elsewhere: None }
    }

    #[cfg(feature = "api")]
    pub(crate) fn of_host_network(self, host_network: bool) -> Self {
        Self { host_network, ..self }
    }

    #[cfg(feature = "api")]
    pub(crate) fn elsewhere(self, elsewhere: Option<String>) -> Self {
        Self { elsewhere, ..self }
    }

    pub(crate) fn title(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// A pod's network namespace, pinned.
#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) sandbox: SandboxStatus,
    pub(crate) netns: Netns,
}

/// The node, and its container runtime.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    /// Whether somebody said so.
    pub(crate) is_named: bool,
    pub(crate) runtime: Client,
    allow_host: bool,
}

impl Node {
    /// Must be called in a tokio runtime.
    pub(crate) fn new(args: &PodArgs) -> Result<Self, Failure> {
        let (root, proc) = host_folders(given(args.host_root.as_deref()));
        let endpoint = given(args.runtime_endpoint.as_deref());
        let failure = |e: podtrail_cri::Error| match endpoint {
            Some(_) => Failure::usage(e),
            None => {
                let what = "--runtime-endpoint says where the container runtime is, if not at a usual place";
                Failure::unavailable(anyhow::Error::new(e).context(what))
            }
        };
        let endpoint = Endpoint::detect(endpoint, Some(&root)).map_err(failure)?;
        let mut config = Config::default();
        (config.root, config.proc) = (root, proc);
        let (name, is_named) = node_name(args);
        Ok(Self { name, is_named, runtime: Client::new(&endpoint, config), allow_host: args.allow_host })
    }

    /// The pods that are meant. That there is none is an error.
    pub(crate) async fn find(&self, args: &PodArgs, wanted: &Wanted) -> Result<Vec<Found>, Failure> {
        #[cfg(feature = "api")]
        let asked = if args.local { None } else { Some(crate::api::find(args, wanted, self).await?) };
        #[cfg(not(feature = "api"))]
        let asked = {
            // Whatever it says: there is nobody else to ask.
            let PodArgs { local: _, .. } = args;
            None
        };
        let found = match asked {
            Some(found) => found,
            None => self.find_local(wanted).await?,
        };
        if found.is_empty() {
            let Wanted::Labelled { namespace, selector } = wanted else {
                unreachable!("one pod is found or is an error")
            };
            let place = namespace.as_ref().map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default();
            let guess = if self.is_named { "" } else { " (the host's name: say --node if that is another)" };
            let text = format!("no pod with labels {selector}{place} runs on node {}{guess}", self.name);
            return Err(Failure::unavailable(anyhow!(text)));
        }
        Ok(found)
    }

    async fn find_local(&self, wanted: &Wanted) -> Result<Vec<Found>, Failure> {
        match wanted {
            Wanted::One { namespace, name } => Ok(vec![Found {
                namespace: namespace.clone(),
                name: name.clone(),
                pod: Pod::named(namespace, name),
                host_network: false,
                elsewhere: None,
            }]),
            Wanted::Labelled { namespace, selector } => {
                let mut labels: Labels = selector.parse().map_err(Failure::usage)?;
                if let Some(namespace) = namespace {
                    labels = labels.in_namespace(namespace);
                }
                let sandboxes = self.runtime.ready_sandboxes(&labels).await.map_err(Failure::unavailable)?;
                for e in sandboxes.malformed {
                    say(&format!("a pod is left out: {e}"));
                }
                Ok(sandboxes
                    .found
                    .into_iter()
                    .map(|sandbox| Found::new(sandbox.namespace, sandbox.name, sandbox.uid))
                    .collect())
            }
        }
    }

    /// Opens a pod's network namespace, and makes sure that it is that pod's.
    pub(crate) async fn open(&self, found: &Found) -> Result<Entrance, Failure> {
        let host = |host_network: bool| {
            let text = format!(
                "pod {} has the network of its host: what is done there is done to node {}; if that is meant, say --allow-host",
                found.title(),
                self.name
            );
            if host_network && !self.allow_host { Err(Failure::usage(anyhow!(text))) } else { Ok(()) }
        };
        host(found.host_network)?;
        let named = || format!("cannot enter pod {}", found.title());
        let unavailable = |e: podtrail_cri::Error| {
            let error = anyhow::Error::new(e).context(named());
            Failure::unavailable(match &found.elsewhere {
                Some(node) => error.context(format!("it is on node {node}, and this may be another, {}", self.name)),
                None => error,
            })
        };
        let sandbox = self.runtime.sandbox_of(&found.pod).await.map_err(unavailable)?;
        host(sandbox.host_network)?;
        let netns = self.runtime.open_namespace(&sandbox).await.map_err(unavailable)?;
        Ok(Entrance { sandbox, netns })
    }
}

/// Where the node's root directory and its /proc are: in a container, where podtracer's manifests have them.
fn host_folders(given: Option<&Path>) -> (PathBuf, PathBuf) {
    let usual = Path::new("/host");
    let there = |name: &str| usual.join(name).exists();
    let root = given.unwrap_or_else(|| if there("run") { usual } else { Path::new("/") });
    let proc = if given.is_none() && there("proc/1") { usual.join("proc") } else { root.join("proc") };
    (root.to_owned(), proc)
}

/// The node that this is, and whether somebody said so: the name of the host, and more so that of a container, is often another.
pub(crate) fn node_name(args: &PodArgs) -> (String, bool) {
    let host = || rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    given(args.node.as_deref()).map_or_else(|| (host(), false), |name| (name.to_owned(), true))
}
