// SPDX-License-Identifier: MIT OR Apache-2.0
//! `subject-name`: a distinguished name as an ASA takes it, `CN=cup.example.com,OU=UC,O=Example,C=US`.
//!
//! Attributes by their short names in any case, each value up to the next comma that no backslash stands before (RFC 4514 without
//! hexadecimal forms). A country has two letters (X.520), an address for mail is ASCII: what encodes otherwise would be refused by CAs.

use rcgen::{DistinguishedName, DnType, DnValue};

/// Longest attribute value, bytes (X.520: 64 for most of them, 128 for some).
const MAX_VALUE: usize = 128;

/// The OID of emailAddress (PKCS#9).
const EMAIL: &[u64] = &[1, 2, 840, 113549, 1, 9, 1];

/// Reads a distinguished name; or says what is wrong with it.
pub fn subject(text: &str) -> Result<DistinguishedName, String> {
    let mut name = DistinguishedName::new();
    for part in parts(text) {
        let (key, value) = part.split_once('=').ok_or_else(|| format!("`{part}` is no `ATTRIBUTE=VALUE`"))?;
        let (key, value) = (key.trim(), value.trim());
        if value.is_empty() || value.len() > MAX_VALUE {
            return Err(format!("the value of `{key}` has 1 to {MAX_VALUE} bytes"));
        }
        let kind = match key.to_ascii_uppercase().as_str() {
            "CN" => DnType::CommonName,
            "OU" => DnType::OrganizationalUnitName,
            "O" => DnType::OrganizationName,
            "C" => DnType::CountryName,
            "ST" | "S" | "SP" => DnType::StateOrProvinceName,
            "L" => DnType::LocalityName,
            "EA" | "E" | "EMAILADDRESS" => DnType::CustomDnType(EMAIL.to_vec()),
            _ => return Err(format!("`{key}` is no attribute: CN, OU, O, C, ST, L or EA")),
        };
        let value = match kind {
            DnType::CountryName => {
                let two = value.len() == 2 && value.bytes().all(|b| b.is_ascii_alphabetic());
                let code = value.to_ascii_uppercase();
                let code = code.as_str().try_into().ok().filter(|_| two);
                DnValue::PrintableString(
                    code.ok_or_else(|| format!("`{value}` is no country of two letters"))?,
                )
            }
            DnType::CustomDnType(_) => DnValue::Ia5String(
                value.try_into().map_err(|_| format!("`{value}` is no address for mail: it is not ASCII"))?,
            ),
            _ => DnValue::Utf8String(value.to_owned()),
        };
        name.push(kind, value);
    }
    Ok(name)
}

/// Cuts at commas; a backslash takes the next character as it is.
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ',' => parts.push(String::new()),
            c => {
                let c = if c == '\\' { chars.next() } else { Some(c) };
                if let Some(last) = parts.last_mut() {
                    last.extend(c);
                }
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_guide() {
        let name =
            subject("CN=cup.example.com,OU=UC, O=Example\\, Inc.,c=us,St=CA,L=San Jose,EA=a@b.c").unwrap();
        let of = |kind: &DnType| name.get(kind).cloned();
        assert_eq!(of(&DnType::CommonName), Some(DnValue::Utf8String("cup.example.com".into())));
        assert_eq!(of(&DnType::OrganizationName), Some(DnValue::Utf8String("Example, Inc.".into())));
        assert_eq!(of(&DnType::CountryName), Some(DnValue::PrintableString("US".try_into().unwrap())));
        assert_eq!(name.iter().count(), 7);
    }

    #[test]
    fn what_is_no_name() {
        for bad in ["cup.example.com", "CN=", "XX=a", "C=USA", "CN=a,,O=b", "EA=ä@b"] {
            assert!(subject(bad).is_err(), "{bad}");
        }
    }
}
