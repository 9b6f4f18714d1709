//! The command line.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::fmt::temporal::Pieces;
use podtrail_daemon::duration;
use podtrail_event::Timestamp;
use podtrail_track::{Format, Sink};

/// Which Kubernetes pod had this IP address, when?
///
/// Exit codes: 0 done (any answer is an answer), 1 failure, 64 bad usage, 69 the cluster is not available.
#[derive(Debug, Parser)]
#[command(name = "tracker", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) log: podtrail_daemon::LogArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what it does, without a cluster: track a simulated one and ask who had its addresses
    Demo(DemoArgs),
    /// Track a cluster: keep the ledger, and write events
    Run(Box<RunArgs>),
    /// Say who had an address at a time
    WhoHad(WhoHadArgs),
    /// List who held what, when
    History(HistoryArgs),
    /// Write out all that the ledger holds
    Export(ExportArgs),
    /// Check that the ledger is what was written
    Verify(LedgerArgs),
    /// Print completions for a shell
    Completions(podtrail_daemon::Completions),
}

#[derive(Debug, Args)]
pub(crate) struct LedgerArgs {
    /// The ledger
    #[arg(long, value_name = "FILE", default_value = "podtrail.db", env = "PODTRAIL_LEDGER")]
    pub(crate) ledger: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Where the cluster is; else $KUBECONFIG, ~/.kube/config, or the pod's own service account
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Which context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// A name for the cluster, in each record
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster_name: Option<String>,
    /// Write events of these namespaces only: globs, separated by commas. The ledger always holds all
    #[arg(long, value_name = "GLOB")]
    pub(crate) namespaces: Vec<String>,
    /// Write no events of these namespaces
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude_namespaces: Vec<String>,
    #[command(flatten)]
    pub(crate) ledger: LedgerArgs,
    /// Where to write events: stdout, or file:PATH; options follow after commas, such as
    /// max-size=64MiB,max-age=24h,keep=7,fsync=never,name=NAME,from=now
    #[arg(long = "writer", value_name = "SPEC", default_value = "stdout")]
    pub(crate) writers: Vec<String>,
    #[command(flatten)]
    pub(crate) look: LookArgs,
    /// How often to ask the API server for each pod, so that an event that it dropped is noticed
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = period)]
    pub(crate) confirm_every: Duration,
    /// How many pods to ask for in a second at most; with more, the time between stretches
    #[arg(long, value_name = "N", default_value_t = 20.0, value_parser = rate)]
    pub(crate) confirm_rate: f64,
    /// By how much clocks may be wrong, this machine's and the cluster's
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = clock_error)]
    pub(crate) clock_error: Duration,
    /// Forget history older than this; open claims and undelivered events are always kept
    #[arg(long, value_name = "DURATION", value_parser = period)]
    pub(crate) retain_age: Option<Duration>,
    /// Forget the oldest history when the ledger is larger than so many MiB
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) retain_size: Option<u64>,
    /// Serve /livez, /readyz and /metrics here
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct LookArgs {
    /// How events look
    #[arg(long, value_enum, default_value_t = EventFormat::Podtrail)]
    pub(crate) event_format: EventFormat,
    /// Who tracks, in each event
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(crate) tracked_by: String,
}

impl LookArgs {
    /// A sink of this name whose events look so: from the oldest on, of all namespaces.
    pub(crate) fn sink(&self, name: String) -> Sink {
        let format = match self.event_format {
            EventFormat::Podtracker => Format::PodTracker,
            EventFormat::Podtrail => Format::Podtrail,
        };
        Sink { name, format, tracked_by: self.tracked_by.clone(), ..Sink::default() }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum EventFormat {
    /// PodTracker's twelve keys: Create and Delete
    Podtracker,
    /// All events, all addresses, with bounds and gaps
    Podtrail,
}

#[derive(Debug, Args)]
pub(crate) struct WhoHadArgs {
    /// The address
    #[arg(value_name = "IP", value_parser = ip)]
    pub(crate) ip: IpAddr,
    /// When, in RFC 3339, such as 2026-01-24T20:45:00Z; else now
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) at: Option<Timestamp>,
    /// In which network: the pods' own, or the namespace/name of a secondary one
    #[arg(long, value_name = "NETWORK", default_value = podtrail_event::DEFAULT_NETWORK, value_parser = network)]
    pub(crate) network: String,
    #[command(flatten)]
    pub(crate) ledger: LedgerArgs,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = AnswerFormat::Text)]
    pub(crate) output: AnswerFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AnswerFormat {
    /// For people
    Text,
    /// For scripts
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    pub(crate) what: What,
    /// Only what was held at this time or later
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) from: Option<Timestamp>,
    /// Only what was held at this time or earlier
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) to: Option<Timestamp>,
    #[command(flatten)]
    pub(crate) ledger: LedgerArgs,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = TableFormat::Text)]
    pub(crate) output: TableFormat,
    /// Print times as how long ago (text only)
    #[arg(long)]
    pub(crate) relative: bool,
}

