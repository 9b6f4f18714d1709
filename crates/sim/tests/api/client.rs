//! As little HTTP as these tests need, so that they see every byte and every broken connection.

use std::net::SocketAddr;
use std::time::Duration;

use podtrail_sim::{Cluster, Config, Pod, PodSpec, serve};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A cluster with a node, served.
pub(crate) struct Bed {
    pub(crate) cluster: Cluster,
    pub(crate) address: SocketAddr,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) server: JoinHandle<std::io::Result<()>>,
}

/// Bookmarks every 50 ms, else as configured.
pub(crate) async fn bed(config: Config) -> Bed {
    let cluster = Cluster::new(Config { bookmark_every: Duration::from_millis(50), ..config });
    cluster.add_node("n1", &[("Hostname", "n1"), ("InternalIP", "198.18.0.11")]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async move { drop(stopped.await) };
    let server = tokio::spawn(serve(cluster.clone(), listener, shutdown));
    Bed { cluster, address, stop, server }
}

impl Bed {
    pub(crate) fn create(&self, name: &str) -> Pod {
        self.cluster.create(PodSpec::new("default", name, "n1").label("app", name)).unwrap()
    }

    pub(crate) fn running(&self, name: &str, ip: &str) -> Pod {
        let pod = self.create(name);
        self.cluster.run(&pod, &[ip.parse().unwrap()]).unwrap();
        pod
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.request("GET", target).await
    }

    pub(crate) async fn request(&self, method: &str, target: &str) -> Answer {
        let mut open = Open::start(self.address, method, target).await;
        let mut body = Vec::new();
        match open.length {
            Some(length) => {
                while open.buffer.len() < length {
                    assert!(open.fill().await, "the body ends after {} of {length} bytes", open.buffer.len());
                }
                body.append(&mut open.buffer);
            }
            None => {
                while let Piece::Data(data) = open.chunk().await {
                    body.extend(data);
                }
            }
        }
        Answer { code: open.code, head: open.head, body: String::from_utf8(body).unwrap() }
    }

    /// A watch of pods.
    pub(crate) async fn watch(&self, query: &str) -> Watch {
        self.watch_of("/api/v1/pods", query).await
    }

    pub(crate) async fn watch_of(&self, path: &str, query: &str) -> Watch {
        let open = Open::start(self.address, "GET", &format!("{path}?watch=1&{query}")).await;
        assert_eq!(open.code, 200, "{}", open.head);
        Watch { open, line: Vec::new(), chunks: 0 }
    }

    /// A watch of pods from now on.
    pub(crate) async fn watch_now(&self) -> Watch {
        self.watch(&format!("resourceVersion={}", self.cluster.version())).await
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    /// Names of the items of a list.
    pub(crate) fn names(&self) -> Vec<String> {
        assert_eq!(self.code, 200, "{}", self.body);
        let list = self.json();
        let items = list["items"].as_array().unwrap();
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Asserts that this is a `Status` with this code and reason.
    #[track_caller]
    pub(crate) fn is_status(&self, code: u16, reason: &str) {
        assert_eq!(self.code, code, "{}", self.body);
        let status = self.json();
        assert_eq!(status["kind"], "Status");
        assert_eq!(status["apiVersion"], "v1");
        assert_eq!(status["metadata"], serde_json::json!({}));
        assert_eq!(status["status"], "Failure");
        assert_eq!(status["code"], code);
        assert_eq!(status["reason"], reason);
        assert!(!status["message"].as_str().unwrap().is_empty());
    }
}

/// How a watch goes on.
#[derive(Debug)]
pub(crate) enum Next {
    Frame(Value),
    /// A line that is no JSON.
    Garbage,
    /// The answer is complete.
    End,
    /// The connection ended before the answer did; so many bytes of a line had come.
    Broken(usize),
}

pub(crate) struct Watch {
    open: Open,
    line: Vec<u8>,
    /// How many chunks have come.
    pub(crate) chunks: usize,
}

impl Watch {
    pub(crate) async fn next(&mut self) -> Next {
        loop {
            if let Some(end) = self.line.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.line.drain(..=end).collect();
                return serde_json::from_slice(&line).map_or(Next::Garbage, Next::Frame);
            }
            match self.open.chunk().await {
                Piece::Data(data) => {
                    self.chunks += 1;
                    self.line.extend(data);
                }
                Piece::End => return Next::End,
                Piece::Broken => return Next::Broken(self.line.len()),
            }
        }
    }

    /// The next frame.
    pub(crate) async fn frame(&mut self) -> Value {
        match self.next().await {
            Next::Frame(frame) => frame,
            other => panic!("no frame but {other:?}"),
        }
    }

    /// Type and object name of the next frame that is no bookmark.
    pub(crate) async fn event(&mut self) -> (String, String) {
        loop {
            let frame = self.frame().await;
            let kind = frame["type"].as_str().unwrap().to_owned();
            if kind != "BOOKMARK" {
                return (kind, frame["object"]["metadata"]["name"].as_str().unwrap_or_default().to_owned());
            }
        }
    }

    /// Asserts the types and names of the next frames that are no bookmarks.
    pub(crate) async fn sees(&mut self, events: &[(&str, &str)]) {
        for (kind, name) in events {
            assert_eq!(self.event().await, (kind.to_string(), name.to_string()));
        }
    }
}

enum Piece {
    Data(Vec<u8>),
    End,
    Broken,
}

/// An answer of which the head has come.
struct Open {
    stream: TcpStream,
    buffer: Vec<u8>,
    code: u16,
    head: String,
    length: Option<usize>,
}

impl Open {
    async fn start(address: SocketAddr, method: &str, target: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut open = Self { stream, buffer: Vec::new(), code: 0, head: String::new(), length: None };
        let end = loop {
            if let Some(at) = find(&open.buffer, b"\r\n\r\n") {
                break at;
            }
            assert!(open.fill().await, "the connection ended before the head did");
        };
        open.head = String::from_utf8(open.buffer.drain(..end + 4).collect()).unwrap().to_lowercase();
        open.code = open.head[9..12].parse().unwrap();
        let length = open.head.lines().find_map(|line| line.strip_prefix("content-length: "));
        open.length = length.map(|text| text.parse().unwrap());
        open
    }

    /// Reads more; false at the end of the connection.
    async fn fill(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
        read.expect("the server says nothing for too long").is_ok_and(|n| n > 0)
    }

    async fn chunk(&mut self) -> Piece {
        loop {
            if let Some(line) = find(&self.buffer, b"\r\n") {
                let size = usize::from_str_radix(std::str::from_utf8(&self.buffer[..line]).unwrap(), 16).unwrap();
                if self.buffer.len() >= line + 2 + size + 2 {
                    let data = self.buffer[line + 2..line + 2 + size].to_vec();
                    self.buffer.drain(..line + 2 + size + 2);
                    return if size == 0 { Piece::End } else { Piece::Data(data) };
                }
            }
            if !self.fill().await {
                return Piece::Broken;
            }
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
