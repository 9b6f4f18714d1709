//! Nodes own their addresses; hostNetwork pods use them.

use podtrail_event::Subject;
use podtrail_watch::{Delta, NodeState};

use crate::harness::{Shown, World, pod, running, t};

const NODE: &str = "198.18.0.11";

fn host(uid: &str, at: f64) -> Shown {
    pod(uid, uid, at).host_network().shows(&[NODE]).runs(at + 1.0)
}

fn users(world: &World, at: f64) -> Vec<String> {
    let mut users: Vec<_> = world.reply(NODE, at).users.into_iter().map(|claim| claim.uid).collect();
    users.sort();
    users
}

fn list_nodes(world: &mut World, at: f64, nodes: Vec<NodeState>) {
    world.at(at).nodes(Delta::ListStarted { sent: t(at - 0.2) });
    for node in nodes {
        world.nodes(Delta::Listed(node));
    }
    let (sent, received) = (t(at - 0.2), t(at));
    world.nodes(Delta::Snapshot { resource_version: "1".into(), sent, received, gap: None, after_version: None });
}

#[test]
fn many_host_network_pods_use_one_address_which_is_the_nodes() {
    let mut world = World::new();
    let node = world.node_state("n1", &[NODE]);
    list_nodes(&mut world, 1.0, vec![node.clone()]);
    let (a, b) = (host("a", 10.0), host("b", 10.0));
    world.at(11.1).applied(&a).applied(&b).at(30.0).confirmed(&a).confirmed(&b);
    world
        .at(40.0)
        .deleted(&a.deleting(38.0, 1).ends(39.0))
        .at(59.0)
        .alive()
        .nodes(Delta::Alive { since: None, at: t(59.0) });
    for at in [20.0, 50.0] {
        let answer = world.owner(NODE, at);
        assert!(["certain uid-n1", "presumed uid-n1"].contains(&&*answer), "{at}: {answer}");
        assert_eq!(world.reply(NODE, at).answer.named()[0].subject, Subject::Node);
    }
    assert_eq!(users(&world, 20.0), ["a", "b"]);
    assert_eq!(users(&world, 50.0), ["b"]);
    assert!(users(&world, 5.0).is_empty());
    world.says("10.0.0.1", &[(20.0, "nobody")]);
}

/// antrea `Test_noHostNetworkPod`: a pod in the node's network never takes the address from it or from a pod.
#[test]
fn host_network_pod_takes_no_address_from_anyone() {
    let mut world = World::new();
    let a = running("a", "web-1", 10.0, NODE);
    world.at(11.1).applied(&a).at(20.0).applied(&host("b", 18.0)).at(40.0).confirmed(&a);
    world.says(NODE, &[(30.0, "certain a")]);
    assert_eq!(users(&world, 30.0), ["b"]);
}

/// P-C12: the node is gone before its pod.
#[test]
fn deletion_of_a_pod_whose_node_is_gone_has_the_nodes_last_addresses() {
    for restart in [false, true] {
        let mut world = World::new();
        world.node("n1", &[NODE, "fd00:18::11"]);
        let a = running("a", "web-1", 10.0, "10.0.0.1");
        world.at(11.1).applied(&a);
        let object = world.node_state("n1", &[]);
        world.at(20.0).nodes(Delta::Deleted { object, received: t(20.0), live: true });
        if restart {
            world.restart();
        }
        world.at(30.0).deleted(&a.deleting(28.0, 1).ends(29.0));
        for event in world.events("a") {
            assert_eq!(event.node_addresses.0["InternalIP"], [NODE, "fd00:18::11"], "{:?}", event.event);
        }
        let stranger = running("s", "web-2", 31.0, "10.0.0.2").on("never seen");
        world.at(32.1).applied(&stranger);
        assert!(world.events("s")[0].node_addresses.0.is_empty());
    }
}

