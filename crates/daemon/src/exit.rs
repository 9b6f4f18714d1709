//! How a process ends: its code and its last words.

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use crate::text;

/// The exit codes of every binary here.
///
/// | Code | Name | Meaning |
/// |---|---|---|
/// | 0 | [`Ok`](Self::Ok) | it did what was asked; for a daemon: a signal ended it and it drained |
/// | 1 | [`Failure`](Self::Failure) | it failed in a way that no other code names |
/// | 64 | [`Usage`](Self::Usage) | the command line, environment or configuration is wrong: trying again does not help |
/// | 69 | [`Unavailable`](Self::Unavailable) | something it needs (API server, database, file, port) cannot be had now |
///
/// The numbers are those of `sysexits.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Ok = 0,
    /// It failed in a way that no other code names.
    Failure = 1,
    /// The command line, environment or configuration is wrong.
    Usage = 64,
    /// Something it needs cannot be had now.
    Unavailable = 69,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Writes `error: ` and the whole chain of causes, separated by `: `, as one line to standard error.
///
/// Control characters are escaped, so that text from outside can neither break the line nor drive the terminal. A cause that the
/// message before it already ends with is not said twice. When standard error cannot be written, there is nobody to tell: nothing happens.
pub fn print_error(error: &(dyn Error + 'static)) {
    writeln!(io::stderr().lock(), "error: {}", chain(error)).ok();
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !line.ends_with(&cause_text) {
            line.push_str(": ");
            line.push_str(&cause_text);
        }
        next = cause.source();
    }
    text::escape(&line).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Self>>);

    fn layers(texts: &[&'static str]) -> Layer {
        let (first, rest) = texts.split_first().unwrap();
        Layer(first, (!rest.is_empty()).then(|| Box::new(layers(rest))))
    }

    #[test]
    fn the_chain_is_one_line_with_every_cause_once() {
        for (texts, expected) in [
            (&["alone"][..], "alone"),
            (&["cannot open ledger", "disk full"], "cannot open ledger: disk full"),
            (&["a", "b", "c"], "a: b: c"),
            (&["get pods: refused", "refused", "os error 111"], "get pods: refused: os error 111"),
            (&["bad name", "x\n\x1b[2Jy"], "bad name: x\\n\\u{1b}[2Jy"),
        ] {
            assert_eq!(chain(&layers(texts)), expected);
        }
    }

    #[test]
    fn codes_are_those_documented() {
        for (exit, code) in [(Exit::Ok, 0), (Exit::Failure, 1), (Exit::Usage, 64), (Exit::Unavailable, 69)] {
            assert_eq!(ExitCode::from(exit), ExitCode::from(code));
        }
    }
}
