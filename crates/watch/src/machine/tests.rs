mod listing;
mod watching;

use podtrail_event::{Gap, Pod};

use super::*;
use crate::pod::PodState;

type Out = Vec<Delta<PodState>>;

const SECOND: Duration = Duration::from_secs(1);

fn wall(seconds: f64) -> Timestamp {
    Timestamp::from_nanosecond(1_769_287_600_000_000_000 + (seconds * 1e9) as i64)
}

fn now(seconds: f64) -> Now {
    Now { wall: wall(seconds), mono: Duration::from_secs_f64(seconds) }
}

/// For what is done for its effect.
fn ignore<T>(_: T) {}

/// A pod that nothing dates.
fn pod(uid: &str, version: u64) -> PodState {
    let pod = Pod { uid: uid.into(), namespace: "n".into(), name: uid.into(), ..Pod::default() };
    PodState { pod, resource_version: version, ..PodState::default() }
}

fn applied(uid: &str, version: u64) -> Event<PodState> {
    Event::Applied(pod(uid, version))
}

fn bookmark(version: u64) -> Event<PodState> {
    Event::Bookmark { version, ends_listing: false }
}

fn answer(code: u16) -> Failure {
    Failure { code, message: "no".to_owned(), ..Failure::default() }
}

fn bad(key: Option<&str>) -> Rejected {
    Rejected::new(key.map(str::to_owned), "not a watch event", b"junk", wall(0.0))
}

/// A machine with what it said since it was last asked.
struct Driven {
    machine: Machine,
    out: Out,
}

impl Driven {
    fn new(config: Config, resume_from: Option<(&str, f64)>) -> Self {
        let checkpoint = resume_from.map(|(version, seconds)| Checkpoint {
            resource_version: version.to_owned(),
            covered_until: wall(seconds),
        });
        Self { machine: Machine::new(config, "pods", checkpoint, 7), out: Vec::new() }
    }

    fn paged() -> Self {
        Self::new(Config { streaming_lists: false, ..Config::default() }, None)
    }

    /// One that watches from version 100, listed at 1 s, opened at 2 s, not caught up.
    fn watching() -> Self {
        let mut driven = Self::paged();
        driven.list(100, 1.0);
        driven.watch(100, 2.0);
        driven.out.clear();
        driven
    }

    /// As `watching`, and caught up at 3 s.
    fn live() -> Self {
        let mut driven = Self::watching();
        assert_eq!(driven.idle(3.0), Flow::Continue);
        assert_eq!(driven.take(), [Delta::Alive { since: Some(wall(2.0)), at: wall(3.0) }]);
        driven
    }

    fn take(&mut self) -> Out {
        std::mem::take(&mut self.out)
    }

    /// A list of one page, asked for at `at` and answered half a second later.
    fn list(&mut self, version: u64, at: f64) {
        assert_eq!(self.machine.request(now(at)), Request::Page { limit: 500, more: None });
        assert!(self.machine.page(version, None, now(at + 0.5), &mut self.out));
        self.out.push(Delta::Listed(pod("listed", version)));
        self.machine.page_end(now(at + 0.6), &mut self.out);
    }

    fn watch(&mut self, version: u64, at: f64) {
        assert_eq!(self.machine.request(now(at)), Request::Watch { version });
        self.machine.opened(now(at), &mut self.out);
    }

    /// Asks, without an answer yet.
    fn ask(&mut self, at: f64) {
        assert_eq!(self.machine.request(now(at)), Request::Watch { version: 100 });
    }

    fn event(&mut self, event: Event<PodState>, at: f64) -> Flow {
        self.machine.arrived(now(at));
        let flow = self.machine.event(event, b"raw", now(at), &mut self.out);
        self.machine.settled(now(at));
        flow
    }

    fn undecodable(&mut self, key: Option<&str>, at: f64) -> Flow {
        self.machine.undecodable(bad(key), now(at), &mut self.out)
    }

    fn idle(&mut self, at: f64) -> Flow {
        self.machine.idle(now(at), &mut self.out)
    }

