// SPDX-License-Identifier: MIT OR Apache-2.0
//! What every request passes, whatever it asks for.
//!
//! On the way in: a request that would change something and comes from another site's page is refused (the browser says so by
//! `Sec-Fetch-Site`, or by an `Origin` that is not our host; programs send neither). The body is taken whole, at most [`MAX_BODY`]
//! octets in [`PATIENCE`], so that no handler ever waits for a client.
//! On the way out: the headers that keep a browser from doing more with an answer than it should. The page runs no code and no style
//! but its own files', and is shown in nobody's frame.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tokio::time::timeout;

use super::problem::Problem;
use super::{Shared, one_more};

/// Octets of a body.
pub(super) const MAX_BODY: usize = 64 << 10;
/// For a body to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Script and style come from the node's own files, and data only to and from the node.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, &str); 8] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

pub(super) async fn guard(State(service): State<Shared>, request: Request, next: Next) -> Response {
    one_more(&service.counters.requests);
    let mut response = if is_safe(request.method()) || is_our_own(request.headers()) {
        pass(request, next).await
    } else {
        one_more(&service.counters.cross_site);
        Problem::new(StatusCode::FORBIDDEN, "the request comes from another site's page").into_response()
    };
    if response.status().as_u16() >= 400 {
        one_more(&service.counters.failures);
    }
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    // Nothing but the page's files, which say so themselves, is to be kept by anybody.
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn pass(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let refused = match timeout(PATIENCE, axum::body::to_bytes(body, MAX_BODY)).await {
        Ok(Ok(bytes)) => return next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Ok(Err(_)) => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than 65536 octets, or broke off")
        }
        Err(_) => Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
    };
    let mut response = refused.into_response();
    // What is left of the body is not read.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether a browser, if it is one, says that a page of ours has made the request.
fn is_our_own(headers: &HeaderMap) -> bool {
    let value = |name| headers.get(name).map(HeaderValue::as_bytes);
    match (value(HeaderName::from_static("sec-fetch-site")), value(header::ORIGIN)) {
        (Some(site), _) => site == b"same-origin",
        (None, Some(origin)) => {
            let host = value(header::HOST).unwrap_or_default();
            origin
                .strip_prefix(b"https://")
                .is_some_and(|ours| !host.is_empty() && ours.eq_ignore_ascii_case(host))
        }
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_page_has_asked() {
        for (headers, ours) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")][..], true),
            (&[("sec-fetch-site", "same-site")][..], false),
            (&[("sec-fetch-site", "cross-site")][..], false),
            (&[("sec-fetch-site", "none")][..], false),
            (&[("origin", "https://Node.example:8443"), ("host", "node.example:8443")][..], true),
            (&[("origin", "http://node.example:8443"), ("host", "node.example:8443")][..], false),
            (&[("origin", "https://node.example"), ("host", "node.example:8443")][..], false),
            (&[("origin", "null"), ("host", "node.example")][..], false),
            (&[("origin", "https://"), ("host", "")][..], false),
        ] {
            let map: HeaderMap = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            assert_eq!(is_our_own(&map), ours, "{headers:?}");
        }
    }
}
