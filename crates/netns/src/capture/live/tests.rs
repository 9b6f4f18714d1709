#[path = "../../../tests/skip/mod.rs"]
mod skip;

use std::net::UdpSocket;
use std::process::Command;

use skip::skip;

use super::*;

/// Adds up what is counted without being asked.
#[test]
fn the_kernels_counters_are_read_before_they_are_full() {
    let fresh = match Netns::create() {
        Err(e) if e.kind() == ErrorKind::MissingCapability => return skip(e),
        made => made.unwrap(),
    };
    let up = fresh.run(|| Command::new("ip").args(["link", "set", "lo", "up"]).status()).unwrap();
    if up.is_err() {
        return skip("no ip (iproute2)");
    }
    let mut capture = Capture::open(&fresh, &CaptureConfig::default()).unwrap();
    let socket = fresh.run(|| UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    let mut send_and_read = || {
        socket.send_to(&[0], socket.local_addr().unwrap()).unwrap();
        assert!(capture.next(Duration::from_secs(2)).unwrap().is_some());
        capture.stats.received
    };
    send_and_read();
    let counted = send_and_read();
    assert_eq!(send_and_read(), counted, "not at each reading");
    capture.count_next = Instant::now();
    capture.next(Duration::ZERO).unwrap();
    assert_eq!(capture.stats.received, 3);
    assert_eq!(capture.stats().unwrap().received, 3);
}
