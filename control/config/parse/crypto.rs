// SPDX-License-Identifier: MIT OR Apache-2.0
//! `crypto ca trustpoint`, `tls-proxy` and `ssl`.
//!
//! Suites have their IANA names, or OpenSSL's as the ASA's `custom` strings do. The ASA's own short names (`aes128-sha1`) are all of suites that
//! are not spoken here: those with AES are read as what is of the same strength, weak ones left out, each with a remark.

use std::path::PathBuf;

use fedgate_tables::policy::{ALL_SUITES, FACE_TLS12, FACE_TLS13, SUITES, suites};

use crate::config::args::{Args, Env};
use crate::config::diag::Problem;
use crate::config::domains;
use crate::config::model::{Enrollment, Revocation, suites_of};
use crate::config::raw::{Certificate, Command, Face, FaceUse, TrustFile};
use crate::trust::crl;

type Parsed = Result<Command, Problem>;

/// `crypto ca trustpoint NAME`
pub fn trustpoint(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::Trustpoint(args.name("a trustpoint's name")?))
}

/// `certificate file PATH`
pub fn certificate(args: &mut Args<'_, '_>, env: &Env<'_>) -> Parsed {
    Ok(Command::TrustFile(TrustFile::Certificate, path(args, env)?))
}

/// `key file PATH`
pub fn key(args: &mut Args<'_, '_>, env: &Env<'_>) -> Parsed {
    Ok(Command::TrustFile(TrustFile::Key, path(args, env)?))
}

/// `ca file PATH`
pub fn ca(args: &mut Args<'_, '_>, env: &Env<'_>) -> Parsed {
    Ok(Command::TrustFile(TrustFile::Ca, path(args, env)?))
}

/// `crl file PATH`
pub fn crl(args: &mut Args<'_, '_>, env: &Env<'_>) -> Parsed {
    Ok(Command::TrustFile(TrustFile::Crl, path(args, env)?))
}

/// A path, made absolute, so that the running-config means the same from another folder.
fn path(args: &mut Args<'_, '_>, env: &Env<'_>) -> Result<PathBuf, Problem> {
    let token = args.take("a path")?;
    let path = env.base.join(token.text);
    let printable = path.to_str().is_some_and(|p| !p.contains('"') && !p.contains(char::is_control));
    if token.text.is_empty() || !printable {
        return Err(args.wrong("not a path that a configuration can hold"));
    }
    Ok(path)
}

/// `revocation-check {none | crl [none]}`
pub fn revocation_check(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let check = match args.take("`crl` or `none`")?.text {
        "none" => Revocation::None,
        "crl" if args.accept("none") => Revocation::CrlOrNone,
        "crl" => Revocation::Crl,
        "ocsp" => return Err(args.wrong("OCSP is not asked").help("use `revocation-check crl`")),
        _ => return Err(args.wrong("expected `crl` or `none`")),
    };
    Ok(Command::RevocationCheck(check))
}

/// `crl configure`
pub fn crl_configure(_: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::CrlConfigure)
}

/// `enforcenextupdate`
pub fn enforce_next_update(_: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::EnforceNextUpdate)
}

/// `url INDEX URL`
pub fn crl_url(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let index = args.number("an index", 1, 5)?;
    let url = args.take("a URL")?.text;
    if !crl::is_url(url) {
        let problem = args.wrong("not a place that lists are fetched from");
        return Err(problem
            .help("expected http://HOST[:PORT]/PATH: lists are signed, so HTTP does; LDAP is not asked"));
    }
    Ok(Command::CrlUrl(index, url.to_owned()))
}

/// `cache-time MINUTES`
pub fn crl_cache_time(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::CrlCacheTime(args.number("minutes", 1, 1440)?))
}

/// `enrollment {self | terminal}`
pub fn enrollment(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    if args.accept("url") {
        let problem = args.wrong("certificates are not asked for by SCEP");
        return Err(problem.help("`enrollment terminal`: `crypto ca enroll` prints the request for the CA"));
    }
    let ways = [Enrollment::SelfSigned, Enrollment::Terminal];
    Ok(Command::Enrollment(ways[args.one_of(&["self", "terminal"])?]))
}

/// `fqdn {NAME | none}`
pub fn fqdn(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    if args.accept("none") {
        return Ok(Command::Fqdn(None));
    }
    Ok(Command::Fqdn(Some(args.parsed("a host's name", domains::canonical)?)))
}

