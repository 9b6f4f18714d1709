use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::net::netdevice::{index_to_name, name_to_index};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};

use super::program::{BpfInstruction, Programs, take};
use super::ring::{self, Ring};
use super::{CaptureStats, Filter, Interface, LinkType, Packet, Packets, device};
use crate::{Error, ErrorKind, Netns, Result};

/// As many bytes of a packet as are taken unless something else is asked for: more than most packets can have.
const MAX_SNAP_LENGTH: u32 = 262_144;
const RING_SIZES: std::ops::RangeInclusive<usize> = 256 << 10..=1 << 30;
/// A block holds a packet of 64 KiB at least; the kernel need not find larger ones than this in one piece.
const BLOCK_SIZES: [usize; 2] = [128 << 10, 1 << 20];
const BLOCK_TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(10);
/// The kernel's counters have 32 bits and begin anew when they are read: they are, long before they are full.
const COUNT_EVERY: Duration = Duration::from_secs(60);
/// How often it is looked whether an interface that was down is still there.
const LOOK: Duration = Duration::from_millis(250);
/// More interfaces are not named one by one.
const MAX_INTERFACES: usize = 64;

/// What to capture, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CaptureConfig {
    /// The names of the interfaces; all that there are and will be, if none is named. At most 64.
    pub interfaces: Vec<String>,
    /// Which packets; all without one.
    pub filter: Option<Filter>,
    /// How many bytes of a packet are taken at most: 1 to 262,144.
    pub snap_length: u32,
    /// How many bytes of the kernel's memory hold packets that were not read yet: 256 KiB to 1 GiB. It is rounded up.
    pub ring_size: usize,
    /// How long a packet waits in the ring for others, at most: 1 ms to 10 s.
    pub block_timeout: Duration,
    /// Whether the interfaces that there are take packets for others too.
    pub promiscuous: bool,
}

impl Default for CaptureConfig {
    /// All packets of all interfaces, whole; a ring of 16 MiB, read every 100 ms at least; not promiscuous.
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            filter: None,
            snap_length: MAX_SNAP_LENGTH,
            ring_size: 16 << 20,
            block_timeout: Duration::from_millis(100),
            promiscuous: false,
        }
    }
}

impl CaptureConfig {
    fn check(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::new(ErrorKind::Config, what.into(), None));
        match self {
            _ if !(1..=MAX_SNAP_LENGTH).contains(&self.snap_length) => refuse("the snap length is 1 to 262144 bytes"),
            _ if !RING_SIZES.contains(&self.ring_size) => refuse("the ring's size is 256 KiB to 1 GiB"),
            _ if !BLOCK_TIMEOUTS.contains(&self.block_timeout) => refuse("a block's timeout is 1 ms to 10 s"),
            _ if self.interfaces.len() > MAX_INTERFACES => refuse("more than 64 interfaces are not captured by name"),
            _ => Ok(()),
        }
    }

    /// For both types of link, whatever the namespace has.
    fn programs(&self) -> Result<[Result<Vec<BpfInstruction>>; 2]> {
        let Some(filter) = &self.filter else {
            let all = vec![take(self.snap_length)];
            return Ok([Ok(all.clone()), Ok(all)]);
        };
        filter.check_for_capture()?;
        Ok([LinkType::ETHERNET, LinkType::RAW].map(|link_type| filter.compile(link_type, self.snap_length)))
    }
}

/// A capture of packets in a network namespace, through a ring that the kernel fills.
///
/// It captures devices whose packets begin with an Ethernet header ([`LinkType::ETHERNET`], loopback too) or with an IP header
/// ([`LinkType::RAW`]: tun, WireGuard, tunnels of IP in IP); others are left out, as [`interfaces`](Self::interfaces) shows. A packet
/// on the loopback device is seen once, when it arrives.
#[derive(Debug)]
pub struct Capture {
    ring: Ring,
    /// Whether the current block was lent, and is to be given back.
    is_lent: bool,
    interfaces: Vec<Interface>,
    /// The only one that is captured.
    bound: Option<Interface>,
    /// Whether that was down once.
    was_down: bool,
    handle: CaptureHandle,
    /// When the rest of what was captured before the stop has been handed over for sure.
    end: Option<Instant>,
    /// What stopped it, if that was an error.
    stopped_by: Option<Error>,
    is_finished: bool,
    snap_length: u32,
    block_timeout: Duration,
    stats: CaptureStats,
    count_next: Instant,
}

