// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the configuration says of the numbers in events, for [`messages`](crate::operate::messages): interfaces by index, access-lists by place and line,
//! classes and pools by counter slot. Asked on the daemon's one thread, for each message; what is gone since is named by its number.

use std::net::Ipv4Addr;

use fedgate_tables::policy::{Globals, NatKind};

use super::Daemon;
use crate::config::model::{ALERT_INTERVAL, AceLog, AclLine, DENY_FLOW_MAX};
use crate::operate::acl_log::Logging;
use crate::operate::messages::{AclName, Names, PoolName};
use crate::operate::show::{self, acl::hashes};
use crate::policy::interfaces;

impl Names for Daemon {
    fn interface(&self, ifindex: u8) -> String {
        let config = self.config();
        let interface = interfaces(&config.model).nth(ifindex.into());
        interface.and_then(|i| i.nameif.clone()).unwrap_or_else(|| format!("interface {ifindex}"))
    }

    fn toward(&self, addr: Ipv4Addr) -> String {
        let model = &self.config().model;
        let connected = interfaces(model).filter_map(|i| Some((i.network()?, i.nameif.as_deref()?)));
        let routes = model.routes.iter().map(|route| (route.net, route.interface.as_str()));
        let way = connected.chain(routes).filter(|(net, _)| net.contains(addr));
        way.max_by_key(|(net, _)| net.prefix_len()).map_or("unknown", |(_, name)| name).to_owned()
    }

    fn acl(&self, acl: u32, line: u32, element: u32) -> AclName {
        let config = self.config();
        let Some((name, lines)) = config.model.acls.iter().nth(acl as usize) else {
            return AclName { name: acl.to_string(), ..AclName::default() };
        };
        let named = AclName { name: name.to_string(), hashes: (element, 0), logging: None };
        match line.checked_sub(1).and_then(|at| lines.get(at as usize)).map(|line| &**line) {
            Some(AclLine::Ace(ace)) => AclName {
                hashes: hashes(ace, element),
                logging: match ace.log {
                    Some(AceLog::On { level, interval }) => Some(Logging { level, interval }),
                    Some(AceLog::Disable | AceLog::Default) | None => None,
                },
                ..named
            },
            Some(AclLine::Remark(_)) | None => named,
        }
    }

    fn acl_bounds(&self) -> (u32, u32) {
        let model = &self.config().model;
        (model.acl_deny_flow_max.unwrap_or(DENY_FLOW_MAX), model.acl_alert_interval.unwrap_or(ALERT_INTERVAL))
    }

    fn class(&self, slot: u32) -> Option<String> {
        self.with_slots(|slots| slots.class(slot).map(str::to_owned))
    }

    fn pool(&self, rule: u32) -> Option<PoolName> {
        show::rules::numbered(self, &self.config().model).find(|(_, slot)| *slot == Some(rule)).map(
            |(of, _)| {
                let first = of.pool.first().unwrap_or(&of.mapped)[0].into();
                let one_to_one = of.kind == NatKind::Dynamic;
                PoolName { name: of.pool_name, first, flags: of.flags, one_to_one }
            },
        )
    }

    fn blocks_per_host(&self) -> u32 {
        self.config().model.blocks_per_host.unwrap_or(Globals::default().blocks_per_host)
    }
}
