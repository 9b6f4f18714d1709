//! Reading what messages and their attributes are made of, each with its bounds.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{DecodeError, NlaBuffer, NlasIterator};

/// `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;

pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;

/// The attributes after a header of this length. Those of unknown types are for the caller to skip.
pub(super) fn attributes(
    message: &[u8],
    header: usize,
) -> Result<impl Iterator<Item = Result<NlaBuffer<&[u8]>, DecodeError>>, DecodeError> {
    message.get(header..).map(NlasIterator::new).ok_or_else(short)
}

pub(super) fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], DecodeError> {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().ok_or_else(short)
}

pub(super) fn u8_at(bytes: &[u8], at: usize) -> Result<u8, DecodeError> {
    bytes.get(at).copied().ok_or_else(short)
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Result<u16, DecodeError> {
    field(bytes, at).map(u16::from_ne_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Result<u32, DecodeError> {
    field(bytes, at).map(u32::from_ne_bytes)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Result<u64, DecodeError> {
    field(bytes, at).map(u64::from_ne_bytes)
}

/// An address, whose family is its length.
pub(super) fn address(bytes: &[u8]) -> Result<IpAddr, DecodeError> {
    match bytes.len() {
        4 => address_at(AF_INET, bytes, 0),
        16 => address_at(AF_INET6, bytes, 0),
        length => Err(DecodeError::invalid_ip_address(length)),
    }
}

/// The first address of a field that has room for either family.
pub(super) fn address_at(family: u8, bytes: &[u8], at: usize) -> Result<IpAddr, DecodeError> {
    match family {
        AF_INET => field(bytes, at).map(|v4: [u8; 4]| Ipv4Addr::from(v4).into()),
        _ => field(bytes, at).map(|v6: [u8; 16]| IpAddr::from(v6)),
    }
}

/// A text that ends at a zero byte. What is not UTF-8 is replaced.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The name of a number, or the number.
pub(super) fn name(names: &[(u16, &str)], number: u16) -> String {
    let known = names.iter().find(|(of, _)| *of == number);
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

fn short() -> DecodeError {
    DecodeError::from("the message is too short")
}
