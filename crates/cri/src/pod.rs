use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::{Error, ErrorKind, Result, Sandbox};

/// The labels that the kubelet gives each sandbox.
const NAMESPACE: &str = "io.kubernetes.pod.namespace";
const NAME: &str = "io.kubernetes.pod.name";
const UID: &str = "io.kubernetes.pod.uid";

/// Longer selectors are refused.
const MAX_SELECTOR: usize = 16 * 1024;

/// The pod whose sandbox is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    by: By,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum By {
    Name { namespace: String, name: String },
    Uid(String),
}

impl Pod {
    /// The pod of this name.
    pub fn named(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { by: By::Name { namespace: namespace.into(), name: name.into() } }
    }

    /// The pod of this UID: one incarnation, never a later one of the same name.
    ///
    /// A static pod has here the UID that the node gave it, which is the annotation `kubernetes.io/config.hash` in the Kubernetes API.
    pub fn with_uid(uid: impl Into<String>) -> Self {
        Self { by: By::Uid(uid.into()) }
    }

    /// What selects its sandboxes at the runtime.
    pub(crate) fn labels(&self) -> Labels {
        let labels = match &self.by {
            By::Name { namespace, name } => vec![(NAMESPACE.into(), namespace.clone()), (NAME.into(), name.clone())],
            By::Uid(uid) => vec![(UID.into(), uid.clone())],
        };
        Labels(labels.into_iter().collect())
    }

    /// Whether a sandbox is this pod's, by its metadata.
    pub(crate) fn is_of(&self, sandbox: &Sandbox) -> bool {
        match &self.by {
            By::Name { namespace, name } => sandbox.namespace == *namespace && sandbox.name == *name,
            By::Uid(uid) => sandbox.uid == *uid,
        }
    }

    /// Whether a sandbox that the runtime says wrongly could be this pod's: what is empty in it could be anything.
    fn may_be_of(&self, sandbox: &Sandbox) -> bool {
        let may_be = |said: &str, wanted: &str| said.is_empty() || said == wanted;
        match &self.by {
            By::Name { namespace, name } => may_be(&sandbox.namespace, namespace) && may_be(&sandbox.name, name),
            By::Uid(uid) => may_be(&sandbox.uid, uid),
        }
    }
}

impl fmt::Display for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.by {
            By::Name { namespace, name } => write!(f, "pod {namespace}/{name}"),
            By::Uid(uid) => write!(f, "pod with UID {uid}"),
        }
    }
}

/// Labels that a sandbox must all have. Without any, every sandbox is selected.
///
/// A pod's labels are its sandbox's too, as they were when the sandbox was made; the kubelet adds `io.kubernetes.pod.namespace`,
/// `io.kubernetes.pod.name` and `io.kubernetes.pod.uid`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// No label: every sandbox.
    pub fn new() -> Self {
        Self::default()
    }

    /// One label more.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(key.into(), value.into());
        self
    }

    /// Pods of this namespace alone.
    #[must_use]
    pub fn in_namespace(self, namespace: impl Into<String>) -> Self {
        self.with(NAMESPACE, namespace)
    }

    /// The labels, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    pub(crate) fn to_map(&self) -> BTreeMap<String, String> {
        self.0.clone()
    }

    /// Whether all are among these.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

impl FromStr for Labels {
    type Err = Error;

    /// Reads `key=value,key==value`, the part of a Kubernetes label selector that runtimes know.
    fn from_str(text: &str) -> Result<Self> {
        let not = |why: &str| {
            let shown: String = text.chars().take(120).collect();
            Error::new(ErrorKind::Selector, format!("{shown:?} is no label selector: {why}"))
        };
        if text.len() > MAX_SELECTOR {
            return Err(not("it is too long"));
        }
        let mut labels = Self::new();
        for part in text.split(',') {
            let pair = part.split_once("==").or_else(|| part.split_once('='));
            let (key, value) = pair.map(|(key, value)| (key.trim(), value.trim())).unwrap_or_default();
            if key.is_empty() || key.contains(char::is_whitespace) || key.contains('!') || value.contains('=') {
                return Err(not("key=value,key=value is; a container runtime knows no other operators"));
            }
            if labels.0.insert(key.to_owned(), value.to_owned()).is_some_and(|other| other != value) {
                return Err(not("a label cannot have two values"));
            }
        }
        Ok(labels)
    }
}

/// The sandbox of a pod: of those that are ready the newest. What the runtime says wrongly is never it, but may be why no other is.
pub(crate) fn choose(pod: &Pod, sandboxes: Vec<Sandbox>) -> Result<Sandbox> {
    let age = |sandbox: &Sandbox| (sandbox.created, sandbox.attempt);
    let (malformed, sandboxes): (Vec<_>, Vec<_>) = sandboxes.into_iter().partition(|sandbox| sandbox.check().is_err());
    let (ready, others): (Vec<_>, Vec<_>) =
        sandboxes.into_iter().filter(|sandbox| pod.is_of(sandbox)).partition(|sandbox| sandbox.ready);
    let Some(newest) = ready.iter().max_by_key(|sandbox| age(sandbox)) else {
        let stopped = others.iter().max_by_key(|sandbox| age(sandbox));
        let suspect = malformed.iter().find(|odd| pod.may_be_of(odd) && (odd.ready || stopped.is_none()));
        return Err(match (suspect.and_then(|odd| odd.check().err()), stopped) {
            (Some(e), _) => {
                Error::caused(ErrorKind::Malformed, format!("{pod} may be one that the runtime lists wrongly"), e)
            }
            (None, Some(newest)) => not_ready(newest),
            (None, None) => Error::new(ErrorKind::NoSandbox, format!("{pod} has no sandbox here: is it on this node?")),
        });
    };
    let mut all = ready.iter().chain(malformed.iter().filter(|odd| odd.ready && pod.is_of(odd)));
    if let Some(other) = all.find(|sandbox| sandbox.uid != newest.uid) {
        let uids = [&newest.uid, &other.uid].map(String::as_str).join(" and ");
        let what = format!("several sandboxes of {pod} are ready, of UIDs {uids}: choose one by its UID");
        return Err(Error::new(ErrorKind::Ambiguous, what));
    }
    Ok(newest.clone())
}

/// Why nothing can be done in a sandbox that is not ready.
pub(crate) fn not_ready(sandbox: &Sandbox) -> Error {
    let Sandbox { id, namespace, name, uid, .. } = sandbox;
    let made =
        jiff::Timestamp::try_from(sandbox.created).map_or_else(|_| "an unknown time".into(), |at| at.to_string());
    let what = format!(
        "the sandbox of pod {namespace}/{name} (UID {uid}) is not ready: {id}, made at {made}, has stopped or is being made; \
         does the pod run?"
    );
    Error::new(ErrorKind::NotReady, what)
}
