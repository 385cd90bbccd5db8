// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `logging` lines name is there.

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
