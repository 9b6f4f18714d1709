//! The command line.

use std::ffi::OsStr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::builder::{NonEmptyStringValueParser, OsStringValueParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::go;

/// Run a tool in a pod's network namespace, look into it, capture its packets.
///
/// It runs on the pod's node, on which it asks the container runtime for the pod's sandbox. The tool is one of this machine's
/// (or image's): a pod needs no shell, no capability and no change.
///
/// Exit codes: 0 done; 1 failure; 64 bad usage; 69 the pod, the runtime or a permission is not to be had. `run` ends with the
/// tool's exit code, with 128 and its number when a signal ended the tool, 126 or 127 when it cannot be started or found, and
/// 0 when the timer ended it.
#[derive(Debug, Parser)]
#[command(name = "tracer", version, propagate_version = true)]
pub(crate) struct Cli {
    /// Taken for the sake of podtracer's users; it never did anything
    #[arg(short = 't', long, hide = true, num_args = 0..=1, require_equals = true, value_name = "BOOL", value_parser = go::boolean)]
    pub(crate) toggle: Option<Option<bool>>,
    #[command(flatten)]
    pub(crate) log: podtrail_daemon::LogArgs,
    /// Taken for the sake of podtracer's users; it never held anything
    #[arg(long, global = true, hide = true, value_name = "FILE", value_parser = path())]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a tool in the network namespace of a pod, or of many
    Run(Box<RunArgs>),
    /// Show a pod's interfaces, addresses, routes, neighbours and sockets
    Ns(NsArgs),
    /// Write a pod's packets to a pcapng file, with the names of pods
    Capture(Box<CaptureArgs>),
    /// Copy a pcap or pcapng file, with the pods that held the addresses when the packets passed
    Annotate(AnnotateArgs),
    /// Take in what `run` sends with --stream or --destination, and write it to files
    Receive(ReceiveArgs),
    /// Print which version this is
    Version,
    /// Print completions for a shell
    Completions(podtrail_daemon::Completions),
}

/// Which pods, and where they are found.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pods")]
pub(crate) struct PodArgs {
    /// The pod: NAMESPACE/NAME, or NAME with -n
    #[arg(long, value_name = "POD", value_parser = NonEmptyStringValueParser::new(), required_unless_present = "selector")]
    pub(crate) pod: Option<String>,
    /// The pod's namespace
    #[arg(short, long, value_name = "NAMESPACE", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) namespace: Option<String>,
    /// All pods of this node with these labels, such as app=web,tier=front; of one namespace with -n. The Kubernetes API knows
    /// `tier!=db` and `app in (web,db)` too; the container runtime, which --local asks, does not
    #[arg(short = 'l', long, value_name = "LABELS", conflicts_with = "pod", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) selector: Option<String>,
    /// Ask only the node's container runtime for the pod, not the Kubernetes API
    #[arg(long)]
    pub(crate) local: bool,
    /// The node that this is; else $NODE_NAME, or the host's name
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub(crate) node: Option<String>,
    /// The runtime's socket, such as unix:///run/containerd/containerd.sock; else the first of the usual ones that is there
    #[arg(long, value_name = "ENDPOINT", env = "CONTAINER_RUNTIME_ENDPOINT")]
    pub(crate) runtime_endpoint: Option<String>,
    /// Where the node's /proc and /run are mounted, in a container; else /host where there is a /host/run, and /host/proc where
    /// only that is there
    #[arg(long, value_name = "DIR", env = "PODTRAIL_HOST_ROOT", value_parser = path())]
    pub(crate) host_root: Option<PathBuf>,
    /// Let it be a pod of the host's network: it has no network namespace of its own. In a container this needs hostPID, since
    /// the runtime names a process of the node
    #[arg(long)]
    pub(crate) allow_host: bool,
    /// Which kubeconfig to use; else $KUBECONFIG, ~/.kube/config, or the service account
    #[cfg(feature = "api")]
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Which context of it
    #[cfg(feature = "api")]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

#[derive(Debug, Args)]
#[command(
    args_override_self = true,
    override_usage = "tracer run [OPTIONS] --pod <NAMESPACE/NAME> -- <TOOL> [ARGS]...\n       \
                      tracer run [OPTIONS] -l <LABELS> -- <TOOL> [ARGS]...\n       \
                      tracer run <TOOL> -a \"<ARGS>\" --pod <NAME> -n <NAMESPACE> [-s] [-f FILE] [-d HOST -p PORT] [-t TIME]",
    after_long_help = "The third form is podtracer's. There the tool's output goes only where -s, -f and -d say, and -a is\n\
                       split at spaces, except within quotes. In the others output goes to standard output unless -f, -d or\n\
                       --stream says otherwise, and arguments reach the tool as they are."
)]
pub(crate) struct RunArgs {
    /// The tool, in podtracer's form
    #[arg(value_name = "TOOL")]
    pub(crate) tool: Option<String>,
    /// What was meant for the tool and has no `--` in front: refused, with a word on that
    #[arg(hide = true, value_name = "STRAY")]
    pub(crate) stray: Vec<String>,
    /// The tool and its arguments, as they are
    #[arg(last = true, value_name = "TOOL [ARGS]", num_args = 0..)]
    pub(crate) command: Vec<std::ffi::OsString>,
    /// The tool's arguments, in podtracer's form: one text, split at spaces
    #[arg(short, long, value_name = "ARGS", allow_hyphen_values = true, requires = "tool")]
    pub(crate) arguments: Option<String>,

