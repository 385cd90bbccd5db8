// SPDX-License-Identifier: MIT OR Apache-2.0
//! `interface`, `hardware` and what stands under it, `mtu`, `sysopt noproxyarp`, `same-security-traffic`.

use std::net::Ipv4Addr;

use crate::config::args::{Args, Env};
use crate::config::diag::Problem;
use crate::config::raw::{Command, FragmentBound, Unset};
use crate::config::types::{Device, Mac, Net};

type Parsed = Result<Command, Problem>;

const KINDS: [&str; 8] = ["tap", "memif", "pci", "af_packet", "af_xdp", "pcap", "ring", "null"];

/// `interface KIND ...`
pub fn interface(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let device = match args.peek().and_then(slot_type) {
        Some(number) => slot(args, number)?,
        None => port(args)?,
    };
    Ok(Command::Interface(device))
}

/// `hardware KIND ...`
pub fn hardware(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    port(args).map(Command::Hardware)
}

/// What stands behind the type in a name of an ASA's port.
fn slot_type(word: &str) -> Option<&str> {
    // `Ethernet` is the end of others.
    let types = ["TenGigabitEthernet", "GigabitEthernet", "FastEthernet", "Ethernet", "Management"];
    let number = types.iter().find_map(|kind| word.strip_prefix(kind))?;
    number.bytes().all(|b| b.is_ascii_digit() || b == b'/' || b == b'.').then_some(number)
}

/// `GigabitEthernet0/0`, or with a blank before the number.
fn slot(args: &mut Args<'_, '_>, number: &str) -> Result<Device, Problem> {
    let mut name = args.take("a port")?.text.to_owned();
    let mut number = number.to_owned();
    if number.is_empty() {
        number = args.take("a port's number")?.text.to_owned();
        name.push_str(&number);
    }
    if number.contains('.') {
        return Err(args
            .wrong(format!("`{name}` is a sub-interface of a VLAN, which is not supported"))
            .help("give each VLAN a port of its own, by `hardware` of the interface"));
    }
    let short = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    if !number.split('/').all(short) || number.split('/').count() > 3 {
        return Err(args.wrong(format!("`{name}` is not a port: expected e.g. GigabitEthernet0/0")));
    }
    Ok(Device::Slot(name))
}

fn port(args: &mut Args<'_, '_>) -> Result<Device, Problem> {
    let device = match KINDS[args.one_of(&KINDS)?] {
        "tap" => Device::Tap(kernel_name(args)?),
        "memif" => memif(args)?,
        "pci" => Device::Pci(args.parsed("a PCI address", pci)?),
        "af_packet" => Device::AfPacket(kernel_name(args)?),
        "af_xdp" => Device::AfXdp(kernel_name(args)?),
        "pcap" => {
            args.expect("rx")?;
            let rx = device_path(args)?;
            args.expect("tx")?;
            Device::Pcap { rx, tx: device_path(args)? }
        }
        "ring" => Device::Ring(kernel_name(args)?),
        _ => Device::Null(if args.peek().is_some() { args.number("a number", 0, 15)? } else { 0 }),
    };
    Ok(device)
}

fn memif(args: &mut Args<'_, '_>) -> Result<Device, Problem> {
    let socket = device_path(args)?;
    let server = args.accept("server") || {
        args.accept("client");
        false
    };
    let id = if args.accept("id") { args.number("a memif id", 0, u32::MAX)? } else { 0 };
    Ok(Device::Memif { socket, server, id })
}

/// A name the kernel takes for an interface, and DPDK for a device: IFNAMSIZ is 16 with the final NUL.
fn kernel_name(args: &mut Args<'_, '_>) -> Result<String, Problem> {
    args.parsed("an interface name", |word| {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
        let ok = (1..=15).contains(&word.len()) && word.bytes().all(good) && word != "." && word != "..";
        if ok { Ok(word.to_owned()) } else { Err("1 to 15 letters, digits and _-.") }
    })
}

/// A path that can be an argument of a DPDK device, where `,` `=` and `[` have a meaning.
fn device_path(args: &mut Args<'_, '_>) -> Result<String, Problem> {
    args.parsed("a path", |word| {
        let bad = |c: char| ",=[]\"".contains(c);
        if !word.starts_with('/') {
            Err("it must be absolute")
        } else if word.contains(bad) {
            Err("a device path cannot hold , = [ ] or \"")
        } else if word.len() > 107 {
            Err("longer than the 107 bytes that a socket path may have")
        } else {
            Ok(word.to_owned())
        }
    })
}

/// `DDDD:BB:DD.F`, hexadecimal.
fn pci(word: &str) -> Result<String, &'static str> {
    let shape = word.len() == 12
        && word.bytes().enumerate().all(|(at, b)| match at {
            4 | 7 => b == b':',
            10 => b == b'.',
            11 => (b'0'..=b'7').contains(&b),
            _ => b.is_ascii_hexdigit(),
        });
    if shape { Ok(word.to_ascii_lowercase()) } else { Err("expected DDDD:BB:DD.F, e.g. 0000:03:00.0") }
}

