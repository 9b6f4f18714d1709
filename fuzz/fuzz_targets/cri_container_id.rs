//! The id of a container, as a pod's status has it: what is one is written as it was read, and is a word of a few characters.
#![no_main]

use libfuzzer_sys::fuzz_target;
use podtrail_cri::{ContainerId, Endpoint, Labels};

fuzz_target!(|text: &str| {
    if let Ok(id) = text.parse::<ContainerId>() {
        assert_eq!(id.to_string(), text);
        assert!(!id.as_str().is_empty() && id.as_str().bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'));
        assert_eq!(id.as_str().parse::<ContainerId>().expect("it is one alone").as_str(), id.as_str());
    }
    if let Ok(endpoint) = text.parse::<Endpoint>() {
        assert_eq!(endpoint.to_string().parse::<Endpoint>().expect("as it was written"), endpoint);
    }
    if let Ok(labels) = text.parse::<Labels>() {
        assert!(labels.matches(&labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()));
    }
});
