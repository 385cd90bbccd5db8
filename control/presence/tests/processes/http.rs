// SPDX-License-Identifier: MIT OR Apache-2.0
//! HTTP as a test speaks it: one request a connection, octets as they are, and every answer held against the service's own description.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::connect;
use crate::tls::{Ca, provider};

/// Where users' clients come from.
pub const CLIENT: &str = "127.0.0.4:0";
const PATIENCE: Duration = Duration::from_secs(13);

pub type Connection = TlsStream<tokio::net::TcpStream>;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub fn text(&self) -> &str {
        &self.body
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// A client of the service.
pub struct Http {
    to: SocketAddr,
    tls: Arc<ClientConfig>,
    openapi: Value,
    /// The headers that say who asks.
    pub identity: String,
    /// Operations and statuses that have been seen.
    pub seen: Mutex<BTreeSet<String>>,
}

impl Http {
    pub fn new(ca: &Ca, to: SocketAddr) -> Self {
        let tls = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(ca.roots())
            .with_no_client_auth();
        let openapi = serde_json::from_str(include_str!("../../web/openapi.json")).expect("JSON");
        Self { to, tls: Arc::new(tls), openapi, identity: String::new(), seen: Mutex::default() }
    }

    pub async fn connect(&self) -> Connection {
        let stream = connect(CLIENT, self.to).await;
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(self.tls.clone()).connect(name, stream).await.expect("TLS")
    }

    /// Asks the API; the answer must be as it is described.
    pub async fn api(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let json = body.map(|body| body.to_string());
        let kind = json.as_ref().map_or("", |_| "Content-Type: application/json\r\n");
        self.api_with(method, path, kind, json.as_deref().unwrap_or_default()).await
    }

    /// As [`Http::api`], with other headers and any body.
    pub async fn api_with(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let headers = format!("{headers}{}", self.identity);
        let answer = self.ask(method, &format!("/api/v1{path}"), &headers, body).await;
        self.check(method, path, &answer);
        answer
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let mut stream = self.connect().await;
        let length = body.len();
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}",
            self.to.port()
        );
        stream.write_all(text.as_bytes()).await.expect("sent");
        read_answer(&mut stream).await
    }

    /// The stream of events, its head having been read.
    pub async fn events(&self) -> Events {
        let mut stream = self.connect().await;
        let text = format!(
            "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{}\r\n",
            self.identity
        );
        stream.write_all(text.as_bytes()).await.expect("sent");
        self.seen.lock().expect("whole").insert("get /events 200".to_owned());
        let mut events = Events { stream, read: String::new() };
        let head = events.until("\r\n\r\n").await.expect("a head");
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/event-stream"), "{head}");
        events
    }

    /// Holds an answer against the description.
    fn check(&self, method: &str, path: &str, answer: &Answer) {
        let asked: Vec<&str> = path.split('/').collect();
        let paths = self.openapi["paths"].as_object().expect("paths");
        let (template, item) = paths
            .iter()
            .find(|(template, _)| {
                let parts: Vec<&str> = template.split('/').collect();
                parts.len() == asked.len()
                    && parts.iter().zip(&asked).all(|(part, asked)| part.starts_with('{') || part == asked)
            })
            .unwrap_or_else(|| panic!("{path} is not described"));
        let method = method.to_ascii_lowercase();
        let status = answer.status.to_string();
        let mut described = &item[&method]["responses"][&status];
        let what = format!("{method} {template} {status}");
        assert!(!described.is_null(), "{what} is not described: {}", answer.body);
        if let Some(name) =
            described["$ref"].as_str().and_then(|name| name.strip_prefix("#/components/responses/"))
        {
            described = &self.openapi["components"]["responses"][name];
        }
        match described["content"].as_object().and_then(|content| content.iter().next()) {
            None => assert!(answer.body.is_empty(), "{what}: {}", answer.body),
            Some((kind, content)) => {
                assert_eq!(answer.header("content-type"), Some(kind.as_str()), "{what}");
                let schema = json!({
                    "$ref": content["schema"]["$ref"].clone(),
                    "type": content["schema"]["type"].clone(),
                    "items": content["schema"]["items"].clone(),
                    "components": self.openapi["components"].clone(),
                });
                let schema: serde_json::Map<_, _> = match schema {
                    Value::Object(all) => all.into_iter().filter(|(_, value)| !value.is_null()).collect(),
                    _ => unreachable!("an object"),
                };
                let validator = jsonschema::validator_for(&Value::Object(schema)).expect("a schema");
                let wrong: Vec<String> =
                    validator.iter_errors(&answer.json()).map(|error| error.to_string()).collect();
                assert!(wrong.is_empty(), "{what}: {wrong:?} in {}", answer.body);
            }
        }
        let headers = described["headers"].as_object().into_iter().flatten();
        for (name, _) in headers.filter(|(_, header)| header["required"] == true) {
            assert!(answer.header(name).is_some(), "{what} without {name}");
        }
        self.seen.lock().expect("whole").insert(what);
    }

    /// Every operation that is described.
    pub fn operations(&self) -> Vec<String> {
        let paths = self.openapi["paths"].as_object().expect("paths").iter();
        paths
            .flat_map(|(path, item)| {
                item.as_object().expect("operations").keys().map(move |method| format!("{method} {path} "))
            })
            .collect()
    }
}

/// Reads what the node answers until it closes.
pub async fn read_answer(stream: &mut Connection) -> Answer {
    let mut octets = Vec::new();
    // A close without TLS's own is the node's to make when it gives up on us.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut octets)).await.expect("in time");
    let text = String::from_utf8(octets).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text}"));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// A stream of events.
pub struct Events {
    stream: Connection,
    read: String,
}

impl Events {
    async fn until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(at) = self.read.find(end) {
                let rest = self.read.split_off(at + end.len());
                return Some(std::mem::replace(&mut self.read, rest));
            }
            let mut octets = [0; 4_096];
            match timeout(PATIENCE, self.stream.read(&mut octets)).await {
                Ok(Ok(count)) if count > 0 => {
                    self.read.push_str(std::str::from_utf8(&octets[..count]).expect("text"))
                }
                _ => return None,
            }
        }
    }

    /// The next event: what it is and what it says. `None` where the stream has ended, or nothing comes.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            let text = self.until("\n\n").await?;
            // Between them stand the sizes of HTTP's chunks, and comments.
            let Some(event) = text.lines().find_map(|line| line.strip_prefix("event: ")) else { continue };
            let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
            return Some((event.to_owned(), serde_json::from_str(data).expect("JSON")));
        }
    }

    /// The next event of this kind, whatever comes before.
    pub async fn expect(&mut self, kind: &str) -> Value {
        loop {
            let (event, data) = self.next().await.unwrap_or_else(|| panic!("no {kind}"));
            if event == kind {
                return data;
            }
        }
    }
}
