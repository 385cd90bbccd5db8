// SPDX-License-Identifier: MIT OR Apache-2.0
//! The small values a configuration is made of, each of which cannot hold what the language does not allow and prints
//! (`Display`) as the words it is parsed from: networks, port operators, services, devices, MAC addresses, durations.

use std::fmt;
use std::net::Ipv4Addr;

use super::ports;
use super::source::quoted;

/// An IPv4 network: contiguous mask, no host bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Net {
    addr: Ipv4Addr,
    mask: Ipv4Addr,
}

impl Net {
    /// Every address.
    pub const ANY: Self = Self { addr: Ipv4Addr::UNSPECIFIED, mask: Ipv4Addr::UNSPECIFIED };

    /// `None` where the mask has a hole or `addr` has bits beyond it.
    pub fn new(addr: Ipv4Addr, mask: Ipv4Addr) -> Option<Self> {
        let (a, m) = (u32::from(addr), u32::from(mask));
        let contiguous = !m & (!m).wrapping_add(1) == 0;
        (contiguous && a & !m == 0).then_some(Self { addr, mask })
    }

    /// The network of one address.
    pub fn host(addr: Ipv4Addr) -> Self {
        Self { addr, mask: Ipv4Addr::BROADCAST }
    }

    /// The network with this mask that holds `addr`. The mask must be contiguous, as a parsed one is.
    pub fn holding(addr: Ipv4Addr, mask: Ipv4Addr) -> Self {
        Self { addr: Ipv4Addr::from(u32::from(addr) & u32::from(mask)), mask }
    }

    /// First address.
    pub fn addr(self) -> Ipv4Addr {
        self.addr
    }

    /// Netmask.
    pub fn mask(self) -> Ipv4Addr {
        self.mask
    }

    /// Ones in the mask.
    pub fn prefix_len(self) -> u32 {
        u32::from(self.mask).count_ones()
    }

    /// Whether it is a single address.
    pub fn is_host(self) -> bool {
        self.mask == Ipv4Addr::BROADCAST
    }

    /// Whether `addr` is in it.
    pub fn contains(self, addr: Ipv4Addr) -> bool {
        u32::from(addr) & u32::from(self.mask) == u32::from(self.addr)
    }

    /// Whether the two share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.addr) || other.contains(self.addr)
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.addr, self.mask)
    }
}

/// `eq`, `gt`, ... on a port; [`PortOp::Any`] where none is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PortOp {
    /// Every port.
    Any,
    /// One.
    Eq(u16),
    /// All but one.
    Neq(u16),
    /// Above, not itself; never 65535.
    Gt(u16),
    /// Below, not itself; never 0.
    Lt(u16),
    /// Both ends included, in order.
    Range(u16, u16),
}

impl PortOp {
    /// The inclusive ranges it stands for: one, or two for `neq` within 1..=65534.
    pub fn ranges(self) -> Vec<[u16; 2]> {
        match self {
            Self::Any => vec![[0, u16::MAX]],
            Self::Eq(p) => vec![[p, p]],
            Self::Neq(0) => vec![[1, u16::MAX]],
            Self::Neq(u16::MAX) => vec![[0, u16::MAX - 1]],
            Self::Neq(p) => vec![[0, p - 1], [p + 1, u16::MAX]],
            Self::Gt(p) => vec![[p.saturating_add(1), u16::MAX]],
            Self::Lt(p) => vec![[0, p.saturating_sub(1)]],
            Self::Range(a, b) => vec![[a, b]],
        }
    }

    /// ` eq sip` with a blank before it, nothing for [`PortOp::Any`]; names are those of `proto`.
    pub fn text(self, proto: u8) -> String {
        let name = |p| ports::port_text(proto, p);
        match self {
            Self::Any => String::new(),
            Self::Eq(p) => format!(" eq {}", name(p)),
            Self::Neq(p) => format!(" neq {}", name(p)),
            Self::Gt(p) => format!(" gt {}", name(p)),
            Self::Lt(p) => format!(" lt {}", name(p)),
            Self::Range(a, b) => format!(" range {} {}", name(a), name(b)),
        }
    }
}

/// The protocols that something is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protos {
    /// `ip`: every one.
    Any,
    /// One.
    One(u8),
    /// `tcp-udp`: both.
    TcpUdp,
}

impl Protos {
    /// The protocol whose names its ports have; 0 for those that TCP and UDP share.
    pub fn names(self) -> u8 {
        match self {
            Self::One(number) => number,
            Self::Any | Self::TcpUdp => 0,
        }
    }

    /// Each of them by itself; `None` stands for every protocol.
    pub fn each(self) -> &'static [Option<u8>] {
        static NUMBERS: [Option<u8>; 256] = {
            let mut numbers = [None; 256];
            let mut at = 0;
            while at < 256 {
                numbers[at] = Some(at as u8);
                at += 1;
            }
            numbers
        };
        match self {
            Self::Any => &[None],
            Self::One(number) => std::slice::from_ref(&NUMBERS[number as usize]),
            Self::TcpUdp => &[Some(ports::TCP), Some(ports::UDP)],
        }
    }
}

