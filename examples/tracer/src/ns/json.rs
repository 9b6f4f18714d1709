//! A namespace for scripts.

use podtrail_netns::inspect::{Protocol, TcpInfo};
use serde_json::{Value, json};

use super::View;
use crate::args::Part;
use crate::pods::Entrance;

/// One object: the pod, and a list for each part that was asked for.
pub(super) fn of(view: &View, what: &[Part], entrance: &Entrance) -> Value {
    let sandbox = &entrance.sandbox.sandbox;
    let mut object = json!({
        "v": 1,
        "pod": {"namespace": sandbox.namespace, "name": sandbox.name, "uid": sandbox.uid},
        "sandbox": sandbox.id,
        "netns": entrance.netns.inode(),
    });
    let parts = [
        ("interfaces", (what.is_empty() || what.contains(&Part::Interfaces)).then(|| interfaces(view))),
        ("addresses", addresses(view)),
        ("routes", routes(view)),
        ("neighbours", neighbours(view)),
        ("sockets", sockets(view)),
    ];
    for (name, part) in parts {
        if let Some(part) = part {
            object[name] = part;
        }
    }
    object
}

fn interfaces(view: &View) -> Value {
    let one = |i: &podtrail_netns::inspect::Interface| {
        json!({
            "index": i.index, "name": i.name, "kind": i.kind, "state": i.state, "up": i.is_up(), "flags": i.flags, "mtu": i.mtu,
            "address": i.address.as_ref().map(ToString::to_string),
            "controller": i.controller, "peer": i.peer, "peerNetns": i.peer_netns,
            "counters": {
                "rxPackets": i.counters.rx_packets, "txPackets": i.counters.tx_packets,
                "rxBytes": i.counters.rx_bytes, "txBytes": i.counters.tx_bytes,
                "rxErrors": i.counters.rx_errors, "txErrors": i.counters.tx_errors,
                "rxDropped": i.counters.rx_dropped, "txDropped": i.counters.tx_dropped,
            },
        })
    };
    view.interfaces.iter().map(one).collect()
}

fn addresses(view: &View) -> Option<Value> {
    let one = |a: &podtrail_netns::inspect::Address| {
        json!({
            "interface": view.name(a.interface), "address": a.address, "prefix": a.prefix, "scope": a.scope, "flags": a.flags,
            "peer": a.peer, "broadcast": a.broadcast,
        })
    };
    Some(view.addresses.as_ref()?.iter().map(one).collect())
}

fn routes(view: &View) -> Option<Value> {
    let one = |r: &podtrail_netns::inspect::Route| {
        let hops: Vec<_> = r
            .hops
            .iter()
            .map(|hop| json!({"gateway": hop.gateway, "interface": hop.interface.map(|index| view.name(index)), "weight": hop.weight}))
            .collect();
        json!({
            "destination": r.destination, "prefix": r.prefix, "hops": hops, "table": r.table, "kind": r.kind, "protocol": r.protocol,
            "scope": r.scope, "metric": r.metric, "source": r.source,
        })
    };
    Some(view.routes.as_ref()?.iter().map(one).collect())
}

fn neighbours(view: &View) -> Option<Value> {
    let one = |n: &podtrail_netns::inspect::Neighbour| {
        json!({
            "interface": view.name(n.interface), "address": n.address,
            "hardwareAddress": n.hardware_address.as_ref().map(ToString::to_string), "state": n.state, "router": n.is_router,
        })
    };
    Some(view.neighbours.as_ref()?.iter().map(one).collect())
}

fn sockets(view: &View) -> Option<Value> {
    let one = |s: &podtrail_netns::inspect::Socket| {
        json!({
            "protocol": if s.protocol == Protocol::Tcp { "tcp" } else { "udp" },
            "state": s.state.to_string(), "local": s.local, "remote": s.remote, "uid": s.uid, "inode": s.inode,
            "receiveQueue": s.receive_queue, "sendQueue": s.send_queue,
            "interface": s.interface.map(|index| view.name(index)), "congestion": s.congestion, "tcp": s.tcp.as_ref().map(tcp),
        })
    };
    Some(view.sockets.as_ref()?.iter().map(one).collect())
}

fn tcp(info: &TcpInfo) -> Value {
    json!({
        "rttSeconds": info.rtt.as_secs_f64(), "rttVarianceSeconds": info.rtt_variance.as_secs_f64(),
        "minRttSeconds": info.min_rtt.as_secs_f64(), "retransmissionTimeoutSeconds": info.retransmission_timeout.as_secs_f64(),
        "retransmits": info.retransmits, "totalRetransmits": info.total_retransmits, "lost": info.lost,
        "unacknowledged": info.unacknowledged, "congestionWindow": info.congestion_window, "segmentSize": info.segment_size,
        "pathMtu": info.path_mtu, "bytesSent": info.bytes_sent, "bytesRetransmitted": info.bytes_retransmitted,
        "bytesAcknowledged": info.bytes_acknowledged, "bytesReceived": info.bytes_received, "segmentsSent": info.segments_sent,
        "segmentsReceived": info.segments_received, "deliveryRateBytesPerSecond": info.delivery_rate,
        "sinceSentSeconds": info.since_sent.as_secs_f64(), "sinceReceivedSeconds": info.since_received.as_secs_f64(),
    })
}
