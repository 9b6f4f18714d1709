//! Asking for single pods, to confirm what a watch has said.

use kube::Client;
use podtrail_event::Timestamp;

use crate::client::{encode, object};
use crate::clock::Clock;
use crate::delta::Rejected;
use crate::error::{Error, ErrorKind};
use crate::pod::{PodLite, PodState};

/// What the API server said of a pod's name, asked by itself.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "built literally by the tests of those who consume it")]
pub struct Confirmation {
    /// When it was asked.
    pub sent: Timestamp,
    /// When it had answered: what it said was so at some instant between these.
    pub received: Timestamp,
    /// The pod of that name; `None` if there was none. It may be another incarnation than the one in question.
    pub found: Option<PodState>,
    /// Fields of it that could not be used.
    pub rejected: Vec<Rejected>,
}

/// Asks for the pod that now has this name: a read that no cache answers.
///
/// # Errors
/// If the server cannot be reached, refuses, or gives something that is no pod.
pub async fn pod(client: &Client, namespace: &str, name: &str) -> Result<Confirmation, Error> {
    if [namespace, name].iter().any(|part| matches!(*part, "" | "." | "..")) {
        return Err(Error::new(ErrorKind::Unusable, format_args!("{namespace:?}/{name:?} names no pod")));
    }
    let clock = Clock::start();
    let sent = clock.now().wall;
    let path = format!("/api/v1/namespaces/{}/pods/{}", encode(namespace), encode(name));
    let body = match object(client, &path).await {
        Ok(body) => Some(body),
        Err(error) if error.kind() == ErrorKind::Status(404) => None,
        Err(error) => return Err(error),
    };
    let received = clock.now().wall;
    let mut rejected = Vec::new();
    let found = match body {
        Some(body) => Some(PodLite::object(&body)?.state(received, &mut rejected)?),
        None => None,
    };
    Ok(Confirmation { sent, received, found, rejected })
}
