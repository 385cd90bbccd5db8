// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS proxies and trustpoints: what a face names must be there, somebody must vouch for its peers, and something must be spoken.
//!
//! A CA vouches only where its trustpoint is named: a proxy whose faces name none would take nobody, so that is an error here and
//! not a surprise at the first handshake. What the files of trustpoints hold is [`crate::config::trust`]'s matter.

use std::collections::HashMap;

use super::{About, Fault, Found};
use crate::config::model::{DomainKey, Model, Profile, Revocation, TlsFace};

/// Most domains that are bound to trustpoints.
const MAX_BOUND: usize = 4096;

/// Trustpoints and TLS proxies.
pub fn proxies(model: &Model, found: &mut Found) {
    for (name, trustpoint) in &model.trustpoints {
        if trustpoint.certificate.is_some() != trustpoint.key.is_some() {
            let (has, lacks) =
                if trustpoint.key.is_some() { ("key", "certificate") } else { ("certificate", "key") };
            let what = format!("trustpoint {name} has a {has} but no {lacks}: it is no identity yet");
            found.push((About::Trustpoint(name.clone()), Fault::warning(what)));
        }
        let about = || About::Crl(name.clone());
        if trustpoint.crl.is_none() && trustpoint.revocation == Revocation::Crl {
            let what = format!(
                "trustpoint {name} has no `crl file`: with `revocation-check crl` it vouches for nobody"
            );
            found.push((
                about(),
                Fault::warning(what).help("`revocation-check crl none` takes who is in no list"),
            ));
        }
        if trustpoint.crl.is_some() && trustpoint.revocation == Revocation::None {
            let what = format!("the revocation lists of {name} are not asked");
            found.push((about(), Fault::warning(what).help("`revocation-check crl` asks them")));
        }
    }
    for (name, proxy) in &model.tls_proxies {
        let ssl = &model.ssl;
        face(
            model,
            name,
            "server",
            &proxy.server,
            ssl.server_13_only,
            About::ServerFace(name.clone()),
            found,
        );
        face(
            model,
            name,
            "client",
            &proxy.client,
            ssl.client_13_only,
            About::ClientFace(name.clone()),
            found,
        );
        if proxy.server.shown.is_none() || proxy.client.shown.is_none() {
            continue;
        }
        for (which, face) in [("server", &proxy.server), ("client", &proxy.client)] {
            if !face.trusted(model).is_empty() {
                continue;
            }
            let what = format!("tls-proxy {name}: no CA vouches for the peers of its {which} face");
            let help = format!(
                "name a trustpoint that has a `ca file`: `{which} trust-point TRUSTPOINT verify`, before the proxy's second \
                 trust-point where lines are typed"
            );
            let about = if which == "server" {
                About::ServerFace(name.clone())
            } else {
                About::ClientFace(name.clone())
            };
            found.push((about, Fault::error(what).help(help)));
        }
    }
}

fn face(
    model: &Model,
    proxy: &str,
    which: &str,
    face: &TlsFace,
    only_13: bool,
    about: About,
    found: &mut Found,
) {
    for trustpoint in face.shown.iter().chain(face.by_name.values()) {
        match model.trustpoints.get(trustpoint) {
            None => found.push((about.clone(), unknown(trustpoint))),
            Some(files) if files.certificate.is_none() || files.key.is_none() => {
                let what = format!("trustpoint {trustpoint} has no certificate and key to show");
                let help = "give it `certificate file PATH` and `key file PATH`, or import them";
                found.push((about.clone(), Fault::error(what).word(trustpoint).help(help)));
            }
            Some(_) => {}
        }
    }
    for trustpoint in &face.vouchers {
        match model.trustpoints.get(trustpoint) {
            None => found.push((about.clone(), unknown(trustpoint))),
            Some(files) if files.ca.is_none() => {
                let what = format!("trustpoint {trustpoint} has no `ca file`, so it cannot vouch");
                found.push((about.clone(), Fault::error(what).word(trustpoint)));
            }
            Some(_) => {}
        }
    }
    let shown = face
        .shown
        .iter()
        .chain(face.by_name.values())
        .filter_map(|name| Some((Some(name), model.trustpoints.get(name)?.tls)));
    let unshown = face.shown.is_none().then_some((None, Profile::default()));
    for (name, tls) in unshown.into_iter().chain(shown) {
        if face.spoken(tls, &model.ssl, only_13).1 == 0 {
            let shows = match name.filter(|_| tls != Profile::default()) {
                Some(name) => format!(" with trustpoint {name}"),
                None => String::new(),
            };
            let what = format!(
                "tls-proxy {proxy}: of the suites of its {which} face{shows} none is of a version it speaks"
            );
            found.push((about.clone(), Fault::error(what)));
        }
    }
}

/// Domains that are bound to a trustpoint.
pub fn domains(model: &Model, found: &mut Found) {
    let mut names: HashMap<(&str, bool), (&DomainKey, &str)> = HashMap::new();
    for (key, trustpoint) in &model.domain_trust {
        let about = || About::BoundDomain(key.clone());
        match model.trustpoints.get(trustpoint) {
            None => found.push((about(), unknown(trustpoint))),
            Some(files) if files.ca.is_none() => {
                let what = format!("trustpoint {trustpoint} has no `ca file`, so it cannot vouch");
                found.push((about(), Fault::error(what).word(trustpoint)));
            }
            Some(_) => {
                let named = |face: &TlsFace| face.trusted(model).contains(&trustpoint.as_str());
                if !model.tls_proxies.values().any(|proxy| named(&proxy.server) || named(&proxy.client)) {
                    let what = format!(
                        "nobody can speak for {key}: trustpoint {trustpoint} vouches for no face of a tls-proxy"
                    );
                    found.push((about(), Fault::warning(what).word(trustpoint)));
                }
            }
        }
        let name = bound_name(model, key);
        if let Some((other, first)) =
            names.insert(name, (key, trustpoint)).filter(|(_, first)| first != trustpoint)
        {
            let what = format!(
                "certificates with the name {} are bound to trustpoint {first} by {other} already",
                name.0
            );
            found.push((about(), Fault::error(what).word(trustpoint)));
        }
    }
    if model.domain_trust.len() > MAX_BOUND {
        let what =
            format!("{} domains are bound to trustpoints; at most {MAX_BOUND} may", model.domain_trust.len());
        found.push((About::Other, Fault::error(what)));
    }
}

/// The name in a certificate by which a domain is spoken for, and whether all names under it are meant.
pub fn bound_name<'m>(model: &'m Model, key: &'m DomainKey) -> (&'m str, bool) {
    let peer = model.domains.get(key).and_then(|entry| entry.permit.as_ref()).and_then(|p| p.peer.as_deref());
    peer.map_or((&key.name, key.wildcard), |peer| (peer, false))
}

fn unknown(trustpoint: &str) -> Fault {
    Fault::error(format!("there is no `crypto ca trustpoint {trustpoint}`")).word(trustpoint)
}
