//! What clients could do to a receiver, and that it does not last; and that honest ones are not taken for such.

#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod raw;
mod receiving;

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use podtrail_wire::ReceiverLimits;
use raw::{Raw, SNOOPY};
use receiving::proto::message::Kind;
use receiving::proto::{Ack, End, Header, Message};
use receiving::protobuf::PodData;
use receiving::protobuf::data_endpoint_client::DataEndpointClient;
use receiving::{OUT, chunk, connect, endpoint, ends, greeting, header, listen, open, serve};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tonic::Code;
use tonic::codegen::tokio_stream::{self, wrappers::ReceiverStream};
use tonic::transport::Channel;

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(20);

fn limits(change: impl FnOnce(&mut ReceiverLimits)) -> ReceiverLimits {
    let mut limits = ReceiverLimits::default();
    change(&mut limits);
    limits
}

/// Another run, of a client that is honest.
fn other() -> Kind {
    Kind::Header(Header { run_id: vec![8; 16], ..header() })
}

/// A client that has room for a byte of answers, and makes no more; it answers pings.
async fn unread(port: u16) -> (mpsc::Sender<Message>, impl Sized) {
    let channel = endpoint(port).initial_stream_window_size(1).connect().await.unwrap();
    let (sender, answers) = open(&channel, vec![Some(Kind::Header(header()))]).await;
    for offset in 0..10 {
        // The receiver may be done with it already.
        sender.send(Message { kind: Some(chunk(offset, b"a")) }).await.ok();
        sleep(SHORT / 20).await;
    }
    (sender, answers)
}

#[tokio::test]
async fn a_client_that_reads_no_answers_loses_its_stream_and_the_runs_files_are_free() {
    let home = tempfile::tempdir().unwrap();
    let port = listen(home.path(), limits(|limits| (limits.streams, limits.stall) = (1, SHORT))).await;
    let (_open, _unread) = unread(port).await;
    let ack = greeting(port).await;
    let kept = fs::read(home.path().join(OUT)).unwrap();
    assert!(!kept.is_empty() && ack.offset == kept.len() as u64, "{ack:?}");
}

#[tokio::test]
async fn a_connection_whose_streams_nobody_reads_is_cut() {
    let home = tempfile::tempdir().unwrap();
    let with = |limits: &mut ReceiverLimits| {
        (limits.connections, limits.stall, limits.unused, limits.begin) = (1, SHORT, SHORT, SHORT);
    };
    let port = listen(home.path(), limits(with)).await;
    let (_open, _unread) = unread(port).await;
    greeting(port).await;
}

