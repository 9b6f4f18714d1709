use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::DecodeError;

use super::dump::Request;
use super::interface::SCOPES;
use super::message::{AF_INET, AF_INET6, address, attributes, name, u8_at, u16_at, u32_at};
use crate::{Netns, Result};

/// From linux/rtnetlink.h.
mod constant {
    pub(super) const NEW_ROUTE: u16 = 24;
    pub(super) const GET_ROUTE: u16 = 26;
    pub(super) const ROUTE_HEADER: usize = 12;
    pub(super) const HOP_HEADER: usize = 8;
    /// An exception that was learned, such as a path MTU: no route of a table.
    pub(super) const RTM_F_CLONED: u32 = 0x200;
    pub(super) const RTA_DST: u16 = 1;
    pub(super) const RTA_OIF: u16 = 4;
    pub(super) const RTA_GATEWAY: u16 = 5;
    pub(super) const RTA_PRIORITY: u16 = 6;
    pub(super) const RTA_PREFSRC: u16 = 7;
    pub(super) const RTA_MULTIPATH: u16 = 9;
    pub(super) const RTA_TABLE: u16 = 15;
    pub(super) const RTA_VIA: u16 = 18;
}

const TYPES: &[(u16, &str)] = &[
    (1, "unicast"),
    (2, "local"),
    (3, "broadcast"),
    (4, "anycast"),
    (5, "multicast"),
    (6, "blackhole"),
    (7, "unreachable"),
    (8, "prohibit"),
    (9, "throw"),
];

const PROTOCOLS: &[(u16, &str)] = &[
    (0, "unspec"),
    (1, "redirect"),
    (2, "kernel"),
    (3, "boot"),
    (4, "static"),
    (8, "gated"),
    (9, "ra"),
    (10, "mrt"),
    (11, "zebra"),
    (12, "bird"),
    (13, "dnrouted"),
    (14, "xorp"),
    (15, "ntk"),
    (16, "dhcp"),
    (18, "keepalived"),
    (42, "babel"),
    (186, "bgp"),
    (187, "isis"),
    (188, "ospf"),
    (189, "rip"),
    (192, "eigrp"),
];

/// A route of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route {
    /// The network that it leads to: the unspecified address if to everywhere else.
    pub destination: IpAddr,
    /// How many bits of it are the network's: 0 of a default route.
    pub prefix: u8,
    /// Where packets go; more than one if they are spread, none if they are not forwarded.
    pub hops: Vec<Hop>,
    /// The table: 254 is main, 255 is local.
    pub table: u32,
    /// What is done with packets, such as `unicast`, `local` or `blackhole`.
    pub kind: String,
    /// Who made it, such as `kernel`, `boot` or `bgp`.
    pub protocol: String,
    /// How far it is to the destination: `global`, `link` or `host`.
    pub scope: String,
    /// The lowest one is taken; 0 if it has none.
    pub metric: u32,
    /// The address that packets are sent from.
    pub source: Option<IpAddr>,
}

/// Where a route leads first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hop {
    /// The router; `None` if the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// The interface's index.
    pub interface: Option<u32>,
    /// How many parts of the packets it gets.
    pub weight: u16,
}

impl Netns {
    /// The routes of all tables and both families, in no order.
    ///
    /// # Errors
    ///
    /// If the namespace cannot be entered, or the kernel does not list them.
    pub fn routes(&self) -> Result<Vec<Route>> {
        let mut routes = Vec::new();
        for family in [AF_INET, AF_INET6] {
            let mut body = [0; constant::ROUTE_HEADER];
            body[0] = family;
            routes.extend(request(&body).dump(self, route)?);
        }
        Ok(routes)
    }
}

pub(super) const fn request(body: &[u8]) -> Request<'_> {
    Request::route("routes", constant::GET_ROUTE, constant::NEW_ROUTE, body)
}

pub(super) fn route(message: &[u8]) -> Result<Option<Route>, DecodeError> {
    let nowhere = match u8_at(message, 0)? {
        AF_INET => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        AF_INET6 => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        _ => return Ok(None),
    };
    if u32_at(message, 8)? & constant::RTM_F_CLONED != 0 {
        return Ok(None);
    }
    let mut route = Route {
        destination: nowhere,
        prefix: u8_at(message, 1)?,
        hops: Vec::new(),
        table: u8_at(message, 4)?.into(),
        kind: name(TYPES, u8_at(message, 7)?.into()),
        protocol: name(PROTOCOLS, u8_at(message, 5)?.into()),
        scope: name(SCOPES, u8_at(message, 6)?.into()),
        metric: 0,
        source: None,
    };
    let mut only = Hop { weight: 1, ..Hop::default() };
    for attribute in attributes(message, constant::ROUTE_HEADER)? {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            constant::RTA_DST => route.destination = address(value)?,
            constant::RTA_PRIORITY => route.metric = u32_at(value, 0)?,
            constant::RTA_PREFSRC => route.source = Some(address(value)?),
            constant::RTA_TABLE => route.table = u32_at(value, 0)?,
            constant::RTA_MULTIPATH => route.hops = hops(value)?,
            kind => only.take(kind, value)?,
        }
    }
    if only.gateway.is_some() || only.interface.is_some() {
        route.hops.push(only);
    }
    Ok(Some(route))
}

/// `struct rtnexthop`, one after the other.
fn hops(mut rest: &[u8]) -> Result<Vec<Hop>, DecodeError> {
    let mut hops = Vec::new();
    while !rest.is_empty() {
        let length = usize::from(u16_at(rest, 0)?);
        let one = rest.get(..length).filter(|one| one.len() >= constant::HOP_HEADER);
        let one = one.ok_or_else(|| DecodeError::from("a hop of a route has no such length"))?;
        let interface = Some(u32_at(one, 4)?);
        let mut hop = Hop { interface, weight: u16::from(u8_at(one, 3)?) + 1, gateway: None };
        for attribute in attributes(one, constant::HOP_HEADER)? {
            let attribute = attribute?;
            hop.take(attribute.kind(), attribute.value())?;
        }
        hops.push(hop);
        rest = &rest[length.next_multiple_of(4).min(rest.len())..];
    }
    Ok(hops)
}

impl Hop {
    fn take(&mut self, kind: u16, value: &[u8]) -> Result<(), DecodeError> {
        match kind {
            constant::RTA_OIF => self.interface = Some(u32_at(value, 0)?),
            constant::RTA_GATEWAY => self.gateway = Some(address(value)?),
            // Of another family than the destination: the family comes first.
            constant::RTA_VIA => self.gateway = value.get(2..).and_then(|via| address(via).ok()),
            _ => {}
        }
        Ok(())
    }
}
