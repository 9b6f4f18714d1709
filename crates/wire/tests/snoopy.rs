//! A server built from snoopy's proto receives exactly the bytes, and one that does not behave is an error.

#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, reason = "a test")]

#[rustfmt::skip]
#[path = "../src/generated/protobuf.rs"]
#[allow(dead_code, unused_qualifications, unreachable_pub, clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
mod protobuf;
mod support;

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use podtrail_wire::{Error, ErrorKind, Snoopy, SnoopyLimits};
use support::{Proxy, destination, pieces, random};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tonic::codegen::tokio_stream::{self, Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response as Answer, Status, Streaming};

use protobuf::data_endpoint_server::{DataEndpoint, DataEndpointServer};
use protobuf::{PodData, Response};

const MINUTE: Duration = Duration::from_secs(60);

/// What a server does with a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Behaviour {
    /// Answers each message, as snoopy's own does.
    Answers,
    /// Takes its time for each message.
    Slow,
    /// Answers nothing, even at the end.
    NeverEnds,
    /// Reads nothing, answers nothing.
    ReadsNothing,
    /// Fails after some messages.
    Fails(usize),
    /// Ends well after some messages, before the client has.
    EndsEarly(usize),
}

/// The messages of each stream, by its number.
type Seen = Arc<Mutex<Vec<Vec<PodData>>>>;

#[derive(Debug)]
struct Endpoint {
    behaviour: Behaviour,
    seen: Seen,
}

#[tonic::async_trait]
impl DataEndpoint for Endpoint {
    type ExportPodDataStream = Pin<Box<dyn Stream<Item = Result<Response, Status>> + Send>>;

    async fn export_pod_data(
        &self,
        request: Request<Streaming<PodData>>,
    ) -> Result<Answer<Self::ExportPodDataStream>, Status> {
        let (behaviour, seen) = (self.behaviour, Arc::clone(&self.seen));
        let stream = {
            let mut seen = seen.lock().unwrap();
            seen.push(Vec::new());
            seen.len() - 1
        };
        let mut messages = request.into_inner();
        if behaviour == Behaviour::ReadsNothing {
            let endless = tokio_stream::pending::<Result<Response, Status>>();
            // The messages must stay, or the stream is reset.
            return Ok(Answer::new(Box::pin(endless.map(move |answer| {
                let _kept = &messages;
                answer
            }))));
        }
        let (answers, answered) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut count = 0;
            while let Some(message) = messages.message().await? {
                let answer = Response { message: format!("Received data for pod {}", message.name) };
                seen.lock().unwrap()[stream].push(message);
                count += 1;
                match behaviour {
                    Behaviour::Fails(after) if count == after => {
                        drop(answers.send(Err(Status::internal("disk is full"))).await);
                        return Ok(());
                    }
                    Behaviour::EndsEarly(after) if count == after => return Ok(()),
                    Behaviour::Slow => sleep(Duration::from_millis(2)).await,
                    _ => {}
                }
                if behaviour != Behaviour::NeverEnds {
                    drop(answers.send(Ok(answer)).await);
                }
            }
            if behaviour == Behaviour::NeverEnds {
                sleep(MINUTE * 60).await;
            }
            Ok::<_, Status>(())
        });
        Ok(Answer::new(Box::pin(ReceiverStream::new(answered))))
    }
}

async fn serve(behaviour: Behaviour) -> (u16, Seen) {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = incoming.local_addr().unwrap().port();
    let seen = Seen::default();
    let endpoint = DataEndpointServer::new(Endpoint { behaviour, seen: Arc::clone(&seen) });
    tokio::spawn(Server::builder().add_service(endpoint).serve_with_incoming(incoming));
    (port, seen)
}

fn limits(patience: Duration) -> SnoopyLimits {
    let mut limits = SnoopyLimits::default();
    (limits.connect, limits.stall, limits.finish) = (patience, patience, patience);
    limits
}

async fn send(port: u16, output: &[&[u8]], patience: Duration) -> Result<(), Error> {
    let sending = async {
        let mut snoopy = Snoopy::connect(&destination(port), "web-0", limits(patience)).await?;
        for piece in output {
            snoopy.send(piece).await?;
        }
        snoopy.finish().await
    };
    timeout(MINUTE, sending).await.expect("an error instead of a wait without end")
}

#[tokio::test]
async fn the_server_gets_exactly_the_bytes_in_one_stream() {
    for (behaviour, length) in [
        (Behaviour::Answers, 0),
        (Behaviour::Answers, 1),
        (Behaviour::Answers, 100 << 10),
        (Behaviour::Answers, 5_000_000),
        (Behaviour::Slow, 3_000_000),
    ] {
        let (port, seen) = serve(behaviour).await;
        let output = random(length, 7);
        send(port, &pieces(&output, 100_000, 8), Duration::from_secs(5)).await.unwrap();
        let seen = seen.lock().unwrap();
        let [messages] = &seen[..] else { panic!("{} streams", seen.len()) };
        assert!(messages.iter().all(|m| m.name == "web-0" && (1..=32 << 10).contains(&m.data.len())));
        let received = messages.iter().flat_map(|m| m.data.iter().copied()).collect::<Vec<_>>();
        assert!(received == output, "{behaviour:?}: {} of {length} bytes", received.len());
    }
}

