//! The ten addresses whose connections have carried the most bytes, in this network namespace or in the one whose path is given.
//!
//!     cargo run -p podtrail-conntrack --example top_talkers [/run/netns/NAME]

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is for people to read")]

use std::cmp::Reverse;
use std::collections::HashMap;

use podtrail_conntrack::{Filter, Preflight, Table};
use podtrail_netns::Netns;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let netns = std::env::args_os().nth(1).map_or_else(Netns::current, Netns::open)?;
    for finding in Preflight::read(&netns)?.findings() {
        eprintln!("{finding}");
    }

    let mut bytes = HashMap::new();
    let mut table = Table::open_in(&netns)?;
    let mut dump = table.dump(&Filter::default())?;
    while let Some(connection) = dump.next() {
        let connection = connection?;
        let sent = connection.original_counters.unwrap_or_default().bytes;
        let answered = connection.reply_counters.unwrap_or_default().bytes;
        // Who answers is behind a translation.
        for (address, out, back) in [(connection.original.src, sent, answered), (connection.reply.src, answered, sent)]
        {
            let total = bytes.entry(address).or_insert((0, 0));
            *total = (total.0 + out, total.1 + back);
        }
    }

    let mut talkers: Vec<_> = bytes.into_iter().collect();
    talkers.sort_unstable_by_key(|(address, (out, back))| (Reverse(out + back), *address));
    println!("{:39} {:>15} {:>15}", "ADDRESS", "SENT", "RECEIVED");
    for (address, (out, back)) in talkers.iter().take(10) {
        println!("{:39} {out:>15} {back:>15}", address.to_string());
    }
    Ok(())
}
