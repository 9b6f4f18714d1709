//! The core against a server in a model: whatever is lost and whenever, the server ends up with the output, once.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::core::{Broken, Core, Due, Frame, Limits};
use super::{Ended, Ending};

const BUFFER: usize = 100_000;
const SECOND: Duration = Duration::from_secs(1);
const LIMITS: Limits =
    Limits { buffer: BUFFER, answer: Duration::from_secs(15), patience: Duration::from_secs(60), salt: [7; 16] };
const EXITED: Ending = Ending::new(Ended::Exited(3));

#[derive(Clone, Debug)]
enum Move {
    /// The tool prints.
    Push(usize),
    /// The client sends a message.
    Send,
    /// The server handles the next message, or the client the next acknowledgement.
    Arrive,
    Heard,
    /// The server says how far it is.
    Answer,
    /// The connection is lost, with all that is on its way.
    Cut,
    /// Milliseconds pass, and what is due is done.
    Pass(u64),
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        3 => (0_usize..70_000).prop_map(Move::Push),
        4 => Just(Move::Send),
        4 => Just(Move::Arrive),
        3 => Just(Move::Heard),
        3 => Just(Move::Answer),
        1 => Just(Move::Cut),
        3 => (0_u64..3000).prop_map(Move::Pass),
    ]
}

struct World {
    core: Core,
    now: Duration,
    output: Vec<u8>,
    ending: bool,
    connected: bool,
    /// On their way.
    frames: VecDeque<Frame>,
    acks: VecDeque<(u64, bool)>,
    durable: Vec<u8>,
    ended: bool,
    gave_up: bool,
}

impl World {
    fn new() -> Self {
        Self {
            core: Core::new(LIMITS),
            now: Duration::ZERO,
            output: Vec::new(),
            ending: false,
            connected: false,
            frames: VecDeque::new(),
            acks: VecDeque::new(),
            durable: Vec::new(),
            ended: false,
            gave_up: false,
        }
    }

    fn cut(&mut self) {
        self.connected = false;
        self.frames.clear();
        self.acks.clear();
    }

    fn make(&mut self, a_move: &Move) {
        match a_move {
            Move::Push(_) if self.ending => {}
            Move::Push(length) => {
                let from = self.output.len();
                let bytes = (from..from + length).map(|i| (i * 7 / 3) as u8).collect::<Vec<_>>();
                let taken = self.core.push(&bytes, self.now);
                self.output.extend(&bytes[..taken]);
                assert!(self.output.len() as u64 - self.core.acknowledged() <= BUFFER as u64);
            }
            Move::Send => {
                if let Some(frame) = self.core.frame(self.now) {
                    assert!(self.connected, "nothing is sent without a connection");
                    self.frames.push_back(frame);
                }
            }
            Move::Arrive => match self.frames.pop_front() {
                Some(Frame::Chunk { offset, data }) => {
                    assert_eq!(offset, self.durable.len() as u64, "no gap and nothing twice");
                    assert!(!self.ended && (1..=32 << 10).contains(&data.len()));
                    self.durable.extend(data);
                }
                Some(Frame::End { length, ending }) => {
                    assert_eq!((length, ending), (self.durable.len() as u64, EXITED));
                    self.ended = true;
                }
                None => {}
            },
            Move::Answer if self.connected => self.acks.push_back((self.durable.len() as u64, self.ended)),
            Move::Heard => {
                if let Some((offset, ended)) = self.acks.pop_front() {
                    self.core.acknowledge(offset, ended, self.now).unwrap();
                }
            }
            Move::Cut if self.connected => {
                self.cut();
                self.core.lost(self.now);
            }
            Move::Pass(milliseconds) => {
                self.now += Duration::from_millis(*milliseconds);
                match self.core.due(self.now) {
                    Due::Nothing => {}
                    Due::Dial => {
                        self.cut();
                        self.core.opened(self.now);
                        self.connected = true;
                        // The answer to the header.
                        self.acks.push_back((self.durable.len() as u64, self.ended));
                    }
                    Due::HangUp => self.cut(),
                    Due::GiveUp => self.gave_up = true,
                }
            }
            Move::Answer | Move::Cut => {}
        }
    }
}

