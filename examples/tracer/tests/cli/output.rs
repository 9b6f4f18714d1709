//! Where the tool's output goes on this machine.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Running, World, ask, eventually, under};
use crate::refusals::with;
use crate::skip::skip;

#[test]
fn a_file_is_its_owners_alone_and_emptied_first() {
    let world = World::new();
    fs::write(world.path("out"), "x".repeat(10_000)).unwrap();
    for tool in [&["printf", "short"][..], &["true"]] {
        assert_eq!(ask(&mut world.ours(&["-f", &world.text("out")], tool)).all(), (Some(0), "", ""));
        assert_eq!(world.read("out"), tool.get(1).copied().unwrap_or_default());
    }
    assert_eq!(ask(&mut world.ours(&["-f", &world.text("new")], &["printf", "new"])).all(), (Some(0), "", ""));
    for name in ["out", "new"] {
        // Written as 0644 by the umask of most, were it not for us.
        assert_eq!(fs::metadata(world.path(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    assert_eq!(ask(&mut world.ours(&["-f", "/dev/null"], &["echo", "hi"])).all(), (Some(0), "", ""));
}

#[test]
fn what_is_no_file_is_refused_before_the_tool_runs() {
    let world = World::new();
    fs::write(world.path("precious"), "precious").unwrap();
    symlink(world.path("precious"), world.path("link")).unwrap();
    assert!(Command::new("mkfifo").arg(world.path("fifo")).status().unwrap().success());
    fs::hard_link(world.path("precious"), world.path("second")).unwrap();
    let mut cases = vec![("link", "it is a symbolic link"), ("fifo", ""), ("", ""), ("no/where", "No such file")];
    cases.push(("second", "second name"));
    if !rustix::process::geteuid().is_root() {
        fs::write(world.path("closed"), "precious").unwrap();
        fs::set_permissions(world.path("closed"), fs::Permissions::from_mode(0o400)).unwrap();
        cases.push(("closed", "Permission denied"));
    }
    for (name, words) in cases {
        let path = world.text(name);
        let said = ask(&mut world.ours(&["-f", &path], &["touch", &world.text("ran")]));
        assert_eq!((said.code, world.path("ran").exists()), (Some(69), false), "{name}: {}", said.err);
        assert!(said.err.starts_with(&format!("error: cannot write to {path}: ")), "{}", said.err);
        assert!(said.err.contains(words), "{}", said.err);
    }
    assert_eq!(world.read("precious"), "precious");
}

#[test]
fn a_file_keeps_what_it_has_when_the_tool_does_not_run() {
    let world = World::new();
    let path = world.text("keep");
    fs::write(&path, "precious").unwrap();
    for (flags, code) in [(&["--audit", "file:/no/where/audit"][..], 69), (&["-d", "127.0.0.1", "-p", "1"], 69)] {
        let flags = [&["-f", &path], flags].concat();
        assert_eq!(ask(&mut world.ours(&flags, &["true"])).code, Some(code));
    }
    for (tool, code) in [("no-such-tool", 127), ("/etc/passwd", 126), ("/", 126)] {
        assert_eq!(ask(&mut world.ours(&["-f", &path], &[tool])).code, Some(code));
        assert_eq!(world.read("keep"), "precious", "{tool}");
    }
    let Some(world) = World::with_own_network() else { return };
    let command = world.ours(&["-f", &path], &["true"]);
    let Some(mut without) = with("-sys_admin", &command) else { return };
    assert_eq!((ask(&mut without).code, fs::read_to_string(path).unwrap()), (Some(69), "precious".to_owned()));
}

#[test]
fn who_left_the_tools_group_and_goes_on_writing_holds_nobody_up() {
    let world = World::new();
    let tool = r#"
        setsid sh -c 'for i in $(seq 600); do echo late $i; echo late $i >&2; sleep 0.1; done' & echo first
        until [ $(cut -d' ' -f5 /proc/$!/stat) = $! ]; do sleep 0.01; done; sleep 0.5"#;
    let mut web = world.sandbox("aa", "web", "u1");
    web.status().labels.insert("app".to_owned(), "web".to_owned());
    world.has(vec![web]);
    let file = world.text("{pod}");
    for (pods, flags) in [
        (["--pod", "default/web"], &["-s", "-f", "/dev/null"][..]),
        (["--pod", "default/web"], &["-f", &world.text("web")]),
        (["-l", "app=web"], &["-s", "-n", "default", "-f", &file]),
    ] {
        let mut command = world.tracer([&["run", "--local"], &pods[..], flags, &["--", "sh", "-c", tool]].concat());
        let mut running = Running::start(&mut command);
        let status = eventually("its end", || running.child().try_wait().unwrap());
        let taken = running.since.elapsed();
        assert!(status.code() == Some(0) && taken < Duration::from_secs(20), "{flags:?}: {status} {taken:?}");
        let mut err = String::new();
        // Which others may have too.
        let mut lines = BufReader::new(running.child().stderr.take().unwrap()).lines();
        while !err.contains("is not kept") {
            err += &lines.next().expect("it is said").unwrap();
        }
    }
    assert!(world.read("web").starts_with("first\n") && world.read("web").contains("late"), "{}", world.read("web"));
}

#[test]
fn what_a_tool_wrote_before_its_end_is_not_lost_to_a_slow_reader_when_others_have_its_pipe() {
    let world = World::new();
    // More than the reader's pipe holds; the rest is in the tool's when it ends.
    let tool = "head -c 120000 /dev/zero; setsid sleep 30 & until [ $(cut -d' ' -f5 /proc/$!/stat) = $! ]; do sleep 0.01; done";
    let mut running = Running::start(&mut world.ours(&["-s", "-f", "/dev/null"], &["sh", "-c", tool]));
    let mut out = running.child().stdout.take().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut out, &mut read).unwrap();
    let status = eventually("its end", || running.child().try_wait().unwrap());
    assert_eq!((status.code(), read.len()), (Some(0), 120_000));
    assert!(running.since.elapsed() < Duration::from_secs(20), "{:?}", running.since.elapsed());
}

#[test]
fn a_file_that_may_not_grow_is_said() {
    let world = World::new();
    let command = world.ours(&["-f", &world.text("out")], &["sh", "-c", "head -c 5000 /dev/zero; exit 0"]);
    let mut limited = under("sh", &["-c", r#"ulimit -f 1 && exec "$@""#, "sh"], &command);
    let said = ask(&mut limited);
    assert_eq!((said.code, said.text()), (Some(1), ""), "{}", said.err);
    assert!(said.err.contains("is not all at") && said.err.contains("File too large"), "{}", said.err);
}

#[test]
fn a_slow_reader_gets_all_of_it_and_so_do_the_others() {
    let world = World::new();
    let tool = "head -c 300000 /dev/zero";
    let mut running = Running::start(&mut world.ours(&["-s", "-f", &world.text("out")], &["sh", "-c", tool]));
    let mut out = running.child().stdout.take().unwrap();
    // Longer than is waited for what others write who have the tool's pipe.
    std::thread::sleep(Duration::from_secs(2));
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut out, &mut read).unwrap();
    let said = running.ends();
    assert_eq!((said.code, &*said.err, read.len()), (Some(0), "", 300_000));
    assert_eq!(fs::metadata(world.path("out")).unwrap().len(), 300_000);
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_tool_quietly() {
    let world = World::new();
    for mut command in [world.ours(&[], &["yes"]), world.theirs(&["yes", "-s"])] {
        let mut running = Running::start(&mut command);
        let mut out = BufReader::new(running.child().stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        drop(out);
        let said = running.ends();
        // As `yes` itself: SIGPIPE has ended it.
        assert_eq!((&*line, said.code, &*said.err), ("y\n", Some(141), ""));
    }
}

#[test]
fn a_reader_that_has_seen_enough_does_not_keep_the_rest_from_the_file() {
    let world = World::new();
    let tool = format!("head -c 1000000 /dev/zero; while [ ! -e {} ]; do sleep 0.02; done; echo end", world.text("go"));
    let mut running = Running::start(&mut world.ours(&["-s", "-f", &world.text("out")], &["sh", "-c", &tool]));
    drop(running.child().stdout.take());
    fs::write(world.path("go"), "").unwrap();
    let said = running.ends();
    assert_eq!((said.code, said.err.lines().count()), (Some(1), 1), "{}", said.err);
    assert!(said.err.contains("the tool's output is not all at standard output"), "{}", said.err);
    let file = fs::read(world.path("out")).unwrap();
    assert!(file.len() == 1_000_004 && file.ends_with(b"end\n"), "{}", file.len());
}

#[test]
fn standard_output_and_the_file_get_the_same_bytes() {
    let world = World::new();
    let tool = format!("head -c 6000000 /dev/urandom | tee {}", world.text("truth"));
    let said = ask(world.ours(&["-s", "-f", &world.text("out")], &["sh", "-c", &tool]).stdin(Stdio::null()));
    assert_eq!((said.code, &*said.err), (Some(0), ""));
    let truth = fs::read(world.path("truth")).unwrap();
    assert!(truth.len() == 6_000_000 && said.out == truth && fs::read(world.path("out")).unwrap() == truth);
}

#[test]
fn a_full_disk_is_said() {
    let world = World::new();
    if !fs::exists("/dev/full").unwrap() {
        return skip("no /dev/full");
    }
    let said = ask(&mut world.ours(&["-s", "-f", "/dev/full"], &["echo", "hi"]));
    assert_eq!((said.code, said.text()), (Some(1), "hi\n"));
    assert!(said.err.contains("the tool's output is not all at /dev/full: No space left"), "{}", said.err);
}
