use super::device;
use super::packet::{Direction, Packet};

/// `struct tpacket_block_desc` of linux/if_packet.h: where it says how many packets there are, and where the first is.
const COUNT: usize = 12;
const FIRST: usize = 16;
/// `struct tpacket3_hdr`, and `struct sockaddr_ll` behind it.
const NEXT: usize = 0;
const SECONDS: usize = 4;
const NANOSECONDS: usize = 8;
const CAPTURED: usize = 12;
const LENGTH: usize = 16;
const STATUS: usize = 20;
const DATA: usize = 24;
const VLAN_TCI: usize = 32;
const VLAN_TPID: usize = 36;
const INTERFACE: usize = 52;
const DEVICE_TYPE: usize = 56;
const PACKET_TYPE: usize = 58;
const HEADERS: usize = 68;

const TP_STATUS_VLAN_VALID: u32 = 1 << 4;
const TP_STATUS_VLAN_TPID_VALID: u32 = 1 << 6;
const PACKET_OUTGOING: u8 = 4;
/// A tag of 802.1Q, where the kernel does not say which.
const ETH_P_8021Q: u16 = 0x8100;
/// Where a tag is: behind both addresses.
const ADDRESSES: usize = 12;
const TAG: usize = 4;

/// Packets that were captured, lent by the ring until the next are asked for.
#[derive(Debug)]
pub struct Packets<'a> {
    rest: &'a mut [u8],
    left: u32,
}

impl<'a> Packets<'a> {
    pub(super) fn of(block: &'a mut [u8]) -> Self {
        let left = word(block, COUNT).unwrap_or(0);
        let first = word(block, FIRST).and_then(|first| block.get_mut(first as usize..));
        match first {
            Some(rest) => Self { rest, left },
            None => Self { rest: &mut [], left: 0 },
        }
    }

    /// The kernel wrote it: whatever does not fit would be a fault of the kernel, and ends the block.
    fn take(&mut self) -> Option<Packet<'a>> {
        let rest = std::mem::take(&mut self.rest);
        let packet = match word(rest, NEXT)? as usize {
            // The last of a block says 0.
            0 => rest,
            next => {
                let (packet, rest) = rest.split_at_mut_checked(next)?;
                self.rest = rest;
                packet
            }
        };
        let device_type = half(packet, DEVICE_TYPE)?;
        let (mut start, mut length) = (usize::from(half(packet, DATA)?), word(packet, LENGTH)?);
        let end = start + word(packet, CAPTURED)? as usize;
        if device_type == device::ETHERNET
            && word(packet, STATUS)? & TP_STATUS_VLAN_VALID != 0
            && let Some(tagged) = restore_tag(packet, start, end)
        {
            (start, length) = (tagged, length.saturating_add(TAG as u32));
        }
        let time = i64::from(word(packet, SECONDS)?) * 1_000_000_000 + i64::from(word(packet, NANOSECONDS)?);
        let direction = match packet.get(PACKET_TYPE)? {
            &PACKET_OUTGOING => Direction::Out,
            _ => Direction::In,
        };
        let interface = word(packet, INTERFACE)?;
        let packet: &'a [u8] = packet;
        let link_type = device::link_type(device_type)?;
        Some(Packet {
            direction,
            original_length: length,
            ..Packet::new(time, interface, link_type, packet.get(start..end)?)
        })
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        self.left = self.left.checked_sub(1)?;
        let packet = self.take();
        if packet.is_none() {
            self.left = 0;
        }
        packet
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left as usize))
    }
}

/// Puts the tag that was taken out back behind the addresses, which move into the room before the packet; says where it begins now.
fn restore_tag(packet: &mut [u8], start: usize, end: usize) -> Option<usize> {
    // A number of 16 bits in a field of 32.
    let tci = word(packet, VLAN_TCI)? as u16;
    let is_said = word(packet, STATUS)? & TP_STATUS_VLAN_TPID_VALID != 0;
    let tpid = if is_said { half(packet, VLAN_TPID)? } else { ETH_P_8021Q };
    let tagged = start.checked_sub(TAG).filter(|&tagged| tagged >= HEADERS)?;
    if end < start + ADDRESSES || end > packet.len() {
        return None;
    }
    packet.copy_within(start..start + ADDRESSES, tagged);
    packet[tagged + ADDRESSES..][..2].copy_from_slice(&tpid.to_be_bytes());
    packet[tagged + ADDRESSES + 2..][..2].copy_from_slice(&tci.to_be_bytes());
    Some(tagged)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}
