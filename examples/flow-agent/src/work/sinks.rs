//! The outboxes: from the store to where lines are wanted.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use podtrail_daemon::{Condition, Failure, Health};
use podtrail_writer::{Feed, FileHandle, OutboxConfig, Spec, Spool, Writer, run};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::metrics::Metrics;

/// A sink that gave up is opened anew after so long.
const PAUSE: Duration = Duration::from_secs(10);
/// What may be delivered after the end of counting, at most.
const DRAIN: Duration = Duration::from_secs(8);

/// Sinks that were left out of the command line would keep the store from getting empty.
pub(crate) fn forget_others(spool: &Spool, specs: &[Spec]) -> anyhow::Result<()> {
    for (name, position) in spool.sinks().context("cannot read the state")? {
        if specs.iter().all(|spec| spec.sink_name() != name) {
            spool.forget_sink(&name).context("cannot change the state")?;
            tracing::warn!(
                sink = name,
                position = position.seq,
                "a writer of earlier is not given any more: it gets nothing more"
            );
        }
    }
    Ok(())
}

/// All of them.
pub(crate) struct Sinks {
    sinks: Vec<Sink>,
    running: JoinSet<()>,
}

struct Sink {
    spool: Spool,
    spec: Spec,
    first: (Feed, Opened),
    metrics: Arc<Metrics>,
    is_well: Condition,
}

type Opened = (Box<dyn Writer>, Option<FileHandle>);

impl Sinks {
    pub(crate) fn open(
        spool: &Spool,
        specs: Vec<Spec>,
        metrics: &Arc<Metrics>,
        health: &Health,
    ) -> Result<Self, Failure> {
        let mut sinks = Vec::new();
        for spec in specs {
            let opened = spec.open().map_err(Failure::unavailable)?;
            let feed = spool.feed(&spec.sink_name(), spec.from).context("cannot change the state")?;
            let is_well = health.condition(spec.sink_name(), "it was not opened yet");
            is_well.set_ready();
            let (spool, metrics) = (spool.clone(), metrics.clone());
            sinks.push(Sink { spool, spec, first: (feed, opened), metrics, is_well });
        }
        Ok(Self { sinks, running: JoinSet::new() })
    }

    /// Delivers until `stop`, and then what is left. Files are opened anew at each change of `reopen`.
    pub(crate) fn start(&mut self, stop: &watch::Receiver<bool>, reopen: &watch::Receiver<()>) {
        for sink in self.sinks.drain(..) {
            self.running.spawn(sink.deliver(stop.clone(), reopen.clone()));
        }
    }

    pub(crate) async fn finish(mut self) {
        while let Some(ended) = self.running.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "an outbox ended");
            }
        }
    }
}

impl Sink {
    /// A sink that gives up does not keep others from being served, nor the kernel from being read.
    async fn deliver(self, stop: watch::Receiver<bool>, mut reopen: watch::Receiver<()>) {
        let Self { spool, spec, first: (mut feed, (mut writer, mut file)), metrics, is_well } = self;
        let name = spec.sink_name();
        let mut config = OutboxConfig::default();
        config.max_rows = 2000;
        config.drain = DRAIN;
        loop {
            let observer = metrics.outbox(&name);
            let mut running = pin!(run(feed, writer, config.clone(), &observer, done(stop.clone())));
            let ended = loop {
                tokio::select! {
                    ended = &mut running => break ended,
                    Ok(()) = reopen.changed() => {
                        if let Some(file) = &file {
                            tracing::info!(sink = name, "opening the file anew");
                            file.reopen();
                        }
                    }
                }
            };
            let Err(error) = ended else { return };
            tracing::error!(
                sink = name,
                error = &error as &dyn std::error::Error,
                "the writer gave up; it is tried again later"
            );
            is_well.set_not_ready("the writer gave up");
            (feed, (writer, file)) = loop {
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = done(stop.clone()) => return,
                }
                match (spool.feed(&name, spec.from), spec.open()) {
                    (Ok(feed), Ok(opened)) => break (feed, opened),
                    (Err(error), _) => {
                        tracing::error!(sink = name, error = &error as &dyn std::error::Error, "cannot read the state")
                    }
                    (_, Err(error)) => {
                        tracing::error!(sink = name, error = &error as &dyn std::error::Error, "cannot open the writer")
                    }
                }
            };
            is_well.set_ready();
        }
    }
}

/// Resolves when the flag is set, or when nobody is left to set it.
async fn done(mut flag: watch::Receiver<bool>) {
    drop(flag.wait_for(|set| *set).await);
}
