use super::*;
use crate::identity::Identity;

fn identity(id: u32) -> Identity {
    Identity {
        netns: 1,
        zone: 0,
        protocol: 6,
        src: "10.0.0.1".parse().unwrap(),
        dst: "10.0.0.2".parse().unwrap(),
        ports: (4711, 443),
        direction_zone: 0,
        id,
        start: Some(1),
    }
}

/// Of a connection that is stamped.
fn key(id: u32) -> Key {
    identity(id).key()
}

fn unstamped(id: u32) -> Key {
    Identity { start: None, ..identity(id) }.key()
}

fn carried(bytes: u64) -> Counters {
    Counters { original_packets: bytes.div_ceil(1000), original_bytes: bytes, reply_packets: 1, reply_bytes: 60 }
}

fn counted(step: Step) -> Delta {
    let Step::Counted(delta) = step else { panic!("{step:?}") };
    delta
}

fn restarted(step: Step) -> (Incarnation, Delta) {
    let Step::Restarted { before, now } = step else { panic!("{step:?}") };
    (before, now)
}

/// A snapshot that shows these; who has vanished.
fn snapshot(meter: &mut Meter, is_complete: bool, keys: &[Key]) -> Vec<Incarnation> {
    meter.begin();
    for key in keys {
        meter.touch(*key);
    }
    let mut gone = Vec::new();
    meter.end(is_complete, |incarnation| gone.push(incarnation));
    gone
}

#[test]
fn a_new_connection_is_counted_whole() {
    let mut meter = Meter::new(10);
    let delta = counted(meter.observe(key(1), carried(100)));
    let want =
        Delta { slot: Some(Slot(0)), generation: 0, delta: carried(100), total: carried(100), is_new: true, missed: 0 };
    assert_eq!(delta, want);
}

#[test]
fn a_new_connection_that_has_carried_nothing_is_told_too() {
    let delta = counted(Meter::new(10).observe(key(1), Counters::default()));
    assert!(delta.is_new && delta.slot.is_some() && delta.delta == Counters::default());
}

#[test]
fn only_what_is_new_is_counted_and_nothing_is_unchanged() {
    let mut meter = Meter::new(10);
    meter.observe(key(1), carried(100));
    assert_eq!(meter.observe(key(1), carried(100)), Step::Unchanged);
    let delta = counted(meter.observe(key(1), carried(1500)));
    assert_eq!((delta.delta.original_bytes, delta.delta.original_packets, delta.delta.reply_bytes), (1400, 1, 0));
    assert_eq!((delta.total, delta.is_new, delta.generation), (carried(1500), false, 0));
}

#[test]
fn any_counter_that_decreased_is_another_incarnation() {
    let more = Counters { original_packets: 5, original_bytes: 5, reply_packets: 5, reply_bytes: 5 };
    let decreased = [
        Counters { original_packets: 4, ..more },
        Counters { original_bytes: 4, ..more },
        Counters { reply_packets: 4, ..more },
        Counters { reply_bytes: 4, original_bytes: 9, ..more },
    ];
    for less in decreased {
        let mut meter = Meter::new(10);
        meter.observe(key(1), more);
        let (before, now) = restarted(meter.observe(key(1), less));
        assert_eq!(
            before,
            Incarnation { slot: Slot(0), key: key(1), generation: 0, total: more, missed: before.missed }
        );
        assert_eq!(
            now,
            Delta { slot: Some(Slot(0)), generation: 1, delta: less, total: less, is_new: true, missed: now.missed }
        );
        assert_eq!(counted(meter.close(key(1), less)).generation, 1);
        assert_eq!(meter.stats().restarted, 1);
    }
}

#[test]
fn incarnations_without_stamps_get_generations_that_only_grow() {
    let mut meter = Meter::new(10);
    meter.restore_generation(7);
    assert_eq!(counted(meter.observe(unstamped(1), carried(100))).generation, 7);
    assert_eq!(counted(meter.observe(key(2), carried(100))).generation, 0);
    assert_eq!(restarted(meter.observe(unstamped(1), carried(50))).1.generation, 8);
    assert_eq!(counted(meter.close(unstamped(3), carried(50))).generation, 9);
    assert_eq!(meter.next_generation(), 10);
}

#[test]
fn a_final_word_counts_the_rest_and_frees_the_slot() {
    let mut meter = Meter::new(10);
    meter.observe(key(1), carried(100));
    let last = counted(meter.close(key(1), carried(120)));
    assert_eq!((last.slot, last.delta.original_bytes, last.is_new), (Some(Slot(0)), 20, false));
    assert_eq!(meter.stats().tracked, 0);
    assert_eq!(counted(meter.observe(key(2), carried(1))).slot, Some(Slot(0)));
    let last = counted(meter.close(key(2), carried(1)));
    assert_eq!(last.delta, Counters::default(), "told, though nothing is new");
}

