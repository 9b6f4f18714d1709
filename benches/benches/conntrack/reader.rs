//! What the benchmark runs as processes of their own, as its peer is one: each reads the table once.

use std::fmt;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use podtrail_conntrack::wire::{Connection, Protocol, Transport, Tuple};
use podtrail_conntrack::{Filter, Table, wire};
use podtrail_flow::{Counters, Identity, Meter};
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with};

use crate::fill;

/// How to read.
#[derive(Clone, Copy)]
pub(crate) enum Reader {
    /// Asks for the same as `Dump`, and looks at nothing but the end: what the kernel takes.
    Floor,
    Dump,
    /// Dumps into a meter.
    Meter,
    Protocol,
    Mark,
}

impl Reader {
    const ALL: [(Self, &str); 5] = [
        (Self::Floor, "read-floor"),
        (Self::Dump, "read-dump"),
        (Self::Meter, "read-meter"),
        (Self::Protocol, "read-protocol"),
        (Self::Mark, "read-mark"),
    ];

    /// The reader that this process is to be.
    pub(crate) fn of_process() -> Option<Self> {
        let name = std::env::args().nth(1)?;
        Self::ALL.into_iter().find(|(_, other)| *other == name).map(|(reader, _)| reader)
    }

    /// This program, as this reader.
    pub(crate) fn command(self) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("the kernel knows what it runs"));
        command.arg(self.to_string());
        command
    }

    /// Reads, and prints how many connections there were and how much memory that took at most, in kB.
    pub(crate) fn run(self) -> Result<()> {
        let all = Filter::default();
        let connections = match self {
            Self::Floor => discard()?,
            Self::Dump => dump(&all, |_| ())?,
            Self::Protocol => dump(&fill::quarter_by_protocol(), |_| ())?,
            Self::Mark => dump(&fill::quarter_by_mark(), |_| ())?,
            Self::Meter => {
                let mut meter = Meter::new(1 << 20);
                meter.begin();
                let connections = dump(&all, |connection| {
                    meter.observe(identity(connection).key(), counters(connection));
                })?;
                meter.end(true, |_| ());
                connections
            }
        };
        println!("{connections} {}", peak()?);
        Ok(())
    }

    /// Runs it as a process, and says what that printed.
    pub(crate) fn figures(self) -> Result<(u64, u64)> {
        let output = self.command().output()?.stdout;
        let text = String::from_utf8(output)?;
        let (connections, memory) = text.trim().split_once(' ').context("the reader failed")?;
        Ok((connections.parse()?, memory.parse()?))
    }
}

impl fmt::Display for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL[*self as usize].1)
    }
}

fn dump(filter: &Filter, mut each: impl FnMut(&Connection<'_>)) -> Result<u64> {
    let mut table = Table::open()?;
    let mut dump = table.dump(filter)?;
    let mut connections = 0;
    while let Some(connection) = dump.next() {
        each(std::hint::black_box(&connection?));
        connections += 1;
    }
    Ok(connections)
}

/// The same request into the same buffer; the last message alone is looked at. Says how many bytes came.
fn discard() -> Result<u64> {
    let mut bytes = 0;
    datagrams(|datagram| bytes += datagram.len() as u64)?;
    Ok(bytes)
}

/// Dumps the table without a look at what comes.
pub(crate) fn datagrams(mut each: impl FnMut(&[u8])) -> Result<()> {
    const DONE: u16 = 3;
    const LAST: usize = 20;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::NETFILTER))?;
    bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    let mut room = [0; wire::REQUEST_ROOM];
    send(&socket, wire::dump(&mut room, 1, &Filter::default())?, SendFlags::empty())?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let (_, length) = recv(&socket, &mut *buffer, RecvFlags::empty())?;
        each(&buffer[..length]);
        let Some(last) = length.checked_sub(LAST) else { bail!("the kernel refused") };
        if buffer[last + 4..last + 6] == DONE.to_ne_bytes() && buffer[last + 8..last + 12] == 1_u32.to_ne_bytes() {
            return Ok(());
        }
    }
}

fn identity(connection: &Connection<'_>) -> Identity {
    let Tuple { src, dst, protocol: Protocol(protocol), transport, zone } = connection.original;
    let ports = match transport {
        Transport::Ports { src, dst } => (src, dst),
        Transport::Icmp { id, kind, code } => (id, u16::from_be_bytes([kind, code])),
        _ => (0, 0),
    };
    let id = connection.id.unwrap_or_default();
    let Connection { zone: both, start, .. } = *connection;
    Identity { netns: 1, zone: both, protocol, src, dst, ports, direction_zone: zone, id, start }
}

fn counters(connection: &Connection<'_>) -> Counters {
    let original = connection.original_counters.unwrap_or_default();
    let reply = connection.reply_counters.unwrap_or_default();
    Counters {
        original_packets: original.packets,
        original_bytes: original.bytes,
        reply_packets: reply.packets,
        reply_bytes: reply.bytes,
    }
}

/// The most memory that this process has had resident, in kB.
fn peak() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
