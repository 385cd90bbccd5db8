// SPDX-License-Identifier: MIT OR Apache-2.0
//! SOAP for clients that were written for Cisco Unified Presence: its Client Configuration Web Service.
//!
//! Where that service is looked for (`/EPASSoap/service`, with or without a version), in its namespace, under its names: `login` gives a
//! session key, which the header of everything else bears; contacts, the user's configuration and who may see him. `service.wsdl`
//! is the contract; an answer to SOAP 1.1 is SOAP 1.1, and one to 1.2 is 1.2. It is the same sessions, the same
//! limits and the same commands as the REST ones.
//!
//! Contacts stand in groups, and in [`GROUP`] if they stand in no other. What CUP has and the node has not: application users who log others in. An
//! unknown operation is a fault that names it. What cannot be done is said inside the answer (`failure`), as CUP says it; a request that is no
//! such request is a fault.

mod envelope;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde_json::Value;

use super::api::Route;
use super::session::key_of;
use super::{From, Service, Shared};
use crate::aor::Aor;
use crate::contact::Contact;
use crate::node::{Command, Password, Reply};
use crate::xml::{Element, escape};
#[cfg(any(test, fuzzing))]
pub(crate) use envelope::fuzzed;
use envelope::{Envelope, Fault, Version};

/// The contract; its addresses are those under which it was asked for.
const WSDL: &str = include_str!("service.wsdl");
/// The versions of CUP's interface that are answered to.
const VERSIONS: [&str; 3] = ["v70", "v80", "v105"];
/// The group of those who stand in no other.
const GROUP: &str = "General";
/// What becomes of watchers nobody has decided about, as a preference.
const UNKNOWN: &str = "unknown-watchers";

pub(in crate::web) fn routes() -> Vec<Route> {
    vec![
        ("post", "/EPASSoap/service", post(call)),
        ("post", "/EPASSoap/service/{version}", post(call)),
        ("get", "/EPASSoap/service", get(wsdl)),
        ("get", "/EPASSoap/service/{version}", get(wsdl)),
    ]
}

async fn wsdl(headers: HeaderMap) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    ([(header::CONTENT_TYPE, "text/xml; charset=utf-8")], WSDL.replace("HOST", &escape(host))).into_response()
}

async fn call(State(service): State<Shared>, from: From, body: Bytes) -> Response {
    match Envelope::read(&body) {
        Ok(envelope) => {
            let answer = service.soap(&envelope, from).await;
            envelope.version.response(answer)
        }
        Err((version, fault)) => version.unwrap_or(Version::V11).response(Err(fault)),
    }
}

impl Service {
    /// The answer's element, or the fault.
    async fn soap(&self, envelope: &Envelope, from: From) -> Result<String, Fault> {
        let request = &envelope.request;
        if request.name == "login" {
            return Ok(answer("login", &self.soap_login(request, from).await));
        }
        let secret =
            envelope.session_key.as_deref().ok_or_else(|| Fault::sender("the header has no session-key"))?;
        let session = key_of(secret);
        let user = self.sessions().use_it(&session, Instant::now());
        let user = user.ok_or_else(|| Fault::sender("the session-key is not valid, or not any more"))?;
        let body = match request.name.as_str() {
            "logout" => {
                self.log_out(&session);
                SUCCESS.to_owned()
            }
            "get-all-config" => self.all_config(request, &user).await?,
            "get-system-config" => self.system_config(),
            "get-user-config" => user_config(&self.state(&user).await?),
            "set-user-config" => self.set_user_config(request, &user).await?,
            "get-contact-list" => contact_list(&self.state(&user).await?),
            "add-contact" => self.change_contacts(request, &user, true).await?,
            "delete-contact" => self.change_contacts(request, &user, false).await?,
            "get-privacy-policy" => return Ok(privacy_policy(&self.state(&user).await?)),
            "set-privacy-policy" => self.set_privacy_policy(request, &user).await?,
            "get-watchers" => watchers(&self.state(&user).await?),
            other => return Err(Fault::sender(&format!("{other}: no such operation"))),
        };
        Ok(answer(&request.name, &body))
    }

    async fn soap_login(&self, request: &Element, from: From) -> String {
        let child = |name: &str| request.children.iter().find(|child| child.name == name);
        let (Some(user), Some(password)) = (child("username"), child("password")) else {
            return failure("a username and its password are needed; there are no application users here");
        };
        match self.log_in(from.0, user.text.trim(), Password::new(&password.text)).await {
            Ok((secret, _)) => {
                let versions: String = VERSIONS
                    .iter()
                    .map(|version| format!("<epas:version>{version}</epas:version>"))
                    .collect();
                format!(
                    "<epas:success><epas:session-key>{secret}</epas:session-key>{versions}</epas:success>"
                )
            }
            Err(problem) => failure(problem.detail()),
        }
    }

