// SPDX-License-Identifier: MIT OR Apache-2.0
//! `packet-tracer`: asks the dataplane what would become of a packet, and prints what it says in the ASA's layout.
//!
//! `packet-tracer input` is of packets, [`sip`] of SIP requests. The workers decide, by the code that decides on packets; [`phases`] puts names and lines of the configuration to what they tell.
//! With JSON a phase is a line, and the result another. Called by [`super::run`] on the daemon's one thread.

mod phases;
pub mod sip;

use std::net::IpAddr;
use std::rc::Rc;

use fedgate_tables::drops::DropReason;
use fedgate_tables::link::{Addr, Fate, Probe, Trace};
use serde_json::json;

use super::daemon::Daemon;
use super::run::Stop;
use super::server::Out;
use super::show::{self, attached};
use crate::config::args::Args;
use crate::config::diag::Problem;
use crate::config::model::{Interface, Model};
use crate::config::ports::{self, ICMP, ICMP6, TCP, UDP};
use crate::policy::interfaces;
use phases::{Shown, Teller};

/// What the appliance's own addresses stand behind, in the ASA's words.
const IDENTITY: &str = "NP Identity Ifc";

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The packet.
    pub probe: Probe,
    /// What else is known of each phase.
    pub detailed: bool,
}

/// Takes what stands behind `packet-tracer input`.
///
/// # Errors
/// What is wrong with it.
pub fn parse(model: &Model, args: &mut Args<'_, '_>) -> Result<Order, Problem> {
    let name = args.take("an interface")?.text;
    let in_if = interfaces(model).position(|i| i.nameif.as_deref() == Some(name));
    let in_if = in_if.ok_or_else(|| args.wrong(format!("there is no complete interface `{name}`")))?;
    let known = args.one_of(&["tcp", "udp", "icmp"])?;
    let src = args.ip("the source address")?;
    let proto = match (known, src) {
        (0, _) => TCP,
        (1, _) => UDP,
        (_, IpAddr::V4(_)) => ICMP,
        (_, IpAddr::V6(_)) => ICMP6,
    };
    let port = |args: &mut Args<'_, '_>, what: &str| {
        let token = args.take(what)?;
        ports::port(proto, token.text).ok_or_else(|| args.wrong(format!("`{}` is not a port", token.text)))
    };
    let (mut sport, mut dport, mut icmp) = (0, 0, [0; 2]);
    if matches!(proto, TCP | UDP) {
        sport = port(args, "the source port")?;
    } else {
        let kind = args.take("an ICMP type")?;
        icmp[0] = ports::icmp_type(proto, kind.text)
            .ok_or_else(|| args.wrong(format!("`{}` is not an ICMP type", kind.text)))?;
        icmp[1] = args.number("an ICMP code", 0, 255)? as u8;
        if args.peek().is_some_and(|word| word.bytes().all(|b| b.is_ascii_digit())) {
            sport = args.number("an identifier", 0, 65535)? as u16;
        }
    }
    let dst = args.ip("the destination address")?;
    if src.is_ipv4() != dst.is_ipv4() {
        return Err(args.wrong("source and destination are of different families"));
    }
    if matches!(proto, TCP | UDP) {
        dport = port(args, "the destination port")?;
    }
    let detailed = args.accept("detailed");
    args.end()?;
    let (src, dst) = (Addr::from(src), Addr::from(dst));
    Ok(Order { probe: Probe { in_if: in_if as u8, proto, src, sport, dst, dport, icmp }, detailed })
}

