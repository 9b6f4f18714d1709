use std::io::{Read, Write};
use std::net::IpAddr;

use super::block::{Contents, PcapngBlock};
use super::format;
use super::options::{OptionWriter, Options};
use super::reader::PcapngReader;
use super::writer::write_block;
use crate::Result;
use crate::capture::endpoints;

/// What [`annotate`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Annotated {
    /// How many packets there were.
    pub packets: u64,
    /// How many of them have other comments now.
    pub changed: u64,
}

/// The comments of a packet, as they are to be.
#[derive(Clone, Debug)]
pub struct Comments<'a> {
    /// Those that it had and that are text, and whether they stay.
    had: Vec<(&'a str, bool)>,
    added: Vec<String>,
}

impl<'a> Comments<'a> {
    fn of(options: Options<'a>) -> Self {
        Self { had: options.comments().map(|comment| (comment, true)).collect(), added: Vec::new() }
    }

    /// The comments, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let had = self.had.iter().filter(|(_, stays)| *stays).map(|(comment, _)| *comment);
        had.chain(self.added.iter().map(String::as_str))
    }

    /// Takes away those that are not to be kept.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        for (comment, stays) in &mut self.had {
            *stays = *stays && keep(comment);
        }
        self.added.retain(|comment| keep(comment));
    }

    /// Adds one behind them, unless it is there already.
    pub fn add(&mut self, comment: impl Into<String>) {
        let comment = comment.into();
        if !self.iter().any(|there| there == comment) {
            self.added.push(comment);
        }
    }

    fn are_changed(&self) -> bool {
        !self.added.is_empty() || self.had.iter().any(|(_, stays)| !stays)
    }

    /// All options of the packet, with these comments.
    fn write(&self, mut options: Options<'_>, to: &mut OptionWriter) -> Result<()> {
        let mut had = self.had.iter();
        while let Some((option, bytes)) = options.next_whole() {
            let stays = Options::comment(option).is_none() || had.next().is_none_or(|(_, stays)| *stays);
            if stays {
                to.copy(bytes);
            }
        }
        // What is there already may be longer than what may be added.
        let mut added = OptionWriter::default();
        added.in_order(options.is_big_endian());
        to.copy(added.put_comments(&self.added)?.bytes());
        Ok(())
    }
}

/// Copies a capture, pcapng or pcap, to pcapng with other comments on its packets.
///
/// `change` is given the time of a packet (nanoseconds since 1970-01-01 UTC), its source and its destination, as [`endpoints`] finds
/// them, and its comments. All else stays as it is: every block, every option, the byte order, and comments that are no text; but a
/// section says no longer how long it is. Simple Packet Blocks, which have neither time nor comments, are copied.
///
/// # Errors
///
/// If the input fails or is damaged, the output fails, or comments are too long for a block. What was copied until then is whole.
pub fn annotate<R: Read, W: Write>(
    input: R,
    mut output: W,
    mut change: impl FnMut(i128, IpAddr, IpAddr, &mut Comments<'_>),
) -> Result<Annotated> {
    let mut annotated = Annotated::default();
    let mut reader = PcapngReader::new(input);
    let mut changed = OptionWriter::default();
    while let Some(block) = reader.next()? {
        match &block.contents {
            Contents::Section { .. } => copy_section(&mut output, &block)?,
            Contents::Packet { time, link_type, data, options, .. } => {
                annotated.packets += 1;
                let mut comments = Comments::of(options.clone());
                if let (Some(time), Some((source, destination))) = (time, endpoints(*link_type, data)) {
                    change(*time, source, destination, &mut comments);
                }
                if !comments.are_changed() {
                    copy(&mut output, &block)?;
                    continue;
                }
                annotated.changed += 1;
                let before = &block.body[..block.body.len() - options.len()];
                comments.write(options.clone(), changed.clear())?;
                write_block(&mut output, block.is_big_endian, block.kind, &[], before, changed.finish())?;
            }
            _ => copy(&mut output, &block)?,
        }
    }
    output.flush().map_err(super::writer::cannot_write)?;
    Ok(annotated)
}

fn copy(output: impl Write, block: &PcapngBlock<'_>) -> Result<()> {
    write_block(output, block.is_big_endian, block.kind, &[], block.body, &[])
}

/// Behind the byte order and the version is the length, which comments change.
fn copy_section(output: impl Write, block: &PcapngBlock<'_>) -> Result<()> {
    let mut fields = [0; 16];
    fields[..8].copy_from_slice(&block.body[..8]);
    fields[8..].copy_from_slice(&format::NO_LENGTH.to_le_bytes());
    write_block(output, block.is_big_endian, block.kind, &fields, &block.body[16..], &[])
}