#[tokio::test]
async fn a_client_that_says_nothing_of_its_run_loses_its_stream() {
    let home = tempfile::tempdir().unwrap();
    let channel = serve(home.path(), limits(|limits| limits.begin = SHORT)).await;
    let (_open, answers) = open(&channel, vec![]).await;
    assert_eq!(ends(answers).await, Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_stream_of_which_nothing_comes_gives_its_place_to_others() {
    for is_trickling in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let port = listen(home.path(), limits(|limits| (limits.streams, limits.idle) = (1, SHORT))).await;
        let mut raw = Raw::connect(port).await;
        raw.call(SNOOPY).await;
        // A message of 1000 bytes, one after the other, is none before the last.
        let trickle = async {
            let sent = raw.data(&[0, 0, 0, 3, 0xe8, 10]).await;
            while is_trickling && sent.is_ok() && raw.data(b"a").await.is_ok() {
                sleep(SHORT / 10).await;
            }
            sleep(LONG).await;
        };
        tokio::select! {
            () = trickle => panic!("nobody else got the place"),
            ack = greeting(port) => assert_eq!(ack, Ack::default()),
        }
    }
}

#[tokio::test]
async fn a_stream_that_sends_keeps_its_place_however_many_want_it() {
    let home = tempfile::tempdir().unwrap();
    let port = listen(home.path(), limits(|limits| (limits.streams, limits.idle) = (1, SHORT * 25))).await;
    let (first, answers) = open(&connect(port).await, vec![Some(Kind::Header(header()))]).await;
    let others = connect(port).await;
    for offset in 0..120 {
        first.send(Message { kind: Some(chunk(offset, b"a")) }).await.unwrap();
        sleep(SHORT / 4).await;
        let (_open, refused) = open(&others, vec![Some(other())]).await;
        assert_eq!(ends(refused).await, Code::ResourceExhausted);
    }
    let end = Kind::End(End { length: 120, ..End::default() });
    first.send(Message { kind: Some(end) }).await.unwrap();
    drop(first);
    assert_eq!(ends(answers).await, Code::Ok);
}

#[tokio::test]
async fn a_client_that_answers_no_pings_is_gone() {
    let home = tempfile::tempdir().unwrap();
    let port = listen(home.path(), limits(|limits| (limits.streams, limits.ping) = (1, SHORT * 5))).await;
    let mut raw = Raw::connect(port).await;
    raw.call(SNOOPY).await;
    greeting(port).await;
    assert!(raw.is_closed(LONG).await);
}

#[tokio::test]
async fn headers_without_end_are_cut_by_their_length_and_by_the_time() {
    let home = tempfile::tempdir().unwrap();
    let mut hasty = Raw::connect(listen(home.path(), ReceiverLimits::default()).await).await;
    let mut sent = hasty.endless_headers(true).await;
    let mut frames = 1;
    while sent.is_ok() && frames < 100_000 {
        sent = hasty.endless_headers(false).await;
        frames += 1;
    }
    assert!(frames < 100_000, "10 MB of headers were taken");
    let with = |limits: &mut ReceiverLimits| {
        (limits.connections, limits.unused, limits.begin) = (1, SHORT, SHORT);
    };
    let port = listen(home.path(), limits(with)).await;
    let mut slow = Raw::connect(port).await;
    slow.endless_headers(true).await.unwrap();
    assert!(slow.is_closed(LONG).await);
    greeting(port).await;
}

#[tokio::test]
async fn one_peer_cannot_have_all_streams_nor_all_connections() {
    let home = tempfile::tempdir().unwrap();
    let with = |limits: &mut ReceiverLimits| (limits.peer_streams, limits.peer_connections) = (1, 2);
    let port = listen(home.path(), limits(with)).await;
    let first = connect(port).await;
    let (_open, answers) = open(&first, vec![Some(other())]).await;
    let mut answers = answers.unwrap();
    assert_eq!(answers.message().await.unwrap(), Some(Ack::default()));
    let (_open2, refused) = open(&first, vec![Some(Kind::Header(header()))]).await;
    assert_eq!(ends(refused).await, Code::ResourceExhausted);
    let _second = Raw::connect(port).await;
    let mut third = Raw(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    assert!(third.is_closed(LONG).await);
    // Another peer has its own share.
    let neighbour = endpoint(port).local_address(Some(IpAddr::from([127, 0, 0, 2]))).connect().await.unwrap();
    let (_open3, answers) = open(&neighbour, vec![Some(Kind::Header(header()))]).await;
    assert_eq!(answers.unwrap().message().await.unwrap(), Some(Ack::default()));
}

/// What one message of snoopy's contract is answered with.
async fn snoopy(channel: &Channel, name: &str) -> Code {
    let message = PodData { name: name.to_owned(), data: b"a".to_vec() };
    let mut client = DataEndpointClient::new(channel.clone());
    let mut answers = client.export_pod_data(tokio_stream::iter([message])).await.unwrap().into_inner();
    answers.message().await.map_or_else(|status| status.code(), |_answer| Code::Ok)
}

#[tokio::test]
async fn many_runs_and_many_names_do_not_fill_the_folder_with_files() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("there"), "already").unwrap();
    let channel = serve(home.path(), limits(|limits| limits.files = 4)).await;
    assert_eq!(snoopy(&channel, "web-0").await, Code::Ok);
    let run = |id| open_run(&channel, id);
    assert_eq!(run(1).await, Code::Ok);
    assert_eq!(run(2).await, Code::ResourceExhausted);
    assert_eq!(snoopy(&channel, "web-1").await, Code::ResourceExhausted);
    // What is there goes on.
    assert_eq!((run(1).await, snoopy(&channel, "web-0").await), (Code::Ok, Code::Ok));
    // Again, of a receiver that finds them.
    let channel = serve(home.path(), limits(|limits| limits.files = 5)).await;
    assert_eq!(open_run(&channel, 2).await, Code::ResourceExhausted);
    assert_eq!((snoopy(&channel, "web-1").await, snoopy(&channel, "web-2").await), (Code::Ok, Code::ResourceExhausted));
}

