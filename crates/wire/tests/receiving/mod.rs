//! A receiver, and a client of it that says what a test wants.

#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part of it")]

#[rustfmt::skip]
#[path = "../../src/generated/output.rs"]
#[allow(unused_qualifications, unreachable_pub, clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
pub(crate) mod proto;
#[rustfmt::skip]
#[path = "../../src/generated/protobuf.rs"]
#[allow(unused_qualifications, unreachable_pub, clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
pub(crate) mod protobuf;

use std::future::pending;
use std::path::Path;
use std::time::Duration;

use podtrail_wire::{Receiver, ReceiverLimits};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use proto::message::Kind;
use proto::output_client::OutputClient;
use proto::{Ack, Chunk, Header, Message};

pub(crate) const OUT: &str = "shop_web-0_07070707070707070707070707070707.out";

pub(crate) async fn serve(folder: &Path, limits: ReceiverLimits) -> Channel {
    connect(listen(folder, limits).await).await
}

pub(crate) async fn listen(folder: &Path, limits: ReceiverLimits) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(Receiver::new(folder, limits).unwrap().serve(listener, pending()));
    port
}

pub(crate) fn endpoint(port: u16) -> Endpoint {
    Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap()
}

pub(crate) async fn connect(port: u16) -> Channel {
    endpoint(port).connect().await.unwrap()
}

pub(crate) fn header() -> Header {
    Header { run_id: vec![7; 16], namespace: "shop".to_owned(), pod: "web-0".to_owned(), ..Header::default() }
}

pub(crate) fn chunk(offset: u64, data: &[u8]) -> Kind {
    Kind::Chunk(Chunk { offset, data: data.to_owned() })
}

/// A stream that stays open for more.
pub(crate) async fn open(
    channel: &Channel,
    kinds: Vec<Option<Kind>>,
) -> (mpsc::Sender<Message>, Result<Streaming<Ack>, Status>) {
    let (sender, messages) = mpsc::channel(16);
    for kind in kinds {
        sender.try_send(Message { kind }).unwrap();
    }
    let mut client = OutputClient::new(channel.clone()).max_encoding_message_size(usize::MAX);
    let answers = client.write(ReceiverStream::new(messages)).await;
    (sender, answers.map(tonic::Response::into_inner))
}

/// What the stream ends with.
pub(crate) async fn ends(answers: Result<Streaming<Ack>, Status>) -> Code {
    let mut answers = match answers {
        Ok(answers) => answers,
        Err(status) => return status.code(),
    };
    loop {
        match timeout(Duration::from_secs(20), answers.message()).await.expect("an end") {
            Ok(Some(_)) => {}
            Ok(None) => return Code::Ok,
            Err(status) => return status.code(),
        }
    }
}

/// What the first stream of a new connection is told, once there is room for the connection and the stream.
pub(crate) async fn greeting(port: u16) -> Ack {
    let greeted = async {
        loop {
            let Ok(channel) = endpoint(port).connect().await else { continue };
            let (_open, answers) = open(&channel, vec![Some(Kind::Header(header()))]).await;
            match answers {
                Ok(mut answers) => match answers.message().await {
                    Ok(Some(ack)) => return ack,
                    ended => panic!("{ended:?}"),
                },
                Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), greeted).await.expect("room for a stream")
}
