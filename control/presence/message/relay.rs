// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages that are passed on, as RFC 3261 section 16 has a proxy do it: all that is not the proxy's stays octet for octet, but for folds.
//!
//! A request gets a Via and (if it makes a dialog) a Record-Route on top of the others, its Max-Forwards counted down, and loses the Route that
//! has led it here (16.4, 16.6); a response loses the Via that it came back by (16.7). Routes are loose: those of routers before RFC 3261
//! (without `lr`) are passed on as they are.
//!
//! Called by the core; pure.

use fedgate_sip::headers::HeaderName;
use fedgate_sip::message::Message;

use super::compose::unfolded;
use super::parts;

/// Hops left to a request that says nothing of them (16.6, step 3).
const HOPS: u8 = 70;

/// A request as it goes on, by way of `via`; without its first Route where `is_led` says that this has led it here.
pub fn request(request: &Message<'_>, is_led: bool, via: &str, record_route: Option<&str>) -> Vec<u8> {
    let mut out = first_line(request);
    put(&mut out, "Via", via);
    if let Some(route) = record_route {
        put(&mut out, "Record-Route", route);
    }
    put(
        &mut out,
        "Max-Forwards",
        &request.max_forwards.map_or(HOPS, |hops| hops.saturating_sub(1)).to_string(),
    );
    let mut drop_route = is_led;
    for header in request.headers() {
        match header.id {
            HeaderName::MaxForwards => {}
            HeaderName::Route if drop_route => {
                drop_route = false;
                put_rest(&mut out, header.name, &unfolded(header.value));
            }
            _ => put(&mut out, header.name, &unfolded(header.value)),
        }
    }
    with_body(out, request.body)
}

/// A response as it goes back, without its first Via.
pub fn response(response: &Message<'_>) -> Vec<u8> {
    let mut out = first_line(response);
    let mut drop_via = true;
    for header in response.headers() {
        if header.id == HeaderName::Via && std::mem::take(&mut drop_via) {
            put_rest(&mut out, header.name, &unfolded(header.value));
        } else {
            put(&mut out, header.name, &unfolded(header.value));
        }
    }
    with_body(out, response.body)
}

/// The Routes of a request, each as it was written.
pub fn routes(request: &Message<'_>) -> Vec<String> {
    let all = request.values(HeaderName::Route).map(unfolded);
    all.flat_map(|value| parts(&value, b',').map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn first_line(message: &Message<'_>) -> String {
    let mut out = String::with_capacity(message.head().len() + message.body.len() + 256);
    out.push_str(message.head().lines().next().unwrap_or_default());
    out.push_str("\r\n");
    out
}

fn put(out: &mut String, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        out.push_str(part);
    }
}

/// A list without its first element; nothing where it has no other.
fn put_rest(out: &mut String, name: &str, value: &str) {
    let rest: Vec<&str> = parts(value, b',').skip(1).collect();
    if !rest.is_empty() {
        put(out, name, &rest.join(", "));
    }
}

fn with_body(mut head: String, body: &[u8]) -> Vec<u8> {
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}
