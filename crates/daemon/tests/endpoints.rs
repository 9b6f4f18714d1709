//! The endpoints, over a real loopback socket.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use podtrail_daemon::{Condition, ErrorKind, Exit, Health, Result, bind, serve};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

struct Server {
    address: SocketAddr,
    health: Health,
    shutdown: oneshot::Sender<()>,
    end: JoinHandle<Result<()>>,
}

async fn server() -> Server {
    let listener = bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut registry = Registry::default();
    let events: Counter = Counter::default();
    registry.register("podtrail_events", "Events", events.clone());
    events.inc_by(7);
    let health = Health::new();
    let (shutdown, asked) = oneshot::channel();
    let end = tokio::spawn(serve(listener, health.clone(), Arc::new(registry), async {
        asked.await.ok();
    }));
    Server { address, health, shutdown, end }
}

/// The status line's code, the head and the body of one raw request.
async fn request(address: SocketAddr, method: &str, target: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    (code, head.to_owned(), body.to_owned())
}

async fn check(address: SocketAddr, target: &str, code: u16, body: &str) {
    let (actual, _, text) = request(address, "GET", target).await;
    assert_eq!((actual, text.as_str()), (code, body), "{target}");
}

fn watch(health: &Health) -> Condition {
    health.condition("watch", "no list was read yet")
}

#[tokio::test]
async fn health_is_told_with_its_reasons() {
    let server = server().await;
    let at = server.address;
    check(at, "/livez", 200, "ok\n").await;
    check(at, "/readyz", 200, "ok\n").await;

    let watch = watch(&server.health);
    let beat = server.health.heartbeat("commit", Duration::from_secs(3600));
    check(at, "/readyz", 503, "[+]commit ok\n[-]watch: no list was read yet\nnot ok\n").await;
    check(at, "/livez", 200, "ok\n").await;
    check(at, "/livez?verbose", 200, "[+]commit ok\nok\n").await;
    check(at, "/healthz?a=b&verbose=true", 200, "[+]commit ok\nok\n").await;

    watch.set_ready();
    check(at, "/readyz", 200, "ok\n").await;
    check(at, "/readyz?verbose", 200, "[+]commit ok\n[+]watch ok\nok\n").await;
    drop(beat);

    let stuck = server.health.heartbeat("commit", Duration::ZERO);
    for target in ["/livez", "/healthz", "/readyz"] {
        let (code, _, body) = request(at, "GET", target).await;
        assert_eq!(code, 503, "{target}");
        assert!(body.starts_with("[-]commit: last moved 0.0 s ago"), "{body}");
    }
    drop(stuck);
}

#[tokio::test]
async fn metrics_are_openmetrics() {
    let server = server().await;
    let (code, head, body) = request(server.address, "GET", "/metrics").await;
    assert_eq!(code, 200);
    let content_type = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(head.lines().any(|line| line.eq_ignore_ascii_case(content_type)), "{head}");
    assert!(body.contains("\npodtrail_events_total 7\n") && body.ends_with("# EOF\n"), "{body}");
}

#[tokio::test]
async fn other_paths_are_404_and_other_methods_405() {
    let server = server().await;
    for (method, target, expected) in
        [("GET", "/", 404), ("GET", "/metricsx", 404), ("POST", "/metrics", 405), ("HEAD", "/livez", 200)]
    {
        assert_eq!(request(server.address, method, target).await.0, expected, "{method} {target}");
    }
}

#[tokio::test]
async fn shutdown_ends_idle_connections_at_once_and_closes_the_port() {
    let server = server().await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    assert_ne!(idle.read(&mut [0; 1024]).await.unwrap(), 0);

    let before = Instant::now();
    server.shutdown.send(()).unwrap();
    server.end.await.unwrap().unwrap();
    assert!(before.elapsed() < Duration::from_secs(4), "{:?}", before.elapsed());
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_hold_shutdown_up() {
    let server = server().await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET /livez HT").await.unwrap();
    // The server has taken the connection once a later one is answered.
    check(server.address, "/livez", 200, "ok\n").await;

    let before = Instant::now();
    server.shutdown.send(()).unwrap();
    timeout(Duration::from_secs(15), server.end).await.unwrap().unwrap().unwrap();
    assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
}

#[tokio::test]
async fn an_address_in_use_says_so_and_may_be_tried_again() {
    let first = bind("127.0.0.1:0").await.unwrap();
    let address = first.local_addr().unwrap().to_string();
    let error = bind(&address).await.unwrap_err();
    assert_eq!((error.kind(), error.exit(), error.is_retryable()), (ErrorKind::Bind, Exit::Unavailable, true));
    assert!(error.to_string().starts_with(&format!("cannot listen on {address} (another process")), "{error}");

    // 192.0.2.0/24 is reserved for documentation, so no interface has it.
    let error = bind("192.0.2.1:0").await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Bind, false));
}
