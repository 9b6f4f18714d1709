//! Podtracer's command line and ours: the tool, its arguments, its output and its exit code.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use crate::fake::{container, sandbox};
use crate::harness::{Running, World, ask, eventually, tracer};
use crate::skip::skip;

#[test]
fn the_tool_runs_in_the_pods_namespace_in_both_forms() {
    let world = World::new();
    let expected = format!("{}\n", world.link());
    for mut command in [
        world.ours(&[], &["readlink", "/proc/self/ns/net"]),
        world.theirs(&["readlink", "-a", "/proc/self/ns/net", "-s"]),
        world.theirs(&["readlink", "--arguments", "/proc/self/ns/net", "--stdout"]),
        world.tracer([
            "run",
            "--local",
            "--pod",
            "web",
            "--namespace",
            "default",
            "--",
            "readlink",
            "/proc/self/ns/net",
        ]),
    ] {
        assert_eq!(ask(&mut command).all(), (Some(0), &*expected, ""), "{command:?}");
    }
}

#[test]
fn ip_says_what_it_says_in_the_namespace_itself() {
    let world = World::new();
    let run = || Command::new("ip").args(["addr", "show", "lo"]).output();
    let Ok(inside) = world.netns().run(run).unwrap() else { return skip("no ip (iproute2)") };
    let said = ask(&mut world.theirs(&["ip", "-a", "addr show lo", "-s"]));
    assert_eq!((said.code, said.out, &*said.err), (Some(0), inside.stdout, ""));
}

#[test]
fn the_callers_threads_stay_at_home() {
    let world = World::new();
    let home = fs::read_link("/proc/self/ns/net").unwrap();
    let running = Running::start(&mut world.ours(&[], &["sh", "-c", &format!("touch {}; sleep 60", world.text("on"))]));
    eventually("the tool", || world.path("on").exists().then_some(()));
    let threads = fs::read_dir(format!("/proc/{}/task", running.pid())).unwrap();
    for thread in threads {
        assert_eq!(fs::read_link(thread.unwrap().path().join("ns/net")).unwrap(), home);
    }
    assert_eq!(fs::read_link("/proc/self/ns/net").unwrap(), home);
}

#[test]
fn podtracers_form_prints_nothing_unless_told_to_and_ours_always() {
    let world = World::new();
    let said = ask(&mut world.theirs(&["sh", "-a", &format!("-c 'echo hi; touch {}'", world.text("ran"))]));
    assert_eq!((said.all(), world.path("ran").exists()), ((Some(0), "", ""), true));
    assert_eq!(ask(&mut world.theirs(&["echo", "-a", "hi", "-s"])).all(), (Some(0), "hi\n", ""));
    assert_eq!(ask(&mut world.ours(&[], &["echo", "hi"])).all(), (Some(0), "hi\n", ""));
    // What ours is told to do with it, it does alone.
    let file = world.text("out");
    assert_eq!(ask(&mut world.ours(&["-f", &file], &["echo", "hi"])).all(), (Some(0), "", ""));
    assert_eq!(ask(&mut world.ours(&["-s", "-f", &file], &["echo", "ho"])).all(), (Some(0), "ho\n", ""));
    assert_eq!(world.read("out"), "ho\n");
}

