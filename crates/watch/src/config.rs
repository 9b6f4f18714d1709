use std::time::Duration;

/// How to list and watch. The defaults suit a real API server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// How many objects to ask for in one page of a list. Default 500; at least 1.
    pub page_size: u32,
    /// The longest page body that is taken; a longer one is asked for again with half the objects. Default 64 MiB.
    pub max_page: usize,
    /// The longest line of a watch that is decoded; a longer one is skipped unread and counts as undecodable.
    /// Default 2 MiB.
    pub max_frame: usize,
    /// The wait after a first failure; it doubles with each, and is jittered down to half. Default 200 ms.
    pub backoff_min: Duration,
    /// The longest wait after failures. Default 5 s: what is not watched may be lost. A server's `Retry-After` may ask for more, up to 5 minutes.
    pub backoff_max: Duration,
    /// How long to wait for the head of a response. Default 65 s: an API server gives up after 60 s.
    pub request_timeout: Duration,
    /// After how long the server shall end a watch (`timeoutSeconds`). Default 290 s.
    pub watch_timeout: Duration,
    /// After how long without a byte a response counts as dead. Default 90 s: servers send bookmarks each minute.
    pub stall_timeout: Duration,
    /// Whether to try streaming lists (`sendInitialEvents`) before pages. Default true; a server that refuses them is
    /// not asked again by the same stream.
    pub streaming_lists: bool,
    /// How long a watch must be silent after it began to count as caught up. Default 1 s.
    pub quiet: Duration,
    /// How often a watch that is caught up and silent says so. Default 500 ms.
    pub heartbeat: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            page_size: 500,
            max_page: 64 << 20,
            max_frame: 2 << 20,
            backoff_min: Duration::from_millis(200),
            backoff_max: Duration::from_secs(5),
            request_timeout: Duration::from_secs(65),
            watch_timeout: Duration::from_secs(290),
            stall_timeout: Duration::from_secs(90),
            streaming_lists: true,
            quiet: Duration::from_secs(1),
            heartbeat: Duration::from_millis(500),
        }
    }
}
