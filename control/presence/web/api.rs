// SPDX-License-Identifier: MIT OR Apache-2.0
//! REST: what a user's own software may ask and decide, under `/api/v1`.
//!
//! `openapi.json` describes each of these and is served beside them; a test holds routes and answers against it. A session comes by POST to
//! `session` and is shown as a cookie, which a browser sends and no script can read, or as a bearer token. A program that wants the token asks for
//! it; a page never sees one. What a call has changed is on the disk when it returns.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::problem::Problem;
use super::session::{Key, key_of, secret};
use super::{From, Service, Shared, events, one_more};
use crate::aor::Aor;
use crate::node::{Command, Password, Reply};

/// The cookie: bound to this host, its root path and TLS by its name's prefix.
const COOKIE: &str = "__Host-fedgate";
/// The description of all this.
const OPENAPI: &str = include_str!("openapi.json");
/// For the directory to judge a password.
const DIRECTORY: Duration = Duration::from_secs(15);
/// Octets of a name or a password that are looked at.
const MAX_CREDENTIAL: usize = 1_024;

/// A method, a path and what stands behind them.
pub(super) type Route = (&'static str, &'static str, MethodRouter<Shared>);

pub(super) fn routes() -> Vec<Route> {
    vec![
        ("post", "/api/v1/session", post(log_in)),
        ("get", "/api/v1/session", get(session)),
        ("delete", "/api/v1/session", delete(log_out)),
        ("get", "/api/v1/state", get(state)),
        ("get", "/api/v1/events", get(events::events)),
        ("get", "/api/v1/contacts", get(async |s: State<Shared>, u: User| part(s, u, "contacts").await)),
        ("put", "/api/v1/contacts/{address}", put(put_contact)),
        ("delete", "/api/v1/contacts/{address}", delete(delete_contact)),
        ("get", "/api/v1/watchers", get(async |s: State<Shared>, u: User| part(s, u, "watchers").await)),
        ("get", "/api/v1/decisions", get(async |s: State<Shared>, u: User| part(s, u, "decisions").await)),
        ("put", "/api/v1/decisions/{who}", put(put_decision)),
        ("delete", "/api/v1/decisions/{who}", delete(delete_decision)),
        ("get", "/api/v1/presence", get(async |s: State<Shared>, u: User| part(s, u, "presence").await)),
        ("put", "/api/v1/presence", put(put_presence)),
        ("delete", "/api/v1/presence", delete(delete_presence)),
        (
            "get",
            "/api/v1/preferences",
            get(async |s: State<Shared>, u: User| part(s, u, "preferences").await),
        ),
        ("put", "/api/v1/preferences/{name}", put(put_preference)),
        ("delete", "/api/v1/preferences/{name}", delete(delete_preference)),
        ("post", "/api/v1/texts", post(post_text)),
        ("post", "/api/v1/texts/{id}/received", post(text_received)),
        ("get", "/api/v1/openapi.json", get(openapi)),
    ]
}

/// Who asks, by his session.
pub(super) struct User {
    pub(super) address: String,
    pub(super) session: Key,
}

impl FromRequestParts<Shared> for User {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, service: &Shared) -> Result<Self, Problem> {
        let session = key_of(shown(&parts.headers).ok_or_else(Problem::nobody)?);
        let address = service.sessions().use_it(&session, Instant::now()).ok_or_else(Problem::nobody)?;
        Ok(Self { address, session })
    }
}

/// The secret that a request shows. A bearer's goes before a cookie.
fn shown(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).map(|value| {
        let (scheme, secret) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(secret.trim())
    });
    bearer.unwrap_or_else(|| {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        cookies.flat_map(|line| line.split(';')).find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            (name.trim() == COOKIE).then_some(value.trim())
        })
    })
}

/// The body, which must be JSON and say so.
fn read<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be application/json"));
    }
    serde_json::from_slice(body).map_err(|why| Problem::new(StatusCode::BAD_REQUEST, why.to_string()))
}

fn json_response(status: StatusCode, value: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, value.to_string()).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    user: String,
    password: Password,
    /// The secret is wanted in the answer, and no cookie.
    #[serde(default)]
    bearer: bool,
}

