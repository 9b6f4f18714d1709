//! The tool has the terminal: the test has its other end.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::harness::{World, eventually, under};
use crate::skip::skip;

/// How a tool begins: it waits until it has the terminal, which it is given when it runs. One that reads would be held up until then.
const FIRST: &str = r#"until [ "$tty" = $$ ]; do read -r _ _ _ _ _ _ _ tty _ < /proc/$$/stat; done; "#;

/// A tool in the pod, as a line for a shell.
fn shell(world: &World, flags: &[&str], tool: &str) -> Command {
    world.ours(flags, &["sh", "-c", &format!("{FIRST}{tool}"), &world.text("")])
}

/// A shell at a terminal of its own, and what it has shown so far.
struct Terminal {
    ours: File,
    shown: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    shell: Child,
}

impl Terminal {
    /// Starts `sh -c SCRIPT`, in which `"$@"` is the command; `None`, said aloud, if there is no setsid(1).
    fn start(script: &str, command: &Command) -> Option<Self> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = rustix::fs::open(ptsname(&ours, Vec::new()).unwrap(), flags, Mode::empty()).unwrap();
        let mut setsid = under("setsid", &["--ctty", "sh", "-c", script, "sh"], command);
        let again = || theirs.try_clone().unwrap();
        let shell = match setsid.stdin(again()).stdout(again()).stderr(theirs).spawn() {
            Err(e) => {
                skip(format!("setsid: {e}"));
                return None;
            }
            Ok(shell) => shell,
        };
        // Which has copies of the other end: the terminal is closed only when these are.
        drop(setsid);
        let (ours, shown) = (File::from(ours), Arc::default());
        let reader = Some(thread::spawn({
            let (from, to) = (ours.try_clone().unwrap(), Arc::clone(&shown));
            move || read(from, &to)
        }));
        Some(Self { ours, shown, reader, shell })
    }

    fn types(&mut self, text: &str) {
        self.ours.write_all(text.as_bytes()).unwrap();
    }

    fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// What it shows once it shows this.
    fn shows(&self, text: &str) -> String {
        eventually(&format!("{text:?}"), || Some(self.shown()).filter(|shown| shown.contains(text)))
    }

    /// All that it has shown when the shell has ended.
    fn ends(&mut self) -> String {
        eventually("the shell's end", || self.shell.try_wait().unwrap());
        self.reader.take().unwrap().join().unwrap();
        self.shown()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself. The end of a session hangs up on all that is in it.
        self.shell.kill().ok();
        self.shell.wait().ok();
    }
}

fn read(mut from: File, to: &Mutex<String>) {
    let mut chunk = [0; 4096];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return,
            Ok(length) => to.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..length])),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            // Nobody has the other end any more.
            Err(_) => return,
        }
    }
}

/// The word behind a mark, in what was shown.
fn after<'a>(shown: &'a str, mark: &str) -> &'a str {
    let (_, rest) = shown.split_once(mark).unwrap_or_else(|| panic!("no {mark} in {shown}"));
    rest.split_whitespace().next().unwrap_or_default()
}

#[test]
fn the_tool_has_the_terminal_and_reads_from_it() {
    let world = World::new();
    let tool = "echo foreground; read line; echo got=$line; exit 5";
    for flags in [&[][..], &["-s", "-f", "/dev/null"]] {
        let command = shell(&world, flags, tool);
        let Some(mut terminal) = Terminal::start(r#""$@"; echo code=$?; read line; echo back=$line"#, &command) else {
            return;
        };
        terminal.shows("foreground");
        terminal.types("hello\n");
        terminal.shows("code=5");
        // And the shell again when the tool has ended.
        terminal.types("there\n");
        let shown = terminal.ends();
        assert_eq!((after(&shown, "got="), after(&shown, "back=")), ("hello", "there"), "{shown}");
    }
}

