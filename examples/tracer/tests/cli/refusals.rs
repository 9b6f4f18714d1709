//! What is refused: with which exit code, and in which words.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::fake::{Fault, NamespaceMode, PodSandboxStatusResponse, container};
use crate::harness::{World, ask, under};
use crate::skip::skip;

#[test]
fn bad_usage_is_64_and_says_what_is_wrong() {
    let world = World::new();
    let pod = ["run", "--local", "--pod", "default/web"];
    for (args, words) in [
        (&["run", "-n", "default", "--local", "ip"][..], "--pod"),
        (&["run", "--pod", "web", "--local", "ip"], "the namespace of pod web is missing: --pod NAMESPACE/web, or -n"),
        (&pod, "no tool: say which after `--`"),
        (&[&pod[..], &["ip", "--", "ss"]].concat(), "two tools"),
        (&[&pod[..], &["ip", "-a", "addr 'show"]].concat(), "never closed"),
        (&[&pod[..], &["-a", "x", "--", "ip"]].concat(), "required"),
        (&[&pod[..], &["-t", "5", "--", "ip"]].concat(), "not a duration, such as 30s"),
        (&[&pod[..], &["--timer=-5s", "--", "ip"]].concat(), "a duration cannot be negative"),
        (&[&pod[..], &["-s=yes", "--", "ip"]].concat(), "neither true nor false"),
        (&[&pod[..], &["-d", "300.1.1.1", "-p", "1", "--", "ip"]].concat(), "300.1.1.1"),
        (&[&pod[..], &["-d", "127.0.0.1", "-p", "x", "--", "ip"]].concat(), "give a number from 1 to 65535"),
        (&[&pod[..], &["-d", "127.0.0.1", "--", "ip"]].concat(), "--port"),
        (&[&pod[..], &["--cap-add", "FLY", "--", "ip"]].concat(), "\"FLY\" is no name for a capability"),
        (&[&pod[..], &["--audit", "paper", "--", "ip"]].concat(), "--audit"),
        (&[&pod[..], &["--runtime-endpoint", "tcp://h:1", "--", "ip"]].concat(), "unix:///path/of/its.sock"),
        (&["run", "--local", "-l", "app in (web", "--", "ip"], "app in (web"),
        (&["run", "--local", "-l", "app=web", "-f", "out", "--", "ip"], "put {pod} into its name"),
        (&[&pod[..], &["ip", "addr"]].concat(), "after `--`, such as `-- ip addr`"),
        (&[&pod[..], &["ip", "addr", "show", "--", "x"]].concat(), "after `--`, such as `-- ip addr show`"),
        (&[&pod[..], &["-t", "-5s", "--", "ip"]].concat(), "a duration cannot be negative"),
        (&["capture", "--pod", "default/web", "-t", "-5s"], "a duration cannot be negative"),
        (&["fly"], "unrecognized subcommand"),
    ] {
        let said = ask(&mut world.tracer(args));
        assert_eq!((said.code, said.text()), (Some(64), ""), "{args:?}: {}", said.err);
        assert!(said.err.contains(words), "{args:?}: {}", said.err);
    }
}

#[test]
fn a_container_that_is_named_is_there() {
    let world = World::new();
    world.fake.state().containers = vec![("aa".to_owned(), container("c1", "app", "{}"))];
    assert_eq!(ask(&mut world.ours(&["--container", "app"], &["true"])).code, Some(0));
    let said = ask(&mut world.ours(&["--container", "none"], &["true"]));
    assert_eq!((said.code, &*said.err), (Some(69), "error: pod default/web has no container none; it has app\n"));
}

#[test]
fn a_pod_that_cannot_be_entered_is_69_and_says_why() {
    let world = World::new();
    let changed = |change: &dyn Fn(&mut PodSandboxStatusResponse)| {
        let mut sandbox = world.sandbox("aa", "web", "u1");
        change(&mut sandbox);
        sandbox
    };
    for (sandboxes, words) in [
        (vec![], "default/web"),
        (vec![world.sandbox("bb", "db", "u2")], "default/web"),
        (vec![changed(&|sandbox| sandbox.status().state = 1)], "not ready"),
        (vec![world.sandbox("aa", "web", "u1"), world.sandbox("bb", "web", "u2")], "u2"),
        (vec![changed(&|sandbox| sandbox.info.clear())], "does not say where the network namespace"),
        (vec![changed(&|sandbox| drop(sandbox.info.insert("info".into(), "{".into())))], "not what runtimes give"),
    ] {
        world.has(sandboxes);
        let said = ask(&mut world.ours(&[], &["touch", &world.text("ran")]));
        assert_eq!((said.code, said.text(), world.path("ran").exists()), (Some(69), "", false), "{}", said.err);
        assert!(said.err.starts_with("error: cannot enter pod default/web: "), "{}", said.err);
        assert!(said.err.contains(words), "{words}: {}", said.err);
    }
}

#[test]
fn the_hosts_network_needs_a_word() {
    let world = World::new();
    let mut host = world.sandbox("aa", "web", "u1");
    let namespaces = host.status().linux.as_mut().unwrap().namespaces.as_mut().unwrap();
    namespaces.options.as_mut().unwrap().network = NamespaceMode::Node.into();
    world.has(vec![host]);
    for command in [&["run", "--", "true"][..], &["ns"], &["capture", "-w", &world.text("out")]] {
        let said =
            ask(&mut world.tracer([&command[..1], &["--local", "--pod", "default/web"], &command[1..]].concat()));
        assert_eq!((said.code, said.text()), (Some(64), ""), "{command:?}: {}", said.err);
        assert!(said.err.contains("has the network of its host") && said.err.contains("--allow-host"), "{}", said.err);
    }
    assert_eq!(ask(&mut world.ours(&["--allow-host"], &["echo", "hi"])).all(), (Some(0), "hi\n", ""));
}

