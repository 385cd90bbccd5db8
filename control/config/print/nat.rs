// SPDX-License-Identifier: MIT OR Apache-2.0
//! NAT lines as they are written.

use std::fmt::{self, Display, Write};

use super::line;
use crate::config::model::{
    GlobalAddr, LegacyGlobal, LegacyNat, LegacyReal, LegacyStatic, ManualNat, Mapped, Model, NatOptions,
    ObjectNat, Pool, TwiceNat,
};
use crate::config::ports;

/// Every NAT line, in the ASA's order.
pub fn nat(model: &Model, out: &mut impl Write) -> fmt::Result {
    line(out, "xlate block-allocation size", &model.block_size)?;
    line(out, "xlate block-allocation maximum-per-host", &model.blocks_per_host)?;
    for rule in &model.manual_nat {
        writeln!(out, "{rule}")?;
    }
    for (name, object) in &*model.networks {
        if let Some(nat) = &object.nat {
            writeln!(out, "object network {name}\n {nat}")?;
        }
    }
    for rule in &model.after_auto_nat {
        writeln!(out, "{rule}")?;
    }
    for global in &model.legacy_globals {
        writeln!(out, "{global}")?;
    }
    for nat in &model.legacy_nats {
        writeln!(out, "{nat}")?;
    }
    Ok(())
}

fn object_or_any(name: &Option<String>) -> &str {
    name.as_deref().unwrap_or("any")
}

/// `pat-pool NAME flat interface` and the like, without a blank before it.
pub fn target(mapped: &Mapped, pool: &Pool) -> String {
    let mut text = if pool.pat { format!("pat-pool {mapped}") } else { mapped.to_string() };
    let words = [
        (pool.round_robin, " round-robin"),
        (pool.extended, " extended"),
        (pool.flat, " flat"),
        (pool.include_reserve, " include-reserve"),
        (pool.blocks, " block-allocation"),
        (pool.interface, " interface"),
    ];
    for (_, word) in words.iter().filter(|(set, _)| *set) {
        text.push_str(word);
    }
    text
}

impl Display for NatOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            (self.unidirectional, " unidirectional"),
            (self.no_proxy_arp, " no-proxy-arp"),
            (self.route_lookup, " route-lookup"),
            (self.inactive, " inactive"),
        ];
        for (_, word) in words.iter().filter(|(set, _)| *set) {
            f.write_str(word)?;
        }
        match &self.description {
            Some(text) => write!(f, " description {text}"),
            None => Ok(()),
        }
    }
}

impl Display for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Object(name) => f.write_str(name),
            Self::Interface => f.write_str("interface"),
        }
    }
}

impl Display for ObjectNat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.dynamic { "dynamic" } else { "static" };
        write!(f, "nat {} {kind} {}", self.pair, target(&self.mapped, &self.pool))?;
        write!(f, "{}", self.options)?;
        if let Some((proto, real, mapped)) = self.service {
            let port = |p| ports::port_text(proto, p);
            write!(f, " service {} {} {}", ports::proto_text(proto), port(real), port(mapped))?;
        }
        Ok(())
    }
}

impl Display for ManualNat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice(nat) => nat.fmt(f),
            Self::Static(nat) => nat.fmt(f),
        }
    }
}

impl Display for TwiceNat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = if self.after_auto { " after-auto" } else { "" };
        let kind = if self.dynamic { "dynamic" } else { "static" };
        write!(f, "nat {}{after} source {kind} {}", self.pair, object_or_any(&self.real))?;
        match &self.mapped {
            Some(mapped) => write!(f, " {}", target(mapped, &self.pool))?,
            None => f.write_str(" any")?,
        }
        if let Some((mapped, real)) = &self.destination {
            write!(f, " destination static {mapped} {real}")?;
        }
        if let Some((real, mapped)) = &self.service {
            write!(f, " service {real} {mapped}")?;
        }
        write!(f, "{}", self.options)
    }
}

impl Display for LegacyStatic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (real, mask) = (self.real.addr(), self.real.mask());
        match self.service {
            Some((proto, real_port, mapped_port)) => {
                let port = |p| ports::port_text(proto, p);
                let (real_port, mapped_port) = (port(real_port), port(mapped_port));
                let proto = ports::proto_text(proto);
                let (pair, mapped) = (&self.pair, &self.mapped);
                write!(f, "static {pair} {proto} {mapped} {mapped_port} {real} {real_port} netmask {mask}")
            }
            None => write!(f, "static {} {} {real} netmask {mask}", self.pair, self.mapped),
        }
    }
}

impl Display for GlobalAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(addr) => write!(f, "{addr}"),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
            Self::Interface => f.write_str("interface"),
        }
    }
}

impl Display for LegacyGlobal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "global ({}) {} {}", self.interface, self.id, self.mapped)
    }
}

impl Display for LegacyReal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(net) => net.fmt(f),
            Self::Acl(name) => write!(f, "access-list {name}"),
        }
    }
}

impl Display for LegacyNat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nat ({}) {} {}", self.interface, self.id, self.real)
    }
}
