// SPDX-License-Identifier: MIT OR Apache-2.0
//! `username` and `enable password`: who may do what at the CLI, with passwords as an ASA keeps them: salted and hashed by PBKDF2.
//!
//! A hash is written `$sha512$ITERATIONS$SALT$KEY` with both in base64, PBKDF2-HMAC-SHA512, the form of ASA 9.6 and later, so those of
//! an ASA are taken as they are (5,000 iterations). What is hashed here takes [`ITERATIONS`], as OWASP asks of this function. Checking one takes a tenth of a second: not on
//! the daemon's thread.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA512};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Of a password that is hashed here.
pub const ITERATIONS: u32 = 210_000;
/// Most of a hash that is taken: what checking it may cost.
const MOST_ITERATIONS: u32 = 10_000_000;
const SALT: usize = 16;
const KEY: usize = 16;
/// Bytes of a password: the ASA's limits.
pub const LENGTH: std::ops::RangeInclusive<usize> = 3..=127;

/// A salted hash of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    key: Vec<u8>,
}

/// A password as a line of the configuration has it.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// As it is kept.
    Hashed(Hash),
    /// As it was typed. None is in force or written to disk: hashing takes a tenth of a second, and is done where a configuration
    /// comes into force ([`hash_all`]), not where one is read.
    Clear(String),
}

/// A line `username`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// `None` for `nopassword`: only the kernel can say that it is them.
    pub password: Option<Password>,
    /// 0 to 15.
    pub privilege: u8,
}

/// The least privilege of those who may do everything.
pub const ADMIN: u8 = 15;
/// The least of those who may clear, and permit domains.
pub const OPERATOR: u8 = 5;
/// Of a `username` line that says none, as on an ASA.
pub const PRIVILEGE: u8 = 2;

/// The word for a privilege.
pub fn role(privilege: u8) -> &'static str {
    match privilege {
        ADMIN.. => "admin",
        OPERATOR.. => "operator",
        _ => "read-only",
    }
}

impl Hash {
    /// Of a password, with a salt of its own.
    ///
    /// # Errors
    /// The machine has no random numbers.
    pub fn of(password: &str) -> Result<Self, &'static str> {
        let mut salt = vec![0; SALT];
        rand::fill(&mut salt).map_err(|_| "no random numbers are to be had")?;
        let iterations = NonZeroU32::new(ITERATIONS).unwrap_or(NonZeroU32::MIN);
        let mut key = vec![0; KEY];
        pbkdf2::derive(PBKDF2_HMAC_SHA512, iterations, &salt, password.as_bytes(), &mut key);
        Ok(Self { iterations, salt, key })
    }

    /// Whether it is that password's. Slow on purpose; takes the same time whatever is wrong.
    pub fn is_of(&self, password: &str) -> bool {
        pbkdf2::verify(PBKDF2_HMAC_SHA512, self.iterations, &self.salt, password.as_bytes(), &self.key)
            .is_ok()
    }
}

impl Password {
    /// What it is checked by.
    pub fn hash(&self) -> Option<&Hash> {
        match self {
            Self::Hashed(hash) => Some(hash),
            Self::Clear(_) => None,
        }
    }

    /// Whether it is still to be hashed.
    pub fn is_clear(&self) -> bool {
        self.hash().is_none()
    }
}

/// Hashes those that are in the clear.
///
/// # Errors
/// The machine has no random numbers.
pub fn hash_all<'p>(passwords: impl Iterator<Item = &'p mut Password>) -> Result<(), &'static str> {
    for password in passwords {
        if let Password::Clear(text) = password {
            *password = Password::Hashed(Hash::of(text)?);
        }
    }
    Ok(())
}

impl fmt::Display for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hashed(hash) => write!(f, "{hash} pbkdf2"),
            // A word has blanks or quotes in it, never both.
            Self::Clear(text) if text.contains([' ', '\t']) => write!(f, "\"{text}\""),
            Self::Clear(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { iterations, salt, key } = self;
        write!(f, "$sha512${iterations}${}${}", STANDARD.encode(salt), STANDARD.encode(key))
    }
}

impl fmt::Debug for Hash {
    /// Not even the hash is for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash")
    }
}

impl FromStr for Hash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let form = "expected $sha512$ITERATIONS$SALT$KEY";
        let parts: Vec<&str> = text.split('$').collect();
        let ["", "sha512", iterations, salt, key] = parts[..] else { return Err(form) };
        let iterations: NonZeroU32 = iterations.parse().map_err(|_| form)?;
        if iterations.get() > MOST_ITERATIONS {
            return Err("more than 10,000,000 iterations");
        }
        let bytes = |text: &str| {
            let bytes = STANDARD.decode(text).map_err(|_| form)?;
            if (8..=64).contains(&bytes.len()) { Ok(bytes) } else { Err(form) }
        };
        Ok(Self { iterations, salt: bytes(salt)?, key: bytes(key)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_of_its_password_and_no_other() {
        let hash = Hash::of("correct horse").unwrap();
        let text = hash.to_string();
        assert!(text.starts_with("$sha512$210000$") && !text.contains("horse"));
        assert_eq!(text.parse::<Hash>().unwrap(), hash);
        assert!(hash.is_of("correct horse") && !hash.is_of("correct horsf") && !hash.is_of(""));
        assert_ne!(Hash::of("correct horse").unwrap(), hash, "a salt of its own");
    }

    /// PBKDF2-HMAC-SHA512 of "password" and the salt "saltsaltsaltsalt", by Python's hashlib.pbkdf2_hmac, in the form of an ASA.
    #[test]
    fn the_form_is_the_asas() {
        let asa: Hash = KNOWN.parse().unwrap();
        assert!(asa.is_of("password") && !asa.is_of("Password"));
        for wrong in [
            "",
            "secret",
            "$sha512$0$c2FsdHNhbHQ=$c2FsdHNhbHQ=",
            "$sha512$5000$x$y",
            "$md5$1$c2FsdHNhbHQ=$c2FsdHNhbHQ=",
            "$sha512$99999999$c2FsdHNhbHQ=$c2FsdHNhbHQ=",
            "$sha512$5000$$",
        ] {
            assert!(wrong.parse::<Hash>().is_err(), "{wrong}");
        }
    }

    const KNOWN: &str = "$sha512$5000$c2FsdHNhbHRzYWx0c2FsdA==$1NgafSWlS95a+oHEEA7shA==";
}
