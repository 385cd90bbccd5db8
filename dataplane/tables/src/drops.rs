// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a frame was dropped or a flow refused: one closed list, the ASA's names where it has one (`show asp drop`).
//!
//! Both halves read it: a worker counts by the variant's number, control prints name and text. There is no other
//! way to free a packet unsent than with one of these.

macro_rules! drop_reasons {
    ($($variant:ident $name:literal $text:literal;)+) => {
        /// A named reason to drop a frame.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[repr(u8)]
        pub enum DropReason { $(#[doc = $text] $variant),+ }

        impl DropReason {
            /// Every reason, in counter order.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant),+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name operators type, e.g. `acl-drop`.
            pub fn name(self) -> &'static str { match self { $(DropReason::$variant => $name),+ } }
            /// The text operators read.
            pub fn text(self) -> &'static str { match self { $(DropReason::$variant => $text),+ } }
        }
    };
}

drop_reasons! {
    FrameTooShort "invalid-frame-length" "Frame shorter than its headers";
    UnsupportedEthertype "unsupported-ethertype" "Protocol above Ethernet not handled";
    NotForUs "l2-dst-not-ours" "Frame for another station";
    NotUnicast "ip-not-unicast" "Broadcast or multicast, which is not forwarded";
    InterfaceDown "interface-down" "Interface is down";
    InterfaceUnconfigured "ifc-classify" "Virtual firewall classification failed";
    UnsupportedIpVersion "unsupported-ip-version" "Unsupported IP version";
    InvalidIpHeader "invalid-ip-header" "Invalid IP header";
    InvalidIpLength "invalid-ip-length" "Invalid IP length";
    InvalidIpChecksum "bad-ip-cksum" "Bad IP checksum";
    InvalidIpOption "invalid-ip-option" "IP options not permitted";
    InvalidSource "sp-security-failed" "Slowpath security checks failed";
    LandAttack "land-attack" "Source and destination are the same";
    RpfViolated "rpf-violated" "Reverse-path verify failed";
    Fragment "fragment-reassembly-failed" "Fragment reassembly failed";
    TtlExceeded "ttl-exceeded" "TTL exceeded";
    NoRoute "no-route" "No route to host";
    NoAdjacency "no-adjacency" "No valid adjacency";
    AdjacencyQueueFull "adjacency-queue-full" "Too many frames wait for an ARP answer";
    MtuExceeded "mtu-exceeded" "Frame larger than the egress MTU with DF set";
    InvalidArp "invalid-arp" "Malformed or foreign ARP";
    InvalidTcpHeaderLength "invalid-tcp-hdr-length" "Invalid TCP Length";
    InvalidUdpLength "invalid-udp-length" "Invalid UDP Length";
    InvalidIcmp "invalid-icmp" "Invalid ICMP message";
    BadTcpFlags "bad-tcp-flags" "Bad TCP flags";
    TcpNotSyn "tcp-not-syn" "First TCP packet not SYN";
    TcpSeqPastWin "tcp-seq-past-win" "TCP packet SEQ past window";
    TcpInvalidAck "tcp-invalid-ack" "TCP invalid ACK";
    TcpRstfinOoo "tcp-rstfin-ooo" "TCP RST/FIN out of order";
    Tcp3whsFailed "tcp-3whs-failed" "TCP failed 3 way handshake";
    TcpBadOptionList "tcp-bad-option-list" "TCP option list invalid";
    TcpRstSynInWin "tcp-rst-syn-in-win" "TCP RST/SYN in window";
    TcpDataPastFin "tcp-data-past-fin" "TCP data send after FIN";
    UnsupportedProtocol "unsupported-protocol" "IP protocol not handled";
    AclDrop "acl-drop" "Flow is denied by configured rule";
    NoXlateToPat "nat-no-xlate-to-pat-pool" "Connection to PAT address without pre-existing xlate";
    NatXlateFailed "nat-xlate-failed" "NAT failed";
    PatPoolExhausted "pat-pool-exhausted" "No free port on the PAT address";
    NatRpfFailed "nat-rpf-failed" "NAT reverse path failed";
    ConnLimit "conn-limit" "Connection limit reached";
    ConnTableFull "unable-to-create-flow" "Flow denied due to resource limitation";
    IcmpErrorNoConn "inspect-icmp-error-no-existing-conn" "ICMP error for no known connection";
    ToUsNotHandled "np-socket-closed" "Dropped pending packets in a closed socket";
    ProxySessionLimit "tls-proxy-session-limit" "TLS proxy session limit reached";
    ProxyNoSession "tls-proxy-no-session" "Segment for a proxy session that has ended";
    TxQueueFull "tx-queue-full" "Transmit queue full";
    NoMbuf "punt-no-mem" "No packet buffer";
    RateExceeded "rate-exceeded" "QoS rate exceeded";
    Ipv6SecurityFailed "ipv6_sp-security-failed" "IPv6 slowpath security checks failed";
    Ipv6BadExtensionHeader "ipv6-bad-eh" "Bad IPv6 extension header is detected and denied";
    Ipv6RoutingHeader "ipv6-routing-type-denied" "IPv6 routing header type is denied";
    NoUdpChecksum "udp-no-cksum" "UDP over IPv6 without a checksum";
    InvalidNd "invalid-nd" "Malformed or foreign neighbour discovery";
    DispatchQueueLimit "dispatch-queue-limit" "Dispatch queue tail drops";
    PatHostLimit "pat-host-limit" "Host has all the port blocks it may have";
    TcpConnLimit "tcp-conn-limit" "TCP connection limit reached";
    HostLimit "host-limit" "Host limit exceeded";
    TcpInterceptKill "tcp-intercept-kill" "Flow terminated by TCP Intercept";
    BadTcpChecksum "bad-tcp-cksum" "Bad TCP checksum";
    RtpInvalidLength "inspect-rtp-invalid-length" "Invalid RTP Packet length";
    RtpInvalidVersion "inspect-rtp-invalid-version" "Invalid RTP Version field";
    RtpInvalidPayloadType "inspect-rtp-invalid-payload-type" "Invalid RTP Payload type field";
    RtpSsrcMismatch "inspect-rtp-ssrc-mismatch" "Invalid RTP Synchronization Source field";
    RtpSequence "inspect-rtp-sequence-num-outofrange" "RTP Sequence number out of range";
    RtcpInvalidLength "inspect-rtcp-invalid-length" "Invalid RTCP Packet length";
    RtcpInvalidVersion "inspect-rtcp-invalid-version" "Invalid RTCP Version field";
    RtcpInvalidPayloadType "inspect-rtcp-invalid-payload-type" "Invalid RTCP Payload type field";
}
