//! An account: what is said, when, and what must be kept for it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, HashMap, HashSet};

use podtrail_event::Timestamp;
use podtrail_flow::{
    Account, Connection, Counters, Direction, Gap, GapReason, Identity, Key, Origin, Output, Reads, Slot,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const COOKIE: u64 = 7;
const NONE: Counters = Counters { original_packets: 0, original_bytes: 0, reply_packets: 0, reply_bytes: 0 };

fn origin() -> Origin {
    Origin { node: "node \"a\"".into(), boot: "boot-1".into(), inode: 4_026_531_840, cookie: COOKIE }
}

fn at(s: i64) -> Timestamp {
    Timestamp::from_second(s)
}

fn carried(n: u64) -> Counters {
    Counters { original_packets: n, original_bytes: 100 * n, reply_packets: n / 2, reply_bytes: 50 * n }
}

/// Number n, which began at second `start`.
fn connection(n: u16, start: Option<i64>, counters: Counters) -> Connection {
    let (src, dst) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    let start = start.map(|start| u64::try_from(at(start).as_nanosecond()).unwrap());
    let identity =
        Identity { netns: COOKIE, zone: 0, protocol: 6, src, dst, ports: (n, 80), direction_zone: 0, id: 9, start };
    let reply = Direction { src: dst, dst: src, ports: (80, n), zone: 0 };
    Connection { identity, reply, counters: Some(counters), stop: None }
}

/// What an account said, and what it wanted kept.
#[derive(Default)]
struct Kept {
    lines: Vec<Value>,
    slots: BTreeMap<u32, Vec<u8>>,
    closed: Vec<Key>,
}

impl Kept {
    fn keep(&mut self, out: &mut Output) -> Vec<Value> {
        let lines: Vec<Value> = out.records.iter().map(|record| serde_json::from_str(&record.line).unwrap()).collect();
        for (line, record) in lines.iter().zip(&out.records) {
            assert_eq!(line["id"], record.id.to_string());
        }
        for (slot, bytes) in &out.slots {
            match bytes {
                Some(bytes) => drop(self.slots.insert(slot.0, bytes.clone())),
                None => drop(self.slots.remove(&slot.0)),
            }
        }
        self.closed.extend(&out.closed);
        self.lines.extend(lines.clone());
        out.clear();
        lines
    }

    /// Another account that goes on from what was kept.
    fn restored(&self, reads: Reads, generation: u32) -> Account {
        let mut account = Account::new(origin(), 1000);
        for (slot, bytes) in &self.slots {
            assert!(account.restore(Slot(*slot), bytes));
        }
        self.closed.iter().for_each(|key| account.restore_closed(*key));
        account.restore_progress(reads, generation);
        account
    }
}

/// A whole snapshot.
fn snapshot(account: &mut Account, time: i64, shown: &[Connection], kept: &mut Kept) -> Vec<Value> {
    let mut out = Output::default();
    account.begin(at(time));
    shown.iter().for_each(|shown| account.observe(shown, || at(time + 1), &mut out));
    let gone = account.end(true);
    let mut lines = kept.keep(&mut out);
    for gone in gone {
        let bytes = kept.slots.get(&gone.slot.0).cloned();
        account.vanish(&gone, bytes.as_deref(), at(time + 2), &mut out);
    }
    account.settle(at(time + 2), &mut out);
    lines.extend(kept.keep(&mut out));
    lines
}

fn close(account: &mut Account, time: i64, ended: &Connection, kept: &mut Kept) -> Vec<Value> {
    let mut out = Output::default();
    account.close(ended, at(time), &mut out);
    account.settle(at(time), &mut out);
    kept.keep(&mut out)
}

#[test]
fn a_line_has_these_members_and_no_others() {
    let (mut account, mut kept) = (Account::new(origin(), 10), Kept::default());
    let lines = snapshot(&mut account, 100, &[connection(1, Some(90), carried(4))], &mut kept);
    let [line] = &*lines else { panic!("{lines:?}") };
    let counters = json!({"originalPackets": 4, "originalBytes": 400, "replyPackets": 2, "replyBytes": 200});
    let expected = json!({
        "v": 1, "kind": "flow", "id": line["id"], "node": "node \"a\"", "netns": 4_026_531_840_u64, "zone": 0,
        "protocol": 6,
        "original": {"src": "10.0.0.1", "dst": "10.0.0.2", "srcPort": 1, "dstPort": 80},
        "reply": {"src": "10.0.0.2", "dst": "10.0.0.1", "srcPort": 80, "dstPort": 1},
        "connection": {"id": 9, "start": "1970-01-01T00:01:30.000000000Z"},
        "from": "1970-01-01T00:01:30.000000000Z", "to": "1970-01-01T00:01:41.000000000Z",
        "delta": counters, "total": counters, "closed": false,
    });
    assert_eq!(*line, expected);
}

#[test]
fn protocols_have_what_is_theirs_and_zones_where_there_are_some() {
    let mut out = Output::default();
    let mut account = Account::new(origin(), 10);
    account.begin(at(1));
    for (protocol, ports) in [(1, (5, 0x0800)), (47, (3, 4)), (132, (1, 2)), (89, (0, 0))] {
        let mut shown = connection(1, Some(1), carried(1));
        shown.identity.protocol = protocol;
        shown.identity.ports = ports;
        shown.identity.direction_zone = 6;
        account.observe(&shown, || at(2), &mut out);
    }
    let ends: Vec<Value> = Kept::default().keep(&mut out).iter().map(|line| line["original"].clone()).collect();
    let with = |more: Value| {
        let mut ends = json!({"src": "10.0.0.1", "dst": "10.0.0.2", "zone": 6});
        ends.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ends
    };
    let expected = [
        with(json!({"icmpId": 5, "icmpType": 8, "icmpCode": 0})),
        with(json!({"srcKey": 3, "dstKey": 4})),
        with(json!({"srcPort": 1, "dstPort": 2})),
        with(json!({})),
    ];
    assert_eq!(ends, expected);
}

#[test]
fn a_living_connection_that_did_not_change_is_not_said_and_an_ended_one_is_once() {
    let (mut account, mut kept) = (Account::new(origin(), 10), Kept::default());
    let shown = connection(1, Some(90), carried(4));
    assert_eq!(snapshot(&mut account, 100, &[shown], &mut kept).len(), 1);
    assert!(snapshot(&mut account, 130, &[shown], &mut kept).is_empty());
    let more = connection(1, Some(90), carried(6));
    let lines = snapshot(&mut account, 160, &[more], &mut kept);
    assert_eq!((&lines[0]["delta"]["originalPackets"], &lines[0]["total"]["originalPackets"]), (&json!(2), &json!(6)));
    // Since the snapshot before began.
    assert_eq!(lines[0]["from"], "1970-01-01T00:02:10.000000000Z");
    let lines = close(&mut account, 170, &more, &mut kept);
    assert_eq!((&lines[0]["delta"]["originalPackets"], &lines[0]["closed"]), (&json!(0), &json!(true)));
    assert!(close(&mut account, 171, &more, &mut kept).is_empty());
    assert!(kept.slots.is_empty() && kept.closed.len() == 1);
}

#[test]
fn one_that_was_never_seen_alive_is_one_line() {
    let (mut account, mut kept) = (Account::new(origin(), 10), Kept::default());
    let mut ended = connection(1, Some(90), carried(4));
    ended.stop = Some(u64::try_from(at(95).as_nanosecond()).unwrap());
    let lines = close(&mut account, 99, &ended, &mut kept);
    assert_eq!(lines[0]["from"], "1970-01-01T00:01:30.000000000Z");
    assert_eq!(lines[0]["to"], "1970-01-01T00:01:35.000000000Z");
    assert_eq!((&lines[0]["delta"], &lines[0]["closed"]), (&lines[0]["total"], &json!(true)));
}

#[test]
fn one_that_vanished_is_closed_with_its_last_counters_and_declared() {
    let (mut account, mut kept) = (Account::new(origin(), 10), Kept::default());
    snapshot(&mut account, 100, &[connection(1, Some(90), carried(4))], &mut kept);
    assert!(snapshot(&mut account, 130, &[], &mut kept).is_empty());
    let lines = snapshot(&mut account, 160, &[], &mut kept);
    let [closing, gap] = &*lines else { panic!("{lines:?}") };
    assert_eq!((&closing["closed"], &closing["total"]["originalPackets"]), (&json!(true), &json!(4)));
    assert_eq!((&gap["kind"], &gap["reason"], &gap["lost"]), (&json!("gap"), &json!("no-destroy"), &json!(1)));
    // It was seen at 100, and not at 130.
    for line in [closing, gap] {
        assert_eq!((&line["from"], &line["to"]), (&second(100), &second(162)), "{line}");
    }
    assert!(kept.slots.is_empty());
}

#[test]
fn a_declared_gap_accounts_for_what_is_missing_after_it() {
    let (mut account, mut kept) = (Account::new(origin(), 10), Kept::default());
    snapshot(&mut account, 100, &[connection(1, Some(90), carried(4))], &mut kept);
    let mut account = kept.restored(account.reads(), account.next_generation());
    let mut out = Output::default();
    account.declare(Gap { from: at(105), to: at(120), reason: GapReason::Crashed, lost: None }, &mut out);
    let [gap] = &*kept.keep(&mut out) else { panic!() };
    let expected = json!({
        "v": 1, "kind": "gap", "id": gap["id"], "node": "node \"a\"", "netns": 4_026_531_840_u64,
        "from": "1970-01-01T00:01:45.000000000Z", "to": "1970-01-01T00:02:00.000000000Z", "reason": "crashed",
        "lost": null,
    });
    assert_eq!(*gap, expected);
    snapshot(&mut account, 130, &[], &mut kept);
    let lines = snapshot(&mut account, 160, &[], &mut kept);
    assert_eq!(lines.len(), 1, "the closing line alone: {lines:?}");
}

#[test]
fn counters_that_somebody_zeroed_are_declared() {
    let (mut account, mut kept) = (Account::new(origin(), 10), Kept::default());
    snapshot(&mut account, 100, &[connection(1, Some(90), carried(4))], &mut kept);
    let lines = snapshot(&mut account, 130, &[connection(1, Some(90), carried(3))], &mut kept);
    let [line, gap] = &*lines else { panic!("{lines:?}") };
    assert_eq!((&line["connection"]["generation"], &line["delta"]["originalPackets"]), (&json!(1), &json!(3)));
    assert_eq!((&gap["reason"], &gap["lost"]), (&json!("zeroed"), &json!(1)));
    assert_eq!((&gap["from"], &line["from"]), (&second(100), &second(100)));
}

#[test]
fn without_stamps_generations_tell_incarnations_apart() {
    let (mut account, mut kept) = (Account::new(origin(), 10), Kept::default());
    let shown = connection(1, None, carried(4));
    let first = snapshot(&mut account, 100, &[shown], &mut kept);
    // Nobody looked before.
    assert_eq!((&first[0]["from"], &first[0]["connection"]["start"]), (&Value::Null, &Value::Null));
    close(&mut account, 110, &shown, &mut kept);
    let second = snapshot(&mut account, 130, &[shown], &mut kept);
    assert_eq!(second[0]["from"], "1970-01-01T00:01:40.000000000Z");
    let ids: HashSet<&Value> = kept.lines.iter().map(|line| &line["id"]).collect();
    assert_eq!((kept.lines.len(), ids.len()), (3, 3));
    // Less than before without an end: it has ended, and another one has begun.
    let lines = snapshot(&mut account, 160, &[connection(1, None, carried(1))], &mut kept);
    let [closing, line, gap] = &*lines else { panic!("{lines:?}") };
    assert_eq!((&closing["closed"], &closing["connection"]["generation"]), (&json!(true), &json!(1)));
    assert_eq!((&line["closed"], &line["connection"]["generation"]), (&json!(false), &json!(2)));
    assert_eq!(gap["reason"], "no-destroy");
}

#[test]
fn what_the_kernel_does_not_count_is_null_and_not_zero() {
    let (mut account, mut kept) = (Account::new(origin(), 10), Kept::default());
    let mut shown = connection(1, Some(90), NONE);
    shown.counters = None;
    let lines = snapshot(&mut account, 100, &[shown], &mut kept);
    assert_eq!((&lines[0]["delta"], &lines[0]["total"]), (&Value::Null, &Value::Null));
    let lines = close(&mut account, 110, &shown, &mut kept);
    assert_eq!((&lines[0]["total"], &lines[0]["closed"]), (&Value::Null, &json!(true)));
}

#[test]
fn what_was_counted_by_a_predecessor_without_memory_is_not_counted_again() {
    let (mut account, mut kept) = (Account::new(origin(), 10), Kept::default());
    account.take_as_counted(at(100));
    let (old, young) = (connection(1, Some(90), carried(4)), connection(2, Some(105), carried(4)));
    let lines = snapshot(&mut account, 110, &[old, young], &mut kept);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["original"]["srcPort"], 2);
    let lines = snapshot(&mut account, 140, &[connection(1, Some(90), carried(5)), young], &mut kept);
    assert_eq!(lines[0]["delta"]["originalPackets"], 1);
    // One that ended before the first snapshot came to it is told after that.
    let lines = close(&mut account, 141, &connection(3, Some(90), carried(7)), &mut kept);
    assert_eq!((&lines[0]["delta"]["originalPackets"], &lines[0]["total"]["originalPackets"]), (&json!(0), &json!(7)));
}

