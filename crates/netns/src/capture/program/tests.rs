use proptest::prelude::*;

use super::*;

const PACKET_HOST: u32 = 0;
const ETHERNET_TAKES: u32 = 11;
const RAW_TAKES: u32 = 22;

/// What the kernel knows of a packet besides its bytes.
#[derive(Clone, Copy, Debug)]
struct Seen {
    device_type: u16,
    interface: u32,
    packet_type: u32,
}

/// How many bytes of a packet a program takes. Where it jumps to is within it, or this panics.
fn run(program: &[BpfInstruction], seen: Seen) -> u32 {
    let (mut at, mut register) = (0, 0);
    loop {
        let BpfInstruction { code, if_true, if_false, operand } = program[at];
        at += 1;
        match code {
            LOAD_CONSTANT => register = operand,
            LOAD_WORD => {
                register = match operand {
                    PACKET_TYPE => seen.packet_type,
                    INTERFACE => seen.interface,
                    DEVICE_TYPE => seen.device_type.into(),
                    _ => panic!("{operand:#x} is not known of a packet"),
                }
            }
            JUMP => at += operand as usize,
            JUMP_IF_EQUAL => at += usize::from(if register == operand { if_true } else { if_false }),
            RETURN => return operand,
            _ => panic!("instruction {code:#x}"),
        }
    }
}

/// A program of some length that takes so many bytes, if the register is zero at first as libpcap expects.
fn program(length: usize, bytes: u32) -> Vec<BpfInstruction> {
    let mut program = vec![BpfInstruction::new(JUMP_IF_EQUAL, 1, 0, 0), take(99)];
    program.resize(length - 1, BpfInstruction::new(LOAD_CONSTANT, 0, 0, 0));
    program.push(take(bytes));
    program
}

/// Mostly those that there are.
fn device_type() -> impl Strategy<Value = u16> {
    let known = [device::types_of(LinkType::ETHERNET), device::types_of(LinkType::RAW)].concat();
    prop_oneof![4 => prop::sample::select(known), 1 => any::<u16>()]
}

proptest! {
    #[test]
    fn a_joined_program_takes_what_the_one_of_the_packets_link_type_takes(
        lengths in (3..2500_usize, 3..2500_usize),
        chosen in prop::collection::vec(1..100_u32, 0..=64),
        packets in prop::collection::vec((device_type(), 1..100_u32, any::<bool>()), 50),
    ) {
        let programs = Programs { ethernet: program(lengths.0, ETHERNET_TAKES), raw: program(lengths.1, RAW_TAKES) };
        let joined = match programs.join(&chosen) {
            Ok(joined) => joined,
            Err(e) => {
                prop_assert_eq!(e.kind(), ErrorKind::Filter);
                // What chooses is short.
                prop_assert!(lengths.0 + lengths.1 + 2 * 64 + 20 > MAX_INSTRUCTIONS);
                return Ok(());
            }
        };
        prop_assert!(joined.len() <= MAX_INSTRUCTIONS);
        for (device_type, interface, is_outgoing) in packets {
            let packet_type = if is_outgoing { PACKET_OUTGOING } else { PACKET_HOST };
            let expected = match device::link_type(device_type) {
                // The socket is bound to a single one.
                _ if chosen.len() > 1 && !chosen.contains(&interface) => 0,
                _ if device_type == device::LOOPBACK && is_outgoing => 0,
                Some(LinkType::ETHERNET) => ETHERNET_TAKES,
                Some(LinkType::RAW) => RAW_TAKES,
                _ => 0,
            };
            let seen = Seen { device_type, interface, packet_type };
            prop_assert_eq!(run(&joined, seen), expected, "{:?}", seen);
        }
    }
}
