//! Accounts a node's flows: every connection that the kernel tracks, every byte once.

mod args;
mod convert;
mod hold;
mod metrics;
mod orders;
mod work;

use std::process::ExitCode;

use clap::Parser as _;
use podtrail_daemon::{Exit, print_error};

use args::{Cli, Command};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Nowhere is left to say that saying it failed.
            drop(e.print());
            return if e.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    match dispatch(cli) {
        Ok(()) => Exit::Ok.into(),
        Err(Failure { exit, error }) => {
            print_error(error.as_ref());
            exit
        }
    }
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    cli.log.install()?;
    match cli.command {
        Command::Run(args) if args.worker => work::work(*args),
        Command::Run(args) => hold::hold(&args),
    }
}

/// Why the program ends, and with which exit code.
#[derive(Debug)]
struct Failure {
    exit: ExitCode,
    error: anyhow::Error,
}

impl Failure {
    fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Usage.into(), error: error.into() }
    }

    fn unavailable(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Unavailable.into(), error: error.into() }
    }
}

impl From<podtrail_daemon::Error> for Failure {
    fn from(error: podtrail_daemon::Error) -> Self {
        Self { exit: error.exit().into(), error: error.into() }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { exit: Exit::Failure.into(), error }
    }
}
