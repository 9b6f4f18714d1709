//! The program that a capture's socket runs over each packet before it is copied.

use super::{LinkType, device};
use crate::{Error, ErrorKind, Result};

/// `BPF_MAXINSNS` of linux/bpf_common.h: as many instructions as the kernel takes.
pub(super) const MAX_INSTRUCTIONS: usize = 4096;

/// An instruction of the classic BPF: `struct sock_filter` of linux/filter.h, and `struct bpf_insn` of libpcap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[non_exhaustive]
pub struct BpfInstruction {
    /// What it does.
    pub code: u16,
    /// How many instructions a jump skips if its condition holds.
    pub if_true: u8,
    /// How many it skips if not.
    pub if_false: u8,
    /// The number that it works with.
    pub operand: u32,
}

impl BpfInstruction {
    const fn new(code: u16, if_true: u8, if_false: u8, operand: u32) -> Self {
        Self { code, if_true, if_false, operand }
    }
}

/// Loads, jumps and the end, of linux/filter.h and linux/bpf_common.h.
const LOAD_CONSTANT: u16 = 0x00;
const LOAD_WORD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// `SKF_AD_OFF` with `SKF_AD_PKTTYPE`, `SKF_AD_IFINDEX`, `SKF_AD_HATYPE`: what the kernel knows of a packet besides its bytes.
const PACKET_TYPE: u32 = 0xffff_f004;
const INTERFACE: u32 = 0xffff_f008;
const DEVICE_TYPE: u32 = 0xffff_f01c;
/// linux/if_packet.h.
const PACKET_OUTGOING: u32 = 4;

/// Takes this many bytes of each packet; none of any for 0.
pub(super) fn take(bytes: u32) -> BpfInstruction {
    BpfInstruction::new(RETURN, 0, 0, bytes)
}

/// What runs over packets of each link type.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) ethernet: Vec<BpfInstruction>,
    pub(super) raw: Vec<BpfInstruction>,
}

impl Programs {
    /// One program for the packets of some interfaces, or of all if there is none in `interfaces`: it chooses by the type of the
    /// device that a packet came from. Packets of devices of other types are not taken, and of the two looks at a packet on the
    /// loopback device only the one at its arrival, as in libpcap.
    pub(super) fn join(self, interfaces: &[u32]) -> Result<Vec<BpfInstruction>> {
        let Self { ethernet, raw } = self;
        let mut program = only_of(interfaces)?;
        let raw_types = device::types_of(LinkType::RAW);
        let to_raw = u8::try_from(raw_types.len()).expect("there are few types");
        program.extend([
            BpfInstruction::new(LOAD_WORD, 0, 0, DEVICE_TYPE),
            BpfInstruction::new(JUMP_IF_EQUAL, 0, 3, device::LOOPBACK.into()),
            BpfInstruction::new(LOAD_WORD, 0, 0, PACKET_TYPE),
            BpfInstruction::new(JUMP_IF_EQUAL, 0, 2, PACKET_OUTGOING),
            take(0),
            BpfInstruction::new(JUMP_IF_EQUAL, 0, 2, device::ETHERNET.into()),
            // A program may count on a register that is zero.
            BpfInstruction::new(LOAD_CONSTANT, 0, 0, 0),
            BpfInstruction::new(JUMP, 0, 0, u32::from(to_raw) + 3),
        ]);
        program.extend(
            raw_types.iter().zip(0..).map(|(&ty, n)| BpfInstruction::new(JUMP_IF_EQUAL, to_raw - n, 0, ty.into())),
        );
        let over_ethernet = u32::try_from(ethernet.len()).map_err(|_too_many| too_long(ethernet.len()))?;
        program.extend([
            take(0),
            BpfInstruction::new(LOAD_CONSTANT, 0, 0, 0),
            BpfInstruction::new(JUMP, 0, 0, over_ethernet),
        ]);
        program.extend(ethernet);
        program.extend(raw);
        if program.len() > MAX_INSTRUCTIONS { Err(too_long(program.len())) } else { Ok(program) }
    }
}

/// With one interface the socket is bound to it, and need not look.
fn only_of(interfaces: &[u32]) -> Result<Vec<BpfInstruction>> {
    if interfaces.len() < 2 {
        return Ok(Vec::new());
    }
    let mut program = vec![BpfInstruction::new(LOAD_WORD, 0, 0, INTERFACE)];
    for (n, &index) in interfaces.iter().enumerate() {
        // Over the pairs that follow, and the end.
        let left = u32::try_from(interfaces.len() - n).map_err(|_too_many| too_long(interfaces.len()))?;
        program.push(BpfInstruction::new(JUMP_IF_EQUAL, 0, 1, index));
        program.push(BpfInstruction::new(JUMP, 0, 0, 2 * (left - 1) + 1));
    }
    program.push(take(0));
    Ok(program)
}

pub(super) fn too_long(instructions: usize) -> Error {
    let what =
        format!("the filter is a program of {instructions} instructions, and {MAX_INSTRUCTIONS} are too few for it");
    Error::new(ErrorKind::Filter, what, None)
}

#[cfg(test)]
mod tests;
