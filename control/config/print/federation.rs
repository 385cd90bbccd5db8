// SPDX-License-Identifier: MIT OR Apache-2.0
//! `dns server-group` and `federation` as text.

use std::fmt::{self, Write};

use super::line;
use crate::config::model::Model;
use crate::config::model::federation::{Dns, Federation};

pub(super) fn dns(model: &Model, out: &mut impl Write) -> fmt::Result {
    let dns = &model.dns;
    if *dns == Dns::default() {
        return Ok(());
    }
    writeln!(out, "dns server-group DefaultDNS")?;
    dns.servers.iter().try_for_each(|server| writeln!(out, " name-server {server}"))?;
    line(out, " source-address", &dns.source)?;
    line(out, " timeout", &dns.timeout)?;
    line(out, " retries", &dns.retries)
}

pub(super) fn federations(model: &Model, out: &mut impl Write) -> fmt::Result {
    if model.federation_default != Federation::default() {
        writeln!(out, "federation default")?;
        under(&model.federation_default, out)?;
    }
    for (name, federation) in &model.federations {
        writeln!(out, "federation domain {name}")?;
        under(federation, out)?;
    }
    Ok(())
}

fn under(federation: &Federation, out: &mut impl Write) -> fmt::Result {
    if federation.srv {
        writeln!(out, " srv")?;
    }
    line(out, " rate-limit", &federation.rate)?;
    line(out, " maximum-session", &federation.sessions)
}
