//! Asking the API server: requests, bounded answers.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use serde::Deserialize;

use crate::decode::{Failure, Str};
use crate::error::{Error, ErrorKind, chain};

/// The longest body of a failure, or of a single object, that is taken.
const MOST_BODY: usize = 4 << 20;
/// How long a single request may take.
const PATIENCE: Duration = Duration::from_secs(65);

/// A client for the cluster of this kubeconfig, and of this context of it.
///
/// Without a file it is what `kubectl` would use, or the service account of the pod that this runs in. The client does
/// not retry by itself: kube's own retries would hide from a watch that the server is overloaded. Must be called in a
/// tokio runtime.
///
/// # Errors
/// If there is no such file or context, it cannot be read, or no cluster is configured at all.
pub async fn client(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Client, Error> {
    let broken = |e| broken(kubeconfig, &e);
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let mut config = match kubeconfig {
        Some(path) => {
            let read = Kubeconfig::read_from(path).map_err(broken)?;
            kube::Config::from_custom_kubeconfig(read, &options).await.map_err(broken)?
        }
        None if context.is_some() => kube::Config::from_kubeconfig(&options).await.map_err(broken)?,
        None => kube::Config::infer().await.map_err(|e| unconfigured(&e))?,
    };
    config.default_retry = false;
    // A watch has its own time limits, which know of silence that is no fault.
    config.read_timeout = None;
    Client::try_from(config).map_err(|e| Error::caused(ErrorKind::Configuration, "cannot make a client", e))
}

/// What is wrong with a kubeconfig, once: kube says what its causes say too, and its parser shows the lines of the file.
fn broken(path: Option<&Path>, e: &KubeconfigError) -> Error {
    let (path, fault) = match (e, path) {
        (KubeconfigError::ReadConfig(cause, path), _) => (path.clone(), cause.to_string()),
        (_, Some(path)) => (path.to_owned(), chain(e)),
        (_, None) => (variable().unwrap_or_else(|| "~/.kube/config".into()).into(), chain(e)),
    };
    let fault = fault.lines().next().unwrap_or_default();
    Error::new(ErrorKind::Configuration, format_args!("cannot use kubeconfig {}: {fault}", path.display()))
}

/// The kubeconfig that the environment names.
fn variable() -> Option<OsString> {
    std::env::var_os("KUBECONFIG").filter(|paths| !paths.is_empty())
}

/// There was no service account, and this is why there was no kubeconfig.
fn unconfigured(e: &InferConfigError) -> Error {
    let cause = std::error::Error::source(e).and_then(|cause| cause.downcast_ref());
    match cause {
        Some(KubeconfigError::ReadConfig(e, path)) if e.kind() == io::ErrorKind::NotFound && variable().is_none() => {
            let what =
                format_args!("no cluster is configured: there is neither a service account nor {}", path.display());
            Error::new(ErrorKind::Configuration, what)
        }
        Some(fault) => broken(None, fault),
        None => Error::new(ErrorKind::Configuration, format_args!("no cluster is configured: {}", chain(e))),
    }
}

/// The UID of the cluster: that of its `kube-system` namespace.
///
/// # Errors
/// If the server cannot be reached, refuses, or gives no UID.
pub async fn cluster_uid(client: &Client) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Namespace<'a> {
        #[serde(borrow)]
        metadata: Metadata<'a>,
    }
    #[derive(Deserialize)]
    struct Metadata<'a> {
        #[serde(borrow)]
        uid: Str<'a>,
    }
    let path = "/api/v1/namespaces/kube-system";
    let body = object(client, path).await?;
    let namespace: Namespace<'_> = serde_json::from_slice(&body)
        .map_err(|e| Error::caused(ErrorKind::Decode, "the kube-system namespace has no UID", e))?;
    match namespace.metadata.uid.owned() {
        uid if uid.is_empty() => Err(Error::new(ErrorKind::Unusable, "the kube-system namespace has no UID")),
        uid => Ok(uid),
    }
}

