// SPDX-License-Identifier: MIT OR Apache-2.0
//! The canonical form of a domain, in which all comparisons are made.
//!
//! Lower case, one trailing dot dropped, A-labels (UTS 46, strict), 1 to 63 octets of `[a-z0-9-]` a label, 253 in
//! all. Equal means equal octets: a child, parent or sibling of a domain is another domain. IP literals are a kind of
//! their own (an IPv4-mapped IPv6 address is the IPv4 address), so that they can never equal a name.
//!
//! A name of plain ASCII without A-labels, which is nearly every one, is checked and copied in one pass into the
//! inline buffer, without the heap. Others go through the `idna` crate (which may allocate) and then through the same
//! pass, so that nothing IDNA maps to (a full-width digit, an ideographic full stop) slips by its checks.
//!
//! Used by the workers for every message and by control for its lists; both must call this and nothing else.

use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// Most octets a name has (RFC 1035 section 3.1: 255 with the length octets of first label and root).
pub const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// What a [`Domain`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A DNS name.
    Name,
    /// An IPv4 or IPv6 address, in its canonical text, without brackets.
    Ip,
}

/// Why a host is not a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    /// Nothing, or only a dot.
    #[error("the name is empty")]
    Empty,
    /// Two dots in a row, or one in front.
    #[error("a label is empty")]
    EmptyLabel,
    /// More than 63 octets between dots.
    #[error("a label is longer than 63 octets")]
    LongLabel,
    /// More than 253 octets.
    #[error("the name is longer than 253 octets")]
    LongName,
    /// An octet that no host name has: `%`, `_`, space, NUL, `*`, ...
    #[error("octet {0:#04x} cannot stand in a domain")]
    Octet(u8),
    /// A label begins or ends with `-`.
    #[error("a label begins or ends with a hyphen")]
    Hyphen,
    /// Looks like an IPv4 address, but is none (`1.2.3`, `192.0.2.256`).
    #[error("the last label is a number")]
    NumericTop,
    /// Brackets without an IPv6 address in them.
    #[error("not an IPv6 address")]
    Ipv6,
    /// Not UTF-8, or refused by UTS 46, or a broken A-label.
    #[error("not a valid internationalised name")]
    Idna,
}

/// A canonical domain or IP literal, held inline.
#[derive(Clone, Copy)]
pub struct Domain {
    octets: [u8; MAX_NAME],
    len: u8,
    kind: Kind,
}

impl Domain {
    /// The canonical form of a host as a URI, a certificate or a configuration line has it. IPv6 stands in brackets.
    pub fn canonical(host: &[u8]) -> Result<Self, DomainError> {
        if let Some(inner) = host.strip_prefix(b"[") {
            return ipv6(inner.strip_suffix(b"]").ok_or(DomainError::Ipv6)?);
        }
        match Self::ascii(host)? {
            Some(domain) => Ok(domain),
            None => Self::international(host),
        }
    }

    /// The plain pass. `None` where IDNA has to be asked first.
    fn ascii(host: &[u8]) -> Result<Option<Self>, DomainError> {
        let name = host.strip_suffix(b".").unwrap_or(host);
        if name.is_empty() {
            return Err(DomainError::Empty);
        }
        if !name.is_ascii() {
            return Ok(None);
        }
        if name.len() > MAX_NAME {
            return Err(DomainError::LongName);
        }
        let mut octets = [0u8; MAX_NAME];
        let mut numeric = false;
        let mut start = 0;
        for label in name.split(|&b| b == b'.') {
            if check_label(label)? {
                return Ok(None);
            }
            octets[start..start + label.len()].copy_from_slice(label);
            start += label.len();
            if start < name.len() {
                octets[start] = b'.';
                start += 1;
            }
            numeric = label.iter().all(u8::is_ascii_digit);
        }
        octets.make_ascii_lowercase();
        let domain = Self { octets, len: name.len() as u8, kind: Kind::Name };
        if !numeric {
            return Ok(Some(domain));
        }
        // Ipv4Addr's parser takes four decimal numbers without leading zeros and nothing else.
        let ip: Ipv4Addr = domain.as_str().parse().map_err(|_| DomainError::NumericTop)?;
        Ok(Some(Self::ip_text(ip)))
    }

    /// By way of UTS 46; whatever comes out must pass the plain checks too.
    #[cold]
    fn international(host: &[u8]) -> Result<Self, DomainError> {
        // No name that fits into 253 octets of A-labels needs more than this in UTF-8, and UTS 46 is not linear.
        if host.len() > 4 * MAX_NAME {
            return Err(DomainError::LongName);
        }
        let ascii = Uts46::new()
            .to_ascii(host, AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::VerifyAllowRootDot)
            .map_err(|_| DomainError::Idna)?;
        let name = ascii.strip_suffix('.').unwrap_or(&ascii);
        if name.len() > MAX_NAME {
            return Err(DomainError::LongName);
        }
        let mut top = "";
        for label in name.split('.') {
            check_label(label.as_bytes())?;
            top = label;
        }
        if top.bytes().all(|b| b.is_ascii_digit()) {
            // `１９２.0.2.7`: an address in disguise is not worth telling from a mistake.
            return Err(DomainError::NumericTop);
        }
        let mut octets = [0u8; MAX_NAME];
        octets[..name.len()].copy_from_slice(name.as_bytes());
        octets.make_ascii_lowercase();
        Ok(Self { octets, len: name.len() as u8, kind: Kind::Name })
    }

    fn ip_text(ip: impl fmt::Display) -> Self {
        let mut domain = Self { octets: [0; MAX_NAME], len: 0, kind: Kind::Ip };
        // Cannot fail: the longest IPv6 text is 45 octets.
        let _ = write!(domain, "{ip}");
        domain
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        // Always ASCII: every constructor writes checked ASCII only.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The canonical text as octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }

    /// Name or address.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it is an IP literal.
    pub fn is_ip(&self) -> bool {
        self.kind == Kind::Ip
    }
}

/// Checks one ASCII label; true where it is an A-label, which IDNA has to check.
fn check_label(label: &[u8]) -> Result<bool, DomainError> {
    let (Some(first), Some(last)) = (label.first(), label.last()) else {
        return Err(DomainError::EmptyLabel);
    };
    if label.len() > MAX_LABEL {
        return Err(DomainError::LongLabel);
    }
    if let Some(&bad) = label.iter().find(|b| !b.is_ascii_alphanumeric() && **b != b'-') {
        return Err(DomainError::Octet(bad));
    }
    if *first == b'-' || *last == b'-' {
        return Err(DomainError::Hyphen);
    }
    Ok(label.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"xn--")))
}

fn ipv6(inner: &[u8]) -> Result<Domain, DomainError> {
    let text = std::str::from_utf8(inner).map_err(|_| DomainError::Ipv6)?;
    let ip: Ipv6Addr = text.parse().map_err(|_| DomainError::Ipv6)?;
    Ok(match ip.to_ipv4_mapped() {
        Some(v4) => Domain::ip_text(v4),
        None => Domain::ip_text(ip),
    })
}

impl fmt::Write for Domain {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let len = usize::from(self.len);
        let slot = self.octets.get_mut(len..len + text.len()).ok_or(fmt::Error)?;
        slot.copy_from_slice(text.as_bytes());
        self.len += text.len() as u8;
        Ok(())
    }
}

impl PartialEq for Domain {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Domain {}

impl Hash for Domain {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
        self.as_bytes().hash(state);
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({})", self.kind, self.as_str())
    }
}

#[cfg(test)]
mod tests;
