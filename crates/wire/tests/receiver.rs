//! What a receiver refuses, and that nothing else is lost by it.

#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod receiving;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Duration;

use podtrail_wire::{ErrorKind, Receiver, ReceiverLimits};
use receiving::proto::message::Kind;
use receiving::proto::{Ack, End, Header};
use receiving::protobuf::PodData;
use receiving::protobuf::data_endpoint_client::DataEndpointClient;
use receiving::{OUT, chunk, connect, ends, greeting, header, listen, open, serve};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tonic::Code;
use tonic::codegen::tokio_stream;

const MOST: usize = usize::MAX;

#[tokio::test]
async fn what_breaks_the_contract_is_refused_and_no_file_is_touched_elsewhere() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let channel = serve(&folder, ReceiverLimits::default()).await;
    let with = |change: fn(&mut Header)| {
        let mut header = header();
        change(&mut header);
        vec![Some(Kind::Header(header))]
    };
    let after = |kinds: Vec<Option<Kind>>| with(|_| {}).into_iter().chain(kinds).collect::<Vec<_>>();
    let cases = [
        vec![None],
        vec![Some(chunk(0, b"a"))],
        vec![Some(Kind::End(End::default()))],
        with(|h| h.run_id = vec![7; 15]),
        with(|h| h.run_id.clear()),
        with(|h| h.namespace.clear()),
        with(|h| h.namespace = "..".to_owned()),
        with(|h| h.pod = "../web-0".to_owned()),
        with(|h| h.pod = "a/b".to_owned()),
        with(|h| h.pod = ".web-0".to_owned()),
        with(|h| h.pod = "web\0".to_owned()),
        with(|h| h.pod = "-web".to_owned()),
        with(|h| h.pod = "web\u{202e}0".to_owned()),
        with(|h| h.namespace = "shop\u{2028}".to_owned()),
        with(|h| h.pod = "a".repeat(254)),
        with(|h| h.cluster = "a".repeat(254)),
        with(|h| h.container = "a".repeat(254)),
        with(|h| h.node = "a".repeat(254)),
        with(|h| h.tool = "a".repeat(4097)),
        with(|h| h.arguments = vec![String::new(); 1025]),
        with(|h| h.arguments = vec!["a".repeat(1 << 17), "a".to_owned()]),
        with(|h| h.started_unix_nanos = -1),
        with(|h| h.started_unix_nanos = i64::MAX),
        after(vec![None]),
        after(with(|_| {})),
        after(vec![Some(chunk(1, b"a"))]),
        after(vec![Some(chunk(u64::MAX, b"a"))]),
        after(vec![Some(chunk(0, b""))]),
        after(vec![Some(Kind::End(End { length: 1, ..End::default() }))]),
        after(vec![Some(chunk(0, &vec![0; (4 << 20) + 1]))]),
    ];
    for case in cases {
        let (_open, answers) = open(&channel, case.clone()).await;
        assert_eq!(ends(answers).await, Code::InvalidArgument, "{:.300}", format!("{case:?}"));
    }
    assert_eq!(fs::read(folder.join(OUT)).unwrap(), b"", "no chunk of them was right");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn an_ended_run_takes_nothing_more_and_its_id_is_its_own() {
    let home = tempfile::tempdir().unwrap();
    let channel = serve(home.path(), ReceiverLimits::default()).await;
    let end = Kind::End(End { length: 3, ..End::default() });
    let (_open, answers) = open(&channel, vec![Some(Kind::Header(header())), Some(chunk(0, b"abc")), Some(end)]).await;
    let mut answers = answers.unwrap();
    let mut last = Ack::default();
    while !last.ended {
        last = answers.message().await.unwrap().unwrap();
    }
    assert_eq!(last.offset, 3);
    let (_open, answers) = open(&channel, vec![Some(Kind::Header(header()))]).await;
    assert_eq!(answers.unwrap().message().await.unwrap(), Some(last), "it is told again");
    let (_open, answers) = open(&channel, vec![Some(Kind::Header(header())), Some(chunk(3, b"d"))]).await;
    assert_eq!(ends(answers).await, Code::InvalidArgument);
    let other = Header { tool: "ss".to_owned(), ..header() };
    let (_open, answers) = open(&channel, vec![Some(Kind::Header(other))]).await;
    assert_eq!(ends(answers).await, Code::AlreadyExists);
    assert_eq!(fs::read(home.path().join(OUT)).unwrap(), b"abc");
    assert_eq!(fs::metadata(home.path().join(OUT)).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_newer_stream_of_a_run_ends_the_older_one() {
    let home = tempfile::tempdir().unwrap();
    let channel = serve(home.path(), ReceiverLimits::default()).await;
    let (_open, older) = open(&channel, vec![Some(Kind::Header(header())), Some(chunk(0, b"abc"))]).await;
    let mut older = older.unwrap();
    assert_eq!(older.message().await.unwrap().unwrap().offset, 0);
    assert_eq!(older.message().await.unwrap().unwrap().offset, 3);
    let (_open, newer) = open(&channel, vec![Some(Kind::Header(header()))]).await;
    assert_eq!(newer.unwrap().message().await.unwrap().unwrap().offset, 3);
    assert_eq!(ends(Ok(older)).await, Code::Aborted);
    let second = serve(home.path(), ReceiverLimits::default()).await;
    let (_open, answers) = open(&second, vec![Some(Kind::Header(header()))]).await;
    assert_eq!(ends(answers).await, Code::Unavailable, "one receiver at a time");
}

#[tokio::test]
async fn limits_hold() {
    let home = tempfile::tempdir().unwrap();
    let mut limits = ReceiverLimits::default();
    (limits.streams, limits.file_bytes) = (1, 5);
    let port = listen(home.path(), limits).await;
    let channel = connect(port).await;
    let (first_open, first) = open(&channel, vec![Some(Kind::Header(header())), Some(chunk(0, b"abc"))]).await;
    // The limit is the receiver's; over the same connection HTTP/2 would let a second one wait.
    let (_open2, second) = open(&connect(port).await, vec![]).await;
    assert_eq!(ends(second).await, Code::ResourceExhausted);
    drop(first_open);
    assert_eq!(ends(first).await, Code::Ok);
    let (_open, answers) = open(&channel, vec![Some(Kind::Header(header())), Some(chunk(3, b"def"))]).await;
    assert_eq!(ends(answers).await, Code::OutOfRange);
    assert_eq!(fs::read(home.path().join(OUT)).unwrap(), b"abc");
    let mut snoopy = DataEndpointClient::new(channel);
    let data = [b"abc", b"def"].map(|data| PodData { name: "web-0".to_owned(), data: data.to_vec() });
    let mut answers = snoopy.export_pod_data(tokio_stream::iter(data)).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().message, "Received data for pod web-0");
    assert_eq!(answers.message().await.unwrap_err().code(), Code::OutOfRange);
    assert_eq!(fs::read(home.path().join("snoopy/web-0")).unwrap(), b"abc");
}

#[tokio::test]
async fn limits_may_be_as_good_as_none() {
    let home = tempfile::tempdir().unwrap();
    let mut limits = ReceiverLimits::default();
    (limits.connections, limits.peer_connections, limits.streams, limits.peer_streams) = (MOST, MOST, MOST, MOST);
    (limits.files, limits.file_bytes, limits.free_bytes) = (u64::MAX, u64::MAX, 0);
    (limits.begin, limits.unused, limits.ping) = (Duration::MAX, Duration::MAX, Duration::MAX);
    (limits.stall, limits.idle) = (Duration::MAX, Duration::MAX);
    assert_eq!(greeting(listen(home.path(), limits).await).await, Ack::default());
}

#[tokio::test]
async fn a_connection_that_never_begins_makes_room() {
    let home = tempfile::tempdir().unwrap();
    let mut limits = ReceiverLimits::default();
    (limits.connections, limits.begin) = (1, Duration::from_millis(500));
    let port = listen(home.path(), limits).await;
    for said in [&b""[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
        let mut silent = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        silent.write_all(said).await.unwrap();
        assert_eq!(greeting(port).await, Ack::default());
    }
}

#[tokio::test]
async fn a_connection_without_streams_makes_room() {
    let home = tempfile::tempdir().unwrap();
    let mut limits = ReceiverLimits::default();
    (limits.connections, limits.unused) = (1, Duration::from_millis(500));
    let port = listen(home.path(), limits).await;
    let idle = connect(port).await;
    let (open, answers) = open(&idle, vec![Some(Kind::Header(header()))]).await;
    assert_eq!(answers.unwrap().message().await.unwrap(), Some(Ack::default()));
    drop(open);
    assert_eq!(greeting(port).await, Ack::default());
}

#[tokio::test]
async fn snoopys_streams_append_and_no_name_escapes() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("folder");
    fs::create_dir_all(folder.join("snoopy")).unwrap();
    fs::write(home.path().join("outside"), "outside").unwrap();
    symlink(home.path().join("outside"), folder.join("snoopy/link")).unwrap();
    let mut snoopy = DataEndpointClient::new(serve(&folder, ReceiverLimits::default()).await);
    for data in ["one,", "two,", "three"] {
        let message = PodData { name: "web-0".to_owned(), data: data.into() };
        let mut answers = snoopy.export_pod_data(tokio_stream::iter([message])).await.unwrap().into_inner();
        assert_eq!(answers.message().await.unwrap().unwrap().message, "Received data for pod web-0");
        assert_eq!(answers.message().await.unwrap(), None);
    }
    let file = folder.join("snoopy/web-0");
    assert_eq!(fs::read_to_string(&file).unwrap(), "one,two,three");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let long = "a".repeat(254);
    let dotted = ["", ".", "..", "../outside", "/etc/passwd", "a/b", ".hidden", "a..b"];
    let strange = ["a\0b", "a\nb", "a b", "a\\b", "a\u{202e}b", "a\u{2028}b", "ä", "-rf", "_a", "a:b", &long, "link"];
    for name in dotted.into_iter().chain(strange) {
        let message = PodData { name: name.to_owned(), data: vec![0] };
        let mut answers = snoopy.export_pod_data(tokio_stream::iter([message])).await.unwrap().into_inner();
        let code = answers.message().await.unwrap_err().code();
        let expected = if name == "link" { Code::FailedPrecondition } else { Code::InvalidArgument };
        assert_eq!(code, expected, "{name:?}");
    }
    assert_eq!(fs::read_to_string(home.path().join("outside")).unwrap(), "outside");
    assert_eq!(fs::read_dir(folder.join("snoopy")).unwrap().count(), 2);
}

#[test]
fn a_folder_that_cannot_be_used_is_an_error() {
    let error = Receiver::new(Path::new("/nonexistent/folder"), ReceiverLimits::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Folder, "{error}");
}
