//! One network namespace at work.

use std::collections::{HashSet, VecDeque};
use std::os::fd::OwnedFd;
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use podtrail_conntrack::wire::Kind;
use podtrail_conntrack::{Chunk, Events, Journal, Table};
use podtrail_daemon::{Failure, Parcel};
use podtrail_event::Timestamp;
use podtrail_flow::{Account, Gap, GapReason, Key, Origin, Output, Slot};
use podtrail_netns::Netns;
use podtrail_writer::{Change, Item, Spool, StateChange};

use super::state::{self, SiteState};
use crate::convert;
use crate::hold::now;
use crate::metrics::{Metrics, SiteMetrics};
use crate::orders::{self, Mode};

/// So much may wait in the journal; the rest waits in the socket, and it is the watchdog's business what comes of that.
const JOURNAL: u64 = 16 << 20;
/// Ends of connections that a slot of the store holds at most.
const KEYS: usize = 4096;

pub(crate) struct Site {
    lent: orders::Site,
    cookie: u64,
    /// Its number in the store.
    number: u32,
    events: Events,
    /// Of another process, until it is known from where to go on.
    lent_journal: Option<OwnedFd>,
    journal: Journal,
    chunk: Chunk,
    pub(crate) account: Account,
    pub(crate) mode: Mode,
    pub(crate) out: Output,
    state: SiteState,
    /// Slots with ended connections, and during which snapshot they ended.
    closed: VecDeque<(u64, u32)>,
    next_closed: u32,
    /// Complete snapshots so far.
    snapshots: u64,
    /// The socket's drops when they were looked at last.
    drops: u32,
    /// In reliable mode: some deliveries failed, and it is not known yet that all were made since.
    is_owed: bool,
    /// Ends were lost that the socket did not count.
    is_uncounted: bool,
    /// Nothing waited in the socket at this time.
    empty: Option<Timestamp>,
    pub(crate) next_dump: Instant,
    pub(crate) metrics: SiteMetrics,
}

impl Site {
    /// Takes over what the holder lends.
    pub(crate) fn take_over(
        lent: orders::Site,
        parcel: Parcel,
        node: String,
        limit: usize,
        metrics: &Metrics,
    ) -> Result<(Self, Table), Failure> {
        let descriptors: [OwnedFd; 3] = parcel
            .descriptors
            .try_into()
            .map_err(|_other| anyhow!("the holder lent other descriptors than it said"))?;
        let [netns, events, journal] = descriptors;
        let netns = Netns::adopt(netns).context("the holder lent no namespace")?;
        let events = Events::adopt(events).context("the holder lent no socket")?;
        let table = Table::open_in(&netns).map_err(Failure::unavailable)?;
        // Before Linux 5.14 there are no cookies: an inode is not used again while the holder has the namespace open.
        let cookie = events.netns_cookie().unwrap_or_else(|_too_old| netns.inode());
        let boot =
            std::fs::read_to_string("/proc/sys/kernel/random/boot_id").context("cannot read the id of the boot")?;
        let boot = boot.trim_end().to_owned();
        let origin = Origin { node, boot: boot.clone(), inode: netns.inode(), cookie };
        let state = SiteState {
            boot,
            cookie,
            inode: netns.inode(),
            path: lent.path.clone(),
            holder: lent.holder.clone(),
            journal: 0,
            observed: lent.since,
            lost: 0,
            unsure: 0,
            reads: [None; 4],
            generation: 0,
            is_stopped: false,
        };
        let site = Self {
            cookie,
            number: 0,
            drops: events.queue().context("cannot look into the socket")?.drops,
            events,
            lent_journal: Some(journal),
            journal: Journal::create().map_err(Failure::unavailable)?,
            chunk: Chunk::default(),
            account: Account::new(origin, limit),
            mode: lent.mode,
            out: Output::default(),
            state,
            closed: VecDeque::new(),
            next_closed: 0,
            snapshots: 0,
            // What a worker before this one saw is not known.
            is_owed: lent.heard.is_some(),
            is_uncounted: false,
            empty: None,
            next_dump: Instant::now(),
            metrics: metrics.site(&lent.path),
            lent,
        };
        Ok((site, table))
    }