async fn open_run(channel: &Channel, id: u8) -> Code {
    let header = Header { run_id: vec![id; 16], ..header() };
    let (open, answers) = open(channel, vec![Some(Kind::Header(header))]).await;
    drop(open);
    ends(answers).await
}

#[tokio::test]
async fn a_file_system_is_not_filled_to_its_last_byte() {
    let home = tempfile::tempdir().unwrap();
    let channel = serve(home.path(), limits(|limits| limits.free_bytes = u64::MAX)).await;
    assert_eq!(open_run(&channel, 1).await, Code::ResourceExhausted);
    assert_eq!(snoopy(&channel, "web-0").await, Code::ResourceExhausted);
    let files = |folder| {
        fs::read_dir(home.path().join(folder)).unwrap().filter(|e| e.as_ref().unwrap().path().is_file()).count()
    };
    assert_eq!((files("."), files("snoopy")), (0, 0));
}

#[tokio::test]
async fn a_run_is_not_ended_under_anothers_name() {
    let home = tempfile::tempdir().unwrap();
    let channel = serve(home.path(), ReceiverLimits::default()).await;
    let (run, answers) = open(&channel, vec![Some(Kind::Header(header()))]).await;
    let mut answers = answers.unwrap();
    assert_eq!(answers.message().await.unwrap(), Some(Ack::default()));
    let elsewhere = Header { namespace: "evil".to_owned(), ..header() };
    let (_open, answer) = open(&channel, vec![Some(Kind::Header(elsewhere)), Some(chunk(0, b"x"))]).await;
    assert_eq!(answer.unwrap().message().await.unwrap(), Some(Ack::default()), "files of its own");
    let other = Header { tool: "ss".to_owned(), ..header() };
    let (_open, refused) = open(&channel, vec![Some(Kind::Header(other)), Some(chunk(0, b"x"))]).await;
    assert_eq!(ends(refused).await, Code::AlreadyExists);
    run.send(Message { kind: Some(chunk(0, b"abc")) }).await.unwrap();
    assert_eq!(answers.message().await.unwrap(), Some(Ack { offset: 3, ended: false }));
    assert_eq!(fs::read(home.path().join(OUT)).unwrap(), b"abc");
}

#[tokio::test]
async fn an_honest_client_may_be_quiet_for_much_longer_than_all_limits() {
    let home = tempfile::tempdir().unwrap();
    let with = |limits: &mut ReceiverLimits| {
        (limits.begin, limits.unused, limits.idle) = (SHORT, SHORT, SHORT);
        // A busy machine may be slow to answer for the client.
        (limits.ping, limits.stall) = (SHORT * 5, SHORT * 5);
    };
    let port = listen(home.path(), limits(with)).await;
    let (run, answers) = open(&connect(port).await, vec![Some(Kind::Header(header())), Some(chunk(0, b"abc"))]).await;
    let (sender, messages) = mpsc::channel(1);
    let mut client = DataEndpointClient::new(connect(port).await);
    let mut snoopys = client.export_pod_data(ReceiverStream::new(messages)).await.unwrap().into_inner();
    for _ in 0..2 {
        sleep(SHORT * 15).await;
        sender.send(PodData { name: "web-0".to_owned(), data: b"abc".to_vec() }).await.unwrap();
        assert!(snoopys.message().await.unwrap().is_some());
    }
    run.send(Message { kind: Some(chunk(3, b"def")) }).await.unwrap();
    run.send(Message { kind: Some(Kind::End(End { length: 6, ..End::default() })) }).await.unwrap();
    drop((run, sender));
    assert_eq!(ends(answers).await, Code::Ok);
    assert_eq!(snoopys.message().await.unwrap(), None);
    let files = [OUT, "snoopy/web-0"].map(|name| fs::read_to_string(home.path().join(name)).unwrap());
    assert_eq!(files, ["abcdef", "abcabc"]);
}
