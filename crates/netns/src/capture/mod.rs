//! Packets: from a ring that the kernel fills, and in files.
//!
//! - [`Capture`] reads the packets of a namespace, which needs `CAP_NET_RAW` in it. A [`Filter`] is libpcap's, which is loaded when
//!   there is one, and not linked.
//! - [`PcapngWriter`] and [`Recorder`] write pcapng, [`PcapngReader`] reads it and classic pcap, and [`annotate`] gives the packets
//!   of a file other comments.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use podtrail_netns::Netns;
//! use podtrail_netns::capture::{Capture, CaptureConfig, InterfaceInfo, Recorder, Rotation, SectionInfo};
//!
//! let mut capture = Capture::open(&Netns::named("blue")?, &CaptureConfig::default())?;
//! let mut recorder = Recorder::create("blue.pcapng", Rotation::default(), &SectionInfo::default())?;
//! let handle = capture.handle();
//! while let Some(packets) = capture.next(Duration::from_secs(10))? {
//!     for packet in packets {
//!         if !recorder.knows(packet.interface, packet.link_type) {
//!             recorder.interface(&InterfaceInfo::new(handle.interface_of(&packet)))?;
//!         }
//!         recorder.packet(&packet, ["seen in blue"])?;
//!     }
//! }
//! # Ok::<(), podtrail_netns::Error>(())
//! ```

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