    /// Takes up what is in the store: of this namespace, and of those that are no more. `cookies` are those of all namespaces,
    /// `taken` the numbers that some have, and `beat` is called now and then.
    pub(crate) fn resume(
        &mut self,
        spool: &Spool,
        cookies: &[u64],
        taken: &mut Vec<u32>,
        mut beat: impl FnMut(),
    ) -> anyhow::Result<()> {
        let stored = state::sites(spool)?;
        let is_this = |s: &SiteState| s.boot == self.state.boot && s.cookie == self.cookie;
        let known = stored.iter().find(|(_, state)| is_this(state)).cloned();
        let number = known.as_ref().map(|(number, _)| *number);
        let is_free = |n: &u32| !taken.contains(n) && stored.iter().all(|(used, _)| used != n);
        self.number = number.or_else(|| (0..).find(is_free)).context("there are too many namespaces in the state")?;
        taken.push(self.number);
        for (number, state) in &stored {
            // One that is listened to by another name now is not gone.
            let is_alive = state.boot == self.state.boot && cookies.contains(&state.cookie);
            if !is_alive && (state.boot != self.state.boot || state.path == self.state.path) {
                self.bury(spool, *number, state, &mut beat)?;
            }
        }
        if let Some((_, state)) = known {
            self.restore(spool, state, &mut beat)?;
        }
        let lent = self.lent_journal.take().context("a namespace is resumed once")?;
        let journal = Journal::adopt(lent, self.state.journal);
        self.journal = journal.context("cannot go on with the events that were taken")?;
        Ok(())
    }

    /// Takes over from a worker that kept in its memory what it counted, if there was one.
    pub(crate) fn begin_anew(&mut self) -> anyhow::Result<()> {
        let lent = self.lent_journal.take().context("a namespace is resumed once")?;
        if self.lent.heard.is_none() {
            self.journal = Journal::adopt(lent, 0).context("cannot use the journal of events")?;
            return Ok(());
        }
        self.journal = Journal::adopt_at_end(lent).context("cannot use the journal of events")?;
        self.state.journal = self.journal.end();
        (self.state.lost, self.state.unsure) = (self.mode.lost(self.drops), self.mode.unsure);
        // Nobody knows what was delivered.
        let from = Timestamp::from_nanosecond(self.lent.since);
        let gap = Gap { from, to: now(), reason: GapReason::Forgotten, lost: None };
        self.account.take_as_counted(gap.to);
        self.declare(gap);
        Ok(())
    }

    fn restore(&mut self, spool: &Spool, stored: SiteState, beat: &mut impl FnMut()) -> anyhow::Result<()> {
        let (mut count, mut damaged) = (0_u64, 0_u64);
        spool.state(state::connections(self.number), |slot, bytes| {
            damaged += u64::from(!self.account.restore(Slot(slot), bytes));
            count += 1;
            if count.is_multiple_of(4096) {
                beat();
            }
        })?;
        spool.state(state::closed(self.number), |slot, bytes| {
            state::keys_from_bytes(bytes).for_each(|key| self.account.restore_closed(key));
            self.closed.push_back((0, slot));
            self.next_closed = slot.wrapping_add(1);
        })?;
        if damaged > 0 {
            tracing::error!(
                netns = self.lent.path,
                damaged,
                "saved connections cannot be read, or there is no room for them"
            );
        }
        self.account.restore_progress(stored.reads.map(|read| read.map(Timestamp::from_nanosecond)), stored.generation);
        if stored.holder == self.state.holder {
            self.state = SiteState { path: self.state.path.clone(), ..stored };
            return Ok(());
        }
        let reason = if stored.is_stopped { GapReason::Stopped } else { GapReason::Crashed };
        let from = Timestamp::from_nanosecond(stored.observed);
        self.declare(Gap { from, to: Timestamp::from_nanosecond(self.lent.since), reason, lost: None });
        Ok(())
    }

