//! What is asked at the end: some questions that show something, and many that check everything.

use std::net::IpAddr;
use std::time::Duration;

use podtrail_event::Timestamp;
use podtrail_ledger::Store;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::story::{self, Act, Story};
use super::truth::{Truth, is_right};

/// Who had this address at this time?
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// What there is to see in the answer.
    pub(super) about: String,
    pub(super) ip: IpAddr,
    pub(super) at: Timestamp,
}

/// The questions that show something, in the order of the story.
pub(super) fn instructive(story: &Story, truth: &Truth) -> Vec<Question> {
    let mut questions = reuse(truth);
    questions.extend(cast(story, truth));
    questions
}

fn ask(about: impl Into<String>, ip: IpAddr, at: Timestamp) -> Question {
    // No more digits than a person reads.
    let at = Timestamp::from_nanosecond(at.as_nanosecond().div_euclid(1_000_000) * 1_000_000);
    Question { about: about.into(), ip, at }
}

fn middle(from: Timestamp, to: Timestamp) -> Timestamp {
    from.saturating_add(to.saturating_duration_since(from) / 2)
}

/// Of the address that had the most holders: the first, the last that has gone, and a moment between two.
fn reuse(truth: &Truth) -> Vec<Question> {
    let busiest =
        truth.addresses().filter(IpAddr::is_ipv4).max_by_key(|ip| (truth.holds(*ip).len(), std::cmp::Reverse(*ip)));
    let Some(ip) = busiest else { return Vec::new() };
    let ended: Vec<_> = truth.holds(ip).iter().filter_map(|hold| Some((hold.from, hold.to?))).collect();
    let [(first, first_end), .., (last, last_end)] = ended[..] else { return Vec::new() };
    let owners = truth.holds(ip).len();
    vec![
        ask(
            format!("an address that had {owners} holders, one after the other: this is the first"),
            ip,
            middle(first, first_end),
        ),
        ask("the same address, later: another pod", ip, middle(last, last_end)),
        ask(
            "a moment before that pod got it: what the API tells is not as fine",
            ip,
            last.saturating_sub(Duration::from_millis(10)),
        ),
    ]
}

/// Of the cast.
fn cast(story: &Story, truth: &Truth) -> Vec<Question> {
    let hold = |who| truth.of(story.uid(who)?);
    let when = |act| story.when(act);
    let (mut questions, ms) = (Vec::new(), Duration::from_millis);
    let mut add = |about: &str, what: Option<(IpAddr, Timestamp)>| {
        questions.extend(what.map(|(ip, at)| ask(about, ip, at)));
    };
    let gap = || Some(middle(when(Act::Cut)?, when(Act::Restore)?));
    let between = |who, from: Timestamp, to: Timestamp| Some((hold(who)?.ip, middle(from, to)));
    add(
        "a Job's pod had finished: its object still showed the address, but that is history",
        hold(story::FINISHED)
            .and_then(|hold| between(story::FINISHED, hold.to?, truth.of(story.uid(story::AFTER_FINISHED)?)?.from)),
    );
    add(
        "the next pod had that address, while the finished pod's object went on showing it",
        hold(story::AFTER_FINISHED).and_then(|hold| between(story::AFTER_FINISHED, hold.from, when(Act::Cut)?)),
    );
    add(
        "nobody watched then, but this pod was there before and after",
        gap().and_then(|at| Some((hold(story::STEADY)?.ip, at))),
    );
    add(
        "nobody watched then: in truth a pod had it that nobody ever saw",
        hold(story::UNSEEN).and_then(|hold| between(story::UNSEEN, hold.from, hold.to?)),
    );
    add(
        "the watch was not told of this pod's end: a confirmation found it",
        hold(story::DROPPED).and_then(|hold| Some((hold.ip, hold.to?.saturating_add(ms(20))))),
    );
    add(
        "deleted by force: the object was gone, the containers ran on",
        hold(story::FORCED).and_then(|hold| between(story::FORCED, when(Act::Restore)?, hold.to?)),
    );
    add(
        "a pod of the same name is another pod",
        hold(story::REPLACEMENT).and_then(|hold| between(story::REPLACEMENT, hold.from, when(Act::Cut)?)),
    );
    let [node, _] = story::node_addresses(0);
    add("a node's address, which hostNetwork pods use", when(Act::Release(story::FORCED)).map(|at| (node, at)));
    questions
}

/// How many questions check everything.
pub(super) const MANY: usize = 2000;

/// How the answers to many questions were.
#[derive(Debug)]
pub(super) struct Tally {
    /// By the word for the answer.
    pub(super) answers: [(&'static str, usize); 5],
    /// The first few that contradict the truth.
    pub(super) wrong: Vec<String>,
    pub(super) wrongs: usize,
}

/// Asks [`MANY`] questions about all addresses between `from` and `to`, many of them near a change, and judges the answers.
pub(super) fn many(store: &Store, truth: &Truth, seed: u64, from: Timestamp, to: Timestamp) -> anyhow::Result<Tally> {
    const NEAR: i64 = 400_000_000;
    const LISTED: usize = 10;
    let mut rng = StdRng::seed_from_u64(seed);
    let never_used = IpAddr::from([10, 244, 255, 254]);
    let addresses: Vec<IpAddr> = truth.addresses().chain([never_used]).collect();
    let answers = ["certain", "presumed", "ambiguous", "nobody", "unknown"].map(|word| (word, 0));
    let mut tally = Tally { answers, wrong: Vec::new(), wrongs: 0 };
    for _ in 0..MANY {
        let ip = *addresses.choose(&mut rng).unwrap_or(&never_used);
        let changes = truth.holds(ip).iter().flat_map(|hold| [Some(hold.from), hold.to]).flatten();
        let changes: Vec<Timestamp> = changes.collect();
        let at = match changes.choose(&mut rng).filter(|_| rng.random_bool(0.4)) {
            Some(change) => change.as_nanosecond() + rng.random_range(-NEAR..=NEAR),
            None => rng.random_range(from.as_nanosecond()..=to.as_nanosecond()),
        };
        let at = Timestamp::from_nanosecond(at.clamp(from.as_nanosecond(), to.as_nanosecond()));
        let reply = store.owner(podtrail_event::DEFAULT_NETWORK, ip, at)?;
        let word = reply.answer.as_str();
        tally.answers.iter_mut().filter(|(known, _)| *known == word).for_each(|(_, count)| *count += 1);
        let owner = truth.owner(ip, at);
        if !is_right(&reply.answer, owner) {
            tally.wrongs += 1;
            if tally.wrong.len() < LISTED {
                let truth = owner.map_or_else(|| "nobody".to_owned(), |owner| owner.to_string());
                tally.wrong.push(format!("{ip} at {at}: in truth {truth}, but {:?}", reply.answer));
            }
        }
    }
    Ok(tally)
}
