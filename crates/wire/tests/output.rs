//! Our own stream through a connection that is cut, to a receiver that is restarted, and to servers that lie.

#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, reason = "a test")]

#[rustfmt::skip]
#[path = "../src/generated/output.rs"]
#[allow(dead_code, unused_qualifications, unreachable_pub, clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
mod proto;
mod support;

use std::collections::VecDeque;
use std::error::Error as _;
use std::fs;
use std::path::Path;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use podtrail_wire::{
    Ended, Ending, Error, ErrorKind, Header, Output, OutputConfig, Receiver, ReceiverLimits, RunId, Snoopy,
    SnoopyLimits,
};
use support::{Proxy, destination, pieces, random};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tonic::codegen::tokio_stream::{self, Stream, StreamExt as _};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

const MINUTE: Duration = Duration::from_secs(60);
const EXITED: Ending = Ending::new(Ended::Exited(3));

fn header(seed: u8) -> Header {
    let mut header = Header::new(RunId::new([seed; 16]), "shop", "web-0");
    header.tool = "tcpdump".to_owned();
    header.arguments = vec!["-w".to_owned(), "\u{1b}[31m\"".to_owned()];
    header
}

fn file(folder: &Path, seed: u8, extension: &str) -> Vec<u8> {
    fs::read(folder.join(format!("shop_web-0_{}.{extension}", RunId::new([seed; 16])))).unwrap()
}

struct Running {
    port: u16,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), Error>>,
}

async fn receiver(folder: &Path) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let receiver = Receiver::new(folder, ReceiverLimits::default()).unwrap();
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(receiver.serve(listener, async { drop(stopped.await) }));
    Running { port, stop, served }
}

