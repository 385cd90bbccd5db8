// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show crypto ca certificates`, `show crypto ca trustpoints`, `show crypto ca crls`, `show crypto key mypubkey`, in the ASA's layouts.
//!
//! Out of the configuration's material, so they show what is in force, not what has become of the files since. Public keys only.

use std::time::UNIX_EPOCH;

use serde_json::json;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};
use x509_parser::public_key::PublicKey;

use crate::clock::now;
use crate::config::model::Model;
use crate::operate::daemon::Daemon;
use crate::operate::events::escaped;
use crate::operate::run::Stop;
use crate::operate::server::Out;
use crate::trust::crl;
use crate::trust::facts::{self, Facts, Status};
use crate::trust::store::Store;

/// `06:46:05 UTC Mar 27 2015`
pub fn date(seconds: i64) -> String {
    let Ok(at) = OffsetDateTime::from_unix_timestamp(seconds) else { return seconds.to_string() };
    let month = at.month().to_string();
    let (h, m, s) = at.to_hms();
    format!("{h:02}:{m:02}:{s:02} UTC {} {} {}", &month[..3], at.day(), at.year())
}

/// `show crypto ca certificates [TRUSTPOINT]`
pub async fn certificates(daemon: &Daemon, only: Option<&str>, out: &mut Out) -> Result<(), Stop> {
    let (config, now) = (daemon.config(), now());
    known(&config.model, only)?;
    for facts in facts::of(&config.material) {
        if only.is_none_or(|only| only == facts.trustpoint) {
            out.row(|| text(&facts, now), || object(&facts, now)).await?;
        }
    }
    Ok(())
}

/// A trustpoint that is asked for has to be there.
fn known(model: &Model, only: Option<&str>) -> Result<(), Stop> {
    match only.filter(|only| !model.trustpoints.contains_key(*only)) {
        Some(only) => Err(Stop::Failed(format!("there is no `crypto ca trustpoint {only}`"))),
        None => Ok(()),
    }
}

fn status(facts: &Facts, now: i64) -> &'static str {
    match facts.status(now) {
        Status::Available => "Available",
        Status::Pending => "Not yet valid",
        Status::Expired => "Expired",
    }
}

fn text(facts: &Facts, now: i64) -> String {
    format!(
        "{}\n  Status: {}\n  Certificate Serial Number: {}\n  Certificate Usage: General Purpose\n  Public Key Type: {}\n  \
         Signature Algorithm: {}\n  Issuer Name:{}\n  Subject Name:{}\n  Validity Date:\n    start date: {}\n    end   date: {}\n    \
         days left: {}\n  Associated Trustpoints: {}\n",
        if facts.is_ca { "CA Certificate" } else { "Certificate" },
        status(facts, now),
        facts.serial,
        facts.key,
        facts.signature,
        lines(&facts.issuer),
        lines(&facts.subject),
        date(facts.not_before),
        date(facts.not_after),
        facts.days_left(now),
        facts.trustpoint
    )
}

fn object(facts: &Facts, now: i64) -> serde_json::Value {
    json!({
        "trustpoint": facts.trustpoint, "ca": facts.is_ca, "status": status(facts, now), "serial": facts.serial,
        "subject": facts.subject, "issuer": facts.issuer, "key": facts.key, "signature": facts.signature,
        "not_before": facts.not_before, "not_after": facts.not_after, "days_left": facts.days_left(now),
    })
}

/// `show crypto ca trustpoints`
pub async fn trustpoints(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let config = daemon.config();
    let facts = facts::of(&config.material);
    for name in config.model.trustpoints.keys() {
        let of = |is_ca| facts.iter().find(move |f| f.trustpoint == *name && f.is_ca == is_ca);
        let (own, ca) = (of(false), of(true));
        let text = || {
            let mut text = format!("Trustpoint {name}:\n");
            match ca {
                Some(ca) => text.push_str(&format!(
                    "    Subject Name:\n    {}\n          Serial Number: {}\n",
                    ca.subject, ca.serial
                )),
                None => text.push_str("    Not authenticated.\n"),
            }
            text.push_str(match own {
                Some(_) => "    Certificate configured.\n",
                None => "    No certificate.\n",
            });
            text
        };
        let json = || {
            json!({
                "trustpoint": name, "ca": ca.map(|f| &f.subject), "certificate": own.map(|f| &f.subject),
            })
        };
        out.row(text, json).await?;
    }
    Ok(())
}