/// Gets a single object, whole.
pub(crate) async fn object(client: &Client, path: &str) -> Result<Bytes, Error> {
    let unreachable = || Error::new(ErrorKind::Unreachable, format_args!("GET {path} was not answered in time"));
    let response = tokio::time::timeout(PATIENCE, send(client, path)).await.map_err(|_elapsed| unreachable())??;
    let status = response.status();
    let mut body = response.into_body();
    if !status.is_success() {
        let failure = failure(status, &mut body, PATIENCE).await;
        let what = format_args!("GET {path} was answered {}: {}", failure.code, failure.message);
        return Err(Error::new(ErrorKind::Status(status.as_u16()), what));
    }
    collect(&mut body, MOST_BODY, PATIENCE).await.map_err(|e| match e {
        Incomplete::TooLong => {
            Error::new(ErrorKind::Unusable, format_args!("the answer to GET {path} is longer than {MOST_BODY} bytes"))
        }
        Incomplete::Cut(why) => {
            Error::new(ErrorKind::Unreachable, format_args!("the answer to GET {path} was cut: {why}"))
        }
    })
}

/// Sends a request; returns when the head of the response has come.
pub(crate) async fn send(client: &Client, path: &str) -> Result<Response<Body>, Error> {
    let request = Request::builder()
        .method(Method::GET)
        .uri(path)
        .header(http::header::ACCEPT, "application/json")
        // Lines cannot be told apart in time in a compressed watch.
        .header(http::header::ACCEPT_ENCODING, "identity")
        .header(http::header::USER_AGENT, concat!("podtrail/", env!("CARGO_PKG_VERSION")))
        .body(Body::empty())
        .map_err(|e| Error::caused(ErrorKind::Unusable, format_args!("cannot ask for {path}"), e))?;
    client.send(request).await.map_err(|e| Error::caused(ErrorKind::Unreachable, "the API server cannot be reached", e))
}

/// Why a body is not all there.
#[derive(Debug)]
pub(crate) enum Incomplete {
    TooLong,
    Cut(String),
}

/// The whole body, if it is at most `most` bytes and never pauses for `stall`.
pub(crate) async fn collect(body: &mut Body, most: usize, stall: Duration) -> Result<Bytes, Incomplete> {
    let mut first = Bytes::new();
    let mut all = Vec::new();
    loop {
        let frame = tokio::time::timeout(stall, body.frame());
        let frame = frame.await.map_err(|_elapsed| Incomplete::Cut(format!("no byte came for {stall:?}")))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|e| Incomplete::Cut(chain(&e)))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + all.len() + data.len() > most {
            return Err(Incomplete::TooLong);
        }
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.into() })
}

/// What the server says of a refusal, as far as it can be read.
pub(crate) async fn failure(status: StatusCode, body: &mut Body, stall: Duration) -> Failure {
    let text = collect(body, MOST_BODY, stall).await.unwrap_or_default();
    let mut failure: Failure = serde_json::from_slice(&text).unwrap_or_default();
    failure.code = status.as_u16();
    if failure.message.is_empty() {
        failure.message = String::from_utf8_lossy(&text[..text.len().min(256)]).escape_debug().to_string();
    }
    failure
}

/// How long the server asks to be left alone.
pub(crate) fn retry_after(response: &Response<Body>) -> Option<Duration> {
    // API servers give seconds; the other form, a date, is not worth a clock.
    let text = response.headers().get(http::header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// A text as part of a path or query.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => write!(encoded, "%{byte:02X}").expect("a String takes all that is written"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_kubeconfig_that_cannot_be_used_is_named_and_its_fault_said_once() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("kubeconfig");
        let whole = "current-context: c\nclusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n\
                     contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\n";
        for (text, context, fault) in [
            ("a: b\nbroken: [\n", None, "line 2"),
            ("a: b\nbroken: [\n", Some("c"), "line 2"),
            (whole, Some("other"), "other"),
        ] {
            std::fs::write(&path, text).unwrap();
            let Err(error) = client(Some(&path), context).await else { panic!("{text} is none") };
            assert_eq!(error.kind(), ErrorKind::Configuration);
            let said = chain(&error);
            assert!(said.starts_with(&format!("cannot use kubeconfig {}: ", path.display())), "{said}");
            assert!(said.matches(fault).count() == 1 && said.lines().count() == 1, "{said}");
        }
        std::fs::write(&path, whole).unwrap();
        client(Some(&path), Some("c")).await.unwrap();
    }
}
