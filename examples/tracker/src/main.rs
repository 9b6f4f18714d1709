//! Which pod had this IP, when: tracks a cluster, and asks the ledger.

mod args;
mod ask;
mod demo;
mod output;
mod run;
mod running;

use std::io::Write as _;
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
    // In a daemon a broken pipe is whatever broke it.
    let prints = !matches!(cli.command, Command::Run(_));
    match dispatch(cli) {
        Ok(()) => Exit::Ok.into(),
        // A reader that has seen enough, such as `head`, is no failure.
        Err(Failure { error, .. }) if prints && error.chain().any(is_closed_pipe) => Exit::Ok.into(),
        Err(Failure { exit, error }) => {
            print_error(error.as_ref());
            exit.into()
        }
    }
}

fn is_closed_pipe(e: &(dyn std::error::Error + 'static)) -> bool {
    e.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

fn dispatch(mut cli: Cli) -> Result<(), Failure> {
    let asked = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !["PODTRAIL_LOG", "RUST_LOG"].into_iter().any(asked) {
        cli.log.log_level.get_or_insert_with(|| default_filter(&cli.command).to_owned());
    }
    cli.log.install().map_err(|e| Failure { exit: e.exit(), error: e.into() })?;
    match cli.command {
        Command::Run(args) => run::run(args),
        Command::Demo(args) => demo::demo(&args),
        Command::WhoHad(args) => ask::who_had(&args),
        Command::History(args) => ask::history(&args),
        Command::Export(args) => ask::export(&args),
        Command::Verify(args) => ask::verify(&args),
        Command::Completions { shell } => {
            // Into memory first: it panics where it cannot write.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tracker", &mut script);
            Ok(std::io::stdout().write_all(&script)?)
        }
    }
}

/// What is logged where nothing else is asked for.
const fn default_filter(command: &Command) -> &'static str {
    match command {
        // What goes wrong in a demonstration is shown by it.
        Command::Demo(_) => "off",
        // kube logs each failed request as an error; the watch says the same as a warning, and what it does about it.
        _ => "info,kube_client=off",
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
