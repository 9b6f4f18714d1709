//! Runs a tool in a pod's network namespace, looks into it, captures its packets.

mod annotate;
#[cfg(feature = "api")]
mod api;
mod args;
mod arguments;
mod audit;
mod capture;
mod go;
mod ns;
mod output;
mod owners;
mod pods;
mod receive;
mod request;
mod run;
mod said;
mod stream;
mod terminal;
mod tool;
mod version;

use std::io;
use std::process::ExitCode;

use anyhow::Context as _;
use podtrail_daemon::{Exit, Failure};

use args::{Cli, Command};

fn main() -> ExitCode {
    podtrail_daemon::main(|cli: Cli| {
        // Where a tool was to run, or what comes was to be kept, a broken pipe is whatever broke it.
        let prints = !matches!(cli.command, Command::Run(_) | Command::Receive(_));
        match dispatch(cli) {
            // A reader that has seen enough, such as `head`, is no failure; a runtime or a server that hangs up is one.
            Err(failure) if prints && failure.is_closed_pipe() && !is_of_others(&failure) => Ok(Exit::Ok as u8),
            ended => ended,
        }
    })
}

/// Whether it is a container runtime or an API server that hung up.
fn is_of_others(failure: &Failure) -> bool {
    failure.error.chain().any(|e| {
        #[cfg(feature = "api")]
        if e.is::<podtrail_watch::Error>() {
            return true;
        }
        e.is::<podtrail_cri::Error>()
    })
}

fn dispatch(cli: Cli) -> Result<u8, Failure> {
    let podtracers = std::env::var("PODTRACER_LOGLEVEL").is_ok_and(|level| level == "DEBUG");
    let level = match cli.command {
        _ if podtracers => "debug",
        // A daemon.
        Command::Receive(_) => "info",
        _ => "warn",
    };
    cli.log.install(&format!("{level},kube_client=off,rustls_platform_verifier=off"))?;
    if args::given(cli.config.as_deref()).is_some() || cli.toggle.is_some() {
        tracing::warn!("--config and --toggle do nothing: they are podtracer's, and did nothing there");
    }
    match cli.command {
        Command::Run(args) => return run::run(&args),
        Command::Ns(args) => return ns::ns(&args),
        Command::Capture(args) => return capture::capture(&args),
        Command::Annotate(args) => annotate::annotate(&args)?,
        Command::Receive(args) => receive::receive(&args)?,
        Command::Version => version::print(io::stdout().lock()).context("cannot print")?,
        Command::Completions(args) => args.print::<Cli>().context("cannot print")?,
    }
    Ok(Exit::Ok as u8)
}
