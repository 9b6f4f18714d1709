//! `ns`: what is in a pod's network namespace.

use std::net::TcpListener;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{World, ask};
use crate::skip::skip;

fn shown(world: &World, what: &[&str]) -> Value {
    let said = ask(&mut world.tracer([&["ns", "--local", "--pod", "default/web", "-o", "json"], what].concat()));
    assert_eq!((said.code, &*said.err), (Some(0), ""));
    serde_json::from_slice(&said.out).unwrap()
}

#[test]
fn a_namespace_is_shown_for_scripts_in_whole_or_in_parts() {
    const PARTS: [&str; 5] = ["interfaces", "addresses", "routes", "neighbours", "sockets"];
    let world = World::new();
    let all = shown(&world, &[]);
    assert_eq!((&all["v"], &all["sandbox"], &all["netns"]), (&json!(1), &json!("aa"), &json!(world.netns().inode())));
    assert_eq!(all["pod"], json!({"namespace": "default", "name": "web", "uid": "u1"}));
    assert!(PARTS.iter().all(|part| all[part].is_array()), "{all}");
    let lo = all["interfaces"].as_array().unwrap().iter().find(|interface| interface["name"] == "lo").unwrap();
    assert!(lo["mtu"].as_u64() > Some(1000) && lo["counters"].is_object(), "{lo}");
    for wanted in PARTS {
        let part = shown(&world, &[wanted]);
        let there: Vec<_> = PARTS.into_iter().filter(|part_of| part.get(part_of).is_some()).collect();
        assert_eq!(there, [wanted]);
    }
    assert!(shown(&world, &["routes", "sockets"]).get("addresses").is_none());
}

#[test]
fn a_socket_of_the_pod_is_shown() {
    let world = World::new();
    // Bound in a namespace of its own it needs no interface that is up.
    let listener = world.netns().run(|| TcpListener::bind("0.0.0.0:0").unwrap()).unwrap();
    let address = format!("0.0.0.0:{}", listener.local_addr().unwrap().port());
    let sockets = shown(&world, &["sockets"])["sockets"].clone();
    let socket = sockets.as_array().unwrap().iter().find(|socket| socket["local"] == *address).unwrap();
    assert_eq!((&socket["protocol"], &socket["state"]), (&json!("tcp"), &json!("listening")));
    let said = ask(&mut world.tracer(["ns", "--local", "--pod", "default/web", "sockets"]));
    let row = said.text().lines().find(|line| line.contains(&address)).unwrap();
    assert!(row.starts_with("tcp") || row.trim_start().starts_with("tcp"), "{row}");
}

#[test]
fn tables_are_for_people() {
    let world = World::new();
    let said = ask(&mut world.tracer(["ns", "--local", "--pod", "default/web"]));
    assert_eq!((said.code, &*said.err), (Some(0), ""));
    for head in ["INTERFACE", "ADDRESS", "ROUTE", "NEIGHBOUR", "SOCKET"] {
        assert!(said.text().lines().any(|line| line.trim_start().starts_with(head)), "{head}: {}", said.text());
    }
    assert!(said.text().lines().any(|line| line.split_whitespace().next() == Some("lo")), "{}", said.text());
    let said = ask(&mut world.tracer(["ns", "--local", "--pod", "default/web", "interfaces"]));
    assert!(said.text().contains("INTERFACE") && !said.text().contains("ROUTE"), "{}", said.text());
}

#[test]
fn addresses_are_those_of_the_namespace() {
    let Some(world) = World::with_own_network() else { return };
    let up = || Command::new("ip").args(["addr", "add", "10.77.1.9/24", "dev", "lo"]).status();
    let Ok(status) = world.netns().run(up).unwrap() else { return skip("no ip (iproute2)") };
    assert!(status.success());
    let addresses = shown(&world, &["addresses"])["addresses"].clone();
    assert_eq!(addresses.as_array().unwrap().len(), 1, "{addresses}");
    let address = &addresses[0];
    assert_eq!(json!([address["interface"], address["address"], address["prefix"]]), json!(["lo", "10.77.1.9", 24]));
}

#[test]
fn many_pods_are_shown_one_after_the_other() {
    let world = World::new();
    let labelled = |id: &str, name: &str| {
        let mut sandbox = world.sandbox(id, name, id);
        sandbox.status().labels.insert("app".to_owned(), "web".to_owned());
        sandbox
    };
    world.has(vec![labelled("bb", "web-1"), labelled("aa", "web-0")]);
    let said = ask(&mut world.tracer(["ns", "--local", "-l", "app=web", "-o", "json", "interfaces"]));
    let pods: Vec<Value> = said.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = pods.iter().map(|pod| pod["pod"]["name"].as_str().unwrap()).collect();
    assert_eq!((said.code, names), (Some(0), vec!["web-0", "web-1"]));
    let said = ask(&mut world.tracer(["ns", "--local", "-l", "app=web", "interfaces"]));
    assert!(
        said.text().contains("pod default/web-0, network namespace ") && said.text().contains("pod default/web-1, ")
    );
}