/// Stops a [`Capture`] from anywhere, and looks up names of interfaces.
#[derive(Clone, Debug)]
pub struct CaptureHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    stop: OwnedFd,
    /// Any socket of the namespace: interfaces are asked for through it.
    control: OwnedFd,
}

impl CaptureHandle {
    /// Ends the capture: no packet is captured from a moment later on, and the reader gets the rest.
    pub fn stop(&self) {
        // It fails only where the counter would go beyond its end: it is not zero then.
        rustix::io::write(&self.shared.stop, &1_u64.to_ne_bytes()).ok();
    }

    /// What the namespace has under this index now: interfaces may appear, vanish and get other names.
    ///
    /// # Errors
    ///
    /// If there is none any more, or its name is no text.
    pub fn interface(&self, index: u32) -> Result<Interface> {
        let cannot = |e: Errno| {
            Error::new(ErrorKind::Interface, format!("cannot look up interface {index}"), io::Error::from(e))
        };
        let control = &self.shared.control;
        let name = index_to_name(control, index).map_err(cannot)?;
        let link_type = device::link_type(ring::device_type(control, &name).map_err(cannot)?);
        Ok(Interface { index, name, link_type })
    }

    /// The interface of a packet, under its number if it is gone already.
    pub fn interface_of(&self, packet: &Packet<'_>) -> Interface {
        let name = index_to_name(&self.shared.control, packet.interface);
        let name = name.unwrap_or_else(|_gone| format!("if{}", packet.interface));
        Interface { index: packet.interface, name, link_type: Some(packet.link_type) }
    }
}

impl Capture {
    /// Begins to capture in a namespace. It goes on there whichever thread reads.
    ///
    /// A filter is compiled first, in the caller's namespace: names of hosts in it are looked up there.
    ///
    /// # Errors
    ///
    /// If the namespace cannot be entered, `CAP_NET_RAW` is missing in it ([`ErrorKind::MissingCapability`]), the configuration is out of
    /// bounds, the filter is none or `libpcap` is not installed, there is no such interface or it is of a type that cannot be
    /// captured, or there is no memory for the ring.
    pub fn open(netns: &Netns, config: &CaptureConfig) -> Result<Self> {
        config.check()?;
        let programs = config.programs()?;
        netns.run(|| Self::open_here(config, programs))?
    }

