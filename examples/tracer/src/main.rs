//! Runs a tool in a pod's network namespace, looks into it, captures its packets.

mod annotate;
#[cfg(feature = "api")]
mod api;
mod args;
mod arguments;
mod audit;
mod capture;
mod ns;
mod output;
mod owners;
mod pods;
mod receive;
mod request;
mod run;
mod stream;
mod terminal;
mod tool;
mod version;

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
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
    // Where a tool was to run, or what comes was to be kept, a broken pipe is whatever broke it.
    let prints = !matches!(cli.command, Command::Run(_) | Command::Receive(_));
    match dispatch(cli) {
        Ok(code) => code.into(),
        // A reader that has seen enough, such as `head`, is no failure.
        Err(Failure { error, .. }) if prints && is_closed_pipe(&error) => Exit::Ok.into(),
        Err(Failure { exit, error }) => {
            print_error(error.as_ref());
            exit.into()
        }
    }
}

/// Whether it is our own standard output that was closed.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let is_pipe = |e: &(dyn std::error::Error + 'static)| {
        e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    };
    let is_elsewhere = |e: &(dyn std::error::Error + 'static)| e.is::<podtrail_cri::Error>();
    error.chain().any(is_pipe) && !error.chain().any(is_elsewhere)
}

fn dispatch(mut cli: Cli) -> Result<u8, Failure> {
    let asked = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !["PODTRAIL_LOG", "RUST_LOG"].into_iter().any(asked) {
        let podtracers = std::env::var("PODTRACER_LOGLEVEL").is_ok_and(|level| level == "DEBUG");
        let level = match cli.command {
            _ if podtracers => "debug",
            // A daemon.
            Command::Receive(_) => "info",
            _ => "warn",
        };
        cli.log.log_level.get_or_insert_with(|| format!("{level},kube_client=off"));
    }
    cli.log.install().map_err(|e| Failure { exit: e.exit() as u8, error: e.into() })?;
    if cli.config.is_some() || cli.toggle.is_some() {
        tracing::warn!("--config and --toggle do nothing: they are podtracer's, and did nothing there");
    }
    match cli.command {
        Command::Run(args) => return run::run(&args),
        Command::Ns(args) => return ns::ns(&args),
        Command::Capture(args) => return capture::capture(&args),
        Command::Annotate(args) => annotate::annotate(&args)?,
        Command::Receive(args) => receive::receive(&args)?,
        Command::Version => version::print(io::stdout().lock()).context("cannot print")?,
        Command::Completions { shell } => {
            // Into memory first: it panics where it cannot write.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tracer", &mut script);
            io::stdout().write_all(&script).context("cannot print")?;
        }
    }
    Ok(Exit::Ok as u8)
}

/// Why the program ends, and with which exit code.
#[derive(Debug)]
struct Failure {
    exit: u8,
    error: anyhow::Error,
}

impl Failure {
    fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Usage as u8, error: error.into() }
    }

    fn unavailable(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Unavailable as u8, error: error.into() }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { exit: Exit::Failure as u8, error }
    }
}
