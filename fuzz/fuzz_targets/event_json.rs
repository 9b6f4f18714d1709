//! A line of our own JSON: what is read is written as it was read, and read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use podtrail_event::Record;

fuzz_target!(|line: &str| {
    if let Ok(record) = Record::from_json(line) {
        let written = record.to_json(None);
        assert!(!written.contains('\n'));
        let again = Record::from_json(&written).expect("what was written can be read");
        if !written.ends_with(r#","truncated":true}"#) {
            assert_eq!(again, record);
        }
        if let Some(line) = record.to_podtracker("fuzz") {
            assert!(!line.contains('\n'));
        }
    }
});
