//! Accounts a node's flows: every connection that the kernel tracks, every byte once.

mod args;
mod check;
mod columns;
mod convert;
mod filter;
mod hold;
mod list;
mod metrics;
mod orders;
mod top;
mod work;

use std::error::Error as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};
use podtrail_conntrack::ErrorKind;
use podtrail_daemon::{Exit, print_error};
use podtrail_netns::Netns;

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
        Ok(exit) => exit.into(),
        // A reader that has seen enough, such as `head`, is no failure.
        Err(Failure { error, .. }) if prints && error.chain().any(is_closed_pipe) => Exit::Ok.into(),
        Err(Failure { exit, error }) => {
            print_error(error.as_ref());
            exit
        }
    }
}

fn is_closed_pipe(e: &(dyn std::error::Error + 'static)) -> bool {
    e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    cli.log.install()?;
    match cli.command {
        Command::Run(args) if args.worker => work::work(*args)?,
        Command::Run(args) => hold::hold(&args)?,
        Command::List(args) => list::list(&args)?,
        Command::Top(args) => top::top(&args)?,
        Command::Check(args) => return check::check(&args),
        Command::Completions { shell } => {
            // Into memory first: it panics where it cannot write.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "flow-agent", &mut script);
            io::stdout().write_all(&script).context("cannot print")?;
        }
    }
    Ok(Exit::Ok)
}

/// The network namespace of this path; without one, its own.
fn open_netns(path: Option<&Path>) -> Result<Netns, Failure> {
    path.map_or_else(Netns::current, Netns::open).map_err(Failure::unavailable)
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

/// A capability that is missing is said with what to do about it.
impl From<podtrail_conntrack::Error> for Failure {
    fn from(error: podtrail_conntrack::Error) -> Self {
        let exit = match error.kind() {
            ErrorKind::Interrupted | ErrorKind::Malformed => Exit::Failure,
            _ => Exit::Unavailable,
        };
        let entering = error.source().and_then(|source| source.downcast_ref::<podtrail_netns::Error>());
        let missing = match (error.kind(), entering.map(podtrail_netns::Error::kind)) {
            (ErrorKind::MissingCapability, _) => Some("NET_ADMIN"),
            (_, Some(podtrail_netns::ErrorKind::MissingCapability)) => Some("SYS_ADMIN"),
            _ => None,
        };
        let error = anyhow::Error::new(error);
        let error = match missing {
            Some(name) => error.context(format!(
                "flow-agent needs the capability {name} (in Kubernetes: securityContext.capabilities.add: [\"{name}\"])"
            )),
            None => error,
        };
        Self { exit: exit.into(), error }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { exit: Exit::Failure.into(), error }
    }
}
