//! What a runtime says beyond CRI: a place that is told can be opened without surprise.
#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use podtrail_cri::{Location, SandboxInfo};

fuzz_target!(|json: &str| {
    let Ok(info) = SandboxInfo::parse(json) else { return };
    assert_ne!(info.pid, Some(0));
    for host_network in [false, true] {
        let Ok(Some(location)) = info.location(host_network) else { continue };
        match &location {
            Location::Path(path) => {
                assert!(path.is_absolute() && !path.starts_with("/proc"));
                assert!(!path.components().any(|component| component == Component::ParentDir));
            }
            Location::Process(pid) => assert_ne!(*pid, 0),
            other => panic!("{other:?}"),
        }
        assert!(location.file(Path::new("/host/proc")).is_absolute());
    }
});
