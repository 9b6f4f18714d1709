//! Asking once for the pods with some labels.

use kube::Client;
use serde::Deserialize;

use crate::client::{encode, object};
use crate::clock::Clock;
use crate::decode::Str;
use crate::error::{Error, ErrorKind, chain};
use crate::pod::{PodLite, PodState};

/// How many pods are asked for at a time: of usual size, they are well below what an answer may have.
const PAGE: usize = 100;
/// No node holds more.
const MOST: usize = 5_000;

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
    #[serde(borrow)]
    items: Option<Vec<PodLite<'a>>>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(rename = "continue", borrow)]
    more: Option<Str<'a>>,
}

/// The pods of a node that have these labels, in one namespace or in all: what they were at the time of the answer.
///
/// `labels` is a label selector as the API has it, such as `app=web,tier!=db`. A pod that cannot be used (it has no UID, or
/// none of its names) is left out, and the log says so.
///
/// # Errors
/// If the server cannot be reached, refuses, or gives something that is no list of pods.
pub async fn selected(
    client: &Client,
    namespace: Option<&str>,
    labels: &str,
    node: &str,
) -> Result<Vec<PodState>, Error> {
    if namespace.is_some_and(|namespace| matches!(namespace, "" | "." | "..")) {
        return Err(Error::new(ErrorKind::Unusable, format_args!("{namespace:?} names no namespace")));
    }
    let scope = namespace.map(|namespace| format!("/namespaces/{}", encode(namespace))).unwrap_or_default();
    let field = encode(&format!("spec.nodeName={node}"));
    let question = format!("/api/v1{scope}/pods?limit={PAGE}&labelSelector={}&fieldSelector={field}", encode(labels));
    let mut pods = Vec::new();
    let mut more = None::<String>;
    for _ in 0..=MOST / PAGE {
        let page = more.as_ref().map(|more| format!("&continue={}", encode(more))).unwrap_or_default();
        let body = object(client, &format!("{question}{page}")).await?;
        let list: List<'_> = serde_json::from_slice(&body)
            .map_err(|e| Error::caused(ErrorKind::Decode, "the API server gave no list of pods", e))?;
        let received = Clock::start().now().wall;
        let items = list.items.unwrap_or_default();
        let warn = |error: &Error| {
            tracing::warn!(error = %chain(error), "a pod with these labels cannot be used, and is left out");
        };
        let states = items.iter().map(|pod| pod.state(received, &mut Vec::new()).inspect_err(warn));
        pods.extend(states.flatten());
        more = list.metadata.more.map(|more| more.owned()).filter(|more| !more.is_empty());
        if more.is_none() {
            return Ok(pods);
        }
    }
    Err(Error::new(ErrorKind::Unusable, format_args!("more than {MOST} pods have the labels {labels}")))
}
