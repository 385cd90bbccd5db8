// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is wrong with a request, for programs and for people: RFC 9457.
//!
//! Each refusal has one shape, whoever finds it: a status, a short title that is always the same for it, and a sentence on this very
//! case. Texts that were not delivered bear the SIP status as well.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A refusal.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    /// Why SIP did not take it.
    sip: Option<u16>,
    /// When to try again, s.
    retry_after: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), sip: None, retry_after: None }
    }

    /// No session, or none any more.
    pub(super) fn nobody() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "log in first")
    }

    pub(super) fn later(status: StatusCode, detail: impl Into<String>, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..Self::new(status, detail) }
    }

    /// The node is ending, or does not answer.
    pub(super) fn ending() -> Self {
        Self::later(StatusCode::SERVICE_UNAVAILABLE, "the node does not answer", 5)
    }

    /// The sentence on this case.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// A text that was not delivered, by its SIP status.
    pub(super) fn undelivered(sip: u16) -> Self {
        let (status, detail) = match sip {
            404 => (StatusCode::NOT_FOUND, "there is no such user".to_owned()),
            408 | 480 => (StatusCode::CONFLICT, "nobody is there to take it".to_owned()),
            503 => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too much is on its way already, or there is no way there".to_owned(),
            ),
            other => (StatusCode::BAD_GATEWAY, format!("the other side refused it ({other})")),
        };
        Self { sip: Some(sip), ..Self::new(status, detail) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "title": self.status.canonical_reason().unwrap_or("Refused"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(sip) = self.sip {
            body["sip"] = sip.into();
        }
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// Nothing is there.
pub(super) async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is nothing here")
}

/// Something is there that takes other methods.
pub(super) async fn not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this takes other methods")
}
