//! One stream of our own contract.

use std::sync::Arc;

use tokio::time::timeout;
use tonic::Status;

use super::folder::{self, RunFiles};
use super::runs::Replaced;
use super::{Client, Shared, blocking};
use crate::generated::output::message::Kind;
use crate::generated::output::{Ack, Chunk, Message};
use crate::{Ending, Header};

/// How much is gathered before it is written, if more is there already. Each write is one wait for the disk.
const BATCH: usize = 1 << 20;

pub(super) struct Session {
    shared: Shared,
    client: Client<Message>,
    run: Option<(RunFiles, Replaced)>,
}

/// What comes after the chunks that were gathered.
enum Then {
    More,
    End(Ending),
    Close,
    Refuse(Status),
}

impl Session {
    pub(super) const fn new(shared: Shared, client: Client<Message>) -> Self {
        Self { shared, client, run: None }
    }
}

impl super::sessions::Session for Session {
    type Answer = Ack;

    async fn next(&mut self) -> Result<Option<Ack>, Status> {
        let Some((mut files, mut replaced)) = self.run.take() else { return self.begin().await.map(Some) };
        let (batch, then) = self.gather(&files, &mut replaced).await;
        let ending = match &then {
            Then::End(ending) => Some(*ending),
            _ => None,
        };
        if !batch.is_empty() || ending.is_some() {
            files = blocking(move || {
                if !batch.is_empty() {
                    files.append(&batch)?;
                }
                if let Some(ending) = ending {
                    files.end(ending)?;
                }
                Ok(files)
            })
            .await?;
        }
        let ack = Ack { offset: files.length(), ended: files.is_ended() };
        match then {
            Then::Close => return Ok(None),
            Then::Refuse(status) => return Err(status),
            Then::More | Then::End(_) => {}
        }
        self.run = Some((files, replaced));
        Ok(Some(ack))
    }
}

impl Session {
    async fn begin(&mut self) -> Result<Ack, Status> {
        let Ok(message) = timeout(self.shared.limits.begin, self.client.message()).await else {
            return Err(Status::deadline_exceeded("no header came in time"));
        };
        let Some(Kind::Header(header)) = message?.and_then(|message| message.kind) else {
            return Err(Status::invalid_argument("the first message is no header"));
        };
        let header = Header::from_proto(header).map_err(|e| Status::invalid_argument(e.to_string()))?;
        // Nobody ends the stream of a run without knowing all that is said of it.
        let folder = Arc::clone(&self.shared.folder);
        let header = blocking(move || folder::described(&folder, &header).map(|_description| header)).await?;
        let (turn, replaced) = self.shared.runs.turn(folder::stem(&header)).await?;
        let folder = Arc::clone(&self.shared.folder);
        let files = blocking(move || RunFiles::open(folder, &header, turn)).await?;
        let ack = Ack { offset: files.length(), ended: files.is_ended() };
        self.run = Some((files, replaced));
        Ok(ack)
    }

    /// Waits for a chunk, and takes those that are there already.
    async fn gather(&mut self, files: &RunFiles, replaced: &mut Replaced) -> (Vec<u8>, Then) {
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            let waits = batch.is_empty();
            let message = tokio::select! { biased;
                () = replaced.wait() => {
                    return (batch, Then::Refuse(Status::aborted("a newer stream of the run is there")));
                }
                message = self.client.message() => message,
                () = std::future::ready(()), if !waits => break,
            };
            let then = match message {
                Err(status) => Then::Refuse(status),
                Ok(None) => Then::Close,
                Ok(Some(message)) => self.take(message, files, &mut batch),
            };
            if !matches!(then, Then::More) {
                return (batch, then);
            }
        }
        (batch, Then::More)
    }

    fn take(&self, message: Message, files: &RunFiles, batch: &mut Vec<u8>) -> Then {
        let invalid = |what: String| Then::Refuse(Status::invalid_argument(what));
        let length = files.length() + batch.len() as u64;
        match message.kind {
            _ if files.is_ended() => invalid("the run has ended already".to_owned()),
            Some(Kind::Chunk(Chunk { offset, data })) if offset == length && !data.is_empty() => {
                let most = self.shared.limits.file_bytes;
                if length + data.len() as u64 > most {
                    return Then::Refuse(Status::out_of_range(format!("a run's output has at most {most} bytes here")));
                }
                batch.extend(data);
                Then::More
            }
            Some(Kind::End(end)) if end.length == length => Then::End(Ending::from_proto(&end)),
            Some(Kind::Chunk(Chunk { offset, data })) => {
                invalid(format!("a chunk of {} bytes at {offset}, after {length} bytes", data.len()))
            }
            Some(Kind::End(end)) => invalid(format!("an end at {}, after {length} bytes", end.length)),
            Some(Kind::Header(_)) => invalid("a second header".to_owned()),
            None => invalid("a message of no known kind".to_owned()),
        }
    }
}