#[test]
fn podtracers_file_holds_exactly_the_output() {
    let world = World::new();
    fs::write(world.path("out"), "what a longer run before left there").unwrap();
    fs::set_permissions(world.path("out"), PermissionsExt::from_mode(0o755)).unwrap();
    for flag in ["-f", "--file"] {
        let said = ask(&mut world.theirs(&["printf", "-a", "short", flag, &world.text("out")]));
        assert_eq!((said.all(), &*world.read("out")), ((Some(0), "", ""), "short"));
    }
    assert_eq!(fs::metadata(world.path("out")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn podtracers_arguments_are_split_at_spaces_and_may_start_with_a_hyphen() {
    let world = World::new();
    for (text, expected) in [
        ("%s| a b", "a|b|"),
        ("  %s|  a   b  ", "a|b|"),
        ("%s| 'a b' \"c d\"", "a b|c d|"),
        ("%s| -t --pod --", "-t|--pod|--|"),
        ("-- %s| -a", "-a|"),
    ] {
        let said = ask(&mut world.theirs(&["printf", "-s", "-a", text]));
        assert_eq!(said.all(), (Some(0), expected, ""), "{text}");
    }
    assert_eq!(ask(&mut world.theirs(&["pwd", "-s", "-a", ""])).code, Some(0), "no argument, and not an empty one");
}

#[test]
fn arguments_arrive_exactly() {
    let world = World::new();
    let words = ["%s|", "a b", "", "c'd", "*", "--help", "-s", "--", "$HOME", "é\n"];
    let mut command = world.ours(&[], &[&["printf"], &words[..]].concat());
    command.arg(OsStr::from_bytes(b"\xff\xfe"));
    let said = ask(&mut command);
    assert_eq!((said.code, &*said.err), (Some(0), ""));
    let expected = [words[1..].join("|").as_bytes(), b"|\xff\xfe|"].concat();
    assert_eq!(said.out.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

#[test]
fn standard_input_is_the_tools() {
    let world = World::new();
    for flags in [&[][..], &["-s", "-f", "/dev/null"]] {
        let mut child = world.ours(flags, &["cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let bytes = vec![b'x'; 1 << 20];
        let written = bytes.clone();
        let writer = std::thread::spawn(move || input.write_all(&written).unwrap());
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(output.status.success() && output.stdout == bytes, "{} bytes", output.stdout.len());
    }
}

#[test]
fn standard_output_and_standard_error_stay_apart() {
    let world = World::new();
    let both = "echo out; echo err >&2";
    assert_eq!(ask(&mut world.ours(&[], &["sh", "-c", both])).all(), (Some(0), "out\n", "err\n"));
    assert_eq!(ask(&mut world.theirs(&["sh", "-a", "-c 'echo out; echo err >&2'"])).all(), (Some(0), "", "err\n"));
}

#[test]
fn the_exit_code_is_the_tools() {
    let world = World::new();
    for (tool, code) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 3"], 3),
        (&["sh", "-c", "exit 255"], 255),
        (&["sh", "-c", "kill -TERM $$"], 143),
        (&["sh", "-c", "kill -KILL $$"], 137),
    ] {
        let said = ask(&mut world.ours(&[], tool));
        assert_eq!(said.all(), (Some(code), "", ""), "{tool:?}");
    }
    assert_eq!(ask(&mut world.theirs(&["sh", "-a", "-c 'exit 3'"])).all(), (Some(3), "", ""));
}

#[test]
fn podtracers_booleans_and_durations_are_gos() {
    let world = World::new();
    for (flag, expected) in
        [("-s=1", "hi\n"), ("-s=T", "hi\n"), ("--stdout=TRUE", "hi\n"), ("-s=0", ""), ("--stdout=False", "")]
    {
        let said = ask(&mut world.theirs(&["echo", "-a", "hi", flag]));
        assert_eq!(said.all(), (Some(0), expected, ""), "{flag}");
    }
    for time in ["1.5m0.5s", "+1h", "100000000us", "100000000\u{b5}s"] {
        let said = ask(&mut world.theirs(&["echo", "-a", "hi", "-s", "-t", time]));
        assert_eq!(said.all(), (Some(0), "hi\n", ""), "{time}");
    }
    for time in ["0", "0s", ".5s"] {
        let mut running = Running::start(&mut world.theirs(&["sleep", "-a", "60", "-t", time]));
        assert_eq!(running.ends().all(), (Some(0), "", ""), "{time}");
    }
}

#[test]
fn what_is_given_and_empty_is_as_if_it_was_not_given() {
    let world = World::new();
    let empty = ["--config", "", "--host-root", "", "--node", "", "--file", "", "--stream", "", "--audit", ""];
    assert_eq!(ask(&mut world.ours(&empty, &["echo", "hi"])).all(), (Some(0), "hi\n", ""));
    #[cfg(feature = "api")]
    assert_eq!(
        ask(&mut world.ours(&["--kubeconfig", "", "--context", ""], &["echo", "hi"])).all(),
        (Some(0), "hi\n", "")
    );
    let mut command = world.ours(&[], &["echo", "hi"]);
    for name in ["PODTRAIL_HOST_ROOT", "NODE_NAME", "PODTRAIL_AUDIT", "PODTRAIL_LOG", "PODTRAIL_LOG_FORMAT", "RUST_LOG"]
    {
        command.env(name, "");
    }
    assert_eq!(ask(&mut command).all(), (Some(0), "hi\n", ""));
}

/// A process in the pod's namespace, as a sandbox has one.
struct Inhabitant(Child);

impl Drop for Inhabitant {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn each_runtime_says_in_its_own_way_where_the_namespace_is() {
    let world = World::new();
    let inhabitant = Inhabitant(world.netns().command("sleep").arg("60").spawn().unwrap());
    let process = format!(r#"{{"sandboxID":"aa","pid":{}}}"#, inhabitant.0.id());
    let path = |info: &str| {
        let start = info.find("/var/run/netns/").unwrap();
        let end = start + info[start..].find('"').unwrap();
        format!("{}{}{}", &info[..start], world.network(), &info[end..])
    };
    let containerd = path(include_str!("../../../../crates/cri/tests/cri/info/containerd-sandbox.json"));
    let shim = path(include_str!("../../../../crates/cri/tests/cri/info/containerd2-shim.json"));
    let crio = path(include_str!("../../../../crates/cri/tests/cri/info/crio-spoofed.json"));
    for (runtime, of_sandbox, of_container) in [
        ("containerd", &*containerd, ""),
        ("containerd 2", &shim, ""),
        ("CRI-O", &crio, ""),
        ("a runtime that says a process alone", &process, ""),
        ("cri-dockerd", "", &process),
    ] {
        world.has(vec![sandbox("aa", "web", "u1", of_sandbox)]);
        world.fake.state().containers = vec![("aa".to_owned(), container("c1", "app", of_container))];
        let said = ask(&mut world.ours(&[], &["readlink", "/proc/self/ns/net"]));
        assert_eq!(said.all(), (Some(0), &*format!("{}\n", world.link()), ""), "{runtime}");
    }
}

#[test]
fn a_process_is_looked_for_where_podtracers_manifests_mount_it() {
    let world = World::new();
    let inhabitant = Inhabitant(world.netns().command("sleep").arg("60").spawn().unwrap());
    std::os::unix::fs::symlink("/proc", world.path("proc")).unwrap();
    world.has(vec![sandbox("aa", "web", "u1", &format!(r#"{{"pid":{}}}"#, inhabitant.0.id()))]);
    let said = ask(&mut world.ours(&["--host-root", &world.text("")], &["readlink", "/proc/self/ns/net"]));
    assert_eq!(said.all(), (Some(0), &*format!("{}\n", world.link()), ""));
}

#[test]
fn version_has_podtracers_five_lines() {
    let said = ask(&mut tracer(["version"]));
    let names: Vec<_> = said.text().lines().map(|line| line.split_once(":\t ").unwrap().0).collect();
    assert_eq!((said.code, names), (Some(0), vec!["Version", "Go Version", "Build Time", "Git User", "Git Commit"]));
    assert!(said.text().starts_with(concat!("Version:\t ", env!("CARGO_PKG_VERSION"), "\n")), "{}", said.text());
}

#[test]
fn podtracers_config_and_log_level_are_taken() {
    let world = World::new();
    let said = ask(&mut world.theirs(&["echo", "-a", "hi", "-s", "--config", "/nowhere/podtracer.yaml"]));
    assert_eq!((said.code, said.text()), (Some(0), "hi\n"));
    assert!(said.err.contains("--config and --toggle do nothing"), "{}", said.err);
    assert_eq!(ask(&mut tracer(["-t", "version"])).code, Some(0));
    let said = ask(world.theirs(&["echo", "-a", "hi", "-s"]).env("PODTRACER_LOGLEVEL", "DEBUG"));
    assert_eq!((said.code, said.text()), (Some(0), "hi\n"));
}

#[test]
fn help_says_how_to_use_it_and_what_exit_codes_mean() {
    for (args, words) in [
        (&["--help"][..], "Exit codes: 0 done; 1 failure; 64 bad usage; 69"),
        (&["run", "--help"], "tracer run <TOOL> -a \"<ARGS>\" --pod <NAME> -n <NAMESPACE>"),
        (&["capture", "--help"], "wireshark -k -i -"),
        (&["ns", "--help"], "neighbours"),
        (&["annotate", "--help"], "--ledger"),
        (&["receive", "--help"], "--listen"),
        (&["completions", "bash"], "complete -F _tracer"),
        (&["completions", "zsh"], "#compdef tracer"),
        (&["completions", "fish"], "complete -c tracer"),
        (&["--version"], concat!("tracer ", env!("CARGO_PKG_VERSION"))),
    ] {
        let said = ask(&mut tracer(args));
        assert_eq!((said.code, &*said.err), (Some(0), ""), "{args:?}");
        assert!(said.text().contains(words), "{args:?}: {}", said.text());
    }
}
