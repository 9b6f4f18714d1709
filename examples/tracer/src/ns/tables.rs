//! A namespace for people.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use podtrail_daemon::escape;
use podtrail_netns::inspect::{Protocol, Socket, SocketState};

use super::View;
use crate::args::Part;
use crate::pods::Entrance;

/// The local table says what the addresses say already.
const LOCAL: u32 = 255;
const MAIN: u32 = 254;

pub(super) fn write(
    out: &mut impl Write,
    view: &View,
    what: &[Part],
    title: Option<String>,
    entrance: &Entrance,
) -> io::Result<()> {
    if let Some(title) = title {
        writeln!(out, "pod {title}, network namespace {}\n", entrance.netns.inode())?;
    }
    let mut tables = Vec::new();
    if what.is_empty() || what.contains(&Part::Interfaces) {
        tables.push(interfaces(view));
    }
    let others = [
        addresses(view),
        routes(view, what.contains(&Part::Routes)),
        neighbours(view, what.contains(&Part::Neighbours)),
        sockets(view),
    ];
    tables.extend(others.into_iter().flatten());
    for table in tables {
        for line in table.lines() {
            writeln!(out, "{}", line.trim_end())?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    table
}

fn interfaces(view: &View) -> Table {
    let mut table =
        table(["INTERFACE", "KIND", "STATE", "MTU", "ADDRESS", "PEER", "RECEIVED", "SENT", "DROPPED", "ERRORS"]);
    for i in &view.interfaces {
        let peer = match (i.peer, i.peer_netns) {
            (Some(peer), Some(_)) => format!("if{peer} elsewhere"),
            (Some(peer), None) => view.name(peer),
            (None, _) => String::new(),
        };
        let c = &i.counters;
        table.add_row([
            escape(&i.name).into_owned(),
            i.kind.clone().unwrap_or_default(),
            i.state.clone(),
            i.mtu.to_string(),
            i.address.as_ref().map(ToString::to_string).unwrap_or_default(),
            peer,
            format!("{} B in {}", c.rx_bytes, c.rx_packets),
            format!("{} B in {}", c.tx_bytes, c.tx_packets),
            (c.rx_dropped + c.tx_dropped).to_string(),
            (c.rx_errors + c.tx_errors).to_string(),
        ]);
    }
    table
}

fn addresses(view: &View) -> Option<Table> {
    let mut table = table(["ADDRESS", "INTERFACE", "SCOPE"]);
    for a in view.addresses.as_ref()? {
        table.add_row([
            format!("{}/{}", a.address, a.prefix),
            escape(&view.name(a.interface)).into_owned(),
            a.scope.clone(),
        ]);
    }
    Some(table)
}

/// Of all tables only if routes were asked for by name.
fn routes(view: &View, all: bool) -> Option<Table> {
    let mut table = table(["ROUTE", "VIA", "INTERFACE", "SOURCE", "KIND", "PROTOCOL", "TABLE", "METRIC"]);
    for r in view.routes.as_ref()?.iter().filter(|route| all || route.table != LOCAL) {
        let every = |text: &dyn Fn(&podtrail_netns::inspect::Hop) -> Option<String>| {
            r.hops.iter().filter_map(text).collect::<Vec<_>>().join(" ")
        };
        table.add_row([
            if r.prefix == 0 { default(r.destination.is_ipv4()) } else { format!("{}/{}", r.destination, r.prefix) },
            every(&|hop| hop.gateway.map(|gateway| gateway.to_string())),
            every(&|hop| hop.interface.map(|index| escape(&view.name(index)).into_owned())),
            r.source.map(|source| source.to_string()).unwrap_or_default(),
            r.kind.clone(),
            r.protocol.clone(),
            if r.table == MAIN { "main".to_owned() } else { r.table.to_string() },
            r.metric.to_string(),
        ]);
    }
    Some(table)
}

fn default(is_ipv4: bool) -> String {
    if is_ipv4 { "default".to_owned() } else { "default (IPv6)".to_owned() }
}

/// Those that never need to be asked for, only if neighbours were asked for by name.
fn neighbours(view: &View, all: bool) -> Option<Table> {
    let mut table = table(["NEIGHBOUR", "HARDWARE ADDRESS", "INTERFACE", "STATE"]);
    for n in view.neighbours.as_ref()?.iter().filter(|neighbour| all || neighbour.state != "noarp") {
        table.add_row([
            n.address.to_string(),
            n.hardware_address.as_ref().map(ToString::to_string).unwrap_or_default(),
            escape(&view.name(n.interface)).into_owned(),
            n.state.clone(),
        ]);
    }
    Some(table)
}

fn sockets(view: &View) -> Option<Table> {
    let mut table = table(["SOCKET", "STATE", "LOCAL", "REMOTE", "QUEUED", "RTT", "RETRANSMITTED", "UID"]);
    let mut sockets: Vec<&Socket> = view.sockets.as_ref()?.iter().collect();
    sockets.sort_by_key(|socket| (socket.protocol == Protocol::Udp, socket.state != SocketState::Listen, socket.local));
    for s in sockets {
        let connected = s.remote.port() != 0;
        table.add_row([
            if s.protocol == Protocol::Tcp { "tcp" } else { "udp" }.to_owned(),
            s.state.to_string(),
            s.local.to_string(),
            if connected { s.remote.to_string() } else { String::new() },
            format!("{} in, {} out", s.receive_queue, s.send_queue),
            s.tcp
                .as_ref()
                .filter(|_| connected)
                .map(|tcp| format!("{:.3} ms", tcp.rtt.as_secs_f64() * 1000.0))
                .unwrap_or_default(),
            s.tcp
                .as_ref()
                .filter(|_| connected)
                .map(|tcp| format!("{} B", tcp.bytes_retransmitted))
                .unwrap_or_default(),
            s.uid.to_string(),
        ]);
    }
    Some(table)
}
