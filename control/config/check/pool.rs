// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pools: each that a proxy names is there and has somebody in it.

use fedgate_tables::policy::MAX_MEMBERS;

use super::{About, Fault, Found};
use crate::config::model::Model;

pub(super) fn pools(model: &Model, found: &mut Found) {
    for (name, proxy) in &model.tls_proxies {
        let Some(pool) = &proxy.pool else { continue };
        let fault = match model.sip_pools.get(pool) {
            None => Fault::error(format!("there is no `sip-pool {pool}`")),
            Some(it) if it.members.is_empty() => {
                Fault::error(format!("sip-pool {pool} has no member, so nobody would be called"))
                    .help("write `member ADDRESS` under it first")
            }
            Some(_) => continue,
        };
        found.push((About::ClientPool(name.clone()), fault.word(pool)));
    }
    for (name, pool) in &model.sip_pools {
        let about = || About::SipPool(name.clone());
        if pool.members.len() > MAX_MEMBERS {
            let what =
                format!("sip-pool {name} has {} members; at most {MAX_MEMBERS} fit", pool.members.len());
            found.push((about(), Fault::error(what)));
        }
        let used = model.tls_proxies.values().any(|proxy| proxy.pool.as_ref() == Some(name));
        if !used {
            let help = format!("`client sip-pool {name}` under a tls-proxy puts it to use");
            found.push((about(), Fault::warning(format!("no tls-proxy uses sip-pool {name}")).help(help)));
        } else if !pool.members.is_empty() && pool.members.values().all(|share| share.drain) {
            let what = format!("all members of sip-pool {name} drain: what is new is answered 503");
            found.push((about(), Fault::warning(what)));
        }
    }
}
