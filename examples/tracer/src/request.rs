//! What is asked for, once it is known to make sense.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::anyhow;
use podtrail_daemon::Failure;
use podtrail_netns::Capabilities;

use crate::args::{Kind, PodArgs, RunArgs, given};
use crate::arguments;

/// Which pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    One {
        namespace: String,
        name: String,
    },
    /// All of this node with these labels, of one namespace or of all.
    Labelled {
        namespace: Option<String>,
        selector: String,
    },
}

impl Wanted {
    pub(crate) fn of(args: &PodArgs) -> Result<Self, Failure> {
        let usage = |text: String| Failure::usage(anyhow!(text));
        if let Some(selector) = &args.selector {
            if selector.trim().is_empty() {
                return Err(usage("-l has no label: all pods are not meant by mistake".to_owned()));
            }
            return Ok(Self::Labelled { namespace: args.namespace.clone(), selector: selector.clone() });
        }
        let pod = args.pod.as_deref().unwrap_or_default();
        let (namespace, name) = match (pod.split_once('/'), &args.namespace) {
            (Some((in_pod, _)), Some(flag)) if in_pod != flag => {
                return Err(usage(format!("--pod {pod} is not in the namespace that -n names, {flag}")));
            }
            (Some((namespace, name)), _) => (namespace, name),
            (None, Some(namespace)) => (namespace.as_str(), pod),
            (None, None) => {
                return Err(usage(format!(
                    "the namespace of pod {pod} is missing: --pod NAMESPACE/{pod}, or -n NAMESPACE"
                )));
            }
        };
        // What a DNS subdomain is made of; so that none is taken for a path or a pattern of something.
        let is_name = |text: &str| {
            let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
            (1..=253).contains(&text.len()) && text.chars().all(inner) && !text.starts_with(['.', '-'])
        };
        match [namespace, name].into_iter().find(|text| !is_name(text)) {
            Some(text) => Err(usage(format!("{text:?} is no name of a pod or namespace"))),
            None => Ok(Self::One { namespace: namespace.to_owned(), name: name.to_owned() }),
        }
    }

    pub(crate) const fn is_many(&self) -> bool {
        matches!(self, Self::Labelled { .. })
    }
}

/// A tool, with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
}

/// What the tool may keep of the capabilities that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    These(Capabilities),
    /// All, and it may gain others.
    Everything,
}

/// Where the tool's output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sinks {
    pub(crate) stdout: bool,
    /// With `{namespace}` and `{pod}` where those of the pod are to be.
    pub(crate) file: Option<String>,
    pub(crate) snoopy: Option<podtrail_wire::Destination>,
    pub(crate) stream: Option<podtrail_wire::Destination>,
}

impl Sinks {
    /// What they are, in words.
    pub(crate) fn names(&self) -> Vec<String> {
        let stdout = self.stdout.then(|| "stdout".to_owned());
        let file = self.file.as_ref().map(|file| format!("file:{file}"));
        let snoopy = self.snoopy.as_ref().map(|to| format!("snoopy:{to}"));
        let stream = self.stream.as_ref().map(|to| format!("stream:{to}"));
        [stdout, file, snoopy, stream].into_iter().flatten().collect()
    }

    pub(crate) fn file_of(&self, namespace: &str, pod: &str) -> Option<PathBuf> {
        // One after the other: neither can have the other's mark in it, since no name has a brace.
        self.file.as_ref().map(|file| file.replace("{namespace}", namespace).replace("{pod}", pod).into())
    }
}

/// A tool to run in pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) wanted: Wanted,
    pub(crate) tool: Tool,
    pub(crate) sinks: Sinks,
    pub(crate) keep: Keep,
}

impl Request {
    pub(crate) fn of(args: &RunArgs) -> Result<Self, Failure> {
        let wanted = Wanted::of(&args.pods)?;
        let sinks = sinks(args, wanted.is_many())?;
        if args.enter.contains(&Kind::Pid) && !args.enter.contains(&Kind::Mount) {
            let text = "--enter pid needs mount too: a process of the container could reach this machine's files through the tool";
            return Err(Failure::usage(anyhow!(text)));
        }
        Ok(Self { tool: tool(args)?, keep: keep(args)?, wanted, sinks })
    }
}