/// `nameif NAME`
pub fn nameif(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    if args.is_bare_no() {
        return Ok(Command::Unset(Unset::Nameif));
    }
    let name = args.name("a name")?;
    if name == "any" || name == "interface" {
        return Err(
            args.wrong(format!("`{name}` has a meaning of its own and cannot be an interface's name"))
        );
    }
    Ok(Command::Nameif(name))
}

/// `security-level N`
pub fn security_level(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    if args.is_bare_no() {
        return Ok(Command::Unset(Unset::SecurityLevel));
    }
    Ok(Command::SecurityLevel(args.number("a security level", 0, 100)? as u8))
}

/// `ip address A M`
pub fn ip_address(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    if args.is_bare_no() {
        return Ok(Command::Unset(Unset::Address));
    }
    let address = args.address("an address")?;
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() || address.is_broadcast() {
        return Err(args.wrong(format!("`{address}` cannot be an interface's address")));
    }
    let mask = args.mask()?;
    let net = Net::holding(address, mask);
    let last = u32::from(net.addr()) | !u32::from(mask);
    if net.prefix_len() < 31 && (address == net.addr() || address == Ipv4Addr::from(last)) {
        let which = if address == net.addr() { "network" } else { "broadcast" };
        return Err(args.wrong(format!("{address} is the {which} address of its own network")));
    }
    if net.prefix_len() == 0 {
        return Err(args.wrong("an interface cannot be connected to every address"));
    }
    if args.accept("standby") {
        let remark = args.wrong("`standby` has no effect: on an ASA it is the other unit's address");
        args.remark(remark.help("one appliance stands alone: a second one takes nothing over"));
        args.address("the other unit's address")?;
    }
    Ok(Command::IpAddress(address, mask))
}

/// `mac-address HHHH.HHHH.HHHH`
pub fn mac_address(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    args.parsed("a MAC address", mac).map(Command::MacAddress)
}

fn mac(word: &str) -> Result<Mac, &'static str> {
    const SHAPE: &str = "expected HHHH.HHHH.HHHH";
    let mut bytes = [0u8; 6];
    let groups: Vec<&str> = word.split('.').collect();
    if groups.len() != 3 {
        return Err(SHAPE);
    }
    for (pair, group) in bytes.chunks_exact_mut(2).zip(groups) {
        if group.len() != 4 || !group.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(SHAPE);
        }
        pair.copy_from_slice(&u16::from_str_radix(group, 16).map_err(|_| SHAPE)?.to_be_bytes());
    }
    if bytes[0] & 1 != 0 {
        return Err("it is a group address");
    }
    if bytes == [0; 6] {
        return Err("all zeros is no address");
    }
    Ok(Mac(bytes))
}

/// `shutdown`
pub fn shutdown(_: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::Shutdown)
}

/// `mtu NAMEIF N`; 68 is the least IPv4 allows (RFC 791), 9198 the most an ASA does.
pub fn mtu(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let name = args.name("an interface")?;
    Ok(Command::Mtu(name, args.number("an MTU", 68, 9198)? as u16))
}

/// `sysopt noproxyarp NAMEIF`
pub fn noproxyarp(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::NoProxyArp(args.name("an interface")?))
}

/// `same-security-traffic permit ...`
pub fn same_security(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::SameSecurity { inter: args.one_of(&["inter-interface", "intra-interface"])? == 0 })
}

/// `ip verify reverse-path interface I`
pub fn reverse_path(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::ReversePath(args.name("an interface")?))
}

/// `fragment {size|chain|timeout} N`, with the ASA's bounds.
pub fn fragment(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let command = match args.one_of(&["size", "chain", "timeout"])? {
        0 => Command::Fragment(FragmentBound::Size, args.number("a number of datagrams", 1, 30_000)?),
        1 => Command::Fragment(FragmentBound::Chain, args.number("a number of fragments", 1, 8200)?),
        _ => Command::Fragment(FragmentBound::Timeout, args.number("a number of seconds", 1, 30)?),
    };
    if args.peek().is_some() {
        args.take("an interface")?;
        return Err(args
            .wrong("fragments have one bound for all interfaces")
            .help("leave the interface out"));
    }
    Ok(command)
}

/// `ipv6 address A/N`
pub fn ipv6_address(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let (address, prefix) = args.prefix6()?;
    let link_local = address.segments()[0] & 0xffc0 == 0xfe80;
    if link_local {
        return Err(args
            .wrong(format!("`{address}` is link-local"))
            .help("that address is made from the MAC: write `ipv6 enable`"));
    }
    let host = u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
    let router_anycast = prefix < 127 && u128::from(address) & host == 0;
    if address.is_unspecified()
        || address.is_multicast()
        || address.is_loopback()
        || prefix == 0
        || router_anycast
    {
        return Err(args.wrong(format!("`{address}/{prefix}` cannot be an interface's address")));
    }
    Ok(Command::Ipv6Address(address, prefix))
}

/// `ipv6 enable`
pub fn ipv6_enable(_: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::Ipv6Enable)
}
