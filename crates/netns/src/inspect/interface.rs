use std::fmt;
use std::net::IpAddr;

use netlink_packet_core::DecodeError;

use super::dump::Request;
use super::message::{AF_INET, AF_INET6, address, attributes, name, text, u8_at, u32_at, u64_at};
use crate::{Netns, Result};

/// From linux/rtnetlink.h, linux/if_link.h and linux/if_addr.h.
mod constant {
    pub(super) const NEW_LINK: u16 = 16;
    pub(super) const GET_LINK: u16 = 18;
    pub(super) const LINK_HEADER: usize = 16;
    pub(super) const IFLA_ADDRESS: u16 = 1;
    pub(super) const IFLA_IFNAME: u16 = 3;
    pub(super) const IFLA_MTU: u16 = 4;
    pub(super) const IFLA_LINK: u16 = 5;
    pub(super) const IFLA_MASTER: u16 = 10;
    pub(super) const IFLA_OPERSTATE: u16 = 16;
    pub(super) const IFLA_LINKINFO: u16 = 18;
    pub(super) const IFLA_INFO_KIND: u16 = 1;
    pub(super) const IFLA_STATS64: u16 = 23;
    pub(super) const IFLA_LINK_NETNSID: u16 = 37;

    pub(super) const NEW_ADDRESS: u16 = 20;
    pub(super) const GET_ADDRESS: u16 = 22;
    pub(super) const ADDRESS_HEADER: usize = 8;
    pub(super) const IFA_ADDRESS: u16 = 1;
    pub(super) const IFA_LOCAL: u16 = 2;
    pub(super) const IFA_BROADCAST: u16 = 4;
    pub(super) const IFA_FLAGS: u16 = 8;
}

const STATES: &[(u16, &str)] =
    &[(0, "unknown"), (1, "notpresent"), (2, "down"), (3, "lowerlayerdown"), (4, "testing"), (5, "dormant"), (6, "up")];

pub(super) const SCOPES: &[(u16, &str)] =
    &[(0, "global"), (200, "site"), (253, "link"), (254, "host"), (255, "nowhere")];

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interface {
    /// Its number in the namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What drives it, such as `veth`, `bridge` or `vlan`; `None` of hardware and the loopback device.
    pub kind: Option<String>,
    /// Its operational state of RFC 2863, such as `up` or `lowerlayerdown`; `unknown` of drivers that do not say, as of loopback.
    pub state: String,
    /// The flags of netdevice(7).
    pub flags: u32,
    /// The longest packet, in bytes.
    pub mtu: u32,
    /// Its hardware address.
    pub address: Option<HardwareAddress>,
    /// The bridge, bond or VRF that it is a port of.
    pub controller: Option<u32>,
    /// The other end of a veth, or the interface that a VLAN or tunnel is on: an index in [`peer_netns`](Self::peer_netns).
    pub peer: Option<u32>,
    /// The number that this namespace has for the peer's; `None` if it is this one.
    pub peer_netns: Option<i32>,
    /// What passed since it was made.
    pub counters: Counters,
}

impl Interface {
    /// Whether it is switched on (`IFF_UP`); that packets pass is the [`state`](Self::state).
    pub const fn is_up(&self) -> bool {
        self.flags & 1 != 0
    }
}

/// What passed through an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets that came in bad.
    pub rx_errors: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets that came in and were dropped.
    pub rx_dropped: u64,
    /// Packets that were dropped on the way out.
    pub tx_dropped: u64,
}

/// An address of the link layer, of 6 bytes with Ethernet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HardwareAddress(pub(super) Vec<u8>);

impl HardwareAddress {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, byte) in self.0.iter().enumerate() {
            let colon = if nth == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Address {
    /// The interface's index.
    pub interface: u32,
    /// The address.
    pub address: IpAddr,
    /// How many bits of it are its network's.
    pub prefix: u8,
    /// Where it is known: `global`, `link` or `host`.
    pub scope: String,
    /// The flags of linux/if_addr.h, such as tentative (0x40).
    pub flags: u32,
    /// The address of the other end, of a point-to-point link.
    pub peer: Option<IpAddr>,
    /// The address of all in the network.
    pub broadcast: Option<IpAddr>,
}

pub(super) const LINKS: Request<'_> =
    Request::route("interfaces", constant::GET_LINK, constant::NEW_LINK, &[0; constant::LINK_HEADER]);

pub(super) const ADDRESSES: Request<'_> =
    Request::route("addresses", constant::GET_ADDRESS, constant::NEW_ADDRESS, &[0; constant::ADDRESS_HEADER]);

impl Netns {
    /// The network interfaces, in no order.
    ///
    /// # Errors
    ///
    /// If the namespace cannot be entered, or the kernel does not list them.
    pub fn interfaces(&self) -> Result<Vec<Interface>> {
        LINKS.dump(self, interface)
    }

