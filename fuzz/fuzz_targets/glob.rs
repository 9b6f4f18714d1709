//! A glob and a text: no pattern is refused late, panics, or takes long.
#![no_main]

use libfuzzer_sys::fuzz_target;
use podtrail_watch::{Globs, split_list};

fuzz_target!(|input: (&str, &str)| {
    let (list, text) = input;
    if let Ok(globs) = Globs::new(split_list(list)) {
        globs.matches(&text[..text.floor_char_boundary(253)]);
    }
});
