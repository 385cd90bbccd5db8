// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keys and certificates that commands made or imported: files under `DIR/trust`, which configurations name like any others.
//!
//! The folder has mode 0700 and every file 0600, written whole or not at all. A certificate has a file of its own for each of its versions
//! (named by its fingerprint), so that a commit which fails leaves the one in force as it was; what no configuration names
//! any more, of those that `rollback` can go back to neither, is removed after a commit. Key pairs have labels, `key-LABEL.pem`, and are removed by `crypto key zeroize` alone.

use std::fs::{DirBuilder, read_dir, remove_file};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize,
};

use crate::config::file;
use crate::config::trust::MAX_FILE;
use crate::operate::files;

/// A kind of key with its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA with a modulus of so many bits: 2048, 3072 or 4096.
    Rsa(u32),
    /// ECDSA on the NIST curve of so many bits: 256 or 384.
    Ecdsa(u32),
}

/// The store.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// A key pair with a label, without its private half.
pub struct Listed {
    /// Its label.
    pub label: String,
    /// When its file was written.
    pub made: Option<SystemTime>,
    /// SubjectPublicKeyInfo, DER.
    pub public: Vec<u8>,
}

impl Store {
    /// That of the daemon whose state is in `state`.
    pub fn of(state: &Path) -> Self {
        Self { folder: state.join("trust") }
    }

    /// Where the key pair `label` is.
    pub fn key_path(&self, label: &str) -> PathBuf {
        self.folder.join(format!("key-{}.pem", escaped(label)))
    }

    /// Makes a key pair.
    ///
    /// # Errors
    /// A sentence: there is one already, or it cannot be made or written.
    pub fn generate(&self, label: &str, kind: KeyKind) -> Result<(), String> {
        let path = self.key_path(label);
        if path.exists() {
            return Err(format!("there is a key pair `{label}` already: `crypto key zeroize` it first"));
        }
        let pair = match kind {
            KeyKind::Rsa(bits) => {
                let size = match bits {
                    2048 => RsaKeySize::_2048,
                    3072 => RsaKeySize::_3072,
                    _ => RsaKeySize::_4096,
                };
                KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size)
            }
            KeyKind::Ecdsa(384) => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            KeyKind::Ecdsa(_) => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        };
        let pair = pair.map_err(|why| format!("cannot make the key pair: {why}"))?;
        self.write(&path, &pair.serialize_pem())
    }

    /// Reads a key pair.
    ///
    /// # Errors
    /// A sentence.
    pub fn key(&self, label: &str) -> Result<KeyPair, String> {
        let path = self.key_path(label);
        let bytes = file::read(&path, MAX_FILE).map_err(|why| match why.kind() {
            io::ErrorKind::NotFound => {
                format!("there is no key pair `{label}`: `crypto key generate ... label {label}` makes one")
            }
            _ => format!("cannot read {}: {why}", path.display()),
        })?;
        let text = String::from_utf8(bytes).map_err(|_| format!("{} is not text", path.display()))?;
        KeyPair::from_pem(&text).map_err(|why| format!("{}: {why}", path.display()))
    }

    /// Removes a key pair.
    ///
    /// # Errors
    /// A sentence.
    pub fn zeroize(&self, label: &str) -> Result<(), String> {
        let path = self.key_path(label);
        remove_file(&path).map_err(|why| match why.kind() {
            io::ErrorKind::NotFound => format!("there is no key pair `{label}`"),
            _ => format!("cannot remove {}: {why}", path.display()),
        })
    }

    /// All key pairs that can be read, by label.
    pub fn keys(&self) -> Vec<Listed> {
        let Ok(entries) = read_dir(&self.folder) else { return Vec::new() };
        let mut keys: Vec<Listed> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let name = entry.file_name();
                let label = unescaped(name.to_str()?.strip_prefix("key-")?.strip_suffix(".pem")?)?;
                let public = self.key(&label).ok()?.subject_public_key_info();
                Some(Listed { label, made: entry.metadata().ok()?.modified().ok(), public })
            })
            .collect();
        keys.sort_by(|a, b| a.label.cmp(&b.label));
        keys
    }

    /// Writes what belongs to a trustpoint, `what` being `crt`, `key`, `ca` or `crl`; gives the path.
    ///
    /// # Errors
    /// A sentence.
    pub fn put(&self, trustpoint: &str, what: &str, text: &str) -> Result<PathBuf, String> {
        let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        let sum: String = sum.as_ref()[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        let path = self.folder.join(format!("{}-{sum}.{what}", escaped(trustpoint)));
        self.write(&path, text)?;
        Ok(path)
    }

    /// Removes the files of trustpoints, key pairs apart, that `is_named` does not hold for.
    pub fn sweep(&self, is_named: impl Fn(&Path) -> bool) {
        let Ok(entries) = read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            let ours =
                path.extension().is_some_and(|e| ["crt", "key", "ca", "crl"].iter().any(|known| e == *known));
            if ours
                && !is_named(&path)
                && let Err(why) = remove_file(&path)
            {
                tracing::warn!("cannot remove {}: {why}", path.display());
            }
        }
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), String> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        let written = made.and_then(|()| files::replace(path, text));
        written.map_err(|why| format!("cannot write {}: {why}", path.display()))
    }
}

/// A name as part of a file's: letters, digits, `-` and `_` as they are, else `%` and two hexadecimal digits.
fn escaped(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let each = name.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02x}") });
    each.collect()
}

fn unescaped(name: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), name.as_bytes());
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}