    #[command(flatten)]
    pub(crate) pods: PodArgs,

    /// Copy the tool's output to standard output
    #[arg(short, long, help_heading = "Output", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true", value_name = "BOOL", value_parser = go::boolean,
          hide_default_value = true)]
    pub(crate) stdout: bool,
    /// Write the tool's output to this file, which is emptied first; {namespace} and {pod} stand for the pod's
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub(crate) file: Option<String>,
    /// Send the tool's output to this host, by snoopy's protocol
    #[arg(short, long, value_name = "HOST", help_heading = "Output")]
    pub(crate) destination: Option<String>,
    /// The port there
    #[arg(short, long, value_name = "PORT", help_heading = "Output")]
    pub(crate) port: Option<String>,
    /// Send the tool's output to `tracer receive` at HOST:PORT, which acknowledges what it has on its disk
    #[arg(long, value_name = "HOST:PORT", help_heading = "Output")]
    pub(crate) stream: Option<String>,

    /// End the tool, and all that it started, after this time, such as 30s or 1m30s
    #[arg(short, long, value_name = "TIME", help_heading = "Tool", default_value = "", hide_default_value = true, allow_hyphen_values = true, value_parser = timer)]
    pub(crate) timer: Timer,
    /// The container whose namespaces --enter means; else the first that runs. All of a pod's have one network
    #[arg(long, value_name = "CONTAINER", help_heading = "Tool")]
    pub(crate) container: Option<String>,
    /// Enter these of the container's namespaces too. With mount, the tool and its files are the container's
    #[arg(long, value_name = "KINDS", value_enum, value_delimiter = ',', help_heading = "Tool")]
    pub(crate) enter: Vec<Kind>,
    /// Let the tool keep this capability as well, such as SYS_PTRACE; may be given again
    #[arg(long, value_name = "NAME", action = ArgAction::Append, help_heading = "Tool")]
    pub(crate) cap_add: Vec<String>,
    /// Let the tool keep all capabilities that there are, and gain others
    #[arg(long, conflicts_with = "cap_add", help_heading = "Tool")]
    pub(crate) privileged: bool,
    /// In how many pods at a time, with -l
    #[arg(long, value_name = "N", default_value = "32", help_heading = "Tool")]
    pub(crate) parallel: NonZeroUsize,

    /// Write an audit event when the tool starts and when it has ended: stdout, or file:PATH. It does not start unless that can
    /// be written
    #[arg(long, value_name = "SPEC", env = "PODTRAIL_AUDIT", help_heading = "Audit")]
    pub(crate) audit: Option<String>,
}

/// A kind of namespace, besides that of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Its files, with the pod's /etc/resolv.conf and /etc/hosts
    Mount,
    /// Its host name
    Uts,
    /// Its shared memory and message queues
    Ipc,
    /// Its processes
    Pid,
}

#[derive(Debug, Args)]
pub(crate) struct NsArgs {
    #[command(flatten)]
    pub(crate) pods: PodArgs,
    /// What to show; everything unless something is named
    #[arg(value_enum, value_name = "WHAT")]
    pub(crate) what: Vec<Part>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Network devices, with their counters
    Interfaces,
    /// Addresses of the devices
    Addresses,
    /// All routing tables
    Routes,
    /// Who is known on the links
    Neighbours,
    /// TCP and UDP sockets
    Sockets,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tables for people
    Table,
    /// One JSON object a pod
    Json,
}

#[derive(Debug, Args)]
#[command(after_long_help = "To watch in Wireshark:\n\n    \
                             tracer capture --pod shop/web-0 -w - | wireshark -k -i -\n    \
                             ssh NODE tracer capture --pod shop/web-0 -w - 'tcp port 80' | wireshark -k -i -")]
