// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `logging` lines name is there, and `metrics` can be.

use super::{About, Fault, Found};
use crate::config::model::Model;
use crate::config::model::logging::DeviceId;

pub(super) fn logging(model: &Model, found: &mut Found) {
    let syslog = &model.syslog;
    if let Some(DeviceId::Address(name)) = &syslog.device_id
        && model.interface(name).is_none_or(|interface| interface.address.is_none())
    {
        let what = format!("there is no interface `{name}` with an address");
        found.push((About::DeviceId, Fault::error(what).word(name)));
    }
    if let Some(at) = model.metrics
        && let Some(name) = model.interfaces.iter().find_map(|interface| {
            let own = interface.address.map(|(address, _)| address.into());
            interface.nameif.as_deref().filter(|_| own == Some(at.ip()))
        })
    {
        let what = format!("{} is the dataplane's address on {name}, where nothing listens", at.ip());
        let help = "name an address of the machine's own management, or 127.0.0.1";
        found.push((About::Metrics, Fault::error(what).help(help)));
    }
    for (key, form) in &syslog.hosts {
        let Some(secure) = &form.secure else { continue };
        let name = &secure.trustpoint;
        let what = match model.trustpoints.get(name) {
            None => format!("there is no trustpoint `{name}`"),
            Some(trustpoint) if !trustpoint.has_ca() => {
                format!("trustpoint `{name}` has no CA that could vouch for the collector")
            }
            Some(_) => continue,
        };
        found.push((About::LogHost(key.clone()), Fault::error(what).word(name)));
    }
}
