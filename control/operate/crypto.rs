// SPDX-License-Identifier: MIT OR Apache-2.0
//! The commands that make, ask for and import keys and certificates, in the ASA's words.
//!
//! Each writes its files ([`crate::trust::store`]) and then commits the lines of the configuration that name them, so that what is wrong
//! with a certificate is found by the checks that any configuration passes, and a refused one changes nothing. Renewal is the same: the
//! dataplane takes the new policy, and no connection ends. Certificates come by a `file PATH`, or pasted behind the command
//! ([`Request::input`](super::protocol::Request::input)). A passphrase is in no log and no history; private keys are never printed.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::commands::Run;
use super::daemon::{Daemon, Refusal};
use super::history::By;
use super::run::{Stop, not_yet, refused, warn};
use super::server::Out;
use crate::config::args::Args;
use crate::config::diag::{Problem, Report};
use crate::config::model::Enrollment;
use crate::config::source::quoted;
use crate::config::trust::MAX_FILE;
use crate::config::{edit, file};
use crate::trust::store::{KeyKind, Store};
use crate::trust::{enroll, facts, import};

/// Where a certificate comes from; `None` for what was pasted.
type Source = Option<PathBuf>;

/// A command with its arguments.
pub enum Order {
    /// `crypto key generate`.
    Generate(String, KeyKind),
    /// `crypto key zeroize`.
    Zeroize(String),
    /// `crypto ca authenticate`.
    Authenticate(String, Source),
    /// `crypto ca enroll`.
    Enroll(String),
    /// `crypto ca import T certificate`.
    Import(String, Source),
    /// `crypto ca import T pkcs12 PASSPHRASE`.
    ImportPkcs12(String, String, Source),
    /// `crypto ca export T identity-certificate`.
    Export(String),
    /// `crypto ca crl request`.
    CrlRequest(String),
}

/// Reads the words behind a command's own.
pub fn parse(run: Run, args: &mut Args<'_, '_>) -> Result<Order, Problem> {
    let trustpoint = |args: &mut Args<'_, '_>| args.name("a trustpoint");
    Ok(match run {
        Run::CryptoKeyGenerate => return generate(args),
        Run::CryptoKeyZeroize => {
            args.one_of(&["rsa", "ecdsa"])?;
            args.expect("label")?;
            Order::Zeroize(args.name("a key pair's label")?)
        }
        Run::CryptoCaAuthenticate => Order::Authenticate(trustpoint(args)?, source(args)?),
        Run::CryptoCaEnroll => Order::Enroll(trustpoint(args)?),
        Run::CryptoCaExport => {
            let name = trustpoint(args)?;
            args.expect("identity-certificate")?;
            Order::Export(name)
        }
        Run::CryptoCaCrlRequest => Order::CrlRequest(trustpoint(args)?),
        _ => {
            let name = trustpoint(args)?;
            match args.one_of(&["certificate", "pkcs12"])? {
                0 => Order::Import(name, source(args)?),
                _ => {
                    let passphrase = args.take("the passphrase")?.text.to_owned();
                    Order::ImportPkcs12(name, passphrase, source(args)?)
                }
            }
        }
    })
}

fn source(args: &mut Args<'_, '_>) -> Result<Source, Problem> {
    if !args.accept("file") {
        return Ok(None);
    }
    Ok(Some(args.take("a path")?.text.into()))
}

fn generate(args: &mut Args<'_, '_>) -> Result<Order, Problem> {
    let ecdsa = args.one_of(&["rsa", "ecdsa"])? == 1;
    let mut label = if ecdsa { "Default-ECDSA-Key" } else { "Default-RSA-Key" }.to_owned();
    let mut bits = if ecdsa { 256 } else { 2048 };
    while args.peek().is_some() {
        let words: &[&str] = match ecdsa {
            true => &["label", "noconfirm", "elliptic-curve"],
            false => &["label", "noconfirm", "modulus", "general-keys"],
        };
        match words[args.one_of(words)?] {
            "label" => label = args.name("a key pair's label")?,
            "modulus" | "elliptic-curve" => {
                bits = args.number("a number of bits", 1, 1 << 20)?;
                let sizes: &[u32] = if ecdsa { &[256, 384] } else { &[2048, 3072, 4096] };
                if !sizes.contains(&bits) {
                    let known: Vec<String> = sizes.iter().map(u32::to_string).collect();
                    return Err(args.wrong(format!("expected {}", known.join(" or "))));
                }
            }
            _ => {}
        }
    }
    Ok(Order::Generate(label, if ecdsa { KeyKind::Ecdsa(bits) } else { KeyKind::Rsa(bits) }))
}

