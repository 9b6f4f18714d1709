/// Why tracking ended: the ledger cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep the ledger")]
pub struct Error {
    #[from]
    source: podtrail_ledger::Error,
}

impl Error {
    /// Whether starting again may succeed.
    pub const fn is_retryable(&self) -> bool {
        self.source.is_retryable()
    }
}
