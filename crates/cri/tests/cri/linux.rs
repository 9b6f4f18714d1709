//! Opening what a runtime says, against namespaces and processes of the kernel.

use std::os::fd::AsFd as _;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::fake::{self, Fake, container, sandbox};
use crate::skip::skip;
use podtrail_cri::{Client, Config, ErrorKind, Pod};
use podtrail_netns::Netns;

/// A namespace with a name that nobody else has, as long as it is kept.
struct Named {
    name: String,
    netns: Netns,
}

impl Named {
    /// `None`, said aloud, if one may not be made.
    fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("podtrail-cri-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        match Netns::create_named(&name) {
            Err(e) if e.kind() == podtrail_netns::ErrorKind::MissingCapability => {
                skip(e);
                None
            }
            made => Some(Self { netns: made.unwrap(), name }),
        }
    }

    fn info(&self, folder: &str) -> String {
        let path = format!("{folder}/{}", self.name);
        format!(r#"{{"pid":1,"runtimeSpec":{{"linux":{{"namespaces":[{{"type":"network","path":"{path}"}}]}}}}}}"#)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        Netns::delete_named(&self.name).unwrap();
    }
}

fn web() -> Pod {
    Pod::named("default", "web")
}

fn own_process() -> String {
    format!(r#"{{"pid":{}}}"#, std::process::id())
}

#[tokio::test]
async fn a_namespace_is_opened_by_its_path_with_three_calls() {
    let Some(named) = Named::new() else { return };
    let fake = Fake::start();
    fake.state().sandboxes = vec![sandbox("aa", "web", "u1", &named.info("/run/netns"))];
    let client = fake.client();
    let status = client.sandbox_of(&web()).await.unwrap();
    assert_eq!(client.open_namespace(&status).await.unwrap(), named.netns);
    assert_eq!(fake.state().calls, ["ListPodSandbox", "PodSandboxStatus", "PodSandboxStatus"]);
}

#[tokio::test]
async fn a_path_is_that_of_the_nodes_root() {
    let Some(named) = Named::new() else { return };
    let fake = Fake::start();
    let mut config = Config::default();
    config.root = "/run".into();
    let client = fake.client_with(config);
    for (folder, is_there) in [("/netns", true), ("/run/netns", false)] {
        fake.state().sandboxes = vec![sandbox("aa", "web", "u1", &named.info(folder))];
        let status = client.sandbox_of(&web()).await.unwrap();
        match client.open_namespace(&status).await {
            Ok(netns) => assert!(is_there && netns == named.netns),
            Err(e) => assert!(!is_there && e.kind() == ErrorKind::Namespace, "{e}"),
        }
    }
}

#[tokio::test]
async fn a_namespace_is_opened_by_a_process_where_its_file_system_is_mounted() {
    let folder = tempfile::tempdir().unwrap();
    let proc = folder.path().join("proc");
    std::os::unix::fs::symlink("/proc", &proc).unwrap();
    let fake = Fake::start();
    fake.state().sandboxes = vec![sandbox("aa", "web", "u1", &own_process())];
    for proc in ["/proc".into(), proc] {
        let mut config = Config::default();
        config.proc = proc;
        let client = fake.client_with(config);
        let status = client.sandbox_of(&web()).await.unwrap();
        assert_eq!(client.open_namespace(&status).await.unwrap(), Netns::current().unwrap());
    }
}

/// What a runtime says of a path that is not there, and of this process.
fn not_mounted() -> String {
    let network = r#"{"type":"network","path":"/nowhere/cni-1"}"#;
    format!(r#"{{"pid":{},"runtimeSpec":{{"linux":{{"namespaces":[{network}]}}}}}}"#, std::process::id())
}

#[tokio::test]
async fn a_path_that_is_not_mounted_is_replaced_by_the_process_where_that_is() {
    let folder = tempfile::tempdir().unwrap();
    let proc = folder.path().join("proc");
    std::os::unix::fs::symlink("/proc", &proc).unwrap();
    let fake = Fake::start();
    fake.state().sandboxes = vec![sandbox("aa", "web", "u1", &not_mounted())];
    for (proc, is_there) in [(proc, true), ("/proc".into(), false)] {
        let mut config = Config::default();
        config.proc = proc;
        let client = fake.client_with(config);
        let status = client.sandbox_of(&web()).await.unwrap();
        match client.open_namespace(&status).await {
            Ok(netns) => assert!(is_there && netns == Netns::current().unwrap()),
            Err(e) => assert!(!is_there && e.kind() == ErrorKind::Namespace, "{e}"),
        }
    }
}

#[tokio::test]
async fn a_sandbox_that_stops_while_its_process_is_opened_instead_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let proc = folder.path().join("proc");
    std::os::unix::fs::symlink("/proc", &proc).unwrap();
    let fake = Fake::start();
    fake.state().sandboxes = vec![sandbox("aa", "web", "u1", &not_mounted())];
    let mut config = Config::default();
    config.proc = proc;
    let client = fake.client_with(config);
    let status = client.sandbox_of(&web()).await.unwrap();
    // The number that the runtime still says may be another process's already.
    fake.before("PodSandboxStatus", |state| state.sandboxes[0].status().state = 1);
    let error = client.open_namespace(&status).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SandboxChanged, "{error}");
}

