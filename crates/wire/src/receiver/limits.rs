use std::time::Duration;

/// What bounds a [`Receiver`](crate::Receiver).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ReceiverLimits {
    /// Connections at once: further ones wait. Default 512.
    pub connections: usize,
    /// Connections of one peer at once: further ones are closed. A peer is an address of IPv4, or a /64 of IPv6. Default 256.
    pub peer_connections: usize,
    /// Streams at once, over all connections: further ones are told to come back. Each takes less than 16 MiB of memory while
    /// it sends the longest messages, and a file descriptor. Default 256.
    pub streams: usize,
    /// Streams of one peer at once: further ones are told to come back. Default 128. Those behind one NAT or proxy are one peer.
    pub peer_streams: usize,
    /// Files in the folder, of both contracts together; a run has two. A new one beyond is told to come back. Default 100,000.
    pub files: u64,
    /// Bytes in one file. Default 16 GiB.
    pub file_bytes: u64,
    /// Bytes that are to stay free on the folder's file system: who would take them is told to come back. Default 256 MiB.
    pub free_bytes: u64,
    /// How long a new connection may take to begin with HTTP/2, and a stream of our own contract to say of which run it is.
    /// Default 10 s.
    pub begin: Duration,
    /// How long a connection may have no streams. One that is older takes no new ones, and is asked to go; one that has had none for
    /// [`begin`](Self::begin) longer than this is cut. Default 5 min.
    pub unused: Duration,
    /// How often a quiet client is asked whether it is still there, and how long it may take to say so. Default 30 s.
    pub ping: Duration,
    /// How long a client may read none of its answers. Default 60 s.
    pub stall: Duration,
    /// How long a stream sends nothing before its place is given to another that finds all of them taken. Without need it may
    /// be quiet for ever: a tool may print nothing for days. Default 1 h.
    pub idle: Duration,
}

impl ReceiverLimits {
    /// Without times that no clock can add.
    pub(super) fn sane(mut self) -> Self {
        const LONGEST: Duration = Duration::from_secs(365 * 86_400);
        for time in [&mut self.begin, &mut self.unused, &mut self.ping, &mut self.stall, &mut self.idle] {
            *time = LONGEST.min(*time);
        }
        self
    }
}

impl Default for ReceiverLimits {
    fn default() -> Self {
        Self {
            connections: 512,
            peer_connections: 256,
            streams: 256,
            peer_streams: 128,
            files: 100_000,
            file_bytes: 16 << 30,
            free_bytes: 256 << 20,
            begin: Duration::from_secs(10),
            unused: Duration::from_secs(5 * 60),
            ping: Duration::from_secs(30),
            stall: Duration::from_secs(60),
            idle: Duration::from_secs(3600),
        }
    }
}
