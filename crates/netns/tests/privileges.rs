//! What needs which capability: each row is this test executed again with exactly that set.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, or says why it is skipped"
)]

mod skip;

use std::path::PathBuf;
use std::process::{Command, Stdio};

#[cfg(feature = "capture")]
use podtrail_netns::capture::{Capture, CaptureConfig};
use podtrail_netns::{Capabilities, ErrorKind, Netns};
use skip::skip;

/// Says what it can do, a line for each thing.
#[test]
#[ignore = "the other tests execute it with little privilege"]
fn answer() {
    let Ok(path) = std::env::var("PODTRAIL_NETNS") else { return };
    let said = |what: &str, result: Result<String, podtrail_netns::Error>| match result {
        Ok(value) => println!("{what}={value}"),
        Err(e) => println!("{what}={:?}: {e}", e.kind()),
    };
    let create = Netns::create();
    let theirs = match path.as_str() {
        "" => create.as_ref().map(|_| Netns::current()).unwrap(),
        path => Netns::open(path),
    };
    said("open", theirs.as_ref().map(|_| "ok".into()).map_err(|e| panic!("{e}")));
    let theirs = if path.is_empty() { create.as_ref().unwrap() } else { theirs.as_ref().unwrap() };
    said("run", theirs.run(|| (Netns::current().unwrap() == *theirs).to_string()));
    let status = |keep| {
        let child = theirs.command("cat").arg("/proc/self/status").keep(keep).stdout(Stdio::piped()).spawn()?;
        let status = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        Ok(["CapPrm:", "CapEff:", "CapInh:", "CapAmb:", "NoNewPrivs:"].map(field).join(" "))
    };
    said("spawn", status(Capabilities::NONE));
    said("keep", status(Capabilities::NET_RAW));
    #[cfg(feature = "inspect")]
    {
        let names = |netns: &Netns| netns.interfaces().map(|all| all[0].name.clone());
        said("interfaces", names(theirs));
        said("sockets", theirs.sockets().map(|_| "ok".into()));
        said("interfaces here", names(&Netns::current().unwrap()));
        said("sockets here", Netns::current().unwrap().sockets().map(|_| "ok".into()));
    }
    #[cfg(feature = "capture")]
    said("capture", Capture::open(theirs, &CaptureConfig::default()).map(|_| "ok".into()));
    let parent = std::env::var("PODTRAIL_PARENT").unwrap().parse().unwrap();
    said("process", Netns::of_process(parent).map(|_| "ok".into()));
    said("create", create.map(|_| "ok".into()));
    if let Some(name) = path.strip_prefix("/run/netns/") {
        said("delete", Netns::delete_named(name).map(|()| "ok".into()));
    }
}

const NOTHING: &str = "0000000000000000";
const RAW: &str = "0000000000002000";

#[test]
fn entering_needs_sys_admin_alone() {
    let Some(said) = said(&["sys_admin"]) else { return };
    assert_eq!(said("run"), "true");
    assert_eq!(said("spawn"), format!("{NOTHING} {NOTHING} {NOTHING} {NOTHING} 1"));
    assert_eq!(said("keep"), format!("{NOTHING} {NOTHING} {NOTHING} {NOTHING} 1"));
    assert_eq!(said("create"), "ok");
    if cfg!(feature = "inspect") {
        assert_eq!(["interfaces", "sockets"].map(&said), ["lo", "ok"]);
    }
    if cfg!(feature = "capture") {
        let what = "MissingCapability: cannot capture: CAP_NET_RAW is missing in the network namespace";
        assert_eq!(said("capture"), what);
    }
    assert!(said("process").starts_with("MissingCapability: cannot open the network namespace of process "));
    assert!(said("process").ends_with(": CAP_SYS_PTRACE is missing"));
}

#[test]
fn a_capability_is_kept_by_whoever_holds_it() {
    let Some(said) = said(&["sys_admin", "net_raw"]) else { return };
    assert_eq!(said("spawn"), format!("{NOTHING} {NOTHING} {NOTHING} {NOTHING} 1"));
    assert_eq!(said("keep"), format!("{RAW} {RAW} {RAW} {RAW} 1"));
}

#[test]
#[cfg(feature = "capture")]
fn packets_need_net_raw_beside_sys_admin() {
    let Some(said) = said(&["sys_admin", "net_raw"]) else { return };
    assert_eq!(said("capture"), "ok");
}

#[test]
#[cfg(feature = "inspect")]
fn in_the_namespace_that_the_caller_is_in_nothing_is_needed_to_look() {
    let Some(said) = said(&[]) else { return };
    assert_eq!(["interfaces here", "sockets here"].map(said), ["lo", "ok"]);
}

