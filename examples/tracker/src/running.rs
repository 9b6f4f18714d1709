//! A tracker at work: the parts that `run` and `demo` share, on their thread and tasks.

use std::future::{Future, pending};

use anyhow::{Context as _, bail};
use podtrail_track::{Sink, Tracking};
use podtrail_writer::{OutboxConfig, Writer};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A sink, and where it goes.
pub(crate) struct Destination {
    pub(crate) sink: Sink,
    pub(crate) writer: Box<dyn Writer>,
}

/// The commit loop on a thread of its own, the watch as a task, and a task for each sink's outbox.
pub(crate) struct Running {
    tracking: Tracking,
    committing: JoinHandle<Result<(), podtrail_track::Error>>,
    watching: JoinHandle<()>,
    outboxes: JoinSet<anyhow::Result<()>>,
}

impl Running {
    /// Starts all parts. `beat` is called whenever the commit loop has gone round.
    pub(crate) fn start(
        mut tracking: Tracking,
        client: kube::Client,
        destinations: Vec<Destination>,
        beat: impl FnMut() + Send + 'static,
    ) -> anyhow::Result<Self> {
        let committer = tracking.committer().context("the commit loop was taken")?;
        let committing = tokio::task::spawn_blocking(move || committer.run(beat));
        let watching = tokio::spawn(tracking.watch(client, pending()));
        let mut outboxes = JoinSet::new();
        for Destination { sink, writer } in destinations {
            let name = sink.name.clone();
            let outbox = tracking.outbox(sink, writer, OutboxConfig::default())?;
            outboxes.spawn(async move { outbox.await.with_context(|| format!("cannot go on writing to {name}")) });
        }
        Ok(Self { tracking, committing, watching, outboxes })
    }

    /// Runs until `stop`, or until a part of it cannot go on; what was seen by then is committed and delivered.
    pub(crate) async fn until(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let failed = tokio::select! {
            () = stop => None,
            committed = &mut self.committing => {
                committed.context("the commit loop ended")??;
                bail!("the commit loop ended");
            }
            Some(outbox) = self.outboxes.join_next() => outbox.context("an outbox ended")?.err(),
        };
        self.tracking.stop().await;
        let mut result = failed.map_or(Ok(()), Err);
        while let Some(outbox) = self.outboxes.join_next().await {
            if let Err(e) = outbox.context("an outbox ended")? {
                result = Err(e);
            }
        }
        self.watching.await.context("the watch ended")?;
        self.committing.await.context("the commit loop ended")??;
        result
    }
}

/// Resolves when the flag is set, or when nobody is left to set it.
pub(crate) async fn done(mut flag: watch::Receiver<bool>) {
    drop(flag.wait_for(|set| *set).await);
}
