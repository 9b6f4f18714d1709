//! Pods that the Kubernetes API knows, on this node and on others.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use podtrail_sim::{Cluster, Config, Fault, Outcome, Pod, PodSpec, Verb};

use crate::harness::{Said, World, ask, eventually};
use crate::skip::skip;

/// A node of a simulated cluster.
struct Node {
    world: World,
    cluster: Cluster,
}

impl Node {
    fn new() -> Self {
        let world = World::new();
        let cluster = Cluster::new(Config::default());
        for (n, name) in ["node-0", "node-1"].into_iter().enumerate() {
            cluster.add_node(name, &[("InternalIP", &format!("198.18.0.{}", 10 + n))]).unwrap();
        }
        let listener = world.runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        kubeconfig(&world, &format!("http://{}", listener.local_addr().unwrap()));
        world.runtime.spawn(podtrail_sim::serve(cluster.clone(), listener, std::future::pending()));
        Self { world, cluster }
    }

    /// A pod that runs, of which the runtime of this node may know.
    fn pod(&self, spec: PodSpec) -> Pod {
        let pod = self.cluster.create(spec).unwrap();
        self.cluster.run(&pod, &["10.244.0.7".parse().unwrap()]).unwrap();
        pod
    }

    /// On node-0, as it is named.
    fn run(&self, args: &[&str]) -> Said {
        ask(self.unnamed(args).env("NODE_NAME", "node-0"))
    }

    fn unnamed(&self, args: &[&str]) -> Command {
        let kubeconfig = self.world.text("kubeconfig");
        self.world.tracer([&["run", "--kubeconfig", &kubeconfig], args].concat())
    }
}

