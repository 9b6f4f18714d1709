use super::format::{self, padding};
use super::options::Options;
use crate::capture::LinkType;

const SECOND: i128 = 1_000_000_000;

/// A block as it was read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PcapngBlock<'a> {
    /// Its type: a number of the registry of pcapng.
    pub kind: u32,
    /// Where it began in the file.
    pub offset: u64,
    /// The byte order of its section.
    pub is_big_endian: bool,
    /// All between its two lengths.
    pub body: &'a [u8],
    /// What that means.
    pub contents: Contents<'a>,
}

/// What is in a block.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Contents<'a> {
    /// A section begins: interfaces are numbered anew.
    #[non_exhaustive]
    Section {
        /// What is said of it.
        options: Options<'a>,
    },
    /// The next interface.
    #[non_exhaustive]
    Interface {
        /// What its packets begin with.
        link_type: LinkType,
        /// How many bytes of a packet there are at most; 0 for all.
        snap_length: u32,
        /// What else is said of it.
        options: Options<'a>,
    },
    /// A packet.
    #[non_exhaustive]
    Packet {
        /// The number of its interface, from 0 in each section.
        interface: u32,
        /// What it begins with.
        link_type: LinkType,
        /// Nanoseconds since 1970-01-01 UTC, rounded down if the file has smaller ones; `None` in a block that has no stamp.
        time: Option<i128>,
        /// How long it was.
        original_length: u32,
        /// Its bytes.
        data: &'a [u8],
        /// What is said of it.
        options: Options<'a>,
    },
    /// What became of an interface's packets.
    #[non_exhaustive]
    Statistics {
        /// The number of the interface.
        interface: u32,
        /// As with packets.
        time: i128,
        /// The numbers.
        options: Options<'a>,
    },
    /// Another one, such as names of addresses, or keys.
    Other,
}

/// What must be known of an interface to read its packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkOf {
    link_type: LinkType,
    snap_length: u32,
    /// `if_tsresol`: the exponent of a unit of time, to the base of 2 if the highest bit is set, and of 10 if not.
    resolution: u8,
    /// `if_tsoffset`, in seconds.
    offset: i64,
}

impl LinkOf {
    fn nanoseconds(&self, stamp: u64) -> i128 {
        let exponent = u32::from(self.resolution & 0x7f);
        let stamp = i128::from(stamp);
        let since = match (self.resolution & 0x80 != 0, exponent) {
            // 64 bits by 30: it does not overflow.
            (true, _) => (stamp * SECOND) >> exponent,
            (false, 0..=9) => stamp * 10_i128.pow(9 - exponent),
            // Ten to more than this is more than any stamp.
            (false, _) => stamp / 10_i128.pow((exponent - 9).min(20)),
        };
        since + i128::from(self.offset) * SECOND
    }
}

impl<'a> Contents<'a> {
    pub(super) fn parse(
        kind: u32,
        body: &'a [u8],
        is_big_endian: bool,
        interfaces: &mut Vec<LinkOf>,
    ) -> Result<Self, &'static str> {
        let fields = Fields { body, is_big_endian };
        match kind {
            format::SECTION => fields.section(interfaces),
            format::INTERFACE => fields.interface(interfaces),
            format::PACKET | format::OLD_PACKET => fields.packet(kind, interfaces),
            format::SIMPLE_PACKET => fields.simple_packet(interfaces),
            format::STATISTICS => fields.statistics(interfaces),
            _ => Ok(Self::Other),
        }
    }
}

struct Fields<'a> {
    body: &'a [u8],
    is_big_endian: bool,
}

impl<'a> Fields<'a> {
    fn section(&self, interfaces: &mut Vec<LinkOf>) -> Result<Contents<'a>, &'static str> {
        let options = self.options(16)?;
        if self.half(4)? != format::MAJOR_VERSION {
            return Err("a section is of a version that is not known");
        }
        interfaces.clear();
        Ok(Contents::Section { options })
    }

