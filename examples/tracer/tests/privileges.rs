//! What the program needs which capability for, and what the tools that it starts have: it is executed with exactly those.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, or says why it is skipped"
)]

#[path = "../../../crates/cri/tests/cri/fake/mod.rs"]
#[allow(dead_code, reason = "much of it is for other tests")]
mod fake;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use podtrail_netns::{Capabilities, ErrorKind, Netns};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use fake::{Fake, sandbox};

/// What a tool keeps of what there is, by the documents.
const USUAL: &str = "net_admin,net_raw,net_bind_service,chown,dac_override,fowner,kill,setgid,setuid";
const SETS: [&str; 4] = ["CapInh", "CapPrm", "CapEff", "CapAmb"];

#[test]
fn a_tool_is_run_and_a_namespace_shown_with_sys_admin_alone() {
    let Some(node) = Node::start() else { return };
    let run = node.nobody("+sys_admin", &["run"], &["cat", "/proc/self/status"]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert_eq!(run.status("Uid"), "65534\t65534\t65534\t65534");
    assert_eq!(SETS.map(|set| run.capabilities(set)), [Capabilities::NONE; 4]);
    assert_eq!(run.status("NoNewPrivs"), "1");
    let link = node.nobody("+sys_admin", &["run"], &["readlink", "/proc/self/ns/net"]);
    assert_eq!(link.out.trim(), format!("net:[{}]", node.netns.inode()), "{}", link.err);

    let shown = node.nobody("+sys_admin", &["ns", "-o", "json"], &[]);
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    assert!(shown.out.contains(r#""lo""#), "{}", shown.out);
}

#[test]
fn packets_are_captured_with_net_raw_beside_it() {
    let Some(node) = Node::start() else { return };
    let captured = node.nobody("+sys_admin,+net_raw", &["capture", "-t", "200ms", "-w", "/dev/null"], &[]);
    assert_eq!(captured.code, Some(0), "{}", captured.err);
    assert!(captured.err.contains("0 packets captured"), "{}", captured.err);
    let kept = node.nobody("+sys_admin,+net_raw", &["run"], &["cat", "/proc/self/status"]);
    assert_eq!(SETS.map(|set| kept.capabilities(set)), [Capabilities::NET_RAW; 4]);
}

#[test]
fn without_one_it_is_said_which_is_missing() {
    let Some(node) = Node::start() else { return };
    let check = |held: &str, words: &[&str], tool: &[&str], missing: &str| {
        let said = node.nobody(held, words, tool);
        assert_eq!(said.code, Some(69), "{held} {words:?}: {}", said.err);
        assert!(said.err.contains(&format!("{missing} is missing")), "{held} {words:?}: {}", said.err);
        assert_eq!(said.out, "", "{held} {words:?}");
    };
    let capture = ["capture", "-t", "1s", "-w", "/dev/null"];
    for held in ["+net_raw", "+net_raw,+net_admin,+sys_ptrace"] {
        check(held, &["run"], &["true"], "CAP_SYS_ADMIN");
        check(held, &["ns"], &[], "CAP_SYS_ADMIN");
        check(held, &capture, &[], "CAP_SYS_ADMIN");
    }
    for held in ["+sys_admin", "+sys_admin,+net_admin"] {
        check(held, &capture, &[], "CAP_NET_RAW");
    }
}

#[test]
fn roots_tool_has_what_the_documents_say_unless_more_is_asked_for() {
    let Some(node) = Node::start() else { return };
    let held = Capabilities::of_this_thread().unwrap();
    let usual: Capabilities = USUAL.parse().unwrap();
    let check = |flags: &[&str], kept: Capabilities, no_new_privs: &str| {
        let mut line = node.line(&[&["run"], flags].concat(), &["cat", "/proc/self/status"]);
        let said = Said::of(Command::new(line.remove(0)).args(line));
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert_eq!(["CapPrm", "CapEff"].map(|set| said.capabilities(set)), [kept & held; 2], "{flags:?}");
        assert_eq!(said.status("NoNewPrivs"), no_new_privs, "{flags:?}");
    };
    check(&[], usual, "1");
    let added = usual | Capabilities::SYS_PTRACE | Capabilities::SYS_CHROOT;
    check(&["--cap-add", "SYS_PTRACE", "--cap-add", "cap_sys_chroot"], added, "1");
    check(&["--cap-add", "all"], Capabilities::ALL, "1");
    check(&["--privileged"], Capabilities::ALL, "0");
}

#[test]
fn neither_a_set_user_id_program_nor_one_with_capabilities_gains_any() {
    let Some(node) = Node::start() else { return };
    let setcap = |path: &Path| Command::new("setcap").arg("cap_net_raw,cap_net_admin+ep").arg(path).status();
    let programs = [
        node.program("set-user-id", |path| set_mode(path, 0o4755)),
        node.program("capable", |path| setcap(path).is_ok_and(|status| status.success())),
    ];
    for program in programs.iter().flatten() {
        let said = Said::of(gullible().args(node.line(&["run"], &[program, "/proc/self/status"])));
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert_eq!(said.status("Uid"), "65534\t65534\t65534\t65534", "{program}");
        assert_eq!(SETS.map(|set| said.capabilities(set)), [Capabilities::NONE; 4], "{program}");
    }
}

/// A node with one pod, and the program where everybody can execute it.
struct Node {
    netns: Netns,
    name: String,
    folder: TempDir,
    fake: Fake,
    _runtime: Runtime,
}

impl Node {
    /// `None`, said aloud, if it cannot be made.
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().file_name().unwrap().to_str().unwrap().replace('.', "podtrail-p16-");
        let netns = match Netns::create_named(&name) {
            Err(e) if e.kind() == ErrorKind::MissingCapability => {
                eprintln!("skipped: {e}");
                return None;
            }
            made => made.unwrap(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let fake = {
            let _entered = runtime.enter();
            Fake::start()
        };
        let path = format!(r#"[{{"type":"network","path":"/run/netns/{name}"}}]"#);
        let info = format!(r#"{{"pid":1,"runtimeSpec":{{"linux":{{"namespaces":{path}}}}}}}"#);
        fake.state().sandboxes = vec![sandbox("aa", "web", "u1", &info)];
        copy(env!("CARGO_BIN_EXE_tracer"), &folder.path().join("tracer"));
        // Everybody is let in, so that only capabilities differ.
        let socket = fake.socket();
        assert!(
            set_mode(folder.path(), 0o755) && set_mode(socket.parent().unwrap(), 0o755) && set_mode(&socket, 0o777)
        );
        Some(Self { netns, name, folder, fake, _runtime: runtime })
    }

    /// The program and its arguments.
    fn line(&self, words: &[&str], tool: &[&str]) -> Vec<String> {
        let program = self.folder.path().join("tracer");
        let endpoint = format!("unix://{}", self.fake.socket().display());
        let (command, flags) = words.split_first().unwrap();
        let mut line = vec![program.to_str().unwrap(), command, "--local", "--pod", "default/web"];
        line.extend(["--host-root", "/", "--runtime-endpoint", &endpoint]);
        line.extend(flags);
        if !tool.is_empty() {
            line.push("--");
            line.extend(tool);
        }
        line.into_iter().map(str::to_owned).collect()
    }

    /// As somebody who has nothing but these capabilities, and can gain none.
    fn nobody(&self, held: &str, words: &[&str], tool: &[&str]) -> Said {
        Said::of(nobody(held, held).arg("--no-new-privs").args(self.line(words, tool)))
    }

    /// A copy of `cat` that gives whoever executes it something; `None`, said aloud, if it does not.
    fn program(&self, name: &str, prepare: impl FnOnce(&Path) -> bool) -> Option<String> {
        let path = self.folder.path().join(name);
        copy("/bin/cat", &path);
        let is_prepared = prepare(&path);
        let said = Said::of(gullible().arg(&path).arg("/proc/self/status"));
        if !is_prepared || said.code != Some(0) || !said.capabilities("CapEff").contains(Capabilities::NET_RAW) {
            eprintln!("skipped: {} gives nothing here anyway: {}", path.display(), said.err);
            return None;
        }
        Some(path.to_str().unwrap().to_owned())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        Netns::delete_named(&self.name).unwrap();
    }
}

/// Executes something as nobody, who holds some capabilities and could get others.
fn nobody(held: &str, bounding: &str) -> Command {
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    setpriv.args([format!("--inh-caps=-all,{held}"), format!("--ambient-caps=-all,{held}")]);
    setpriv.arg(format!("--bounding-set=-all,{bounding}"));
    setpriv
}

/// As nobody, with what entering needs, and without `no_new_privs`: that is for the program to set.
fn gullible() -> Command {
    nobody("+sys_admin", "+sys_admin,+net_raw,+net_admin")
}

/// By another process: a child that another test starts meanwhile would have the file open for writing, and nobody could execute it.
fn copy(program: &str, path: &Path) {
    assert!(Command::new("cp").arg(program).arg(path).status().unwrap().success());
}

fn set_mode(path: &Path, mode: u32) -> bool {
    fs::set_permissions(path, Permissions::from_mode(mode)).is_ok()
}

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn of(command: &mut Command) -> Self {
        for name in ["PODTRAIL_LOG", "RUST_LOG", "PODTRAIL_AUDIT", "NODE_NAME", "PODTRACER_LOGLEVEL"] {
            command.env_remove(name);
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        Self { code: output.status.code(), out, err }
    }

    /// A field of the status that the tool printed.
    fn status(&self, name: &str) -> &str {
        let line = self.out.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name}: {} {}", self.out, self.err)).trim()
    }

    fn capabilities(&self, set: &str) -> Capabilities {
        Capabilities::from_bits(u64::from_str_radix(self.status(set), 16).unwrap())
    }
}
