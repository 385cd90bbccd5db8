// SPDX-License-Identifier: MIT OR Apache-2.0
//! The phases of a trace in the ASA's words: type and subtype, the lines of the running-config that decided, and what they said.
//!
//! Pure: what the dataplane tells by number, and the configuration. Where the configuration has changed since, a number may
//! name nothing any more; then less is said.

use fedgate_tables::link::{AclPlace, ClassBound, Known, Phase, Socket, Translator};

use crate::config::check::About;
use crate::config::model::{AclLine, Model, Place};
use crate::config::print::class_text;
use crate::config::resolve::Rule;
use crate::operate::daemon::Daemon;
use crate::operate::messages::Names;
use crate::operate::show::{IfNames, mac, rules};
use crate::policy::proxies;

/// A phase as it is printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// `Type:`
    pub kind: &'static str,
    /// `Subtype:`
    pub subtype: &'static str,
    /// `Result:`
    pub permit: bool,
    /// Under `Config:`
    pub config: Vec<String>,
    /// Under `Additional Information:`
    pub information: Vec<String>,
}

/// What puts names to numbers.
pub(super) struct Teller<'m> {
    model: &'m Model,
    names: IfNames,
    /// Each NAT rule with its counter slot.
    nat: Vec<(About, Rule, Option<u32>)>,
    /// Name of each class by slot.
    class: Box<dyn Fn(u32) -> Option<String> + 'm>,
    detailed: bool,
}

impl<'m> Teller<'m> {
    /// By the configuration in force.
    pub fn new(daemon: &'m Daemon, model: &'m Model, detailed: bool) -> Self {
        Self {
            model,
            names: IfNames::new(daemon),
            nat: rules::lines(daemon, model).collect(),
            class: Box::new(|slot| Names::class(daemon, slot)),
            detailed,
        }
    }

