// SPDX-License-Identifier: MIT OR Apache-2.0
//! `logging` lines, in the ASA's order.

use std::fmt::{self, Write};

use super::line;
use crate::config::model::logging::Syslog;
use crate::config::parse::acl::level_text;

pub(super) fn logging(syslog: &Syslog, out: &mut impl Write) -> fmt::Result {
    if syslog.enable {
        writeln!(out, "logging enable")?;
    }
    if let Some(stamp) = &syslog.timestamp {
        writeln!(out, "logging timestamp{stamp}")?;
    }
    line(out, "logging buffer-size", &syslog.buffer_size)?;
    line(out, "logging buffered", &syslog.buffered.map(level_text))?;
    line(out, "logging trap", &syslog.trap.map(level_text))?;
    line(out, "logging facility", &syslog.facility)?;
    line(out, "logging queue", &syslog.queue)?;
    line(out, "logging device-id", &syslog.device_id)?;
    for (key, form) in &syslog.hosts {
        writeln!(out, "logging host {key}{form}")?;
    }
    for (number, treated) in &syslog.messages {
        if treated.disabled {
            writeln!(out, "no logging message {number}")?;
        }
        if let Some(level) = treated.level {
            writeln!(out, "logging message {number} level {}", level_text(level))?;
        }
    }
    for (of, rate) in &syslog.rates {
        writeln!(out, "logging rate-limit {rate} {of}")?;
    }
    Ok(())
}