/// Does it. `input` is what was pasted.
pub async fn execute(daemon: &Rc<Daemon>, order: Order, input: &str, out: &mut Out) -> Result<(), Stop> {
    let store = Store::of(&daemon.paths.state);
    let fail = Stop::Failed;
    match order {
        Order::Generate(label, kind) => {
            store.generate(&label, kind).map_err(fail)?;
            Ok(out.text(&format!("Keypair `{label}` generated\n")).await?)
        }
        Order::Zeroize(label) => {
            let config = daemon.config();
            let path = store.key_path(&label);
            let user = config.model.trustpoints.iter().find(|(_, t)| t.key.as_ref() == Some(&path));
            if let Some((name, _)) = user {
                return Err(fail(format!("the key pair is that of the certificate of trustpoint {name}")));
            }
            Ok(store.zeroize(&label).map_err(fail)?)
        }
        Order::Authenticate(name, source) => {
            let text = text(daemon, source, input).map_err(fail)?;
            let certificates = import::certificates(&text).map_err(fail)?;
            for der in &certificates {
                let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
                let sum: Vec<String> = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                out.note(&format!("Fingerprint (SHA-256): {}\n", sum.join(":"))).await?;
            }
            let path = store.put(&name, "ca", &import::to_pem(&certificates)).map_err(fail)?;
            commit(daemon, &store, &name, &[("ca", &path)], out).await?;
            Ok(out.note("Trustpoint CA certificate accepted.\n").await?)
        }
        Order::Enroll(name) => enroll(daemon, &store, &name, out).await,
        Order::Import(name, source) => {
            let text = text(daemon, source, input).map_err(fail)?;
            let chain = import::certificates(&text).map_err(fail)?;
            let label = keypair(daemon, &name)?;
            if !import::is_of(&chain[0], &store.key(&label).map_err(fail)?) {
                let why = format!("the first certificate is not of the key pair `{label}`");
                return Err(fail(format!("{why}: it was asked for with another key")));
            }
            install(daemon, &store, &name, &chain, &store.key_path(&label), out).await?;
            Ok(out.note("INFO: Certificate successfully imported\n").await?)
        }
        Order::ImportPkcs12(name, passphrase, source) => {
            let bytes = bytes(daemon, source, input).map_err(fail)?;
            let bytes = match bytes.first() {
                // A DER SEQUENCE; base64 of one begins with another letter.
                Some(0x30) => bytes,
                _ => import::base64(&String::from_utf8_lossy(&bytes)).map_err(fail)?,
            };
            let identity = import::pkcs12(&bytes, &passphrase).map_err(fail)?;
            let key = store.put(&name, "key", &identity.key).map_err(fail)?;
            install(daemon, &store, &name, &identity.chain, &key, out).await?;
            Ok(out.note("INFO: Import PKCS12 operation completed successfully\n").await?)
        }
        Order::Export(name) => {
            let config = daemon.config();
            let pem = config.material.get(&name).filter(|pem| !pem.chain.is_empty());
            let pem = pem.ok_or_else(|| fail(format!("trustpoint {name} has no certificate")))?;
            Ok(out.text(&String::from_utf8_lossy(&pem.chain)).await?)
        }
        Order::CrlRequest(name) => {
            // Where no place is known, there may be a file.
            if daemon.request_lists(&name).await.map_err(fail)? {
                return Ok(out.note("CRL received\n").await?);
            }
            let config = daemon.config();
            let path = config.model.trustpoints.get(&name).and_then(|t| t.crl.clone());
            let path = path.ok_or_else(|| fail(format!("trustpoint {name} has no `crl file`")))?;
            commit(daemon, &store, &name, &[("crl", &path)], out).await?;
            Ok(out.note("CRL received\n").await?)
        }
    }
}

async fn enroll(daemon: &Rc<Daemon>, store: &Store, name: &str, out: &mut Out) -> Result<(), Stop> {
    let config = daemon.config();
    let label = keypair(daemon, name)?;
    let key = store.key(&label).map_err(Stop::Failed)?;
    let trustpoint = &config.model.trustpoints[name];
    match trustpoint.enrollment {
        Some(Enrollment::SelfSigned) => {
            let pem = enroll::self_signed(&config.model, trustpoint, &key).map_err(Stop::Failed)?;
            let path = store.put(name, "crt", &pem).map_err(Stop::Failed)?;
            let key = store.key_path(&label);
            commit(daemon, store, name, &[("certificate", &path), ("key", &key)], out).await
        }
        Some(Enrollment::Terminal) | None => {
            let pem = enroll::request(&config.model, trustpoint, &key).map_err(Stop::Failed)?;
            out.note("Certificate Request follows:\n").await?;
            Ok(out.text(&pem).await?)
        }
    }
}

