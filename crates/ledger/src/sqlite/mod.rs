//! The durable store: one SQLite file.

mod chain;
mod change;
mod file;
mod header;
mod lock;
mod observation;
mod query;
mod retention;
mod rows;
mod schema;
mod sinks;
mod store;
mod timeline;

pub use chain::Verified;
pub use change::{Change, NodeRow, PodRow};
pub use header::Header;
pub use observation::{ClaimRow, Happened, Observation, Quarantined, Source};
pub use query::{Filter, Held, OwnerReply, Span, StoredObservation};
pub use retention::{Pruned, Retention};
pub use sinks::{DeadLetter, SinkPosition};
pub use store::{Live, Store, Watched};
pub use timeline::Timeline;