    async fn state(&self, user: &str) -> Result<Value, Fault> {
        match self.ask(Command::Show { user: user.to_owned() }).await {
            Some(Reply::Told(state)) => Ok(state),
            Some(_) => Err(Fault::sender("the session-key is not valid any more")),
            None => Err(Fault::ending()),
        }
    }

    /// Does all of these; what cannot be done is named, and the rest is done.
    async fn change_all(&self, commands: Vec<Command>) -> Result<String, Fault> {
        Ok(outcome(&self.failures(commands).await?))
    }

    async fn failures(&self, commands: Vec<Command>) -> Result<Vec<String>, Fault> {
        let mut failed = Vec::new();
        for command in commands {
            match self.ask(command).await.ok_or_else(Fault::ending)? {
                Reply::Done | Reply::Told(_) => {}
                Reply::Refused(why) => failed.push(why),
                Reply::Failed(status) => failed.push(status.to_string()),
            }
        }
        Ok(failed)
    }

    async fn all_config(&self, request: &Element, user: &str) -> Result<String, Fault> {
        let wants = |name: &str| request.children.iter().any(|child| child.name == name);
        let state = self.state(user).await?;
        let mut body = String::new();
        if wants("system-config") {
            body.push_str(&answer("get-system-config", &self.system_config()));
        }
        if wants("user-config") {
            body.push_str(&answer("get-user-config", &user_config(&state)));
        }
        if wants("federated-domains") {
            let domains: String = self
                .permitted
                .iter()
                .map(|name| format!("<epas:domain>{}</epas:domain>", escape(name)))
                .collect();
            body.push_str(&answer("get-federated-domains", &domains));
        }
        if wants("contact-info") {
            body.push_str(&answer("get-contact-info", &contact_list(&state)));
        }
        Ok(body)
    }

    fn system_config(&self) -> String {
        let domain = self.domains.first().map_or("", String::as_str);
        property("Presence.Domain", domain) + &property("Presence.Server", &self.name)
    }

    async fn set_user_config(&self, request: &Element, user: &str) -> Result<String, Fault> {
        let properties = request.children.iter().filter(|child| child.name == "property");
        let commands = properties.map(|property| Command::Prefer {
            user: user.to_owned(),
            name: property.attribute("name").unwrap_or_default().to_owned(),
            value: Some(property.text.clone()),
        });
        self.change_all(commands.collect()).await
    }

    async fn change_contacts(&self, request: &Element, user: &str, add: bool) -> Result<String, Fault> {
        let mut list = entries(&self.state(user).await?);
        let (mut changed, mut failed) = (BTreeSet::new(), Vec::new());
        for group in request.children.iter().filter(|child| child.name == "group") {
            let group_name =
                group.attribute("name").map(str::trim).filter(|name| !matches!(*name, "" | GROUP));
            for persona in group.children.iter().filter(|child| child.name == "persona-id") {
                let contact = self.address(persona);
                let contact = Aor::parse(&contact).map_or(contact, |aor| aor.to_string());
                if add {
                    let entry = list.entry(contact.clone()).or_default().get_or_insert_default();
                    if let Some(name) = persona.attribute("nickname") {
                        entry.name = name.to_owned();
                    }
                    entry.groups.extend(group_name.map(str::to_owned));
                } else if let Some(Some(entry)) = list.get_mut(&contact)
                    && group_name
                        .map_or(entry.groups.is_empty(), |name| entry.groups.iter().any(|g| g == name))
                {
                    entry.groups.retain(|other| Some(other.as_str()) != group_name);
                    // Who is taken out of the last one is gone.
                    if entry.groups.is_empty() {
                        list.insert(contact.clone(), None);
                    }
                } else {
                    failed.push(format!("{contact}: not in the group {}", group_name.unwrap_or(GROUP)));
                    continue;
                }
                changed.insert(contact);
            }
        }
        let commands = changed.into_iter().map(|contact| {
            let user = user.to_owned();
            match list.remove(&contact).flatten() {
                Some(Contact { name, groups }) => {
                    Command::AddContact { user, contact, name, groups: Some(groups) }
                }
                None => Command::RemoveContact { user, contact },
            }
        });
        failed.extend(self.failures(commands.collect()).await?);
        Ok(outcome(&failed))
    }

