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
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use podtrail_conntrack::ErrorKind;
use podtrail_daemon::{Exit, Failure};
use podtrail_netns::Netns;

use args::{Cli, Command};

fn main() -> ExitCode {
    podtrail_daemon::main(|cli: Cli| {
        // In a daemon a broken pipe is whatever broke it.
        let prints = !matches!(cli.command, Command::Run(_));
        match dispatch(cli) {
            // A reader that has seen enough, such as `head`, is no failure.
            Err(failure) if prints && failure.is_closed_pipe() => Ok(Exit::Ok),
            ended => ended,
        }
    })
}

fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    cli.log.install("info")?;
    match cli.command {
        Command::Run(args) if args.worker => work::work(*args)?,
        Command::Run(args) => hold::hold(&args)?,
        Command::List(args) => list::list(&args)?,
        Command::Top(args) => top::top(&args)?,
        Command::Check(args) => return check::check(&args),
        Command::Completions(args) => args.print::<Cli>().context("cannot print")?,
    }
    Ok(Exit::Ok)
}

/// The network namespace of this path; without one, its own.
fn open_netns(path: Option<&Path>) -> Result<Netns, Failure> {
    path.map_or_else(Netns::current, Netns::open).map_err(Failure::unavailable)
}

/// A capability that is missing is said with what to do about it.
fn failure(error: podtrail_conntrack::Error) -> Failure {
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
    Failure { exit: exit as u8, error }
}
