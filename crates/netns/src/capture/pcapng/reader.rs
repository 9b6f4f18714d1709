use std::io::{self, Read};

use super::block::{Contents, LinkOf, PcapngBlock, word};
use super::format::{self, HEADER, MAX_BLOCK, TRAILER, padding};
use crate::capture::LinkType;
use crate::{Error, ErrorKind, Result};

/// Magic numbers of the classic format: stamps of microseconds, and of nanoseconds.
const PCAP_MICROSECONDS: u32 = 0xa1b2_c3d4;
const PCAP_NANOSECONDS: u32 = 0xa1b2_3c4d;
const PCAP_HEADER: usize = 24;
const PCAP_RECORD: usize = 16;

/// Reads pcapng (draft-ietf-opsawg-pcapng), and classic pcap (draft-ietf-opsawg-pcap) as if it were pcapng.
///
/// Both byte orders, any number of sections, any block of up to 16 MiB. It holds one block, and what was said of a section's interfaces, of
/// which there are at most 65,536.
#[derive(Debug)]
pub struct PcapngReader<R> {
    input: R,
    /// How much of it was read.
    offset: u64,
    /// The body of the current block.
    body: Vec<u8>,
    state: State,
    is_big_endian: bool,
    /// Those of the current section.
    interfaces: Vec<LinkOf>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Start,
    Pcapng,
    /// The section has been shown, which the file does not have; the interface is next.
    Pcap(Pcap),
    PcapRecords(Pcap),
    /// After an error nothing is known to be a block.
    Failed,
}

#[derive(Clone, Copy, Debug)]
struct Pcap {
    is_big_endian: bool,
    /// How many digits of a second the stamps have.
    digits: u8,
    snap_length: u32,
    link_type: LinkType,
}

impl<R: Read> PcapngReader<R> {
    /// Reads from an input; give it a [`BufReader`](io::BufReader).
    pub const fn new(input: R) -> Self {
        Self { input, offset: 0, body: Vec::new(), state: State::Start, is_big_endian: false, interfaces: Vec::new() }
    }

