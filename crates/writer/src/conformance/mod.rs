//! What every [`Writer`] must do, as a suite that runs against a real backend.
//!
//! Implement [`Harness`] for the backend and call [`run`] from a test; it panics with the name of the check that
//! failed. Each check gets a harness of its own from `make`, with nothing delivered yet.

mod checks;
mod memory;

use async_trait::async_trait;
use bytes::Bytes;

use crate::Writer;
pub use memory::MemorySource;

/// A backend under test.
#[async_trait]
pub trait Harness: Send {
    /// The writer under test.
    type Writer: Writer;

    /// How often a line may be there after redelivery.
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    /// Opens the writer as a new process would; the one before is gone.
    async fn open(&mut self) -> Self::Writer;

    /// Every line that was delivered so far, in order.
    async fn delivered(&mut self) -> Vec<Bytes>;

    /// Removes the last `bytes` bytes that were delivered, as a crash within a batch would have left it. `false` if
    /// the backend cannot hold a part of a batch.
    async fn tear(&mut self, bytes: usize) -> bool {
        let _ = bytes;
        false
    }

    /// Makes the backend fail, or work again. `false` if the harness cannot.
    async fn outage(&mut self, broken: bool) -> bool {
        let _ = broken;
        false
    }
}

/// How often a line may be there after redelivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "harnesses choose, and there is no third")]
pub enum Guarantee {
    /// Once, whatever is delivered again.
    ExactlyOnce,
    /// At least once; the first occurrences are in order.
    AtLeastOnce,
}

/// Runs every check against a harness of its own.
///
/// # Panics
/// If the writer breaks the contract.
pub async fn run<H, F, Fut>(make: F)
where
    H: Harness,
    F: Fn() -> Fut,
    Fut: Future<Output = H>,
{
    checks::many_batches_arrive_in_order(make().await).await;
    checks::an_empty_batch_changes_nothing(make().await).await;
    checks::lines_arrive_unchanged(make().await).await;
    checks::a_restart_goes_on(make().await).await;
    checks::a_batch_delivered_again_is_there_once(make().await).await;
    checks::a_batch_delivered_again_after_a_restart_is_there_once(make().await).await;
    checks::a_torn_batch_is_completed(&make).await;
    checks::an_outage_is_a_retry_and_loses_nothing(make().await).await;
}
