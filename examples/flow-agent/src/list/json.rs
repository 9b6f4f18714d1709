//! A connection as a line of JSON. What is in the lines of `run` too has the same names there.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use podtrail_conntrack::wire::{Connection, Protocol, Status, Transport, Tuple};
use podtrail_event::Timestamp;
use serde::{Serialize, Serializer};

use crate::filter::STATUS;

#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    v: u8,
    kind: &'static str,
    netns: u64,
    zone: u16,
    protocol: u8,
    original: Ends,
    reply: Ends,
    connection: Id,
    total: Option<Total>,
    timeout: Option<u32>,
    #[serde(serialize_with = "displayed")]
    state: Option<podtrail_conntrack::wire::TcpState>,
    #[serde(serialize_with = "names")]
    status: Status,
    mark: u32,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "bits")]
    labels: Option<&'a [u8]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    helper: Option<Cow<'a, str>>,
}

#[derive(Debug, Serialize)]
struct Id {
    id: Option<u32>,
    #[serde(serialize_with = "displayed")]
    start: Option<Nanoseconds>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Total {
    original_packets: u64,
    original_bytes: u64,
    reply_packets: u64,
    reply_bytes: u64,
}

/// A direction; what its protocol does not have is left out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ends {
    src: IpAddr,
    dst: IpAddr,
    #[serde(flatten)]
    transport: Option<Added>,
    #[serde(skip_serializing_if = "is_none")]
    zone: u16,
}

#[derive(Debug, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Added {
    Ports { src_port: u16, dst_port: u16 },
    Keys { src_key: u16, dst_key: u16 },
    Icmp { icmp_id: u16, icmp_type: u8, icmp_code: u8 },
}

impl<'a> Line<'a> {
    pub(super) fn new(netns: u64, connection: &Connection<'a>) -> Self {
        let counters = connection.original_counters.zip(connection.reply_counters);
        let start = connection.start.and_then(|start| i64::try_from(start).ok());
        Self {
            v: 1,
            kind: "connection",
            netns,
            zone: connection.zone,
            protocol: connection.original.protocol.0,
            original: Ends::of(&connection.original),
            reply: Ends::of(&connection.reply),
            connection: Id {
                id: connection.id,
                start: start.map(|start| Nanoseconds(Timestamp::from_nanosecond(start))),
            },
            total: counters.map(|(original, reply)| Total {
                original_packets: original.packets,
                original_bytes: original.bytes,
                reply_packets: reply.packets,
                reply_bytes: reply.bytes,
            }),
            timeout: connection.timeout,
            state: connection.tcp_state,
            status: connection.status.unwrap_or_default(),
            // The kernel does not say 0.
            mark: connection.mark.unwrap_or_default(),
            labels: connection.labels,
            helper: connection.helper.map(String::from_utf8_lossy),
        }
    }
}

impl Ends {
    fn of(tuple: &Tuple) -> Self {
        let transport = match tuple.transport {
            Transport::Ports { src, dst } if tuple.protocol == Protocol::GRE => {
                Some(Added::Keys { src_key: src, dst_key: dst })
            }
            Transport::Ports { src, dst } => Some(Added::Ports { src_port: src, dst_port: dst }),
            Transport::Icmp { id, kind, code } => Some(Added::Icmp { icmp_id: id, icmp_type: kind, icmp_code: code }),
            _ => None,
        };
        Self { src: tuple.src, dst: tuple.dst, transport, zone: tuple.zone }
    }
}

/// With all nine digits.
#[derive(Debug)]
struct Nanoseconds(Timestamp);

impl fmt::Display for Nanoseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.9}", self.0)
    }
}

fn displayed<S: Serializer>(value: &Option<impl fmt::Display>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => to.collect_str(value),
        None => to.serialize_none(),
    }
}

fn names<S: Serializer>(status: &Status, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(STATUS.iter().filter(|(_, bit)| status.contains(*bit)).map(|(name, _)| name))
}

/// The numbers of the bits that are set. The kernel keeps them in words of this machine.
fn bits<S: Serializer>(labels: &Option<&[u8]>, to: S) -> Result<S::Ok, S::Error> {
    let (words, _) = labels.unwrap_or_default().as_chunks();
    let words = words.iter().map(|word| u64::from_ne_bytes(*word));
    to.collect_seq(
        (0_u32..).zip(words).flat_map(|(i, word)| (0..64).filter(move |n| word >> n & 1 == 1).map(move |n| 64 * i + n)),
    )
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_none(zone: &u16) -> bool {
    *zone == 0
}

#[cfg(test)]
mod tests {
    use podtrail_conntrack::wire::{Counters, TcpState};

    use super::*;

    #[test]
    fn a_line_has_the_names_of_a_flow() {
        let [src, dst] = ["10.0.0.1:4711", "10.96.0.1:443"].map(|end| end.parse().unwrap());
        let original = Tuple::with_ports(Protocol::TCP, src, dst);
        let mut labels = [0; 16];
        labels[..8].copy_from_slice(&0b101_u64.to_ne_bytes());
        labels[8..].copy_from_slice(&2_u64.to_ne_bytes());
        let mut connection = Connection::new(original, original.inverse());
        connection.id = Some(7);
        connection.start = Some(1_764_000_000_000_000_001);
        connection.status = Some(Status::SEEN_REPLY | Status::ASSURED);
        connection.timeout = Some(60);
        connection.tcp_state = Some(TcpState::ESTABLISHED);
        connection.original_counters = Some(Counters { packets: 1, bytes: 60 });
        connection.reply_counters = Some(Counters { packets: 2, bytes: 120 });
        connection.labels = Some(&labels);
        connection.helper = Some(b"ftp");
        let line = serde_json::to_string(&Line::new(4, &connection)).unwrap();
        assert_eq!(
            line,
            concat!(
                r#"{"v":1,"kind":"connection","netns":4,"zone":0,"protocol":6,"#,
                r#""original":{"src":"10.0.0.1","dst":"10.96.0.1","srcPort":4711,"dstPort":443},"#,
                r#""reply":{"src":"10.96.0.1","dst":"10.0.0.1","srcPort":443,"dstPort":4711},"#,
                r#""connection":{"id":7,"start":"2025-11-24T16:00:00.000000001Z"},"#,
                r#""total":{"originalPackets":1,"originalBytes":60,"replyPackets":2,"replyBytes":120},"#,
                r#""timeout":60,"state":"ESTABLISHED","status":["seen-reply","assured"],"mark":0,"#,
                r#""labels":[0,2,65],"helper":"ftp"}"#
            )
        );
    }

    #[test]
    fn what_is_not_known_is_null() {
        let original = Tuple {
            src: "fd00::1".parse().unwrap(),
            dst: "fd00::2".parse().unwrap(),
            protocol: Protocol::ICMPV6,
            transport: Transport::Icmp { id: 9, kind: 128, code: 0 },
            zone: 3,
        };
        let line = serde_json::to_value(Line::new(4, &Connection::new(original, original.inverse()))).unwrap();
        assert_eq!(
            line["original"].to_string(),
            r#"{"dst":"fd00::2","icmpCode":0,"icmpId":9,"icmpType":128,"src":"fd00::1","zone":3}"#
        );
        for name in ["total", "timeout", "state"] {
            assert!(line[name].is_null() && line.get(name).is_some(), "{name}");
        }
        assert_eq!(line["connection"].to_string(), r#"{"id":null,"start":null}"#);
        assert!(line.get("labels").is_none() && line.get("helper").is_none());
    }
}
