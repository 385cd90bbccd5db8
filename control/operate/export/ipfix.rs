// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPFIX messages (RFC 7011 section 3) of the NAT events of RFC 8158: four templates, all of fixed length.
//!
//! Written by hand, for what has to be encoded is four rows of numbers. Pure: bytes out, times and counts are arguments.

/// Most bytes of a message: what any path carries in one datagram.
pub const MOST: usize = 1400;
/// The version in the header.
const VERSION: u16 = 10;
/// Of the header, and of a set's.
const HEADER: usize = 16;
const SET_HEADER: usize = 4;
/// The set of templates.
const TEMPLATES: u16 = 2;
/// There is one translator, so one domain.
const DOMAIN: u32 = 1;

/// Information elements (IANA, "IPFIX Information Elements") with their lengths.
const TIME: (u16, u16) = (323, 8);
const EVENT: (u16, u16) = (230, 1);
const PROTOCOL: (u16, u16) = (4, 1);
const SOURCE: (u16, u16) = (8, 4);
const SOURCE_PORT: (u16, u16) = (7, 2);
const DESTINATION: (u16, u16) = (12, 4);
const DESTINATION_PORT: (u16, u16) = (11, 2);
const POST_SOURCE: (u16, u16) = (225, 4);
const POST_SOURCE_PORT: (u16, u16) = (227, 2);
const POST_DESTINATION: (u16, u16) = (226, 4);
const POST_DESTINATION_PORT: (u16, u16) = (228, 2);
const INGRESS: (u16, u16) = (10, 4);
const EGRESS: (u16, u16) = (14, 4);
const RANGE_START: (u16, u16) = (361, 2);
const RANGE_END: (u16, u16) = (362, 2);
const QUOTA: (u16, u16) = (466, 4);

const SESSION: &[(u16, u16)] = &[
    TIME,
    EVENT,
    PROTOCOL,
    SOURCE,
    SOURCE_PORT,
    POST_SOURCE,
    POST_SOURCE_PORT,
    DESTINATION,
    DESTINATION_PORT,
    POST_DESTINATION,
    POST_DESTINATION_PORT,
    INGRESS,
    EGRESS,
];
const BLOCK: &[(u16, u16)] = &[TIME, EVENT, PROTOCOL, SOURCE, POST_SOURCE, RANGE_START, RANGE_END];
const EXHAUSTED: &[(u16, u16)] = &[TIME, EVENT, PROTOCOL, POST_SOURCE];
const QUOTA_REACHED: &[(u16, u16)] = &[TIME, EVENT, QUOTA, SOURCE];

/// Templates by number.
pub const ALL: [(u16, &[(u16, u16)]); 4] =
    [(256, SESSION), (257, BLOCK), (258, EXHAUSTED), (259, QUOTA_REACHED)];

/// Something that NAT did. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// natEvent 4 and 5: a translated connection.
    Session {
        /// When.
        at: u64,
        /// Began, else ended.
        began: bool,
        /// IP protocol.
        proto: u8,
        /// The initiator.
        src: (u32, u16),
        /// The same, translated.
        shown_src: (u32, u16),
        /// Whom it called.
        dst: (u32, u16),
        /// The same, translated.
        real_dst: (u32, u16),
        /// Ingress and egress.
        interfaces: [u8; 2],
    },
    /// natEvent 16 and 17: a block of ports.
    Block {
        /// When.
        at: u64,
        /// Given, else taken back.
        given: bool,
        /// IP protocol.
        proto: u8,
        /// The host.
        real: u32,
        /// The address whose ports they are.
        mapped: u32,
        /// First and last.
        ports: [u16; 2],
    },
    /// natEvent 12: no port is left.
    Exhausted {
        /// When.
        at: u64,
        /// First address of the pool.
        mapped: u32,
        /// IP protocol.
        proto: u8,
    },
    /// natEvent 13: a host has all that it may have.
    Quota {
        /// When.
        at: u64,
        /// The host.
        real: u32,
    },
}

impl Record {
    fn template(&self) -> (u16, &'static [(u16, u16)]) {
        ALL[match self {
            Self::Session { .. } => 0,
            Self::Block { .. } => 1,
            Self::Exhausted { .. } => 2,
            Self::Quota { .. } => 3,
        }]
    }