    fn open_here(config: &CaptureConfig, programs: [Result<Vec<BpfInstruction>>; 2]) -> Result<Self> {
        let socket = ring::packet_socket().map_err(cannot_capture)?;
        let control =
            socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).map_err(cannot_capture)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(cannot_capture)?;
        let handle = CaptureHandle { shared: Arc::new(Shared { stop, control }) };
        let (interfaces, is_all) = match config.interfaces.as_slice() {
            [] => (all_interfaces(&handle)?, true),
            names => (names.iter().map(|name| named_interface(&handle, name)).collect::<Result<_>>()?, false),
        };
        let chosen: Vec<_> = if is_all { Vec::new() } else { interfaces.iter().map(|i| i.index).collect() };
        let program = choose(programs, &interfaces, is_all)?.join(&chosen)?;
        // Nothing is heard before the filter is there: not until it is bound.
        ring::attach(&socket, &program).map_err(cannot_capture)?;
        if config.promiscuous {
            for interface in interfaces.iter().filter(|i| i.link_type == Some(LinkType::ETHERNET)) {
                ring::set_promiscuous(&socket, interface.index).map_err(cannot_capture)?;
            }
        }
        let [block_size, blocks] = shape(config.ring_size);
        let timeout = u32::try_from(config.block_timeout.as_millis()).expect("it was checked");
        let ring = Ring::new(socket, block_size, blocks, timeout).map_err(|e| {
            let what = format!(
                "cannot make a ring of {} bytes: a smaller one may do",
                u64::from(block_size) * u64::from(blocks)
            );
            Error::new(ErrorKind::Capture, what, io::Error::from(e))
        })?;
        let bound = (chosen.len() == 1).then(|| interfaces[0].clone());
        ring::bind(&ring, bound.as_ref().map_or(0, |i| i.index)).map_err(cannot_capture)?;
        let (block_timeout, stats) = (config.block_timeout, CaptureStats::default());
        Ok(Self {
            ring,
            is_lent: false,
            interfaces,
            bound,
            was_down: false,
            stopped_by: None,
            handle,
            end: None,
            is_finished: false,
            snap_length: config.snap_length,
            block_timeout,
            stats,
            count_next: Instant::now(),
        })
    }

    /// The interfaces that are captured; if none was named, all that there were at the beginning, with those that are not captured.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// What stops it from elsewhere. It keeps the namespace alive.
    pub fn handle(&self) -> CaptureHandle {
        self.handle.clone()
    }

    /// Waits for packets; those that were lent before are given back. `None` if the time is up, or the capture
    /// [is finished](Self::is_finished).
    ///
    /// # Errors
    ///
    /// If the only interface that is captured is gone, once all that was captured before was handed over; or if the kernel fails.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Packets<'_>>> {
        if std::mem::take(&mut self.is_lent) {
            self.ring.release();
        }
        let now = Instant::now();
        if self.count_next <= now {
            self.stats()?;
            self.count_next = now + COUNT_EVERY;
        }
        let up = now.checked_add(timeout);
        loop {
            // Also where there is always something to read, so that it never waits.
            self.hear_stop()?;
            self.look_for_interface();
            if self.ring.is_ready() {
                break;
            }
            let until = [up, self.end].into_iter().flatten().min();
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if self.is_finished || left == Some(Duration::ZERO) {
                self.is_finished |= self.end.is_some_and(|end| end <= Instant::now());
                return self.stopped_by.take_if(|_| self.is_finished).map_or(Ok(None), Err);
            }
            self.wait(left)?;
        }
        self.is_lent = true;
        let snap_length = self.snap_length;
        Ok(self.ring.block().map(|block| Packets::of(block, snap_length)))
    }

    /// Whether it was stopped, and all that was captured before was handed over.
    pub const fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// What became of the packets since the beginning.
    ///
    /// # Errors
    ///
    /// If the kernel does not say.
    pub fn stats(&mut self) -> Result<CaptureStats> {
        let [passed, dropped, freezes] = ring::statistics(&self.ring).map_err(cannot_capture)?;
        self.stats.received += u64::from(passed.saturating_sub(dropped));
        self.stats.dropped += u64::from(dropped);
        self.stats.freezes += u64::from(freezes);
        Ok(self.stats)
    }

    /// For a block, for a stop, or until the time is up.
    fn wait(&mut self, timeout: Option<Duration>) -> Result<()> {
        let timeout = if self.was_down { Some(timeout.map_or(LOOK, |timeout| timeout.min(LOOK))) } else { timeout };
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let ring = self.ring.as_fd();
        let mut polled =
            [PollFd::from_borrowed_fd(ring, PollFlags::IN), PollFd::new(&self.handle.shared.stop, PollFlags::IN)];
        // There is one stop.
        let listening = if self.end.is_none() { 2 } else { 1 };
        match poll(&mut polled[..listening], timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(cannot_capture(e)),
        }
        if polled[0].revents().contains(PollFlags::ERR) {
            match sockopt::socket_error(&self.ring).map_err(cannot_capture)? {
                Err(Errno::NETDOWN) => self.was_down = true,
                other => other.map_err(cannot_capture)?,
            }
        }
        Ok(())
    }

    /// Once it was stopped nothing more gets into the ring: what is left to read is what is there.
    fn hear_stop(&mut self) -> Result<()> {
        if self.end.is_none() && rustix::io::read(&self.handle.shared.stop, &mut [0; 8]).is_ok() {
            ring::attach(&self.ring, &[take(0)]).map_err(cannot_capture)?;
            self.settle();
        }
        Ok(())
    }

    fn settle(&mut self) {
        // The kernel looks at a block that is not full this often, and counts in its ticks.
        self.end = Instant::now().checked_add(2 * self.block_timeout + Duration::from_millis(50));
    }

    /// An interface that goes down may come up again; one that is deleted does not come back. The kernel says only that it goes down.
    fn look_for_interface(&mut self) {
        let Some(bound) = self.bound.as_ref().filter(|_| self.was_down && self.end.is_none()) else { return };
        if index_to_name(&self.handle.shared.control, bound.index).is_err() {
            let what = format!("interface {} is gone", bound.name);
            self.stopped_by = Some(Error::new(ErrorKind::Interface, what, None));
            self.settle();
        }
    }
}