/// `subject-name DN`
pub fn subject_name(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let dn = args.rest();
    if dn.is_empty() {
        return args.take("a name, `CN=...,O=...`").map(|_| Command::SubjectName(String::new()));
    }
    crate::trust::name::subject(dn).map_err(|why| args.wrong(why))?;
    Ok(Command::SubjectName(dn.to_owned()))
}

/// `keypair NAME`
pub fn keypair(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::KeyPair(args.name("a key pair's name")?))
}

/// `tls-proxy NAME`
pub fn tls_proxy(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::TlsProxy(args.name("a proxy's name")?))
}

/// `tls-proxy maximum-session N`
pub fn maximum_session(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::MaxProxySessions(args.number("a number of sessions", 1, 1_000_000)?))
}

/// `server trust-point T [verify | domain D]`
pub fn server_trust_point(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let name = args.name("a trustpoint")?;
    let used = if args.accept("domain") {
        FaceUse::Named(args.parsed("a host's name", domains::canonical)?)
    } else if args.accept("verify") {
        FaceUse::Verify
    } else {
        FaceUse::Show
    };
    Ok(Command::TrustPoint(Face::Server, name, used))
}

/// `client trust-point T [verify]`
pub fn client_trust_point(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let name = args.name("a trustpoint")?;
    let used = if args.accept("verify") { FaceUse::Verify } else { FaceUse::Show };
    Ok(Command::TrustPoint(Face::Client, name, used))
}

/// `server authenticate-client`
pub fn authenticate_client(_: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::AuthenticateClient)
}

/// `server cipher-suite SUITE ...`
pub fn server_cipher_suite(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::FaceSuites(Face::Server, cipher_suites(args)?))
}

/// `client cipher-suite SUITE ...`
pub fn client_cipher_suite(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::FaceSuites(Face::Client, cipher_suites(args)?))
}

/// `server tls-version {tlsv1.2 | tlsv1.3}`
pub fn server_tls_version(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::FaceVersion(Face::Server, version(args)? == FACE_TLS13))
}

/// `client tls-version {tlsv1.2 | tlsv1.3}`
pub fn client_tls_version(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::FaceVersion(Face::Client, version(args)? == FACE_TLS13))
}

/// `tls-version {tlsv1.2 | tlsv1.3}` of a trustpoint
pub fn shown_version(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::ShownVersion(version(args)? == FACE_TLS13))
}

/// `cipher-suite SUITE ...` of a trustpoint
pub fn shown_cipher_suite(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::ShownSuites(cipher_suites(args)?))
}

/// `authenticate-client` of a trustpoint
pub fn shown_authenticate_client(_: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::ShownAuthenticateClient)
}

fn cipher_suites(args: &mut Args<'_, '_>) -> Result<u32, Problem> {
    let mut bits = 0;
    loop {
        let word = args.take("a cipher suite")?.text;
        bits |= suite(args, word, FACE_TLS12 | FACE_TLS13)?;
        if args.peek().is_none() {
            return some_of(args, bits, FACE_TLS12 | FACE_TLS13);
        }
    }
}

/// `bits`, of which there must be one.
fn some_of(args: &Args<'_, '_>, bits: u32, versions: u32) -> Result<u32, Problem> {
    let names = || suites(ALL_SUITES, versions).map(|s| s.openssl).collect::<Vec<_>>().join(", ");
    if bits == 0 {
        Err(args.wrong("no suite is left").help(format!("what is spoken: {}", names())))
    } else {
        Ok(bits)
    }
}

