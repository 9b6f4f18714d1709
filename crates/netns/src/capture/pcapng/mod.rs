//! The file format pcapng, and the classic pcap as an input.

mod annotate;
mod block;
mod format;
mod options;
mod reader;
mod writer;

pub use annotate::{Annotated, Comments, annotate};
pub use block::{Contents, PcapngBlock};
pub use options::Options;
pub use reader::PcapngReader;
pub use writer::{InterfaceInfo, PcapngWriter, SectionInfo};
