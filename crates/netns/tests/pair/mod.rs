//! Two network namespaces with a cable between them.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::Command;

use podtrail_netns::{ErrorKind, Netns};

use crate::skip::skip;

pub(crate) const HERE: &str = "10.77.0.1";
pub(crate) const THERE: &str = "10.77.0.2";

/// Where packets are captured, and where they come from.
pub(crate) struct Pair {
    pub(crate) here: Netns,
    pub(crate) there: Netns,
}

impl Pair {
    /// `None`, said aloud, if namespaces or devices may not be made.
    pub(crate) fn new() -> Option<Self> {
        let make = || match Netns::create() {
            Err(e) if e.kind() == ErrorKind::MissingCapability => {
                skip(e);
                None
            }
            made => Some(made.unwrap()),
        };
        let pair = Self { here: make()?, there: make()? };
        let path = format!("/proc/{}/fd/{}", std::process::id(), pair.there.as_fd().as_raw_fd());
        if Command::new("ip").arg("-V").output().is_err() {
            skip("no ip (iproute2)");
            return None;
        }
        ip(&pair.here, &format!("link add eth0 type veth peer name eth0 netns {path}"));
        for (netns, address) in [(&pair.here, HERE), (&pair.there, THERE)] {
            // Nobody speaks unasked: no neighbour discovery.
            netns.run(|| std::fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1").unwrap()).unwrap();
            ip(netns, &format!("addr add {address}/24 dev eth0"));
            ip(netns, "link set eth0 up");
            ip(netns, "link set lo up");
        }
        Some(pair)
    }

    /// A socket there, connected to a port here where nobody need listen.
    pub(crate) fn sender(&self, port: u16) -> UdpSocket {
        let socket = self.there.run(|| UdpSocket::bind((THERE, 4000)).unwrap()).unwrap();
        socket.connect(SocketAddr::new(HERE.parse().unwrap(), port)).unwrap();
        socket
    }

    /// A socket here that takes what is sent, so that nothing is sent back.
    pub(crate) fn receiver(&self, port: u16) -> UdpSocket {
        self.here.run(|| UdpSocket::bind((HERE, port)).unwrap()).unwrap()
    }
}

pub(crate) fn ip(netns: &Netns, arguments: &str) {
    let output = netns.run(|| Command::new("ip").args(arguments.split_whitespace()).output().unwrap()).unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}
