// SPDX-License-Identifier: MIT OR Apache-2.0
//! `federation` and `dns server-group` into the model.

use crate::config::check::{About, Fault};
use crate::config::model::federation::{Federation, MAX_SERVERS};
use crate::config::raw::Command;

use super::{Done, Editor, Scope, flag, misplaced, missing, single};

impl Editor {
    pub(super) fn federation(&mut self, command: Command, negated: bool) -> Done {
        let model = &mut self.model;
        match (command, self.scope.clone()) {
            (Command::Federation(Some(name)), _) => {
                Self::node(&mut model.federations, &name, negated)?;
                self.scope = if negated { Scope::Top } else { Scope::Federation(Some(name.clone())) };
                Ok(About::Federation(Some(name)))
            }
            (Command::Federation(None), _) => {
                if negated {
                    model.federation_default = Federation::default();
                }
                self.scope = if negated { Scope::Top } else { Scope::Federation(None) };
                Ok(About::Federation(None))
            }
            (Command::FederationSrv, Scope::Federation(None)) => {
                Err(Fault::error("`srv` is said of single domains: each is asked for again and again")
                    .help("`federation domain NAME`, and `srv` under it"))
            }
            (Command::FederationSrv, Scope::Federation(Some(name))) => {
                flag(&mut model.federations.entry(name.clone()).or_default().srv, negated)?;
                Ok(About::Federation(Some(name)))
            }
            (Command::FederationRate(limit), Scope::Federation(name)) => {
                let slot = match &name {
                    Some(name) => &mut model.federations.entry(name.clone()).or_default().rate,
                    None => &mut model.federation_default.rate,
                };
                set(slot, limit, negated, About::Federation(name))
            }
            (Command::FederationSessions(most), Scope::Federation(name)) => {
                let slot = match &name {
                    Some(name) => &mut model.federations.entry(name.clone()).or_default().sessions,
                    None => &mut model.federation_default.sessions,
                };
                set(slot, most, negated, About::Federation(name))
            }
            (Command::DnsGroup, _) => {
                if negated {
                    model.dns = Default::default();
                }
                self.scope = if negated { Scope::Top } else { Scope::DnsGroup };
                Ok(About::Dns)
            }
            (Command::NameServers(servers), Scope::DnsGroup) => {
                for server in servers {
                    let at = model.dns.servers.iter().position(|known| *known == server);
                    match (negated, at) {
                        (true, Some(at)) => drop(model.dns.servers.remove(at)),
                        (true, None) => return Err(missing()),
                        (false, Some(_)) => {}
                        (false, None) if model.dns.servers.len() == MAX_SERVERS => {
                            return Err(Fault::error(format!("at most {MAX_SERVERS} name servers")));
                        }
                        (false, None) => model.dns.servers.push(server),
                    }
                }
                Ok(About::Dns)
            }
            (Command::DnsSource(source), Scope::DnsGroup) => {
                set(&mut model.dns.source, source, negated, About::Dns)
            }
            (Command::DnsTimeout(seconds), Scope::DnsGroup) => {
                single(&mut model.dns.timeout, seconds, negated, About::Dns)
            }
            (Command::DnsRetries(retries), Scope::DnsGroup) => {
                single(&mut model.dns.retries, retries, negated, About::Dns)
            }
            _ => Err(misplaced()),
        }
    }
}

/// A setting whose `no` need not say what it was.
fn set<T: PartialEq>(slot: &mut Option<T>, value: Option<T>, negated: bool, about: About) -> Done {
    match value {
        Some(value) => single(slot, value, negated, about),
        None => slot.take().map(|_| about).ok_or_else(missing),
    }
}
