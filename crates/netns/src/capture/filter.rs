use super::LinkType;
use super::libpcap;
use super::program::BpfInstruction;
use crate::{Error, ErrorKind, Result};

/// A longer filter is nobody's who types it.
const MAX_LENGTH: usize = 8 << 10;

/// Which packets are wanted, in the language of tcpdump (pcap-filter(7)).
///
/// It is libpcap that reads it, loaded when a filter is first compiled; without a filter it is not needed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Filter {
    text: String,
}

impl Filter {
    /// Takes a text; whether it is a filter is found when it is [compiled](Self::compile). An empty one wants all packets.
    ///
    /// # Errors
    ///
    /// If it has a NUL, or more than 8 KiB.
    pub fn new(text: &str) -> Result<Self> {
        let refuse = |why: &str| Error::new(ErrorKind::Filter, format!("a filter {why}"), None);
        if text.len() > MAX_LENGTH {
            return Err(refuse("has at most 8192 bytes"));
        }
        if text.contains('\0') {
            return Err(refuse("has no NUL in it"));
        }
        Ok(Self { text: text.into() })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The program that takes `snap_length` bytes of the packets that are wanted.
    ///
    /// Names of hosts are looked up.
    ///
    /// # Errors
    ///
    /// If `libpcap` cannot be loaded ([`ErrorKind::Library`]), the text is no filter, or one that has no meaning for the type of link
    /// or becomes longer than 4096 instructions ([`ErrorKind::Filter`]).
    pub fn compile(&self, link_type: LinkType, snap_length: u32) -> Result<Vec<BpfInstruction>> {
        libpcap::compile(&self.text, link_type, snap_length)
    }

    /// The kernel takes the tag of a VLAN out of a packet before it runs the program: one that looks for it there finds none.
    pub(super) fn check_for_capture(&self) -> Result<()> {
        let words = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        if self.as_str().split(words).any(|word| word == "vlan") {
            let what = "a capture cannot be filtered by \"vlan\": the kernel takes the tags out before it looks; filter what was captured";
            return Err(Error::new(ErrorKind::Filter, what.into(), None));
        }
        Ok(())
    }
}
