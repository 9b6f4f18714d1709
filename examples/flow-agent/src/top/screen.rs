//! Where frames are shown: one over the other on a terminal, one after the other elsewhere.

use std::io::{self, IsTerminal as _, Write as _};

use rustix::termios::tcgetwinsize;

/// ECMA-48, and DEC private mode 25 for the cursor.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";

/// Standard output.
#[derive(Debug)]
pub(super) struct Screen {
    is_terminal: bool,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        let mut out = io::stdout().lock();
        let is_terminal = out.is_terminal();
        if is_terminal {
            write!(out, "{HIDE_CURSOR}{HOME}{CLEAR_BELOW}")?;
            out.flush()?;
        }
        Ok(Self { is_terminal })
    }

    /// Lines and columns of the terminal, if it is one.
    pub(super) fn size(&self) -> Option<(usize, usize)> {
        let size = || tcgetwinsize(io::stdout()).ok().map(|size| (usize::from(size.ws_row), usize::from(size.ws_col)));
        // One that does not know is as most were once.
        self.is_terminal.then(|| size().filter(|(lines, columns)| *lines > 0 && *columns > 0).unwrap_or((24, 80)))
    }

    /// Shows a frame; what does not fit in a line of the terminal is left out.
    pub(super) fn show(&self, frame: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.size() {
            None => writeln!(out, "{frame}")?,
            Some((_, columns)) => {
                let fits = |line: &str| line.chars().take(columns).collect::<String>();
                let lines: Vec<_> = frame.lines().map(fits).collect();
                let text = lines.join(&format!("{CLEAR_LINE}\n"));
                write!(out, "{HOME}{text}{CLEAR_LINE}\n{CLEAR_BELOW}")?;
            }
        }
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_terminal {
            // Nowhere is left to say that this failed.
            write!(io::stdout().lock(), "{SHOW_CURSOR}").ok();
        }
    }
}
