//! Pods: borrowed as decoded, owned as used.

use std::time::Duration;

use podtrail_event::{Address, DEFAULT_NETWORK, Map, Owner, Pod, Timestamp};
use serde::Deserialize;

use crate::decode::{self, Frame, Lite, Metadata, Pairs, Str};
use crate::delta::{Rejected, Report};
use crate::error::Error;
use crate::{address, networks, stamp};

/// Where a pod is in its life, as its kubelet last said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the API promises to add none")]
pub enum Phase {
    /// Not all of its containers have started.
    Pending,
    /// It runs.
    Running,
    /// All of its containers have ended well and will not be started again.
    Succeeded,
    /// All of its containers have ended, one of them badly.
    Failed,
    /// Its kubelet cannot be reached, or it says none.
    #[default]
    Unknown,
}

impl Phase {
    /// Whether nothing of it will run again: its address is history.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// What the API says of a pod at one version: identity, what it shows, and the stamps that bound when.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "built literally by the tests of those who consume it")]
pub struct PodState {
    /// Who it is.
    pub pod: Pod,
    /// `metadata.resourceVersion`.
    pub resource_version: u64,
    /// `status.phase`.
    pub phase: Phase,
    /// What it shows: `status.podIPs` in their order, on the network `default` (of a hostNetwork pod they are its
    /// node's), then those of secondary networks, on `namespace/name`. None twice.
    pub addresses: Vec<Address>,
    /// Something of what it shows could not be used: it may hold addresses besides.
    pub addresses_spoilt: bool,
    /// When the condition `PodScheduled` became true.
    pub scheduled: Option<Timestamp>,
    /// `status.startTime`: when its kubelet took it on.
    pub kubelet_started: Option<Timestamp>,
    /// When the oldest of the containers that now run was started; of a terminal pod, when the first of those that were
    /// never restarted was.
    pub running_since: Option<Timestamp>,
    /// Whether a container is shown as running. In a terminal pod this says that the phase is not its kubelet's word.
    pub running: bool,
    /// When the last container ended; only if all have.
    pub finished: Option<Timestamp>,
    /// `metadata.deletionGracePeriodSeconds`.
    pub grace: Option<Duration>,
    /// Whether it mirrors a static pod of its node.
    pub mirror: bool,
}

impl PodState {
    /// When its deletion was asked for: `deletionTimestamp` less the grace.
    pub fn deletion_requested(&self) -> Option<Timestamp> {
        self.pod.deletion.map(|at| at.saturating_sub(self.grace.unwrap_or_default()))
    }
}

/// A pod as decoded: borrows from the input, holds only what a [`PodState`] is made of.
#[derive(Debug, Deserialize)]
pub struct PodLite<'a> {
    #[serde(borrow)]
    kind: Option<Str<'a>>,
    #[serde(borrow)]
    metadata: Option<Metadata<'a>>,
    #[serde(borrow)]
    spec: Option<Spec<'a>>,
    #[serde(borrow)]
    status: Option<Status<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(borrow)]
    node_name: Option<Str<'a>>,
    #[serde(borrow)]
    service_account_name: Option<Str<'a>>,
    host_network: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    #[serde(borrow)]
    phase: Option<Str<'a>>,
    #[serde(rename = "podIP", borrow)]
    pod_ip: Option<Str<'a>>,
    #[serde(rename = "podIPs", borrow)]
    pod_ips: Option<Vec<PodIp<'a>>>,
    #[serde(borrow)]
    start_time: Option<Str<'a>>,
    #[serde(borrow)]
    conditions: Option<Vec<Condition<'a>>>,
    #[serde(borrow)]
    container_statuses: Option<Vec<Container<'a>>>,
    #[serde(borrow)]
    init_container_statuses: Option<Vec<Container<'a>>>,
}

#[derive(Debug, Deserialize)]
struct PodIp<'a> {
    #[serde(borrow)]
    ip: Option<Str<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Str<'a>>,
    #[serde(borrow)]
    status: Option<Str<'a>>,
    #[serde(borrow)]
    last_transition_time: Option<Str<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container<'a> {
    restart_count: Option<i64>,
    #[serde(borrow)]
    state: Option<State<'a>>,
}

#[derive(Debug, Deserialize)]
struct State<'a> {
    #[serde(borrow)]
    running: Option<Span<'a>>,
    #[serde(borrow)]
    terminated: Option<Span<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Span<'a> {
    #[serde(borrow)]
    started_at: Option<Str<'a>>,
    #[serde(borrow)]
    finished_at: Option<Str<'a>>,
}