/// Asks, and prints the answer.
///
/// # Errors
/// Without a dataplane, or while that has no policy.
pub async fn execute(daemon: &Rc<Daemon>, order: &Order, out: &mut Out) -> Result<(), Stop> {
    let attached = attached(daemon)?;
    let trace = attached.session.trace(order.probe).await?;
    let trace = trace.ok_or_else(|| Stop::Failed("the dataplane has no policy yet".to_owned()))?;
    let config = daemon.config();
    let links: Vec<bool> = {
        let ports = show::net::ports(&attached).await?;
        let up = |ifindex: u8| ports.iter().any(|port| port.ifindex == ifindex && port.link_up);
        (0u8..).zip(interfaces(&config.model)).map(|(ifindex, _)| up(ifindex)).collect()
    };
    let teller = Teller::new(daemon, &config.model, order.detailed);
    let shown = trace.phases.iter().flat_map(|phase| teller.tell(phase));
    for (number, phase) in (1..).zip(shown) {
        out.row(|| phase.text(number), || phase.json(number)).await?;
    }
    let faces = faces(&config.model, &links, order.probe.in_if, &trace);
    Ok(out.row(|| result_text(&faces, trace.fate), || result_json(&faces, trace.fate)).await?)
}

/// An interface as the result names it.
struct Face {
    name: String,
    up: bool,
    line_up: bool,
}

/// Where it would come in, and where it would leave, as far as that is known.
fn faces(model: &Model, links: &[bool], in_if: u8, trace: &Trace) -> (Face, Option<Face>) {
    let face = |ifindex: u8| {
        let at = usize::from(ifindex);
        let interface = interfaces(model).nth(at);
        Face {
            name: interface.and_then(|i| i.nameif.clone()).unwrap_or_default(),
            up: interface.is_some_and(|i: &Interface| !i.is_down()),
            line_up: links.get(at).copied().unwrap_or(false),
        }
    };
    let out = match (trace.fate, trace.out_if) {
        (Fate::Answered, _) => Some(Face { name: IDENTITY.to_owned(), up: true, line_up: true }),
        (_, out_if) => out_if.map(face),
    };
    (face(in_if), out)
}

fn word(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}

/// What `Action:` says, and what else is to be said of it.
fn action(fate: Fate) -> (&'static str, Option<DropReason>, Option<&'static str>) {
    match fate {
        Fate::Passes => ("allow", None, None),
        Fate::Proxied => ("allow", None, Some("the TLS proxy takes it")),
        Fate::Answered => ("allow", None, Some("the appliance itself answers it")),
        Fate::Intercepted => ("allow", None, Some("TCP Intercept answers it")),
        Fate::Dropped(reason) => ("drop", Some(reason), None),
    }
}

fn result_text((from, to): &(Face, Option<Face>), fate: Fate) -> String {
    let mut text = String::from("Result:\n");
    for (side, face) in [("input", Some(from)), ("output", to.as_ref())] {
        let Some(Face { name, up, line_up }) = face else { continue };
        text.push_str(&format!(
            "{side}-interface: {name}\n{side}-status: {}\n{side}-line-status: {}\n",
            word(*up),
            word(*line_up)
        ));
    }
    let (action, reason, note) = action(fate);
    text.push_str(&format!("Action: {action}"));
    if let Some(reason) = reason {
        text.push_str(&format!("\nDrop-reason: ({}) {}", reason.name(), reason.text()));
    }
    if let Some(note) = note {
        text.push_str(&format!("\nNote: {note}"));
    }
    text + "\n"
}

fn result_json((from, to): &(Face, Option<Face>), fate: Fate) -> serde_json::Value {
    let (action, reason, note) = action(fate);
    let face = |face: &Face| json!({ "name": face.name, "status": word(face.up), "line_status": word(face.line_up) });
    json!({
        "result": {
            "input_interface": face(from), "output_interface": to.as_ref().map(face), "action": action,
            "drop_reason": reason.map(DropReason::name), "drop_text": reason.map(DropReason::text), "note": note,
        }
    })
}

impl Shown {
    /// As the ASA prints it.
    fn text(&self, number: u32) -> String {
        let lines = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        format!(
            "Phase: {number}\nType: {}\nSubtype: {}\nResult: {}\nConfig:\n{}Additional Information:\n{}",
            self.kind,
            self.subtype,
            if self.permit { "ALLOW" } else { "DROP" },
            lines(&self.config),
            lines(&self.information),
        )
    }

    /// As an object.
    fn json(&self, number: u32) -> serde_json::Value {
        json!({
            "phase": number, "type": self.kind, "subtype": self.subtype, "permit": self.permit,
            "config": self.config, "information": self.information,
        })
    }
}
