//! Pods, as the Kubernetes API knows them.

use std::time::Duration;

use anyhow::anyhow;
use podtrail_daemon::Failure;
use podtrail_watch::{Client, Phase, PodState, confirm, selected};

use crate::args::{PodArgs, given};
use crate::pods::{Found, Node};
use crate::request::Wanted;

/// How long the API server may take for its answers.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn find(args: &PodArgs, wanted: &Wanted, here: &Node) -> Result<Vec<Found>, Failure> {
    let asked = async {
        let client = podtrail_watch::client(given(args.kubeconfig.as_deref()), given(args.context.as_deref())).await;
        ask(&client.map_err(failure)?, wanted, here).await
    };
    let late = |_elapsed| {
        Failure::unavailable(anyhow!("the API server did not answer within {PATIENCE:?}; --local does without it"))
    };
    tokio::time::timeout(PATIENCE, asked).await.map_err(late)?
}

async fn ask(client: &Client, wanted: &Wanted, here: &Node) -> Result<Vec<Found>, Failure> {
    match wanted {
        Wanted::One { namespace, name } => {
            let cannot = |e| {
                let Failure { exit, error } = failure(e);
                Failure { exit, error: error.context(format!("cannot get pod {namespace}/{name}")) }
            };
            let state = confirm::pod(client, namespace, name)
                .await
                .map_err(cannot)?
                .found
                .ok_or_else(|| Failure::unavailable(anyhow!("there is no pod {name} in namespace {namespace}")))?;
            Ok(vec![check(state, &here.name, here.is_named)?])
        }
        Wanted::Labelled { namespace, selector } => {
            let pods = selected(client, namespace.as_deref(), selector, &here.name).await.map_err(failure)?;
            // Those that have finished, or have not started, are of no use; nobody named them.
            let has_begun = |state: &PodState| state.phase != Phase::Pending || !state.addresses.is_empty();
            Ok(pods
                .into_iter()
                .filter(has_begun)
                .filter_map(|state| check(state, &here.name, here.is_named).ok())
                .collect())
        }
    }
}

fn failure(error: podtrail_watch::Error) -> Failure {
    match error.kind() {
        // The selector is the one thing in such a question that the server can find fault with.
        podtrail_watch::ErrorKind::Status(400) => Failure::usage(error),
        _ => {
            let what = "cannot ask the Kubernetes API, and --local asks the node's container runtime alone";
            Failure::unavailable(anyhow::Error::new(error).context(what))
        }
    }
}

/// Whether something can be done in it, here. Of a node that nobody named, the container runtime knows better.
fn check(state: PodState, here: &str, is_named: bool) -> Result<Found, Failure> {
    let PodState { pod, phase, mirror, .. } = state;
    let title = format!("{}/{}", pod.namespace, pod.name);
    let Some(node) = &pod.node else {
        return Err(Failure::unavailable(anyhow!("pod {title} is on no node yet")));
    };
    if node != here && is_named {
        let text =
            format!("pod {title} is on node {node}, and this is node {here}: run tracer there, or correct --node");
        return Err(Failure::unavailable(anyhow!(text)));
    }
    if phase.is_terminal() {
        return Err(Failure::unavailable(anyhow!("pod {title} has ended ({phase:?}): it has no network any more")));
    }
    // The kubelet knows a static pod by the UID that it gave it itself.
    let own = pod
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get("kubernetes.io/config.hash"))
        .filter(|_| mirror);
    let uid = own.cloned().unwrap_or(pod.uid);
    let elsewhere = (node != here).then(|| node.clone());
    Ok(Found::new(pod.namespace, pod.name, uid).of_host_network(pod.host_network).elsewhere(elsewhere))
}

#[cfg(test)]
mod tests {
    use podtrail_event::Pod;

    use super::*;

    #[test]
    fn only_pods_that_run_here_will_do() {
        let pod = |node: Option<&str>, phase| PodState {
            pod: Pod {
                namespace: "shop".into(),
                name: "web-0".into(),
                uid: "u".into(),
                node: node.map(Into::into),
                ..Pod::default()
            },
            phase,
            ..PodState::default()
        };
        for (node, is_named) in [("node1", true), ("node2", false)] {
            assert_eq!(check(pod(Some(node), Phase::Running), "node1", is_named).unwrap().title(), "shop/web-0");
        }
        for (state, why) in [
            (pod(None, Phase::Pending), "on no node yet"),
            (pod(Some("node2"), Phase::Running), "is on node node2, and this is node node1"),
            (pod(Some("node1"), Phase::Succeeded), "has ended (Succeeded)"),
        ] {
            let refusal = format!("{:#}", check(state, "node1", true).unwrap_err().error);
            assert!(refusal.contains(why), "{refusal}");
        }
    }
}