/// The label of a trustpoint's key pair.
fn keypair(daemon: &Daemon, name: &str) -> Result<String, Stop> {
    let config = daemon.config();
    let trustpoint = config.model.trustpoints.get(name);
    let trustpoint =
        trustpoint.ok_or_else(|| Stop::Failed(format!("there is no `crypto ca trustpoint {name}`")))?;
    let missing = || Stop::Failed(format!("trustpoint {name} has no `keypair LABEL`"));
    trustpoint.keypair.clone().ok_or_else(missing)
}

/// Makes `chain`, led on by the CAs that the trustpoint has, its identity.
async fn install(
    daemon: &Rc<Daemon>,
    store: &Store,
    name: &str,
    chain: &[Vec<u8>],
    key: &Path,
    out: &mut Out,
) -> Result<(), Stop> {
    let config = daemon.config();
    let cas = config.material.get(name).map(|pem| String::from_utf8_lossy(&pem.cas).into_owned());
    let cas = cas.and_then(|text| import::certificates(&text).ok()).unwrap_or_default();
    let chain = import::completed(chain.to_vec(), &cas);
    let path = store.put(name, "crt", &import::to_pem(&chain)).map_err(Stop::Failed)?;
    commit(daemon, store, name, &[("certificate", &path), ("key", key)], out).await
}

/// Commits the lists that were fetched for a trustpoint.
///
/// # Errors
/// A sentence.
pub async fn take_lists(daemon: &Daemon, store: &Store, name: &str, path: &Path) -> Result<(), String> {
    let by = By::control("fetched revocation lists");
    let report =
        install_files(daemon, store, name, &[("crl", path)], &by).await.map_err(|why| match why {
            Refusal::Text(report) => report.render(false),
            Refusal::Failed(why) => why,
        })?;
    for diagnostic in &report.diagnostics {
        tracing::warn!("{}", diagnostic.problem.message);
    }
    Ok(())
}

/// Commits the `WORD file PATH` lines of a trustpoint, for an operator.
async fn commit(
    daemon: &Rc<Daemon>,
    store: &Store,
    name: &str,
    files: &[(&str, &Path)],
    out: &mut Out,
) -> Result<(), Stop> {
    let report = install_files(daemon, store, name, files, &out.by).await.map_err(refused)?;
    warn(&report, out).await?;
    not_yet(daemon, out).await
}

/// Commits them; then removes what nothing names any more.
async fn install_files(
    daemon: &Daemon,
    store: &Store,
    name: &str,
    files: &[(&str, &Path)],
    by: &By,
) -> Result<Report, Refusal> {
    let failed = |why: std::io::Error| Refusal::Failed(why.to_string());
    let mut text = format!("crypto ca trustpoint {name}\n");
    for (word, path) in files {
        // By a path that is absolute: the store's folder may have been given relative to the daemon's.
        let path = std::path::absolute(path).map_err(failed)?;
        text.push_str(&format!("{word} file {}\n", quoted(&path.to_string_lossy())));
    }
    let base = base(daemon).map_err(failed)?;
    let report = daemon.commit(by, |config| edit(config, &text, &base)).await?;
    // What the next start may read counts as named too.
    let startup = std::fs::read_to_string(&daemon.paths.startup).unwrap_or_default();
    let config = daemon.config();
    store.sweep(|path| {
        let named =
            config.model.trustpoints.values().flat_map(|t| [&t.certificate, &t.key, &t.ca, &t.crl]).flatten();
        named.into_iter().any(|named| named.file_name() == path.file_name())
            || path.file_name().is_some_and(|file| {
                let name = file.to_string_lossy();
                startup.contains(&*name) || daemon.remembers(&name)
            })
    });
    Ok(report)
}

fn base(daemon: &Daemon) -> std::io::Result<PathBuf> {
    std::path::absolute(daemon.paths.startup.parent().unwrap_or(Path::new("/")))
}

fn bytes(daemon: &Daemon, source: Source, input: &str) -> Result<Vec<u8>, String> {
    match source {
        Some(path) => {
            let path = base(daemon).map_err(|why| why.to_string())?.join(path);
            file::read(&path, MAX_FILE).map_err(|why| format!("cannot read {}: {why}", path.display()))
        }
        None if input.trim().is_empty() => {
            Err("nothing was pasted: end it with `quit`, or name a `file PATH`".to_owned())
        }
        None => Ok(input.as_bytes().to_vec()),
    }
}

fn text(daemon: &Daemon, source: Source, input: &str) -> Result<String, String> {
    let bytes = bytes(daemon, source, input)?;
    match bytes.first() {
        Some(0x30) => Ok(import::to_pem(&[bytes])),
        _ => String::from_utf8(bytes).map_err(|_| "it is neither text nor DER".to_owned()),
    }
}

/// Days until the first of all certificates ends; `None` where there is none.
pub fn least_days_left(daemon: &Daemon, now: i64) -> Option<i64> {
    facts::of(&daemon.config().material).iter().map(|facts| facts.days_left(now)).min()
}
