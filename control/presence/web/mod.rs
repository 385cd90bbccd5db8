// SPDX-License-Identifier: MIT OR Apache-2.0
//! The web service for users and their software, and the page that uses it.
//!
//! One HTTPS listener, off unless the configuration has a `[web]` table. Behind it: REST ([`api`], described by `openapi.json`),
//! events as they happen ([`events`]), SOAP for clients of CUP's Client Configuration Web Service ([`soap`]), and the page ([`page`]).
//! All of them only translate: what is decided is decided by the core, which is asked by [`Command`]s as the control socket asks it.
//!
//! HTTP/1.1 by hyper, routes by axum. Bounds: connections in all and of one address, octets and seconds of a request ([`guard`]),
//! seconds a client may leave an answer unread ([`STALL`]), sessions and wrong passwords ([`session`]), what waits for a
//! stream ([`events::QUEUE`]). A client that is slow holds its own connection and nothing else.
//!
//! Tasks of the driver's runtime.

mod api;
mod events;
mod guard;
mod page;
mod problem;
mod session;
pub(crate) mod soap;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use crate::config::{Config, Web};
use crate::directory::Directory;
use crate::driver::Asked;
use crate::node::{Command, Reply};
use crate::transport::{Places, TransportError, https};

/// For a connection to be secured.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For a request's head to come; a connection without a request is closed after that as well.
const HEAD: Duration = Duration::from_secs(30);
/// As long as a client may leave unread what it is sent.
const STALL: Duration = Duration::from_secs(30);
/// Octets of a request's head.
const MAX_HEAD: usize = 16 << 10;
/// Header lines of a request.
const MAX_HEADERS: usize = 64;
/// For the core to say what became of a command: longer than a session with a foreign user may take to be made.
const ANSWER: Duration = Duration::from_secs(150);

/// What the service has counted; read by the core's statistics.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Requests, and those that were answered by 400 or more.
    requests: AtomicU64,
    failures: AtomicU64,
    /// Logins, wrong ones, and those not looked at because too many before them had been wrong.
    logins: AtomicU64,
    logins_wrong: AtomicU64,
    logins_limited: AtomicU64,
    /// Requests from pages that are not ours.
    cross_site: AtomicU64,
    /// Connections turned away because there were too many, and handshakes that came to nothing.
    connections_refused: AtomicU64,
    handshakes_failed: AtomicU64,
    /// Sessions there are.
    sessions: AtomicU64,
}

impl Counters {
    /// As statistics show them.
    pub(crate) fn shown(&self) -> Value {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        json!({
            "requests": of(&self.requests),
            "failures": of(&self.failures),
            "logins": of(&self.logins),
            "logins-wrong": of(&self.logins_wrong),
            "logins-limited": of(&self.logins_limited),
            "cross-site": of(&self.cross_site),
            "connections-refused": of(&self.connections_refused),
            "handshakes-failed": of(&self.handshakes_failed),
            "sessions": of(&self.sessions),
        })
    }
}

fn one_more(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What all requests share.
struct Service {
    asked: mpsc::Sender<Asked>,
    /// What judges the passwords of those who are in it.
    directory: Option<Arc<Directory>>,
    sessions: Mutex<session::Sessions>,
    attempts: Mutex<session::Attempts>,
    counters: Arc<Counters>,
    /// Listeners there have been.
    listeners: AtomicU64,
    /// The node's name, its domains (names without one are looked for in the first), and the foreign ones it permits.
    name: String,
    domains: Vec<String>,
    permitted: Vec<String>,
}

type Shared = Arc<Service>;

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
struct From(IpAddr);

impl Service {
    fn new(
        cfg: &Config,
        web: &Web,
        asked: mpsc::Sender<Asked>,
        directory: Option<Arc<Directory>>,
        counters: Arc<Counters>,
    ) -> Shared {
        Arc::new(Self {
            asked,
            directory,
            sessions: Mutex::new(session::Sessions::new(web.sessions, Duration::from_secs(web.session_idle))),
            attempts: Mutex::default(),
            counters,
            listeners: AtomicU64::new(0),
            name: cfg.name.clone(),
            domains: cfg.domains.clone(),
            permitted: cfg.federation.permitted.clone(),
        })
    }

    /// Asks the core. `None` where the node is ending, or takes too long.
    async fn ask(&self, command: Command) -> Option<Reply> {
        let (reply, replied) = oneshot::channel();
        self.asked.send(Asked::Command(command, reply)).await.ok()?;
        timeout(ANSWER, replied).await.ok()?.ok()
    }

    fn sessions(&self) -> MutexGuard<'_, session::Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attempts(&self) -> MutexGuard<'_, session::Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens where the configuration says; the address that was bound.
pub(crate) async fn start(
    cfg: &Config,
    web: &Web,
    asked: mpsc::Sender<Asked>,
    directory: Option<Arc<Directory>>,
    counters: Arc<Counters>,
) -> Result<SocketAddr, TransportError> {
    let failed = |why| TransportError::Bind(web.listen, why);
    let tls = match &cfg.tls {
        Some(files) => TlsAcceptor::from(https(files)?),
        None => return Err(failed(std::io::Error::other("no certificates are configured"))),
    };
    let listener = TcpListener::bind(web.listen).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let places = Places::new(web.connections, web.connections_per_address);
    let service = Service::new(cfg, web, asked, directory, counters);
    tokio::spawn(accept(listener, tls, places, router(service.clone()), service));
    Ok(bound)
}

/// All there is to ask for.
fn router(service: Shared) -> Router {
    let mut router = Router::new();
    for (_, path, route) in api::routes().into_iter().chain(soap::routes()).chain(page::routes()) {
        // The same path with another method is merged by axum.
        router = router.route(path, route);
    }
    let guarded = axum::middleware::from_fn_with_state(service.clone(), guard::guard);
    router
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::not_allowed)
        .layer(guarded)
        .with_state(service)
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, places: Places, router: Router, service: Shared) {
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(why) => {
                // Out of descriptors, most likely: the next try may do.
                tracing::warn!(%why, "cannot accept a web client");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(place) = places.take(from.ip()) else {
            one_more(&service.counters.connections_refused);
            tracing::info!(%from, "too many web clients");
            continue;
        };
        let (tls, router, service) = (tls.clone(), router.clone(), service.clone());
        tokio::spawn(async move {
            if let Err(why) = serve(stream, from.ip(), tls, router, &service).await {
                tracing::debug!(%from, why, "a web client");
            }
            drop(place);
        });
    }
}

/// One connection, from its handshake to its end.
async fn serve(
    stream: TcpStream,
    from: IpAddr,
    tls: TlsAcceptor,
    router: Router,
    service: &Service,
) -> Result<(), String> {
    stream.set_nodelay(true).map_err(|why| why.to_string())?;
    let secured = match timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(secured) => secured.map_err(|why| why.to_string()),
        Err(_) => Err("the handshake took too long".to_owned()),
    };
    let secured = secured.inspect_err(|_| one_more(&service.counters.handshakes_failed))?;
    let mut patient = TimeoutStream::new(secured);
    patient.set_write_timeout(Some(STALL));
    let from = From(from.to_canonical());
    let answer = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(from);
        router.clone().call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(Box::pin(patient)), answer);
    served.await.map_err(|why| why.to_string())
}

#[cfg(test)]
mod tests;