impl<'a> Lite<'a> for PodLite<'a> {
    const KIND: &'static str = "Pod";

    fn kind(&self) -> Option<&Str<'a>> {
        self.kind.as_ref()
    }

    fn metadata(&self) -> Option<&Metadata<'a>> {
        self.metadata.as_ref()
    }
}

impl<'a> PodLite<'a> {
    /// Decodes one line of a watch of pods.
    ///
    /// # Errors
    /// If it is not a watch event of a known type, or its object is of another kind.
    pub fn frame(line: &'a [u8]) -> Result<Frame<Self>, Error> {
        decode::frame(line)
    }

    /// Decodes a pod by itself, as `GET` and lists give it.
    ///
    /// # Errors
    /// If it is not JSON of a pod's shape, or says that it is of another kind.
    pub fn object(json: &'a [u8]) -> Result<Self, Error> {
        decode::object(json)
    }

    /// What it says, checked. A field that cannot be used is left out and added to `rejected`.
    ///
    /// # Errors
    /// If it lacks a UID, a namespace or a name, or its version is not a number.
    pub fn state(&self, received: Timestamp, rejected: &mut Vec<Rejected>) -> Result<PodState, Error> {
        let none = Metadata::default();
        let metadata = self.metadata.as_ref().unwrap_or(&none);
        let uid = metadata.required("uid", &metadata.uid)?;
        let namespace = metadata.required("namespace", &metadata.namespace)?;
        let name = metadata.required("name", &metadata.name)?;
        let resource_version = metadata.version()?;

        let report = &mut Report::new(format!("{namespace}/{name}"), received, rejected);
        let (spec, status) = (self.spec.as_ref(), self.status.as_ref());
        let (mut room, none) = (MOST_BYTES, Status::default());
        let status = status.unwrap_or(&none);
        let pod = Pod {
            uid: uid.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            node: spec.and_then(|s| nonempty(&s.node_name)),
            service_account: spec.and_then(|s| nonempty(&s.service_account_name)),
            owner: owner(metadata),
            host_network: spec.and_then(|s| s.host_network) == Some(true),
            labels: metadata.labels.as_ref().map(|l| map("label", l, MOST_LABELS, &mut room, report)),
            annotations: metadata.annotations.as_ref().map(|a| map("annotation", a, usize::MAX, &mut room, report)),
            created: at("creationTimestamp", &metadata.creation_timestamp, report),
            deletion: at("deletionTimestamp", &metadata.deletion_timestamp, report),
        };
        let annotation = |key| metadata.annotations.as_ref()?.0.iter().find(|(k, _)| k.0 == key).map(|(_, v)| &*v.0);

        let faults = report.faults();
        let mut addresses = pod_ips(status, report);
        if let Some(text) = networks::KEYS.into_iter().find_map(annotation) {
            networks::collect(text, namespace, &mut addresses, report);
        }
        let addresses_spoilt = report.faults() > faults;
        let phase = phase(status, report);
        let scheduled =
            status.conditions.iter().flatten().find(|c| is(&c.kind, "PodScheduled") && is(&c.status, "True"));
        Ok(PodState {
            resource_version,
            phase,
            addresses,
            addresses_spoilt,
            scheduled: scheduled.and_then(|c| at("lastTransitionTime", &c.last_transition_time, report)),
            kubelet_started: at("startTime", &status.start_time, report),
            running_since: running_since(status, phase, report),
            running: containers(status).any(|state| state.running.is_some()),
            finished: finished(status, report),
            grace: grace(metadata.deletion_grace_period_seconds, report),
            mirror: annotation("kubernetes.io/config.mirror").is_some(),
            pod,
        })
    }
}

/// What API servers themselves allow of annotations; of labels and annotations together that much is kept.
const MOST_BYTES: usize = 256 << 10;
const MOST_LABELS: usize = 64;

fn map(what: &str, pairs: &Pairs<'_>, most: usize, room: &mut usize, report: &mut Report<'_>) -> Map {
    let mut map = Map::new();
    for (key, value) in &pairs.0 {
        let size = key.0.len() + value.0.len();
        if map.len() >= most {
            report.add(&format!("a {what} beyond the first {most}"), &key.0);
        } else if size > *room {
            report.add(&format!("{what}: more than 256 KiB of labels and annotations"), &key.0);
        } else {
            *room -= size;
            map.insert(key.owned(), value.owned());
        }
    }
    map
}