    /// Closes what was counted in a namespace that is no more.
    fn bury(&self, spool: &Spool, number: u32, dead: &SiteState, beat: &mut impl FnMut()) -> anyhow::Result<()> {
        let Origin { node, .. } = self.account.origin().clone();
        let origin = Origin { node, boot: dead.boot.clone(), inode: dead.inode, cookie: dead.cookie };
        let mut account = Account::new(origin, 0);
        account.restore_progress(dead.reads.map(|read| read.map(Timestamp::from_nanosecond)), 0);
        let to = Timestamp::from_nanosecond(self.lent.since);
        let (mut rows, mut out, mut change) = (Vec::new(), Output::default(), Change::default());
        spool.state(state::connections(number), |slot, bytes| rows.push((slot, bytes.to_vec())))?;
        for rows in rows.chunks(1000) {
            rows.iter().for_each(|(slot, bytes)| account.abandon(Slot(*slot), bytes, to, &mut out));
            fill(&mut change, number, &mut out);
            write_patiently(spool, &change, beat)?;
            change.clear();
            beat();
        }
        let mut slots = vec![(state::SITES, number)];
        spool.state(state::closed(number), |slot, _| slots.push((state::closed(number), slot)))?;
        let reason = if dead.boot == self.state.boot { GapReason::Replaced } else { GapReason::Rebooted };
        account.declare(Gap { from: Timestamp::from_nanosecond(dead.observed), to, reason, lost: None }, &mut out);
        fill(&mut change, number, &mut out);
        change.state.extend(slots.into_iter().map(|(space, slot)| StateChange { space, slot, value: None }));
        write_patiently(spool, &change, beat)
    }

    fn declare(&mut self, gap: Gap) {
        tracing::warn!(netns = self.lent.path, from = %gap.from, to = %gap.to, reason = gap.reason.as_str(), lost = gap.lost, "gap");
        self.metrics.gap(gap.reason);
        self.account.declare(gap, &mut self.out);
    }

    /// Takes what waits in the socket.
    pub(crate) fn take_events(&mut self) -> anyhow::Result<()> {
        let before = now();
        let filled = self.journal.fill(&mut self.events, JOURNAL)?;
        if filled.is_empty {
            self.empty = Some(before);
        }
        self.is_uncounted |= filled.is_uncounted && !self.mode.is_reliable;
        self.metrics.events(filled.events);
        self.metrics.ignored(self.events.foreign(), self.journal.malformed());
        Ok(())
    }

    /// What of the journal is not counted yet, in bytes.
    pub(crate) fn backlog(&self) -> u64 {
        self.journal.end() - self.state.journal
    }

    /// Counts some of what is in the journal: so many bytes of it.
    pub(crate) fn count_events(&mut self) -> anyhow::Result<u64> {
        anyhow::ensure!(
            self.journal.read(self.state.journal, &mut self.chunk)?,
            "the journal of events has no whole event"
        );
        let at = now();
        for message in self.chunk.messages() {
            let connection = message.and_then(|message| match message.kind() {
                Kind::Destroyed => message.connection().map(Some),
                _ => Ok(None),
            });
            match connection {
                Ok(Some(connection)) => {
                    self.account.close(&convert::connection(self.cookie, &connection), at, &mut self.out);
                }
                Ok(None) => {}
                Err(error) => self.metrics.malformed(&error),
            }
        }
        let counted = self.chunk.end() - self.state.journal;
        self.state.journal = self.chunk.end();
        Ok(counted)
    }

    /// Whether the kernel has yet to tell of ends that it could not tell of.
    pub(crate) fn is_owed(&mut self) -> anyhow::Result<bool> {
        let drops = self.events.queue()?.drops;
        self.is_owed |= self.mode.is_reliable && drops != self.drops;
        Ok(self.is_owed)
    }

    /// What of the socket's drops is lost becomes a gap, and it becomes known up to when all is counted. `dying` says how many
    /// connections the kernel keeps until it can tell of their ends.
    pub(crate) fn settle(&mut self, dying: Option<usize>) -> anyhow::Result<()> {
        let queue = self.events.queue()?;
        self.metrics.queue(queue, self.mode);
        let (lost, unsure) = (self.mode.lost(queue.drops), self.mode.unsure);
        let is_quiet = queue.drops == std::mem::replace(&mut self.drops, queue.drops);
        self.is_owed |= self.mode.is_reliable && !is_quiet;
        let is_uncounted = std::mem::take(&mut self.is_uncounted);
        if is_uncounted || (lost, unsure) != (self.state.lost, self.state.unsure) {
            let missing = lost.saturating_sub(self.state.lost);
            let from = Timestamp::from_nanosecond(self.state.observed);
            // When there was trouble at the change of modes, nobody can tell whether one more was lost.
            let lost_exactly = (!is_uncounted && unsure == self.state.unsure).then_some(missing);
            if missing > 0 || lost_exactly.is_none() {
                self.metrics.lost(missing);
                self.declare(Gap { from, to: now(), reason: GapReason::Lost, lost: lost_exactly });
            }
            (self.state.lost, self.state.unsure) = (lost, unsure);
        }
        if self.is_owed {
            self.is_owed = !is_quiet || dying != Some(0);
            self.empty = None;
        } else if let Some(empty) = self.empty.take().filter(|_| self.backlog() == 0) {
            // Between a connection's stamp and its event there are some microseconds.
            self.state.observed = empty.saturating_sub(std::time::Duration::from_millis(10)).as_nanosecond();
        }
        Ok(())
    }

