// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS proxies and trustpoints: what a face names must be there, somebody must vouch for its peers, and something must be spoken.
//!
//! A CA vouches only where its trustpoint is named. A proxy that cannot speak yet, because there is no certificate or nobody who vouches, is
//! warned of and refuses connections: configurations come before certificates. What the files of trustpoints hold is [`crate::config::trust`]'s matter.

use std::collections::HashMap;

use super::{About, Fault, Found};
use crate::config::model::{DomainKey, Model, Profile, Revocation, TlsFace, TlsProxy};

/// Most domains that are bound to trustpoints.
const MAX_BOUND: usize = 4096;

/// What comes of a proxy that cannot speak yet.
const REFUSES: &str = "refuses every connection until there is";

/// Whether everything is there that a proxy needs to speak. One that is not ready takes its connections all the same, and refuses them.
pub fn is_ready(model: &Model, proxy: &TlsProxy) -> bool {
    let identity =
        |name: &String| model.trustpoints.get(name).is_some_and(|t| t.has_certificate() && t.key.is_some());
    [&proxy.server, &proxy.client].into_iter().all(|face| {
        face.shown.iter().chain(face.by_name.values()).all(identity) && !face.trusted(model).is_empty()
    })
}

/// CAs that vouch for nobody: on an ASA they would for everybody.
fn unused(model: &Model, found: &mut Found) {
    if model.tls_proxies.is_empty() {
        return;
    }
    let faces = || model.tls_proxies.values().flat_map(|proxy| [&proxy.server, &proxy.client]);
    for (name, _) in model.trustpoints.iter().filter(|(_, t)| t.has_ca()) {
        let named = |face: &TlsFace| face.shown.as_ref() == Some(name) || face.vouchers.contains(name);
        let bound = model.domain_trust.values().any(|bound| bound == name);
        if !bound && !faces().any(named) && !faces().any(|face| face.by_name.values().any(|t| t == name)) {
            let what =
                format!("the CA of trustpoint {name} vouches for nobody: on an ASA it would on every face");
            let help = format!(
                "under the `tls-proxy` whose peers it is for: `server trust-point {name} verify` (for TCP clients) or \
                 `client trust-point {name} verify`"
            );
            found.push((About::Trustpoint(name.clone()), Fault::warning(what).help(help)));
        }
    }
}

/// Trustpoints and TLS proxies.
pub fn proxies(model: &Model, found: &mut Found) {
    for (name, trustpoint) in &model.trustpoints {
        if trustpoint.has_certificate() != trustpoint.key.is_some() {
            let (has, lacks) =
                if trustpoint.key.is_some() { ("key", "certificate") } else { ("certificate", "key") };
            let what = format!("trustpoint {name} has a {has} but no {lacks}: it is no identity yet");
            let help = match trustpoint.own {
                Some(_) => {
                    "no configuration of an ASA holds private keys: `crypto ca export TRUSTPOINT pkcs12 PASSPHRASE` there, `crypto ca \
                            import TRUSTPOINT pkcs12 PASSPHRASE file PATH` here; or `key file PATH`"
                }
                None => "give it both, or `crypto ca enroll` and `crypto ca import`",
            };
            found.push((About::Trustpoint(name.clone()), Fault::warning(what).help(help)));
        }
        let about = || About::Crl(name.clone());
        if trustpoint.crl.is_none() && trustpoint.revocation == Revocation::Crl {
            let what = format!(
                "trustpoint {name} has no `crl file`: with `revocation-check crl` it vouches for nobody until one is fetched"
            );
            let help = "`url 1 http://...` under `crl configure` says where lists are; `revocation-check crl none` takes who is in no list";
            found.push((about(), Fault::warning(what).help(help)));
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
            let what =
                format!("tls-proxy {name}: no CA vouches for the peers of its {which} face: it {REFUSES}");
            let help = format!("name a trustpoint that has a CA: `{which} trust-point TRUSTPOINT verify`");
            let about = if which == "server" {
                About::ServerFace(name.clone())
            } else {
                About::ClientFace(name.clone())
            };
            found.push((about, Fault::warning(what).help(help)));
        }
    }
    unused(model, found);
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
            Some(files) if !files.has_certificate() || files.key.is_none() => {
                let what = format!(
                    "trustpoint {trustpoint} has no certificate and key to show: tls-proxy {proxy} {REFUSES}"
                );
                let help =
                    "give it `certificate file PATH` and `key file PATH`, or enroll it, or import them";
                found.push((about.clone(), Fault::warning(what).word(trustpoint).help(help)));
            }
            Some(_) => {}
        }
    }
    for trustpoint in &face.vouchers {
        match model.trustpoints.get(trustpoint) {
            None => found.push((about.clone(), unknown(trustpoint))),
            Some(files) if !files.has_ca() => {
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
            Some(files) if !files.has_ca() => {
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
