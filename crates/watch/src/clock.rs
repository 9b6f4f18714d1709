use std::time::SystemTime;

use tokio::time::Instant;

use crate::machine::Now;

/// The only place where this crate reads the time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(&self) -> Now {
        Now { wall: SystemTime::now().into(), mono: self.0.elapsed() }
    }

    /// The instant whose [`Now::mono`] this is.
    pub(crate) fn at(&self, mono: std::time::Duration) -> Instant {
        self.0 + mono
    }
}
