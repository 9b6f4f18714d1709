//! A program, from its command line to its exit code.

use std::{
    error::Error as StdError,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{CommandFactory, Parser};

use crate::{Error, Exit, print_error};

/// Parses the command line, calls `run` with it, and ends as that says.
///
/// One that only asks for help or the version gets it and ends with [`Exit::Ok`]; one that is wrong is told why and ends with
/// [`Exit::Usage`]. A [`Failure`] is printed by [`print_error`] and ends with its code.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use podtrail_daemon::{Exit, Failure, LogArgs};
///
/// #[derive(clap::Parser)]
/// struct Cli {
///     #[command(flatten)]
///     log: LogArgs,
/// }
///
/// fn run(cli: Cli) -> Result<Exit, Failure> {
///     cli.log.install("info")?;
///     Ok(Exit::Ok)
/// }
///
/// fn main() -> ExitCode {
///     podtrail_daemon::main(run)
/// }
/// ```
pub fn main<C: Parser, E: Into<ExitCode>>(run: impl FnOnce(C) -> Result<E, Failure>) -> ExitCode {
    let cli = match C::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Nowhere is left to say that saying it failed.
            e.print().ok();
            return if e.use_stderr() { Exit::Usage } else { Exit::Ok }.into();
        }
    };
    match run(cli) {
        Ok(code) => code.into(),
        Err(Failure { exit, error }) => {
            print_error(error.as_ref());
            exit.into()
        }
    }
}

/// Why a program ends, and with which exit code.
///
/// Any error can be made one by `?`. Then an [`Error`] of this crate has its [`Error::exit`], and any other [`Exit::Failure`].
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "programs have exit codes of their own, and add context")]
pub struct Failure {
    /// The exit code: an [`Exit`], or what else the program documents.
    pub exit: u8,
    /// What is printed.
    pub error: anyhow::Error,
}

impl Failure {
    /// One that ends with [`Exit::Usage`].
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Usage as u8, error: error.into() }
    }

    /// One that ends with [`Exit::Unavailable`].
    pub fn unavailable(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Unavailable as u8, error: error.into() }
    }

    /// Whether a pipe that nobody reads any more is among the causes. Where a program prints, its reader has seen enough.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        let is_it = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
        self.error.chain().filter_map(<dyn StdError>::downcast_ref).any(is_it)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let exit = error.downcast_ref().map_or(Exit::Failure, Error::exit);
        Self { exit: exit as u8, error }
    }
}

/// The arguments of a subcommand that prints completions for a shell.
#[derive(Debug, Clone, clap::Args)]
pub struct Completions {
    /// Which shell
    shell: clap_complete::Shell,
}

impl Completions {
    /// Prints those of `C`'s command line.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written.
    pub fn print<C: CommandFactory>(&self) -> io::Result<()> {
        let mut command = C::command();
        let name = command.get_name().to_owned();
        // Into memory first: it panics where it cannot write.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        io::stdout().write_all(&script)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;
    use crate::ErrorKind;

    #[test]
    fn an_error_of_this_crate_says_the_code_and_any_other_is_a_failure() {
        let bad_address = || Error::new(ErrorKind::Address, "no address".to_owned());
        assert_eq!(Failure::from(bad_address()).exit, 64);
        assert_eq!(Failure::from(anyhow::Error::new(bad_address())).exit, 64);
        assert_eq!(Failure::from(io::Error::other("x")).exit, 1);
        assert_eq!(Failure::from(anyhow::anyhow!("x")).exit, 1);
    }

    #[test]
    fn a_closed_pipe_is_found_below_any_context() {
        let pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(Failure::from(pipe()).is_closed_pipe());
        assert!(Failure::from(Err::<(), _>(pipe()).context("cannot print").unwrap_err()).is_closed_pipe());
        assert!(!Failure::from(io::Error::from(io::ErrorKind::NotFound)).is_closed_pipe());
    }
}
