//! Numbers of draft-ietf-opsawg-pcapng and draft-ietf-opsawg-pcap.

pub(super) const SECTION: u32 = 0x0a0d_0d0a;
pub(super) const INTERFACE: u32 = 1;
/// Obsolete, and still read.
pub(super) const OLD_PACKET: u32 = 2;
pub(super) const SIMPLE_PACKET: u32 = 3;
pub(super) const STATISTICS: u32 = 5;
pub(super) const PACKET: u32 = 6;

/// Tells the byte order of a section.
pub(super) const BYTE_ORDER: u32 = 0x1a2b_3c4d;
pub(super) const MAJOR_VERSION: u16 = 1;
/// The length of a section that does not say it.
pub(super) const NO_LENGTH: u64 = u64::MAX;

/// Type and length before, and the length again behind a block's body.
pub(super) const HEADER: usize = 8;
pub(super) const TRAILER: usize = 4;
/// A longer block is refused; Wireshark does the same.
pub(super) const MAX_BLOCK: usize = 16 << 20;
pub(super) const MAX_INTERFACES: usize = 1 << 16;

pub(super) const END: u16 = 0;
pub(super) const COMMENT: u16 = 1;
pub(super) mod section {
    pub(in super::super) const HARDWARE: u16 = 2;
    pub(in super::super) const OS: u16 = 3;
    pub(in super::super) const APPLICATION: u16 = 4;
}
pub(super) mod interface {
    pub(in super::super) const NAME: u16 = 2;
    pub(in super::super) const DESCRIPTION: u16 = 3;
    pub(in super::super) const RESOLUTION: u16 = 9;
    pub(in super::super) const FILTER: u16 = 11;
    pub(in super::super) const OFFSET: u16 = 14;
}
pub(super) mod packet {
    pub(in super::super) const FLAGS: u16 = 2;
    /// Of the flags: which way it went.
    pub(in super::super) const INBOUND: u32 = 1;
    pub(in super::super) const OUTBOUND: u32 = 2;
}
pub(super) mod statistics {
    pub(in super::super) const ACCEPTED: u16 = 6;
    pub(in super::super) const DROPPED: u16 = 7;
    pub(in super::super) const DELIVERED: u16 = 8;
}

/// Fields and options are filled up to this.
pub(super) const fn padding(length: usize) -> usize {
    length.wrapping_neg() % 4
}
