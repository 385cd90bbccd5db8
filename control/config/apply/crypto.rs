// SPDX-License-Identifier: MIT OR Apache-2.0
//! `crypto ca trustpoint`, `tls-proxy` and `ssl` into the model.

use crate::config::check::{About, Fault};
use crate::config::model::{Der, Revocation, Trustpoint};
use crate::config::print;
use crate::config::raw::{Certificate, Command, Face, FaceUse, TrustFile};

use super::{Done, Editor, Scope, member, misplaced, missing, single};

impl Editor {
    pub(super) fn crypto(&mut self, command: Command, negated: bool) -> Done {
        let model = &mut self.model;
        match command {
            Command::Trustpoint(name) => {
                Self::node(&mut model.trustpoints, &name, negated)?;
                self.scope = if negated { Scope::Top } else { Scope::Trustpoint(name.clone()) };
                Ok(About::Trustpoint(name))
            }
            Command::TlsProxy(name) => {
                Self::node(&mut model.tls_proxies, &name, negated)?;
                self.scope = if negated { Scope::Top } else { Scope::TlsProxy(name.clone()) };
                Ok(About::TlsProxy(name))
            }
            Command::MaxProxySessions(most) => {
                single(&mut model.max_proxy_sessions, most, negated, About::Other)
            }
            Command::SslVersion(face, only_13) => {
                let slot = match face {
                    Face::Server => &mut model.ssl.server_13_only,
                    Face::Client => &mut model.ssl.client_13_only,
                };
                if negated && *slot != only_13 {
                    return Err(missing());
                }
                *slot = only_13 && !negated;
                Ok(About::Ssl)
            }
            Command::SslCipher(is_13, bits) => {
                let slot = if is_13 { &mut model.ssl.suites_13 } else { &mut model.ssl.suites_12 };
                single(slot, bits, negated, About::Ssl)
            }
            Command::SslEncryption(suites_12, suites_13) => {
                single(&mut model.ssl.suites_12, suites_12, negated, About::Ssl)?;
                single(&mut model.ssl.suites_13, suites_13, negated, About::Ssl)
            }
            Command::CertificateChain(name) => {
                let Some(trustpoint) = model.trustpoints.get_mut(&name) else {
                    return Err(
                        Fault::error(format!("there is no `crypto ca trustpoint {name}`")).word(&name)
                    );
                };
                if negated {
                    (trustpoint.own, trustpoint.cas) = (None, Vec::new());
                    self.scope = Scope::Top;
                } else {
                    self.scope = Scope::Chain(name.clone());
                }
                Ok(About::Trustpoint(name))
            }
            Command::Certificate(certificate) => self.chained(certificate, negated),
            Command::TrustPoint(..)
            | Command::FaceSuites(..)
            | Command::FaceVersion(..)
            | Command::AuthenticateClient => self.face(command, negated),
            other => {
                let Scope::Trustpoint(name) = &self.scope else { return Err(misplaced()) };
                let trustpoint = model.trustpoints.entry(name.clone()).or_default();
                trustpoint_line(trustpoint, name, other, negated)
            }
        }
    }

    /// A certificate of a chain, in place of the files that a trustpoint may have named before.
    fn chained(&mut self, Certificate { ca, serial, der }: Certificate, negated: bool) -> Done {
        let Scope::Chain(name) = &self.scope else { return Err(misplaced()) };
        let trustpoint = self.model.trustpoints.get_mut(name).ok_or_else(misplaced)?;
        let named = |der: &Der| print::serial(der) == serial;
        match (negated, ca) {
            (false, true) => {
                trustpoint.ca = None;
                if !trustpoint.cas.iter().any(|known| **known == *der) {
                    trustpoint.cas.push(der.into());
                }
            }
            (false, false) => {
                trustpoint.certificate = None;
                trustpoint.own = Some(der.into());
            }
            (true, true) => {
                let at = trustpoint.cas.iter().position(named).ok_or_else(missing)?;
                trustpoint.cas.remove(at);
            }
            (true, false) if trustpoint.own.as_ref().is_some_and(named) => trustpoint.own = None,
            (true, false) => return Err(missing()),
        }
        Ok(if ca { About::Ca(name.clone()) } else { About::Certificate(name.clone()) })
    }

