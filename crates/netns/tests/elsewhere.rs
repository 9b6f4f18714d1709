//! What is said where there are no network namespaces.

#![cfg(not(target_os = "linux"))]

use podtrail_netns::{Capabilities, ErrorKind, Netns};

#[test]
fn everything_is_unsupported() {
    let opened =
        [Netns::current(), Netns::create(), Netns::open("/run/netns/blue"), Netns::named("blue"), Netns::of_process(1)];
    for e in opened.map(Result::unwrap_err) {
        assert_eq!(
            (e.kind(), e.to_string().as_str()),
            (ErrorKind::Unsupported, "network namespaces exist on Linux only")
        );
    }
    assert_eq!(Capabilities::of_this_thread().unwrap_err().kind(), ErrorKind::Unsupported);
}
