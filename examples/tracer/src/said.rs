//! What a comment says of who held an address: written, and recognised.

use std::fmt::Write as _;
use std::net::IpAddr;

use podtrail_event::{Claim, Subject};
use podtrail_ledger::{Answer, Uncovered};
use podtrail_netns::capture::Comments;

/// What our comments begin with. Together with the words behind it nobody else's is taken for ours.
const OURS: &str = "podtrail: ";
const LAST: (&str, &str) = ("was last ", " (this late, nothing is recorded yet)");
const NOT_KNOWN: &str = "is not known: nobody watched";

/// A comment of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    ip: IpAddr,
    weight: Weight,
    pub(crate) text: String,
}

/// How much an answer is worth, beside another one about the same packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// It names nobody, and nothing is certain.
    None,
    /// The packet was newer than what was recorded.
    Late,
    /// What was recorded leaves a doubt.
    Doubtful,
    Certain,
}

impl Said {
    /// An answer in a line: what is not certain says so.
    pub(crate) fn new(ip: IpAddr, answer: &Answer<&Claim>) -> Self {
        let mut text = format!("{OURS}{ip} ");
        let any = |claims: &[&Claim]| claims.iter().map(|claim| holder(claim)).collect::<Vec<_>>().join(" or ");
        let (before, behind) = LAST;
        let (weight, said) = match answer {
            Answer::Certain(claim) => (Weight::Certain, write!(text, "is {}", holder(claim))),
            Answer::Presumed(claim) => (Weight::Doubtful, write!(text, "is presumably {}", holder(claim))),
            Answer::Ambiguous(claims) => (Weight::Doubtful, write!(text, "is {} or nobody", any(claims))),
            Answer::Nobody => (Weight::Certain, write!(text, "is nobody's")),
            Answer::Unknown(_, claims) if claims.is_empty() => (Weight::None, write!(text, "{NOT_KNOWN}")),
            Answer::Unknown(Uncovered::NotYet, claims) => {
                (Weight::Late, write!(text, "{before}{}{behind}", any(claims)))
            }
            Answer::Unknown(_, claims) => (Weight::Doubtful, write!(text, "{NOT_KNOWN}; it may be {}", any(claims))),
        };
        said.expect("a String takes all that is written");
        Self { ip, weight, text }
    }

    /// Reads what [`new`](Self::new) writes, and nothing else: a comment that somebody has changed is theirs.
    fn read(text: &str) -> Option<Self> {
        let (address, said) = text.strip_prefix(OURS)?.split_once(' ')?;
        let ip = address.parse().ok().filter(|ip: &IpAddr| ip.to_string() == address)?;
        let weight = weight(said)?;
        Some(Self { ip, weight, text: text.to_owned() })
    }

    /// Puts it in the place of what we have said of the address before, unless that is worth more.
    pub(crate) fn put(self, comments: &mut Comments<'_>) {
        let is_about = |comment: &str| Self::read(comment).filter(|other| other.ip == self.ip);
        if comments.iter().filter_map(is_about).any(|before| before.weight > self.weight) {
            return;
        }
        let mut is_there = false;
        comments.retain(|comment| match is_about(comment) {
            None => true,
            Some(before) => before == self && !std::mem::replace(&mut is_there, true),
        });
        if !is_there {
            comments.add(self.text);
        }
    }
}

fn holder(claim: &Claim) -> String {
    match claim.subject {
        Subject::Node => format!("node {}", claim.name),
        Subject::Pod if claim.node.is_empty() => format!("pod {}/{}", claim.namespace, claim.name),
        Subject::Pod => format!("pod {}/{} on {}", claim.namespace, claim.name, claim.node),
    }
}

fn weight(said: &str) -> Option<Weight> {
    let (before, behind) = LAST;
    let (weight, holders) = if said == "is nobody's" {
        return Some(Weight::Certain);
    } else if let Some(rest) = said.strip_prefix(NOT_KNOWN) {
        match rest.strip_prefix("; it may be ") {
            None => return rest.is_empty().then_some(Weight::None),
            Some(holders) => (Weight::Doubtful, holders),
        }
    } else if let Some(holders) = said.strip_prefix(before).and_then(|rest| rest.strip_suffix(behind)) {
        (Weight::Late, holders)
    } else if let Some(holder) = said.strip_prefix("is presumably ") {
        return is_holder(holder).then_some(Weight::Doubtful);
    } else if let Some(holders) = said.strip_prefix("is ").and_then(|rest| rest.strip_suffix(" or nobody")) {
        (Weight::Doubtful, holders)
    } else {
        return is_holder(said.strip_prefix("is ")?).then_some(Weight::Certain);
    };
    holders.split(" or ").all(is_holder).then_some(weight)
}

fn is_holder(text: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && !name.contains(char::is_whitespace);
    let is_title =
        |title: &str| title.split_once('/').is_some_and(|(namespace, name)| is_name(namespace) && is_name(name));
    match text.split(' ').collect::<Vec<_>>()[..] {
        ["node", name] => is_name(name),
        ["pod", title] => is_title(title),
        ["pod", title, "on", node] => is_title(title) && is_name(node),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
