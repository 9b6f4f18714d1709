//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use podtrail_daemon::duration;

/// Account a node's flows: every connection that the kernel tracks, every byte once.
///
/// Needs CAP_NET_ADMIN, and CAP_SYS_ADMIN too to enter other network namespaces than its own.
///
/// Exit codes: 0 done, 1 failure, 64 bad usage, 69 the connection table or a file is not available.
#[derive(Debug, Parser)]
#[command(name = "flow-agent", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) log: podtrail_daemon::LogArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Count flows, and write a line for each that changed or ended
    Run(Box<RunArgs>),
    /// List the connections of the table
    List(ListArgs),
    /// Show what carries most bytes per second
    Top(TopArgs),
    /// Say which of the kernel's settings are off, what that costs and what to do
    ///
    /// Ends with 0 if nothing was found, and with 1 otherwise.
    Check(CheckArgs),
    /// Print completions for a shell
    Completions(podtrail_daemon::Completions),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Count in this network namespace, such as /run/netns/NAME or /proc/PID/ns/net; may be given again. Else in its own
    #[arg(long = "netns", value_name = "PATH")]
    pub(crate) netns: Vec<PathBuf>,
    /// How often to read the connection table
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = interval)]
    pub(crate) interval: Duration,
    /// Where to write lines: stdout, or file:PATH; options follow after commas, such as
    /// max-size=64MiB,max-age=24h,keep=7,fsync=never,name=NAME,from=now
    #[arg(long = "writer", value_name = "SPEC", default_value = "stdout")]
    pub(crate) writers: Vec<String>,
    /// Keep in this folder what was counted and what is not written yet. Without it that is kept in memory, and what was
    /// counted before a restart is not known after it
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// How many MiB that may take; when it is full, counting pauses, and nothing is lost as long as the kernel keeps it
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(8..=1 << 20))]
    pub(crate) state_limit: u64,
    /// How many connections of a namespace to know at a time; others are counted when they end
    #[arg(long, value_name = "N", default_value_t = 1 << 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: u32,
    /// The node's name, in each line; else $NODE_NAME, or the host's
    #[arg(long, value_name = "NAME", env = "NODE_NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) node: Option<String>,
    /// Whether the kernel keeps each connection that ended until its last counters are read
    #[arg(long, value_enum, default_value_t = Reliable::Auto)]
    pub(crate) reliable: Reliable,
    /// Switch on what the kernel counts and says of connections: nf_conntrack_acct, _timestamp and _events
    #[arg(long)]
    pub(crate) enable_accounting: bool,
    /// Serve /livez, /readyz and /metrics here
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// Be the worker of the process that started this one
    #[arg(long, hide = true)]
    pub(crate) worker: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reliable {
    /// Yes; but not while the worker is in trouble or the table is filling up
    Auto,
    /// Yes, whatever happens: a worker in trouble may then keep the machine from making new connections
    Always,
    /// No: what does not fit into the queue is lost, and counted as lost
    Never,
}

#[derive(Debug, Args)]
#[command(after_long_help = crate::filter::HELP)]
pub(crate) struct ListArgs {
    /// Of this network namespace, such as /run/netns/NAME or /proc/PID/ns/net; else of its own
    #[arg(long, value_name = "PATH")]
    pub(crate) netns: Option<PathBuf>,
    /// Only connections that have all of these, each KEY=VALUE; --help lists them
    #[arg(value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = TableFormat::Table)]
    pub(crate) output: TableFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    /// A table for people
    Table,
    /// One JSON object a line: netns (inode), zone, protocol (number), original and reply, connection (id and start), total,
    /// timeout (seconds), state (of TCP), status, mark, labels (numbers of bits) and helper. What the kernel does not say is null;
    /// the last two are left out then
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Of this network namespace, such as /run/netns/NAME or /proc/PID/ns/net; else of its own
    #[arg(long, value_name = "PATH")]
    pub(crate) netns: Option<PathBuf>,
    /// What a row is of
    #[arg(long, value_enum, default_value_t = By::Connection)]
    pub(crate) by: By,
    /// How often to read the connection table
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = interval)]
    pub(crate) interval: Duration,
    /// How many rows to show at most; else as many as the terminal has room for, or 20
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rows: Option<u16>,
    /// End after so many readings; else at SIGINT or SIGTERM
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// A connection
    Connection,
    /// An address: who began connections, or answered behind a translation
    Address,
    /// A port that connections were made to
    Port,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Of this network namespace, such as /run/netns/NAME or /proc/PID/ns/net; may be given again. Else of its own
    #[arg(long = "netns", value_name = "PATH")]
    pub(crate) netns: Vec<PathBuf>,
    /// Switch on what is off first: nf_conntrack_acct, _timestamp and _events
    #[arg(long)]
    pub(crate) enable: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = ReportFormat::Text)]
    pub(crate) output: ReportFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people
    Text,
    /// One JSON object a line, for each namespace
    Json,
}

fn interval(text: &str) -> anyhow::Result<Duration> {
    let interval = duration(text)?;
    let allowed = Duration::from_millis(100)..=Duration::from_secs(86_400);
    ensure!(allowed.contains(&interval), "not between 100ms and 24h");
    Ok(interval)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
