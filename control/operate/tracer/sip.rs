// SPDX-License-Identifier: MIT OR Apache-2.0
//! `packet-tracer sip`: writes out a request that nobody has sent, asks the dataplane what would become of it, and prints each check.
//!
//! The first worker decides, by the code that decides on messages, with its dialogs, the lists and the inspect map of a TLS proxy; here are only the
//! operator's words and the lines of the configuration that decided. Called by [`crate::operate::run`] on the daemon's one thread.

use std::fmt::Write as _;
use std::rc::Rc;

use fedgate_tables::link::{MAX_SIP_PROBE, SipCheck, SipFate, SipProbe, SipStep, SipTrace};
use serde_json::json;

use super::phases::Shown;
use crate::config::args::Args;
use crate::config::diag::Problem;
use crate::config::domains::written;
use crate::config::model::Model;
use crate::operate::daemon::Daemon;
use crate::operate::run::Stop;
use crate::operate::server::Out;
use crate::operate::show::attached;
use crate::policy::proxies;

/// Most `header` and `certificate` words.
const MAX_MORE: usize = 16;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The request.
    pub probe: SipProbe,
    /// The TLS proxy that it goes through, and its inspect map.
    pub proxy: (String, Option<String>),
}

/// Takes what stands behind `packet-tracer sip`.
///
/// # Errors
/// What is wrong with it.
pub fn parse(model: &Model, args: &mut Args<'_, '_>) -> Result<Order, Problem> {
    let inward = args.one_of(&["inbound", "outbound"])? == 0;
    let method = word(args, "a method", |it| it.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-'))?;
    let from = uri(args, "From, an address")?;
    let to = uri(args, "To, an address")?;
    let (mut request_uri, mut names, mut headers, mut wanted) = (None, Vec::new(), Vec::new(), None);
    while args.peek().is_some() {
        if names.len() + headers.len() >= MAX_MORE {
            return Err(args.wrong(format!("at most {MAX_MORE} certificate names and headers")));
        }
        match args.one_of(&["uri", "certificate", "header", "tls-proxy"])? {
            0 => request_uri = Some(uri(args, "the Request-URI")?),
            1 => names.push(word(args, "a name in the peer's certificate", is_plain)?),
            2 => {
                let name = word(args, "a header's name", |it| {
                    it.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                })?;
                let value = word(args, "its value, in quotes", |it| !it.contains(char::is_control))?;
                headers.push((name, value));
            }
            _ => wanted = Some(args.name("a tls-proxy")?),
        }
    }
    let (proxy, name) = pick(model, wanted.as_deref()).map_err(|why| args.wrong(why))?;
    let text = compose(&method, &from, &to, request_uri.as_deref(), &headers);
    if text.len() > MAX_SIP_PROBE {
        return Err(args.wrong(format!("that request is longer than {MAX_SIP_PROBE} bytes")));
    }
    Ok(Order { probe: SipProbe { proxy, inward, text, names }, proxy: name })
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"".contains(&b)) || !text.is_ascii()
}

fn word(args: &mut Args<'_, '_>, what: &str, good: impl Fn(&str) -> bool) -> Result<String, Problem> {
    let token = args.take(what)?;
    let said = token.text;
    if said.is_empty() || said.contains(char::is_control) || !good(said) {
        return Err(args.wrong(format!("`{said}` is not {what}")));
    }
    Ok(said.to_owned())
}

/// A URI, or an address as people write it.
fn uri(args: &mut Args<'_, '_>, what: &str) -> Result<String, Problem> {
    let said = word(args, what, |it| is_plain(it) && !it.contains(' '))?;
    let has_scheme = said.split_once(':').is_some_and(|(scheme, _)| !scheme.contains(['@', '.']));
    Ok(if has_scheme { said } else { format!("sip:{said}") })
}