#[test]
fn a_namespace_that_is_no_more_leaves_closed_connections() {
    let (mut account, mut kept) = (Account::new(origin(), 10), Kept::default());
    snapshot(&mut account, 100, &[connection(1, Some(90), carried(4))], &mut kept);
    let mut out = Output::default();
    let (slot, bytes) = kept.slots.iter().next().map(|(slot, bytes)| (*slot, bytes.clone())).unwrap();
    Account::new(origin(), 0).abandon(Slot(slot), &bytes, at(200), &mut out);
    let lines = kept.keep(&mut out);
    assert_eq!((&lines[0]["closed"], &lines[0]["total"]["originalPackets"]), (&json!(true), &json!(4)));
    assert!(kept.slots.is_empty());
}

#[test]
fn what_was_kept_is_put_back_or_refused() {
    let (mut account, mut kept) = (Account::new(origin(), 10), Kept::default());
    let mut v6 = connection(2, Some(90), carried(4));
    (v6.identity.src, v6.reply.dst) = ("fd00::1".parse().unwrap(), "fd00::1".parse().unwrap());
    (v6.identity.dst, v6.reply.src) = ("fd00::2".parse().unwrap(), "fd00::9".parse().unwrap());
    let shown = [connection(1, None, carried(3)), v6];
    snapshot(&mut account, 100, &shown, &mut kept);
    let mut account = kept.restored(account.reads(), account.next_generation());
    assert!(snapshot(&mut account, 130, &shown, &mut kept).is_empty());

    let mut account = Account::new(origin(), 10);
    let bytes = kept.slots[&0].clone();
    assert!(!account.restore(Slot(0), &bytes[1..]));
    assert!(!account.restore(Slot(0), &[]));
    assert!(!account.restore(Slot(0), &[bytes.clone(), vec![0]].concat()));
    assert!(account.restore(Slot(0), &bytes));
    assert!(!account.restore(Slot(1), &bytes));
}

