//! What leaves the meter as lines of JSON. The names of its members are a contract with whoever reads them.

use std::fmt::{self, Write as _};

use podtrail_event::{EventId, Timestamp};

use crate::{Connection, Counters, Direction};

/// What was counted, and where: the same for all records of a network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it is built literally by whoever reads the kernel")]
pub struct Origin {
    /// The node's name.
    pub node: String,
    /// The id of its boot: connection ids, stamps and cookies are of one boot.
    pub boot: String,
    /// The namespace's inode, which people know it by.
    pub inode: u64,
    /// The namespace's cookie, which is not used again.
    pub cookie: u64,
}

/// A record: a line of JSON without its end, and the id that is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "that is all of it")]
pub struct Record {
    /// The same for the same fact, whenever it is said.
    pub id: EventId,
    /// The line.
    pub line: String,
}

/// What is new of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) generation: u32,
    pub(crate) from: Option<Timestamp>,
    pub(crate) to: Timestamp,
    pub(crate) delta: Counters,
    pub(crate) total: Counters,
    pub(crate) is_closed: bool,
}

/// Why something may not have been counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapReason {
    /// Nobody listened, because whoever did was asked to stop.
    Stopped,
    /// Nobody listened, because whoever did was killed.
    Crashed,
    /// The machine was started anew: what it had counted is gone.
    Rebooted,
    /// Another network namespace has taken the place of the one that was listened to.
    Replaced,
    /// The kernel could not deliver the ends of so many connections.
    Lost,
    /// So many connections were gone without the kernel having said that they ended.
    NoDestroy,
    /// Somebody else set the counters of so many connections to zero.
    Zeroed,
    /// What was counted until then is not known any more, because it was kept in memory only.
    Forgotten,
}

impl GapReason {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Crashed => "crashed",
            Self::Rebooted => "rebooted",
            Self::Replaced => "replaced",
            Self::Lost => "lost",
            Self::NoDestroy => "no-destroy",
            Self::Zeroed => "zeroed",
            Self::Forgotten => "forgotten",
        }
    }
}

/// A span in which something may not have been counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "that is all of it")]
pub struct Gap {
    /// When all was still counted.
    pub from: Timestamp,
    /// When all was counted again.
    pub to: Timestamp,
    /// Why.
    pub reason: GapReason,
    /// How many connections' ends were missed; `None` if nobody knows.
    pub lost: Option<u64>,
}

impl Origin {
    pub(crate) fn flow(&self, flow: &Flow<'_>) -> Record {
        let id = self.flow_id(flow);
        let Flow { connection, generation, from, to, delta, total, is_closed } = *flow;
        let identity = &connection.identity;
        let protocol = identity.protocol;
        let mut line = String::with_capacity(704);
        let written = (|| {
            write!(line, r#"{{"v":1,"kind":"flow","id":"{id}","node":{}"#, Quoted(&self.node))?;
            write!(line, r#","netns":{},"zone":{},"protocol":{protocol}"#, self.inode, identity.zone)?;
            write!(line, r#","original":{}"#, Ends(protocol, connection.original()))?;
            write!(line, r#","reply":{}"#, Ends(protocol, connection.reply))?;
            write!(line, r#","connection":{{"id":{},"start":{}"#, identity.id, Time(stamp(identity.start)))?;
            if generation != 0 || identity.start.is_none() {
                write!(line, r#","generation":{generation}"#)?;
            }
            write!(line, r#"}},"from":{},"to":{}"#, Time(from), Time(Some(to)))?;
            let is_counted = connection.counters.is_some();
            let [delta, total] = [delta, total].map(|counters| Numbers(is_counted.then_some(counters)));
            write!(line, r#","delta":{delta},"total":{total},"closed":{is_closed}}}"#)
        })();
        written.expect("a string takes all that is written to it");
        Record { id, line }
    }

    /// Of all that tells this line from every other one.
    fn flow_id(&self, flow: &Flow<'_>) -> EventId {
        let Flow { connection, generation, total, is_closed, .. } = *flow;
        let mut about = [0; 53];
        about[..16].copy_from_slice(&connection.identity.key().to_bytes());
        about[16..20].copy_from_slice(&generation.to_le_bytes());
        let totals = [total.original_packets, total.original_bytes, total.reply_packets, total.reply_bytes];
        for (bytes, total) in about[20..52].chunks_exact_mut(8).zip(totals) {
            bytes.copy_from_slice(&total.to_le_bytes());
        }
        about[52] = u8::from(is_closed);
        EventId::derive(&[b"flow", self.node.as_bytes(), self.boot.as_bytes(), &about])
    }

    pub(crate) fn gap(&self, gap: &Gap) -> Record {
        let Gap { from, to, reason, lost } = *gap;
        let times = [from, to].map(|time| time.as_nanosecond().to_le_bytes()).concat();
        let (cookie, reason) = (self.cookie.to_le_bytes(), reason.as_str());
        let id =
            EventId::derive(&[b"gap", self.node.as_bytes(), self.boot.as_bytes(), &cookie, &times, reason.as_bytes()]);
        let lost = lost.map_or_else(|| "null".to_owned(), |lost| lost.to_string());
        let line = format!(
            r#"{{"v":1,"kind":"gap","id":"{id}","node":{},"netns":{},"from":{},"to":{},"reason":"{reason}","lost":{lost}}}"#,
            Quoted(&self.node),
            self.inode,
            Time(Some(from)),
            Time(Some(to)),
        );
        Record { id, line }
    }
}

/// A time that the kernel gave.
pub(crate) fn stamp(ns: Option<u64>) -> Option<Timestamp> {
    ns.and_then(|ns| i64::try_from(ns).ok()).map(Timestamp::from_nanosecond)
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self.0).map_err(|_never| fmt::Error)?)
    }
}

struct Time(Option<Timestamp>);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(time) => write!(f, r#""{time:.9}""#),
            None => f.write_str("null"),
        }
    }
}

struct Numbers(Option<Counters>);

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Counters { original_packets, original_bytes, reply_packets, reply_bytes }) = self.0 else {
            return f.write_str("null");
        };
        write!(f, r#"{{"originalPackets":{original_packets},"originalBytes":{original_bytes}"#)?;
        write!(f, r#","replyPackets":{reply_packets},"replyBytes":{reply_bytes}}}"#)
    }
}

/// A direction of a connection of this protocol.
struct Ends(u8, Direction);

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(protocol, Direction { src, dst, ports, zone }) = self;
        write!(f, r#"{{"src":"{src}","dst":"{dst}""#)?;
        match protocol {
            // TCP, UDP, DCCP, SCTP, UDP-Lite.
            6 | 17 | 33 | 132 | 136 => write!(f, r#","srcPort":{},"dstPort":{}"#, ports.0, ports.1)?,
            // GRE, which has keys.
            47 => write!(f, r#","srcKey":{},"dstKey":{}"#, ports.0, ports.1)?,
            // ICMP and ICMPv6.
            1 | 58 => {
                let [kind, code] = ports.1.to_be_bytes();
                write!(f, r#","icmpId":{},"icmpType":{kind},"icmpCode":{code}"#, ports.0)?;
            }
            _ => {}
        }
        if *zone != 0 {
            write!(f, r#","zone":{zone}"#)?;
        }
        f.write_str("}")
    }
}