proptest! {
    #[test]
    fn the_server_gets_the_output_once_whatever_is_lost(
        story in prop::collection::vec(moves(), 1..400),
        after in prop::collection::vec(moves(), 1..100),
    ) {
        let mut world = World::new();
        story.iter().for_each(|a_move| world.make(a_move));
        world.ending = true;
        world.core.end(EXITED, world.now);
        after.iter().for_each(|a_move| world.make(a_move));
        if world.gave_up {
            return Ok(());
        }
        // From here on nothing fails.
        for _ in 0..100 {
            for a_move in [Move::Pass(5001), Move::Send, Move::Arrive, Move::Answer, Move::Heard, Move::Heard] {
                world.make(&a_move);
            }
            if world.core.is_ended() {
                break;
            }
        }
        prop_assert!(world.core.is_ended(), "{:?}", world.core);
        prop_assert!(world.ended && world.durable == world.output);
        prop_assert_eq!(world.core.acknowledged(), world.output.len() as u64);
        prop_assert_eq!(world.core.deadline(), None);
    }
}

fn greeted() -> Core {
    let mut core = Core::new(LIMITS);
    assert_eq!(core.due(Duration::ZERO), Due::Dial);
    core.opened(Duration::ZERO);
    core.acknowledge(0, false, Duration::ZERO).unwrap();
    core
}

#[test]
fn a_server_that_lies_is_not_believed() {
    let mut core = greeted();
    assert_eq!(core.push(&[1; 10], SECOND), 10);
    assert_eq!(core.acknowledge(1, false, SECOND), Err(Broken::Ahead(1)), "not sent yet");
    core.frame(SECOND).unwrap();
    core.acknowledge(10, false, SECOND).unwrap();
    assert_eq!(core.acknowledge(9, false, SECOND), Err(Broken::Back(9)));
    assert_eq!(core.acknowledge(10, true, SECOND), Err(Broken::Ended));
    core.push(&[1; 10], SECOND);
    core.end(EXITED, SECOND);
    assert_eq!(core.acknowledge(10, true, SECOND), Err(Broken::Ended), "half of it");
    let mut fresh = Core::new(LIMITS);
    fresh.due(SECOND);
    fresh.opened(SECOND);
    assert_eq!(fresh.acknowledge(1, false, SECOND), Err(Broken::Ahead(1)), "somebody else's run");
}

#[test]
fn a_silent_connection_is_hung_up_and_patience_ends_after_three() {
    let mut core = greeted();
    assert_eq!(core.deadline(), None, "nothing is owed");
    core.push(&[1; 10], 100 * SECOND);
    core.frame(100 * SECOND).unwrap();
    let mut now = core.deadline().unwrap();
    assert_eq!(now, 115 * SECOND, "counted from when it was first asked");
    let mut hung_up = 0;
    loop {
        match core.due(now) {
            Due::HangUp => hung_up += 1,
            Due::Dial => core.opened(now),
            Due::GiveUp => break,
            Due::Nothing => panic!("a deadline has something due"),
        }
        now = core.deadline().unwrap();
    }
    assert_eq!(hung_up, 4);
    assert!(now >= 160 * SECOND && now < 162 * SECOND, "{now:?}");
}

#[test]
fn answers_that_say_nothing_new_are_not_waited_for_for_ever() {
    let mut core = greeted();
    core.push(&[1; 10], Duration::ZERO);
    core.frame(Duration::ZERO).unwrap();
    for second in 0..15 {
        core.acknowledge(0, false, second * SECOND).unwrap();
        assert_eq!((core.deadline(), core.due(second * SECOND)), (Some(15 * SECOND), Due::Nothing));
    }
    assert_eq!(core.due(15 * SECOND), Due::HangUp);
}

#[test]
fn time_in_which_nobody_looked_does_not_end_patience() {
    let mut core = greeted();
    core.push(&[1; 10], Duration::ZERO);
    core.frame(Duration::ZERO).unwrap();
    let mut now = 3600 * SECOND;
    core.lost(now);
    for _ in 0..2 {
        now = core.deadline().unwrap();
        assert_eq!(core.due(now), Due::Dial);
        core.lost(now);
    }
    now = core.deadline().unwrap();
    assert_eq!(core.due(now), Due::GiveUp);
}

#[test]
fn a_quiet_tool_needs_no_connection() {
    let mut core = greeted();
    core.lost(SECOND);
    assert_eq!((core.deadline(), core.due(100 * SECOND)), (None, Due::Nothing));
    core.push(&[1], 100 * SECOND);
    assert_eq!(core.due(100 * SECOND), Due::Dial);
}

#[test]
fn waits_double_up_to_five_seconds() {
    let mut core = Core::new(LIMITS);
    let mut waits = Vec::new();
    for _ in 0..9 {
        core.lost(Duration::ZERO);
        waits.push(core.deadline().unwrap().as_millis());
    }
    // Just over half of 100, 200, 400 …: the salt decides.
    assert_eq!(waits, [51, 102, 205, 410, 821, 1643, 2568, 2568, 2568]);
}