#[test]
fn an_end_that_is_told_after_a_snapshot_without_it_goes_back_to_the_one_with_it() {
    let (mut account, mut kept) = (Account::new(origin(), 10), Kept::default());
    let shown = connection(1, Some(90), carried(4));
    snapshot(&mut account, 100, &[shown], &mut kept);
    snapshot(&mut account, 130, &[], &mut kept);
    let mut ended = connection(1, Some(90), carried(9));
    ended.stop = Some(u64::try_from(at(129).as_nanosecond()).unwrap());
    let lines = close(&mut account, 131, &ended, &mut kept);
    assert_eq!((&lines[0]["from"], &lines[0]["to"]), (&second(100), &second(129)));

    // Likewise of one that was dying when it was seen last.
    snapshot(&mut account, 200, &[connection(2, Some(190), carried(4))], &mut kept);
    let mut out = Output::default();
    account.begin(at(230));
    account.touch(&connection(2, Some(190), carried(5)));
    assert!(account.end(true).is_empty());
    account.close(&connection(2, Some(190), carried(5)), at(231), &mut out);
    assert_eq!(kept.keep(&mut out)[0]["from"], second(200));
}

#[test]
fn a_gap_accounts_for_as_many_as_it_says() {
    let (mut account, mut kept) = (Account::new(origin(), 10), Kept::default());
    let all: Vec<Connection> = (1..4).map(|n| connection(n, Some(90), carried(4))).collect();
    snapshot(&mut account, 100, &all, &mut kept);
    let mut out = Output::default();
    account.declare(Gap { from: at(105), to: at(106), reason: GapReason::Lost, lost: Some(1) }, &mut out);
    kept.keep(&mut out);
    snapshot(&mut account, 130, &[], &mut kept);
    let lines = snapshot(&mut account, 160, &[], &mut kept);
    let gaps: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "gap").collect();
    assert_eq!((lines.len(), gaps.len(), &gaps[0]["lost"]), (4, 1, &json!(2)));
}

