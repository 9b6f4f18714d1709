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
    snap_length: usize,
}

impl<'a> Packets<'a> {
    /// The kernel does not count the tag that it took out: with it a packet may be longer than it was asked for.
    pub(super) fn of(block: &'a mut [u8], snap_length: u32) -> Self {
        let snap_length = snap_length as usize;
        let left = word(block, COUNT).unwrap_or(0);
        let first = word(block, FIRST).and_then(|first| block.get_mut(first as usize..));
        match first {
            Some(rest) => Self { rest, left, snap_length },
            None => Self { rest: &mut [], left: 0, snap_length },
        }
    }

    /// The kernel wrote it: whatever does not fit would be a fault of the kernel. Such a packet is left out, and so is one of a device
    /// that cannot be captured, which passes the filter only if its type changes at that moment.
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
            ..Packet::new(time, interface, link_type, packet.get(start..end.min(start + self.snap_length))?)
        })
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        while self.left > 0 && !self.rest.is_empty() {
            self.left -= 1;
            if let Some(packet) = self.take() {
                return Some(packet);
            }
        }
        self.left = 0;
        None
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::LinkType;

    /// A block as the kernel fills it, with a packet of one byte from a device of each type.
    fn block(device_types: &[u16]) -> Vec<u8> {
        const FIRST_AT: u32 = 48;
        const SIZE: u32 = 96;
        let mut block = vec![0; FIRST_AT as usize];
        let count = device_types.len() as u32;
        block[COUNT..][..4].copy_from_slice(&count.to_ne_bytes());
        block[FIRST..][..4].copy_from_slice(&FIRST_AT.to_ne_bytes());
        for (n, device_type) in (1..).zip(device_types) {
            let mut packet = [0; SIZE as usize];
            let next = if n == count { 0 } else { SIZE };
            packet[NEXT..][..4].copy_from_slice(&next.to_ne_bytes());
            packet[CAPTURED..][..4].copy_from_slice(&1_u32.to_ne_bytes());
            packet[LENGTH..][..4].copy_from_slice(&1_u32.to_ne_bytes());
            packet[DATA..][..2].copy_from_slice(&(HEADERS as u16 + 8).to_ne_bytes());
            packet[DEVICE_TYPE..][..2].copy_from_slice(&device_type.to_ne_bytes());
            packet[HEADERS + 8] = n as u8;
            block.extend(packet);
        }
        block
    }

    #[test]
    fn a_packet_that_cannot_be_captured_is_left_out_alone() {
        const CAN: u16 = 280;
        let seen = |mut block: Vec<u8>| {
            let packets = Packets::of(&mut block, 100);
            packets.map(|packet| (packet.link_type, packet.data.to_vec())).collect::<Vec<_>>()
        };
        let (ethernet, raw) = (LinkType::ETHERNET, LinkType::RAW);
        let all = block(&[device::ETHERNET, CAN, 0xfffe, CAN, CAN]);
        assert_eq!(seen(all.clone()), [(ethernet, vec![1]), (raw, vec![3])]);
        let mut torn = all;
        torn.truncate(200);
        assert_eq!(seen(torn), [(ethernet, vec![1])]);
        let mut many = block(&[CAN]);
        many[COUNT..][..4].fill(0xff);
        assert_eq!(seen(many), []);
    }
}
