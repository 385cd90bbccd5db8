// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trustpoints, `ssl` and TLS proxies as text. What is in files is named by them; keys are never printed.

use std::fmt::{self, Write};
use std::path::Path;

use fedgate_tables::policy::{FACE_TLS12, FACE_TLS13, suites};

use super::line;
use crate::config::model::{Der, Enrollment, Model, Profile, Revocation, TlsFace, Trustpoint};
use crate::config::source::quoted;

pub(super) fn crypto(model: &Model, out: &mut impl Write) -> fmt::Result {
    for (name, trustpoint) in &model.trustpoints {
        writeln!(out, "crypto ca trustpoint {name}")?;
        print_trustpoint(trustpoint, out)?;
    }
    for (name, trustpoint) in &model.trustpoints {
        let own = trustpoint.own.iter().map(|der| ("", der));
        let all: Vec<(&str, &Der)> = own.chain(trustpoint.cas.iter().map(|der| ("ca ", der))).collect();
        if !all.is_empty() {
            writeln!(out, "crypto ca certificate chain {name}")?;
        }
        all.into_iter().try_for_each(|(kind, der)| certificate(kind, der, out))?;
    }
    let ssl = &model.ssl;
    for (set, side) in [(ssl.server_13_only, "server"), (ssl.client_13_only, "client")] {
        if set {
            writeln!(out, "ssl {side}-version tlsv1.3")?;
        }
    }
    for (version, flag, bits) in
        [("tlsv1.2", FACE_TLS12, ssl.suites_12), ("tlsv1.3", FACE_TLS13, ssl.suites_13)]
    {
        if let Some(bits) = bits {
            writeln!(out, "ssl cipher {version} custom {}", names(bits, flag, ":"))?;
        }
    }
    line(out, "tls-proxy maximum-session", &model.max_proxy_sessions)?;
    for (name, proxy) in &model.tls_proxies {
        writeln!(out, "tls-proxy {name}")?;
        face("server", &proxy.server, out)?;
        if proxy.anonymous_clients {
            writeln!(out, " no server authenticate-client")?;
        }
        face("client", &proxy.client, out)?;
    }
    Ok(())
}

fn print_trustpoint(trustpoint: &Trustpoint, out: &mut impl Write) -> fmt::Result {
    match trustpoint.enrollment {
        Some(Enrollment::SelfSigned) => writeln!(out, " enrollment self")?,
        Some(Enrollment::Terminal) => writeln!(out, " enrollment terminal")?,
        None => {}
    }
    if let Some(fqdn) = &trustpoint.fqdn {
        writeln!(out, " fqdn {}", fqdn.as_deref().unwrap_or("none"))?;
    }
    line(out, " subject-name", &trustpoint.subject)?;
    line(out, " keypair", &trustpoint.keypair)?;
    let files = [
        ("certificate", &trustpoint.certificate),
        ("key", &trustpoint.key),
        ("ca", &trustpoint.ca),
        ("crl", &trustpoint.crl),
    ];
    for (words, path) in files {
        if let Some(path) = path {
            writeln!(out, " {words} file {}", path_word(path))?;
        }
    }
    match trustpoint.revocation {
        Revocation::None => {}
        Revocation::Crl => writeln!(out, " revocation-check crl")?,
        Revocation::CrlOrNone => writeln!(out, " revocation-check crl none")?,
    }
    profile("", &trustpoint.tls, out)?;
    if trustpoint.anonymous_clients {
        writeln!(out, " no authenticate-client")?;
    }
    if trustpoint.stale_lists || !trustpoint.crl_urls.is_empty() || trustpoint.crl_cache.is_some() {
        writeln!(out, " crl configure")?;
    }
    for (index, url) in &trustpoint.crl_urls {
        writeln!(out, "  url {index} {url}")?;
    }
    line(out, "  cache-time", &trustpoint.crl_cache)?;
    if trustpoint.stale_lists { writeln!(out, "  no enforcenextupdate") } else { Ok(()) }
}

/// As an ASA prints it: words of four bytes, eight a line, up to `quit`.
fn certificate(kind: &str, der: &[u8], out: &mut impl Write) -> fmt::Result {
    writeln!(out, " certificate {kind}{}", serial(der))?;
    for line in der.chunks(32) {
        out.write_str("   ")?;
        for word in line.chunks(4) {
            out.write_char(' ')?;
            word.iter().try_for_each(|byte| write!(out, "{byte:02x}"))?;
        }
        writeln!(out)?;
    }
    writeln!(out, "  quit")
}

/// A certificate's serial number in hexadecimal.
pub fn serial(der: &[u8]) -> String {
    let parsed = x509_parser::parse_x509_certificate(der);
    let bytes = parsed.map(|(_, certificate)| certificate.raw_serial().to_vec()).unwrap_or_default();
    // A zero that only keeps the number from being negative is not part of it.
    let bytes = bytes.strip_prefix(&[0]).filter(|rest| !rest.is_empty()).unwrap_or(&bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn face(side: &str, face: &TlsFace, out: &mut impl Write) -> fmt::Result {
    line(out, &format!(" {side} trust-point"), &face.shown)?;
    for (domain, trustpoint) in &face.by_name {
        writeln!(out, " {side} trust-point {trustpoint} domain {domain}")?;
    }
    for trustpoint in &face.vouchers {
        writeln!(out, " {side} trust-point {trustpoint} verify")?;
    }
    profile(&format!("{side} "), &face.tls, out)
}

fn profile(side: &str, tls: &Profile, out: &mut impl Write) -> fmt::Result {
    if let Some(only_13) = tls.only_13 {
        writeln!(out, " {side}tls-version {}", if only_13 { "tlsv1.3" } else { "tlsv1.2" })?;
    }
    match tls.suites {
        Some(bits) => writeln!(out, " {side}cipher-suite {}", names(bits, FACE_TLS12 | FACE_TLS13, " ")),
        None => Ok(()),
    }
}

fn names(bits: u32, versions: u32, between: &str) -> String {
    suites(bits, versions).map(|suite| suite.openssl).collect::<Vec<_>>().join(between)
}

/// Paths come from text, so that they are UTF-8 is known.
fn path_word(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}
