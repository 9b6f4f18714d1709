//! `receive`: what `run` sends, into files.

use anyhow::Context as _;
use podtrail_daemon::Failure;
use podtrail_wire::{Receiver, ReceiverLimits};

use crate::args::ReceiveArgs;

pub(crate) fn receive(args: &ReceiveArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        let receiver = Receiver::new(&args.folder, limits(args)).map_err(Failure::unavailable)?;
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

/// Each stream needs a connection, which podtracer makes anew for each write: there are twice as many.
fn limits(args: &ReceiveArgs) -> ReceiverLimits {
    let mut limits = ReceiverLimits::default();
    limits.streams = args.max_streams.into();
    limits.peer_streams = limits.streams.div_ceil(2);
    (limits.connections, limits.peer_connections) = (limits.streams * 2, limits.streams);
    (limits.files, limits.file_bytes, limits.free_bytes) = (args.max_files, args.max_file_size, args.keep_free);
    limits
}
