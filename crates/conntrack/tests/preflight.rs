//! The settings of a network namespace of the test's own.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, or says why it is skipped"
)]

mod namespace;

use namespace::fresh;
use podtrail_conntrack::{EventMode, FindingKind, Preflight};
use podtrail_netns::Netns;

#[test]
fn what_is_off_is_switched_on_in_that_namespace_alone() {
    let Some(netns) = fresh() else { return };
    let here = Netns::current().unwrap();
    let others = Preflight::read(&here).unwrap();
    for name in ["acct", "timestamp", "events"] {
        let path = format!("/proc/sys/net/netfilter/nf_conntrack_{name}");
        netns.run(|| std::fs::write(path, "0")).unwrap().unwrap();
    }
    let before = Preflight::read(&netns).unwrap();
    assert_eq!((before.accounting, before.timestamps, before.events), (false, Some(false), Some(EventMode::Off)));
    assert_eq!(before.entries, 0);
    assert!(before.max_entries > 0);
    let kinds: Vec<_> = before.findings().iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [FindingKind::AccountingOff, FindingKind::TimestampsOff, FindingKind::EventsOff]);

    let after = Preflight::enable(&netns).unwrap();
    assert_eq!((after.accounting, after.timestamps, after.events), (true, Some(true), Some(EventMode::On)));
    assert_eq!(after, Preflight::read(&netns).unwrap());
    assert_eq!(after.findings(), []);

    let still = Preflight::read(&here).unwrap();
    assert_eq!(
        (still.accounting, still.timestamps, still.events),
        (others.accounting, others.timestamps, others.events)
    );
}
