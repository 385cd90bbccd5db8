// SPDX-License-Identifier: MIT OR Apache-2.0
//! `logging` and `flow-export` lines.

use super::{Done, Editor, flag, missing, single};
use crate::config::check::{About, Fault};
use crate::config::model::logging::{Destination, MOST_DESTINATIONS, MOST_HOSTS, Treated};
use crate::config::raw::Logging;

impl Editor {
    pub(super) fn flow_export(&mut self, to: Destination, negated: bool) -> Done {
        let destinations = &mut self.model.export.destinations;
        if !negated && destinations.len() >= MOST_DESTINATIONS && !destinations.contains(&to) {
            return Err(Fault::error(format!("there are {MOST_DESTINATIONS} destinations already")));
        }
        match (negated, destinations.contains(&to)) {
            (true, true) => drop(destinations.remove(&to)),
            (true, false) => return Err(missing()),
            (false, _) => drop(destinations.insert(to)),
        }
        Ok(About::Other)
    }

    pub(super) fn logging(&mut self, line: Logging, negated: bool) -> Done {
        let syslog = &mut self.model.syslog;
        match line {
            Logging::Enable => flag(&mut syslog.enable, negated),
            // Whatever its form.
            Logging::Timestamp(_) if negated => unset(&mut syslog.timestamp, None),
            Logging::Timestamp(stamp) => single(&mut syslog.timestamp, stamp, false, About::Other),
            Logging::Facility(value) => set(&mut syslog.facility, value, negated),
            Logging::DeviceId(value) => set(&mut syslog.device_id, value, negated).map(|_| About::DeviceId),
            Logging::BufferSize(value) => set(&mut syslog.buffer_size, value, negated),
            Logging::Buffered(value) => set(&mut syslog.buffered, value, negated),
            Logging::Trap(value) => set(&mut syslog.trap, value, negated),
            Logging::Queue(value) => set(&mut syslog.queue, value, negated),
            Logging::Host(key, form) => {
                let about = About::LogHost(key.clone());
                if negated {
                    return syslog.hosts.remove(&key).map(|_| about).ok_or_else(missing);
                }
                if syslog.hosts.len() >= MOST_HOSTS && !syslog.hosts.contains_key(&key) {
                    return Err(Fault::error(format!("there are {MOST_HOSTS} collectors already")));
                }
                syslog.hosts.insert(key, form);
                Ok(about)
            }
            Logging::NoHost(interface, address) => {
                let before = syslog.hosts.len();
                syslog.hosts.retain(|key, _| key.interface != interface || key.address != address);
                if syslog.hosts.len() == before { Err(missing()) } else { Ok(About::Other) }
            }
            Logging::Message(number, level) => {
                let treated = syslog.messages.entry(number).or_default();
                match (level, negated) {
                    (None, _) => treated.disabled = negated,
                    (Some(level), false) => treated.level = level,
                    (Some(level), true)
                        if treated.level.is_some() && level.is_none_or(|l| treated.level == Some(l)) =>
                    {
                        treated.level = None;
                    }
                    (Some(_), true) => return Err(missing()),
                }
                if *treated == Treated::default() {
                    syslog.messages.remove(&number);
                }
                Ok(About::Other)
            }
            Logging::Rate(of, rate) => match (negated, rate) {
                (false, Some(rate)) => {
                    syslog.rates.insert(of, rate);
                    Ok(About::Other)
                }
                (true, rate)
                    if syslog.rates.get(&of).is_some_and(|old| rate.is_none_or(|rate| rate == *old)) =>
                {
                    syslog.rates.remove(&of);
                    Ok(About::Other)
                }
                (_, _) => Err(missing()),
            },
        }
    }
}

/// A setting that `no` takes out with or without its value.
pub(super) fn set<T: PartialEq>(slot: &mut Option<T>, value: Option<T>, negated: bool) -> Done {
    match value {
        value if negated => unset(slot, value),
        Some(value) => single(slot, value, false, About::Other),
        None => Err(missing()),
    }
}

fn unset<T: PartialEq>(slot: &mut Option<T>, value: Option<T>) -> Done {
    if slot.is_none() || (value.is_some() && *slot != value) {
        return Err(missing());
    }
    *slot = None;
    Ok(About::Other)
}
