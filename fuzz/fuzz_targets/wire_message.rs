//! The first message of a stream to the receiver: what it takes leads to a file of the receiver's folder.
#![no_main]

use libfuzzer_sys::fuzz_target;
use podtrail_wire::Receiver;

fuzz_target!(|message: &[u8]| {
    if let Some((stem, description)) = Receiver::run_of(message) {
        check(&format!("{stem}.json.new"));
        // As much as is read again.
        assert!(description.len() < 1 << 20);
    }
    if let Some(name) = Receiver::snoopy_file_of(message) {
        check(&name);
    }
});

fn check(name: &str) {
    assert!(name.len() <= 255);
    assert!(name.starts_with(|c: char| c.is_ascii_alphanumeric()));
    assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')));
}
