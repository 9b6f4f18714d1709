//! The arguments of a tool as one text.
#![no_main]

#[path = "../../examples/tracer/src/arguments.rs"]
mod arguments;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(split) = arguments::split(text) else {
        assert!(text.contains(['"', '\'']), "only a quote can be left open");
        return;
    };
    // Nothing is made up: what is left out are spaces and quotes.
    let kept: usize = split.iter().map(String::len).sum();
    assert!(kept <= text.len());
    if !text.contains(['"', '\'']) {
        assert_eq!(split, text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>());
    }
});