pub(crate) struct CaptureArgs {
    #[command(flatten)]
    pub(crate) pods: PodArgs,
    /// Only packets that match, in tcpdump's language, such as `tcp port 80 and host 10.244.0.7`
    #[arg(value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// The file; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(crate) write: String,
    /// Only at this interface; may be given again. Else at all
    #[arg(short, long, value_name = "NAME")]
    pub(crate) interface: Vec<String>,
    /// The ledger that says which pod held an address
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub(crate) ledger: Option<PathBuf>,
    /// How many bytes of a packet to keep
    #[arg(short = 'S', long, value_name = "BYTES", default_value_t = 262_144, value_parser = clap::value_parser!(u32).range(64..=262_144))]
    pub(crate) snap_length: u32,
    /// The memory for packets that are not written yet, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) buffer: u32,
    /// End after so many packets
    #[arg(short = 'c', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// End after this time
    #[arg(short, long, value_name = "TIME", allow_hyphen_values = true, value_parser = time)]
    pub(crate) timer: Option<Duration>,
    /// Start another file when one has this size, such as 100MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) rotate_size: Option<u64>,
    /// Start another file after this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) rotate_time: Option<Duration>,
    /// Keep only so many of the last files
    #[arg(long, value_name = "N")]
    pub(crate) keep: Option<NonZeroU32>,
    /// Take in what is meant for others too
    #[arg(long)]
    pub(crate) promiscuous: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AnnotateArgs {
    /// The file to read; - is standard input
    #[arg(value_name = "INPUT")]
    pub(crate) input: PathBuf,
    /// The file to write; - is standard output
    #[arg(value_name = "OUTPUT", default_value = "-")]
    pub(crate) output: PathBuf,
    /// The ledger that says which pod held an address
    #[arg(long, value_name = "FILE", default_value = "podtrail.db")]
    pub(crate) ledger: PathBuf,
    /// The network that the addresses are of
    #[arg(long, value_name = "NAME", default_value = podtrail_event::DEFAULT_NETWORK)]
    pub(crate) network: String,
}

#[derive(Debug, Args)]
pub(crate) struct ReceiveArgs {
    /// Where to listen. There is no encryption: listen where only the senders reach it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:51001")]
    pub(crate) listen: std::net::SocketAddr,
    /// How many streams there may be at once; one address may have half of them, so raise it where senders share one
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=16_384))]
    pub(crate) max_streams: u16,
    /// How many files the folder may hold; a stream of `run --stream` has two
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(crate) max_files: u64,
    /// How long one of them may become, such as 100MiB
    #[arg(long, value_name = "SIZE", default_value = "16GiB", value_parser = size)]
    pub(crate) max_file_size: u64,
    /// How much of the folder's file system stays free
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size)]
    pub(crate) keep_free: u64,
    /// The folder for the files
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

/// What was given of a flag or a variable: one that is empty, as templates write it, is none.
pub(crate) fn given<T: AsRef<OsStr> + ?Sized>(value: Option<&T>) -> Option<&T> {
    value.filter(|value| !value.as_ref().is_empty())
}

/// A path that may be empty, for [`given`].
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// When the timer ends a tool, if it does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timer(pub(crate) Option<Duration>);

fn timer(text: &str) -> anyhow::Result<Timer> {
    // None at all is one, as it was for podtracer: the tool is ended when it has started.
    given(Some(text)).map(duration).transpose().map(Timer)
}

fn time(text: &str) -> anyhow::Result<Duration> {
    let time = duration(text)?;
    ensure!(!time.is_zero(), "nothing can be done in no time");
    Ok(time)
}

fn duration(text: &str) -> anyhow::Result<Duration> {
    let time = go::duration(text).map_or_else(|| podtrail_daemon::duration(text), Ok)?;
    ensure!(time <= Duration::from_secs(365 * 86_400), "more than a year");
    Ok(time)
}

fn size(text: &str) -> Result<u64, &'static str> {
    podtrail_writer::size(text).ok_or("not a size above 0, such as 100MiB")
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
    fn sizes_and_times_are_checked() {
        assert_eq!(size("3MiB"), Ok(3 << 20));
        for text in ["", "MiB", "-1", "0", "1MB", "99999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert_eq!(time("1m30s").unwrap(), Duration::from_secs(90));
        for text in ["", "5", "-1s", "0s", "9999h", "soon"] {
            assert!(time(text).is_err(), "{text}");
        }
        for (text, expected) in
            [("", None), ("0", Some(0)), ("0s", Some(0)), ("1.5m0.5s", Some(90_500)), ("1 min", Some(60_000))]
        {
            assert_eq!(timer(text).unwrap().0, expected.map(Duration::from_millis), "{text}");
        }
        for text in ["-1s", "9999h"] {
            assert!(timer(text).is_err(), "{text}");
        }
    }
}
