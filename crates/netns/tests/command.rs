//! Programs in a namespace: where they are, what they have, and what is said when they cannot be.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, or says why it is skipped"
)]

mod skip;

use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use podtrail_netns::{Capabilities, ErrorKind, Namespaces, Netns};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use skip::skip;

#[test]
fn a_program_is_in_the_namespace_and_says_how_it_ended() {
    let Some(fresh) = fresh() else { return };
    let home = Netns::current().unwrap();
    let link = output(fresh.command("readlink").arg("/proc/self/ns/net"));
    assert_eq!(link.trim(), format!("net:[{}]", fresh.inode()));
    assert_eq!(Netns::current().unwrap(), home);
    let status = fresh.command("sh").args(["-c", "exit 3"]).spawn().unwrap().wait().unwrap();
    assert_eq!(status.code(), Some(3));
}

/// As nobody this shows that no capability is needed.
#[test]
fn in_the_namespace_that_the_caller_is_in_a_program_has_what_it_is_given() {
    let home = Netns::current().unwrap();
    let mut sh = home.command("sh");
    sh.args(["-c", "echo $A$B$HOME; pwd; cat"])
        .env_clear()
        .env("A", "a")
        .env("B", "b")
        .env_remove("B")
        .current_dir("/");
    assert_eq!(output(sh.stdin(Stdio::null())), "a\n/\n");
    let group = output(home.command("sh").args(["-c", "echo $$; ps -o pgid= -p $$"]).process_group(0));
    let [pid, group] = group.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{group}") };
    assert_eq!(pid, group);
}

#[test]
fn a_program_inherits_no_descriptor() {
    let Some(fresh) = fresh() else { return };
    let plain = Command::new("ls").arg("/proc/self/fd").output().unwrap().stdout;
    assert_eq!(
        output(fresh.command("ls").arg("/proc/self/fd").stdin(Stdio::inherit())),
        String::from_utf8(plain).unwrap()
    );
}

#[test]
fn a_program_has_the_capabilities_that_are_kept_and_no_others() {
    let Some(fresh) = fresh() else { return };
    let ours = Capabilities::of_this_thread().unwrap();
    let check = |kept: Capabilities| {
        let status = output(fresh.command("cat").arg("/proc/self/status").keep(kept));
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(of_status(&status, set), (kept & ours).bits(), "{set} of {kept}");
        }
        assert_eq!(of_status(&status, "NoNewPrivs"), 1);
    };
    check(Capabilities::NONE);
    check(Capabilities::NET_RAW);
    check(Capabilities::NET_RAW | Capabilities::NET_ADMIN);
    check(Capabilities::ALL);
    // The caller has what it had.
    assert_eq!(Capabilities::of_this_thread().unwrap(), ours);
}

#[test]
fn a_privileged_program_has_all_that_the_caller_has() {
    let Some(fresh) = fresh() else { return };
    let plain = String::from_utf8(Command::new("cat").arg("/proc/self/status").output().unwrap().stdout).unwrap();
    let status = output(fresh.command("cat").arg("/proc/self/status").privileged());
    for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"] {
        assert_eq!(of_status(&status, field), of_status(&plain, field), "{field}");
    }
}

#[test]
fn what_cannot_be_started_is_named() {
    let home = Netns::current().unwrap();
    let check = |program: &str, text: &str| {
        let e = home.command(program).spawn().unwrap_err();
        assert_eq!((e.kind(), e.to_string()), (ErrorKind::Program, text.to_owned()), "{program}");
    };
    check("no-such-program", "program no-such-program is not found on this machine");
    check("/no/such", "program /no/such is not found on this machine");
    check("/etc/passwd", "cannot start /etc/passwd on this machine");
    check("/", "cannot start / on this machine");
    let e = home.command("true").current_dir("/no/such").spawn().unwrap_err();
    assert_eq!(e.to_string(), "program true or its directory /no/such is not found on this machine");
}

