use std::fmt;
use std::net::IpAddr;

use siphasher::sip128::SipHasher13;

/// What tells a connection from every other one on a node, since the node was booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "it is built literally; a further field would change every key")]
pub struct Identity {
    /// The cookie of the network namespace: it is not used again, as an inode is.
    pub netns: u64,
    /// The zone of both directions.
    pub zone: u16,
    /// The number of the protocol above IP.
    pub protocol: u8,
    /// Where the first packet was from.
    pub src: IpAddr,
    /// Where it went to.
    pub dst: IpAddr,
    /// The ports of the two; of ICMP the identifier, and type and code; 0 where there is neither.
    pub ports: (u16, u16),
    /// The zone of the original direction alone; 0 if it has none.
    pub direction_zone: u16,
    /// The kernel's number for it. The kernel uses numbers again, for the same addresses and ports too.
    pub id: u32,
    /// When it began, in nanoseconds since 1970; `None` where the kernel stamps no connections.
    pub start: Option<u64>,
}

/// The fingerprint of an [`Identity`]: 127 bits of SipHash-1-3, and one that says whether the connection is stamped.
///
/// The same in every process and every release, so it may be saved. That two of a million connections share one has a
/// probability of 10⁻²⁶; nobody who sends packets can bring it about, because `id` and `start` are the kernel's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 16]);

/// Of the last byte: the connection has a `start`.
const STAMPED: u8 = 1;

impl Identity {
    /// Its fingerprint.
    pub fn key(&self) -> Key {
        let mut bytes = [0; 64];
        bytes[..8].copy_from_slice(&self.netns.to_le_bytes());
        bytes[8..24].copy_from_slice(&octets(self.src));
        bytes[24..40].copy_from_slice(&octets(self.dst));
        bytes[40..48].copy_from_slice(&self.start.unwrap_or_default().to_le_bytes());
        bytes[48..52].copy_from_slice(&self.id.to_le_bytes());
        bytes[52..54].copy_from_slice(&self.ports.0.to_le_bytes());
        bytes[54..56].copy_from_slice(&self.ports.1.to_le_bytes());
        bytes[56..58].copy_from_slice(&self.zone.to_le_bytes());
        bytes[58..60].copy_from_slice(&self.direction_zone.to_le_bytes());
        bytes[60] = self.protocol;
        bytes[61] = u8::from(self.src.is_ipv6()) | u8::from(self.dst.is_ipv6()) << 1;
        bytes[62] = u8::from(self.start.is_some());
        let mut key = SipHasher13::new().hash(&bytes).as_bytes();
        key[15] = key[15] & !STAMPED | if self.start.is_some() { STAMPED } else { 0 };
        Key(key)
    }
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

impl Key {
    /// The key with these bytes, which [`to_bytes`](Self::to_bytes) gave.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes, to be saved.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// Whether the connection has a `start`: then no other ever has its key.
    pub const fn is_stamped(self) -> bool {
        self.0[15] & STAMPED != 0
    }

    /// For tables: the half that has no bit with a meaning.
    pub(crate) const fn hash(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

#[cfg(test)]
mod tests;