fn kubeconfig(world: &World, server: &str) {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nusers: [{{name: u, user: {{}}}}]\n\
         clusters: [{{name: c, cluster: {{server: \"{server}\"}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
    );
    std::fs::write(world.path("kubeconfig"), text).unwrap();
}

fn spec(name: &str, node: &str) -> PodSpec {
    PodSpec::new("default", name, node).label("app", "web")
}

#[test]
fn a_pod_is_found_by_its_uid() {
    let node = Node::new();
    let pod = node.pod(spec("web", "node-0"));
    // By its name alone it would be either.
    node.world.has(vec![node.world.sandbox("aa", "web", "another"), node.world.sandbox("bb", "web", pod.uid())]);
    assert_eq!(node.run(&["--pod", "default/web", "--", "echo", "hi"]).all(), (Some(0), "hi\n", ""));
    assert_eq!(node.run(&["echo", "-a", "hi", "-s", "--pod", "web", "-n", "default"]).all(), (Some(0), "hi\n", ""));
    let by_variable = ["run", "--node", "node-0", "--pod", "default/web", "--", "echo", "hi"];
    let mut command = node.world.tracer(by_variable);
    assert_eq!(ask(command.env("KUBECONFIG", node.world.text("kubeconfig"))).all(), (Some(0), "hi\n", ""));
    // What has its name now is another pod.
    node.world.has(vec![node.world.sandbox("aa", "web", "another")]);
    let said = node.run(&["--pod", "default/web", "--", "echo", "hi"]);
    assert_eq!((said.code, said.text()), (Some(69), ""), "{}", said.err);
}

#[test]
fn a_pod_in_which_nothing_can_be_done_here_is_refused_and_says_why() {
    let node = Node::new();
    node.pod(spec("far", "node-1"));
    let ended = node.pod(spec("ended", "node-0"));
    node.cluster.finish(&ended, Outcome::Succeeded).unwrap();
    node.cluster.create(spec("pending", "")).unwrap();
    node.pod(spec("host", "node-0").host_network());
    for (name, code, words) in [
        ("far", 69, "pod default/far is on node node-1, and this is node node-0: run tracer there, or correct --node"),
        ("none", 69, "there is no pod none in namespace default"),
        ("ended", 69, "pod default/ended has ended (Succeeded)"),
        ("pending", 69, "pod default/pending is on no node yet"),
        (
            "host",
            64,
            "has the network of its host: what is done there is done to node node-0; if that is meant, say --allow-host",
        ),
    ] {
        let said = node.run(&["--pod", &format!("default/{name}"), "--", "touch", &node.world.text("ran")]);
        assert_eq!((said.code, said.text(), node.world.path("ran").exists()), (Some(code), "", false), "{}", said.err);
        assert!(said.err.contains(words), "{name}: {}", said.err);
    }
}

#[test]
fn where_nobody_has_named_the_node_the_runtime_is_asked() {
    let node = Node::new();
    let pod = node.pod(spec("web", "node-0"));
    node.world.has(vec![node.world.sandbox("aa", "web", pod.uid())]);
    let args = ["--pod", "default/web", "--", "echo", "hi"];
    assert_eq!(ask(&mut node.unnamed(&args)).all(), (Some(0), "hi\n", ""));
    node.world.has(vec![]);
    let said = ask(&mut node.unnamed(&args));
    assert_eq!((said.code, said.text()), (Some(69), ""));
    assert!(said.err.contains("it is on node node-0, and this may be another, "), "{}", said.err);
}

#[test]
fn pods_are_chosen_by_labels_among_those_of_this_node_that_run() {
    let node = Node::new();
    let here = ["web-0", "web-1"].map(|name| node.pod(spec(name, "node-0")));
    let db = node.pod(PodSpec::new("default", "db", "node-0").label("app", "db"));
    node.pod(spec("far", "node-1"));
    let ended = node.pod(spec("ended", "node-0"));
    node.cluster.finish(&ended, Outcome::Failed).unwrap();
    let all =
        here.iter().chain([&db]).map(|pod| node.world.sandbox(&format!("aa{}", pod.name()), pod.name(), pod.uid()));
    node.world.has(all.collect());
    for (selector, expected) in
        [("app=web", &["default/web-0 | x", "default/web-1 | x"][..]), ("app=db", &["default/db | x"])]
    {
        let said = node.run(&["-l", selector, "-n", "default", "--", "echo", "x"]);
        let mut lines: Vec<_> = said.text().lines().collect();
        lines.sort_unstable();
        assert_eq!((said.code, lines), (Some(0), expected.to_vec()), "{}", said.err);
    }
    let said = node.run(&["-l", "app=none", "--", "echo", "x"]);
    assert_eq!((said.code, said.text()), (Some(69), ""));
    assert!(said.err.contains("no pod with labels app=none runs on node node-0"), "{}", said.err);
    let said = node.run(&["-l", "app web", "--", "echo", "x"]);
    assert_eq!((said.code, said.text()), (Some(64), ""), "{}", said.err);
}

#[test]
fn an_api_server_that_is_not_there_is_said_soon_and_what_does_without_it() {
    let world = World::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = |server: &str, args: &[&str]| {
        kubeconfig(&world, server);
        let began = Instant::now();
        let flags = ["run", "--node", "node-0", "--kubeconfig", &world.text("kubeconfig")];
        let said = ask(&mut world.tracer([&flags, args, &["--", "touch", &world.text("ran")]].concat()));
        assert_eq!(
            (said.code, said.text(), world.path("ran").exists()),
            (Some(69), "", false),
            "{server}: {}",
            said.err
        );
        assert!(said.err.contains("--local") && said.err.lines().count() == 1, "{server}: {}", said.err);
        assert!(began.elapsed() < Duration::from_secs(15), "{server}: {:?}", began.elapsed());
    };
    for args in [&["--pod", "default/web"][..], &["-l", "app=web"]] {
        run(&format!("http://{closed}"), args);
    }
    run(&format!("http://{}", silent.local_addr().unwrap()), &["--pod", "default/web"]);
}

#[test]
fn without_a_configuration_it_is_said_what_does_without_one() {
    let world = World::new();
    let mut command = world.tracer(["run", "--pod", "default/web", "--", "true"]);
    let said = ask(command.env("HOME", world.home.path()));
    assert_eq!((said.code, said.text()), (Some(69), ""));
    assert!(said.err.contains("--local asks the node's container runtime alone"), "{}", said.err);
}

#[test]
fn an_api_server_that_forbids_it_is_repeated() {
    let node = Node::new();
    node.pod(spec("web", "node-0"));
    for args in [&["--pod", "default/web"][..], &["-l", "app=web"]] {
        let verb = if args[0] == "-l" { Verb::List } else { Verb::Get };
        for code in [401, 403] {
            node.cluster.inject(Fault::Status { on: verb, code, retry_after: None });
            let said = node.run(&[args, &["--", "true"]].concat());
            assert_eq!((said.code, said.text()), (Some(69), ""), "{args:?}: {}", said.err);
            assert!(said.err.contains(&format!("was answered {code}")), "{args:?}: {}", said.err);
            assert!(said.err.contains("--local asks the node's container runtime alone"), "{args:?}: {}", said.err);
        }
    }
}

#[test]
fn a_kubeconfig_that_cannot_be_used_is_named_and_its_fault_said_once() {
    let world = World::new();
    kubeconfig(&world, "http://127.0.0.1:1");
    let path = world.text("kubeconfig");
    std::fs::write(world.path("broken"), "a: b\nbroken: [\n").unwrap();
    let (broken, none) = (world.text("broken"), world.text("none"));
    for (variable, flags, words) in [
        (&broken, &[][..], format!("cannot use kubeconfig {broken}: ")),
        (&path, &["--kubeconfig", &broken], format!("cannot use kubeconfig {broken}: ")),
        (&path, &["--context", "other"], format!("cannot use kubeconfig {path}: ")),
        (&none, &["--kubeconfig", &path, "--context", "other"], format!("cannot use kubeconfig {path}: ")),
        (&none, &[], format!("cannot use kubeconfig {none}: No such file")),
        (&path, &["--kubeconfig", &none], format!("cannot use kubeconfig {none}: No such file")),
    ] {
        let mut command = world.tracer([&["run"], flags, &["--pod", "default/web", "--", "true"]].concat());
        let said = ask(command.env("KUBECONFIG", variable));
        assert_eq!((said.code, said.text(), said.err.lines().count()), (Some(69), "", 1), "{}", said.err);
        assert!(said.err.contains(&format!("alone: {words}")) && !said.err.contains("\\n"), "{words}: {}", said.err);
        for fault in ["line 2", "other", "No such file"] {
            assert!(said.err.matches(fault).count() <= 1, "{}", said.err);
        }
        let fault = ["line ", ": other", "No such file"].iter().filter(|fault| said.err.contains(**fault)).count();
        assert_eq!(fault, 1, "{}", said.err);
    }
}

/// A server with a certificate that nobody vouches for; killed when dropped.
struct Unvouched(Child);

impl Drop for Unvouched {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn an_api_server_whose_certificate_nobody_vouches_for_is_one_error() {
    let world = World::new();
    let (key, certificate) = (world.text("key"), world.text("certificate"));
    let words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"];
    let alias = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", &key, "-out", &certificate];
    let Ok(made) = Command::new("openssl").args(words).args(alias).output() else { return skip("no openssl") };
    assert!(made.status.success(), "{made:?}");
    // Free a moment ago; nobody else is told.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut server = Command::new("openssl");
    server.args(["s_server", "-quiet", "-accept", &address.to_string(), "-key", &key, "-cert", &certificate]);
    let _server = Unvouched(server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    eventually("the server", || std::net::TcpStream::connect(address).ok());
    kubeconfig(&world, &format!("https://{address}"));
    let flags = ["run", "--kubeconfig", &world.text("kubeconfig"), "--pod", "default/web", "--", "true"];
    let said = ask(&mut world.tracer(flags));
    assert_eq!((said.code, said.text(), said.err.lines().count()), (Some(69), "", 1), "{}", said.err);
    assert!(said.err.contains("--local") && said.err.contains("certificate"), "{}", said.err);
}
