//! What to send next, and what to do about answers, lost connections and the time: no clock and no connection in here.

use std::collections::VecDeque;
use std::time::Duration;

use super::header::Ending;
use crate::link::CHUNK;

/// The first wait before connecting again; it doubles up to the longest.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// So many connections fail before the stream is given up, however late it is: nobody may have looked for long.
const FEWEST_FAILURES: u32 = 3;

/// What the core is held to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The most unacknowledged bytes.
    pub(super) buffer: usize,
    /// How long a connection may say nothing that is waited for.
    pub(super) answer: Duration,
    /// How long nothing may be acknowledged, over all connections.
    pub(super) patience: Duration,
    /// Spreads the reconnects of many clients.
    pub(super) salt: [u8; 16],
}

/// One message to send, but for its encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Chunk { offset: u64, data: Vec<u8> },
    End { length: u64, ending: Ending },
}

/// What is to be done at a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Dial,
    HangUp,
    GiveUp,
}

/// Why a server's word cannot be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("the server went back to byte {0}, and has acknowledged more: it has lost a part")]
    Back(u64),
    #[error("the server acknowledges byte {0}, which was not sent yet: another run has the same id")]
    Ahead(u64),
    #[error("the server says that the run has ended, and it has not")]
    Ended,
}

/// Times are since the stream was made.
#[derive(Debug)]
pub(super) struct Core {
    limits: Limits,
    phase: Phase,
    /// What is after `acknowledged`.
    waiting: VecDeque<u8>,
    acknowledged: u64,
    /// How far the output was sent over this connection, and over any.
    sent: u64,
    furthest: u64,
    ending: Option<Ending>,
    end_sent: bool,
    ended: bool,
    greeted: bool,
    /// Connections that failed since the last progress.
    failures: u32,
    /// Since when progress is waited for.
    since: Duration,
    /// When this connection last said something, or was first asked to.
    heard: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Down {
        until: Duration,
    },
    Dialling,
    /// The header is sent, its answer is not there.
    Greeting,
    Streaming,
}

impl Core {
    pub(super) const fn new(limits: Limits) -> Self {
        Self {
            limits,
            phase: Phase::Down { until: Duration::ZERO },
            waiting: VecDeque::new(),
            acknowledged: 0,
            sent: 0,
            furthest: 0,
            ending: None,
            end_sent: false,
            ended: false,
            greeted: false,
            failures: 0,
            since: Duration::ZERO,
            heard: Duration::ZERO,
        }
    }

    pub(super) const fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Whether a server has ever answered the header.
    pub(super) const fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// Whether the end, and so everything, is acknowledged.
    pub(super) const fn is_ended(&self) -> bool {
        self.ended
    }

    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    /// How much of the output was taken so far.
    pub(super) fn length(&self) -> u64 {
        self.acknowledged + self.waiting.len() as u64
    }

    /// Whether anything waits to be acknowledged.
    fn is_waiting(&self) -> bool {
        !self.greeted || !self.waiting.is_empty() || (self.ending.is_some() && !self.ended)
    }

    /// Whether this connection owes an answer.
    fn is_owed(&self) -> bool {
        match self.phase {
            Phase::Down { .. } | Phase::Dialling => false,
            Phase::Greeting => true,
            Phase::Streaming => self.sent > self.acknowledged || (self.end_sent && !self.ended),
        }
    }

    /// Takes as much of the output as there is room for, and says how much.
    pub(super) fn push(&mut self, bytes: &[u8], now: Duration) -> usize {
        if !self.is_waiting() {
            self.since = now;
        }
        let taken = bytes.len().min(self.limits.buffer - self.waiting.len());
        self.waiting.extend(&bytes[..taken]);
        taken
    }

    /// The output is complete.
    pub(super) fn end(&mut self, ending: Ending, now: Duration) {
        if !self.is_waiting() {
            self.since = now;
        }
        self.ending = Some(ending);
    }

    pub(super) fn has_frame(&self) -> bool {
        self.phase == Phase::Streaming
            && (self.sent < self.length() || (self.ending.is_some() && !self.end_sent && !self.ended))
    }

    /// What to send next over this connection.
    pub(super) fn frame(&mut self, now: Duration) -> Option<Frame> {
        if !self.has_frame() {
            return None;
        }
        if !self.is_owed() {
            self.heard = now;
        }
        let offset = self.sent;
        if offset == self.length() {
            self.end_sent = true;
            return self.ending.map(|ending| Frame::End { length: offset, ending });
        }
        // At most the buffer's length, which is a usize.
        let from = (offset - self.acknowledged) as usize;
        let to = self.waiting.len().min(from + CHUNK);
        let data = self.waiting.range(from..to).copied().collect::<Vec<_>>();
        self.sent += data.len() as u64;
        self.furthest = self.furthest.max(self.sent);
        Some(Frame::Chunk { offset, data })
    }

    /// A connection is there, and the header is on its way.
    pub(super) const fn opened(&mut self, now: Duration) {
        self.phase = Phase::Greeting;
        self.heard = now;
    }

    /// The server has everything before `offset`, and the end too if `ended`.
    pub(super) fn acknowledge(&mut self, offset: u64, ended: bool, now: Duration) -> Result<(), Broken> {
        let most = if self.phase == Phase::Greeting { self.furthest } else { self.sent };
        if offset < self.acknowledged {
            return Err(Broken::Back(offset));
        }
        if offset > most {
            return Err(Broken::Ahead(offset));
        }
        if ended && (self.ending.is_none() || offset != self.length()) {
            return Err(Broken::Ended);
        }
        if offset > self.acknowledged || ended || !self.greeted {
            self.failures = 0;
            self.since = now;
        }
        // What was said before is no answer to what is owed.
        let heard = if offset > self.acknowledged || ended || self.phase == Phase::Greeting { now } else { self.heard };
        self.waiting.drain(..(offset - self.acknowledged) as usize);
        self.acknowledged = offset;
        self.ended = ended;
        self.heard = heard;
        if self.phase == Phase::Greeting {
            self.phase = Phase::Streaming;
            self.sent = offset;
            self.end_sent = false;
            self.greeted = true;
        }
        Ok(())
    }

    /// The connection is gone, or could not be made.
    pub(super) fn lost(&mut self, now: Duration) {
        self.failures += 1;
        let backoff = FIRST_BACKOFF.saturating_mul(1 << self.failures.min(8) >> 1).min(LONGEST_BACKOFF);
        // Between a half and the whole.
        let spread = 256 + u32::from(self.limits.salt[self.failures as usize % self.limits.salt.len()]);
        self.phase = Phase::Down { until: now + backoff * spread / 512 };
    }

    /// When to ask what is [`due`](Self::due), if nothing happens before.
    pub(super) fn deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Down { until } => self.is_waiting().then_some(until),
            Phase::Dialling => None,
            Phase::Greeting | Phase::Streaming => self.is_owed().then(|| self.heard + self.limits.answer),
        }
    }

    /// What is to be done now.
    pub(super) fn due(&mut self, now: Duration) -> Due {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Due::Nothing;
        }
        if !matches!(self.phase, Phase::Down { .. }) {
            self.lost(now);
            return Due::HangUp;
        }
        if self.failures >= FEWEST_FAILURES && now >= self.since + self.limits.patience {
            return Due::GiveUp;
        }
        self.phase = Phase::Dialling;
        Due::Dial
    }
}
