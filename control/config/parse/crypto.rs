// SPDX-License-Identifier: MIT OR Apache-2.0
//! `crypto ca trustpoint` with fedgate's file sub-commands, and `tls-proxy`.

use std::path::PathBuf;

use crate::config::args::{Args, Env};
use crate::config::diag::Problem;
use crate::config::raw::{Command, Face, TrustFile};

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

/// `tls-proxy NAME`
pub fn tls_proxy(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::TlsProxy(args.name("a proxy's name")?))
}

/// `tls-proxy maximum-session N`
pub fn maximum_session(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::MaxProxySessions(args.number("a number of sessions", 1, 1_000_000)?))
}

/// `server trust-point T`
pub fn server_trust_point(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::TrustPoint(Face::Server, args.name("a trustpoint")?))
}

/// `client trust-point T`
pub fn client_trust_point(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::TrustPoint(Face::Client, args.name("a trustpoint")?))
}
