//! The API over HTTP: a thin shell around the cluster.

mod list;
mod mischief;
mod query;
mod status;
mod watch;

use std::future::Future;
use std::io;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::{Method, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use axum::{Router, body::Body};
use tokio::net::TcpListener;

use crate::cluster::Cluster;
use crate::fault::{Fault, Verb};
use crate::history::Resource;
use crate::json;
use query::Query;
use status::Status;

/// How long requests may take to end once the server is told to stop.
const GRACE: Duration = Duration::from_secs(2);

/// Serves the cluster's API as plain HTTP until `shutdown` completes; open watches are then ended cleanly.
///
/// Nothing runs until the future is polled; axum spawns a task per connection. Dropping the future ends the watches too. The same
/// cluster can be served again, also by several servers at once.
///
/// # Errors
/// If the listener fails.
pub async fn serve(cluster: Cluster, listener: TcpListener, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    // Dropped with this future, whatever ends it: that is what watches and connections stop at.
    let (open, closing) = tokio::sync::watch::channel(());
    let mut stop = closing.clone();
    let listener = listener.tap_io(|connection| {
        // Without this, frames are only sent later, not less: nothing to fail for.
        connection.set_nodelay(true).ok();
    });
    let server = axum::serve(listener, router(Api { cluster, closing }))
        .with_graceful_shutdown(async move { while stop.changed().await.is_ok() {} });
    let mut server = std::pin::pin!(server.into_future());
    tokio::select! {
        ended = &mut server => return ended,
        () = shutdown => drop(open),
    }
    tokio::time::timeout(GRACE, server).await.unwrap_or(Ok(()))
}

/// What every handler needs.
#[derive(Debug, Clone)]
struct Api {
    cluster: Cluster,
    /// Ends when the server stops.
    closing: tokio::sync::watch::Receiver<()>,
}

fn router(api: Api) -> Router {
    let mut router = Router::new()
        .route("/version", get(|| async { json_response(VERSION.into()) }))
        .route("/api", get(|| async { json_response(r#"{"kind":"APIVersions","versions":["v1"]}"#.into()) }))
        .route("/apis", get(|| async { json_response(APIS.into()) }))
        .route("/api/v1", get(|| async { json_response(resources().into()) }));
    for health in ["/readyz", "/livez", "/healthz"] {
        router = router.route(health, get(|| async { "ok" }));
    }
    for resource in Resource::ALL {
        let plural = resource.plural();
        let all = move |State(api): State<Api>, uri: Uri| collection(api, uri, resource, None);
        router = router.route(&format!("/api/v1/{plural}"), get(all));
        if resource == Resource::Pods {
            let within = move |State(api): State<Api>, Path(namespace), uri: Uri| {
                collection(api, uri, resource, Some(namespace))
            };
            let one = move |State(api): State<Api>, Path((namespace, name)): Path<(String, String)>| {
                object(api, resource, Some(namespace), name)
            };
            router = router
                .route("/api/v1/namespaces/{namespace}/pods", get(within))
                .route("/api/v1/namespaces/{namespace}/pods/{name}", get(one));
        } else {
            let one = move |State(api): State<Api>, Path(name)| object(api, resource, None, name);
            router = router.route(&format!("/api/v1/{plural}/{{name}}"), get(one));
        }
    }
    router
        .fallback(|| async { Status::not_found("the server could not find the requested resource") })
        .layer(middleware::from_fn_with_state(api.clone(), refuse_writes))
        .with_state(api)
}

const VERSION: &str = r#"{"major":"1","minor":"34","gitVersion":"v1.34.4","gitCommit":"","gitTreeState":"clean","buildDate":"2026-01-01T00:00:00Z","goVersion":"go1.24.0","compiler":"gc","platform":"linux/amd64"}"#;
const APIS: &str = r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[]}"#;

fn resources() -> Vec<u8> {
    let mut out = Vec::new();
    json::object(&mut out, |o| {
        o.text("kind", "APIResourceList");
        o.text("groupVersion", "v1");
        o.array("resources", Resource::ALL, |out, resource| {
            json::object(out, |r| {
                r.text("name", resource.plural());
                r.text("singularName", &resource.kind().to_lowercase());
                r.bare("namespaced", resource == Resource::Pods);
                r.text("kind", resource.kind());
                r.array("verbs", ["get", "list", "watch"], json::text);
            });
        });
    });
    out
}

/// This API takes no writes, and counts those tried.
async fn refuse_writes(State(api): State<Api>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    api.cluster.0.traffic.count(|requests| &mut requests.write);
    Status::new(403, "this API takes no writes").into_response()
}

/// A list or a watch.
async fn collection(api: Api, uri: Uri, resource: Resource, namespace: Option<String>) -> Result<Response, Status> {
    let query = Query::parse(resource, namespace, &uri)?;
    if resource != Resource::Pods {
        api.cluster.0.traffic.count(|requests| &mut requests.other);
    }
    if query.watch { watch::answer(&api, resource, query) } else { list::answer(&api.cluster, resource, &query) }
}

/// One object.
async fn object(api: Api, resource: Resource, namespace: Option<String>, name: String) -> Result<Response, Status> {
    let traffic = &api.cluster.0.traffic;
    if resource == Resource::Pods {
        traffic.count(|requests| &mut requests.get);
        injected(&api.cluster, Verb::Get)?;
    } else {
        traffic.count(|requests| &mut requests.other);
    }
    let found = api.cluster.lock().history.object(resource, namespace.as_deref(), &name);
    let found = found.ok_or_else(|| Status::not_found(format!("{} {name:?} not found", resource.plural())))?;
    Ok(json_response(found.json().into()))
}

/// The status that a fault wants a pod request of this sort to be answered with.
fn injected(cluster: &Cluster, verb: Verb) -> Result<(), Status> {
    match cluster.faults().take(|fault| matches!(fault, Fault::Status { on, .. } if *on == verb)) {
        Some(Fault::Status { code, retry_after, .. }) => Err(Status::injected(code, retry_after)),
        _ => Ok(()),
    }
}

fn json_response(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