#[test]
fn a_final_word_of_who_was_never_seen_counts_all() {
    let last = counted(Meter::new(10).close(key(1), carried(120)));
    assert_eq!(
        last,
        Delta { slot: None, generation: 0, delta: carried(120), total: carried(120), is_new: true, missed: 0 }
    );
}

#[test]
fn a_final_word_with_less_than_was_seen_is_of_another_incarnation() {
    let mut meter = Meter::new(10);
    meter.observe(unstamped(1), carried(100));
    let (before, now) = restarted(meter.close(unstamped(1), carried(30)));
    assert_eq!((before.generation, before.total), (0, carried(100)));
    assert_eq!((now.generation, now.delta, now.slot), (1, carried(30), Some(Slot(0))));
    assert_eq!(meter.stats().tracked, 0);
}

#[test]
fn what_is_told_of_a_closed_connection_is_a_duplicate() {
    let mut meter = Meter::new(10);
    meter.observe(key(1), carried(100));
    meter.close(key(1), carried(120));
    assert_eq!(meter.close(key(1), carried(120)), Step::Duplicate);
    assert_eq!(meter.observe(key(1), carried(100)), Step::Duplicate);
    assert_eq!((meter.stats().duplicates, meter.stats().tracked), (2, 0));
}

#[test]
fn a_closed_connection_without_a_stamp_is_another_when_it_is_seen_again() {
    let mut meter = Meter::new(10);
    meter.close(unstamped(1), carried(120));
    let again = counted(meter.close(unstamped(1), carried(120)));
    assert_eq!((again.generation, again.delta), (1, carried(120)));
    let again = counted(meter.observe(unstamped(1), carried(120)));
    assert_eq!((again.generation, again.delta), (2, carried(120)));
}

#[test]
fn closed_connections_are_remembered_for_two_complete_snapshots() {
    let mut meter = Meter::new(10);
    meter.close(key(1), carried(120));
    snapshot(&mut meter, true, &[]);
    for _ in 0..3 {
        snapshot(&mut meter, false, &[]);
    }
    assert_eq!(meter.stats().closed, 1);
    snapshot(&mut meter, true, &[]);
    assert_eq!((meter.stats().closed, meter.stats().forgotten), (0, 0));
}

#[test]
fn a_closed_connection_that_still_comes_up_is_remembered_for_longer() {
    let mut meter = Meter::new(10);
    meter.close(key(1), carried(120));
    for _ in 0..5 {
        meter.begin();
        assert_eq!(meter.observe(key(1), carried(120)), Step::Duplicate);
        meter.end(true, |_| ());
    }
}

#[test]
fn closed_connections_that_are_too_many_are_forgotten_oldest_first_and_counted() {
    let mut meter = Meter::new(4);
    for id in 0..5 {
        meter.close(key(id), carried(1));
        assert!(meter.stats().closed <= 4);
    }
    assert_eq!(meter.stats().forgotten, 2);
    assert_eq!(meter.close(key(4), carried(1)), Step::Duplicate);
    assert_eq!(meter.close(key(2), carried(1)), Step::Duplicate);
    assert!(counted(meter.close(key(0), carried(1))).is_new);
}

#[test]
fn no_living_connection_makes_room_for_another() {
    let mut meter = Meter::new(2);
    meter.observe(key(1), carried(10));
    meter.observe(unstamped(2), carried(20));
    assert_eq!(meter.observe(key(3), carried(30)), Step::Refused);
    assert_eq!(meter.observe(unstamped(4), carried(40)), Step::Refused);
    assert_eq!((meter.stats().refused, meter.stats().tracked, meter.next_generation()), (2, 2, 1));
    assert_eq!(meter.observe(key(1), carried(10)), Step::Unchanged);
    // Its end counts it whole, and so does a snapshot once there is room.
    let last = counted(meter.close(key(3), carried(35)));
    assert_eq!((last.slot, last.delta), (None, carried(35)));
    meter.close(key(1), carried(10));
    assert_eq!(counted(meter.observe(unstamped(4), carried(44))).delta, carried(44));
}

#[test]
fn a_meter_with_no_room_at_all_counts_ends() {
    let mut meter = Meter::new(0);
    assert_eq!(meter.observe(key(1), carried(10)), Step::Refused);
    assert_eq!(counted(meter.close(key(1), carried(10))).delta, carried(10));
    assert_eq!(meter.close(key(1), carried(10)), Step::Duplicate);
}

