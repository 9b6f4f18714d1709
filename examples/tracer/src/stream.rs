//! A tool's output on its way to a collector.

use std::time::SystemTime;

use podtrail_wire::{Destination, Ended, Ending, Error, Header, Output, OutputConfig, RunId, Snoopy, SnoopyLimits};

use crate::audit::Run;
use crate::pods::Found;
use crate::request::Tool;
use crate::tool::End;

/// One for the whole run, in order.
#[derive(Debug)]
pub(crate) enum Stream {
    Snoopy(Box<Snoopy>),
    Acknowledged(Box<Output>),
}

impl Stream {
    pub(crate) async fn snoopy(to: &Destination, pod: &str) -> Result<Self, Error> {
        Ok(Self::Snoopy(Box::new(Snoopy::connect(to, pod, SnoopyLimits::default()).await?)))
    }

    pub(crate) async fn acknowledged(to: &Destination, run: &Run, pod: &Found, tool: &Tool) -> Result<Self, Error> {
        let mut header = Header::new(RunId::new(*run.run.as_bytes()), &pod.namespace, &pod.name);
        header.node.clone_from(&run.node);
        header.tool = tool.program.to_string_lossy().into_owned();
        header.arguments = tool.arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
        header.started = SystemTime::now().into();
        Ok(Self::Acknowledged(Box::new(Output::connect(to, header, OutputConfig::default()).await?)))
    }

    pub(crate) async fn send(&mut self, chunk: &[u8]) -> Result<(), Error> {
        match self {
            Self::Snoopy(stream) => stream.send(chunk).await,
            Self::Acknowledged(stream) => stream.send(chunk).await,
        }
    }

    /// What to do while the tool writes nothing; ends when the stream fails.
    pub(crate) async fn drive(&mut self) -> Error {
        match self {
            Self::Snoopy(stream) => stream.drive().await,
            Self::Acknowledged(stream) => stream.drive().await,
        }
    }

    pub(crate) async fn finish(self, end: End) -> Result<(), Error> {
        match self {
            Self::Snoopy(stream) => stream.finish().await,
            Self::Acknowledged(stream) => stream.finish(Ending::new(ended(end))).await,
        }
    }
}

const fn ended(end: End) -> Ended {
    match end {
        End::Exited(code) => Ended::Exited(code as i32),
        End::Signalled(signal) => Ended::Signalled(signal),
        End::Timer => Ended::Exited(0),
        End::Lost => Ended::Unknown,
    }
}
