use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::LinkType;

/// EtherTypes: IPv4, ARP, IPv6, and those that a VLAN tag begins with.
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const VLAN: [u16; 4] = [0x8100, 0x88a8, 0x9100, 0x9200];
/// More tags than this are stacked nowhere.
const MAX_TAGS: usize = 8;

/// The source and the destination of a packet: those of its outer IPv4 or IPv6 header, or the sender and the target of an ARP packet.
///
/// It knows Ethernet (with VLAN tags), IP without a header before it, and both of Linux's "cooked" headers. `None` if there are no such
/// addresses, or too few of the packet's bytes.
pub fn endpoints(link_type: LinkType, data: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match link_type {
        LinkType::ETHERNET => of_type(ether_type(data, 12)?, data.get(14..)?),
        LinkType::LINUX_SLL => of_type(ether_type(data, 14)?, data.get(16..)?),
        LinkType::LINUX_SLL2 => of_type(ether_type(data, 0)?, data.get(20..)?),
        LinkType::RAW => match data.first()? >> 4 {
            4 => ipv4(data),
            6 => ipv6(data),
            _ => None,
        },
        LinkType::IPV4 => ipv4(data),
        LinkType::IPV6 => ipv6(data),
        _ => None,
    }
}

fn of_type(mut kind: u16, mut data: &[u8]) -> Option<(IpAddr, IpAddr)> {
    for _ in 0..=MAX_TAGS {
        match kind {
            IPV4 => return ipv4(data),
            IPV6 => return ipv6(data),
            ARP => return arp(data),
            _ if VLAN.contains(&kind) => (kind, data) = (ether_type(data, 2)?, data.get(4..)?),
            _ => return None,
        }
    }
    None
}

fn ether_type(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(array(data, at)?))
}

fn ipv4(data: &[u8]) -> Option<(IpAddr, IpAddr)> {
    (data.first()? >> 4 == 4).then_some(())?;
    v4_pair(data, 12, 16)
}

fn ipv6(data: &[u8]) -> Option<(IpAddr, IpAddr)> {
    (data.first()? >> 4 == 6).then_some(())?;
    let address = |at| Some(IpAddr::V6(Ipv6Addr::from(array::<16>(data, at)?)));
    Some((address(8)?, address(24)?))
}

/// Of IPv4 over Ethernet (RFC 826): hardware type 1 with 6 bytes, protocol 0x0800 with 4.
fn arp(data: &[u8]) -> Option<(IpAddr, IpAddr)> {
    (array(data, 0)? == [0, 1, 8, 0, 6, 4]).then_some(())?;
    v4_pair(data, 14, 24)
}

fn v4_pair(data: &[u8], source: usize, destination: usize) -> Option<(IpAddr, IpAddr)> {
    let address = |at| Some(IpAddr::V4(Ipv4Addr::from(array::<4>(data, at)?)));
    Some((address(source)?, address(destination)?))
}

fn array<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..)?.first_chunk().copied()
}
