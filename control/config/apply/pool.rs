// SPDX-License-Identifier: MIT OR Apache-2.0
//! `sip-pool` and `client sip-pool` into the model.

use crate::config::check::About;
use crate::config::raw::Command;

use super::{Done, Editor, Scope, misplaced, missing, single};

impl Editor {
    pub(super) fn pool(&mut self, command: Command, negated: bool) -> Done {
        match (command, self.scope.clone()) {
            (Command::SipPool(name), _) => {
                Self::node(&mut self.model.sip_pools, &name, negated)?;
                self.scope = if negated { Scope::Top } else { Scope::SipPool(name.clone()) };
                Ok(About::SipPool(name))
            }
            (Command::PoolMember(at, share), Scope::SipPool(name)) => {
                let pool = self.model.sip_pools.entry(name.clone()).or_default();
                // One line a server: said again, it is changed; `no` need not repeat how it was.
                if !negated {
                    pool.members.insert(at, share);
                } else if pool.members.remove(&at).is_none() {
                    return Err(missing());
                }
                Ok(About::SipPool(name))
            }
            (Command::HealthCheck(check), Scope::SipPool(name)) => {
                let pool = self.model.sip_pools.entry(name.clone()).or_default();
                single(&mut pool.check, check, negated, About::SipPool(name))
            }
            (Command::ClientPool(pool), Scope::TlsProxy(name)) => {
                let proxy = self.model.tls_proxies.entry(name.clone()).or_default();
                single(&mut proxy.pool, pool, negated, About::ClientPool(name))
            }
            _ => Err(misplaced()),
        }
    }
}