    fn len(&self) -> usize {
        self.template().1.iter().map(|(_, len)| usize::from(*len)).sum()
    }

    /// In the order of its template.
    fn write(&self, out: &mut Vec<u8>) {
        let place = |out: &mut Vec<u8>, (addr, port): (u32, u16)| {
            out.extend_from_slice(&addr.to_be_bytes());
            out.extend_from_slice(&port.to_be_bytes());
        };
        match *self {
            Self::Session { at, began, proto, src, shown_src, dst, real_dst, interfaces } => {
                out.extend_from_slice(&at.to_be_bytes());
                out.extend_from_slice(&[if began { 4 } else { 5 }, proto]);
                [src, shown_src, dst, real_dst].into_iter().for_each(|end| place(out, end));
                interfaces.into_iter().for_each(|i| out.extend_from_slice(&u32::from(i).to_be_bytes()));
            }
            Self::Block { at, given, proto, real, mapped, ports } => {
                out.extend_from_slice(&at.to_be_bytes());
                out.extend_from_slice(&[if given { 16 } else { 17 }, proto]);
                [real, mapped].into_iter().for_each(|addr| out.extend_from_slice(&addr.to_be_bytes()));
                ports.into_iter().for_each(|port| out.extend_from_slice(&port.to_be_bytes()));
            }
            Self::Exhausted { at, mapped, proto } => {
                out.extend_from_slice(&at.to_be_bytes());
                out.extend_from_slice(&[12, proto]);
                out.extend_from_slice(&mapped.to_be_bytes());
            }
            Self::Quota { at, real } => {
                out.extend_from_slice(&at.to_be_bytes());
                // natQuotaExceededEvent 3: maximum entries per user.
                out.push(13);
                out.extend_from_slice(&3u32.to_be_bytes());
                out.extend_from_slice(&real.to_be_bytes());
            }
        }
    }
}

/// Records that wait to be sent, in sets.
#[derive(Clone, Debug, Default)]
pub struct Body {
    sets: Vec<u8>,
    /// Where the last set begins, and of which template it is.
    open: Option<(usize, u16)>,
    records: u32,
}

impl Body {
    /// Whether one more record fits a message, with all templates in it.
    pub fn has_room(&self, record: &Record) -> bool {
        HEADER + templates().len() + self.sets.len() + SET_HEADER + record.len() <= MOST
    }

    /// Adds one, which has room.
    pub fn add(&mut self, record: &Record) {
        let (template, _) = record.template();
        let at = match self.open {
            Some((at, open)) if open == template => at,
            _ => {
                let at = self.sets.len();
                self.sets.extend_from_slice(&template.to_be_bytes());
                self.sets.extend_from_slice(&[0, 0]);
                self.open = Some((at, template));
                at
            }
        };
        record.write(&mut self.sets);
        let len = (self.sets.len() - at) as u16;
        self.sets[at + 2..at + 4].copy_from_slice(&len.to_be_bytes());
        self.records += 1;
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// How many there are.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// The message: `seconds` since 1970, and how many records were sent before it.
    pub fn message(&self, with_templates: bool, seconds: u32, sequence: u32) -> Vec<u8> {
        let templates = if with_templates { templates() } else { Vec::new() };
        let len = (HEADER + templates.len() + self.sets.len()) as u16;
        let mut message = Vec::with_capacity(usize::from(len));
        message.extend_from_slice(&VERSION.to_be_bytes());
        message.extend_from_slice(&len.to_be_bytes());
        for word in [seconds, sequence, DOMAIN] {
            message.extend_from_slice(&word.to_be_bytes());
        }
        message.extend_from_slice(&templates);
        message.extend_from_slice(&self.sets);
        message
    }
}

/// The set of all templates.
fn templates() -> Vec<u8> {
    let mut set = Vec::new();
    set.extend_from_slice(&TEMPLATES.to_be_bytes());
    set.extend_from_slice(&[0, 0]);
    for (number, fields) in ALL {
        set.extend_from_slice(&number.to_be_bytes());
        set.extend_from_slice(&(fields.len() as u16).to_be_bytes());
        for (element, len) in fields {
            set.extend_from_slice(&element.to_be_bytes());
            set.extend_from_slice(&len.to_be_bytes());
        }
    }
    let len = set.len() as u16;
    set[2..4].copy_from_slice(&len.to_be_bytes());
    set
}