#[test]
fn a_runtime_that_is_absent_or_fails_is_69_and_named() {
    let mut world = World::new();
    for (fault, words) in
        [(Fault::Fails, "failed to get sandbox ip"), (Fault::Unimplemented, "has no ListPodSandbox of CRI v1")]
    {
        world.fake.state().fault = Some(fault);
        let said = ask(&mut world.ours(&[], &["true"]));
        assert!(said.code == Some(69) && said.err.contains(words), "{said:?}");
    }
    world.fake.stop();
    let said = ask(&mut world.ours(&[], &["true"]));
    assert_eq!((said.code, said.text()), (Some(69), ""));
    assert!(said.err.contains("cri.sock: is it running, and may its socket be opened?"), "{}", said.err);
    // Nothing named, and none of the usual ones is below this root.
    let mut command = world.ours(&["--host-root", &world.text("")], &["true"]);
    let said = ask(command.env_remove("CONTAINER_RUNTIME_ENDPOINT"));
    assert_eq!((said.code, said.text()), (Some(69), ""));
    assert!(said.err.contains("no container runtime found: say where it is"), "{}", said.err);
    let _entered = world.runtime.enter();
    world.fake.listen();
}

#[test]
fn a_runtime_that_hangs_is_given_up() {
    let world = World::new();
    world.fake.state().fault = Some(Fault::Hang);
    let began = Instant::now();
    let said = ask(&mut world.ours(&[], &["true"]));
    assert_eq!((said.code, said.text()), (Some(69), ""));
    assert!(said.err.contains("did not answer ListPodSandbox of sandboxes in time"), "{}", said.err);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn a_tool_that_is_none_is_127_or_126_as_shells_have_it() {
    let world = World::new();
    for (tool, code, words) in [
        ("no-such-tool", 127, "program no-such-tool is not found on this machine"),
        ("/no/such", 127, "program /no/such is not found on this machine"),
        ("/etc/passwd", 126, "cannot start /etc/passwd on this machine"),
        ("/", 126, "cannot start / on this machine"),
    ] {
        // Of which everybody may read all folders.
        let said = ask(world.ours(&[], &[tool]).env("PATH", "/usr/bin:/bin"));
        assert_eq!((said.code, said.text()), (Some(code), ""), "{}", said.err);
        assert!(said.err.contains(words), "{}", said.err);
    }
}

#[test]
fn without_a_path_a_tool_is_looked_for_where_programs_usually_are() {
    let world = World::new();
    let said = ask(world.ours(&[], &["env"]).env_remove("PATH"));
    assert_eq!((said.code, &*said.err), (Some(0), ""));
    assert!(
        said.text().lines().any(|line| line == "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    );
    assert_eq!(ask(world.ours(&[], &["no-such-tool"]).env_remove("PATH")).code, Some(127));
    // An empty one is the current folder, as it is for shells.
    assert_eq!(ask(world.ours(&[], &["ls"]).env("PATH", "").current_dir(world.path(""))).code, Some(127));
}

/// The program as root, without a capability or with it alone; `None`, said aloud, if that cannot be made.
pub(crate) fn with(bounding: &str, command: &Command) -> Option<Command> {
    match Command::new("setpriv").arg("--version").output() {
        Ok(_) => Some(under("setpriv", &["--inh-caps=-all", &format!("--bounding-set={bounding}")], command)),
        Err(e) => {
            skip(format!("setpriv: {e}"));
            None
        }
    }
}

#[test]
fn sys_admin_is_what_it_needs_and_is_named_when_it_is_missing() {
    let Some(world) = World::with_own_network() else { return };
    let command = world.ours(&[], &["echo", "hi"]);
    let Some(mut without) = with("-sys_admin", &command) else { return };
    let said = ask(&mut without);
    assert_eq!((said.code, said.text()), (Some(69), ""), "{}", said.err);
    assert!(said.err.contains("CAP_SYS_ADMIN is missing"), "{}", said.err);
    let Some(mut alone) = with("-all,+sys_admin", &command) else { return };
    assert_eq!(ask(&mut alone).all(), (Some(0), "hi\n", ""));
}

#[test]
fn the_tool_keeps_few_capabilities_and_those_that_are_added() {
    let Some(world) = World::with_own_network() else { return };
    let effective = |flags: &[&str]| {
        let said = ask(&mut world.ours(flags, &["grep", "CapEff", "/proc/self/status"]));
        assert_eq!(said.code, Some(0), "{}", said.err);
        u64::from_str_radix(said.text().trim_start_matches("CapEff:").trim(), 16).unwrap()
    };
    let (sys_admin, sys_ptrace, net_raw) = (1 << 21, 1 << 19, 1 << 13);
    let usual = effective(&[]);
    assert_eq!((usual & sys_admin, usual & sys_ptrace, usual & net_raw), (0, 0, net_raw));
    assert_eq!(effective(&["--cap-add", "SYS_PTRACE"]), usual | sys_ptrace);
    assert_ne!(effective(&["--privileged"]) & sys_admin, 0);
}