    fn interface(&self, interfaces: &mut Vec<LinkOf>) -> Result<Contents<'a>, &'static str> {
        let (link_type, snap_length, options) = (LinkType(self.half(0)?), self.word(4)?, self.options(8)?);
        let mut link = LinkOf { link_type, snap_length, resolution: 6, offset: 0 };
        for (code, value) in options.clone() {
            match (code, value) {
                (format::interface::RESOLUTION, &[resolution]) => link.resolution = resolution,
                (format::interface::OFFSET, value) => {
                    let value = *value.first_chunk().ok_or("an interface's offset of time is too short")?;
                    link.offset =
                        if self.is_big_endian { i64::from_be_bytes(value) } else { i64::from_le_bytes(value) };
                }
                _ => {}
            }
        }
        if interfaces.len() >= format::MAX_INTERFACES {
            return Err("a section has more than 65536 interfaces");
        }
        interfaces.push(link);
        Ok(Contents::Interface { link_type, snap_length, options })
    }

    fn packet(&self, kind: u32, interfaces: &[LinkOf]) -> Result<Contents<'a>, &'static str> {
        let interface = if kind == format::PACKET { self.word(0)? } else { u32::from(self.half(0)?) };
        let link = link(interfaces, interface)?;
        let (captured, original_length) = (self.word(12)? as usize, self.word(16)?);
        let data = self.body[20..].get(..captured).ok_or("a packet is longer than its block")?;
        let options = self.options(20 + captured + padding(captured))?;
        let (link_type, time) = (link.link_type, Some(link.nanoseconds(self.stamp(4)?)));
        Ok(Contents::Packet { interface, link_type, time, original_length, data, options })
    }

    fn simple_packet(&self, interfaces: &[LinkOf]) -> Result<Contents<'a>, &'static str> {
        let link = link(interfaces, 0)?;
        let original_length = self.word(0)?;
        let limit = if link.snap_length == 0 { u32::MAX } else { link.snap_length };
        let data =
            self.body[4..].get(..original_length.min(limit) as usize).ok_or("a packet is longer than its block")?;
        let (link_type, options) = (link.link_type, self.options(self.body.len())?);
        Ok(Contents::Packet { interface: 0, link_type, time: None, original_length, data, options })
    }

    fn statistics(&self, interfaces: &[LinkOf]) -> Result<Contents<'a>, &'static str> {
        let interface = self.word(0)?;
        let time = link(interfaces, interface)?.nanoseconds(self.stamp(4)?);
        Ok(Contents::Statistics { interface, time, options: self.options(12)? })
    }

    fn options(&self, at: usize) -> Result<Options<'a>, &'static str> {
        Ok(Options::new(self.body.get(at..).ok_or(TOO_SHORT)?, self.is_big_endian))
    }

    /// The upper half comes first in either byte order.
    fn stamp(&self, at: usize) -> Result<u64, &'static str> {
        Ok(u64::from(self.word(at)?) << 32 | u64::from(self.word(at + 4)?))
    }

    fn word(&self, at: usize) -> Result<u32, &'static str> {
        word(self.body, at, self.is_big_endian).ok_or(TOO_SHORT)
    }

    fn half(&self, at: usize) -> Result<u16, &'static str> {
        let bytes = *self.body.get(at..).and_then(|rest| rest.first_chunk()).ok_or(TOO_SHORT)?;
        Ok(if self.is_big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }
}

const TOO_SHORT: &str = "a block is too short for what it is";

fn link(interfaces: &[LinkOf], number: u32) -> Result<&LinkOf, &'static str> {
    interfaces.get(number as usize).ok_or("an interface was not described before its packets")
}

pub(super) fn word(bytes: &[u8], at: usize, is_big_endian: bool) -> Option<u32> {
    let bytes = *bytes.get(at..)?.first_chunk()?;
    Some(if is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
}