#[test]
fn control_c_reaches_the_tool_alone_and_once() {
    let world = World::new();
    let tool = "n=0; trap 'n=$((n+1)); echo caught=$n' INT; echo ready
                while [ $n = 0 ]; do sleep 0.05; done; sleep 0.3; exit 9";
    let command = shell(&world, &[], tool);
    let Some(mut terminal) = Terminal::start(r#""$@"; echo code=$?"#, &command) else { return };
    terminal.shows("ready");
    terminal.types("\u{3}");
    let shown = terminal.ends();
    assert_eq!((after(&shown, "caught="), after(&shown, "code=")), ("1", "9"), "{shown}");
    assert!(!shown.contains("caught=2"), "{shown}");
}

#[test]
fn a_tool_that_control_c_ends_ends_the_program_as_it_would_the_shells_child() {
    let world = World::new();
    let command = shell(&world, &[], "echo ready; exec sleep 60");
    let Some(mut terminal) = Terminal::start(r#""$@"; echo code=$?"#, &command) else { return };
    terminal.shows("ready");
    terminal.types("\u{3}");
    let shown = terminal.ends();
    assert_eq!(after(&shown, "code="), "130", "{shown}");
}

#[test]
fn control_z_changes_nothing_where_no_shell_could_let_them_go_on() {
    let world = World::new();
    let tool = "echo ready; read line; echo got=$line";
    let command = shell(&world, &[], tool);
    let Some(mut terminal) = Terminal::start(r#""$@"; echo code=$?"#, &command) else { return };
    terminal.shows("ready");
    for _ in 0..3 {
        terminal.types("\u{1a}");
        thread::sleep(std::time::Duration::from_millis(100));
    }
    terminal.types("hello\n");
    let shown = terminal.ends();
    assert_eq!((after(&shown, "got="), after(&shown, "code=")), ("hello", "0"), "{shown}");
}

/// A shell with jobs, and the tool's command for it; `None`, said aloud, if there is no such shell.
fn bash(world: &World, tool: &str) -> Option<(Terminal, Command)> {
    if Command::new("bash").arg("--version").output().is_err() {
        skip("no bash");
        return None;
    }
    let mut command = shell(world, &[], tool);
    command.env("PS1", "").env("HISTFILE", "/dev/null");
    Some((Terminal::start("exec bash --norc --noprofile -i", &command)?, command))
}

#[test]
fn control_z_and_fg_work_in_a_shell_with_jobs() {
    let world = World::new();
    let Some((mut terminal, command)) = bash(&world, "echo tool=$((40+2)); read line; echo got=$line") else { return };
    terminal.types(&format!("stty -echo; echo shell=$((40+1)); {}\n", line_of(&command)));
    terminal.shows("tool=42");
    terminal.types("\u{1a}");
    terminal.shows("Stopped");
    terminal.types("echo between=$((50+1)); fg > /dev/null\n");
    terminal.shows("between=51");
    terminal.types("hello\n");
    terminal.shows("got=hello");
    terminal.types("echo code=$?; exit\n");
    let shown = terminal.ends();
    assert_eq!(after(&shown, "code="), "0", "{shown}");
}

/// The command as a shell's line.
fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| format!("'{}'", word.to_str().unwrap())).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_terminals_modes_are_restored_when_the_tool_is_killed() {
    let world = World::new();
    let tool = "stty raw -echo; stty -g > $0/raw; kill -KILL $$";
    let script = r#"stty -g; "$@"; echo code=$?; stty -g"#;
    let command = shell(&world, &[], tool);
    let Some(mut terminal) = Terminal::start(script, &command) else { return };
    let shown = terminal.ends();
    let [before, code, after] = shown.lines().collect::<Vec<_>>()[..] else { panic!("{shown}") };
    assert_eq!((before, code), (after, "code=137"), "{shown}");
    assert_ne!(world.read("raw").trim(), before);
}

#[test]
fn a_change_of_the_windows_size_reaches_the_tool() {
    let world = World::new();
    let tool = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done";
    let command = shell(&world, &[], tool);
    let Some(mut terminal) = Terminal::start(r#""$@"; echo code=$?"#, &command) else { return };
    terminal.shows("ready");
    tcsetwinsize(&terminal.ours, Winsize { ws_row: 33, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let shown = terminal.ends();
    assert!(shown.contains("33 77") && shown.contains("code=0"), "{shown}");
}

#[test]
fn in_the_background_the_terminal_is_left_to_whom_it_belongs() {
    let world = World::new();
    let command = world.ours(&[], &["sh", "-c", "echo tool; exit 6"]);
    // With jobs: the program is in a group of its own, and the shell keeps the terminal.
    let script = r#"set -m; "$@" & wait $!; echo code=$?; read line; echo got=$line"#;
    let Some(mut terminal) = Terminal::start(script, &command) else { return };
    terminal.shows("code=6");
    terminal.types("hello\n");
    let shown = terminal.ends();
    assert_eq!(after(&shown, "got="), "hello", "{shown}");
}

#[test]
fn a_tool_that_asks_for_a_password_in_the_background_waits_until_it_has_the_terminal() {
    let world = World::new();
    // With its echo off, which who is in the background may not have either; and not from standard input. Nothing is started before
    // that: a parent cannot be stopped while its child, by vfork(2), is.
    let ask = "stty -echo; echo asks=$((60+1)); read word; stty echo; echo word$((60+2))=$word";
    let tool = format!("echo tool=$((40+2)); until [ -e $0/go ]; do :; done; (exec < /dev/tty; {ask})");
    let Some((mut terminal, command)) = bash(&world, &tool) else { return };
    terminal.types(&format!("stty -echo; {}\n", line_of(&command)));
    terminal.shows("tool=42");
    terminal.types("\u{1a}");
    terminal.shows("Stopped");
    terminal.types("bg > /dev/null; echo between=$((50+1))\n");
    terminal.shows("between=51");
    // It goes on there, and then wants what is the shell's: both are stopped, and the shell says so when it is asked.
    fs::write(world.path("go"), "").unwrap();
    let mut asked = 0;
    eventually("it is stopped", || {
        asked += 1;
        terminal.types(&format!("jobs -s | grep -c tracer | sed s/^/stopped$(({asked}))=/\n"));
        terminal.shows(&format!("stopped{asked}=")).contains(&format!("stopped{asked}=1")).then_some(())
    });
    assert!(!terminal.shown().contains("asks=61"), "{}", terminal.shown());
    terminal.types("fg > /dev/null; echo code=$?; exit\n");
    terminal.shows("asks=61");
    terminal.types("secret\n");
    let shown = terminal.ends();
    assert_eq!((after(&shown, "word62="), after(&shown, "code=")), ("secret", "0"), "{shown}");
}

#[test]
fn a_pager_behind_the_tool_has_the_terminal() {
    let world = World::new();
    // It goes on while the pager, which the shell puts into one group with us, reads from the terminal.
    let command =
        world.ours(&[], &["sh", "-c", "echo line; until [ -e $0 ]; do sleep 0.05; done; exit 7", &world.text("go")]);
    let Some((mut terminal, _)) = bash(&world, "") else { return };
    let pager = format!(
        "sh -c 'echo pager$((1+1)); read key < /dev/tty; echo got$((1+1))=$key; : > {}; cat'",
        world.text("go")
    );
    terminal.types(&format!("stty -echo; {} | {pager}; echo code$((1+1))=${{PIPESTATUS[*]}}\n", line_of(&command)));
    terminal.shows("pager2");
    thread::sleep(std::time::Duration::from_millis(500));
    terminal.types("q\n");
    let shown =
        eventually("its end", || Some(terminal.shown()).filter(|s| s.contains("code2=") || s.contains("Stopped")));
    assert!(shown.contains("got2=q") && shown.contains("code2=7 0"), "{shown}");
    terminal.types("exit\n");
    terminal.ends();
}

#[test]
fn a_tool_in_a_pipeline_has_the_terminal_once_it_asks() {
    let world = World::new();
    let Some((mut terminal, _)) = bash(&world, "") else { return };
    let tool = "echo asks$((1+1)); read line < /dev/tty; read first; echo got$((1+1))=$line,$first; exit 7";
    let tool = line_of(&world.ours(&[], &["sh", "-c", tool]));
    terminal.types("stty -echo\n");
    for (n, pipeline) in
        [format!("{tool} < /dev/tty | cat"), format!("echo one | {tool}"), format!("echo one | {tool} | cat")]
            .iter()
            .enumerate()
    {
        terminal.types(&format!("{pipeline}; echo code$(({n}))=${{PIPESTATUS[*]}}\n"));
        eventually("it asks", || (terminal.shown().matches("asks2").count() > n).then_some(()));
        terminal.types(if n == 0 { "line\none\n" } else { "line\n" });
        terminal.shows(&format!("code{n}="));
    }
    terminal.types("exit\n");
    let shown = terminal.ends();
    assert_eq!(shown.matches("got2=line,one").count(), 3, "{shown}");
    let codes = ["code0=", "code1=", "code2="]
        .map(|mark| shown.lines().find_map(|line| line.trim_end().split_once(mark)).unwrap().1);
    assert_eq!(codes, ["7 0", "0 7", "0 7 0"], "{shown}");
}

#[test]
fn a_tool_in_a_command_substitution_has_the_terminal() {
    let world = World::new();
    let Some((mut terminal, _)) = bash(&world, "") else { return };
    // Where nobody can be stopped: shells have the signals ignored that would say that a tool wants it.
    let tool = line_of(
        &world.ours(&[], &["sh", "-c", &format!("{FIRST}echo asks$((1+1)) > /dev/tty; read line; echo $line; exit 7")]),
    );
    terminal.types(&format!("stty -echo; got=$({tool}); echo code$((1+1))=$? got$((1+1))=$got; exit\n"));
    terminal.shows("asks2");
    terminal.types("line\n");
    let shown = terminal.ends();
    assert!(shown.contains("code2=7 got2=line"), "{shown}");
}

#[test]
fn people_are_told_that_podtracers_form_prints_nothing_by_itself() {
    let world = World::new();
    let hint = "goes nowhere";
    for (args, is_told) in [(&["true"][..], true), (&["true", "-s"], false), (&["true", "-f", "/dev/null"], false)] {
        let Some(mut terminal) = Terminal::start(r#""$@"; echo code=$?"#, &world.theirs(args)) else { return };
        let shown = terminal.ends();
        assert_eq!((after(&shown, "code="), shown.contains(hint)), ("0", is_told), "{args:?}: {shown}");
    }
}