/// `show crypto ca crls [trustpoint TRUSTPOINT]`
pub async fn crls(daemon: &Daemon, only: Option<&str>, out: &mut Out) -> Result<(), Stop> {
    let config = daemon.config();
    known(&config.model, only)?;
    for (name, pem) in config.material.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        for list in crl::facts_of(&pem.crls) {
            let next = list.next_update.map_or_else(|| "none".to_owned(), date);
            let text = || {
                format!(
                    "CRL Issuer Name:{}\n  LastUpdate: {}\n  NextUpdate: {next}\n  Revoked Certificates: {}\n  Size (bytes): {}\n  \
                     Associated Trustpoints: {name}\n",
                    lines(&list.issuer),
                    date(list.this_update),
                    list.revoked,
                    list.size
                )
            };
            let json = || {
                json!({
                    "trustpoint": name, "issuer": list.issuer, "last_update": list.this_update, "next_update": list.next_update,
                    "revoked": list.revoked, "bytes": list.size,
                })
            };
            out.row(text, json).await?;
        }
        for (url, place) in daemon.places(name) {
            let (at, why) = match &place.last {
                None => ("not yet".to_owned(), None),
                Some((at, Ok(_))) => (date(*at), None),
                Some((at, Err(why))) => (date(*at), Some(escaped(why))),
            };
            let text = || {
                let failed = why.as_ref().map(|why| format!("\n  Failed: {why}")).unwrap_or_default();
                format!(
                    "CRL Distribution Point: {url}\n  Polled: {at}{failed}\n  Associated Trustpoints: {name}\n"
                )
            };
            let json = || {
                let polled = place.last.as_ref().map(|(at, _)| at);
                json!({ "trustpoint": name, "url": url, "polled": polled, "failed": why })
            };
            out.row(text, json).await?;
        }
    }
    Ok(())
}

/// A name, a part a line.
fn lines(dn: &str) -> String {
    dn.split(", ").map(|part| format!("\n    {part}")).collect()
}

/// `show crypto key mypubkey [rsa|ecdsa|all]`
pub async fn keys(daemon: &Daemon, only: &str, out: &mut Out) -> Result<(), Stop> {
    for key in Store::of(&daemon.paths.state).keys() {
        let Ok((_, info)) = SubjectPublicKeyInfo::from_der(&key.public) else { continue };
        let (kind, size) = match info.parsed() {
            Ok(PublicKey::RSA(public)) => ("rsa", public.key_size()),
            Ok(PublicKey::EC(public)) => ("ecdsa", public.key_size()),
            Ok(_) | Err(_) => continue,
        };
        if only != "all" && only != kind {
            continue;
        }
        let made =
            key.made.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or(0, |d| d.as_secs() as i64);
        let hex: Vec<String> = key.public.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = || {
            let words: Vec<String> = hex.chunks(4).map(<[String]>::concat).collect();
            let lines: String = words.chunks(8).map(|line| format!("\n  {}", line.join(" "))).collect();
            let what = if kind == "rsa" { "Modulus Size" } else { "Key Size" };
            format!(
                "Key pair was generated at: {}\nKey name: {}\n Key type: {}\n Usage: General Purpose Key\n {what} (bits): {size}\n Key Data:{lines}\n",
                date(made),
                key.label,
                kind.to_uppercase()
            )
        };
        let json = || json!({ "label": key.label, "type": kind, "bits": size, "made": made, "public": hex.concat() });
        out.row(text, json).await?;
    }
    Ok(())
}
