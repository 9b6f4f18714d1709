//! What is global to a process (logs, signals, last words), tried in a child: this test binary, run again for one test.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test, which runs itself as a child"
)]

use std::{
    env,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
};

use podtrail_daemon::{ErrorKind, Exit, LogFormat, logs, print_error, reopen_signal, shutdown_signal};

const ROLE: &str = "PODTRAIL_DAEMON_TEST_ROLE";

fn child(role: &str, variables: &[(&str, &str)]) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "child_process", "--nocapture"]).env(ROLE, role);
    command.env_remove("RUST_LOG").env_remove("PODTRAIL_LOG").envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Standard output after the test harness's own lines, standard error, exit code.
fn run(role: &str, variables: &[(&str, &str)]) -> (String, String, Option<i32>) {
    let output = child(role, variables).wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

/// Not a claim of its own: the body of the children that the tests below start.
#[test]
fn child_process() {
    let Ok(role) = env::var(ROLE) else { return };
    let exit = match role.as_str() {
        "json" | "text" => {
            let format = if role == "json" { LogFormat::Json } else { LogFormat::Text };
            logs(format, None, "info").unwrap();
            assert_eq!(logs(format, None, "info").unwrap_err().kind(), ErrorKind::LogInstall);
            tracing::info!(pod = "web\x1b[31m", "tracked");
            tracing::debug!("detail");
            Exit::Ok
        }
        "bad filter" => {
            let error = logs(LogFormat::Text, None, "info").unwrap_err();
            print_error(&error);
            error.exit()
        }
        "signals" => signals(),
        other => panic!("no role {other}"),
    };
    std::process::exit(exit as i32);
}

#[tokio::main(flavor = "current_thread")]
async fn signals() -> Exit {
    let shutdown = shutdown_signal().unwrap();
    let mut reopen = reopen_signal().unwrap();
    println!("pid {}", std::process::id());
    reopen.recv().await;
    println!("reopened");
    shutdown.await;
    Exit::Unavailable
}

#[test]
fn log_lines_go_to_standard_error_in_the_format_asked_for_and_without_colour() {
    let (out, err, code) = run("json", &[]);
    assert_eq!(code, Some(0), "{err}");
    assert!(!out.contains("tracked"), "{out}");
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(
        err.starts_with("{\"timestamp\":\"")
            && err.contains("\"level\":\"INFO\"")
            && err.contains("\"message\":\"tracked\"")
    );

    let (_, err, _) = run("text", &[("PODTRAIL_LOG", "debug")]);
    assert_eq!(err.lines().count(), 2, "{err}");
    assert!(err.contains("tracked") && err.contains("detail") && !err.contains('\x1b'), "{err}");
}

#[test]
fn a_bad_filter_ends_with_the_usage_code_and_one_line() {
    let (_, err, code) = run("bad filter", &[("RUST_LOG", "dbug\x07")]);
    assert_eq!(code, Some(64));
    assert!(err.starts_with("error: RUST_LOG \"dbug") && err.lines().count() == 1 && !err.contains('\x07'), "{err}");
}

#[test]
fn sighup_reopens_and_sigterm_or_sigint_shuts_down() {
    for signal in ["TERM", "INT"] {
        let mut child = child("signals", &[]);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut line_with = |text: &str| lines.find(|line| line.as_ref().is_ok_and(|l| l.contains(text))).is_some();
        let kill = |signal: &str| Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();

        assert!(line_with("pid "), "the child did not start");
        assert!(kill("HUP").success());
        assert!(line_with("reopened"), "SIGHUP was not seen");
        assert!(kill(signal).success());
        assert_eq!(child.wait().unwrap().code(), Some(69), "SIG{signal}");
        let mut rest = String::new();
        child.stderr.take().unwrap().read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
    }
}