#[test]
fn a_program_has_the_containers_files_name_and_processes() {
    let Some(fresh) = fresh() else { return };
    let Some(container) = Container::start() else { return };
    let all = Namespaces::MOUNT | Namespaces::UTS | Namespaces::IPC | Namespaces::PID;
    let seen = output(fresh.command("/mnt/inside").join(container.pidfd(), all));
    let theirs = |of: &str| std::fs::read_link(format!("/proc/{}/ns/{of}", container.first)).unwrap();
    let expected = format!(
        "pod /\n{}\n{}\n{}\n{}\nnet:[{}]\n",
        theirs("mnt").display(),
        theirs("uts").display(),
        theirs("ipc").display(),
        theirs("pid").display(),
        fresh.inode()
    );
    assert_eq!(seen, expected);

    // One alone: the files are the machine's, where there is no such program.
    let name = output(fresh.command("uname").arg("-n").join(container.pidfd(), Namespaces::UTS));
    assert_eq!(name, "pod\n");
    let e = fresh.command("/mnt/inside").join(container.pidfd(), Namespaces::UTS).spawn().unwrap_err();
    assert_eq!(e.to_string(), "program /mnt/inside is not found on this machine");
    // A process of the container could reach the machine's files through such a program.
    let e = fresh.command("true").join(container.pidfd(), Namespaces::PID).spawn().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Config);
    let e = fresh.command("/mnt/outside").join(container.pidfd(), all).spawn().unwrap_err();
    assert_eq!(e.to_string(), "program /mnt/outside is not found in the container");
    let dir = output(fresh.command("pwd").current_dir("/mnt").join(container.pidfd(), all));
    assert_eq!(dir, "/mnt\n");
}

#[test]
fn a_container_that_has_ended_is_not_entered() {
    let Some(fresh) = fresh() else { return };
    let Some(container) = Container::start() else { return };
    let pidfd = container.pidfd();
    drop(container);
    let e = fresh.command("true").join(pidfd, Namespaces::UTS).spawn().unwrap_err();
    assert_eq!((e.kind(), e.to_string().as_str()), (ErrorKind::Enter, "the process of the container has ended"));
    let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
    let e = fresh.command("true").join(file, Namespaces::UTS).spawn().unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Enter);
}

/// A process with namespaces of its own but the network's, which ends with its input.
struct Container {
    unshare: Child,
    first: u32,
}

impl Container {
    fn start() -> Option<Self> {
        const INIT: &str = r#"
            hostname pod && mount -t tmpfs none /mnt && cat > /mnt/inside <<'END' && chmod +x /mnt/inside && echo ready && read end
#!/bin/sh
echo $(uname -n) $(pwd)
readlink /proc/self/ns/mnt /proc/self/ns/uts /proc/self/ns/ipc /proc/self/ns/pid /proc/self/ns/net
END"#;
        let mut unshare = Command::new("unshare")
            .args(["-m", "-u", "-i", "-p", "-f", "--mount-proc", "sh", "-c", INIT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(unshare.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line != "ready\n" {
            unshare.wait().unwrap();
            skip("namespaces may not be made");
            return None;
        }
        let id = unshare.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let first = children.trim().parse().unwrap();
        Some(Self { unshare, first })
    }

    fn pidfd(&self) -> OwnedFd {
        let first = Pid::from_raw(self.first.try_into().unwrap()).unwrap();
        pidfd_open(first, PidfdFlags::empty()).unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.unshare.stdin.take());
        self.unshare.wait().unwrap();
    }
}

/// What a program writes, which must have ended well.
fn output(command: &mut podtrail_netns::Command<'_>) -> String {
    let output = command.stdout(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// A field of `/proc/PID/status`, in hexadecimal.
fn of_status(status: &str, field: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
    u64::from_str_radix(value.trim(), 16).unwrap()
}

/// A network namespace that nobody else is in; `None`, said aloud, if one may not be made.
fn fresh() -> Option<Netns> {
    match Netns::create() {
        Err(e) if e.kind() == ErrorKind::MissingCapability => {
            skip(e);
            None
        }
        made => Some(made.unwrap()),
    }
}
