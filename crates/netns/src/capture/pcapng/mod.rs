//! The file format pcapng, and the classic pcap as an input.

mod format;
mod options;
mod writer;

pub use writer::{InterfaceInfo, PcapngWriter, SectionInfo};
