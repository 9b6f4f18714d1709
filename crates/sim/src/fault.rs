use std::collections::VecDeque;
use std::time::Duration;

/// Something that goes wrong once.
///
/// Faults wait in a queue, see [`Cluster::inject`](crate::Cluster::inject). Each is used by the first thing it fits: a frame of a pod
/// watch, a drop from the history, or an answer to a pod request. Frames never get lost for a client that resumes properly,
/// but for the `Drop` faults.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The next frame is sent by half, then the connection breaks.
    Cut,
    /// The watch ends cleanly before the next frame.
    End,
    /// A line that is no JSON in the next frame's place, then the watch ends.
    Garbage,
    /// An `ERROR` frame with code 500 in the next frame's place, then the watch ends.
    ErrorFrame,
    /// The next frame is sent whole, in pieces of this many bytes.
    Split(usize),
    /// The next frame waits this long; bookmarks of the time before it are still sent.
    Delay(Duration),
    /// Not a byte is sent for this long, then the next frame.
    Stall(Duration),
    /// The next frame is sent twice.
    Duplicate,
    /// Before the next frame an older one is sent again: the latest of the same pod, else of any, that the history has.
    Replay,
    /// The next frame's object is larger than 2 MiB.
    Oversize,
    /// Before the next frame comes one about a Service.
    OtherKind,
    /// The next frame is sent with the type `RENAMED`, then as it should be.
    UnknownType,
    /// The next so many removals of pods never get into the history: no watch ever tells of them.
    DropDeleted(usize),
    /// The next so many modifications of pods never get into the history; a list shows them.
    DropModified(usize),
    /// The next pod request of this sort is answered with this HTTP status.
    Status {
        /// Which sort of request.
        on: Verb,
        /// 4xx or 5xx; anything else is sent as 500.
        code: u16,
        /// Sent as `Retry-After`, in whole seconds.
        retry_after: Option<Duration>,
    },
    /// The next page that a `continue` token asks for is refused with 410.
    ExpiredPage,
    /// The next page of a limited list has at most this many pods.
    ShortPage(usize),
    /// The next watch from a version that the history has lost is answered with 200 and an `ERROR` frame with code 410; without this
    /// fault the HTTP status is 410.
    GoneInStream,
}

/// A sort of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verb {
    /// A list, or a page of one.
    List,
    /// A watch.
    Watch,
    /// A read of one object.
    Get,
}

/// The faults that wait.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    queue: VecDeque<Fault>,
    deleted: usize,
    modified: usize,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        match fault {
            Fault::DropDeleted(n) => self.deleted += n,
            Fault::DropModified(n) => self.modified += n,
            other => self.queue.push_back(other),
        }
    }

    pub(crate) fn pending(&self) -> usize {
        self.queue.len() + self.deleted + self.modified
    }

    /// Takes the first fault that `fits`.
    pub(crate) fn take(&mut self, fits: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let at = self.queue.iter().position(fits)?;
        self.queue.remove(at)
    }

    /// Takes the first fault for a frame.
    pub(crate) fn take_for_frame(&mut self) -> Option<Fault> {
        self.take(|fault| {
            !matches!(fault, Fault::Status { .. } | Fault::ExpiredPage | Fault::ShortPage(_) | Fault::GoneInStream)
        })
    }

    /// Whether this removal is to be dropped.
    pub(crate) fn drops_deleted(&mut self) -> bool {
        take_one(&mut self.deleted)
    }

    /// Whether this modification is to be dropped.
    pub(crate) fn drops_modified(&mut self) -> bool {
        take_one(&mut self.modified)
    }
}

fn take_one(left: &mut usize) -> bool {
    let any = *left > 0;
    *left -= usize::from(any);
    any
}
