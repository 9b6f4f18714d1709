use std::fs;
use std::io::{self, Write as _};

use podtrail_event::Timestamp;

use super::disk::{self, Trouble, step};
use super::parts;
use super::standing::{self, Open, Standing};
use super::token::Token;
use crate::{Error, FileConfig, FsyncPolicy};

/// Bytes a write; tests tear batches between any two.
const PIECE: usize = if cfg!(test) { 7 } else { 1 << 20 };

/// The writer of one file: synchronous, with the time as an argument.
#[derive(Debug)]
pub(super) struct Core {
    config: FileConfig,
    /// The file as the last delivery left it; none after an error.
    open: Option<Open>,
    /// Where a file stood before a sync failed. What was written after that reads well and may never reach the disk,
    /// and a second sync would not say so: it must be written again.
    doubtful: Option<Token>,
    /// Whether closed parts may need packing.
    untidy: bool,
}

impl Core {
    pub(super) fn new(config: FileConfig) -> Result<Self, Error> {
        let prepare = || -> Result<(), Trouble> {
            disk::look(&config.path)?;
            parts::settle(&config.path)?;
            Ok(())
        };
        prepare().map_err(|trouble| trouble.at_start(&config.path))?;
        Ok(Self { config, open: None, doubtful: None, untidy: true })
    }

    /// Forgets the open file.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// Delivers `text`, whole lines, after what `resume` says was committed, and returns the next token.
    pub(super) fn deliver(&mut self, text: &[u8], resume: Option<&str>, now: Timestamp) -> Result<String, Error> {
        let path = &self.config.path;
        let token = resume
            .map(Token::parse)
            .transpose()
            .map_err(|error| Trouble::Refused(format!("its resume token is not one of a file: {error}")).at(path))?;
        let open = self.write(text, token.as_ref(), now).map_err(|trouble| trouble.at(&self.config.path))?;
        let next = open.token;
        self.open = Some(open);
        if self.untidy {
            self.tidy(token.as_ref());
        }
        Ok(next.to_text())
    }

    fn write(&mut self, text: &[u8], token: Option<&Token>, now: Timestamp) -> Result<Open, Trouble> {
        let Standing { mut open, held, here } = match self.open.take() {
            Some(open) if Some(&open.token) == token && self.is_as_left(&open)? => Standing { open, held: 0, here: 0 },
            _ => {
                self.undo_doubtful()?;
                standing::find(&self.config.path, token, text, now)?
            }
        };
        if held == 0 && self.is_due(&open.token, text.len() as u64, now) {
            open = self.rotate(now)?;
        }
        let start = Token { length: open.token.length - here as u64, ..open.token };
        for piece in text[held..].chunks(PIECE) {
            step("write")?;
            open.file.write_all(piece)?;
        }
        if self.config.fsync == FsyncPolicy::Batch {
            self.sync(&open.file).inspect_err(|_| self.doubtful = Some(start))?;
        }
        open.token.length += (text.len() - held) as u64;
        Ok(open)
    }

    /// Packs closed parts. The delivery is done, so a failure is no reason to repeat that.
    fn tidy(&mut self, token: Option<&Token>) {
        self.untidy = parts::tidy(&self.config.path, self.config.keep, token).unwrap_or_else(|error| {
            let path = self.config.path.display();
            tracing::warn!(%path, %error, "cannot pack closed parts, next try after the next rotation");
            false
        });
    }

    fn sync(&self, file: &fs::File) -> io::Result<()> {
        step("sync")?;
        file.sync_data()
    }

    /// Whether nobody else wrote to the file, cut it, or took its name away.
    fn is_as_left(&self, open: &Open) -> Result<bool, Trouble> {
        let named = disk::look(&self.config.path)?.is_some_and(|meta| open.token.is_of(&meta));
        Ok(named && open.file.metadata()?.len() == open.token.length)
    }

    fn undo_doubtful(&mut self) -> Result<(), Trouble> {
        if let Some(start) = &self.doubtful
            && disk::look(&self.config.path)?.is_some_and(|meta| start.is_of(&meta) && meta.len() > start.length)
        {
            disk::cut(&disk::open(&self.config.path)?, start.length)?;
        }
        self.doubtful = None;
        Ok(())
    }

    fn is_due(&self, token: &Token, more: u64, now: Timestamp) -> bool {
        let full = self.config.max_size.is_some_and(|most| token.length + more > most);
        let old = self.config.max_age.is_some_and(|most| now.saturating_duration_since(token.since) >= most);
        token.length > 0 && (full || old)
    }

    /// Closes the file under a name of its own and starts the next.
    fn rotate(&mut self, now: Timestamp) -> Result<Open, Trouble> {
        let part = parts::next(&self.config.path, now)?;
        step("rename")?;
        fs::rename(&self.config.path, part)?;
        self.untidy = true;
        let file = disk::open(&self.config.path)?;
        let token = Token::new(&file, 0, now)?;
        Ok(Open { file, token })
    }
}