async fn log_in(
    State(service): State<Shared>,
    from: From,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let Credentials { user, password, bearer } = read(&headers, &body)?;
    let (secret, user) = service.log_in(from.0, &user, password).await?;
    let seconds = service.sessions().idle();
    if bearer {
        let told = json!({ "user": user, "token": secret, "idle": seconds });
        return Ok(json_response(StatusCode::OK, &told));
    }
    let mut response = json_response(StatusCode::OK, &json!({ "user": user, "idle": seconds }));
    set_cookie(&mut response, &format!("{COOKIE}={secret}; Path=/; Secure; HttpOnly; SameSite=Strict"));
    Ok(response)
}

fn set_cookie(response: &mut Response, cookie: &str) {
    if let Ok(value) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
}

impl Service {
    /// A new session for who proves himself; its secret and the user's address.
    pub(super) async fn log_in(
        &self,
        from: IpAddr,
        user: &str,
        password: Password,
    ) -> Result<(String, String), Problem> {
        one_more(&self.counters.logins);
        if user.len() > MAX_CREDENTIAL || password.len() > MAX_CREDENTIAL {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "the name or the password is too long",
            ));
        }
        let name = user.trim();
        let domain = self.domains.first().map_or("", String::as_str);
        let name = if name.contains('@') { name.to_owned() } else { format!("{name}@{domain}") };
        // One user is one user however he is written, so that nobody is tried more often under other names.
        let name = Aor::parse(&name).map_or(name, |aor| aor.as_str().to_owned());
        {
            let (mut attempts, now) = (self.attempts(), Instant::now());
            if let Some(seconds) = attempts.wait(from, &name, now) {
                one_more(&self.counters.logins_limited);
                let detail = "too many wrong passwords; try again later";
                return Err(Problem::later(StatusCode::TOO_MANY_REQUESTS, detail, seconds));
            }
            attempts.tried(from, &name, now);
        }
        let judged = self.judge(&name, password).await;
        let judged = judged.inspect_err(|_| self.attempts().not_judged(from, &name))?;
        let Some(user) = judged else {
            one_more(&self.counters.logins_wrong);
            return Err(Problem::new(StatusCode::UNAUTHORIZED, "the name or the password is wrong"));
        };
        self.attempts().right(from, &name);
        let secret = secret().ok_or_else(Problem::ending)?;
        let mut sessions = self.sessions();
        let begun = sessions.begin(key_of(&secret), &user, Instant::now());
        self.count_sessions(sessions.len());
        begun.map_err(|()| Problem::later(StatusCode::SERVICE_UNAVAILABLE, "too many are logged in", 60))?;
        Ok((secret, user))
    }

    /// The address of who has this password: by what the node knows, or by the directory.
    async fn judge(&self, name: &str, password: Password) -> Result<Option<String>, Problem> {
        let command = Command::LogIn { user: name.to_owned(), password: password.clone() };
        let Reply::Told(told) = self.ask(command).await.ok_or_else(Problem::ending)? else { return Ok(None) };
        if let Some(dn) = told["directory"].as_str() {
            let late =
                || Problem::later(StatusCode::SERVICE_UNAVAILABLE, "the directory does not answer", 10);
            let directory = self.directory.as_ref().ok_or_else(late)?;
            let judged =
                timeout(DIRECTORY, directory.judges(dn, password.text())).await.map_err(|_| late())?;
            let good = judged.map_err(|why| {
                tracing::warn!(%why, "nobody can be judged");
                late()
            })?;
            if !good {
                return Ok(None);
            }
        }
        Ok(told["user"].as_str().map(str::to_owned))
    }

    /// Ends a session.
    pub(super) fn log_out(&self, session: &Key) -> bool {
        let mut sessions = self.sessions();
        let ended = sessions.end(session);
        self.count_sessions(sessions.len());
        ended
    }

    fn count_sessions(&self, count: usize) {
        self.counters.sessions.store(count as u64, std::sync::atomic::Ordering::Relaxed);
    }
}

impl FromRequestParts<Shared> for From {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Problem> {
        parts.extensions.get().copied().ok_or_else(Problem::ending)
    }
}

async fn session(State(service): State<Shared>, user: User) -> Response {
    let told = json!({ "user": user.address, "idle": service.sessions().idle() });
    json_response(StatusCode::OK, &told)
}

