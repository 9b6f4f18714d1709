//! What is in a network namespace, read from the kernel (rtnetlink(7), sock_diag(7)) without executing anything there.
//!
//! ```no_run
//! use podtrail_netns::Netns;
//!
//! let blue = Netns::named("blue")?;
//! for interface in blue.interfaces()? {
//!     println!("{} {} {}", interface.index, interface.name, interface.state);
//! }
//! # Ok::<(), podtrail_netns::Error>(())
//! ```
//!
//! Everything is as it was during the call. Names are those of iproute2; what has no name is its number.
//!
//! - A list of interfaces or addresses is complete and without doubles, or an error that
//!   [may be tried again](crate::Error::is_retryable): the kernel says if they changed while it told of them.
//! - Of routes, neighbours and sockets it does not say so. If some come or go meanwhile, others may be missing, and routes and neighbours
//!   be there twice; no socket is.

mod dump;
mod interface;
mod message;
mod neighbour;
mod route;
mod socket;
mod tcp;

pub use interface::{Address, Counters, HardwareAddress, Interface};
pub use neighbour::Neighbour;
pub use route::{Hop, Route};
pub use socket::{Protocol, Socket, SocketState};
pub use tcp::TcpInfo;

/// What a datagram tells as an answer to each question, nothing where that is an error; for fuzzing.
#[doc(hidden)]
#[expect(clippy::type_complexity, reason = "one of each, for one caller")]
pub fn told(datagram: &[u8]) -> (Vec<Interface>, Vec<Address>, Vec<Route>, Vec<Neighbour>, Vec<Socket>) {
    let socket = |message: &[u8]| socket::socket(Protocol::Tcp, message);
    let sockets = socket::request("TCP sockets", &[]).told(datagram, socket).map(socket::each_once);
    (
        interface::LINKS.told(datagram, interface::interface).unwrap_or_default(),
        interface::ADDRESSES.told(datagram, interface::interface_address).unwrap_or_default(),
        route::request(&[]).told(datagram, route::route).unwrap_or_default(),
        neighbour::NEIGHBOURS.told(datagram, neighbour::neighbour).unwrap_or_default(),
        sockets.unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(kind: u16, message: &[u8]) -> Vec<u8> {
        let length = (message::HEADER + message.len()) as u32;
        let header = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 2], &1_u32.to_ne_bytes(), &[0; 4]];
        [&header.concat(), message].concat()
    }

    /// What no kernel sends: attributes of all types with lengths that do not fit, and messages that end anywhere.
    #[test]
    fn messages_of_any_shape_are_read_or_refused() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random.to_ne_bytes()[0]
        };
        for _ in 0..20_000 {
            let mut message = vec![0; 72];
            message.fill_with(&mut next);
            message[0] = [2, 10, next()][usize::from(next() % 3)];
            for header in [8, 12, 16, 72] {
                message.truncate(header);
                for _ in 0..next() % 8 {
                    let length = usize::from(next() % 24);
                    let claimed = if next() % 8 == 0 { u16::from(next()) } else { 4 + length as u16 };
                    message.extend(claimed.to_ne_bytes());
                    message.extend(u16::from(next() % 40).to_ne_bytes());
                    message.extend(std::iter::repeat_with(&mut next).take(length.next_multiple_of(4)));
                }
                message.truncate(message.len() - usize::from(next() % 4));
                for kind in [16, 20, 24, 28] {
                    told(&datagram(kind, &message));
                }
                message.resize(72, next());
            }
        }
    }
}
