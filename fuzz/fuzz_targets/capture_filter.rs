//! The text of a filter: what is checked before libpcap sees it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use podtrail_netns::{ErrorKind, Netns};
use podtrail_netns::capture::{Capture, CaptureConfig, Filter};

fuzz_target!(|text: &str| {
    let filter = Filter::new(text);
    assert_eq!(filter.is_err(), text.contains('\0') || text.len() > 8192);
    let Ok(filter) = filter else { return };
    assert_eq!(filter.as_str(), text);
    // One that looks for what the kernel takes out is refused before it is compiled; others are libpcap's, which looks up names.
    let is_in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if text.split(|c| !is_in_word(c)).any(|word| word == "vlan") {
        let mut config = CaptureConfig::default();
        config.filter = Some(filter);
        let refused = Capture::open(&Netns::current().expect("there is one"), &config);
        assert_eq!(refused.expect_err("tags are taken out").kind(), ErrorKind::Filter);
    }
});
