//! Which pod had this IP, when: tracks a cluster, and asks the ledger.

mod args;
mod ask;
mod demo;
mod output;
mod run;
mod running;

use std::process::ExitCode;

use podtrail_daemon::{Exit, Failure};

use args::{Cli, Command};

fn main() -> ExitCode {
    podtrail_daemon::main(|cli: Cli| {
        // In a daemon a broken pipe is whatever broke it.
        let prints = !matches!(cli.command, Command::Run(_));
        match dispatch(cli) {
            // A reader that has seen enough, such as `head`, is no failure.
            Err(failure) if prints && failure.is_closed_pipe() => Ok(Exit::Ok),
            ended => ended.map(|()| Exit::Ok),
        }
    })
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    cli.log.install(default_filter(&cli.command))?;
    match cli.command {
        Command::Run(args) => run::run(args),
        Command::Demo(args) => demo::demo(&args),
        Command::WhoHad(args) => ask::who_had(&args),
        Command::History(args) => ask::history(&args),
        Command::Export(args) => ask::export(&args),
        Command::Verify(args) => ask::verify(&args),
        Command::Completions(args) => Ok(args.print::<Cli>()?),
    }
}

/// What is logged where nothing else is asked for.
const fn default_filter(command: &Command) -> &'static str {
    match command {
        // What goes wrong in a demonstration is shown by it.
        Command::Demo(_) => "off",
        // These log each failed request as an error; the watch says the same as a warning, and what it does about it.
        _ => "info,kube_client=off,rustls_platform_verifier=off",
    }
}
