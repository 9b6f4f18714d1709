use podtrail_event::Timestamp;

use crate::interval::{Coverage, Interval, Uncovered};

/// Who held an address at an instant; `T` says who (a position in a slice, a claim, …).
///
/// Never a guess: what is not certain says so, and names all that it may have been.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a caller must handle each: that is the point")]
pub enum Answer<T> {
    /// This one, beyond doubt.
    Certain(T),
    /// This one: nothing contradicts it, but the last positive evidence is older than the instant.
    Presumed(T),
    /// One of these, or nobody.
    Ambiguous(Vec<T>),
    /// Nobody did.
    Nobody,
    /// Not known: the instant was not watched, or not well enough. One of these may have held it, or one that was never seen.
    Unknown(Uncovered, Vec<T>),
}

impl<T> Answer<T> {
    /// The word for it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Certain(_) => "certain",
            Self::Presumed(_) => "presumed",
            Self::Ambiguous(_) => "ambiguous",
            Self::Nobody => "nobody",
            Self::Unknown(..) => "unknown",
        }
    }

    /// Those whom it names.
    pub fn named(&self) -> &[T] {
        match self {
            Self::Certain(one) | Self::Presumed(one) => std::slice::from_ref(one),
            Self::Ambiguous(some) | Self::Unknown(_, some) => some,
            Self::Nobody => &[],
        }
    }

    /// The same answer, with each of those named put another way.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Answer<U> {
        let mut f = f;
        match self {
            Self::Certain(one) => Answer::Certain(f(one)),
            Self::Presumed(one) => Answer::Presumed(f(one)),
            Self::Ambiguous(some) => Answer::Ambiguous(some.into_iter().map(f).collect()),
            Self::Nobody => Answer::Nobody,
            Self::Unknown(why, some) => Answer::Unknown(why, some.into_iter().map(f).collect()),
        }
    }
}

/// Decides who held an address at `at`, of all who ever owned it; those who only used it with its owner are not among them.
///
/// Each is taken as its own evidence has it: [`Index`](crate::Index) and `Store` first let the claims of an address bound
/// each other. `claims` may leave out those that cannot have held it at `at`.
pub fn decide<T: Copy>(
    claims: impl IntoIterator<Item = (T, Interval)>,
    coverage: &Coverage,
    at: Timestamp,
) -> Answer<T> {
    let (mut certain, mut presumed) = (None, None);
    let (mut possible, mut rivals) = (Vec::new(), Vec::new());
    for (who, interval) in claims {
        if interval.certain_at(at) {
            rivals.extend(certain.replace(who));
        } else if interval.possible_at(at) {
            presumed = interval.presumed_at(at).then_some(who);
            // Had begun, and nothing says that it had ended, or something that it had not: beside a certain holder that is
            // a contradiction.
            let open = interval.end_latest.is_none_or(|end| at < end) || at <= interval.end_earliest;
            if interval.start_latest <= at && open { rivals.push(who) } else { possible.push(who) }
        }
    }
    if let Some(who) = certain {
        if rivals.is_empty() {
            return Answer::Certain(who);
        }
        rivals.push(who);
        return Answer::Ambiguous(rivals);
    }
    possible.append(&mut rivals);
    match (coverage.check(at), possible.len(), presumed) {
        (Err(why), _, _) => Answer::Unknown(why, possible),
        (Ok(()), 0, _) => Answer::Nobody,
        (Ok(()), 1, Some(who)) => Answer::Presumed(who),
        (Ok(()), _, _) => Answer::Ambiguous(possible),
    }
}

#[cfg(test)]
mod tests;
