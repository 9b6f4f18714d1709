use std::io::Write;

use super::format::{self, HEADER, TRAILER, padding};
use super::options::OptionWriter;
use crate::capture::{CaptureStats, Direction, Interface, LinkType, Packet};
use crate::{Error, ErrorKind, Result};

/// What a file says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SectionInfo {
    /// The machine that it was made on.
    pub hardware: String,
    /// Its operating system.
    pub os: String,
    /// The program that made it.
    pub application: String,
    /// What else is to be said.
    pub comments: Vec<String>,
}

/// What a file says of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InterfaceInfo {
    /// Which one it is.
    pub interface: Interface,
    /// What it is.
    pub description: String,
    /// The filter that its packets passed.
    pub filter: String,
    /// How many bytes of a packet there are at most; 0 for all.
    pub snap_length: u32,
    /// What else is to be said.
    pub comments: Vec<String>,
}

impl InterfaceInfo {
    /// Nothing is said but which one it is.
    pub const fn new(interface: Interface) -> Self {
        Self { interface, description: String::new(), filter: String::new(), snap_length: 0, comments: Vec::new() }
    }
}

/// Writes packets as pcapng (draft-ietf-opsawg-pcapng), with stamps of nanoseconds and comments: what Wireshark reads.
///
/// It allocates nothing for a packet, and writes one in three pieces: give it a [`BufWriter`](std::io::BufWriter).
#[derive(Debug)]
pub struct PcapngWriter<W> {
    output: W,
    /// The section's header and the interfaces, as they were written.
    preamble: Vec<u8>,
    /// The interfaces in the order in which they were described.
    interfaces: Vec<Known>,
    options: OptionWriter,
}

#[derive(Debug)]
struct Known {
    index: u32,
    link_type: LinkType,
    packets: u64,
}

impl<W: Write> PcapngWriter<W> {
    /// Begins a file.
    ///
    /// # Errors
    ///
    /// If the output fails, or a text is longer than 65,535 bytes.
    pub fn new(output: W, section: &SectionInfo) -> Result<Self> {
        let mut writer =
            Self { output, preamble: Vec::new(), interfaces: Vec::new(), options: OptionWriter::default() };
        writer.options.clear().put_comments(&section.comments)?;
        let texts = [
            (format::section::HARDWARE, &section.hardware),
            (format::section::OS, &section.os),
            (format::section::APPLICATION, &section.application),
        ];
        writer.put_texts(&texts)?;
        let mut body = [0; 16];
        body[..4].copy_from_slice(&format::BYTE_ORDER.to_le_bytes());
        body[4..6].copy_from_slice(&format::MAJOR_VERSION.to_le_bytes());
        body[8..].copy_from_slice(&format::NO_LENGTH.to_le_bytes());
        writer.describe(format::SECTION, &body)?;
        Ok(writer)
    }

    /// Describes an interface, before its first packet; one that has been described already is not described again.
    ///
    /// # Errors
    ///
    /// If the output fails, the interface is of a type that cannot be captured, a text is longer than 65,535 bytes, or there are 65,536
    /// interfaces already.
    pub fn interface(&mut self, info: &InterfaceInfo) -> Result<()> {
        let Interface { index, name, link_type } = &info.interface;
        let refuse =
            |why| Error::new(ErrorKind::Interface, format!("interface {name} cannot be described: {why}"), None);
        let link_type = link_type.ok_or_else(|| refuse("it is of a type that cannot be captured"))?;
        if self.knows(*index, link_type) {
            return Ok(());
        }
        if self.interfaces.len() >= format::MAX_INTERFACES {
            return Err(refuse("the file has 65536 already"));
        }
        self.options.clear().put_comments(&info.comments)?;
        let texts = [(format::interface::NAME, name), (format::interface::DESCRIPTION, &info.description)];
        self.put_texts(&texts)?;
        self.options.put(format::interface::RESOLUTION, &[9])?;
        if !info.filter.is_empty() {
            // The first byte says that a text follows.
            let filter = [&[0], info.filter.as_bytes()].concat();
            self.options.put(format::interface::FILTER, &filter)?;
        }
        let mut body = [0; 8];
        body[..2].copy_from_slice(&link_type.0.to_le_bytes());
        body[4..].copy_from_slice(&info.snap_length.to_le_bytes());
        self.describe(format::INTERFACE, &body)?;
        self.interfaces.push(Known { index: *index, link_type, packets: 0 });
        Ok(())
    }

    /// Whether an interface has been described.
    pub fn knows(&self, index: u32, link_type: LinkType) -> bool {
        self.position(index, link_type).is_some()
    }