#[test]
fn without_a_capability_it_is_said_which_is_missing() {
    for others in [&[][..], &["net_admin", "net_raw"], &["sys_ptrace"]] {
        let Some(said) = said(others) else { return };
        let ends = |what, end| assert!(said(what).ends_with(end), "{others:?}: {}", said(what));
        let mut needy = vec!["run", "spawn", "keep"];
        if cfg!(feature = "inspect") {
            needy.extend(["interfaces", "sockets"]);
        }
        if cfg!(feature = "capture") {
            needy.push("capture");
        }
        for what in needy {
            assert!(said(what).starts_with("MissingCapability: cannot enter network namespace "), "{}", said(what));
            ends(what, ": CAP_SYS_ADMIN is missing");
        }
        assert_eq!(said("create"), "MissingCapability: cannot make a network namespace: CAP_SYS_ADMIN is missing");
        assert!(
            said("delete").starts_with("MissingCapability: cannot delete network namespace "),
            "{}",
            said("delete")
        );
        ends("delete", ": CAP_SYS_ADMIN is missing");
        match others.contains(&"sys_ptrace") {
            true => ends("process", "ok"),
            false => ends("process", ": CAP_SYS_PTRACE is missing"),
        }
    }
}

#[test]
fn in_a_user_namespace_of_ones_own_nothing_is_missing() {
    let copy = Copy::of_this_test("userns");
    let mut unshare = Command::new("setpriv");
    unshare.args(["--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "-Urn"]);
    // Who may not become somebody else is nobody already, or has a user namespace of its own.
    if !Capabilities::of_this_thread().unwrap().contains(Capabilities::SETUID | Capabilities::SETGID) {
        unshare = Command::new("unshare");
        unshare.arg("-Urn");
    }
    let Some(said) = copy.said(unshare, "") else { return };
    assert_eq!(said("run"), "true");
    assert_eq!(said("spawn"), format!("{NOTHING} {NOTHING} {NOTHING} {NOTHING} 1"));
    assert_eq!(said("keep"), format!("{RAW} {RAW} {RAW} {RAW} 1"));
    assert_eq!(said("create"), "ok");
}

/// What the test says as somebody with nothing but these; `None`, said aloud, if that cannot be made.
fn said(capabilities: &[&str]) -> Option<impl Fn(&str) -> String> {
    let name = format!("podtrail-p16-{}-{}", std::process::id(), capabilities.join("-"));
    let named = match Netns::create_named(&name) {
        Err(e) if e.kind() == ErrorKind::MissingCapability => {
            skip(e);
            return None;
        }
        named => named.map(|_| Named(name.clone())).unwrap(),
    };
    let set = capabilities.iter().fold("-all".to_owned(), |set, capability| format!("{set},+{capability}"));
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]);
    setpriv.args(["--inh-caps", "--ambient-caps", "--bounding-set"].map(|sets| format!("{sets}={set}")));
    Copy::of_this_test(&named.0).said(setpriv, &format!("/run/netns/{name}"))
}

struct Named(String);

impl Drop for Named {
    fn drop(&mut self) {
        Netns::delete_named(&self.0).unwrap();
    }
}

/// The test's program where anybody can read it.
struct Copy(PathBuf);

impl Copy {
    fn of_this_test(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("podtrail-{}-{name}", std::process::id()));
        // By another process: a child that another test starts meanwhile would have it open for writing, and nobody could execute it.
        assert!(Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&path).status().unwrap().success());
        Self(path)
    }

    fn said(&self, mut through: Command, netns: &str) -> Option<impl Fn(&str) -> String + use<>> {
        through.arg(&self.0).args(["--ignored", "--exact", "answer", "--nocapture"]);
        through.env("PODTRAIL_NETNS", netns).env("PODTRAIL_PARENT", std::process::id().to_string());
        let output = match through.output() {
            Err(e) => {
                skip(format!("{through:?}: {e}"));
                return None;
            }
            output => output.unwrap(),
        };
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        // What is before us may not be able to do its part; that the copy does nothing is a fault.
        if err.starts_with(&format!("{}: ", through.get_program().display())) {
            skip(format!("{through:?}: {err}"));
            return None;
        }
        assert!(output.status.success() && out.contains("1 passed"), "{through:?}: {out}{err}");
        Some(move |what: &str| {
            let line = out.lines().find_map(|line| line.split_once(&format!("{what}="))).map(|(_, said)| said);
            line.unwrap_or_else(|| panic!("{what}: {out}")).to_owned()
        })
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}