fn tool(args: &RunArgs) -> Result<Tool, Failure> {
    if let Some(first) = args.stray.first() {
        let line = args
            .tool
            .iter()
            .chain(&args.stray)
            .map(|word| word.escape_debug().to_string())
            .collect::<Vec<_>>()
            .join(" ");
        let text = format!(
            "unexpected argument `{}`: give the tool and its arguments after `--`, such as `-- {line}`",
            first.escape_debug()
        );
        return Err(Failure::usage(anyhow!(text)));
    }
    let tool = match (&args.tool, &args.command[..]) {
        (None, []) => return Err(Failure::usage(anyhow!("no tool: say which after `--`, such as `-- ip addr`"))),
        (Some(first), [second, ..]) => {
            let (first, second) = (first.escape_debug(), second.to_string_lossy());
            let text = format!("two tools: `{first}` and, after `--`, `{}`; give one of them", second.escape_debug());
            return Err(Failure::usage(anyhow!(text)));
        }
        (None, [program, arguments @ ..]) => Tool { program: program.clone(), arguments: arguments.to_vec() },
        (Some(program), []) => {
            let text = args.arguments.as_deref().unwrap_or_default();
            let arguments = arguments::split(text).map_err(|e| Failure::usage(anyhow::Error::new(e).context("-a")))?;
            Tool { program: program.into(), arguments: arguments.into_iter().map(Into::into).collect() }
        }
    };
    if tool.program.is_empty() {
        return Err(Failure::usage(anyhow!("the tool's name is empty")));
    }
    Ok(tool)
}

/// In podtracer's form output goes where it is told to, and nowhere else.
fn sinks(args: &RunArgs, many: bool) -> Result<Sinks, Failure> {
    let [file, host, port, stream] =
        [&args.file, &args.destination, &args.port, &args.stream].map(|text| given(text.as_deref()));
    let elsewhere = file.is_some() || host.is_some() || stream.is_some();
    let stdout = args.stdout || (args.tool.is_none() && !elsewhere);
    let is_one = |file: &str| file.contains("{pod}") && (args.pods.namespace.is_some() || file.contains("{namespace}"));
    if many && file.is_some_and(|file| !is_one(file)) {
        let text = "many pods cannot write to one file: put {pod} into its name, and {namespace} too unless -n is said";
        return Err(Failure::usage(anyhow!(text)));
    }
    let snoopy = match (host, port) {
        (Some(host), Some(port)) => Some(podtrail_wire::Destination::new(host, port)).transpose(),
        (None, None) => Ok(None),
        (Some(_), None) => return Err(Failure::usage(anyhow!("-d is a host: say its --port too"))),
        (None, Some(_)) => return Err(Failure::usage(anyhow!("-p is a port: say which host's with --destination"))),
    };
    let stream = stream.map(str::parse).transpose();
    Ok(Sinks {
        stdout,
        file: file.map(str::to_owned),
        snoopy: snoopy.map_err(Failure::usage)?,
        stream: stream.map_err(Failure::usage)?,
    })
}