#[test]
fn more_than_the_limit_are_restored_so_that_none_is_counted_again() {
    let (mut account, mut kept) = (Account::new(origin(), 10), Kept::default());
    let all: Vec<Connection> = (1..6).map(|n| connection(n, Some(90), carried(4))).collect();
    snapshot(&mut account, 100, &all, &mut kept);
    let mut account = Account::new(origin(), 2);
    assert!(kept.slots.iter().all(|(slot, bytes)| account.restore(Slot(*slot), bytes)));
    assert!(snapshot(&mut account, 130, &all, &mut kept).is_empty());
}

fn second(s: i64) -> Value {
    json!(format!("{:.9}", at(s)))
}

/// What may happen to one of eight connections.
#[derive(Clone, Debug)]
enum Happening {
    Carry(usize, u64),
    End(usize),
    Snapshot,
    Crash,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..8_usize, 0..9_u64).prop_map(|(n, more)| Happening::Carry(n, more)),
        2 => (0..8_usize).prop_map(Happening::End),
        2 => Just(Happening::Snapshot),
        1 => Just(Happening::Crash),
    ]
}

proptest! {
    /// The sum of what was said of each connection is what it carried, each that ended is closed once, and no id comes twice;
    /// also where the process ends at any time and goes on from what was kept.
    #[test]
    fn all_is_said_once(story in prop::collection::vec(happening(), 1..80)) {
        let (mut account, mut kept) = (Account::new(origin(), 100), Kept::default());
        // Of each: how often it ended, and what it has carried since.
        let mut alive: [(i64, u64); 8] = [(0, 0); 8];
        let mut truth: HashMap<String, (u64, bool)> = HashMap::new();
        let shown = |n: usize, (lives, carries): (i64, u64)| connection(u16::try_from(n).unwrap(), Some(lives + 1), carried(carries));
        for (now, happening) in (1000..).zip(story) {
            match happening {
                Happening::Carry(n, more) => alive[n].1 += more,
                Happening::End(n) => {
                    let ended = shown(n, alive[n]);
                    close(&mut account, now, &ended, &mut kept);
                    truth.insert(format!("{n} {}", alive[n].0 + 1), (alive[n].1, true));
                    alive[n] = (alive[n].0 + 1, 0);
                }
                Happening::Snapshot => {
                    let all: Vec<Connection> = alive.iter().enumerate().map(|(n, life)| shown(n, *life)).collect();
                    snapshot(&mut account, now, &all, &mut kept);
                }
                Happening::Crash => account = kept.restored(account.reads(), account.next_generation()),
            }
        }
        let all: Vec<Connection> = alive.iter().enumerate().map(|(n, life)| shown(n, *life)).collect();
        snapshot(&mut account, 5000, &all, &mut kept);
        truth.extend(alive.iter().enumerate().map(|(n, (lives, carries))| (format!("{n} {}", lives + 1), (*carries, false))));

        let mut said: HashMap<String, (u64, u64)> = HashMap::new();
        for line in &kept.lines {
            prop_assert_eq!(&line["kind"], "flow");
            let start: Timestamp = line["connection"]["start"].as_str().unwrap().parse().unwrap();
            let name = format!("{} {}", line["original"]["srcPort"], start.as_nanosecond() / 1_000_000_000);
            let sum = said.entry(name).or_default();
            sum.0 += line["delta"]["originalPackets"].as_u64().unwrap();
            sum.1 += u64::from(line["closed"].as_bool().unwrap());
            prop_assert_eq!(line["total"]["originalPackets"].as_u64().unwrap(), sum.0);
        }
        for (name, (carries, is_over)) in &truth {
            prop_assert_eq!(said.get(name), Some(&(*carries, u64::from(*is_over))), "{}", name);
        }
        let ids: HashSet<&Value> = kept.lines.iter().map(|line| &line["id"]).collect();
        prop_assert_eq!(ids.len(), kept.lines.len());
    }
}