    /// A phase; of the TLS proxy two.
    pub fn tell(&self, phase: &Phase) -> Vec<Shown> {
        let (kind, subtype, config, information) = match *phase {
            Phase::Worker { .. } if !self.detailed => return Vec::new(),
            Phase::Worker { worker } => {
                ("HANDOVER", "", vec![], vec![format!("Handed over to worker {worker}")])
            }
            Phase::Checks { .. } => ("IP-CHECKS", "", vec![], vec![]),
            Phase::NotFound => {
                ("FLOW-LOOKUP", "", vec![], vec!["Found no matching flow, creating a new flow".to_owned()])
            }
            Phase::Found { conn, known, session, .. } => {
                ("FLOW-LOOKUP", "", vec![], found(conn, known, session))
            }
            Phase::Untranslated { by, called, real, out_if } => self.untranslated(by, called, real, out_if),
            Phase::NoTranslation { called } => (
                "UN-NAT",
                "",
                vec![],
                vec![format!("No rule and no translation has {}/{}", called.addr, called.port)],
            ),
            Phase::Local { .. } => (
                "ROUTE-LOOKUP",
                "Resolve Egress Interface",
                vec![],
                vec!["found destination to be the appliance's own, using egress ifc  identity".to_owned()],
            ),
            Phase::Route { dst, next_hop, out_if } => {
                let line = match out_if {
                    Some(out_if) => {
                        format!(
                            "found next-hop {} using egress ifc  {}",
                            next_hop.unwrap_or(dst),
                            self.names.name(out_if)
                        )
                    }
                    None => format!("found no route to {dst}"),
                };
                ("ROUTE-LOOKUP", "Resolve Egress Interface", vec![], vec![line])
            }
            Phase::ReversePath { .. } => ("ROUTE-LOOKUP", "Reverse Path", self.reverse_path(), vec![]),
            Phase::Pinhole => (
                "INSPECT",
                "inspect-sip",
                vec![],
                vec!["Media of a call: no access-list is asked".to_owned()],
            ),
            Phase::Acl { place, acl, line, log, undecided, .. } => {
                let subtype = if log { "log" } else { "" };
                let mut information = Vec::new();
                if undecided {
                    information.push("Nothing in this list matches; the global one decides".to_owned());
                }
                if let (Some((_, hash)), true) = (line, self.detailed) {
                    information.push(format!("element {hash:#010x}"));
                }
                (
                    "ACCESS-LIST",
                    subtype,
                    self.access_list(place, acl, line.map(|(line, _)| line)),
                    information,
                )
            }
            Phase::Level { levels: [from, to], .. } => (
                "ACCESS-LIST",
                "",
                vec!["Implicit Rule".to_owned()],
                vec![format!("From security level {from} to {to}")],
            ),
            Phase::Replies { nat, permit } => {
                let line =
                    if permit { vec![] } else { vec!["Replies would be translated otherwise".to_owned()] };
                ("NAT", "rpf-check", nat.map_or(vec![], |nat| self.nat_line(nat)), line)
            }
            Phase::Settings { class, reached, intercepts } => {
                let mut information: Vec<String> = reached.map(bound).into_iter().collect();
                if intercepts {
                    information.push("TCP Intercept answers by a SYN cookie".to_owned());
                }
                (
                    "CONN-SETTINGS",
                    if intercepts { "tcp-intercept" } else { "" },
                    self.class_lines(class),
                    information,
                )
            }
            Phase::Crowded => (
                "CONN-SETTINGS",
                "tcp-intercept",
                vec![],
                vec![
                    "The TLS proxy is busy with handshakes: TCP Intercept answers by a SYN cookie".to_owned(),
                ],
            ),
            Phase::Translated { nat, real, shown, dynamic } => {
                let (subtype, word) = if dynamic.is_some() { ("", "Dynamic") } else { ("static", "Static") };
                let mut lines = vec![match shown {
                    Some(shown) => format!("{word} translate {} to {}", socket(real), socket(shown)),
                    None => format!("No address or port is left to show {} as", socket(real)),
                }];
                if let (Some(is_new), true) = (dynamic.filter(|_| shown.is_some()), self.detailed) {
                    lines.push(
                        if is_new { "It is a new translation" } else { "It has that translation" }.to_owned(),
                    );
                }
                ("NAT", subtype, self.nat_line(nat), lines)
            }
            Phase::TlsProxy { class, proxy, permit } => return self.tls_proxy(class, proxy, permit),
            Phase::Created { permit } => {
                let line = if permit {
                    "New flow is to be created, packet dispatched to next module"
                } else {
                    "There is no room for the flow"
                };
                ("FLOW-CREATION", "", vec![], vec![line.to_owned()])
            }
            Phase::Adjacency { out_if, next_hop, mac: station, permit } => {
                let lines = match (next_hop, station) {
                    (None, _) => vec![format!("the way does not lead out of {}", self.names.name(out_if))],
                    (Some(hop), Some(station)) => vec![
                        format!(
                            "found adjacency entry for next-hop {hop} on interface {}",
                            self.names.name(out_if)
                        ),
                        "adjacency Active".to_owned(),
                        format!("next-hop mac address {}", mac(station)),
                    ],
                    (Some(hop), None) if permit => vec![format!(
                        "found no adjacency entry for next-hop {hop} on interface {}: it is asked first",
                        self.names.name(out_if)
                    )],
                    (Some(hop), None) => vec![format!("too much waits for next-hop {hop} already")],
                };
                ("ADJACENCY-LOOKUP", "next-hop and adjacency", vec![], lines)
            }
        };
        vec![Shown { kind, subtype, permit: phase.permits(), config, information }]
    }

    fn untranslated(&self, by: Translator, called: Socket, real: Socket, out_if: Option<u8>) -> Said {
        let (subtype, config) = match by {
            Translator::Rule(nat) => ("static", self.nat_line(nat)),
            Translator::Xlate => ("dynamic", vec![]),
        };
        let divert =
            out_if.map(|out_if| format!("NAT divert to egress interface {}", self.names.name(out_if)));
        let line = format!("Untranslate {} to {}", socket(called), socket(real));
        ("UN-NAT", subtype, config, divert.into_iter().chain([line]).collect())
    }

    fn reverse_path(&self) -> Vec<String> {
        let checked = self.model.interfaces.iter().filter(|i| i.verify_reverse_path);
        let names = checked.filter_map(|i| i.nameif.as_deref());
        names.map(|name| format!("ip verify reverse-path interface {name}")).collect()
    }

