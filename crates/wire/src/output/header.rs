use std::fmt;

use podtrail_event::Timestamp;

use crate::generated::output as proto;
use crate::name::{LONGEST, check_name};
use crate::{Error, ErrorKind, Result};

const LONGEST_TOOL: usize = 4096;
const MOST_ARGUMENTS: usize = 1024;
const LONGEST_ARGUMENTS: usize = 128 << 10;
/// 1970 and 2200.
const STARTS: std::ops::Range<Timestamp> = Timestamp::from_second(0)..Timestamp::from_second(7_258_118_400);

/// What tells a run from all others: 16 bytes that its caller draws at random. Printed as 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunId([u8; 16]);

impl RunId {
    /// The id of these bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Which tool ran, and in which pod. Names are as Kubernetes gives them, with at most 253 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// Tells the run from all others.
    pub run: RunId,
    /// The cluster's name or id; empty if unknown.
    pub cluster: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The container that the tool was run for; empty if for the pod as a whole.
    pub container: String,
    /// The tool, as it was called; at most 4096 bytes.
    pub tool: String,
    /// Its arguments: at most 1024, with at most 128 KiB in all.
    pub arguments: Vec<String>,
    /// The node that it ran on; empty if unknown.
    pub node: String,
    /// When it was started; between 1970 and 2200.
    pub started: Timestamp,
}

impl Header {
    /// The header of a run in the pod; the rest is empty, and started in 1970.
    pub fn new(run: RunId, namespace: impl Into<String>, pod: impl Into<String>) -> Self {
        Self {
            run,
            cluster: String::new(),
            namespace: namespace.into(),
            pod: pod.into(),
            container: String::new(),
            tool: String::new(),
            arguments: Vec::new(),
            node: String::new(),
            started: Timestamp::from_second(0),
        }
    }

    /// Checks it against the contract's limits.
    pub(crate) fn check(&self) -> Result<()> {
        check_name("namespace", &self.namespace)?;
        check_name("pod", &self.pod)?;
        for (what, name) in [("cluster", &self.cluster), ("container", &self.container), ("node", &self.node)] {
            if name.len() > LONGEST {
                return Err(invalid(format!("{what} name {name:.64?} has more than {LONGEST} bytes")));
            }
        }
        if self.tool.len() > LONGEST_TOOL {
            return Err(invalid(format!("tool name {:.64?} has more than {LONGEST_TOOL} bytes", self.tool)));
        }
        let length = self.arguments.iter().map(String::len).sum::<usize>();
        if self.arguments.len() > MOST_ARGUMENTS || length > LONGEST_ARGUMENTS {
            return Err(invalid(format!(
                "{} arguments with {length} bytes are more than {MOST_ARGUMENTS} with {LONGEST_ARGUMENTS}",
                self.arguments.len()
            )));
        }
        if !STARTS.contains(&self.started) {
            return Err(invalid(format!("start at {} is not between 1970 and 2200", self.started)));
        }
        Ok(())
    }

    #[cfg(feature = "client")]
    pub(crate) fn to_message(&self) -> proto::Message {
        let header = proto::Header {
            run_id: self.run.bytes().to_vec(),
            cluster: self.cluster.clone(),
            namespace: self.namespace.clone(),
            pod: self.pod.clone(),
            container: self.container.clone(),
            tool: self.tool.clone(),
            arguments: self.arguments.clone(),
            node: self.node.clone(),
            started_unix_nanos: self.started.as_nanosecond(),
        };
        proto::Message { kind: Some(proto::message::Kind::Header(header)) }
    }

    /// The header that came, if it keeps the contract's limits.
    #[cfg(feature = "server")]
    pub(crate) fn from_proto(header: proto::Header) -> Result<Self> {
        let run = <[u8; 16]>::try_from(header.run_id)
            .map_err(|id| invalid(format!("run id has {} bytes instead of 16", id.len())))?;
        let header = Self {
            run: RunId::new(run),
            cluster: header.cluster,
            namespace: header.namespace,
            pod: header.pod,
            container: header.container,
            tool: header.tool,
            arguments: header.arguments,
            node: header.node,
            started: Timestamp::from_nanosecond(header.started_unix_nanos),
        };
        header.check()?;
        Ok(header)
    }
}

fn invalid(what: String) -> Error {
    Error::new(ErrorKind::Invalid, what)
}

/// How a tool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ending {
    /// Its exit code or signal.
    pub status: Ended,
    /// How many bytes of its output are known to be missing from the stream.
    pub lost: u64,
}

/// What a tool ended with. There is nothing else that it could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the contract has these")]
pub enum Ended {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Signalled(i32),
    /// Nobody knows.
    Unknown,
}

impl Ending {
    /// An ending with all of the output in the stream.
    pub const fn new(status: Ended) -> Self {
        Self { status, lost: 0 }
    }

    #[cfg(feature = "client")]
    pub(crate) fn to_proto(self, length: u64) -> proto::End {
        let status = match self.status {
            Ended::Exited(code) => Some(proto::end::Status::ExitCode(code)),
            Ended::Signalled(signal) => Some(proto::end::Status::Signal(signal)),
            Ended::Unknown => None,
        };
        proto::End { length, lost: self.lost, status }
    }

    #[cfg(feature = "server")]
    pub(crate) const fn from_proto(end: &proto::End) -> Self {
        let status = match end.status {
            Some(proto::end::Status::ExitCode(code)) => Ended::Exited(code),
            Some(proto::end::Status::Signal(signal)) => Ended::Signalled(signal),
            None => Ended::Unknown,
        };
        Self { status, lost: end.lost }
    }
}
