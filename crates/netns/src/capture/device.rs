//! Which devices' packets can be captured, and what they look like.

use super::LinkType;

/// `ARPHRD_ETHER` and `ARPHRD_LOOPBACK` of linux/if_arp.h.
pub(super) const ETHERNET: u16 = 1;
pub(super) const LOOPBACK: u16 = 772;

/// Those whose packets begin with the IP header: `ARPHRD_RAWIP`, `TUNNEL`, `TUNNEL6`, `SIT`, `NONE` (tun, WireGuard).
const RAW: [u16; 5] = [519, 768, 769, 776, 0xfffe];

/// What the packets of a type of device are, if they can be captured.
pub(super) fn link_type(device_type: u16) -> Option<LinkType> {
    match device_type {
        ETHERNET | LOOPBACK => Some(LinkType::ETHERNET),
        _ if RAW.contains(&device_type) => Some(LinkType::RAW),
        _ => None,
    }
}

pub(super) fn types_of(link_type: LinkType) -> &'static [u16] {
    if link_type == LinkType::RAW { &RAW } else { &[ETHERNET, LOOPBACK] }
}