    /// The `access-group`, and the line.
    fn access_list(&self, place: AclPlace, acl: u32, line: Option<u32>) -> Vec<String> {
        let Some((name, lines)) = self.model.acls.iter().nth(acl as usize) else { return vec![] };
        let of_kind = |at: &Place| match place {
            AclPlace::In => matches!(at, Place::In(_)),
            AclPlace::Global => matches!(at, Place::Global),
            AclPlace::Out => matches!(at, Place::Out(_)),
        };
        let groups = self.model.access_groups.iter().filter(|(at, of)| of_kind(at) && **of == **name);
        let mut config: Vec<String> = groups.map(|(at, of)| format!("access-group {of} {at}")).collect();
        let ace = line.and_then(|line| lines.get((line as usize).checked_sub(1)?));
        match ace.map(|ace| &**ace) {
            Some(ace @ AclLine::Ace(_)) => config.push(format!("access-list {name} {ace}")),
            Some(AclLine::Remark(_)) | None => config.push("Implicit Rule".to_owned()),
        }
        config
    }

    /// The line that made the rule with this counter slot.
    fn nat_line(&self, nat: u32) -> Vec<String> {
        let found = self.nat.iter().find(|(_, _, slot)| *slot == Some(nat));
        let Some((about, rule, _)) = found else { return vec![] };
        let manual = |list: &[_], at: usize| {
            list.get(at).map(|nat: &crate::config::model::ManualNat| vec![nat.to_string()])
        };
        let written = match about {
            About::ManualNat(1, at) => manual(&self.model.manual_nat, *at),
            About::ManualNat(_, at) => manual(&self.model.after_auto_nat, *at),
            About::ObjectNat(name) => self.model.networks.get(name).and_then(|object| {
                Some(vec![format!("object network {name}"), format!(" {}", object.nat.as_ref()?)])
            }),
            _ => None,
        };
        written.unwrap_or_else(|| vec![rule.text.clone()])
    }

    /// The class-map, and the class in the policy-map.
    fn class_lines(&self, slot: u32) -> Vec<String> {
        let Some(class) = (self.class)(slot) else { return vec![] };
        let mut config = Vec::new();
        if let Some(matches) = self.model.class_maps.get(&class) {
            config.push(format!("class-map {class}"));
            config.extend(matches.as_ref().map(|matches| format!(" match {matches}")));
        }
        let Some(map) = &self.model.service_policy else { return config };
        let written = self.model.policy_maps.get(map).into_iter().flatten().find(|c| c.class == class);
        if let Some(written) = written {
            config.push(format!("policy-map {map}"));
            config.extend(class_text(written).lines().map(str::to_owned));
        }
        config.push(format!("service-policy {map} global"));
        config
    }

    fn tls_proxy(&self, class: u32, proxy: u32, permit: bool) -> Vec<Shown> {
        let inspect = Shown {
            kind: "INSPECT",
            subtype: "inspect-sip",
            permit: true,
            config: self.class_lines(class),
            information: vec![],
        };
        let name = proxies(self.model).get(proxy as usize).map(|(name, _)| (*name).to_owned());
        let config = name.map(|name| format!("tls-proxy {name}")).into_iter().collect();
        let line = match permit {
            true => "The TLS proxy answers in the server's place",
            false => "The TLS proxy has no certificate, or nobody vouches for its peers",
        };
        vec![
            inspect,
            Shown { kind: "TLS-PROXY", subtype: "", permit, config, information: vec![line.to_owned()] },
        ]
    }
}

type Said = (&'static str, &'static str, Vec<String>, Vec<String>);

fn found(conn: u64, known: Known, session: Option<u32>) -> Vec<String> {
    let mut lines = vec![match known {
        Known::Its => format!("Found flow with id {conn}, using existing flow"),
        Known::Over => format!("Found flow with id {conn}, which is over: it ends, creating a new flow"),
        Known::Opening => format!("Found flow with id {conn}, which waits for its server (TCP Intercept)"),
    }];
    lines.extend(session.map(|session| format!("It is TLS proxy session {session}'s")));
    lines
}

fn socket(socket: Socket) -> String {
    format!("{}/{}", socket.addr, socket.port)
}

fn bound(bound: ClassBound) -> String {
    let which = match bound {
        ClassBound::Conns => "conn-max",
        ClassBound::Embryonic => "embryonic-conn-max",
        ClassBound::ClientConns => "per-client-max",
        ClassBound::ClientEmbryonic => "per-client-embryonic-max",
    };
    format!("{which} is reached")
}
