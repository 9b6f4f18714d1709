//! One address, asked about often.

use std::net::IpAddr;

use podtrail_event::{Claim, Timestamp};

use super::observation::ClaimRow;
use super::query::{Names, claims_of, settle};
use super::rows::address_key;
use super::store::Store;
use crate::Error;
use crate::interval::{Coverage, Interval, Uncovered};
use crate::owner::{Answer, decide};

/// All that a ledger knew of one address at one time: answers about many instants without asking the ledger again.
#[derive(Clone, Debug)]
pub struct Timeline {
    owners: Vec<(Claim, Interval)>,
    users: Vec<Interval>,
    coverage: Coverage,
}

impl Timeline {
    /// Who held the address at `at`: what [`Store::owner`] would have answered when this was read.
    ///
    /// It looks at every claim that the address ever had: some nanoseconds for each.
    pub fn owner(&self, at: Timestamp) -> Answer<&Claim> {
        let claims = self.owners.iter().map(|(claim, interval)| (claim, *interval));
        settle_users(decide(claims, &self.coverage, at), self.users.iter().any(|interval| interval.possible_at(at)))
    }

    /// Whether no pod and no node is known ever to have held the address.
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty() && self.users.is_empty()
    }

    /// When both the pods and the nodes were watched.
    pub const fn coverage(&self) -> &Coverage {
        &self.coverage
    }
}

impl Store {
    /// All that is known of `ip` in `network`.
    ///
    /// # Errors
    /// If the ledger cannot be read.
    pub fn timeline(&self, network: &str, ip: IpAddr) -> Result<Timeline, Error> {
        let read = || {
            let snapshot = self.db.unchecked_transaction()?;
            let Rows { owners, users, coverage, .. } = Rows::of(self, network, ip)?;
            let mut names = Names(self);
            let owners =
                owners.iter().map(|row| Ok((names.claim(row)?, row.interval))).collect::<rusqlite::Result<_>>()?;
            drop(snapshot);
            Ok(Timeline { owners, users: users.iter().map(|row| row.interval).collect(), coverage })
        };
        read().map_err(|e| self.failure(e))
    }
}

/// What there is of one address.
pub(super) struct Rows {
    /// Who owned it, as exclusivity leaves them.
    pub(super) owners: Vec<ClaimRow>,
    /// Who used it with its owner.
    users: Vec<ClaimRow>,
    pub(super) coverage: Coverage,
    /// The sources of which nothing was watched.
    pub(super) unwatched: Vec<&'static str>,
}

impl Rows {
    pub(super) fn of(store: &Store, network: &str, ip: IpAddr) -> rusqlite::Result<Self> {
        let (owners, users): (Vec<_>, Vec<_>) =
            claims_of(&store.db, network, address_key(ip))?.into_iter().partition(|claim| !claim.shared);
        let (coverage, unwatched) = store.covered()?;
        Ok(Self { owners: settle(owners), users, coverage, unwatched })
    }

    /// Which of the owners.
    pub(super) fn decide(&self, at: Timestamp) -> Answer<usize> {
        let claims = self.owners.iter().map(|claim| claim.interval).enumerate();
        settle_users(decide(claims, &self.coverage, at), self.users(at).next().is_some())
    }

    pub(super) fn users(&self, at: Timestamp) -> impl Iterator<Item = &ClaimRow> {
        self.users.iter().filter(move |claim| claim.interval.possible_at(at))
    }
}

/// Who uses an address uses it with its owner: there was one.
fn settle_users<T>(answer: Answer<T>, is_used: bool) -> Answer<T> {
    match answer {
        Answer::Nobody if is_used => Answer::Unknown(Uncovered::Unseen, Vec::new()),
        answer => answer,
    }
}