    fn face(&mut self, command: Command, negated: bool) -> Done {
        let Scope::TlsProxy(name) = &self.scope else { return Err(misplaced()) };
        let proxy = self.model.tls_proxies.entry(name.clone()).or_default();
        let which = match command {
            Command::AuthenticateClient => {
                proxy.anonymous_clients = negated;
                return Ok(About::ServerFace(name.clone()));
            }
            Command::TrustPoint(face, ..) | Command::FaceSuites(face, _) | Command::FaceVersion(face, _) => {
                face
            }
            _ => return Err(misplaced()),
        };
        let (face, about) = match which {
            Face::Server => (&mut proxy.server, About::ServerFace(name.clone())),
            Face::Client => (&mut proxy.client, About::ClientFace(name.clone())),
        };
        match command {
            Command::TrustPoint(_, trustpoint, FaceUse::Show) => {
                single(&mut face.shown, trustpoint, negated, about)
            }
            Command::TrustPoint(_, trustpoint, FaceUse::Verify) => {
                member(&mut face.vouchers, trustpoint, negated, about)
            }
            Command::TrustPoint(_, trustpoint, FaceUse::Named(domain)) => {
                if !negated {
                    face.by_name.insert(domain, trustpoint);
                } else if face.by_name.get(&domain) != Some(&trustpoint) {
                    return Err(missing());
                } else {
                    face.by_name.remove(&domain);
                }
                Ok(about)
            }
            Command::FaceSuites(_, bits) => single(&mut face.tls.suites, bits, negated, about),
            Command::FaceVersion(_, only_13) => single(&mut face.tls.only_13, only_13, negated, about),
            _ => Err(misplaced()),
        }
    }
}

fn trustpoint_line(trustpoint: &mut Trustpoint, name: &str, command: Command, negated: bool) -> Done {
    let about = || About::Trustpoint(name.to_owned());
    match command {
        Command::TrustFile(which, path) => {
            let name = name.to_owned();
            match which {
                TrustFile::Certificate if !negated => trustpoint.own = None,
                TrustFile::Ca if !negated => trustpoint.cas = Vec::new(),
                TrustFile::Certificate | TrustFile::Ca | TrustFile::Key | TrustFile::Crl => {}
            }
            let (slot, about) = match which {
                TrustFile::Certificate => (&mut trustpoint.certificate, About::Certificate(name)),
                TrustFile::Key => (&mut trustpoint.key, About::Key(name)),
                TrustFile::Ca => (&mut trustpoint.ca, About::Ca(name)),
                TrustFile::Crl => (&mut trustpoint.crl, About::Crl(name)),
            };
            single(slot, path, negated, about)
        }
        Command::RevocationCheck(check) => {
            if negated && trustpoint.revocation != check {
                return Err(missing());
            }
            trustpoint.revocation = if negated { Revocation::None } else { check };
            Ok(About::Crl(name.to_owned()))
        }
        Command::CrlConfigure => {
            if negated {
                trustpoint.stale_lists = false;
                trustpoint.crl_urls.clear();
                trustpoint.crl_cache = None;
            }
            Ok(about())
        }
        Command::CrlUrl(index, url) => {
            if !negated {
                trustpoint.crl_urls.insert(index, url);
            } else if trustpoint.crl_urls.get(&index) == Some(&url) {
                trustpoint.crl_urls.remove(&index);
            } else {
                return Err(missing());
            }
            Ok(about())
        }
        Command::CrlCacheTime(minutes) => single(&mut trustpoint.crl_cache, minutes, negated, about()),
        Command::EnforceNextUpdate => {
            trustpoint.stale_lists = negated;
            Ok(about())
        }
        Command::ShownSuites(bits) => single(&mut trustpoint.tls.suites, bits, negated, about()),
        Command::ShownVersion(only_13) => single(&mut trustpoint.tls.only_13, only_13, negated, about()),
        Command::ShownAuthenticateClient => {
            trustpoint.anonymous_clients = negated;
            Ok(about())
        }
        Command::Enrollment(way) => single(&mut trustpoint.enrollment, way, negated, about()),
        Command::Fqdn(name) => single(&mut trustpoint.fqdn, name, negated, about()),
        Command::SubjectName(dn) => single(&mut trustpoint.subject, dn, negated, about()),
        Command::KeyPair(label) => single(&mut trustpoint.keypair, label, negated, about()),
        _ => Err(misplaced()),
    }
}
