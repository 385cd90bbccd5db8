// SPDX-License-Identifier: MIT OR Apache-2.0
//! The page for a user: a few files, inside the program.
//!
//! They are served as they stand in the source, each with a hash of itself, so that a browser asks whether it has changed and is answered 304.
//! No framework and nothing from anywhere else: what the page may do is what `guard` lets it.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get};

use super::Shared;
use super::session::key_of;

/// A file: its path, media type and text.
type File = (&'static str, &'static str, &'static str);

const FILES: [File; 5] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("/app.js", "text/javascript; charset=utf-8", include_str!("page/app.js")),
    ("/view.js", "text/javascript; charset=utf-8", include_str!("page/view.js")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

pub(super) fn routes() -> Vec<(&'static str, &'static str, MethodRouter<Shared>)> {
    let route = |file: File| {
        let tag =
            format!("\"{}\"", key_of(file.2)[..16].iter().map(|b| format!("{b:02x}")).collect::<String>());
        // Hex digits and quotes: always a header's value.
        let tag = HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\""));
        (
            "get",
            file.0,
            get(move |State(_): State<Shared>, headers: HeaderMap| async move { serve(file, tag, &headers) }),
        )
    };
    FILES.into_iter().map(route).collect()
}

fn serve((_, kind, text): File, tag: HeaderValue, headers: &HeaderMap) -> Response {
    let known = headers.get(header::IF_NONE_MATCH) == Some(&tag);
    let fixed = [(header::ETAG, tag), (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    if known {
        (StatusCode::NOT_MODIFIED, fixed).into_response()
    } else {
        (fixed, [(header::CONTENT_TYPE, kind)], text).into_response()
    }
}
