//! One tool in many pods.

use rustix::process::Signal;

use crate::fake::PodSandboxStatusResponse;
use crate::harness::{Running, Said, World, ask, eventually};

const PODS: [&str; 3] = ["web-0", "web-1", "web-2"];

/// A node with three pods that have `app=web`, one of them in another namespace, and one that has not.
fn three() -> World {
    let world = World::new();
    let labelled = |n: usize, app: &str| -> PodSandboxStatusResponse {
        let name = PODS.get(n).copied().unwrap_or("db");
        let mut sandbox = world.sandbox(&format!("aa{n}"), name, &format!("u{n}"));
        sandbox.status().labels.insert("app".to_owned(), app.to_owned());
        if n == 2 {
            sandbox.status().metadata.as_mut().unwrap().namespace = "shop".into();
            sandbox.status().labels.insert("io.kubernetes.pod.namespace".to_owned(), "shop".to_owned());
        }
        sandbox
    };
    world.has(vec![labelled(2, "web"), labelled(0, "web"), labelled(3, "db"), labelled(1, "web")]);
    world
}

fn web(world: &World, flags: &[&str], script: &str) -> std::process::Command {
    world.tracer([&["run", "--local", "-l", "app=web"], flags, &["--", "sh", "-c", script, &world.text("")]].concat())
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// The rows of the table, without its head: words of each.
fn rows(said: &Said) -> Vec<Vec<&str>> {
    let table = said.err.lines().skip_while(|line| !line.trim_start().starts_with("POD "));
    table.skip(1).map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn each_line_says_whose_it_is_and_a_table_how_each_fared() {
    let world = three();
    let said = ask(&mut web(&world, &[], "echo one; printf 'two'; echo bad >&2"));
    let expected = ["default/web-0", "default/web-1", "shop/web-2"];
    let lines = |what: &[&str]| -> Vec<String> {
        expected.iter().flat_map(|pod| what.iter().map(move |what| format!("{pod} | {what}"))).collect()
    };
    assert_eq!(
        (said.code, sorted(said.text())),
        (Some(0), lines(&["one", "two"]).iter().map(String::as_str).collect())
    );
    let complaints: Vec<_> = said.err.lines().filter(|line| line.contains(" | ")).collect();
    assert_eq!(sorted(&complaints.join("\n")), lines(&["bad"]), "{}", said.err);
    for (row, pod) in rows(&said).iter().zip(expected) {
        assert_eq!((row[0], row[1], &row[3..]), (pod, "0", &["s", "7", "B"][..]), "{}", said.err);
    }
}

#[test]
fn pods_are_chosen_by_labels_and_namespace() {
    let world = three();
    for (flags, expected) in [
        (&["-l", "app=web", "-n", "default"][..], &["default/web-0 | x", "default/web-1 | x"][..]),
        (&["-l", "app=web", "-n", "shop"], &["shop/web-2 | x"]),
        (&["-l", "app=db"], &["default/db | x"]),
        (&["--selector", "app=web"], &["default/web-0 | x", "default/web-1 | x", "shop/web-2 | x"]),
    ] {
        let said = ask(&mut world.tracer([&["run", "--local"], flags, &["--", "echo", "x"]].concat()));
        assert_eq!((said.code, sorted(said.text())), (Some(0), expected.to_vec()), "{flags:?}: {}", said.err);
    }
    let said = ask(&mut world.tracer(["run", "--local", "-l", "app=none", "-n", "shop", "--node", "n1", "--", "true"]));
    assert_eq!((said.code, said.text()), (Some(69), ""));
    assert!(said.err.contains("no pod with labels app=none in namespace shop runs on node n1"), "{}", said.err);
}

#[test]
fn a_pod_that_the_runtime_lists_wrongly_costs_no_other_and_is_said() {
    let world = three();
    let mut sandboxes: Vec<_> = ["a/a", "bb"].map(|id| world.sandbox(id, "web", id)).into();
    for sandbox in &mut sandboxes {
        sandbox.status().labels.insert("app".to_owned(), "web".to_owned());
    }
    world.has(sandboxes);
    let said = ask(&mut web(&world, &[], "echo x"));
    assert_eq!((said.code, said.text()), (Some(0), "default/web | x\n"), "{}", said.err);
    assert!(said.err.contains("a pod is left out: sandbox \"a/a\" of pod \"default\"/\"web\""), "{}", said.err);
}

#[test]
fn the_exit_code_is_what_the_failures_agree_on() {
    let world = three();
    // One after the other, each counts those before it.
    let nth = "mkdir $0/run-$$; n=$(ls -d $0/run-* | wc -l);";
    for (rest, code) in [("[ $n -lt 3 ] || exit 3", 3), ("exit $n", 1), ("exit 0", 0)] {
        let said = ask(&mut web(&world, &["--parallel", "1"], &format!("{nth} {rest}")));
        assert_eq!(said.code, Some(code), "{rest}: {}", said.err);
        for (row, n) in rows(&said).iter().zip(["1", "2", "3"]) {
            let expected = if rest == "exit $n" {
                n
            } else if code == 3 && n == "3" {
                "3"
            } else {
                "0"
            };
            assert_eq!(row[1], expected, "{rest}: {}", said.err);
        }
        for entry in std::fs::read_dir(world.home.path()).unwrap() {
            std::fs::remove_dir(entry.unwrap().path()).unwrap();
        }
    }
}

#[test]
fn so_many_run_at_a_time() {
    let world = three();
    let alone = "mkdir $0/lock || exit 9; sleep 0.1; rmdir $0/lock";
    assert_eq!(ask(&mut web(&world, &["--parallel", "1"], alone)).code, Some(0));
    let together = "mkdir $0/run-$$; n=0; until [ $(ls -d $0/run-* | wc -l) = 3 ]; do n=$((n+1)); [ $n -lt 500 ] || exit 8; sleep 0.02; done";
    assert_eq!(ask(&mut web(&world, &[], together)).code, Some(0));
}

#[test]
fn each_pod_has_a_file_of_its_own() {
    let world = three();
    let said = ask(&mut web(&world, &["-f", &world.text("{namespace}-{pod}.txt")], "echo $$"));
    assert_eq!((said.code, said.text()), (Some(0), ""));
    let files = ["default-web-0", "default-web-1", "shop-web-2"].map(|name| world.read(&format!("{name}.txt")));
    assert!(files[0] != files[1] && files[1] != files[2] && files.iter().all(|file| file.ends_with('\n')), "{files:?}");
}

#[test]
fn a_signal_ends_all_and_no_more_are_started() {
    let world = three();
    let mut running =
        Running::start(&mut web(&world, &["--parallel", "2"], "echo $$; touch $0/run-$$; sleep 1000 & wait"));
    let started = || std::fs::read_dir(world.home.path()).unwrap().count();
    eventually("two run", || (started() == 2).then_some(()));
    running.signal(Signal::TERM);
    let said = running.ends();
    assert_eq!((started(), said.text().lines().count()), (2, 2), "{said:?}");
    let rows = rows(&said);
    let signalled = rows.iter().filter(|row| row[1..3] == ["signal", "15"]).count();
    assert_eq!((signalled, said.code), (2, Some(1)), "{}", said.err);
    assert!(said.err.contains("not started, since tracer was told to end"), "{}", said.err);
}

#[test]
fn the_timer_ends_all() {
    let world = three();
    let mut running = Running::start(&mut web(&world, &["-t", "1s"], "sleep 1000 & wait"));
    let said = running.ends();
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(rows(&said).iter().all(|row| row[1] == "timer"), "{}", said.err);
    assert!(running.since.elapsed().as_secs() < 20);
}

#[test]
fn no_tool_of_many_waits_for_standard_input() {
    let world = three();
    let mut command = web(&world, &[], "cat; exit 0");
    let mut running = Running::start(command.stdin(std::process::Stdio::piped()));
    assert_eq!(running.ends().code, Some(0));
}

#[test]
fn long_lines_and_many_lines_stay_whole() {
    let world = three();
    let said = ask(&mut web(&world, &[], "seq 1 2000; head -c 10000 /dev/zero | tr '\\0' x; echo"));
    assert_eq!(said.code, Some(0), "{}", said.err);
    let mut lines: Vec<_> = said.text().lines().map(|line| line.split_once(" | ").unwrap()).collect();
    assert_eq!(lines.len(), 3 * 2001);
    // In order, for each pod.
    lines.sort_by_key(|(pod, _)| *pod);
    for of_one in lines.chunks(2001) {
        assert!(of_one[..2000].iter().enumerate().all(|(at, (_, line))| *line == (at + 1).to_string()));
        assert_eq!(of_one[2000].1, "x".repeat(10_000));
    }
}
