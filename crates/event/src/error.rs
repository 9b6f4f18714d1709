/// A text that is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("{what} {text:?} cannot be read")]
pub struct Error {
    what: &'static str,
    text: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Error {
    pub(crate) fn new(
        what: &'static str,
        text: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        // What came from outside is quoted, but never at length.
        Self { what, text: text.chars().take(64).collect(), source: source.into() }
    }

    /// Whether the same call may succeed later: never, the text will not change.
    pub const fn is_retryable(&self) -> bool {
        false
    }
}
