// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stamps the build, and says early what it lacks.
//!
//! Sets for `env!` in the code:
//! - `FEDGATE_VERSION`: the package's version;
//! - `FEDGATE_COMMIT`: the git commit, 12 digits; `FEDGATE_COMMIT` of the environment
//!   where a packager sets it; `unknown` outside a checkout or without git. Never a reason to fail.
//!
//! libdpdk itself is found and linked by `dpdk-sys`; asking for it here as well
//! puts the one line that helps next to the name of the program that needs it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const OLDEST_DPDK: &str = "22.11";
const INSTALL: &str = "sudo apt-get install libdpdk-dev libclang-dev clang gcc pkg-config";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=FEDGATE_COMMIT");

    let dpdk = || {
        let mut config = pkg_config::Config::new();
        config.cargo_metadata(false);
        config
    };
    if dpdk().atleast_version(OLDEST_DPDK).probe("libdpdk").is_err() {
        let there = dpdk().probe("libdpdk").map_or("none".into(), |old| old.version);
        println!(
            "cargo::error=fedgate-dataplane needs libdpdk {OLDEST_DPDK} or later; pkg-config finds {there}; \
             install it with: {INSTALL}"
        );
        return;
    }

    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let commit = given_commit().or_else(git_commit).unwrap_or_else(|| "unknown".into());
    println!("cargo::rustc-env=FEDGATE_VERSION={version}");
    println!("cargo::rustc-env=FEDGATE_COMMIT={commit}");
}

/// What the environment says, if it looks like a commit: the text goes into a cargo instruction.
fn given_commit() -> Option<String> {
    let given = env::var("FEDGATE_COMMIT").ok()?;
    let plain = !given.is_empty() && given.bytes().all(|b| b.is_ascii_graphic());
    plain.then_some(given)
}

/// The commit checked out in this folder, and a build again when it changes.
fn git_commit() -> Option<String> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?);
    // A source archive unpacked inside some other repository has no commit of its own.
    let top = git(&here, &["rev-parse", "--show-toplevel"])?;
    if fs::canonicalize(top).ok()? != fs::canonicalize(&here).ok()? {
        return None;
    }
    // HEAD changes when a branch is checked out, its log with every commit as well.
    for file in ["HEAD", "logs/HEAD"] {
        let path = here.join(git(&here, &["rev-parse", "--git-path", file])?);
        // A file that is not there would mean to build again every time.
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    git(&here, &["rev-parse", "--short=12", "HEAD"])
}

fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let run = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
    let text = String::from_utf8(run.stdout).ok()?;
    let text = text.trim();
    (run.status.success() && !text.is_empty()).then(|| text.to_owned())
}