fn owner(metadata: &Metadata<'_>) -> Option<Owner> {
    let controller = metadata.owner_references.iter().flatten().find(|o| o.controller == Some(true))?;
    Some(Owner { kind: nonempty(&controller.kind)?, name: nonempty(&controller.name)? })
}

fn pod_ips(status: &Status<'_>, report: &mut Report<'_>) -> Vec<Address> {
    let listed: Vec<&str> =
        status.pod_ips.iter().flatten().map(|entry| entry.ip.as_ref().map_or("", |ip| &ip.0)).collect();
    let single = status.pod_ip.as_ref().map_or("", |ip| &ip.0);
    let texts = match listed.first() {
        None if single.is_empty() => Vec::new(),
        None => vec![single],
        Some(first) => {
            if !single.is_empty() && single != *first {
                report.add("podIP: not the first of podIPs", single);
            }
            listed
        }
    };
    let mut addresses = Vec::<Address>::with_capacity(texts.len().min(2));
    for text in texts {
        match address::parse(text) {
            Ok(ip) if addresses.iter().any(|a| a.ip == ip) => {
                report.add("podIPs: an address that is listed twice", text)
            }
            Ok(ip) if addresses.iter().any(|a| a.ip.is_ipv4() == ip.is_ipv4()) => {
                report.add("podIPs: a second address of one family", text);
            }
            Ok(ip) => addresses.push(Address { network: DEFAULT_NETWORK.to_owned(), ip }),
            Err(why) => report.add(&format!("podIPs: {why}"), text),
        }
    }
    addresses
}

fn phase(status: &Status<'_>, report: &mut Report<'_>) -> Phase {
    match status.phase.as_ref().map_or("", |phase| &phase.0) {
        "Pending" => Phase::Pending,
        "Running" => Phase::Running,
        "Succeeded" => Phase::Succeeded,
        "Failed" => Phase::Failed,
        "Unknown" | "" => Phase::Unknown,
        other => {
            report.add("phase: not one of the five", other);
            Phase::Unknown
        }
    }
}

fn containers<'s, 'a>(status: &'s Status<'a>) -> impl Iterator<Item = &'s State<'a>> {
    let all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    all.filter_map(|container| container.state.as_ref())
}

fn running_since(status: &Status<'_>, phase: Phase, report: &mut Report<'_>) -> Option<Timestamp> {
    if phase.is_terminal() {
        let containers = status.container_statuses.iter().flatten();
        let first = containers.filter(|c| c.restart_count.unwrap_or(0) == 0);
        let spans = first.filter_map(|c| c.state.as_ref()?.terminated.as_ref());
        return spans.filter_map(|span| at("startedAt", &span.started_at, report)).min();
    }
    let spans = containers(status).filter_map(|state| state.running.as_ref());
    spans.filter_map(|span| at("startedAt", &span.started_at, report)).min()
}

fn finished(status: &Status<'_>, report: &mut Report<'_>) -> Option<Timestamp> {
    let containers = status.container_statuses.as_ref().filter(|c| !c.is_empty())?;
    let mut latest = None;
    // A side-car is an init container that may outlive the others.
    for container in containers.iter().chain(status.init_container_statuses.iter().flatten()) {
        let span = container.state.as_ref()?.terminated.as_ref()?;
        latest = latest.max(Some(at("finishedAt", &span.finished_at, report)?));
    }
    latest
}

fn grace(seconds: Option<i64>, report: &mut Report<'_>) -> Option<Duration> {
    let seconds = seconds?;
    match u32::try_from(seconds) {
        Ok(seconds) => Some(Duration::from_secs(seconds.into())),
        Err(_) => {
            report.add("deletionGracePeriodSeconds: out of range", &seconds.to_string());
            None
        }
    }
}

/// The instant that a stamp says; one that says none is reported.
pub(crate) fn at(member: &str, text: &Option<Str<'_>>, report: &mut Report<'_>) -> Option<Timestamp> {
    let text = text.as_ref()?;
    let at = stamp::parse(&text.0);
    if at.is_none() {
        report.add(&format!("{member}: not a time between 1970 and 2200"), &text.0);
    }
    at
}

fn nonempty(text: &Option<Str<'_>>) -> Option<String> {
    text.as_ref().filter(|text| !text.0.is_empty()).map(Str::owned)
}

fn is(text: &Option<Str<'_>>, word: &str) -> bool {
    text.as_ref().is_some_and(|text| text.0 == word)
}

#[cfg(test)]
mod tests;