/// A filter that cannot be said of one type of link (such as an Ethernet address of a tunnel) fits none of its packets, as long as there
/// is another type that it can be said of.
fn choose(programs: [Result<Vec<BpfInstruction>>; 2], interfaces: &[Interface], is_all: bool) -> Result<Programs> {
    let is_there = |link_type| is_all || interfaces.iter().any(|i| i.link_type == Some(link_type));
    let nothing = vec![take(0)];
    Ok(match (programs, is_there(LinkType::ETHERNET), is_there(LinkType::RAW)) {
        ([Ok(ethernet), Ok(raw)], ..) => Programs { ethernet, raw },
        ([Ok(ethernet), Err(_)], true, _) => Programs { ethernet, raw: nothing },
        ([Err(_), Ok(raw)], _, true) => Programs { ethernet: nothing, raw },
        ([Err(e), _], true, _) | ([_, Err(e)], ..) => return Err(e),
        ([Err(e), Ok(_)], false, false) => return Err(e),
    })
}

fn all_interfaces(handle: &CaptureHandle) -> Result<Vec<Interface>> {
    let list = fs::read("/proc/thread-self/net/dev");
    let list = list.map_err(|e| Error::new(ErrorKind::Interface, "cannot list the interfaces".into(), e))?;
    // A name need not be text: it is not found then, and its interface is captured without being told of.
    let list = String::from_utf8_lossy(&list);
    let names = list.lines().skip(2).filter_map(|line| Some(line.rsplit_once(':')?.0.trim_ascii()));
    let indices = names.filter_map(|name| name_to_index(&handle.shared.control, name).ok());
    // What vanished meanwhile is not there.
    Ok(indices.filter_map(|index| handle.interface(index).ok()).collect())
}

fn named_interface(handle: &CaptureHandle, name: &str) -> Result<Interface> {
    let index = name_to_index(&handle.shared.control, name).map_err(|e| {
        Error::new(
            ErrorKind::Interface,
            format!("there is no interface {name:?} in the network namespace"),
            io::Error::from(e),
        )
    })?;
    let interface = handle.interface(index)?;
    if interface.link_type.is_none() {
        let what = format!("interface {name} is neither Ethernet nor plain IP, and cannot be captured");
        return Err(Error::new(ErrorKind::Interface, what, None));
    }
    Ok(interface)
}

/// The size of a block, and how many there are.
fn shape(ring_size: usize) -> [u32; 2] {
    let [smallest, largest] = BLOCK_SIZES;
    let block = (ring_size / 8).next_power_of_two().clamp(smallest, largest);
    [block, ring_size.div_ceil(block)].map(|n| u32::try_from(n).expect("the ring's size was checked"))
}

fn cannot_capture(e: Errno) -> Error {
    match e {
        Errno::PERM | Errno::ACCESS => {
            let what = "cannot capture: CAP_NET_RAW is missing in the network namespace";
            Error::new(ErrorKind::MissingCapability, what.into(), None)
        }
        e => Error::new(ErrorKind::Capture, "cannot capture".into(), io::Error::from(e)),
    }
}

#[cfg(test)]
mod tests;
