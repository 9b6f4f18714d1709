//! `--enter`: a tool among the processes of a container that the test makes.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::fake::container;
use crate::harness::{Running, World, ask, eventually, under};
use crate::skip::skip;

/// A container of the pod, with files and processes of its own. It ends with its input, and all that is in it then.
struct Container {
    unshare: Child,
    first: String,
}

impl Container {
    /// `None`, said aloud, if there can be none.
    fn start(world: &World) -> Option<Self> {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", "echo ready; read end"]);
        let mut unshare = match unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
            Err(e) => {
                skip(format!("unshare: {e}"));
                return None;
            }
            Ok(unshare) => unshare,
        };
        let mut line = String::new();
        BufReader::new(unshare.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line != "ready\n" {
            unshare.wait().unwrap();
            skip("a container cannot be made");
            return None;
        }
        let id = unshare.id();
        let first = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap().trim().to_owned();
        let entry = ("aa".to_owned(), container("c1", "app", &format!(r#"{{"pid":{first}}}"#)));
        world.fake.state().containers.push(entry);
        Some(Self { unshare, first })
    }

    /// What runs in it besides its first process.
    fn others(&self) -> Vec<String> {
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let ours = namespace(&self.first).unwrap();
        let all = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let inside = all.filter(|pid| *pid != self.first && namespace(pid).as_ref() == Some(&ours));
        // The first process does not wait for those that it inherits: they have ended all the same.
        let is_alive = |stat: &String| !stat.contains(") Z ");
        inside.filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok()).filter(is_alive).collect()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.unshare.stdin.take());
        self.unshare.wait().unwrap();
    }
}

/// A tool with a child that does not heed SIGTERM, and which is there when the tool says so.
const FAMILY: &str = r#"
    (trap "" TERM; echo > $0/child$1; exec sleep 1000 > /dev/null 2>&1) &
    until [ -e $0/child$1 ]; do sleep 0.01; done; echo > $0/on$1; "#;

#[test]
fn nothing_of_a_tool_is_left_among_a_containers_processes_however_it_ends() {
    let world = World::new();
    let Some(container) = Container::start(&world) else { return };
    let start = |name: &str, flags: &[&str], last: &str| {
        let script = format!("{FAMILY}{last}");
        let flags = [&["--enter", "mount,pid"], flags].concat();
        let running = Running::start(&mut world.ours(&flags, &["sh", "-c", &script, &world.text(""), name]));
        (running, name.to_owned())
    };
    let all = [
        (start("exit", &[], "exit 5"), None, 5),
        (start("timer", &["-t", "3s"], "wait"), None, 0),
        (start("signal", &[], "wait"), Some(Signal::TERM), 143),
    ];
    for ((running, name), signal, _) in &all {
        eventually(name, || world.path(&format!("on{name}")).exists().then_some(()));
        signal.iter().for_each(|signal| running.signal(*signal));
    }
    for ((mut running, name), _, code) in all {
        assert_eq!(running.ends().all(), (Some(code), "", ""), "{name}");
        assert!(running.since.elapsed() < Duration::from_secs(25), "{name}: {:?}", running.since.elapsed());
    }
    assert_eq!(container.others(), [""; 0]);
}

#[test]
fn a_file_keeps_what_it_has_when_the_container_has_no_such_tool() {
    let world = World::new();
    let Some(_container) = Container::start(&world) else { return };
    fs::write(world.path("keep"), "precious").unwrap();
    let said = ask(&mut world.ours(&["--enter", "mount", "-f", &world.text("keep")], &["no-such"]));
    assert_eq!((said.code, &*world.read("keep")), (Some(127), "precious"), "{}", said.err);
}

#[test]
fn a_containers_program_gets_no_descriptor_but_the_standard_ones() {
    let world = World::new();
    let Some(_container) = Container::start(&world) else { return };
    let seen = |flags: &[&str]| {
        let ours = world.ours(flags, &["sh", "-c", "ls -l /proc/self/fd /proc/$$/fd"]);
        let said = ask(&mut under("sh", &["-c", r#"exec 7< / 9> /dev/null; exec "$@""#, "sh"], &ours));
        assert!(said.code == Some(0) && said.text().contains(" 1 -> "), "{said:?}");
        [" 7 -> ", " 9 -> "].map(|line| said.text().contains(line))
    };
    assert_eq!(seen(&["--enter", "mount,pid"]), [false; 2]);
    // A shell gives a tool of the node a file as `<(…)`.
    assert_eq!(seen(&[]), [true; 2]);
}
