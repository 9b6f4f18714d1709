//! The HTTP endpoints: `/livez`, `/readyz`, `/healthz`, `/metrics`.

use std::{
    io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::RawQuery,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{encoding::text, registry::Registry};
use tokio::{net::TcpListener, sync::oneshot, time::sleep};

use crate::{Error, ErrorKind, Health, Report, Result, connection::Bounded};

/// How long requests under way may take to end once shutdown is asked for.
const DRAIN: Duration = Duration::from_secs(5);

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Listens on `address`: `IP:PORT`, or `:PORT` for every address of the machine, IPv6 and IPv4. Port 0 takes a free one.
///
/// # Errors
///
/// [`ErrorKind::Address`] when `address` cannot be understood, [`ErrorKind::Bind`] when the system refuses it. Both say which address and
/// what to do.
pub async fn bind(address: &str) -> Result<TcpListener> {
    let wanted = parse_address(address)?;
    let listener = match TcpListener::bind(wanted).await {
        // A machine without IPv6 still has "every address".
        Err(e) if address.starts_with(':') && !matches!(e.kind(), AddrInUse | PermissionDenied) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, wanted.port())).await
        }
        bound => bound,
    };
    listener.map_err(|e| {
        let advice = match e.kind() {
            AddrInUse => " (another process listens there: choose another port or stop it)",
            AddrNotAvailable => " (no interface of this machine has that address)",
            PermissionDenied => " (ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one)",
            _ => "",
        };
        Error::new(ErrorKind::Bind, format!("cannot listen on {address}{advice}")).because(e)
    })
}

fn parse_address(address: &str) -> Result<SocketAddr> {
    if let Some(port) = address.strip_prefix(':').and_then(|port| port.parse().ok()) {
        return Ok((Ipv6Addr::UNSPECIFIED, port).into());
    }
    address.parse().map_err(|e| {
        let advice = "write IP:PORT such as 127.0.0.1:8080 or [::1]:8080, or :8080 for every address";
        Error::new(ErrorKind::Address, format!("cannot understand the address {address:?} ({advice})")).because(e)
    })
}

/// Serves the health of a daemon and its metrics until `shutdown` resolves and the requests under way have ended, or 5 seconds later.
///
/// | `GET` | Says |
/// |---|---|
/// | `/livez`, `/healthz` | [`Health::liveness`]: 200 `ok`, or 503 and a line for each check |
/// | `/readyz` | [`Health::readiness`], likewise |
/// | `/metrics` | every metric of `registry`, in OpenMetrics text |
///
/// `?verbose` lists the checks even when all is well. The registry is encoded anew for each request.
///
/// At most 256 connections are served at once, each for at most 30 seconds; further ones wait in the kernel's queue.
/// Each is a task of the runtime that polls the future, ends with its connection, and needs no waiting for.
///
/// # Errors
///
/// [`ErrorKind::Serve`] when the listener fails for good.
pub fn serve(
    listener: TcpListener,
    health: Health,
    registry: Arc<Registry>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> impl Future<Output = Result<()>> + Send {
    let (asked, was_asked) = oneshot::channel::<()>();
    let shutdown = async move {
        shutdown.await;
        drop(asked);
    };
    let overdue = async move {
        was_asked.await.ok();
        sleep(DRAIN).await;
    };
    let server = axum::serve(Bounded::new(listener), routes(health, registry)).with_graceful_shutdown(shutdown);
    async move {
        tokio::select! {
            end = server.into_future() => {
                end.map_err(|e| Error::new(ErrorKind::Serve, "the health and metrics server failed".to_owned()).because(e))
            }
            () = overdue => Ok(()),
        }
    }
}

fn routes(health: Health, registry: Arc<Registry>) -> Router {
    let ready = health.clone();
    let live = move |RawQuery(query)| async move { report(&health.liveness(Instant::now()), query.as_deref()) };
    let ready = move |RawQuery(query)| async move { report(&ready.readiness(Instant::now()), query.as_deref()) };
    Router::new()
        .route("/livez", get(live.clone()))
        .route("/healthz", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(move || async move { metrics(&registry) }))
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found: try /livez, /readyz, /healthz or /metrics\n") })
}

fn report(report: &Report, query: Option<&str>) -> Response {
    let verbose = query.is_some_and(|q| q.split('&').any(|pair| pair.split('=').next() == Some("verbose")));
    let (status, body) = match report.is_ok() {
        true if verbose => (StatusCode::OK, format!("{report}ok\n")),
        true => (StatusCode::OK, "ok\n".to_owned()),
        false => (StatusCode::SERVICE_UNAVAILABLE, format!("{report}not ok\n")),
    };
    (status, [(header::CACHE_CONTROL, "no-store"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")], body).into_response()
}

fn metrics(registry: &Registry) -> Response {
    let mut body = String::new();
    match text::encode(&mut body, registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], body).into_response(),
        Err(error) => {
            tracing::warn!(%error, "cannot encode metrics");
            (StatusCode::INTERNAL_SERVER_ERROR, "cannot encode metrics\n").into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, expected) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:0", "[::1]:0"),
            (":8081", "[::]:8081"),
            ("0.0.0.0:65535", "0.0.0.0:65535"),
        ] {
            assert_eq!(parse_address(text).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn an_address_that_cannot_be_understood_is_a_usage_error_that_shows_the_form() {
        for text in ["", ":", "8080", "127.0.0.1", ":65536", "example.org:80", "::1:80x"] {
            let error = parse_address(text).unwrap_err();
            assert_eq!((error.kind(), error.exit()), (ErrorKind::Address, crate::Exit::Usage), "{text}");
            assert!(
                error.to_string().contains(&format!("{text:?}")) && error.to_string().contains("write IP:PORT"),
                "{error}"
            );
        }
    }
}
