use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::json;

/// An answer that something went wrong: a Kubernetes `Status`.
#[derive(Debug)]
pub(super) struct Status {
    code: u16,
    reason: &'static str,
    message: String,
    retry_after: Option<Duration>,
}

impl Status {
    /// A failure with the reason that belongs to the code.
    pub(super) fn new(code: u16, message: impl Into<String>) -> Self {
        let reason = match code {
            400 => "BadRequest",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            409 => "Conflict",
            410 => "Expired",
            422 => "Invalid",
            429 => "TooManyRequests",
            503 => "ServiceUnavailable",
            504 => "Timeout",
            _ => "InternalError",
        };
        Self { code, reason, message: message.into(), retry_after: None }
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, message)
    }

    /// A watch from a version whose successors are forgotten.
    pub(super) fn gone(asked: u64, now: u64) -> Self {
        Self::new(410, format!("too old resource version: {asked} ({now})"))
    }

    /// What a fault asked for; a code that is no failure becomes 500.
    pub(super) fn injected(code: u16, retry_after: Option<Duration>) -> Self {
        let code = if (400..600).contains(&code) { code } else { 500 };
        Self { retry_after, ..Self::new(code, "injected") }
    }

    pub(super) fn json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        json::object(&mut out, |o| {
            o.text("kind", "Status");
            o.text("apiVersion", "v1");
            o.object("metadata", |_| {});
            o.text("status", "Failure");
            o.text("message", &self.message);
            o.text("reason", self.reason);
            if let Some(after) = self.retry_after {
                o.object("details", |d| d.bare("retryAfterSeconds", after.as_secs()));
            }
            o.bare("code", self.code);
        });
        out
    }

    /// The failure as the last frame of a watch.
    pub(super) fn frame(&self) -> Vec<u8> {
        [br#"{"type":"ERROR","object":"#, &*self.json(), b"}\n"].concat()
    }
}

impl IntoResponse for Status {
    fn into_response(self) -> Response {
        let mut response = super::json_response(self.json().into());
        *response.status_mut() = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs()));
        }
        response
    }
}