async fn log_out(State(service): State<Shared>, user: User) -> Response {
    service.log_out(&user.session);
    let mut response = StatusCode::NO_CONTENT.into_response();
    set_cookie(&mut response, &format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0"));
    // What the browser has kept of the user goes with it.
    let clear = HeaderValue::from_static("\"storage\"");
    response.headers_mut().insert(HeaderName::from_static("clear-site-data"), clear);
    response
}

async fn state(State(service): State<Shared>, user: User) -> Result<Response, Problem> {
    Ok(json_response(StatusCode::OK, &service.show(&user).await?))
}

/// One part of the state.
async fn part(State(service): State<Shared>, user: User, name: &str) -> Result<Response, Problem> {
    let state = service.show(&user).await?;
    Ok(json_response(StatusCode::OK, &state[name]))
}

impl Service {
    async fn show(&self, user: &User) -> Result<Value, Problem> {
        match self.ask(Command::Show { user: user.address.clone() }).await {
            Some(Reply::Told(state)) => Ok(state),
            // A session of a user who is none any more.
            Some(_) => Err(Problem::nobody()),
            None => Err(Problem::ending()),
        }
    }

    /// Does what changes something; `refused` is the status of what cannot be done.
    async fn change(&self, command: Command, refused: StatusCode) -> Result<Response, Problem> {
        match self.ask(command).await.ok_or_else(Problem::ending)? {
            Reply::Done | Reply::Told(_) => Ok(StatusCode::NO_CONTENT.into_response()),
            Reply::Refused(why) => Err(Problem::new(refused, why)),
            Reply::Failed(status) => Err(Problem::undelivered(status)),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    #[serde(default)]
    name: String,
    groups: Option<Vec<String>>,
}

async fn put_contact(
    State(service): State<Shared>,
    user: User,
    Path(contact): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let Listed { name, groups } = read(&headers, &body)?;
    let command = Command::AddContact { user: user.address, contact, name, groups };
    service.change(command, StatusCode::UNPROCESSABLE_ENTITY).await
}

async fn delete_contact(
    State(service): State<Shared>,
    user: User,
    Path(contact): Path<String>,
) -> Result<Response, Problem> {
    service.change(Command::RemoveContact { user: user.address, contact }, StatusCode::NOT_FOUND).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decided {
    verdict: String,
}

async fn put_decision(
    State(service): State<Shared>,
    user: User,
    Path(who): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let Decided { verdict } = read(&headers, &body)?;
    let command = Command::Decide { user: user.address, who, verdict: Some(verdict) };
    service.change(command, StatusCode::UNPROCESSABLE_ENTITY).await
}

async fn delete_decision(
    State(service): State<Shared>,
    user: User,
    Path(who): Path<String>,
) -> Result<Response, Problem> {
    let command = Command::Decide { user: user.address, who, verdict: None };
    service.change(command, StatusCode::UNPROCESSABLE_ENTITY).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Published {
    state: String,
    #[serde(default)]
    note: String,
    seconds: Option<u32>,
}

async fn put_presence(
    State(service): State<Shared>,
    user: User,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let Published { state, note, seconds } = read(&headers, &body)?;
    let command = Command::SetState { user: user.address, state: Some(state), note, seconds };
    service.change(command, StatusCode::UNPROCESSABLE_ENTITY).await
}

async fn delete_presence(State(service): State<Shared>, user: User) -> Result<Response, Problem> {
    let command = Command::SetState { user: user.address, state: None, note: String::new(), seconds: None };
    service.change(command, StatusCode::UNPROCESSABLE_ENTITY).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Preferred {
    value: String,
}

async fn put_preference(
    State(service): State<Shared>,
    user: User,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let Preferred { value } = read(&headers, &body)?;
    let command = Command::Prefer { user: user.address, name, value: Some(value) };
    service.change(command, StatusCode::UNPROCESSABLE_ENTITY).await
}

async fn delete_preference(
    State(service): State<Shared>,
    user: User,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let command = Command::Prefer { user: user.address, name, value: None };
    service.change(command, StatusCode::NOT_FOUND).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    to: String,
    text: String,
}

async fn post_text(
    State(service): State<Shared>,
    user: User,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let Said { to, text } = read(&headers, &body)?;
    let command = Command::Say { user: user.address, to, text };
    service.change(command, StatusCode::UNPROCESSABLE_ENTITY).await
}

async fn text_received(
    State(service): State<Shared>,
    user: User,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    service.change(Command::Received { user: user.address, id }, StatusCode::NOT_FOUND).await
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}
