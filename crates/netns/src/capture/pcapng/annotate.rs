use std::io::{Read, Write};
use std::net::IpAddr;

use super::block::{Contents, PcapngBlock};
use super::format;
use super::options::OptionWriter;
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
    /// How many of them got comments.
    pub commented: u64,
}

/// Copies a capture, pcapng or pcap, to pcapng with comments on its packets.
///
/// `comments` is asked with the time of a packet (nanoseconds since 1970-01-01 UTC), its source and its destination, as [`endpoints`] finds
/// them. A comment that a packet has already is not added again. All else stays as it is: every block, every option, the
/// byte order; but a section says no longer how long it is. Simple Packet Blocks, which have neither time nor comments, are copied.
///
/// # Errors
///
/// If the input fails or is damaged, the output fails, or comments are too long for a block. What was copied until then is whole.
pub fn annotate<R: Read, W: Write, I: IntoIterator<Item: AsRef<str>>>(
    input: R,
    mut output: W,
    mut comments: impl FnMut(i128, IpAddr, IpAddr) -> I,
) -> Result<Annotated> {
    let mut annotated = Annotated::default();
    let mut reader = PcapngReader::new(input);
    let mut added = OptionWriter::default();
    while let Some(block) = reader.next()? {
        match &block.contents {
            Contents::Section { .. } => copy_section(&mut output, &block)?,
            Contents::Packet { time: Some(time), link_type, data, options, .. } => {
                annotated.packets += 1;
                added.clear().in_order(block.is_big_endian);
                if let Some((source, destination)) = endpoints(*link_type, data) {
                    for comment in comments(*time, source, destination) {
                        if !options.clone().comments().any(|present| present == comment.as_ref()) {
                            added.put_comments([comment])?;
                        }
                    }
                }
                if added.is_empty() {
                    copy(&mut output, &block)?;
                    continue;
                }
                annotated.commented += 1;
                let before = &block.body[..block.body.len() - options.len()];
                let own = [options.before_end(), added.finish()].concat();
                write_block(&mut output, block.is_big_endian, block.kind, &[], before, &own)?;
            }
            Contents::Packet { .. } => {
                annotated.packets += 1;
                copy(&mut output, &block)?;
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