impl fmt::Display for Protos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("ip"),
            Self::One(number) => f.write_str(&ports::proto_text(*number)),
            Self::TcpUdp => f.write_str("tcp-udp"),
        }
    }
}

/// `service {tcp|udp|tcp-udp|icmp|icmp6|ip|NUMBER} ...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// Protocols.
    pub proto: Protos,
    /// Source ports, with TCP and UDP.
    pub source: PortOp,
    /// Destination ports, with TCP and UDP.
    pub destination: PortOp,
    /// With ICMP: one type, and perhaps one code of it.
    pub icmp: Option<(u8, Option<u8>)>,
}

impl Service {
    /// All of `proto`.
    pub fn of(proto: Protos) -> Self {
        Self { proto, source: PortOp::Any, destination: PortOp::Any, icmp: None }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.proto)?;
        for (word, op) in [("source", self.source), ("destination", self.destination)] {
            if op != PortOp::Any {
                write!(f, " {word}{}", op.text(self.proto.names()))?;
            }
        }
        if let Some((number, code)) = self.icmp {
            write!(f, " {}", ports::icmp_text(self.proto.names(), number, code))?;
        }
        Ok(())
    }
}

/// What an `interface` line names: the port the dataplane opens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// A kernel tap interface of this name.
    Tap(String),
    /// A memif socket.
    Memif {
        /// Path of the socket.
        socket: String,
        /// Whether the dataplane listens on it.
        server: bool,
        /// memif id.
        id: u32,
    },
    /// A PCI address, `0000:03:00.0`.
    Pci(String),
    /// A kernel interface by AF_PACKET.
    AfPacket(String),
    /// A kernel interface by AF_XDP.
    AfXdp(String),
    /// Frames from a capture file and to another.
    Pcap {
        /// File read.
        rx: String,
        /// File written.
        tx: String,
    },
    /// A ring in the process, for tests.
    Ring(String),
    /// Takes everything, gives empty frames; numbered.
    Null(u32),
    /// `GigabitEthernet0/0`: as an ASA calls its ports. Which port of the machine that is, its `hardware` line says; without one
    /// the interface is down.
    Slot(String),
}

impl Device {
    /// The DPDK device with its arguments. The vdev name depends on the device alone, never on its place in the
    /// configuration, so that an interface keeps its port when another is taken out.
    pub fn dpdk(&self) -> String {
        match self {
            Self::Tap(name) => format!("net_tap_{name},iface={name}"),
            Self::Memif { socket, server, id } => {
                let role = if *server { "server" } else { "client" };
                let key = fnv1a(format!("{socket}/{id}").as_bytes());
                format!("net_memif_{key:08x},role={role},id={id},socket={socket},socket-abstract=no")
            }
            Self::Pci(address) => address.clone(),
            Self::AfPacket(name) => format!("net_af_packet_{name},iface={name}"),
            Self::AfXdp(name) => format!("net_af_xdp_{name},iface={name}"),
            Self::Pcap { rx, tx } => {
                let key = fnv1a(format!("{rx}/{tx}").as_bytes());
                format!("net_pcap_{key:08x},rx_pcap={rx},tx_pcap={tx}")
            }
            Self::Ring(name) => format!("net_ring_{name}"),
            Self::Null(number) => format!("net_null{number}"),
            // Nothing is plugged in: what is sent is gone, and nothing comes.
            Self::Slot(name) => format!("net_null_{:08x},no-rx=1", fnv1a(name.as_bytes())),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tap(name) => write!(f, "tap {name}"),
            Self::Memif { socket, server, id } => {
                let role = if *server { "server" } else { "client" };
                write!(f, "memif {} {role} id {id}", quoted(socket))
            }
            Self::Pci(address) => write!(f, "pci {address}"),
            Self::AfPacket(name) => write!(f, "af_packet {name}"),
            Self::AfXdp(name) => write!(f, "af_xdp {name}"),
            Self::Pcap { rx, tx } => write!(f, "pcap rx {} tx {}", quoted(rx), quoted(tx)),
            Self::Ring(name) => write!(f, "ring {name}"),
            Self::Null(0) => write!(f, "null"),
            Self::Null(number) => write!(f, "null {number}"),
            Self::Slot(name) => f.write_str(name),
        }
    }
}

/// FNV-1a, 32 bits: the ids of ACEs and the names of vdevs. Small, and the same in every release.
pub fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// An Ethernet address; prints as `0011.2233.4455`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}{b:02x}.{c:02x}{d:02x}.{e:02x}{g:02x}")
    }
}

/// Whole seconds; prints as `h:mm:ss`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub u32);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:02}:{:02}", self.0 / 3600, self.0 / 60 % 60, self.0 % 60)
    }
}

/// `(real,mapped)` of a NAT line; `None` stands for `any`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IfPair {
    /// Interface of the real addresses.
    pub real: Option<String>,
    /// Interface of the mapped ones.
    pub mapped: Option<String>,
}

impl fmt::Display for IfPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |n: &Option<String>| n.clone().unwrap_or_else(|| "any".to_owned());
        write!(f, "({},{})", name(&self.real), name(&self.mapped))
    }
}
