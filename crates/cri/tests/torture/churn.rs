//! Pods that are replaced again and again under the same names.

use std::net::UdpSocket;
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use podtrail_netns::Netns;
use rand::Rng as _;
use rand::rngs::SmallRng;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::chance;
use crate::fake::{Fake, PodSandboxState, PodSandboxStatusResponse, sandbox};

pub(crate) const PODS: usize = 200;
/// How many lives of a pod have labels of their own.
const LIVES: u64 = 300;
/// Below it ports are reserved.
const FIRST_PORT: u64 = 1024;
/// Replaced every second, all churners together.
const RATE: u32 = 200;
/// A number that each network namespace has for itself, and that nothing here needs: above `LABELLED` it is the label of a life.
pub(crate) const FILE: &str = "/proc/sys/net/ipv4/tcp_max_syn_backlog";
const LABELLED: u64 = 1_000_000;

/// What only one namespace has in all the time that the test takes; inodes are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) pod: usize,
    pub(crate) life: u64,
}

impl Label {
    pub(crate) const fn port(self) -> u16 {
        (FIRST_PORT + self.pod as u64 * LIVES + self.life) as u16
    }

    /// By what is in the file; `None` while it is not written yet.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let number = text.trim().parse::<u64>().unwrap().checked_sub(LABELLED)?;
        Some(Self { pod: (number / LIVES) as usize, life: number % LIVES })
    }

    fn write(self) -> String {
        (LABELLED + self.pod as u64 * LIVES + self.life).to_string()
    }
}

/// The truth: which pods there are, and which namespace each has in which of its lives.
pub(crate) struct Pods<'a> {
    fake: &'a Fake,
    slots: Vec<Slot>,
    replaced: AtomicUsize,
}

/// A pod of one name.
struct Slot {
    name: String,
    /// Odd while a life is announced, that of number `stage / 2`.
    stage: AtomicU64,
    /// What its lives' namespaces are: by number, from the first.
    inodes: Mutex<Vec<u64>>,
    announced: Mutex<Option<Process>>,
    life: Mutex<Option<Life>>,
}

/// The process of a pod's sandbox.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) pidfd: Arc<OwnedFd>,
    pub(crate) life: u64,
}

/// What is there as long as a life lasts.
struct Life {
    process: Child,
    /// Bound to the label, for whoever lists sockets.
    _socket: UdpSocket,
}

impl<'a> Pods<'a> {
    pub(crate) fn start(fake: &'a Fake, churners: usize) -> Self {
        let slot = |nth| Slot {
            name: format!("pod-{nth}"),
            stage: AtomicU64::new(0),
            inodes: Mutex::default(),
            announced: Mutex::default(),
            life: Mutex::default(),
        };
        let pods = Self { fake, slots: (0..PODS).map(slot).collect(), replaced: AtomicUsize::new(0) };
        thread::scope(|scope| {
            for churner in 0..churners {
                let pods = &pods;
                scope.spawn(move || (churner..PODS).step_by(churners).for_each(|nth| pods.begin(nth)));
            }
        });
        pods
    }

