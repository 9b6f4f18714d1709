//! What happens to pods.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use podtrail_event::Timestamp;

use crate::clock::Stamp;
use crate::cluster::{Cluster, State};
use crate::error::{Error, ErrorKind};
use crate::history::{Change, Resource};
use crate::pod::{Attachment, Live, Outcome, Phase, Pod, PodSpec};
use crate::render;
use crate::truth::{DEFAULT_NETWORK, Scope, Truth};

/// When and with what an operation happens.
struct Moment<'a> {
    now: Timestamp,
    /// Now, as the pod's node tells the time.
    kubelet: Stamp,
    host_ips: Vec<IpAddr>,
    truth: Option<&'a mut Truth>,
}

impl Moment<'_> {
    fn hold(&mut self, pod: &Live, scope: Scope, wanted: &[(Arc<str>, IpAddr)]) {
        if let Some(truth) = &mut self.truth {
            truth.set(&pod.identity(self.now), scope, wanted, self.now);
        }
    }

    fn hold_default(&mut self, pod: &Live) {
        let network: Arc<str> = DEFAULT_NETWORK.into();
        let wanted: Vec<_> = pod.ips.iter().map(|ip| (network.clone(), *ip)).collect();
        self.hold(pod, Scope::Default, &wanted);
    }
}

impl Cluster {
    /// Creates a pod, scheduled but not running: an `ADDED` frame.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn create(&self, spec: PodSpec) -> Result<Pod, Error> {
        self.add(spec, None)
    }

    /// Creates a pod that runs already, in one change: how a populated cluster begins.
    ///
    /// # Errors
    /// If the name is taken, or `ips` is empty.
    pub fn create_running(&self, spec: PodSpec, ips: &[IpAddr]) -> Result<Pod, Error> {
        self.add(spec, Some(ips))
    }

    fn add(&self, spec: PodSpec, ips: Option<&[IpAddr]>) -> Result<Pod, Error> {
        let mut state = self.lock();
        let now = self.now();
        let key = (spec.namespace.clone(), spec.name.clone());
        if state.pods.contains_key(&key) {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("pod {}/{}", key.0, key.1)));
        }
        let mut pod = Live::new(spec, state.next_uid(self.uid()).into(), now.into());
        if let Some(ips) = ips {
            let ips = addresses(ips, &pod.handle())?;
            let mut moment = self.moment(&mut state, &pod.spec.node, now);
            begin(&mut pod, ips, &mut moment);
        }
        self.record(&mut state, Change::Added, &pod, false);
        let handle = pod.handle();
        state.pods.insert(key, pod);
        Ok(handle)
    }

    /// A pending pod's sandbox gets these addresses and its container runs. A hostNetwork pod is given its node's.
    ///
    /// # Errors
    /// If the pod is gone or not pending, or `ips` is empty.
    pub fn run(&self, pod: &Pod, ips: &[IpAddr]) -> Result<(), Error> {
        let ips = addresses(ips, pod)?;
        self.modify(pod, |live, moment| match live.phase {
            Phase::Pending => {
                begin(live, ips, moment);
                Ok(())
            }
            Phase::Running | Phase::Finished(_) => Err(wrong_phase(pod)),
        })
    }

    /// The pod has exactly these interfaces besides its first, as its `network-status` annotation says.
    ///
    /// # Errors
    /// If the pod is gone or not running.
    pub fn annotate_networks(&self, pod: &Pod, attachments: &[Attachment]) -> Result<(), Error> {
        self.modify_running(pod, |live, moment| {
            live.attachments = attachments.to_vec();
            let of = |a: &Attachment| -> Vec<(Arc<str>, IpAddr)> {
                let network: Arc<str> = a.network.as_str().into();
                a.ips.iter().map(|ip| (network.clone(), *ip)).collect()
            };
            let wanted: Vec<_> = attachments.iter().flat_map(of).collect();
            moment.hold(live, Scope::Secondary, &wanted);
        })
    }

    /// The pod's sandbox is made anew with these addresses, and its container restarts.
    ///
    /// # Errors
    /// If the pod is gone or not running, or `ips` is empty.
    pub fn change_addresses(&self, pod: &Pod, ips: &[IpAddr]) -> Result<(), Error> {
        let ips = addresses(ips, pod)?;
        self.modify_running(pod, |live, moment| {
            live.last = Some(live.end(moment.kubelet, 137));
            live.restarts += 1;
            begin(live, ips, moment);
        })
    }

    /// The pod has exactly these labels.
    ///
    /// # Errors
    /// If the pod is gone.
    pub fn relabel(&self, pod: &Pod, labels: &[(&str, &str)]) -> Result<(), Error> {
        self.modify(pod, |live, _| {
            let pairs = labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
            live.labels = Arc::new(pairs.collect());
            Ok(())
        })
    }

    /// All containers end: the sandbox goes and its addresses are free, though the object keeps showing them.
    ///
    /// # Errors
    /// If the pod is gone or not running.
    pub fn finish(&self, pod: &Pod, outcome: Outcome) -> Result<(), Error> {
        self.modify_running(pod, |live, moment| {
            live.end(moment.kubelet, u8::from(outcome == Outcome::Failed));
            live.phase = Phase::Finished(outcome);
            live.sandboxed = Some(moment.kubelet);
            live.readied = Some(moment.kubelet);
            if let Some(truth) = &mut moment.truth {
                truth.release(&live.uid, moment.now);
            }
        })
    }

    /// The pod's deletion is asked for: it gets a `deletionTimestamp` `grace` from now and holds its addresses until [`remove`](Self::remove).
    ///
    /// # Errors
    /// If the pod is gone.
    pub fn terminate(&self, pod: &Pod, grace: Duration) -> Result<(), Error> {
        self.modify(pod, |live, moment| {
            live.deletion = Some((moment.now.saturating_add(grace).into(), grace.as_secs()));
            Ok(())
        })
    }

    /// The pod's sandbox is gone and then its object: a `DELETED` frame.
    ///
    /// # Errors
    /// If the pod is gone.
    pub fn remove(&self, pod: &Pod) -> Result<(), Error> {
        let mut state = self.lock();
        let live = take(&mut state, pod)?;
        state.truth.release(&live.uid, self.now());
        self.delete(&mut state, &live);
        Ok(())
    }

    /// The pod's object goes at once, as after `kubectl delete --force`: a `DELETED` frame. Its sandbox still holds its addresses, until
    /// [`release`](Self::release).
    ///
    /// # Errors
    /// If the pod is gone.
    pub fn force_delete(&self, pod: &Pod) -> Result<(), Error> {
        let mut state = self.lock();
        let mut live = take(&mut state, pod)?;
        live.deletion = Some((self.now().into(), 0));
        self.delete(&mut state, &live);
        Ok(())
    }

    /// The sandbox of a force-deleted pod is gone at last, which no client is told.
    ///
    /// # Errors
    /// If the pod's object still exists.
    pub fn release(&self, pod: &Pod) -> Result<(), Error> {
        let mut state = self.lock();
        if state.pods.get(&key(pod)).is_some_and(|live| live.uid == pod.uid) {
            return Err(wrong_phase(pod));
        }
        state.truth.release(&pod.uid, self.now());
        Ok(())
    }

    /// The pod of this name, if there is one.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<Pod> {
        self.lock().pods.get(&(namespace.into(), name.into())).map(Live::handle)
    }

    fn delete(&self, state: &mut State, live: &Live) {
        let lost = self.faults().drops_deleted();
        self.record(state, Change::Deleted, live, lost);
    }

    fn modify_running(&self, pod: &Pod, edit: impl FnOnce(&mut Live, &mut Moment<'_>)) -> Result<(), Error> {
        self.modify(pod, |live, moment| match live.phase {
            Phase::Running => {
                edit(live, moment);
                Ok(())
            }
            Phase::Pending | Phase::Finished(_) => Err(wrong_phase(pod)),
        })
    }

    fn modify(
        &self,
        pod: &Pod,
        edit: impl FnOnce(&mut Live, &mut Moment<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut state = self.lock();
        let now = self.now();
        let mut live = take(&mut state, pod)?;
        let mut moment = self.moment(&mut state, &live.spec.node, now);
        let edited = edit(&mut live, &mut moment);
        if edited.is_ok() {
            let lost = self.faults().drops_modified();
            self.record(&mut state, Change::Modified, &live, lost);
        }
        state.pods.insert(key(pod), live);
        edited
    }

    fn moment<'s>(&self, state: &'s mut State, node: &str, now: Timestamp) -> Moment<'s> {
        let kubelet = state.on_node(node, now);
        let host_ips = state.host_ips(node);
        Moment { now, kubelet, host_ips, truth: self.0.config.keep_truth.then_some(&mut state.truth) }
    }

    fn record(&self, state: &mut State, change: Change, pod: &Live, lost: bool) {
        state.history.record(Resource::Pods, change, pod.about(), lost, |out, version| {
            render::pod(out, pod, version, &self.0.managed_fields);
        });
    }
}