    /// A persona's address: whole, or completed by its domain or ours.
    fn address(&self, persona: &Element) -> String {
        let id = persona.text.trim();
        let domain = persona.attribute("domain").or(self.domains.first().map(String::as_str));
        if id.contains('@') { id.to_owned() } else { format!("{id}@{}", domain.unwrap_or_default()) }
    }

    async fn set_privacy_policy(&self, request: &Element, user: &str) -> Result<String, Fault> {
        let entries = request.children.iter().filter(|child| child.name == "entry");
        let mut commands: Vec<Command> = entries
            .map(|entry| Command::Decide {
                user: user.to_owned(),
                who: entry.text.trim().to_owned(),
                verdict: entry
                    .attribute("handling")
                    .filter(|handling| *handling != "none")
                    .map(str::to_owned),
            })
            .collect();
        if let Some(value) = request.attribute("default") {
            let (user, name) = (user.to_owned(), UNKNOWN.to_owned());
            commands.push(Command::Prefer { user, name, value: Some(value.to_owned()) });
        }
        self.change_all(commands).await
    }
}

const SUCCESS: &str = "<epas:success/>";

/// What is said to changes of which some have failed, or none.
fn outcome(failed: &[String]) -> String {
    if failed.is_empty() { SUCCESS.to_owned() } else { failure(&failed.join("; ")) }
}

fn failure(why: &str) -> String {
    format!("<epas:failure><epas:reason>{}</epas:reason></epas:failure>", escape(why))
}

/// The answer to an operation, or a part of one.
fn answer(operation: &str, body: &str) -> String {
    format!("<epas:{operation}-resp>{body}</epas:{operation}-resp>")
}

fn property(name: &str, value: &str) -> String {
    format!("<epas:property name=\"{}\">{}</epas:property>", escape(name), escape(value))
}

fn user_config(state: &Value) -> String {
    let preferences = state["preferences"].as_object().into_iter().flatten();
    let of = |(name, value): (&String, &Value)| property(name, value.as_str().unwrap_or_default());
    property("User.Address", text(&state["address"])) + &preferences.map(of).collect::<String>()
}

/// The list as it is; nobody in it has gone.
fn entries(state: &Value) -> BTreeMap<String, Option<Contact>> {
    let contacts = state["contacts"].as_array().into_iter().flatten();
    let entry = |contact: &Value| {
        let groups = contact["groups"].as_array().into_iter().flatten().map(|group| text(group).to_owned());
        let entry = Contact { name: text(&contact["name"]).to_owned(), groups: groups.collect() };
        (text(&contact["address"]).to_owned(), Some(entry))
    };
    contacts.map(entry).collect()
}

fn contact_list(state: &Value) -> String {
    let mut groups = BTreeMap::from([(GROUP.to_owned(), String::new())]);
    for (address, entry) in entries(state) {
        let Contact { name, groups: of } = entry.unwrap_or_default();
        let domain = address.split_once('@').map_or("", |(_, domain)| domain);
        let persona = format!(
            "<epas:persona-id domain=\"{}\" nickname=\"{}\">{}</epas:persona-id>",
            escape(domain),
            escape(&name),
            escape(&address)
        );
        for group in if of.is_empty() { vec![GROUP.to_owned()] } else { of } {
            groups.entry(group).or_default().push_str(&persona);
        }
    }
    let group = |(name, personas): (&String, &String)| {
        format!("<epas:group name=\"{}\">{personas}</epas:group>", escape(name))
    };
    groups.iter().map(group).collect()
}

fn privacy_policy(state: &Value) -> String {
    let default = state["preferences"][UNKNOWN].as_str().unwrap_or("ask");
    let decisions = state["decisions"].as_array().into_iter().flatten();
    let entries: String = decisions
        .map(|one| {
            let (verdict, who) = (text(&one["verdict"]), text(&one["who"]));
            format!("<epas:entry handling=\"{}\">{}</epas:entry>", escape(verdict), escape(who))
        })
        .collect();
    format!("<epas:get-privacy-policy-resp default=\"{default}\">{entries}</epas:get-privacy-policy-resp>")
}

fn watchers(state: &Value) -> String {
    let all = state["watchers"].as_array().into_iter().flatten();
    all.map(|one| {
        let (status, who) = (text(&one["status"]), text(&one["address"]));
        format!("<epas:watcher status=\"{}\">{}</epas:watcher>", escape(status), escape(who))
    })
    .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
