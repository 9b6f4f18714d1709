//! `flow-agent list`: the connections of the table.

mod json;

use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, SocketAddr};

use anyhow::Context as _;
use podtrail_conntrack::wire::{Connection, Protocol, Status, Transport, Tuple};
use podtrail_conntrack::{Error, ErrorKind, Table};
use podtrail_daemon::{Failure, escape};

use crate::args::{ListArgs, TableFormat};
use crate::columns::{Column, Columns, quantity};
use crate::{failure, filter, open_netns};

/// So much is printed at a time.
const BUFFER: usize = 64 << 10;

pub(crate) fn list(args: &ListArgs) -> Result<(), Failure> {
    let filter = filter::parse(&args.filter).map_err(Failure::usage)?;
    let netns = open_netns(args.netns.as_deref())?;
    let mut table = Table::open_in(&netns).map_err(failure)?;
    let mut dump = table.dump(&filter).map_err(failure)?;
    let mut printer = Printer::new(args.output, netns.inode());
    let mut unreadable: Option<(u64, Error)> = None;
    let failed = loop {
        match dump.next() {
            Some(Ok(connection)) => printer.print(&connection).context("cannot print")?,
            // The others come after it.
            Some(Err(e)) if e.kind() == ErrorKind::Malformed => unreadable.get_or_insert((0, e)).0 += 1,
            Some(Err(e)) => break Some(e),
            None => break None,
        }
    };
    printer.finish(failed.is_none() && unreadable.is_none()).context("cannot print")?;
    let (error, what) = match (failed, unreadable) {
        (Some(e), _) if e.kind() == ErrorKind::Interrupted => {
            (e, Some("some connections may be missing, or have come twice".to_owned()))
        }
        (Some(e), _) => (e, None),
        (None, Some((how_many, e))) => (e, Some(format!("{how_many} connections are missing"))),
        (None, None) => return Ok(()),
    };
    let mut failure = failure(error);
    if let Some(what) = what {
        failure.error = failure.error.context(what);
    }
    Err(failure)
}

/// Prints connections one by one.
enum Printer<W: Write> {
    Table(Box<Columns<8, W>>),
    Json(u64, W),
}

const COLUMNS: [Column; 8] = [
    Column::Left("PROTOCOL"),
    Column::Left("STATE"),
    Column::Left("SOURCE"),
    Column::Left("DESTINATION"),
    Column::Right("SENT"),
    Column::Right("RECEIVED"),
    Column::Right("TIMEOUT"),
    Column::Left("NOTES"),
];

impl Printer<BufWriter<io::StdoutLock<'static>>> {
    fn new(format: TableFormat, inode: u64) -> Self {
        let out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
        match format {
            TableFormat::Table => Self::Table(Box::new(Columns::new(COLUMNS, out))),
            TableFormat::Json => Self::Json(inode, out),
        }
    }
}

impl<W: Write> Printer<W> {
    fn print(&mut self, connection: &Connection<'_>) -> io::Result<()> {
        match self {
            Self::Table(table) => table.row(cells(connection)),
            Self::Json(inode, out) => {
                serde_json::to_writer(&mut *out, &json::Line::new(*inode, connection))?;
                out.write_all(b"\n")
            }
        }
    }

    /// Prints what waits. For people nothing found is a word, if it is known to be nothing.
    fn finish(self, is_known: bool) -> io::Result<()> {
        match self {
            Self::Table(table) => {
                let is_nothing = is_known && table.is_empty();
                let mut out = table.finish()?;
                if is_nothing {
                    writeln!(out, "nothing found")?;
                }
                out.flush()
            }
            Self::Json(_, mut out) => out.flush(),
        }
    }
}

fn cells(connection: &Connection<'_>) -> [String; 8] {
    let Connection { original, original_counters, reply_counters, .. } = connection;
    let unknown = || "-".to_owned();
    [
        original.protocol.to_string(),
        connection.tcp_state.map_or_else(unknown, |state| state.to_string()),
        source(original),
        destination(original),
        original_counters.map_or_else(unknown, |counters| quantity(counters.bytes, "B")),
        reply_counters.map_or_else(unknown, |counters| quantity(counters.bytes, "B")),
        connection.timeout.map_or_else(unknown, |seconds| format!("{seconds} s")),
        notes(connection),
    ]
}

/// Where packets of a direction are from.
pub(crate) fn source(tuple: &Tuple) -> String {
    end(tuple.protocol, tuple.src, ports(tuple.transport).map(|(src, _)| src))
}

/// Where they go to.
pub(crate) fn destination(tuple: &Tuple) -> String {
    end(tuple.protocol, tuple.dst, ports(tuple.transport).map(|(_, dst)| dst))
}

fn end(protocol: Protocol, address: IpAddr, port: Option<u16>) -> String {
    match port {
        // These are keys.
        Some(_) if protocol == Protocol::GRE => address.to_string(),
        Some(port) => SocketAddr::new(address, port).to_string(),
        None => address.to_string(),
    }
}

const fn ports(transport: Transport) -> Option<(u16, u16)> {
    match transport {
        Transport::Ports { src, dst } => Some((src, dst)),
        _ => None,
    }
}

/// What else there is to know, in words.
fn notes(connection: &Connection<'_>) -> String {
    let Connection { original, reply, .. } = connection;
    let status = connection.status.unwrap_or_default();
    let mut notes = Vec::new();
    if destination(reply) != source(original) {
        notes.push(format!("from {}", destination(reply)));
    }
    if source(reply) != destination(original) {
        notes.push(format!("to {}", source(reply)));
    }
    match original.transport {
        Transport::Icmp { id, kind, code } => notes.push(format!("type={kind} code={code} id={id}")),
        Transport::Ports { src, dst } if original.protocol == Protocol::GRE => {
            notes.push(format!("keys={src:#x},{dst:#x}"));
        }
        _ => {}
    }
    for (is_so, word) in [
        (!status.contains(Status::SEEN_REPLY), "unreplied"),
        (status.contains(Status::ASSURED), "assured"),
        (status.contains(Status::OFFLOAD) || status.contains(Status::HW_OFFLOAD), "offloaded"),
    ] {
        if is_so {
            notes.push(word.to_owned());
        }
    }
    if let Some(mark) = connection.mark.filter(|mark| *mark != 0) {
        notes.push(format!("mark={mark:#x}"));
    }
    for (name, zone) in [("zone", connection.zone), ("zone-from", original.zone), ("zone-to", reply.zone)] {
        if zone != 0 {
            notes.push(format!("{name}={zone}"));
        }
    }
    if let Some(helper) = connection.helper {
        notes.push(format!("helper={}", escape(&String::from_utf8_lossy(helper))));
    }
    notes.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_is_translated() {
        let tuple = |src: &str, dst: &str| Tuple::with_ports(Protocol::TCP, src.parse().unwrap(), dst.parse().unwrap());
        let original = tuple("10.0.0.1:4711", "10.96.0.1:443");
        let mut plain = Connection::new(original, original.inverse());
        plain.status = Some(Status::SEEN_REPLY);
        assert_eq!(cells(&plain)[2..], ["10.0.0.1:4711", "10.96.0.1:443", "-", "-", "-", ""]);
        let mut both = Connection::new(original, tuple("10.244.1.7:8443", "192.0.2.1:1024"));
        (both.mark, both.zone, both.helper) = (Some(16), 7, Some(&b"a\x1b"[..]));
        assert_eq!(notes(&both), "from 192.0.2.1:1024 to 10.244.1.7:8443 unreplied mark=0x10 zone=7 helper=a\\u{1b}");
    }
}