/// The TLS proxy of that name as a class uses it, or the only one: its index in the policy.
fn pick(model: &Model, wanted: Option<&str>) -> Result<(u32, (String, Option<String>)), String> {
    let all = proxies(model);
    let named: Vec<_> =
        (0..).zip(&all).filter(|(_, (name, _))| wanted.is_none_or(|it| it == *name)).collect();
    // With a map is as traffic meets it.
    let used: Vec<_> = named.iter().filter(|(_, (_, map))| map.is_some()).copied().collect();
    let fits = if used.is_empty() { named } else { used };
    match (fits.first(), wanted) {
        (Some((index, (name, map))), wanted) if wanted.is_some() || fits.len() == 1 => {
            Ok((*index, ((*name).to_owned(), map.map(str::to_owned))))
        }
        (None, Some(name)) => Err(format!("there is no complete tls-proxy `{name}`")),
        (None, None) => Err("there is no complete tls-proxy".to_owned()),
        (Some(_), _) => Err("there are several: say which by `tls-proxy NAME`".to_owned()),
    }
}

/// A request as a peer would send it, with all that RFC 3261 section 8.1.1 wants.
fn compose(
    method: &str,
    from: &str,
    to: &str,
    request_uri: Option<&str>,
    headers: &[(String, String)],
) -> String {
    let uri = request_uri.unwrap_or(to);
    let mut text = format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TLS packet-tracer.invalid:5061;branch=z9hG4bKpackettracer\r\nMax-Forwards: 70\r\n"
    );
    let given = |name: &str| headers.iter().any(|(it, _)| it.eq_ignore_ascii_case(name));
    // Writing to a String cannot fail.
    for (name, value) in [
        ("From", format!("<{from}>;tag=packet-tracer")),
        ("To", format!("<{to}>")),
        ("Call-ID", "packet-tracer@packet-tracer.invalid".to_owned()),
        ("CSeq", format!("1 {method}")),
        ("Contact", format!("<{from}>")),
    ] {
        if !given(name) {
            let _ = write!(text, "{name}: {value}\r\n");
        }
    }
    if matches!(method, "SUBSCRIBE" | "NOTIFY" | "PUBLISH") && !given("Event") {
        text.push_str("Event: presence\r\n");
    }
    if method == "NOTIFY" && !given("Subscription-State") {
        text.push_str("Subscription-State: active\r\n");
    }
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text.push_str("Content-Length: 0\r\n\r\n");
    text
}

/// Asks, and prints the answer.
///
/// # Errors
/// Without a dataplane, or while nobody can say.
pub async fn execute(daemon: &Rc<Daemon>, order: &Order, out: &mut Out) -> Result<(), Stop> {
    let attached = attached(daemon)?;
    let trace = attached.session.trace_sip(order.probe.clone()).await?.map_err(Stop::Failed)?;
    for (number, step) in (1..).zip(&trace.steps) {
        let shown = tell(daemon, order, step);
        out.row(|| shown.text(number), || shown.json(number)).await?;
    }
    Ok(out.row(|| result_text(order, &trace), || result_json(order, &trace)).await?)
}

fn tell(daemon: &Daemon, order: &Order, step: &SipStep) -> Shown {
    let (kind, subtype, says) = match step.check {
        SipCheck::Message => ("SIP-PARSE", "", "The request can be read"),
        SipCheck::Dialog => ("SIP-DIALOG", "", ""),
        SipCheck::Sender => ("SIP-DOMAIN", "from", ""),
        SipCheck::List => ("SIP-DOMAIN", "list", ""),
        SipCheck::Certificate => ("SIP-DOMAIN", "certificate", "The foreign peer's certificate"),
        SipCheck::Method => ("SIP-METHOD", "", "Whether the method crosses inwards"),
        SipCheck::Extension => {
            ("SIP-METHOD", "proxy-require", "Whether what Proxy-Require asks for is known")
        }
        SipCheck::Identity => {
            ("SIP-IDENTITY", "", "Whether identities in other headers are of From's domain")
        }
        SipCheck::Addressee => {
            ("SIP-RELAY", "to", "Whether To and the Request-URI are of one of our own domains")
        }
        SipCheck::Route => ("SIP-RELAY", "route", "Whether a Route leads to a host of ours"),
        SipCheck::Pointing => {
            ("SIP-REFER", "", "Whether the dialog or the party that it points at may be the sender's")
        }
        SipCheck::Rate => ("SIP-LIMIT", "rate", "What the domain may send"),
        SipCheck::Inspection => ("INSPECT", "inspect-sip", ""),
        SipCheck::Sessions => ("SIP-LIMIT", "connections", "How many connections the domain may have"),
        SipCheck::Target => ("SIP-TARGET", "", "It would be sent to"),
    };
    let said = (!says.is_empty()).then(|| says.to_owned());
    Shown {
        kind,
        subtype,
        permit: step.permit,
        config: config(daemon, order, step),
        information: said.into_iter().chain(step.found.iter().cloned()).collect(),
    }
}