#[test]
fn node_that_loses_an_address_no_longer_owns_it() {
    let mut world = World::new();
    let node = world.node_state("n1", &[NODE, "fd00:18::11"]);
    list_nodes(&mut world, 1.0, vec![node]);
    world.at(30.0).node("n1", &[NODE]).at(60.0).alive().nodes(Delta::Alive { since: None, at: t(60.0) });
    let named = |ip| world.reply(ip, 50.0).answer.named().len();
    assert_eq!((named(NODE), named("fd00:18::11")), (1, 0));
    // And what it got later, it did not have before.
    world.at(70.0).node("n1", &[NODE, "198.18.0.99"]).at(90.0).alive().nodes(Delta::Alive { since: None, at: t(90.0) });
    let answer = world.owner("198.18.0.99", 50.0);
    assert!(["ambiguous uid-n1", "nobody"].contains(&&*answer), "{answer}");
    let answer = world.owner("198.18.0.99", 80.0);
    assert!(["certain uid-n1", "presumed uid-n1"].contains(&&*answer), "{answer}");
}

/// The two watches run apart: how far the pods' has got says nothing of a node's frame.
#[test]
fn late_frame_of_a_node_is_not_dated_by_the_watch_of_pods() {
    let mut world = World::new();
    let node = world.node_state("n1", &[NODE]);
    list_nodes(&mut world, 1.0, vec![node]);
    // The nodes' watch hangs from 2 on; the pods' goes on.
    world.at(60.1).applied(&running("a", "web-1", 60.0, "10.0.0.1"));
    // At 10 the node's address had changed, before that something else of it: both frames come now.
    let before = world.node_state("n1", &[NODE]);
    let after = world.node_state("n1", &["198.18.0.12"]);
    world.at(61.0);
    for object in [before, after] {
        world.nodes(Delta::Applied { object, received: t(61.0), live: false });
    }
    world.at(70.0).alive().nodes(Delta::Alive { since: None, at: t(70.0) });
    let answer = world.owner(NODE, 30.0);
    assert_eq!(answer, "ambiguous uid-n1");
}

#[test]
fn node_recreated_under_its_name_is_another_node() {
    let mut world = World::new();
    let first = world.node_state("n1", &[NODE]);
    list_nodes(&mut world, 1.0, vec![first]);
    let second = NodeState { uid: "second".into(), created: Some(t(40.0)), ..world.node_state("n1", &[NODE]) };
    world.at(40.5).nodes(Delta::Applied { object: second, received: t(40.5), live: true });
    world.at(60.0).alive().nodes(Delta::Alive { since: None, at: t(60.0) });
    assert!(world.owner(NODE, 20.0).ends_with("uid-n1"));
    assert_eq!(world.reply(NODE, 55.0).answer.named()[0].uid, "second");
}

#[test]
fn node_that_shows_no_address_for_once_is_recorded_with_its_last() {
    let mut world = World::new();
    world.node("n1", &[NODE]).node("n1", &[]);
    world.at(11.1).applied(&running("a", "web-1", 10.0, "10.0.0.1"));
    assert_eq!(world.events("a")[0].node_addresses.0["InternalIP"], [NODE]);
}

#[test]
fn heartbeat_of_a_node_is_a_sign_of_its_addresses() {
    let mut world = World::new();
    let node = world.node_state("n1", &[NODE]);
    list_nodes(&mut world, 1.0, vec![node]);
    // The second by a clock that is fast: it is not believed beyond when it came.
    for (heartbeat, at, certain) in [(300.0, 300.2, 298.0), (900.0, 600.0, 598.0)] {
        let object = NodeState { heartbeat: Some(t(heartbeat)), ..world.node_state("n1", &[NODE]) };
        world.at(at).nodes(Delta::Applied { object, received: t(at), live: true });
        world.alive().nodes(Delta::Alive { since: None, at: t(at) });
        assert_eq!(world.owner(NODE, certain), "certain uid-n1");
        assert_ne!(world.owner(NODE, at - 0.5), "certain uid-n1");
    }
}
