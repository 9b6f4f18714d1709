//! The first bytes of a file that may be a ledger.
#![no_main]

use libfuzzer_sys::fuzz_target;
use podtrail_ledger::Header;

fuzz_target!(|bytes: &[u8]| {
    if let Header::Ledger(version) = Header::read(bytes) {
        assert!(version >= 1 && bytes.len() >= 100);
    }
});
