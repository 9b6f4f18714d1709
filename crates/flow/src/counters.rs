/// What a connection has carried in both directions, or what was added to that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "these four are what the kernel counts")]
pub struct Counters {
    /// Packets in the direction of the first one.
    pub original_packets: u64,
    /// Their bytes, with the IP headers and without the link's.
    pub original_bytes: u64,
    /// Packets in the other direction.
    pub reply_packets: u64,
    /// Their bytes, likewise.
    pub reply_bytes: u64,
}

impl Counters {
    /// What was added since these were `before`; `None` if one of them is less than it was.
    pub const fn checked_sub(self, before: Self) -> Option<Self> {
        // Not `?` on each: all four are compared without a branch.
        let (original_packets, a) = self.original_packets.overflowing_sub(before.original_packets);
        let (original_bytes, b) = self.original_bytes.overflowing_sub(before.original_bytes);
        let (reply_packets, c) = self.reply_packets.overflowing_sub(before.reply_packets);
        let (reply_bytes, d) = self.reply_bytes.overflowing_sub(before.reply_bytes);
        if a | b | c | d {
            return None;
        }
        Some(Self { original_packets, original_bytes, reply_packets, reply_bytes })
    }

    /// The sum; what does not fit in 64 bits stays at their end.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self {
            original_packets: self.original_packets.saturating_add(other.original_packets),
            original_bytes: self.original_bytes.saturating_add(other.original_bytes),
            reply_packets: self.reply_packets.saturating_add(other.reply_packets),
            reply_bytes: self.reply_bytes.saturating_add(other.reply_bytes),
        }
    }
}
