//! A datagram of rtnetlink or sock_diag: never a panic, no more than one thing for each message, and of values that can be.
#![no_main]

use libfuzzer_sys::fuzz_target;
use podtrail_netns::inspect::{SocketState, told};

/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct rtnexthop`.
const HOP: usize = 8;

fuzz_target!(|datagram: &[u8]| {
    let (interfaces, addresses, routes, neighbours, sockets) = told(datagram);
    let most = datagram.len() / HEADER;
    for found in [interfaces.len(), addresses.len(), routes.len(), neighbours.len(), sockets.len()] {
        assert!(found <= most);
    }
    for interface in &interfaces {
        assert!(!interface.name.contains('\0') && interface.peer != Some(0));
        assert!(interface.address.as_ref().is_none_or(|address| !address.as_bytes().is_empty()));
        let written = interface.address.as_ref().map(ToString::to_string).unwrap_or_default();
        assert_eq!(written.len() + 1, interface.address.as_ref().map_or(1, |address| 3 * address.as_bytes().len()));
    }
    for address in &addresses {
        assert_ne!(address.peer, Some(address.address));
    }
    let hops: usize = routes.iter().map(|route| route.hops.len().saturating_sub(1)).sum();
    assert!(hops <= datagram.len() / HOP);
    assert!(routes.iter().flat_map(|route| &route.hops).all(|hop| hop.weight > 0));
    for neighbour in &neighbours {
        assert!(!neighbour.state.is_empty());
    }
    for socket in &sockets {
        assert!(socket.tcp.is_none() || socket.state != SocketState::Listen);
        assert!(!socket.state.to_string().is_empty() && socket.interface != Some(0));
    }
    // What was cut off is refused or left out, and changes nothing else.
    if let Some((_, cut)) = datagram.split_last() {
        let (fewer, ..) = told(cut);
        assert!(interfaces.is_empty() || interfaces.starts_with(&fewer));
    }
});