    /// Replaces one of its pods after the other, at random and evenly in time, until it is told that it is over.
    pub(crate) fn churn(&self, churner: usize, churners: usize, random: &mut SmallRng, is_over: &AtomicBool) {
        let period = Duration::from_secs(1) / RATE * churners as u32;
        let mut next = Instant::now();
        while !is_over.load(Ordering::Relaxed) {
            let nth = random.random_range(0..PODS / churners) * churners + churner;
            self.end(nth, chance(random, 50));
            self.begin(nth);
            self.replaced.fetch_add(1, Ordering::Relaxed);
            next += period;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    fn begin(&self, nth: usize) {
        let slot = &self.slots[nth];
        let life = slot.stage.load(Ordering::SeqCst) / 2;
        assert!(life < LIVES, "labels are used up: make the test shorter");
        let label = Label { pod: nth, life };
        let netns = Netns::create_named(&slot.name).unwrap();
        slot.inodes.lock().unwrap().push(netns.inode());
        let socket = netns.run(|| UdpSocket::bind(("0.0.0.0", label.port())).unwrap()).unwrap();
        netns.run(|| std::fs::write(FILE, label.write()).unwrap()).unwrap();
        let process = netns.command("sleep").arg("1000").spawn().unwrap();
        let pidfd = Arc::new(pidfd_open(Pid::from_child(&process), PidfdFlags::empty()).unwrap());
        let pid = process.id();
        *slot.life.lock().unwrap() = Some(Life { process, _socket: socket });
        *slot.announced.lock().unwrap() = Some(Process { pid, pidfd, life });

        // Half of the pods are of a runtime that says processes instead of paths.
        let info = match nth % 2 {
            0 => format!(
                r#"{{"pid":{pid},"runtimeSpec":{{"linux":{{"namespaces":[{{"type":"network","path":"/run/netns/{}"}}]}}}}}}"#,
                slot.name
            ),
            _ => format!(r#"{{"pid":{pid}}}"#),
        };
        let (id, uid) = (format!("{nth:03}{life:05}"), format!("uid-{nth}-{life}"));
        let sandbox = sandbox(&id, &slot.name, &uid, &info);
        let mut state = self.fake.state();
        // One that is not ready any more is there until the next is.
        state.sandboxes.retain(|other| !has_id(other, |id| id.starts_with(&format!("{nth:03}"))));
        state.sandboxes.push(sandbox);
        slot.stage.store(life * 2 + 1, Ordering::SeqCst);
    }

    /// As runtimes do it: first it is said, then it is done.
    fn end(&self, nth: usize, is_removed: bool) {
        let slot = &self.slots[nth];
        let id = format!("{nth:03}{:05}", slot.stage.load(Ordering::SeqCst) / 2);
        let is_it = |sandbox: &PodSandboxStatusResponse| has_id(sandbox, |other| other == id);
        {
            let mut state = self.fake.state();
            match is_removed {
                true => state.sandboxes.retain(|sandbox| !is_it(sandbox)),
                false => state.sandboxes.iter_mut().filter(|sandbox| is_it(sandbox)).for_each(|sandbox| {
                    sandbox.status().state = PodSandboxState::SandboxNotready.into();
                }),
            }
            slot.stage.fetch_add(1, Ordering::SeqCst);
        }
        let Process { pid, pidfd, .. } = slot.announced.lock().unwrap().take().unwrap();
        let mut life = slot.life.lock().unwrap().take().unwrap();
        pidfd_send_signal(&pidfd, Signal::KILL).unwrap();
        life.process.wait().unwrap();
        // Whoever is started next gets its number.
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
        Netns::delete_named(&slot.name).unwrap();
    }

    pub(crate) fn name(&self, nth: usize) -> &str {
        &self.slots[nth].name
    }

    pub(crate) fn stage(&self, nth: usize) -> Stage {
        Stage(self.slots[nth].stage.load(Ordering::SeqCst))
    }

    pub(crate) fn process(&self, nth: usize) -> Option<Process> {
        self.slots[nth].announced.lock().unwrap().clone()
    }

    /// The namespace that has this label.
    pub(crate) fn inode(&self, label: Label) -> u64 {
        self.slots[label.pod].inodes.lock().unwrap()[label.life as usize]
    }

    pub(crate) fn replaced(&self) -> usize {
        self.replaced.load(Ordering::Relaxed)
    }
}

impl Drop for Pods<'_> {
    fn drop(&mut self) {
        (0..PODS).for_each(|nth| self.end(nth, true));
    }
}

fn has_id(sandbox: &PodSandboxStatusResponse, is_it: impl FnOnce(&str) -> bool) -> bool {
    sandbox.status.as_ref().is_some_and(|status| is_it(&status.id))
}

/// Where a pod is between its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stage(u64);

impl Stage {
    /// Whether a life is announced, so that all about it holds.
    pub(crate) const fn is_stable(self) -> bool {
        self.0 % 2 == 1
    }

    /// Whether that life is over.
    pub(crate) const fn is_after(self, life: u64) -> bool {
        self.0 > life * 2 + 1
    }

    /// The lives that the pod's name may have meant from then until now. Between two it is the one or the other's.
    pub(crate) const fn lives(self, until: Self) -> RangeInclusive<u64> {
        RangeInclusive::new(self.0.saturating_sub(1) / 2, until.0 / 2)
    }
}