    /// The addresses of both families, in no order.
    ///
    /// # Errors
    ///
    /// If the namespace cannot be entered, or the kernel does not list them.
    pub fn addresses(&self) -> Result<Vec<Address>> {
        ADDRESSES.dump(self, interface_address)
    }
}

pub(super) fn interface(message: &[u8]) -> Result<Option<Interface>, DecodeError> {
    let mut interface = Interface {
        index: u32_at(message, 4)?,
        flags: u32_at(message, 8)?,
        state: name(STATES, 0),
        ..Interface::default()
    };
    for attribute in attributes(message, constant::LINK_HEADER)? {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            constant::IFLA_ADDRESS => {
                interface.address = (!value.is_empty()).then(|| HardwareAddress(value.to_vec()));
            }
            constant::IFLA_IFNAME => interface.name = text(value),
            constant::IFLA_MTU => interface.mtu = u32_at(value, 0)?,
            // 0 is an interface that is gone.
            constant::IFLA_LINK => interface.peer = Some(u32_at(value, 0)?).filter(|peer| *peer != 0),
            constant::IFLA_MASTER => interface.controller = Some(u32_at(value, 0)?),
            constant::IFLA_OPERSTATE => interface.state = name(STATES, u8_at(value, 0)?.into()),
            constant::IFLA_LINKINFO => interface.kind = kind(value)?,
            constant::IFLA_STATS64 => interface.counters = counters(value)?,
            constant::IFLA_LINK_NETNSID => interface.peer_netns = Some(u32_at(value, 0)?.cast_signed()),
            _ => {}
        }
    }
    Ok(Some(interface))
}

fn kind(link_info: &[u8]) -> Result<Option<String>, DecodeError> {
    for attribute in attributes(link_info, 0)? {
        let attribute = attribute?;
        if attribute.kind() == constant::IFLA_INFO_KIND {
            return Ok(Some(text(attribute.value())));
        }
    }
    Ok(None)
}

/// `struct rtnl_link_stats64`.
fn counters(stats: &[u8]) -> Result<Counters, DecodeError> {
    let nth = |nth: usize| u64_at(stats, 8 * nth);
    Ok(Counters {
        rx_packets: nth(0)?,
        tx_packets: nth(1)?,
        rx_bytes: nth(2)?,
        tx_bytes: nth(3)?,
        rx_errors: nth(4)?,
        tx_errors: nth(5)?,
        rx_dropped: nth(6)?,
        tx_dropped: nth(7)?,
    })
}

pub(super) fn interface_address(message: &[u8]) -> Result<Option<Address>, DecodeError> {
    if !matches!(u8_at(message, 0)?, AF_INET | AF_INET6) {
        return Ok(None);
    }
    let (mut local, mut remote, mut broadcast) = (None, None, None);
    let mut flags = u8_at(message, 2)?.into();
    for attribute in attributes(message, constant::ADDRESS_HEADER)? {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            constant::IFA_ADDRESS => remote = Some(address(value)?),
            constant::IFA_LOCAL => local = Some(address(value)?),
            constant::IFA_BROADCAST => broadcast = Some(address(value)?),
            constant::IFA_FLAGS => flags = u32_at(value, 0)?,
            _ => {}
        }
    }
    // Where both are said and differ, the first is the other end's.
    let address = local.or(remote).ok_or_else(|| DecodeError::from("an address is missing"))?;
    Ok(Some(Address {
        interface: u32_at(message, 4)?,
        address,
        prefix: u8_at(message, 1)?,
        scope: name(SCOPES, u8_at(message, 3)?.into()),
        flags,
        peer: remote.filter(|remote| *remote != address),
        broadcast,
    }))
}