#[tokio::test]
async fn what_is_no_namespace_is_not_opened() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = |path: &str| {
        format!(r#"{{"runtimeSpec":{{"linux":{{"namespaces":[{{"type":"network","path":"{path}"}}]}}}}}}"#)
    };
    let mut child = ended();
    let cases = [
        path(file.path().to_str().unwrap()),
        path("/run/netns/there-is-none-of-this-name"),
        format!(r#"{{"pid":{}}}"#, child.id()),
    ];
    let fake = Fake::start();
    let client = fake.client();
    for info in cases {
        fake.state().sandboxes = vec![sandbox("aa", "web", "u1", &info)];
        let status = client.sandbox_of(&web()).await.unwrap();
        assert_eq!(client.open_namespace(&status).await.unwrap_err().kind(), ErrorKind::Namespace, "{info}");
    }
    child.wait().unwrap();
}

/// A process that has ended, and whose number is not used again until it is waited for.
fn ended() -> Child {
    let child = Command::new("true").spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let options = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
    rustix::process::waitid(rustix::process::WaitId::Pid(pid), options).unwrap();
    child
}

#[tokio::test]
async fn a_sandbox_that_changes_while_it_is_opened_is_found_out() {
    let fake = Fake::start();
    let client = fake.client();
    let unchanged = || vec![sandbox("aa", "web", "u1", &own_process())];
    type Change = fn(&mut fake::State);
    let changes: [(&str, Change); 5] = [
        ("gone", |state| state.sandboxes.clear()),
        ("stopped", |state| state.sandboxes[0].status().state = 1),
        ("another pod's", |state| state.sandboxes[0].status().metadata.as_mut().unwrap().uid = "u2".into()),
        ("made again", |state| state.sandboxes[0].status().created_at += 1),
        ("another process", |state| state.sandboxes[0] = sandbox("aa", "web", "u1", r#"{"pid":1}"#)),
    ];
    for (what, change) in changes {
        fake.state().sandboxes = unchanged();
        let status = client.sandbox_of(&web()).await.unwrap();
        fake.before("PodSandboxStatus", change);
        let error = client.open_namespace(&status).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::SandboxChanged, true), "{what}: {error}");
    }
}

#[tokio::test]
async fn a_namespace_that_is_replaced_under_its_path_is_found_out() {
    let Some(named) = Named::new() else { return };
    let fake = Fake::start();
    fake.state().sandboxes = vec![sandbox("aa", "web", "u1", &named.info("/run/netns"))];
    let client = fake.client();
    let status = client.sandbox_of(&web()).await.unwrap();
    let name = named.name.clone();
    fake.before("PodSandboxStatus", move |_| {
        Netns::delete_named(&name).unwrap();
        Netns::create_named(&name).unwrap();
    });
    let error = client.open_namespace(&status).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SandboxChanged, "{error}");
}