    /// Those that ended and whose ends are not counted yet; `None` if more ends wait in the socket.
    pub(crate) fn ends_waiting(&mut self) -> anyhow::Result<Option<HashSet<Key>>> {
        self.take_events()?;
        if self.empty.is_none() {
            return Ok(None);
        }
        let (mut keys, mut at) = (HashSet::new(), self.state.journal);
        while self.journal.read(at, &mut self.chunk)? {
            let ends = self.chunk.messages().flatten().filter(|message| message.kind() == Kind::Destroyed);
            let ended = ends.filter_map(|message| message.connection().ok());
            keys.extend(ended.map(|connection| convert::connection(self.cookie, &connection).identity.key()));
            at = self.chunk.end();
        }
        Ok(Some(keys))
    }

    /// What is to be stored now, as one change.
    pub(crate) fn change(&mut self, change: &mut Change) {
        self.account.settle(now(), &mut self.out);
        for keys in self.out.closed.chunks(KEYS) {
            let slot = self.next_closed;
            self.next_closed = slot.wrapping_add(1);
            self.closed.push_back((self.snapshots, slot));
            let value = Some(state::keys_to_bytes(keys));
            change.state.push(StateChange { space: state::closed(self.number), slot, value });
        }
        fill(change, self.number, &mut self.out);
        // They are remembered until two complete snapshots after their end.
        while let Some((_, slot)) = self.closed.front().copied().filter(|(when, _)| when + 2 < self.snapshots) {
            self.closed.pop_front();
            change.state.push(StateChange { space: state::closed(self.number), slot, value: None });
        }
        self.state.reads = self.account.reads().map(|read| read.map(Timestamp::as_nanosecond));
        self.state.generation = self.account.next_generation();
        let value = serde_json::to_vec(&self.state).expect("numbers and text have a JSON form");
        change.state.push(StateChange { space: state::SITES, slot: self.number, value: Some(value) });
    }

    /// What was stored need not be kept elsewhere.
    pub(crate) fn stored(&mut self) -> anyhow::Result<()> {
        Ok(self.journal.release(self.state.journal)?)
    }

    /// The last snapshot has ended: those that have not been seen in two are gone.
    pub(crate) fn end_snapshot(&mut self, is_complete: bool) -> Vec<podtrail_flow::Incarnation> {
        self.snapshots += u64::from(is_complete);
        self.account.end(is_complete)
    }

    pub(crate) fn saved(&self, spool: &Spool, slot: Slot) -> Result<Option<Vec<u8>>, podtrail_writer::SpoolError> {
        spool.get(state::connections(self.number), slot.0)
    }

    pub(crate) const fn cookie(&self) -> u64 {
        self.cookie
    }

    pub(crate) fn path(&self) -> &str {
        &self.lent.path
    }

    /// From here on nobody listens.
    pub(crate) const fn stop(&mut self) {
        self.state.is_stopped = true;
    }

    pub(crate) const fn index(&self) -> usize {
        self.lent.index
    }
}

/// Waits while there is no room.
fn write_patiently(spool: &Spool, change: &Change, beat: &mut impl FnMut()) -> anyhow::Result<()> {
    loop {
        match spool.write(change) {
            Ok(_) => return Ok(()),
            Err(error) if !error.is_retryable() => return Err(error).context("cannot store what was counted"),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "there is no room to close what is no more");
                std::thread::sleep(std::time::Duration::from_secs(1));
            }
        }
        beat();
    }
}

/// Moves output into a change.
fn fill(change: &mut Change, number: u32, out: &mut Output) {
    change.records.extend(out.records.drain(..).map(|record| Item { id: record.id, line: record.line.into() }));
    let space = state::connections(number);
    change.state.extend(out.slots.drain(..).map(|(slot, value)| StateChange { space, slot: slot.0, value }));
    out.closed.clear();
}