/// Takes the pod out of the living, for an operation to put it back.
fn take(state: &mut State, pod: &Pod) -> Result<Live, Error> {
    let gone = || Error::new(ErrorKind::NotFound, name(pod));
    let key = key(pod);
    match state.pods.remove(&key) {
        Some(live) if live.uid == pod.uid => Ok(live),
        Some(other) => {
            state.pods.insert(key, other);
            Err(gone())
        }
        None => Err(gone()),
    }
}

/// The sandbox has these addresses and the container runs.
fn begin(live: &mut Live, ips: &[IpAddr], moment: &mut Moment<'_>) {
    live.ips = ips.to_vec();
    live.host_ips.clone_from(&moment.host_ips);
    live.start(moment.kubelet);
    moment.hold_default(live);
}

fn addresses<'a>(ips: &'a [IpAddr], pod: &Pod) -> Result<&'a [IpAddr], Error> {
    if ips.is_empty() { Err(Error::new(ErrorKind::NoAddress, name(pod))) } else { Ok(ips) }
}

fn key(pod: &Pod) -> (Arc<str>, Arc<str>) {
    (pod.namespace.clone(), pod.name.clone())
}

fn wrong_phase(pod: &Pod) -> Error {
    Error::new(ErrorKind::WrongPhase, name(pod))
}

fn name(pod: &Pod) -> String {
    format!("pod {}/{} (uid {})", pod.namespace, pod.name, pod.uid)
}