#[tokio::test]
async fn a_containers_process_is_pinned() {
    let fake = Fake::start();
    let client = fake.client();
    fake.state().sandboxes = vec![sandbox("aa", "web", "u1", &own_process())];
    fake.state().containers = vec![
        ("aa".to_owned(), container("c1", "app", &own_process())),
        ("aa".to_owned(), container("c2", "sidecar", r#"{"pid":0}"#)),
    ];
    let status = client.sandbox_of(&web()).await.unwrap();
    for name in [None, Some("app")] {
        let process = client.container_process(&status, name).await.unwrap();
        assert_eq!((&*process.container().id, process.pid()), ("c1", std::process::id()));
        assert_eq!(Netns::of_pidfd(process.as_fd()).unwrap(), Netns::current().unwrap());
    }
    let none = client.container_process(&status, Some("nope")).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NoContainer);
    assert!(none.to_string().contains("app, sidecar"), "{none}");
    let no_process = client.container_process(&status, Some("sidecar")).await.unwrap_err();
    assert_eq!(no_process.kind(), ErrorKind::Process);
    fake.state().containers.push(("aa".to_owned(), container("c/3", "odd", "")));
    assert_eq!(client.container_process(&status, Some("app")).await.unwrap().pid(), std::process::id());
    let maybe = client.container_process(&status, Some("odd")).await.unwrap_err();
    assert_eq!(maybe.kind(), ErrorKind::Malformed, "{maybe}");
    fake.state().containers.clear();
    let none = client.container_process(&status, None).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NoContainer);
}

#[tokio::test]
async fn a_container_that_is_restarted_while_it_is_opened_is_found_out() {
    let fake = Fake::start();
    let client = fake.client();
    let mut child = ended();
    let of_child = format!(r#"{{"pid":{}}}"#, child.id());
    fake.state().sandboxes = vec![sandbox("aa", "web", "u1", &own_process())];
    let status = client.sandbox_of(&web()).await.unwrap();

    type Change = fn(&mut fake::State);
    let exited: Change = |state| state.containers[0].1.status.as_mut().unwrap().state = 2;
    let gone: Change = |state| state.containers.clear();
    let moved: Change = |state| state.containers[0].1 = container("c1", "app", r#"{"pid":1}"#);
    let same: Change = |_| {};
    for (info, first, second) in [
        (&own_process(), same, exited),
        (&own_process(), same, gone),
        (&own_process(), same, moved),
        (&own_process(), exited, same),
        (&of_child, same, same),
    ] {
        fake.state().containers = vec![("aa".to_owned(), container("c1", "app", info))];
        fake.before("ContainerStatus", first);
        fake.before("ContainerStatus", second);
        let error = client.container_process(&status, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ContainerChanged, "{error}");
    }
    child.wait().unwrap();
}

/// Where the socket is, for the test below in a process of another pid namespace.
const SOCKET: &str = "PODTRAIL_CRI_TEST_SOCKET";

#[tokio::test]
async fn process_numbers_of_another_pid_namespace_are_not_used() {
    let fake = Fake::start();
    fake.state().sandboxes = vec![sandbox("aa", "web", "u1", r#"{"pid":1}"#)];
    fake.state().containers = vec![("aa".to_owned(), container("c1", "app", r#"{"pid":1}"#))];
    let mut child = Command::new("unshare");
    child.args(["--pid", "--fork"]).arg(std::env::current_exe().unwrap());
    child.args(["--exact", "linux::in_another_pid_namespace", "--ignored"]).env(SOCKET, fake.socket());
    let output = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
    let (said, complained) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    if complained.starts_with("unshare: ") {
        skip(complained);
        return;
    }
    assert!(output.status.success() && said.contains("1 passed"), "{said}{complained}");
}

#[tokio::test]
#[ignore = "run by process_numbers_of_another_pid_namespace_are_not_used"]
async fn in_another_pid_namespace() {
    let socket = std::env::var(SOCKET).unwrap();
    let client = Client::new(&socket.parse().unwrap(), Config::default());
    let status = client.sandbox_of(&web()).await.unwrap();
    assert_eq!(client.open_namespace(&status).await.unwrap_err().kind(), ErrorKind::Process);
    assert_eq!(client.container_process(&status, None).await.unwrap_err().kind(), ErrorKind::Process);
}

#[tokio::test]
async fn pods_are_entered_by_several_tasks_at_once() {
    let fake = Fake::start();
    fake.state().sandboxes = vec![sandbox("aa", "web", "u1", &own_process())];
    let client = std::sync::Arc::new(fake.client());
    let enter = || {
        let client = std::sync::Arc::clone(&client);
        tokio::spawn(async move { client.open_namespace(&client.sandbox_of(&web()).await?).await })
    };
    for task in [enter(), enter(), enter()] {
        assert_eq!(task.await.unwrap().unwrap(), Netns::current().unwrap());
    }
}
