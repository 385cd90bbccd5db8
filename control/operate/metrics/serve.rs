// SPDX-License-Identifier: MIT OR Apache-2.0
//! `metrics http ADDRESS PORT`: `GET /metrics`, and nothing else.
//!
//! HTTP/1.1 by hyper, one request a connection, at most [`SEATS`] at a time, each done in [`PATIENCE`] or ended: what hangs or floods costs
//! control that and no more. No TLS and no password: the address is to be one that only the monitoring reaches. One that is not there yet (an
//! interface that comes up later) is tried again each second. On the daemon's one thread.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{interval, timeout};

use super::collect::collect;
use super::domains::Ranking;
use super::page::{OPENMETRICS, OPENMETRICS_TYPE, PLAIN_TYPE};
use crate::operate::daemon::Daemon;

/// Connections at a time.
pub const SEATS: usize = 8;
/// How long one may take from its beginning to its end.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What became of it, for `show metrics`.
#[derive(Debug, Default)]
pub struct Metrics {
    ranking: RefCell<Ranking>,
    /// Where it listens.
    pub listening: Cell<Option<SocketAddr>>,
    /// Why it does not.
    pub why: RefCell<String>,
    /// Pages handed out.
    pub pages: Cell<u64>,
    /// Connections turned away for want of a seat, and those that took too long.
    pub refused: Cell<u64>,
    taken: Cell<usize>,
}

impl Daemon {
    /// Serves where the configuration says, for as long as the daemon lives.
    pub(in crate::operate) async fn serve_metrics(self: Rc<Self>) {
        let mut listener: Option<TcpListener> = None;
        let mut tried = None;
        let mut second = interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                _ = second.tick() => {}
                accepted = next(listener.as_ref()) => {
                    match accepted {
                        Ok((stream, _)) => drop(tokio::task::spawn_local(self.clone().seat(stream))),
                        // Out of descriptors, most likely: the next second may have some.
                        Err(why) => {
                            tracing::error!("cannot accept a reader of metrics: {why}");
                            second.tick().await;
                        }
                    }
                    continue;
                }
            }
            let (metrics, wanted) = (self.metrics(), self.config().model.metrics);
            if metrics.listening.get() != wanted {
                drop(listener.take());
                metrics.listening.set(None);
                let bound = match wanted {
                    Some(wanted) => TcpListener::bind(wanted).await.map(Some),
                    None => Ok(None),
                };
                match bound {
                    Ok(bound) => {
                        metrics.listening.set(wanted);
                        metrics.why.borrow_mut().clear();
                        listener = bound;
                    }
                    Err(why) => {
                        if tried != wanted {
                            tracing::error!("metrics: cannot listen yet: {why}");
                        }
                        metrics.why.replace(why.to_string());
                    }
                }
                tried = wanted;
            }
            self.rank(wanted.is_some());
        }
    }

    fn rank(&self, wanted: bool) {
        let mut ranking = self.metrics().ranking.borrow_mut();
        let attached = self.attached();
        let (true, Some(attached)) = (wanted, attached) else { return ranking.clear() };
        self.with_table(|table| ranking.look(table, &attached.counters, |id| self.domain_base(id)));
    }

    async fn seat(self: Rc<Self>, stream: TcpStream) {
        let metrics = self.metrics();
        let one_more = |of: &Cell<u64>| of.set(of.get() + 1);
        if metrics.taken.get() >= SEATS {
            return one_more(&metrics.refused);
        }
        metrics.taken.set(metrics.taken.get() + 1);
        let service = service_fn(|request| {
            let answer = self.answer(&request);
            async { Ok::<_, Infallible>(answer) }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .keep_alive(false)
            .max_buf_size(8192)
            .serve_connection(TokioIo::new(stream), service);
        match timeout(PATIENCE, served).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => tracing::debug!("a reader of metrics: {why}"),
            Err(_) => one_more(&metrics.refused),
        }
        metrics.taken.set(metrics.taken.get() - 1);
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let status = |status, text: &'static str| {
            let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
            *response.status_mut() = status;
            response
        };
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return status(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
        }
        if request.uri().path() != "/metrics" {
            return status(StatusCode::NOT_FOUND, "the page is /metrics\n");
        }
        let accepts = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
        let open = accepts.is_some_and(|accept| accept.contains(OPENMETRICS));
        let page = collect(self, &self.metrics().ranking.borrow());
        let (page, kind) = match open {
            true => (page.openmetrics(), OPENMETRICS_TYPE),
            false => (page.plain(), PLAIN_TYPE),
        };
        let Ok(page) = page else {
            return status(StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be written\n");
        };
        self.metrics().pages.set(self.metrics().pages.get() + 1);
        let mut response = Response::new(Full::new(Bytes::from(page)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }
}

async fn next(listener: Option<&TcpListener>) -> std::io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}
