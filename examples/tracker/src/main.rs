//! Which pod had this IP, when: tracks a cluster, and asks the ledger.

mod args;
mod ask;
mod demo;
mod output;
mod run;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
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
            // A reader that has seen enough, such as `head`, is no failure.
            if error.chain().any(is_closed_pipe) {
                return Exit::Ok.into();
            }
            print_error(error.as_ref());
            exit.into()
        }
    }
}

fn is_closed_pipe(e: &(dyn std::error::Error + 'static)) -> bool {
    e.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    cli.log.install().map_err(|e| Failure { exit: e.exit(), error: e.into() })?;
    match cli.command {
        Command::Run(args) => run::run(args),
        Command::Demo(args) => demo::demo(args),
        Command::WhoHad(args) => ask::who_had(&args),
        Command::History(args) => ask::history(&args),
        Command::Export(args) => ask::export(&args),
        Command::Verify(args) => ask::verify(&args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "tracker", &mut std::io::stdout());
            Ok(())
        }
    }
}

/// Why the program ends, and with which exit code.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Usage, error: error.into() }
    }

    fn unavailable(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Unavailable, error: error.into() }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { exit: Exit::Failure, error: error.into() }
    }
}
