//! `receive`: what `run` sends, into files.

use anyhow::Context as _;
use podtrail_daemon::Failure;
use podtrail_wire::{Receiver, ReceiverLimits};

use crate::args::ReceiveArgs;

pub(crate) fn receive(args: &ReceiveArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        let receiver = Receiver::new(&args.folder, ReceiverLimits::default()).map_err(Failure::unavailable)?;
        let listener = tokio::net::TcpListener::bind(args.listen)
            .await
            .with_context(|| format!("cannot listen at {}", args.listen))
            .map_err(Failure::unavailable)?;
        let address = listener.local_addr().context("cannot tell where it listens")?;
        tracing::info!(%address, folder = %args.folder.display(), "listening, without encryption");
        let shutdown = podtrail_daemon::shutdown_signal().map_err(anyhow::Error::new)?;
        receiver.serve(listener, shutdown).await.map_err(Failure::unavailable)
    })
}
