// SPDX-License-Identifier: MIT OR Apache-2.0
//! Device descriptions, as far as they must be understood to find the port.
//!
//! DPDK parses the arguments; this takes the device's name from the front of
//! the description, because the port is found by it, and refuses what could not
//! become a port: other classes of device, or a PCI address while PCI is off. Kept
//! apart since it is all text and can be tested without EAL.

use crate::Error;

#[cfg(test)]
mod tests;

/// `RTE_ETH_NAME_MAX_LEN`, less the NUL.
const LONGEST_NAME: usize = 63;

/// A description that makes sense.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Devargs {
    /// The device's name as EAL and ethdev know it.
    pub(super) name: String,
    /// What EAL is given.
    pub(super) devargs: String,
}

/// Takes a description apart.
pub(super) fn parse(text: &str, pci_on: bool) -> Result<Devargs, Error> {
    let refuse = |why| Err(Error::BadDevargs { devargs: text.to_owned(), why });
    if text.bytes().any(|b| b.is_ascii_control()) {
        return refuse("has a control character in it");
    }
    let (given, arguments) = match text.split_once(',') {
        Some((given, arguments)) => (given, Some(arguments)),
        None => (text, None),
    };
    let name = if let Some(address) = pci_address(given.strip_prefix("pci:").unwrap_or(given)) {
        if !pci_on {
            return refuse("is a PCI device, and DPDK was started without PCI");
        }
        address
    } else {
        let name = given.strip_prefix("vdev:").unwrap_or(given);
        let ordinary = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if name.is_empty() || !name.bytes().all(ordinary) {
            return refuse("has neither a PCI address nor the name of a virtual device in front");
        }
        if !name.starts_with("net_") {
            return refuse("is no network device: the names of virtual ones begin with net_");
        }
        name.to_owned()
    };
    if name.len() > LONGEST_NAME {
        return refuse("has a name of more than 63 bytes");
    }
    let devargs = match arguments {
        Some(arguments) => format!("{name},{arguments}"),
        None => name.clone(),
    };
    Ok(Devargs { name, devargs })
}

/// `[dddd:]bb:dd.f` in full and in lower case, as ethdev names the port.
fn pci_address(text: &str) -> Option<String> {
    let hex = |part: &str, len: usize| part.len() == len && part.bytes().all(|b| b.is_ascii_hexdigit());
    let (front, function) = text.rsplit_once('.')?;
    let mut parts = front.rsplit(':');
    let (device, bus, domain) = (parts.next()?, parts.next()?, parts.next().unwrap_or("0000"));
    let valid = parts.next().is_none()
        && hex(domain, 4)
        && hex(bus, 2)
        && hex(device, 2)
        && u8::from_str_radix(device, 16).is_ok_and(|n| n < 32)
        && function.len() == 1
        && function.bytes().all(|b| (b'0'..=b'7').contains(&b));
    valid.then(|| format!("{domain}:{bus}:{device}.{function}").to_ascii_lowercase())
}