/// A suite of ASAs and of OpenSSL that nobody should speak any more: the bits of what takes its place, none for what is too weak.
fn old_suite(args: &mut Args<'_, '_>, word: &str, versions: u32) -> Result<Option<u32>, Problem> {
    // Of another version is not old.
    if SUITES.iter().any(|s| s.name.eq_ignore_ascii_case(word) || s.openssl.eq_ignore_ascii_case(word)) {
        return Ok(None);
    }
    let word = word.to_ascii_lowercase();
    let old = ["-sha1", "-md5", "-sha", "-sha256", "-sha384", "-rmd"].iter().any(|end| word.ends_with(end));
    if !old {
        return Ok(None);
    }
    if word.contains("null") {
        return Err(args.wrong(format!("`{word}` does not encrypt")).help("take it out"));
    }
    let key = ["128", "256"].into_iter().find(|key| word.contains("aes") && word.contains(key));
    let Some(key) = key else {
        if ["rc4", "des", "seed", "idea", "camellia"].iter().any(|weak| word.contains(weak)) {
            args.remark(args.wrong(format!("`{word}` is too weak, and left out")).help("take it out"));
            return Ok(Some(0));
        }
        return Ok(None);
    };
    let strong = format!("AES_{key}_GCM");
    let bits = (0..SUITES.len()).filter(|at| SUITES[*at].name.contains(&strong)).map(|at| 1 << at).sum();
    let bits = suites_of(bits, versions);
    let names = suites(bits, versions).map(|s| s.openssl).collect::<Vec<_>>().join(" ");
    let remark = args
        .wrong(format!("`{word}` is not spoken: it has no forward secrecy, or no authenticated encryption"));
    args.remark(remark.help(format!(
        "in its place, and to be written: {names}; a peer that has none of them cannot federate"
    )));
    Ok(Some(bits))
}

/// The bit of a suite of one of `versions`.
fn suite(args: &mut Args<'_, '_>, word: &str, versions: u32) -> Result<u32, Problem> {
    let is = |name: &str| name.eq_ignore_ascii_case(word);
    let at = SUITES.iter().position(|s| s.version & versions != 0 && (is(s.name) || is(s.openssl)));
    let bits = match at {
        Some(at) => Some(1 << at),
        None => old_suite(args, word, versions)?,
    };
    bits.ok_or_else(|| {
        let names: Vec<&str> = suites(ALL_SUITES, versions).map(|s| s.openssl).collect();
        args.wrong(format!("`{word}` is not spoken here"))
            .help(format!("what is: {} (or their names in the IANA registry)", names.join(", ")))
    })
}

/// `ssl encryption SUITE ...`
pub fn ssl_encryption(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let bits = cipher_suites(args)?;
    Ok(Command::SslEncryption(suites_of(bits, FACE_TLS12), suites_of(bits, FACE_TLS13)))
}

/// `crypto ca certificate chain T`
pub fn certificate_chain(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::CertificateChain(args.name("a trustpoint")?))
}

/// `certificate [ca] SERIAL`
pub fn chained(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let ca = args.accept("ca");
    let serial = args.parsed("a serial number", |word| {
        let good = (1..=64).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_hexdigit());
        if good { Ok(word.to_ascii_lowercase()) } else { Err("expected hexadecimal digits") }
    })?;
    Ok(Command::Certificate(Certificate { ca, serial, der: Vec::new() }))
}

/// `ssl server-version {tlsv1.2 | tlsv1.3}`
pub fn server_version(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::SslVersion(Face::Server, version(args)? == FACE_TLS13))
}

/// `ssl client-version {tlsv1.2 | tlsv1.3}`
pub fn client_version(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::SslVersion(Face::Client, version(args)? == FACE_TLS13))
}

fn version(args: &mut Args<'_, '_>) -> Result<u32, Problem> {
    match args.take("`tlsv1.2` or `tlsv1.3`")?.text {
        "tlsv1.2" => Ok(FACE_TLS12),
        "tlsv1.3" => Ok(FACE_TLS13),
        other => {
            Err(args.wrong(format!("`{other}` is not spoken here")).help("what is: tlsv1.2 and tlsv1.3"))
        }
    }
}

/// `ssl cipher {tlsv1.2 | tlsv1.3} {all | low | medium | fips | high | custom SUITES}`
pub fn ssl_cipher(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let version = version(args)?;
    let levels = ["all", "low", "medium", "fips", "high", "custom"];
    let level = levels[args.one_of(&levels)?];
    let named = |part: fn(&str) -> bool| {
        let bits = (0..SUITES.len()).filter(|at| part(SUITES[*at].name)).map(|at| 1 << at).sum();
        suites_of(bits, version)
    };
    let bits = match level {
        "custom" => {
            let words = args.take("suites with colons between them")?.text;
            let mut bits = 0;
            for word in words.split(':') {
                bits |= suite(args, word, version)?;
            }
            some_of(args, bits, version)?
        }
        "fips" => named(|name| !name.contains("CHACHA20")),
        "high" => named(|name| name.contains("AES_256")),
        _ => named(|_| true),
    };
    Ok(Command::SslCipher(version == FACE_TLS13, bits))
}