/// Sends the output, over as many connections as it takes.
async fn send(port: u16, seed: u8, output: &[u8], config: OutputConfig) {
    let mut stream = loop {
        match Output::connect(&destination(port), header(seed), config).await {
            Ok(stream) => break stream,
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
    };
    for piece in pieces(output, 50_000, u64::from(seed)) {
        stream.send(piece).await.unwrap();
    }
    stream.finish(EXITED).await.unwrap();
}

#[tokio::test]
async fn a_run_arrives_with_its_description() {
    let home = tempfile::tempdir().unwrap();
    let running = receiver(home.path()).await;
    let output = random(5_000_000, 1);
    send(running.port, 1, &output, OutputConfig::default()).await;
    send(running.port, 2, &[], OutputConfig::default()).await;
    assert!(file(home.path(), 1, "out") == output);
    assert!(file(home.path(), 2, "out").is_empty());
    let text = String::from_utf8(file(home.path(), 1, "json")).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"arguments":["-w","\u001b[31m\""],"cluster":"","container":"","end":{"exit_code":3,"length":5000000,"#,
            r#""lost":0,"signal":null},"namespace":"shop","node":"","pod":"web-0","run":"01010101010101010101010101010101","#,
            r#""started":"1970-01-01T00:00:00Z","tool":"tcpdump","v":1}"#,
            "\n"
        )
    );
    drop(running.stop);
    timeout(MINUTE, running.served).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_quiet_run_gets_its_bytes_through_while_it_is_driven() {
    let home = tempfile::tempdir().unwrap();
    let running = receiver(home.path()).await;
    let proxy = Proxy::start(running.port, 1, 30_000, 3).await;
    let mut stream = loop {
        if let Ok(stream) = Output::connect(&destination(proxy.port), header(1), OutputConfig::default()).await {
            break stream;
        }
    };
    let output = random(50_000, 1);
    stream.send(&output).await.unwrap();
    let driving = async {
        while stream.acknowledged() < 50_000 {
            // Given up and taken up again at any moment.
            assert!(timeout(Duration::from_millis(30), stream.drive()).await.is_err(), "it goes on");
        }
    };
    timeout(MINUTE, driving).await.unwrap();
    assert_eq!(proxy.cuts.load(Ordering::SeqCst), 1);
    assert!(file(home.path(), 1, "out") == output);
}

#[tokio::test]
async fn a_cancelled_send_goes_on_where_it_was() {
    let home = tempfile::tempdir().unwrap();
    let running = receiver(home.path()).await;
    let mut config = OutputConfig::default();
    config.buffer = 100_000;
    let mut stream = Output::connect(&destination(running.port), header(1), config).await.unwrap();
    let output = random(3_000_000, 1);
    let mut cancelled = 0;
    let sending = async {
        while timeout(Duration::from_millis(1), stream.send(&output[stream.sent() as usize..])).await.is_err() {
            cancelled += 1;
        }
        assert_eq!(stream.sent(), 3_000_000);
        stream.finish(EXITED).await
    };
    timeout(MINUTE, sending).await.unwrap().unwrap();
    assert!(file(home.path(), 1, "out") == output && cancelled > 5, "{cancelled} times");
}

#[tokio::test]
async fn a_receiver_takes_snoopys_stream_too() {
    let home = tempfile::tempdir().unwrap();
    let running = receiver(home.path()).await;
    let output = random(3_000_000, 1);
    for part in output.chunks(1_000_000) {
        let mut snoopy = Snoopy::connect(&destination(running.port), "web-0", SnoopyLimits::default()).await.unwrap();
        for piece in pieces(part, 100_000, 1) {
            snoopy.send(piece).await.unwrap();
        }
        snoopy.finish().await.unwrap();
    }
    assert!(fs::read(home.path().join("snoopy/web-0")).unwrap() == output);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_over_two_hundred_cuts() {
    const RUNS: u8 = 8;
    const CUTS: u32 = 25;
    let home = tempfile::tempdir().unwrap();
    let running = receiver(home.path()).await;
    let mut sending = JoinSet::new();
    for seed in 0..RUNS {
        let port = running.port;
        sending.spawn(async move {
            let proxy = Proxy::start(port, CUTS, 200_000, u64::from(seed)).await;
            let output = random(6_000_000, u64::from(seed));
            let mut config = OutputConfig::default();
            config.buffer = 200_000;
            timeout(MINUTE, send(proxy.port, seed, &output, config)).await.unwrap();
            (seed, output, proxy.cuts.load(Ordering::SeqCst))
        });
    }
    let mut cuts = 0;
    while let Some(sent) = sending.join_next().await {
        let (seed, output, cut) = sent.unwrap();
        assert!(file(home.path(), seed, "out") == output, "run {seed}");
        cuts += cut;
    }
    assert_eq!(cuts, u32::from(RUNS) * CUTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_at_a_restarted_receiver() {
    let home = tempfile::tempdir().unwrap();
    let mut running = receiver(home.path()).await;
    let proxy = Proxy::start(running.port, 0, 1, 1).await;
    let output = random(12_000_000, 1);
    let sending = tokio::spawn({
        let (port, output) = (proxy.port, output.clone());
        async move {
            let mut config = OutputConfig::default();
            config.buffer = 300_000;
            let mut stream = Output::connect(&destination(port), header(1), config).await.unwrap();
            for piece in pieces(&output, 50_000, 1) {
                stream.send(piece).await.unwrap();
                sleep(Duration::from_millis(2)).await;
            }
            stream.finish(EXITED).await.unwrap();
        }
    });
    let mut restarts = 0;
    while !sending.is_finished() && restarts < 8 {
        sleep(Duration::from_millis(120)).await;
        drop(running.stop);
        timeout(Duration::from_secs(5), running.served).await.expect("streams end").unwrap().unwrap();
        running = receiver(home.path()).await;
        proxy.target.store(u32::from(running.port), Ordering::SeqCst);
        restarts += 1;
    }
    timeout(MINUTE, sending).await.unwrap().unwrap();
    assert!(restarts >= 3, "{restarts}");
    assert!(file(home.path(), 1, "out") == output);
}

/// What a server says to a stream, before it is silent.
type Script = Vec<Result<proto::Ack, Status>>;

/// For one stream after the other; the last one for all others.
struct Scripted(Mutex<VecDeque<Script>>);

#[tonic::async_trait]
impl proto::output_server::Output for Scripted {
    type WriteStream = Pin<Box<dyn Stream<Item = Result<proto::Ack, Status>> + Send>>;

    async fn write(&self, request: Request<Streaming<proto::Message>>) -> Result<Response<Self::WriteStream>, Status> {
        let script = {
            let mut scripts = self.0.lock().unwrap();
            if scripts.len() > 1 { scripts.pop_front() } else { scripts.front().cloned() }
        };
        let messages = request.into_inner();
        let then_silence = tokio_stream::pending().map(move |answer| {
            let _kept = &messages;
            answer
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(script.unwrap()).chain(then_silence))))
    }
}

async fn scripted(scripts: impl IntoIterator<Item = Script>) -> u16 {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = incoming.local_addr().unwrap().port();
    let service = proto::output_server::OutputServer::new(Scripted(Mutex::new(scripts.into_iter().collect())));
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    port
}

fn quick() -> OutputConfig {
    let mut config = OutputConfig::default();
    (config.buffer, config.connect) = (100_000, Duration::from_secs(1));
    (config.answer, config.patience) = (Duration::from_millis(200), Duration::from_secs(1));
    config
}

const fn ack(offset: u64, ended: bool) -> Result<proto::Ack, Status> {
    Ok(proto::Ack { offset, ended })
}

#[tokio::test]
async fn the_buffer_is_bounded_and_patience_ends() {
    let port = scripted([vec![ack(0, false)]]).await;
    let mut config = quick();
    config.patience = Duration::from_secs(2);
    let mut stream = Output::connect(&destination(port), header(1), config).await.unwrap();
    timeout(Duration::from_millis(100), stream.send(&[1; 100_000])).await.expect("it fits").unwrap();
    assert!(timeout(Duration::from_millis(500), stream.send(&[1])).await.is_err(), "the buffer is full");
    let error = timeout(MINUTE, stream.send(&[1])).await.unwrap().unwrap_err();
    assert!(error.kind() == ErrorKind::Stalled && error.is_retryable(), "{error}");
    assert_eq!(error.acknowledged(), 0);
    assert_eq!(
        error.to_string(),
        format!(
            "receiver 127.0.0.1:{port}, run 01010101010101010101010101010101 in pod shop/web-0: nothing was acknowledged \
             within 2s: given up; 0 bytes have arrived for sure"
        )
    );
}

#[tokio::test]
async fn a_server_that_refuses_or_lies_is_an_error_at_once() {
    let refused = |code: fn(&'static str) -> Status| vec![Err(code("no"))];
    for (script, kind) in [
        (refused(Status::invalid_argument), ErrorKind::Refused),
        (refused(Status::unimplemented), ErrorKind::Refused),
        (refused(Status::unavailable), ErrorKind::Lost),
        (vec![ack(1, false)], ErrorKind::Refused),
        (vec![ack(0, true)], ErrorKind::Refused),
        (vec![], ErrorKind::Stalled),
    ] {
        let port = scripted([script]).await;
        let error =
            timeout(MINUTE, Output::connect(&destination(port), header(1), quick())).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    let port = scripted([vec![ack(0, false), ack(7, false)]]).await;
    let mut stream = Output::connect(&destination(port), header(1), quick()).await.unwrap();
    let error = timeout(MINUTE, stream.drive()).await.unwrap();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
}

#[tokio::test]
async fn a_proxy_that_has_lost_the_receiver_for_a_while_ends_no_run() {
    // What a proxy's own 404, 403 and 401 are here, before and after the receiver's first word.
    let proxys = [Status::unimplemented, Status::permission_denied, Status::unauthenticated];
    for code in proxys {
        let port = scripted([vec![Err(code("no route"))]]).await;
        let error = Output::connect(&destination(port), header(1), quick()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    }
    let cut = vec![ack(0, false), Err(Status::unavailable("cut"))];
    let meanwhile = proxys.map(|code| vec![Err(code("no route"))]);
    let back = vec![ack(0, false), Err(Status::invalid_argument("the receiver's own word"))];
    let port = scripted([cut].into_iter().chain(meanwhile).chain([back])).await;
    let mut stream = Output::connect(&destination(port), header(1), OutputConfig::default()).await.unwrap();
    stream.send(b"a").await.unwrap();
    let error = timeout(MINUTE, stream.drive()).await.unwrap();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(error.source().unwrap().to_string().contains("own word"), "{error:?}");
}

#[tokio::test]
async fn nobody_there_and_no_header_are_errors() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = Output::connect(&destination(free), header(1), quick()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Connect && error.is_retryable(), "{error}");
    let bad = Header::new(RunId::new([1; 16]), "shop", "../web-0");
    let error = Output::connect(&destination(free), bad, quick()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}
