//! One stream of snoopy's contract.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;

use tonic::Status;

use super::room::Room;
use super::{Client, Shared, blocking};
use crate::generated::snoopy::{PodData, Response};
use crate::name::check_name;

/// The folder in the receiver's, so that no pod's name is the name of a run's file.
pub(super) const FOLDER: &str = "snoopy";

pub(super) struct Session {
    shared: Shared,
    client: Client<PodData>,
    /// The file that the last message was for.
    open: Option<(String, Arc<File>)>,
}

impl Session {
    pub(super) const fn new(shared: Shared, client: Client<PodData>) -> Self {
        Self { shared, client, open: None }
    }
}

impl super::sessions::Session for Session {
    type Answer = Response;

    /// Appends the next message's data and answers it; everything is durable at the stream's end.
    async fn next(&mut self) -> Result<Option<Response>, Status> {
        let Some(PodData { name, data }) = self.client.message().await? else {
            self.close().await?;
            return Ok(None);
        };
        let file = self.file(&name).await?;
        let most = self.shared.limits.file_bytes;
        let room = Arc::clone(self.shared.folder.room());
        if !blocking(move || append(&file, &data, most, &room)).await? {
            return Err(Status::out_of_range(format!("a pod's file has at most {most} bytes here")));
        }
        Ok(Some(Response { message: format!("Received data for pod {name}") }))
    }
}

impl Session {
    async fn file(&mut self, name: &str) -> Result<Arc<File>, Status> {
        if let Some((open, file)) = &self.open
            && open == name
        {
            return Ok(Arc::clone(file));
        }
        check_name("pod", name).map_err(|e| Status::invalid_argument(e.to_string()))?;
        self.close().await?;
        let (folder, owned) = (Arc::clone(&self.shared.folder), name.to_owned());
        let file = Arc::new(blocking(move || folder.within(FOLDER)?.append(&owned, 1)).await?);
        self.open = Some((name.to_owned(), Arc::clone(&file)));
        Ok(file)
    }

    async fn close(&mut self) -> Result<(), Status> {
        match self.open.take() {
            Some((_, file)) => blocking(move || file.sync_all()).await,
            None => Ok(()),
        }
    }
}

/// Appends the data as a whole, whoever else appends; `false` if the file would be too long.
fn append(file: &File, data: &[u8], most: u64, room: &Room) -> io::Result<bool> {
    room.check_bytes(data.len())?;
    file.lock()?;
    let length = file.metadata()?.len();
    let fits = length.saturating_add(data.len() as u64) <= most;
    let written = if fits { (&*file).write_all(data) } else { Ok(()) };
    if written.is_err() {
        file.set_len(length)?;
    }
    file.unlock()?;
    written.map(|()| fits)
}
