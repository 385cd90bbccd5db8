// SPDX-License-Identifier: MIT OR Apache-2.0
//! `federation`: each domain is a foreign one that may federate, and who is to be asked for its edges is known.

use fedgate_sip::partner::MAX_PARTNERS;

use super::{About, Fault, Found};
use crate::config::domains::covering;
use crate::config::model::{DomainKey, Model};

pub(super) fn federations(model: &Model, found: &mut Found) {
    for (name, federation) in &model.federations {
        let about = || About::Federation(Some(name.clone()));
        if model.local_domains.contains(name) {
            let what = format!("{name} is a local domain: nobody federates with himself");
            found.push((about(), Fault::error(what).word(name)));
            continue;
        }
        let key = DomainKey { name: name.clone(), wildcard: false };
        let permitted = model.domains.get(&key).is_some_and(|entry| entry.permit.is_some());
        if !permitted && covering(model, name).is_empty() {
            let help = format!("`permit domain {name}` lets it federate");
            found.push((about(), Fault::warning(format!("{name} is not permitted")).help(help).word(name)));
        }
        if federation.srv && model.dns.servers.is_empty() {
            let fault = Fault::error(format!("{name}: there is no name server to ask for its edges"));
            found.push((
                about(),
                fault.help("`dns server-group DefaultDNS`, and `name-server ADDRESS` under it"),
            ));
        }
    }
    if model.federations.len() > MAX_PARTNERS {
        let what = format!("{} domains with `federation`; at most {MAX_PARTNERS}", model.federations.len());
        found.push((About::Federation(None), Fault::error(what)));
    }
    let dns = &model.dns;
    if let Some(source) = dns.source
        && dns.servers.iter().all(|server| server.is_ipv4() != source.is_ipv4())
        && !dns.servers.is_empty()
    {
        let what = format!("no name server can be asked from {source}: it is of the other IP version");
        found.push((About::Dns, Fault::error(what)));
    }
}
