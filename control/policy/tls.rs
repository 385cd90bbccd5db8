// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trustpoints with their material, and the TLS proxies that have both faces: names become indices, defaults what they mean.

use std::collections::HashMap;

use fedgate_tables::policy::{
    FACE_NO_CLIENT_AUTH, Face, NameTrust, REVOCATION_CRL, REVOCATION_ENFORCE_UPDATE, REVOCATION_OR_NONE,
    Shown, TlsProxy, Trustpoint,
};

use super::Compiler;
use super::slots::RuleSlots;
use crate::config::Config;
use crate::config::check::crypto::{bound_name, is_ready};
use crate::config::model::{self, Profile, Revocation, TlsFace, sip};

impl<'m> Compiler<'m> {
    /// Gives the indices of the proxies, each alone and with each inspect map that it is used with.
    pub(super) fn tls(
        &mut self,
        config: &Config,
        rules: &RuleSlots,
    ) -> HashMap<(&'m str, Option<&'m str>), u32> {
        let mut trustpoints = HashMap::new();
        for (name, pem) in &config.material {
            // Half an identity is none yet.
            let whole = !pem.chain.is_empty() && !pem.key.is_empty();
            let (chain, key): (&[u8], &[u8]) = if whole { (&pem.chain, &pem.key) } else { (&[], &[]) };
            let element = Trustpoint {
                name: self.builder.blob(name.as_bytes()),
                chain: self.builder.blob(chain),
                key: self.builder.blob(key),
                cas: self.builder.blob(&pem.cas),
                crls: self.builder.blob(&pem.crls),
                revocation: self.model.trustpoints.get(name).map_or(0, revocation),
                reserved: 0,
            };
            trustpoints.insert(name.clone(), self.builder.trustpoint(element));
        }
        let (mut proxies, mut elements) = (HashMap::new(), HashMap::new());
        let model = self.model;
        for (key, trustpoint) in &model.domain_trust {
            let (name, wildcard) = bound_name(model, key);
            let Some(&trustpoint) = trustpoints.get(trustpoint) else { continue };
            let name = self.builder.blob(name.as_bytes());
            self.builder.name_trust(NameTrust { name, wildcard: u32::from(wildcard), trustpoint });
        }
        for (name, proxy) in model.whole_proxies() {
            let (mut server, mut client) = Default::default();
            // Faces that show nothing: the dataplane refuses what is for them.
            if is_ready(model, proxy) {
                server = self.face(&proxy.server, model.ssl.server_13_only, Some(proxy), &trustpoints);
                client = self.face(&proxy.client, model.ssl.client_13_only, None, &trustpoints);
            }
            let element =
                TlsProxy { name: self.builder.blob(name.as_bytes()), server, client, ..TlsProxy::default() };
            elements.insert(name.as_str(), element);
            proxies.insert((name.as_str(), None), self.builder.tls_proxy(element));
        }
        // Behind them one more for each map that a proxy is used with: a number says both.
        for (name, map) in super::inspected(model) {
            let Some(&plain) = elements.get(name) else { continue };
            let slot = |text: &str| rules.get(&(map.to_owned(), text.to_owned())).copied().unwrap_or(0);
            let spec = sip::spec(model, map, slot);
            let Some(text) = spec.and_then(|spec| serde_json::to_vec(&spec).ok()) else { continue };
            let inspect = self.builder.blob(&text);
            let element = TlsProxy { inspect, ..plain };
            proxies.insert((name, Some(map)), self.builder.tls_proxy(element));
        }
        proxies
    }

    /// The check has seen that every trustpoint a face names is there. `server`: its proxy, of a face towards clients.
    fn face(
        &mut self,
        face: &TlsFace,
        only_13: bool,
        server: Option<&model::TlsProxy>,
        trustpoints: &HashMap<String, u32>,
    ) -> Face {
        let model = self.model;
        let spoken = |shown: Option<&String>| {
            let shown = shown.and_then(|name| model.trustpoints.get(name));
            let (suites, flags) =
                face.spoken(shown.map_or(Profile::default(), |t| t.tls), &model.ssl, only_13);
            let anonymous = server
                .is_some_and(|proxy| proxy.anonymous_clients || shown.is_some_and(|t| t.anonymous_clients));
            (suites, flags | if anonymous { FACE_NO_CLIENT_AUTH } else { 0 })
        };
        let default = face.shown.iter().map(|trustpoint| (trustpoint, ""));
        let named = face.by_name.iter().map(|(domain, trustpoint)| (trustpoint, domain.as_str()));
        let mut shown = Vec::new();
        for (name, domain) in default.chain(named) {
            let Some(&trustpoint) = trustpoints.get(name) else { continue };
            let (suites, flags) = if domain.is_empty() { (0, 0) } else { spoken(Some(name)) };
            shown.push(Shown { trustpoint, domain: self.builder.blob(domain.as_bytes()), suites, flags });
        }
        let vouchers = face.trusted(self.model);
        let vouchers: Vec<u32> = vouchers.iter().filter_map(|name| trustpoints.get(*name)).copied().collect();
        let (suites, flags) = spoken(face.shown.as_ref());
        Face { suites, flags, ..self.builder.face(&shown, &vouchers) }
    }
}

fn revocation(trustpoint: &model::Trustpoint) -> u32 {
    let check = match trustpoint.revocation {
        Revocation::None => return 0,
        Revocation::Crl => REVOCATION_CRL,
        Revocation::CrlOrNone => REVOCATION_CRL | REVOCATION_OR_NONE,
    };
    check | if trustpoint.stale_lists { 0 } else { REVOCATION_ENFORCE_UPDATE }
}