/// The line that decided, where there is one.
fn config(daemon: &Daemon, order: &Order, step: &SipStep) -> Vec<String> {
    let line = match step.check {
        SipCheck::List => step.entry.and_then(|id| {
            let entry =
                daemon.with_table(|table| table.writer().entries().find(|entry| entry.id == id))??;
            let (list, stars) =
                (if entry.blocked { "block" } else { "permit" }, if entry.wildcard { "*." } else { "" });
            let peer = entry.peer.map(|peer| format!(" peer {peer}")).unwrap_or_default();
            Some(format!("{list} domain {stars}{}{peer}", written(&entry.name)))
        }),
        SipCheck::Inspection => {
            order.proxy.1.as_ref().map(|map| format!("policy-map type inspect sip {map}"))
        }
        SipCheck::Rate | SipCheck::Sessions => {
            let config = daemon.config();
            let name = step.domain.as_deref().filter(|name| config.model.federations.contains_key(*name));
            Some(name.map_or("federation default".to_owned(), |name| format!("federation domain {name}")))
        }
        SipCheck::Sender if !step.permit => step.domain.as_ref().map(|name| format!("local domain {name}")),
        SipCheck::Sender
        | SipCheck::Message
        | SipCheck::Dialog
        | SipCheck::Certificate
        | SipCheck::Method
        | SipCheck::Extension
        | SipCheck::Identity
        | SipCheck::Addressee
        | SipCheck::Route
        | SipCheck::Pointing
        | SipCheck::Target => None,
    };
    line.into_iter().collect()
}

/// What `Action:` says, and how.
fn action(fate: &SipFate) -> (&'static str, String) {
    match fate {
        SipFate::Passes => ("allow", "it crosses".to_owned()),
        SipFate::Answered { status } => ("drop", format!("it is answered {status}")),
        SipFate::Dropped => ("drop", "nothing is answered".to_owned()),
        SipFate::Ended { reset: true } => ("drop", "its connection is reset".to_owned()),
        SipFate::Ended { reset: false } => ("drop", "its connection is closed".to_owned()),
    }
}

fn way(inward: bool) -> &'static str {
    if inward { "inbound" } else { "outbound" }
}

fn result_text(order: &Order, trace: &SipTrace) -> String {
    let (action, note) = action(&trace.fate);
    let mut text = format!(
        "Result:\ndirection: {}\ntls-proxy: {}\nAction: {action}",
        way(order.probe.inward),
        order.proxy.0
    );
    if let Some(denial) = &trace.denial {
        text.push_str(&format!("\nDrop-reason: ({denial})"));
    }
    text + &format!("\nNote: {note}\n")
}

fn result_json(order: &Order, trace: &SipTrace) -> serde_json::Value {
    let (action, note) = action(&trace.fate);
    let status = match trace.fate {
        SipFate::Answered { status } => Some(status),
        SipFate::Passes | SipFate::Dropped | SipFate::Ended { .. } => None,
    };
    json!({
        "result": {
            "direction": way(order.probe.inward), "tls_proxy": order.proxy.0, "inspect_map": order.proxy.1, "action": action,
            "denial": trace.denial, "status": status, "note": note,
        }
    })
}
