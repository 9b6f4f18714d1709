//! A connection that is cut at will, and output to send.

#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part of it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use podtrail_wire::Destination;
use rand::{Rng as _, RngCore as _, SeedableRng as _, rngs::SmallRng};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

pub(crate) fn random(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Cuts the bytes into pieces of any length.
pub(crate) fn pieces(bytes: &[u8], longest: usize, seed: u64) -> Vec<&[u8]> {
    let (mut rng, mut rest, mut pieces) = (SmallRng::seed_from_u64(seed), bytes, Vec::new());
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rng.random_range(0..=longest).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

pub(crate) fn destination(port: u16) -> Destination {
    Destination::new("127.0.0.1", &port.to_string()).unwrap()
}

/// Passes connections on to a port that may change, and cuts each after some bytes.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    /// Where to; 0 refuses.
    pub(crate) target: Arc<AtomicU32>,
    /// How many connections may still be cut, and how many were.
    pub(crate) cuts_left: Arc<AtomicU32>,
    pub(crate) cuts: Arc<AtomicU32>,
    /// Bytes from the client, over all connections.
    pub(crate) forward: Arc<AtomicU64>,
}

impl Proxy {
    /// Cuts `cuts` connections, each after a random number of bytes below `longest`, in either direction.
    pub(crate) async fn start(target: u16, cuts: u32, longest: u64, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            target: Arc::new(AtomicU32::new(u32::from(target))),
            cuts_left: Arc::new(AtomicU32::new(cuts)),
            cuts: Arc::default(),
            forward: Arc::default(),
        };
        let (target, left, cuts, forward) = (
            Arc::clone(&proxy.target),
            Arc::clone(&proxy.cuts_left),
            Arc::clone(&proxy.cuts),
            Arc::clone(&proxy.forward),
        );
        tokio::spawn(async move {
            let mut rng = SmallRng::seed_from_u64(seed);
            while let Ok((mut client, _)) = listener.accept().await {
                let port = u16::try_from(target.load(Ordering::SeqCst)).unwrap();
                let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                // Some connections do not even get their first chunk through.
                let shortest = if rng.random_ratio(1, 4) { 0 } else { longest / 4 };
                let cut = (left.load(Ordering::SeqCst) > 0).then(|| rng.random_range(shortest..longest));
                let (left, cuts, forward) = (Arc::clone(&left), Arc::clone(&cuts), Arc::clone(&forward));
                let reset = rng.random();
                tokio::spawn(async move {
                    let Some(cut) = cut else {
                        drop(copy_bidirectional(&mut client, &mut server).await);
                        return;
                    };
                    let (sent, complete) = pass(&mut client, &mut server, cut).await;
                    forward.fetch_add(sent, Ordering::SeqCst);
                    if !complete {
                        left.fetch_sub(1, Ordering::SeqCst);
                        cuts.fetch_add(1, Ordering::SeqCst);
                    }
                    if reset {
                        client.set_zero_linger().unwrap();
                        server.set_zero_linger().unwrap();
                    }
                });
            }
        });
        proxy
    }
}

/// Passes at most so many bytes on; says how many came from the client, and whether the connection ended by itself.
async fn pass(client: &mut TcpStream, server: &mut TcpStream, most: u64) -> (u64, bool) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (mut from_client, mut from_server) = ([0; 8192], [0; 8192]);
    let (mut sent, mut left) = (0, most);
    while left > 0 {
        let (length, to_server) = tokio::select! {
            length = client.read(&mut from_client) => (length, true),
            length = server.read(&mut from_server) => (length, false),
        };
        let Ok(length @ 1..) = length else { return (sent, true) };
        let length = length.min(usize::try_from(left).unwrap_or(usize::MAX));
        left -= length as u64;
        let passed = if to_server {
            sent += length as u64;
            server.write_all(&from_client[..length]).await
        } else {
            client.write_all(&from_server[..length]).await
        };
        if passed.is_err() {
            return (sent, true);
        }
    }
    (sent, false)
}
