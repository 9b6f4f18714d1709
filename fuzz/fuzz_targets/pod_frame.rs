//! A line of a pods' watch: never a panic, and what is taken from it is plausible.
#![no_main]

use libfuzzer_sys::fuzz_target;
use podtrail_event::Timestamp;
use podtrail_watch::{Frame, PodLite};

fuzz_target!(|data: &[u8]| {
    let mut rejected = Vec::new();
    if let Ok(Frame::Added(pod) | Frame::Modified(pod) | Frame::Deleted(pod)) = PodLite::frame(data) {
        if let Ok(state) = pod.state(Timestamp::from_second(0), &mut rejected) {
            assert!(!state.pod.uid.is_empty() && !state.pod.name.is_empty());
            for (n, address) in state.addresses.iter().enumerate() {
                let ip = address.ip;
                assert!(!ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast());
                assert!(!state.addresses[..n].contains(address));
            }
        }
    }
});