    fn end(&mut self, end: End, at: f64) {
        self.machine.ended(end, now(at), &mut self.out);
    }

    fn refused(&mut self, code: u16, at: f64) {
        self.machine.refused(&answer(code), None, now(at), &mut self.out);
    }

    /// The one gap of what was said: from, to, reason and the version before it.
    #[track_caller]
    fn gap(&mut self) -> (f64, f64, String, String) {
        let out = self.take();
        let gaps: Vec<_> = out
            .iter()
            .filter_map(|delta| match delta {
                Delta::Snapshot { gap: Some(gap), after_version, .. } => Some((gap.clone(), after_version.clone())),
                _ => None,
            })
            .collect();
        let [(Gap { from, to, reason, source }, after)] =
            gaps.try_into().unwrap_or_else(|_| panic!("one gap: {out:?}"));
        assert_eq!(source, "pods");
        let seconds = |t: Timestamp| t.saturating_duration_since(wall(0.0)).as_secs_f64();
        (seconds(from), seconds(to), reason, after.unwrap())
    }

    #[track_caller]
    fn disconnected(&mut self) -> (String, Duration) {
        match self.take().pop() {
            Some(Delta::Disconnected { reason, retry_in, .. }) => {
                assert_eq!(retry_in, self.machine.wait());
                (reason, retry_in)
            }
            other => panic!("disconnected: {other:?}"),
        }
    }
}

proptest::proptest! {
    /// Whatever a server does: the machine asks on, never says more than it can know, and never waits beyond its caps.
    #[test]
    fn any_server_is_survived(steps in proptest::collection::vec((0_u8..12, 0_u64..40), 1..120)) {
        let mut driven = Driven::new(Config::default(), None);
        let mut at = 0.0;
        let mut open = false;
        for (step, n) in steps {
            at += 0.3;
            if !open {
                match driven.machine.request(now(at)) {
                    Request::Page { .. } if step < 6 => {
                        let more = (n % 3 == 0).then(|| "more".to_owned());
                        if driven.machine.page(n, more, now(at), &mut driven.out) {
                            driven.machine.page_end(now(at), &mut driven.out);
                        }
                    }
                    Request::StreamingList | Request::Watch { .. } if step < 8 => {
                        driven.machine.opened(now(at), &mut driven.out);
                        open = true;
                    }
                    _ => driven.refused([400, 403, 410, 422, 429, 500][usize::from(step) % 6], at),
                }
            } else {
                let flow = match step {
                    0..4 => driven.event(applied("a", n), at),
                    4 => driven.event(Event::Deleted(pod("b", n)), at),
                    5 => driven.event(bookmark(n), at),
                    6 | 7 => driven.event(Event::Bookmark { version: n, ends_listing: true }, at),
                    8 => driven.undecodable((n % 2 == 0).then_some("n/a"), at),
                    9 => driven.event(Event::Failed(answer(if n % 2 == 0 { 410 } else { 500 })), at),
                    10 => driven.idle(at + 2.0),
                    _ => {
                        driven.end(if n % 2 == 0 { End::Clean } else { End::Cut(String::new()) }, at);
                        Flow::Close
                    }
                };
                open = flow == Flow::Continue;
            }
            proptest::prop_assert!(driven.machine.wait() <= 30 * SECOND);
            proptest::prop_assert!(driven.machine.coverage.until.is_none_or(|until| until <= wall(at + 2.0)));
            proptest::prop_assert!(driven.machine.coverage.proven <= driven.machine.coverage.until);
        }
        let mut version = None;
        for delta in driven.take() {
            match delta {
                Delta::Snapshot { resource_version, sent, received, gap, .. } => {
                    version = resource_version.parse::<u64>().ok();
                    proptest::prop_assert!(sent <= received);
                    proptest::prop_assert!(gap.is_none_or(|gap| gap.from <= gap.to));
                }
                Delta::Applied { object, .. } => {
                    proptest::prop_assert!(Some(object.resource_version) >= version, "never behind what was given before");
                    version = Some(object.resource_version);
                }
                _ => {}
            }
        }
    }
}