#[test]
fn who_is_absent_from_two_complete_snapshots_in_a_row_is_gone() {
    let mut meter = Meter::new(10);
    meter.observe(key(1), carried(10));
    meter.observe(key(2), carried(20));
    assert_eq!(snapshot(&mut meter, true, &[key(1)]), []);
    assert_eq!(snapshot(&mut meter, false, &[key(1)]), [], "this one may have missed it");
    let gone = snapshot(&mut meter, true, &[key(1)]);
    assert_eq!(gone, [Incarnation { slot: Slot(1), key: key(2), generation: 0, total: carried(20), missed: 2 }]);
    assert_eq!((meter.stats().vanished, meter.stats().tracked), (1, 1));
    assert_eq!(meter.close(key(2), carried(25)), Step::Duplicate, "it was told as gone");
}

#[test]
fn who_is_seen_between_is_not_gone() {
    let mut meter = Meter::new(10);
    meter.observe(key(1), carried(10));
    for n in 0..6 {
        assert_eq!(snapshot(&mut meter, true, &[]), []);
        // In a snapshot that was cut short, or outside of any.
        if n % 2 == 0 {
            snapshot(&mut meter, false, &[key(1)]);
        } else {
            assert_eq!(meter.observe(key(1), carried(10)), Step::Unchanged);
        }
    }
}

#[test]
fn a_snapshot_that_never_ended_or_never_began_says_nothing() {
    let mut meter = Meter::new(10);
    meter.observe(key(1), carried(10));
    snapshot(&mut meter, true, &[]);
    meter.begin();
    meter.begin();
    meter.touch(key(1));
    meter.end(true, |gone| panic!("{gone:?}"));
    meter.end(true, |gone| panic!("{gone:?}"));
    meter.end(true, |gone| panic!("{gone:?}"));
    assert_eq!(meter.stats().tracked, 1);
}

#[test]
fn restored_connections_go_on_where_they_were() {
    let mut meter = Meter::new(10);
    meter.restore(Slot(4), key(1), 2, carried(100)).unwrap();
    meter.restore_closed(key(2));
    let delta = counted(meter.observe(key(1), carried(130)));
    assert_eq!((delta.slot, delta.generation, delta.delta.original_bytes), (Some(Slot(4)), 2, 30));
    assert_eq!(meter.observe(key(2), carried(10)), Step::Duplicate);
    assert!(snapshot(&mut meter, true, &[]).is_empty(), "absent from one");
    assert_eq!(snapshot(&mut meter, true, &[])[0].slot, Slot(4));
}

#[test]
fn slots_between_restored_ones_are_used_once_each() {
    let mut meter = Meter::new(6);
    for n in [3, 1, 5] {
        meter.restore(Slot(n), key(n), 0, carried(1)).unwrap();
    }
    let mut slots: Vec<_> = (10..13).map(|id| counted(meter.observe(key(id), carried(1))).slot.unwrap().0).collect();
    slots.sort_unstable();
    assert_eq!(slots, [0, 2, 4]);
    assert_eq!(meter.observe(key(20), carried(1)), Step::Refused);
}

#[test]
fn saved_state_that_contradicts_itself_is_refused() {
    let mut meter = Meter::new(3);
    meter.restore(Slot(1), key(1), 0, carried(1)).unwrap();
    let kind = |result: Result<()>| result.unwrap_err().kind();
    assert_eq!(kind(meter.restore(Slot(1), key(2), 0, carried(2))), ErrorKind::SlotTaken);
    assert_eq!(kind(meter.restore(Slot(2), key(1), 0, carried(2))), ErrorKind::KeyTaken);
    assert_eq!(kind(meter.restore(Slot(1 << 24), key(3), 0, carried(2))), ErrorKind::NoRoom);
    let error = meter.restore(Slot(u32::MAX), key(3), 0, carried(2)).unwrap_err();
    assert_eq!(error.to_string(), "cannot restore the connection in slot 4294967295: there are not so many");
    assert_eq!((meter.observe(key(1), carried(1)), meter.stats().tracked), (Step::Unchanged, 1));
}

#[test]
fn counters_of_64_bits_are_counted_to_their_end() {
    let most = Counters { original_packets: 1, original_bytes: u64::MAX, reply_packets: 0, reply_bytes: 5 << 32 };
    let mut meter = Meter::new(1);
    meter.observe(key(1), Counters { original_bytes: 1, ..most });
    assert_eq!(counted(meter.observe(key(1), most)).delta.original_bytes, u64::MAX - 1);
    assert_eq!(restarted(meter.close(key(1), Counters::default())).0.total, most);
}
