//! A line of a nodes' watch: never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use podtrail_event::Timestamp;
use podtrail_watch::{Frame, NodeLite};

fuzz_target!(|data: &[u8]| {
    let mut rejected = Vec::new();
    if let Ok(Frame::Added(node) | Frame::Modified(node) | Frame::Deleted(node)) = NodeLite::frame(data) {
        if let Ok(state) = node.state(Timestamp::from_second(0), &mut rejected) {
            assert!(!state.uid.is_empty() && !state.name.is_empty());
        }
    }
});