/// What the tools of this trade need, and none that leads out of the pod's network.
fn keep(args: &RunArgs) -> Result<Keep, Failure> {
    if args.privileged {
        return Ok(Keep::Everything);
    }
    // ip and ss; tcpdump and ping, which otherwise cannot even be started where its file has it; servers below port 1024.
    let network = Capabilities::NET_ADMIN | Capabilities::NET_RAW | Capabilities::NET_BIND_SERVICE;
    // tcpdump gives its file to a user of its own and becomes that user; timeout(1) and shells end what they started also then.
    let users = Capabilities::CHOWN | Capabilities::SETGID | Capabilities::SETUID | Capabilities::KILL;
    // Files that root may write to, whosever they are.
    let files = Capabilities::DAC_OVERRIDE | Capabilities::FOWNER;
    let usual = network | users | files;
    let added = args.cap_add.iter().try_fold(usual, |kept, name| {
        let more: Capabilities = name.parse().map_err(Failure::usage)?;
        Ok::<_, Failure>(kept | more)
    })?;
    Ok(Keep::These(added))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn request(line: &[&str]) -> Result<Request, String> {
        let words = ["tracer", "run"].iter().chain(line);
        let cli = Cli::try_parse_from(words).map_err(|e| e.to_string())?;
        let Command::Run(args) = cli.command else { panic!("it is run") };
        Request::of(&args).map_err(|failure| format!("{:#}", failure.error))
    }

    #[test]
    fn podtracers_form_and_ours_mean_the_same_tool() {
        let theirs = request(&["ip", "-a", "addr  show", "--pod", "p", "-n", "ns"]).unwrap();
        let ours = request(&["--pod", "ns/p", "--", "ip", "addr", "show"]).unwrap();
        assert_eq!((&theirs.tool, &theirs.wanted), (&ours.tool, &ours.wanted));
        assert!(!theirs.sinks.stdout && ours.sinks.stdout);
        assert!(request(&["ip", "-s", "--pod", "p", "-n", "ns"]).unwrap().sinks.stdout);
        assert!(!request(&["--pod", "ns/p", "-f", "x", "--", "ip"]).unwrap().sinks.stdout);
        let hyphens = request(&["tcpdump", "-a", "-i eth0", "-t", "5s", "--pod", "p", "-n", "ns"]).unwrap();
        assert_eq!(hyphens.tool.arguments, ["-i", "eth0"]);
    }

    #[test]
    fn what_templates_leave_empty_was_not_given() {
        let empty = ["ip", "-a", "", "-t", "", "-d", "", "-p", "", "-f", "", "--stdout=true", "--pod", "p", "-n", "ns"];
        let request = request(&empty).unwrap();
        assert!(request.sinks == Sinks { stdout: true, file: None, snoopy: None, stream: None });
        assert!(request.tool.arguments.is_empty());
        let again = ["ip", "--stdout=true", "-s", "--stdout=false", "--pod", "x", "--pod", "p", "-n", "ns"];
        let request = self::request(&again).unwrap();
        assert_eq!(
            (request.sinks.stdout, request.wanted),
            (false, Wanted::One { namespace: "ns".into(), name: "p".into() })
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_says_why() {
        let cases: [(&[&str], &str); 15] = [
            (&["--pod", "p", "--", "ip"], "the namespace of pod p is missing"),
            (&["--pod", "a/p", "-n", "b", "--", "ip"], "is not in the namespace that -n names"),
            (&["--pod", "a/p"], "no tool"),
            (&["ip", "--pod", "a/p", "--", "ss"], "two tools"),
            (&["ip", "-a", "x 'y", "--pod", "a/p"], "never closed"),
            (&["--pod", "a/../p", "--", "ip"], "no name of a pod"),
            (&["--pod", "A/p", "--", "ip"], "no name of a pod"),
            (&["--pod", "a/p", "-d", "host", "-p", "0", "--", "ip"], "port"),
            (&["--pod", "a/p", "-d", "host", "--", "ip"], "--port"),
            (&["--pod", "a/p", "--cap-add", "FLY", "--", "ip"], "FLY"),
            (&["-l", "app=web", "-f", "out", "--", "ip"], "{pod}"),
            (&["-l", "app=web", "-f", "{pod}.txt", "--", "ip"], "{namespace}"),
            (&["-l", " ", "--", "ip"], "no label"),
            (&["--pod", "a/p", "--", ""], "empty"),
            (&["--pod", "a/p", "--enter", "uts,pid", "--", "ps"], "needs mount too"),
        ];
        for (line, why) in cases {
            let refusal = request(line).expect_err("it is refused");
            assert!(refusal.contains(why), "{line:?}: {refusal}");
        }
    }
}