    /// The next block; `None` at the end.
    ///
    /// # Errors
    ///
    /// If the input fails ([`ErrorKind::Read`]), or is neither pcapng nor pcap, ends within a block, or has one that is longer than 16 MiB or
    /// not as it should be ([`ErrorKind::Damaged`]). Nothing more is read after that.
    #[expect(clippy::should_implement_trait, reason = "what it returns borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<PcapngBlock<'_>>> {
        let offset = self.offset;
        let state = std::mem::replace(&mut self.state, State::Failed);
        let (kind, next) = match state {
            State::Failed => return Ok(None),
            State::Start => {
                let Some(first) = self.array::<4>(offset)? else { return Ok(None) };
                if u32::from_le_bytes(first) == format::SECTION {
                    (self.block(offset, first)?, State::Pcapng)
                } else {
                    let pcap = self.pcap(first)?;
                    self.body.clear();
                    self.body.extend(format::BYTE_ORDER.to_le_bytes());
                    self.body.extend([1, 0, 0, 0]);
                    self.body.extend(format::NO_LENGTH.to_le_bytes());
                    (format::SECTION, State::Pcap(pcap))
                }
            }
            State::Pcapng => {
                let Some(first) = self.array::<4>(offset)? else {
                    self.state = State::Pcapng;
                    return Ok(None);
                };
                (self.block(offset, first)?, State::Pcapng)
            }
            State::Pcap(pcap) => {
                self.body.clear();
                self.body.extend(u32::from(pcap.link_type.0).to_le_bytes());
                self.body.extend(pcap.snap_length.to_le_bytes());
                self.body.extend([format::interface::RESOLUTION as u8, 0, 1, 0, pcap.digits, 0, 0, 0, 0, 0, 0, 0]);
                (format::INTERFACE, State::PcapRecords(pcap))
            }
            State::PcapRecords(pcap) => {
                if !self.record(&pcap)? {
                    self.state = state;
                    return Ok(None);
                }
                (format::PACKET, state)
            }
        };
        let contents = Contents::parse(kind, &self.body, self.is_big_endian, &mut self.interfaces)
            .map_err(|why| damaged(offset, why))?;
        self.state = next;
        Ok(Some(PcapngBlock { kind, offset, is_big_endian: self.is_big_endian, body: &self.body, contents }))
    }

    /// Reads the block that begins with `first` at `offset`, and says of what kind it is.
    fn block(&mut self, offset: u64, first: [u8; 4]) -> Result<u32> {
        let length: [u8; 4] = self.rest(offset)?;
        let is_section = u32::from_le_bytes(first) == format::SECTION;
        let mut order = [0; 4];
        if is_section {
            order = self.rest(offset)?;
            self.is_big_endian = match u32::from_le_bytes(order) {
                format::BYTE_ORDER => false,
                swapped if swapped.swap_bytes() == format::BYTE_ORDER => true,
                _ => return Err(damaged(offset, "a section has no byte order")),
            };
        }
        let length = self.number(length) as usize;
        if !(HEADER + TRAILER..=MAX_BLOCK).contains(&length) || !length.is_multiple_of(4) {
            return Err(damaged(offset, "a block is of no length that a block has, or longer than 16 MiB"));
        }
        self.body.clear();
        let mut left = length - HEADER - TRAILER;
        if is_section {
            self.body.extend(order);
            left = left.checked_sub(order.len()).ok_or_else(|| damaged(offset, "a section's header is too short"))?;
        }
        self.fill(offset, left)?;
        let trailer: [u8; 4] = self.rest(offset)?;
        if self.number(trailer) as usize != length {
            return Err(damaged(offset, "a block has another length at its end"));
        }
        Ok(self.number(first))
    }

    /// The header of the classic format.
    fn pcap(&mut self, first: [u8; 4]) -> Result<Pcap> {
        let magic = u32::from_le_bytes(first);
        let (is_big_endian, digits) = match (magic, magic.swap_bytes()) {
            (PCAP_MICROSECONDS, _) => (false, 6),
            (PCAP_NANOSECONDS, _) => (false, 9),
            (_, PCAP_MICROSECONDS) => (true, 6),
            (_, PCAP_NANOSECONDS) => (true, 9),
            _ => return Err(damaged(0, "it is neither pcapng nor pcap")),
        };
        let rest: [u8; PCAP_HEADER - 4] = self.rest(0)?;
        let word = |at| word(&rest, at, is_big_endian).expect("the header is longer");
        // Above the link type is the length of a frame check sequence.
        let link_type = LinkType((word(16) & 0xffff) as u16);
        Ok(Pcap { is_big_endian, digits, snap_length: word(12), link_type })
    }

    /// A packet of the classic format as an Enhanced Packet Block; `false` at the end.
    fn record(&mut self, pcap: &Pcap) -> Result<bool> {
        let offset = self.offset;
        let Some(header) = self.array::<PCAP_RECORD>(offset)? else { return Ok(false) };
        let word = |at| word(&header, at, pcap.is_big_endian).expect("the header is longer");
        let (seconds, fraction, captured, original) = (word(0), word(4), word(8), word(12));
        if captured as usize > MAX_BLOCK - 64 {
            return Err(damaged(offset, "a packet is longer than 16 MiB"));
        }
        let stamp = u64::from(seconds) * 10_u64.pow(pcap.digits.into()) + u64::from(fraction);
        self.body.clear();
        for field in [0, (stamp >> 32) as u32, stamp as u32, captured, original] {
            self.body.extend(field.to_le_bytes());
        }
        self.fill(offset, captured as usize)?;
        self.body.extend(&[0; 3][..padding(captured as usize)]);
        Ok(true)
    }

    fn number(&self, bytes: [u8; 4]) -> u32 {
        if self.is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    /// What the block at `offset` must have next.
    fn rest<const N: usize>(&mut self, offset: u64) -> Result<[u8; N]> {
        self.array(offset)?.ok_or_else(|| damaged(offset, "it ends within a block"))
    }

    /// `None` at the end of the input.
    fn array<const N: usize>(&mut self, offset: u64) -> Result<Option<[u8; N]>> {
        let (mut bytes, mut length) = ([0; N], 0);
        while length < N {
            match self.input.read(&mut bytes[length..]) {
                Ok(0) if length == 0 => return Ok(None),
                Ok(0) => return Err(damaged(offset, "it ends within a block")),
                Ok(n) => length += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(cannot_read(e)),
            }
        }
        self.offset += N as u64;
        Ok(Some(bytes))
    }

    /// Appends to the body. Room is made as bytes come: a length may be a lie.
    fn fill(&mut self, offset: u64, length: usize) -> Result<()> {
        let read = (&mut self.input).take(length as u64).read_to_end(&mut self.body).map_err(cannot_read)?;
        self.offset += read as u64;
        if read == length { Ok(()) } else { Err(damaged(offset, "it ends within a block")) }
    }
}

fn damaged(offset: u64, why: &str) -> Error {
    Error::new(ErrorKind::Damaged, format!("the capture is damaged at byte {offset}: {why}"), None)
}

fn cannot_read(e: io::Error) -> Error {
    Error::new(ErrorKind::Read, "cannot read packets".into(), e)
}