#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct What {
    /// Of an address
    #[arg(long, value_name = "IP", value_parser = ip)]
    pub(crate) ip: Option<IpAddr>,
    /// Of all addresses of a range, such as 10.244.1.0/24
    #[arg(long, value_name = "RANGE", value_parser = cidr)]
    pub(crate) cidr: Option<RangeInclusive<IpAddr>>,
    /// Of the pods of this name
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = pair)]
    pub(crate) pod: Option<(String, String)>,
    /// Of the pod or node with this UID
    #[arg(long, value_name = "UID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) uid: Option<String>,
    /// Of a node and the pods on it
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) node: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    /// A table for people
    Text,
    /// One JSON object a line
    Json,
    /// CSV with a header; a cell that a spreadsheet would take for a formula begins with an apostrophe
    Csv,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) ledger: LedgerArgs,
    /// What to write out
    #[arg(long, value_enum, default_value_t = Exported::Claims)]
    pub(crate) what: Exported,
    /// How to print; events are NDJSON only
    #[arg(long, value_enum, default_value_t = ExportFormat::Ndjson)]
    pub(crate) format: ExportFormat,
    #[command(flatten)]
    pub(crate) look: LookArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Exported {
    /// Who held what, when
    Claims,
    /// The events of all namespaces, as `run` writes them with the same --event-format and --tracked-by
    Events,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// One JSON object a line
    Ndjson,
    /// CSV with a header
    Csv,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// What the simulated cluster does; the same number, the same story
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// How long to track it
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub(crate) duration: Duration,
}

/// What is later than can be said is as late as can be said: it is in the future in any case.
fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    match Pieces::parse(text) {
        Ok(pieces) if pieces.time().is_some() && pieces.to_numeric_offset().is_some() => match pieces.date().year() {
            1970.. => Ok(Timestamp::MAX),
            _ => Err("before the year 1678, and no ledger goes back so far".to_owned()),
        },
        _ => Err("not an RFC 3339 time, such as 2026-01-24T20:45:00Z".to_owned()),
    }
}

/// An IPv4 address that is written as IPv6 is the IPv4 address, as ledgers have it.
fn ip(text: &str) -> Result<IpAddr, String> {
    let ip: Result<IpAddr, _> = text.parse();
    ip.map(|ip| ip.to_canonical()).map_err(|_why| "not an IPv4 or IPv6 address".to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("no NAMESPACE/NAME".to_owned()),
    }
}

fn network(text: &str) -> Result<String, String> {
    if text != podtrail_event::DEFAULT_NETWORK && pair(text).is_err() {
        return Err(format!("neither {} nor NAMESPACE/NAME", podtrail_event::DEFAULT_NETWORK));
    }
    Ok(text.to_owned())
}

fn period(text: &str) -> anyhow::Result<Duration> {
    let period = duration(text)?;
    ensure!(!period.is_zero(), "not above 0");
    Ok(period)
}

/// Clocks that are further apart are no clocks, and with them hardly an answer would be certain.
fn clock_error(text: &str) -> anyhow::Result<Duration> {
    let error = duration(text)?;
    ensure!(error <= Duration::from_secs(3600), "more than 1h");
    Ok(error)
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("not a number above 0".to_owned()),
    }
}

/// The first and last address of a range such as `10.244.1.0/24`.
fn cidr(text: &str) -> Result<RangeInclusive<IpAddr>, String> {
    let (address, bits) = text.split_once('/').ok_or("no range such as 10.244.1.0/24")?;
    let address: IpAddr = address.parse().map_err(|_why| "it does not begin with an IP address")?;
    let bits: u32 = bits.parse().map_err(|_why| "it does not end with a number of bits")?;
    // As for a single address.
    let (address, bits) = match address.to_canonical() {
        canonical if canonical != address && (96..=128).contains(&bits) => (canonical, bits - 96),
        _ => (address, bits),
    };
    Ok(match address {
        IpAddr::V4(ip) if bits <= 32 => {
            let rest = u32::MAX.checked_shr(bits).unwrap_or(0);
            let first = u32::from(ip) & !rest;
            IpAddr::V4(first.into())..=IpAddr::V4((first | rest).into())
        }
        IpAddr::V6(ip) if bits <= 128 => {
            let rest = u128::MAX.checked_shr(bits).unwrap_or(0);
            let first = u128::from(ip) & !rest;
            IpAddr::V6(first.into())..=IpAddr::V6((first | rest).into())
        }
        _ => return Err("more bits than such an address has".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn ranges_are_whole() {
        let range = |text| cidr(text).map(|r| format!("{}-{}", r.start(), r.end()));
        assert_eq!(range("10.244.1.77/24").unwrap(), "10.244.1.0-10.244.1.255");
        assert_eq!(range("0.0.0.0/0").unwrap(), "0.0.0.0-255.255.255.255");
        assert_eq!(range("10.0.0.1/32").unwrap(), "10.0.0.1-10.0.0.1");
        assert_eq!(range("fd00::1/120").unwrap(), "fd00::-fd00::ff");
        assert_eq!(range("::ffff:10.244.1.77/120").unwrap(), "10.244.1.0-10.244.1.255");
        assert_eq!(range("::ffff:0:0/95").unwrap(), "::fffe:0:0-::ffff:255.255.255.255");
        assert_eq!(range("::/0").unwrap(), "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        for bad in ["10.0.0.0", "10.0.0.0/33", "fd00::/129", "x/8", "10.0.0.0/-1", "/"] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_are_checked() {
        for bad in ["0", "-1", "NaN", "inf", "x"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