    /// Writes a packet with comments, each of which Wireshark shows on a line of its own.
    ///
    /// # Errors
    ///
    /// If its interface has not been described ([`ErrorKind::Interface`]), the output fails, or a comment is longer than 65,535 bytes.
    /// Nothing has been written then, unless the output failed.
    pub fn packet(&mut self, packet: &Packet<'_>, comments: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
        let Some(position) = self.position(packet.interface, packet.link_type) else {
            let what = format!("interface {} was not described before its packet", packet.interface);
            return Err(Error::new(ErrorKind::Interface, what, None));
        };
        let flags = match packet.direction {
            Direction::In => format::packet::INBOUND,
            Direction::Out => format::packet::OUTBOUND,
        };
        let options = self.options.clear().put(format::packet::FLAGS, &flags.to_le_bytes())?;
        let options = options.put_comments(comments)?.finish();
        let Ok(captured) = u32::try_from(packet.data.len()) else { return Err(too_long()) };
        let stamp = packet.time.cast_unsigned();
        let fields = [position as u32, (stamp >> 32) as u32, stamp as u32, captured, packet.original_length];
        write_block(
            &mut self.output,
            false,
            format::PACKET,
            fields.map(u32::to_le_bytes).as_flattened(),
            packet.data,
            options,
        )?;
        self.interfaces[position].packets += 1;
        Ok(())
    }

    /// Writes what became of the packets, at the end: those that were written, of each interface; and of a single interface those that
    /// passed the filter and those of them that the system dropped, but not those that the device dropped or that did not pass, which nobody
    /// counts. Of several it is not known whose the dropped ones were: there the sum is said in a comment.
    ///
    /// `time` is now, in nanoseconds since 1970.
    ///
    /// # Errors
    ///
    /// If the output fails.
    pub fn statistics(&mut self, time: i64, stats: &CaptureStats) -> Result<()> {
        let (is_single, stamp) = (self.interfaces.len() == 1, time.cast_unsigned());
        for (position, known) in self.interfaces.iter().enumerate() {
            let options = self.options.clear();
            if is_single {
                let passed = stats.received.saturating_add(stats.dropped);
                options.put(format::statistics::ACCEPTED, &passed.to_le_bytes())?;
                options.put(format::statistics::DROPPED, &stats.dropped.to_le_bytes())?;
            } else if position == 0 && stats.dropped > 0 {
                options.put_comments([format!("{} packets were dropped, of all interfaces", stats.dropped)])?;
            }
            let options = options.put(format::statistics::DELIVERED, &known.packets.to_le_bytes())?.finish();
            let fields = [position as u32, (stamp >> 32) as u32, stamp as u32];
            write_block(
                &mut self.output,
                false,
                format::STATISTICS,
                fields.map(u32::to_le_bytes).as_flattened(),
                &[],
                options,
            )?;
        }
        Ok(())
    }

    /// Goes on with another output, which begins with what was said of the section and the interfaces, and returns the one before.
    ///
    /// # Errors
    ///
    /// If the new output fails; the writer goes on with the one before.
    pub fn replace(&mut self, mut output: W) -> Result<W> {
        output.write_all(&self.preamble).map_err(cannot_write)?;
        for known in &mut self.interfaces {
            known.packets = 0;
        }
        Ok(std::mem::replace(&mut self.output, output))
    }

    /// Hands on what the output holds back.
    ///
    /// # Errors
    ///
    /// If the output fails.
    pub fn flush(&mut self) -> Result<()> {
        self.output.flush().map_err(cannot_write)
    }

    /// The output.
    pub const fn output(&self) -> &W {
        &self.output
    }

    /// Ends with the output, which is not flushed.
    pub fn into_output(self) -> W {
        self.output
    }

    fn position(&self, index: u32, link_type: LinkType) -> Option<usize> {
        // The last one first: names and types of an index may change, and there are few.
        self.interfaces.iter().rposition(|known| known.index == index && known.link_type == link_type)
    }

    fn put_texts(&mut self, texts: &[(u16, &String)]) -> Result<()> {
        for (code, text) in texts.iter().filter(|(_, text)| !text.is_empty()) {
            self.options.put(*code, text.as_bytes())?;
        }
        Ok(())
    }

    /// A block that each output begins with.
    fn describe(&mut self, kind: u32, body: &[u8]) -> Result<()> {
        let before = self.preamble.len();
        write_block(&mut self.preamble, false, kind, body, &[], self.options.finish())?;
        let written = self.output.write_all(&self.preamble[before..]).map_err(cannot_write);
        if written.is_err() {
            self.preamble.truncate(before);
        }
        written
    }
}

/// A block of at most 20 bytes of fields, data that are padded, and options. What it is made of is in the byte order of its section already.
pub(super) fn write_block(
    mut output: impl Write,
    is_big_endian: bool,
    kind: u32,
    fields: &[u8],
    data: &[u8],
    options: &[u8],
) -> Result<()> {
    let padding = &[0; 3][..padding(data.len())];
    let length = HEADER + fields.len() + data.len() + padding.len() + options.len() + TRAILER;
    if length > format::MAX_BLOCK {
        return Err(too_long());
    }
    let order = |number: u32| if is_big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let length = order(length as u32);
    let mut head = [0; 28];
    head[..4].copy_from_slice(&order(kind));
    head[4..8].copy_from_slice(&length);
    head[HEADER..][..fields.len()].copy_from_slice(fields);
    let mut write = |bytes: &[u8]| output.write_all(bytes).map_err(cannot_write);
    write(&head[..HEADER + fields.len()])?;
    write(data)?;
    write(padding)?;
    write(options)?;
    write(&length)
}

fn too_long() -> Error {
    Error::new(ErrorKind::Config, "a block of a pcapng file has at most 16 MiB".into(), None)
}

pub(super) fn cannot_write(e: std::io::Error) -> Error {
    Error::new(ErrorKind::Write, "cannot write packets".into(), e)
}
