//! Anything told to a meter, in any order, restarts included: it never panics, and what it counts is what was seen.
#![no_main]

#[path = "../../crates/flow/tests/books/mod.rs"]
mod books;

use books::Books;
use libfuzzer_sys::arbitrary::{self, Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use podtrail_flow::{Counters, Key, Slot};

/// One of few connections, so that they meet often. Every other is stamped.
#[derive(Arbitrary, Debug)]
struct Connection(u8);

impl Connection {
    fn key(&self) -> Key {
        Key::from_bytes([self.0 % 32; 16])
    }
}

/// Small and large ones, so that they both grow and decrease.
#[derive(Arbitrary, Debug)]
enum Total {
    Small([u8; 4]),
    Large([u64; 4]),
}

impl Total {
    fn counters(&self) -> Counters {
        let [original_packets, original_bytes, reply_packets, reply_bytes] = match *self {
            Self::Small(counters) => counters.map(u64::from),
            Self::Large(counters) => counters,
        };
        Counters { original_packets, original_bytes, reply_packets, reply_bytes }
    }
}

#[derive(Arbitrary, Debug)]
enum Told {
    Begin,
    Observe(Connection, Total),
    Touch(Connection),
    Close(Connection, Total),
    End(bool),
    Restart,
    /// State that was never saved; the process dies afterwards.
    Restore(Vec<(u16, Connection, u32, Total)>, u32),
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Unstructured::new(bytes);
    let Ok(limit) = u8::arbitrary(&mut input) else { return };
    let mut books = Books::new(usize::from(limit % 40));
    while let Ok(told) = Told::arbitrary(&mut input) {
        match told {
            Told::Begin => books.begin(),
            Told::Observe(connection, total) => _ = books.observe(connection.key(), total.counters()),
            Told::Touch(connection) => books.touch(connection.key()),
            Told::Close(connection, total) => _ = books.close(connection.key(), total.counters()),
            Told::End(is_complete) => _ = books.end(is_complete),
            Told::Restart => books.restart(),
            Told::Restore(rows, next) => books.take_unsaved(|meter| {
                meter.restore_generation(next);
                for (slot, connection, generation, total) in rows {
                    let tracked = meter.stats().tracked;
                    let is_restored =
                        meter.restore(Slot(slot.into()), connection.key(), generation, total.counters()).is_ok();
                    assert_eq!(meter.stats().tracked, tracked + usize::from(is_restored));
                    _ = meter.observe(connection.key(), total.counters());
                }
            }),
        }
        if input.is_empty() {
            break;
        }
    }
});
