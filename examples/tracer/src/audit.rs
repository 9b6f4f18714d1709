//! Who ran what in which pod: an event when a tool starts, when it has ended, and when it was refused.

use std::time::SystemTime;

use anyhow::Context as _;
use podtrail_event::{EventId, Timestamp};
use podtrail_writer::{Spec, WriterExt as _};
use serde::Serialize;

use crate::Failure;
use crate::request::{Keep, Request};
use crate::run::Outcome;
use crate::tool::End;

/// Where audit events go.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    spec: Option<Spec>,
}

/// What all events of a run say.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Run {
    /// 32 hex digits: the same in all events of the run, and in what it sends with `--stream`.
    pub(crate) run: EventId,
    pub(crate) node: String,
    pod: Pod,
    tool: String,
    arguments: Vec<String>,
    user: User,
    privileged: bool,
}

#[derive(Clone, Debug, Serialize)]
struct Pod {
    namespace: String,
    name: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct User {
    uid: u32,
    /// Whom sudo(8) says that it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    sudo: Option<String>,
}

impl Run {
    pub(crate) fn new(node: &str, namespace: &str, pod: &str, request: &Request) -> Self {
        let now = Timestamp::from(SystemTime::now());
        let (process, nanoseconds) = (std::process::id().to_le_bytes(), now.as_nanosecond().to_le_bytes());
        // Time and process tell the runs of a machine apart, and the node the machines.
        let id = EventId::derive(&[
            b"tool-run",
            node.as_bytes(),
            &process,
            &nanoseconds,
            namespace.as_bytes(),
            pod.as_bytes(),
        ]);
        Self {
            run: id,
            node: node.to_owned(),
            pod: Pod { namespace: namespace.to_owned(), name: pod.to_owned() },
            tool: request.tool.program.to_string_lossy().into_owned(),
            arguments: request.tool.arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect(),
            user: User { uid: rustix::process::getuid().as_raw(), sudo: std::env::var("SUDO_USER").ok() },
            privileged: request.keep == Keep::Everything,
        }
    }
}

#[derive(Serialize)]
struct Event<'a> {
    v: u8,
    id: EventId,
    event: &'static str,
    time: Timestamp,
    #[serde(flatten)]
    run: &'a Run,
    #[serde(flatten)]
    what: What<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum What<'a> {
    Started(&'a Place),
    #[serde(rename_all = "camelCase")]
    Ended {
        #[serde(skip_serializing_if = "Option::is_none")]
        exit_code: Option<u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
        timer: bool,
        output_bytes: Option<u64>,
        failures: Vec<String>,
    },
    Refused {
        reason: String,
    },
}

/// Where the tool runs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Place {
    pub(crate) pod_uid: String,
    pub(crate) sandbox: String,
    /// The inode of the network namespace.
    pub(crate) netns: u64,
}

impl Audit {
    pub(crate) fn new(spec: Option<&str>) -> Result<Self, Failure> {
        let spec = spec.map(Spec::parse).transpose().context("--audit").map_err(Failure::usage)?;
        Ok(Self { spec })
    }

    pub(crate) async fn started(&self, run: &Run, place: &Place) -> Result<(), Failure> {
        self.write("tool-run-started", run, What::Started(place)).await
    }

    pub(crate) async fn ended(&self, run: &Run, outcome: &Outcome) -> Result<(), Failure> {
        let (exit_code, signal) = match outcome.end {
            End::Exited(code) => (Some(code), None),
            End::Signalled(signal) => (None, Some(signal)),
            End::Timer => (None, None),
        };
        let failures = outcome.failures.iter().map(|failure| format!("{failure:#}")).collect();
        let what =
            What::Ended { exit_code, signal, timer: outcome.end == End::Timer, output_bytes: outcome.copied, failures };
        self.write("tool-run-ended", run, what).await
    }

    pub(crate) async fn refused(&self, run: &Run, failure: &Failure) -> Result<(), Failure> {
        self.write("tool-run-refused", run, What::Refused { reason: format!("{:#}", failure.error) }).await
    }

    async fn write(&self, event: &'static str, run: &Run, what: What<'_>) -> Result<(), Failure> {
        let Some(spec) = &self.spec else { return Ok(()) };
        let id = EventId::derive(&[run.run.as_bytes(), event.as_bytes()]);
        let event = Event { v: 1, id, event, time: SystemTime::now().into(), run, what };
        let line = serde_json::to_vec(&event).context("an audit event cannot be written as JSON")?;
        // Opened for each event: other runs write to the same file meanwhile.
        let deliver = async {
            let (mut writer, _) = spec.open()?;
            writer.deliver_lines(1, &[line.into()], None).await
        };
        deliver.await.context("an audit event cannot be written").map_err(Failure::unavailable)?;
        Ok(())
    }
}
