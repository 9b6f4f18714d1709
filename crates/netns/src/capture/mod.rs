//! Packets: from a ring that the kernel fills, and in files.
//!
//! - [`PcapngWriter`] writes pcapng, [`PcapngReader`] reads it and classic pcap, and [`annotate`] gives the packets of a file other
//!   comments.
#![cfg_attr(target_os = "linux", doc = include_str!("linux.md"))]

mod endpoints;
mod packet;
mod pcapng;
mod stats;

#[cfg(target_os = "linux")]
mod device;
#[cfg(target_os = "linux")]
mod file;
#[cfg(target_os = "linux")]
mod filter;
#[cfg(target_os = "linux")]
mod libpcap;
#[cfg(target_os = "linux")]
mod live;
#[cfg(target_os = "linux")]
mod packets;
#[cfg(target_os = "linux")]
mod program;
#[cfg(target_os = "linux")]
mod recorder;
#[cfg(target_os = "linux")]
mod ring;

pub use endpoints::endpoints;
pub use packet::{Direction, Interface, LinkType, Packet};
pub use pcapng::{
    Annotated, Comments, Contents, InterfaceInfo, Options, PcapngBlock, PcapngReader, PcapngWriter, SectionInfo,
    annotate,
};
pub use stats::CaptureStats;

#[cfg(target_os = "linux")]
pub use file::{empty_private, open_private};
#[cfg(target_os = "linux")]
pub use filter::Filter;
#[cfg(target_os = "linux")]
pub use live::{Capture, CaptureConfig, CaptureHandle};
#[cfg(target_os = "linux")]
pub use packets::Packets;
#[cfg(target_os = "linux")]
pub use program::BpfInstruction;
#[cfg(target_os = "linux")]
pub use recorder::{Recorder, Rotation};
