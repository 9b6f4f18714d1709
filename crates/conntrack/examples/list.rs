//! Lists the connections of this network namespace, or of the one whose path is given, as `conntrack -L` does.
//!
//!     cargo run -p podtrail-conntrack --example list [/run/netns/NAME]

use std::fmt;
use std::io::{BufWriter, Write, stdout};

use podtrail_conntrack::wire::{Connection, Counters, Status};
use podtrail_conntrack::{Filter, Table};
use podtrail_netns::Netns;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut table = match std::env::args_os().nth(1) {
        Some(path) => Table::open_in(&Netns::open(path)?)?,
        None => Table::open()?,
    };
    let mut out = BufWriter::new(stdout().lock());
    let mut dump = table.dump(&Filter::default())?;
    while let Some(connection) = dump.next() {
        writeln!(out, "{}", Line(&connection?))?;
    }
    Ok(out.flush()?)
}

struct Line<'a>(&'a Connection<'a>);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connection = self.0;
        let protocol = connection.original.protocol;
        let status = connection.status.unwrap_or_default();
        write!(f, "{:8} {} {}", protocol.to_string(), protocol.0, connection.timeout.unwrap_or_default())?;
        if let Some(state) = connection.tcp_state {
            write!(f, " {state}")?;
        }
        write!(f, " {}", connection.original)?;
        write_counters(f, connection.original_counters)?;
        if !status.contains(Status::SEEN_REPLY) {
            f.write_str(" [UNREPLIED]")?;
        }
        write!(f, " {}", connection.reply)?;
        write_counters(f, connection.reply_counters)?;
        if status.contains(Status::ASSURED) {
            f.write_str(" [ASSURED]")?;
        }
        if let Some(mark) = connection.mark {
            write!(f, " mark={mark}")?;
        }
        if connection.zone != 0 {
            write!(f, " zone={}", connection.zone)?;
        }
        Ok(())
    }
}

fn write_counters(f: &mut fmt::Formatter<'_>, counters: Option<Counters>) -> fmt::Result {
    match counters {
        Some(Counters { packets, bytes }) => write!(f, " packets={packets} bytes={bytes}"),
        None => Ok(()),
    }
}
