// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens, as it happens: server-sent events.
//!
//! A stream begins with `state`, all that the user may know; what changes afterwards comes as an event of its own, in order and
//! without a gap. Nothing is ever told again: a client that has lost its stream opens another and begins with its `state`. Texts are the exception:
//! one that no client has acknowledged yet is told to a new stream as well.
//!
//! At most [`QUEUE`] events wait for a client; one that reads slower loses its stream. A comment every [`BEAT`] keeps middleboxes from
//! thinking the stream dead, and finds out whether client and session still live.
//!
//! One [`Events`] a stream, polled by hyper.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Shared;
use super::api::User;
use super::problem::Problem;
use super::session::Key;
use crate::driver::Asked;
use crate::node::Notice;

/// Events that may wait for one client.
pub(super) const QUEUE: usize = 256;
/// Between comments.
const BEAT: Duration = Duration::from_secs(15);

/// `GET /api/v1/events`.
pub(super) async fn events(State(service): State<Shared>, user: User) -> Result<Response, Problem> {
    let id = service.listeners.fetch_add(1, Ordering::Relaxed);
    let (told, queue) = mpsc::channel(QUEUE);
    let listen = Asked::Listen(id, user.address, told);
    service.asked.send(listen).await.map_err(|_| Problem::ending())?;
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stream = Events { id, queue, beat, service, session: user.session };
    let mut response = Response::new(Body::new(stream));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(response)
}

/// One client's stream.
struct Events {
    id: u64,
    queue: mpsc::Receiver<Notice>,
    beat: Interval,
    service: Shared,
    session: Key,
}

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match self.queue.poll_recv(cx) {
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(notice)) => written(&notice).into(),
            Poll::Pending if self.beat.poll_tick(cx).is_pending() => return Poll::Pending,
            Poll::Pending => Bytes::from_static(b":\n\n"),
        };
        // Who has logged out is told nothing more, not even what is waiting for him.
        let lives = self.service.sessions().use_it(&self.session, Instant::now()).is_some();
        Poll::Ready(lives.then(|| Ok(Frame::data(data))))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let (asked, id) = (self.service.asked.clone(), self.id);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // The driver may be busy just now; where it has ended there is nobody left to tell.
            runtime.spawn(async move { asked.send(Asked::Gone(id)).await });
        }
    }
}

/// JSON has no line breaks of its own, so an event is one line of data.
fn written(notice: &Notice) -> String {
    format!("event: {}\ndata: {}\n\n", notice.kind, notice.body)
}
