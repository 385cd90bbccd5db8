// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ASA's messages about connections: built (302013, 302015, 302020) and torn down (302014, 302016, 302021).
//!
//! The first end is the one on the lower security level, whoever began; what stands in parentheses is the address as the other side sees it. Pure,
//! as [`super`]; for collectors and the buffer alone, as there may be thousands a second.

use fedgate_tables::link::{FlowEnd, FlowNote, Over, Place};

use super::{Message, Names};
use crate::config::ports::{ICMP, ICMP6, TCP, UDP, proto_text};
use crate::config::types::Seconds;

/// What a collector is told of a connection.
pub fn of_flow(note: &FlowNote, names: &impl Names) -> Message {
    let way = if note.inbound { "inbound" } else { "outbound" };
    let initiator = End { ifindex: note.in_if, real: note.src, shown: note.shown_src };
    let responder = End { ifindex: note.out_if, real: note.real_dst, shown: note.dst };
    let (foreign, local) = if note.inbound { (initiator, responder) } else { (responder, initiator) };
    if matches!(note.proto, ICMP | ICMP6) {
        let verb = if note.end.is_none() { format!("Built {way}") } else { "Teardown".to_owned() };
        // Only the initiator has an identifier.
        let id = |end: &End| if end.ifindex == note.in_if { end.real.1 } else { 0 };
        let shown_id = if note.inbound { 0 } else { note.shown_src.1 };
        let text = format!(
            "{verb} ICMP connection for faddr {}/{} gaddr {}/{shown_id} laddr {}/{} type {} code 0",
            foreign.real.0,
            id(&foreign),
            local.shown.0,
            local.real.0,
            id(&local),
            if note.proto == ICMP { 8 } else { 128 }
        );
        return Message::new(6, if note.end.is_none() { 302_020 } else { 302_021 }, text);
    }
    let proto = proto_text(note.proto).to_uppercase();
    let number = if note.proto == TCP { 302_013 } else { 302_015 };
    match &note.end {
        None => {
            let text = format!(
                "Built {way} {proto} connection {} for {} to {}",
                note.id,
                foreign.both(names),
                local.both(names)
            );
            Message::new(6, number, text)
        }
        Some(end) => {
            let FlowEnd { seconds, bytes, over } = *end;
            let why = if note.proto == UDP { "" } else { reason(over) };
            let text = format!(
                "Teardown {proto} connection {} for {} to {} duration {} bytes {bytes}{why}",
                note.id,
                foreign.named(names),
                local.named(names),
                Seconds(seconds)
            );
            Message::new(6, number + 1, text)
        }
    }
}

fn reason(over: Over) -> &'static str {
    match over {
        Over::Fin => " TCP FINs",
        Over::FinTimeout => " FIN Timeout",
        Over::Reset => " TCP Reset",
        Over::SynTimeout => " SYN Timeout",
        Over::Idle => " Connection timeout",
        Over::Ended => " Flow closed by inspection",
    }
}

struct End {
    ifindex: u8,
    real: Place,
    shown: Place,
}

impl End {
    /// `inside:10.10.0.11/5062`
    fn named(&self, names: &impl Names) -> String {
        format!("{}:{}/{}", names.interface(self.ifindex), self.real.0, self.real.1)
    }

    /// `inside:10.10.0.11/5062 (203.0.113.3/5061)`
    fn both(&self, names: &impl Names) -> String {
        format!("{} ({}/{})", self.named(names), self.shown.0, self.shown.1)
    }
}

#[cfg(test)]
pub(in crate::operate) mod tests {
    use super::*;
    use crate::operate::messages::tests::Known;

    pub fn place(addr: &str, port: u16) -> Place {
        Place(addr.parse::<std::net::IpAddr>().unwrap().into(), port)
    }

    /// A foreign edge calls a public address, behind which a server is.
    pub fn inbound() -> FlowNote {
        FlowNote {
            id: 7,
            proto: 6,
            in_if: 0,
            out_if: 1,
            inbound: true,
            src: place("198.51.100.20", 40001),
            dst: place("203.0.113.3", 5061),
            shown_src: place("198.51.100.20", 40001),
            real_dst: place("10.10.0.11", 5062),
            end: None,
        }
    }

    /// A host inside calls out through PAT.
    pub fn outbound() -> FlowNote {
        FlowNote {
            proto: 17,
            in_if: 1,
            out_if: 0,
            inbound: false,
            src: place("10.10.0.20", 5353),
            dst: place("198.51.100.53", 53),
            shown_src: place("203.0.113.2", 1027),
            real_dst: place("198.51.100.53", 53),
            ..inbound()
        }
    }

    #[test]
    fn connections_are_told_in_the_asas_words() {
        let told = |note: FlowNote| {
            let Message { severity, number, text } = of_flow(&note, &Known);
            assert_eq!(severity, 6);
            (number, text)
        };
        let end = |over| Some(FlowEnd { seconds: 3661, bytes: 4666, over });
        assert_eq!(
            told(inbound()),
            (
                302_013,
                "Built inbound TCP connection 7 for outside:198.51.100.20/40001 (198.51.100.20/40001) to \
                 inside:10.10.0.11/5062 (203.0.113.3/5061)"
                    .to_owned()
            )
        );
        assert_eq!(
            told(FlowNote { end: end(Over::FinTimeout), ..inbound() }),
            (
                302_014,
                "Teardown TCP connection 7 for outside:198.51.100.20/40001 to inside:10.10.0.11/5062 duration 1:01:01 \
                 bytes 4666 FIN Timeout"
                    .to_owned()
            )
        );
        assert_eq!(
            told(outbound()),
            (
                302_015,
                "Built outbound UDP connection 7 for outside:198.51.100.53/53 (198.51.100.53/53) to \
                 inside:10.10.0.20/5353 (203.0.113.2/1027)"
                    .to_owned()
            )
        );
        assert_eq!(
            told(FlowNote { end: end(Over::Idle), ..outbound() }),
            (
                302_016,
                "Teardown UDP connection 7 for outside:198.51.100.53/53 to inside:10.10.0.20/5353 duration 1:01:01 bytes 4666"
                    .to_owned()
            )
        );
        let ping = FlowNote {
            proto: 1,
            src: place("10.10.0.20", 9),
            shown_src: place("203.0.113.2", 11),
            ..outbound()
        };
        assert_eq!(
            told(ping),
            (
                302_020,
                "Built outbound ICMP connection for faddr 198.51.100.53/0 gaddr 203.0.113.2/11 laddr 10.10.0.20/9 type 8 code 0"
                    .to_owned()
            )
        );
        assert_eq!(told(FlowNote { proto: 1, end: end(Over::Idle), ..inbound() }).0, 302_021);
    }
}
