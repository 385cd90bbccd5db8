// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names nobody can guess: tags, branches, Call-IDs, entity tags.
//!
//! A counter under SipHash with a secret key: unlike any other of this run, unguessable to those who do not hold the key (a tag
//! protects a dialog from whoever cannot see it, RFC 3261 section 19.3), and repeatable in tests, which give the key. The key
//! comes from the system's generator at each start, so two runs share no names either.
//!
//! Owned by the node's core.

use std::fmt;
use std::hash::Hasher as _;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;

/// A local tag: names one dialog of ours for as long as it lives, over restarts as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tag(pub u64);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Tag {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let plain = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        plain.then(|| u64::from_str_radix(text, 16).ok().map(Self)).flatten().ok_or(())
    }
}

/// Where the names come from.
#[derive(Debug)]
pub struct Ids {
    key: [u8; 16],
    count: u64,
}

impl Ids {
    /// Under this key.
    pub fn new(key: [u8; 16]) -> Self {
        Self { key, count: 0 }
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.count += 1;
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write_u64(self.count);
        hasher.finish()
    }

    /// The next tag.
    pub fn tag(&mut self) -> Tag {
        Tag(self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::{Ids, Tag};

    #[test]
    fn tags_are_read_as_they_are_written_and_no_other_way() {
        let tag = Ids::new([7; 16]).tag();
        assert_eq!(tag.to_string().parse(), Ok(tag));
        for bad in ["", "1", "+123456789abcdef", "0123456789ABCDEF", "0123456789abcdef0", "0123456789abcdeg"]
        {
            assert_eq!(bad.parse::<Tag>(), Err(()), "{bad}");
        }
    }
}