#[tokio::test]
async fn a_cancelled_send_goes_on_where_it_was() {
    let (port, seen) = serve(Behaviour::Slow).await;
    let output = random(3_000_000, 7);
    let mut snoopy = Snoopy::connect(&destination(port), "web-0", limits(MINUTE)).await.unwrap();
    let mut cancelled = 0;
    let sending = async {
        while timeout(Duration::from_millis(3), snoopy.send(&output[snoopy.sent() as usize..])).await.is_err() {
            cancelled += 1;
        }
        assert_eq!(snoopy.sent(), 3_000_000);
        snoopy.finish().await
    };
    timeout(MINUTE, sending).await.unwrap().unwrap();
    let received = seen.lock().unwrap()[0].iter().flat_map(|m| m.data.iter().copied()).collect::<Vec<_>>();
    assert!(received == output && cancelled > 5, "{} bytes, {cancelled} times", received.len());
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_an_error_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let output = random(8 << 20, 1);
    for (port, output) in [
        (silent_port, &output[..]),
        (silent_port, &[]),
        (serve(Behaviour::ReadsNothing).await.0, &output),
        (serve(Behaviour::NeverEnds).await.0, &output),
        (serve(Behaviour::NeverEnds).await.0, &output[..5]),
    ] {
        let began = Instant::now();
        let error = send(port, &[output], Duration::from_millis(500)).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Stalled && error.is_retryable(), "{error}");
        assert_eq!(error.acknowledged(), 0);
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}

#[tokio::test]
async fn a_server_that_fails_midway_is_an_error_that_says_what_has_arrived() {
    let output = random(6 << 20, 2);
    for (behaviour, kind) in [(Behaviour::Fails(20), ErrorKind::Lost), (Behaviour::EndsEarly(20), ErrorKind::Lost)] {
        let (port, seen) = serve(behaviour).await;
        let error = send(port, &[&output], Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        // All but the last one were answered.
        assert_eq!(error.acknowledged(), 19 * (32 << 10), "{error}");
        assert!(error.to_string().contains("622592 bytes"), "{error}");
        assert_eq!(seen.lock().unwrap()[0].len(), 20);
    }
}

#[tokio::test]
async fn a_server_that_ends_before_it_has_read_all_is_an_error() {
    let (port, seen) = serve(Behaviour::EndsEarly(1)).await;
    // Small enough for the connection to take both at once.
    let error = send(port, &[b"one", b"two"], Duration::from_secs(5)).await.unwrap_err();
    assert_eq!((error.kind(), error.acknowledged()), (ErrorKind::Lost, 0), "{error}");
    assert_eq!(seen.lock().unwrap()[0].len(), 1);
}

#[tokio::test]
async fn a_server_that_takes_all_and_answers_nothing_is_an_error_before_the_end() {
    let (port, seen) = serve(Behaviour::NeverEnds).await;
    let mut snoopy = Snoopy::connect(&destination(port), "web-0", limits(Duration::from_secs(1))).await.unwrap();
    let sending = async {
        loop {
            if let Err(error) = snoopy.send(b"a").await {
                return error;
            }
        }
    };
    let error = timeout(MINUTE, sending).await.unwrap();
    assert_eq!(error.kind(), ErrorKind::Stalled, "{error}");
    assert_eq!(seen.lock().unwrap()[0].len(), 1 << 14);
}

#[tokio::test]
async fn a_server_that_goes_away_midway_is_an_error_that_says_what_has_arrived() {
    for seed in 0..10 {
        let (port, seen) = serve(Behaviour::Answers).await;
        let proxy = Proxy::start(port, 1, 1 << 20, seed).await;
        let error = send(proxy.port, &[&random(4 << 20, seed)], Duration::from_secs(5)).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Lost | ErrorKind::Connect), "{error}");
        let seen = seen.lock().unwrap();
        let arrived = seen.iter().flatten().map(|m| m.data.len() as u64).sum::<u64>();
        assert!(error.acknowledged() <= arrived, "{error}: {arrived} have");
    }
}

#[tokio::test]
async fn an_idle_stream_hears_at_once_that_the_server_is_gone() {
    let (port, _) = serve(Behaviour::Fails(1)).await;
    let mut snoopy = Snoopy::connect(&destination(port), "web-0", SnoopyLimits::default()).await.unwrap();
    snoopy.send(b"one").await.unwrap();
    let error = timeout(Duration::from_secs(5), snoopy.drive()).await.unwrap();
    assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
    assert_eq!(snoopy.send(b"two").await.unwrap_err().kind(), ErrorKind::Lost);
}

#[tokio::test]
async fn nobody_there_and_no_name_are_errors() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = Snoopy::connect(&destination(free), "web-0", SnoopyLimits::default()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Connect && error.is_retryable(), "{error}");
    for name in ["", "..", ".a", "-a", "a/b", "a\0", "a\u{202e}", &"a".repeat(254)] {
        let error = Snoopy::connect(&destination(free), name, SnoopyLimits::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}
