//! A client that writes frames of HTTP/2 (RFC 9113) by hand, and answers nothing that it is not told to.

#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part of it")]

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

const OUTPUT: &str = "/podtrail.output.v1.Output/Write";
pub(crate) const SNOOPY: &str = "/protobuf.DataEndpoint/ExportPodData";

pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    /// A connection that has begun.
    pub(crate) async fn connect(port: u16) -> Self {
        let mut raw = Self(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
        raw.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        raw.frame(SETTINGS, 0, 0, b"").await.unwrap();
        raw
    }

    /// Opens stream 1.
    pub(crate) async fn call(&mut self, path: &str) {
        self.frame(HEADERS, END_HEADERS, 1, &request(path)).await.unwrap();
    }

    /// A part of what stream 1 sends.
    pub(crate) async fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.frame(DATA, 0, 1, bytes).await
    }

    /// The beginning of headers, or more of them, without an end.
    pub(crate) async fn endless_headers(&mut self, is_first: bool) -> io::Result<()> {
        let more = literal("x", &"y".repeat(100));
        match is_first {
            true => self.frame(HEADERS, 0, 1, &[request(OUTPUT), more].concat()).await,
            false => self.frame(CONTINUATION, 0, 1, &more).await,
        }
    }

    /// Whether the server closes the connection in time.
    pub(crate) async fn is_closed(&mut self, within: Duration) -> bool {
        let mut bytes = [0; 4096];
        timeout(within, async { while self.0.read(&mut bytes).await.unwrap_or(0) > 0 {} }).await.is_ok()
    }

    async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let frame = [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat();
        self.0.write_all(&frame).await
    }
}

fn request(path: &str) -> Vec<u8> {
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "receiver"),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    headers.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

/// A header without compression (RFC 7541 §6.2.2).
fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    assert!(name.len().max(value.len()) < 127, "lengths of one byte");
    [vec![0], text(name), text(value)].concat()
}
