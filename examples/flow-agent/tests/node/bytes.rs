//! What crosses a router is reported to the byte: as the kernel says it, as nft counts it, and as it was sent.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::harness::{Agent, Datagrams, Lab, Lines, Place, Traffic, Truth, compare, ping, pour, turn, wait};

#[test]
fn a_few_hundred_connections_are_counted_to_the_byte() {
    counted(4, Duration::from_secs(2), 1 << 20);
}

#[test]
#[ignore = "takes a while: CI asks for it"]
fn thousands_of_connections_and_one_of_more_than_4_gb_are_counted_to_the_byte() {
    counted(10, Duration::from_secs(12), (1 << 32) + (64 << 20));
}

fn counted(callers: u64, duration: Duration, bytes: u64) {
    let Some(_turn) = turn() else { return };
    let (lab, home) = (Lab::new(), tempfile::tempdir().unwrap());
    let truth = Truth::of(&lab.router);
    let agent = Agent::start(&lab.router.path(), home.path(), &[]);
    let traffic = Traffic::begin(&lab, callers, Duration::from_millis(5));
    ping(&lab, 20);
    pour(&lab, bytes);
    std::thread::sleep(duration);
    let sent = traffic.end();
    let lines = finish(&lab, &truth, agent);
    assert_eq!(lines.reasons(), [""; 0]);
    compare(&lines, &truth.ended());
    compare_with_nft(&lines, &lab);
    compare_with_sent(&lines, &sent);
    let most = lines.flows.iter().map(|flow| flow.total.unwrap()[1]).max().unwrap();
    assert!(most > bytes, "{most}");
    eprintln!("{} connections, {} lines, the longest of {most} bytes", truth.ended().len(), lines.ids.len());
}

/// Ends all connections, waits until the agent has told it, and stops it.
pub(crate) fn finish(lab: &Lab, truth: &Truth, agent: Agent) -> Lines {
    // What is on its way after the first may be a connection again.
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(300));
        lab.router.flush();
    }
    std::thread::sleep(Duration::from_millis(300));
    wait("all ends are told", Duration::from_secs(30), || agent.lines().closed() >= truth.ended().len());
    let home = agent.home().to_owned();
    assert!(agent.stop().success());
    Lines::read(&home.join("flows.ndjson"))
}

/// Connection tracking lets a repeated SYN of a connection that is known, and the answer to it, pass without counting it: nft, which
/// sees every packet, may have so many more.
pub(crate) fn compare_with_nft(lines: &Lines, lab: &Lab) {
    let repeated = [&lab.client, &lab.server].map(Place::repeated_syns).iter().sum::<u64>();
    for (protocols, name, more) in [(&[6][..], "tcp", 2 * repeated), (&[17], "udp", 0), (&[1, 58], "icmp", 0)] {
        let mut sum = [0; 4];
        for flow in lines.flows.iter().filter(|flow| protocols.contains(&flow.name.protocol)) {
            flow.delta.unwrap().iter().zip(&mut sum).for_each(|(delta, sum)| *sum += delta);
        }
        let [original, reply] = ["original", "reply"].map(|way| lab.counted(&format!("{name}_{way}")));
        let most = [more, 80 * more, more, 80 * more];
        for ((reported, counted), most) in sum.iter().zip([original[0], original[1], reply[0], reply[1]]).zip(most) {
            let is_right = (*reported..=reported + most).contains(&counted);
            assert!(
                is_right,
                "{name}: reported {sum:?}, counted by nft {original:?} {reply:?}, {repeated} SYNs repeated"
            );
        }
        assert!(name == "icmp" || sum[0] > 0);
    }
}

fn compare_with_sent(lines: &Lines, sent: &Datagrams) {
    let mut reported = BTreeMap::new();
    for flow in lines.flows.iter().filter(|flow| flow.name.protocol == 17) {
        let (name, delta) = (flow.name, flow.delta.unwrap());
        let ends = (name.src, name.ports.0, name.dst, name.ports.1);
        let sum: &mut (u64, u64) = reported.entry(ends).or_default();
        *sum = (sum.0 + delta[0], sum.1 + delta[1]);
    }
    for ((from, to), (packets, bytes)) in sent {
        let ends = (from.ip(), from.port().into(), to.ip(), to.port().into());
        let headers = if from.is_ipv4() { 28 } else { 48 };
        assert_eq!(reported.get(&ends), Some(&(*packets, bytes + packets * headers)), "{from} to {to}");
    }
}
