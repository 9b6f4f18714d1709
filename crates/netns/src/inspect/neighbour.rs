use std::net::IpAddr;

use netlink_packet_core::DecodeError;

use super::HardwareAddress;
use super::dump::Request;
use super::message::{AF_INET, AF_INET6, address, attributes, name, u8_at, u16_at, u32_at};
use crate::{Netns, Result};

/// From linux/rtnetlink.h and linux/neighbour.h.
mod constant {
    pub(super) const NEW_NEIGHBOUR: u16 = 28;
    pub(super) const GET_NEIGHBOUR: u16 = 30;
    pub(super) const HEADER: usize = 12;
    pub(super) const NDA_DST: u16 = 1;
    pub(super) const NDA_LLADDR: u16 = 2;
    pub(super) const NTF_ROUTER: u8 = 0x80;
}

const STATES: &[(u16, &str)] = &[
    (0x00, "none"),
    (0x01, "incomplete"),
    (0x02, "reachable"),
    (0x04, "stale"),
    (0x08, "delay"),
    (0x10, "probe"),
    (0x20, "failed"),
    (0x40, "noarp"),
    (0x80, "permanent"),
];

/// What is known of a host on the same link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Neighbour {
    /// The index of the interface that it is reached by.
    pub interface: u32,
    /// Its address.
    pub address: IpAddr,
    /// Its hardware address, if it is known.
    pub hardware_address: Option<HardwareAddress>,
    /// How sure that is, such as `reachable`, `stale` or `failed`; `noarp` where there is nothing to be asked.
    pub state: String,
    /// Whether it said that it is a router, with IPv6.
    pub is_router: bool,
}

pub(super) const NEIGHBOURS: Request<'_> =
    Request::route("neighbours", constant::GET_NEIGHBOUR, constant::NEW_NEIGHBOUR, &[0; constant::HEADER]);

impl Netns {
    /// The neighbours of both families, in no order.
    ///
    /// # Errors
    ///
    /// If the namespace cannot be entered, or the kernel does not list them.
    pub fn neighbours(&self) -> Result<Vec<Neighbour>> {
        NEIGHBOURS.dump(self, neighbour)
    }
}

pub(super) fn neighbour(message: &[u8]) -> Result<Option<Neighbour>, DecodeError> {
    if !matches!(u8_at(message, 0)?, AF_INET | AF_INET6) {
        return Ok(None);
    }
    let (mut destination, mut hardware_address) = (None, None);
    for attribute in attributes(message, constant::HEADER)? {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            constant::NDA_DST => destination = Some(address(value)?),
            constant::NDA_LLADDR if !value.is_empty() => hardware_address = Some(HardwareAddress(value.to_vec())),
            _ => {}
        }
    }
    Ok(Some(Neighbour {
        interface: u32_at(message, 4)?,
        address: destination.ok_or_else(|| DecodeError::from("an address is missing"))?,
        hardware_address,
        state: name(STATES, u16_at(message, 8)?),
        is_router: u8_at(message, 10)? & constant::NTF_ROUTER != 0,
    }))
}
