// SPDX-License-Identifier: MIT OR Apache-2.0
//! Static translations as `show xlate` lists them. They are arithmetic in the dataplane, not entries of a table: they come from the
//! configuration, are never idle, and are there as long as their line is.

use fedgate_tables::link::{Addr, Filter};
use fedgate_tables::policy::{NAT_INACTIVE, NatKind};
use serde_json::json;

use super::proto_upper;
use super::rules::cidr;
use crate::config::ports::proto_text;
use crate::config::resolve::{Range, Rule};

/// A static rule's translation of one range of real addresses.
#[derive(Debug, PartialEq, Eq)]
pub struct Fixed<'r> {
    rule: &'r Rule,
    real: Range,
    mapped: Range,
}

/// The static translations of `rule` that `filter` takes.
pub fn of<'r>(rule: &'r Rule, filter: &Filter) -> impl Iterator<Item = Fixed<'r>> + use<'r> {
    let filter = filter.clone();
    let is_static = match rule.kind {
        NatKind::Static | NatKind::StaticPat | NatKind::Identity => rule.flags & NAT_INACTIVE == 0,
        NatKind::Dynamic | NatKind::DynamicPat => false,
    };
    let fixed = move |real: Range| {
        let mapped = if rule.kind == NatKind::Identity { real } else { rule.mapped };
        Fixed { rule, real, mapped }
    };
    rule.reals
        .iter()
        .copied()
        .filter(move |_| is_static)
        .map(fixed)
        .filter(move |fixed| fixed.is_taken(&filter))
}

impl Fixed<'_> {
    fn is_taken(&self, filter: &Filter) -> bool {
        let Self { rule, real, mapped } = self;
        let addr = filter.address.is_none_or(|addr| match addr {
            Addr::V4(addr) => {
                [real, mapped].into_iter().any(|[first, last]| (*first..=*last).contains(&addr))
            }
            Addr::V6(_) => false,
        });
        let port = filter.port.is_none_or(|port| {
            [rule.port.0, rule.port.1].into_iter().any(|[first, last]| (first..=last).contains(&port))
        });
        addr && port && filter.proto.is_none_or(|proto| rule.proto == 0 || rule.proto == proto)
    }

    /// The ASA's letters, in its order: static, portmap, identity, twice.
    fn flags(&self) -> String {
        let identity = self.rule.kind == NatKind::Identity;
        let letters =
            [(true, 's'), (self.rule.proto != 0, 'r'), (identity, 'I'), (self.rule.section != 2, 'T')];
        letters.into_iter().filter_map(|(is, letter)| is.then_some(letter)).collect()
    }

    fn interfaces(&self) -> [&str; 2] {
        [&self.rule.real_if, &self.rule.mapped_if].map(|name| name.as_deref().unwrap_or("any"))
    }

    /// In the layout of `show xlate`.
    pub fn text(&self) -> String {
        let [real_if, mapped_if] = self.interfaces();
        let addr = |range: Range| cidr(range).trim_end_matches("/32").to_owned();
        let (real, mapped, flags) = (addr(self.real), addr(self.mapped), self.flags());
        if self.rule.proto == 0 {
            return format!(
                "NAT from {real_if}:{real} to {mapped_if}:{mapped}\n    flags {flags} idle 0:00:00 timeout 0:00:00"
            );
        }
        let ([r0, r1], [m0, m1]) = self.rule.port;
        let proto = proto_upper(self.rule.proto);
        format!(
            "{proto} PAT from {real_if}:{real} {r0}-{r1} to {mapped_if}:{mapped} {m0}-{m1}\n    flags {flags} idle 0:00:00 timeout 0:00:00"
        )
    }

    /// As JSON.
    pub fn json(&self) -> serde_json::Value {
        let [real_if, mapped_if] = self.interfaces();
        let proto = if self.rule.proto == 0 { "ip".to_owned() } else { proto_text(self.rule.proto) };
        json!({
            "protocol": proto, "real_interface": real_if, "real_address": cidr(self.real),
            "real_ports": self.rule.port.0, "mapped_interface": mapped_if, "mapped_address": cidr(self.mapped),
            "mapped_ports": self.rule.port.1, "flags": self.flags(), "timeout_seconds": 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve::rules;
    use crate::config::tests::model;

    #[test]
    fn layouts_and_letters_are_the_asas() {
        let model = model(
            "interface tap a\n nameif outside\n ip address 203.0.113.2 255.255.255.0\n\
             interface tap b\n nameif inside\n ip address 10.10.0.1 255.255.255.0\n\
             object network cup\n host 10.10.0.11\n nat (inside,outside) static 203.0.113.3 service tcp 5062 5061\n\
             object network web\n host 10.10.0.12\nobject network pub\n host 203.0.113.4\n\
             object network lan\n subnet 10.10.0.0 255.255.255.0\n nat (inside,outside) dynamic interface\n\
             nat (inside,outside) source static web pub\nnat (inside,outside) source static lan lan\n",
        );
        let rules: Vec<Rule> = rules(&model).into_iter().filter_map(|(_, rule)| rule.ok()).collect();
        let texts = |filter: Filter| -> Vec<String> {
            rules.iter().flat_map(|rule| of(rule, &filter)).map(|fixed| fixed.text()).collect()
        };
        let all = [
            "NAT from inside:10.10.0.12 to outside:203.0.113.4\n    flags sT idle 0:00:00 timeout 0:00:00",
            "NAT from inside:10.10.0.0/24 to outside:10.10.0.0/24\n    flags sIT idle 0:00:00 timeout 0:00:00",
            "TCP PAT from inside:10.10.0.11 5062-5062 to outside:203.0.113.3 5061-5061\n    flags sr idle 0:00:00 timeout 0:00:00",
        ];
        assert_eq!(texts(Filter::default()), all);
        assert_eq!(texts(Filter { proto: Some(17), ..Filter::default() }), all[..2]);
        let address =
            |addr: [u8; 4]| Filter { address: Some(u32::from_be_bytes(addr).into()), ..Filter::default() };
        assert_eq!(texts(address([203, 0, 113, 3])), all[2..]);
        assert_eq!(texts(address([10, 10, 0, 11])), all[1..]);
        assert_eq!(texts(Filter { port: Some(5061), proto: Some(6), ..address([203, 0, 113, 3]) }), all[2..]);
        assert_eq!(texts(Filter { port: Some(443), ..address([203, 0, 113, 3]) }), all[3..]);
    }
}
