// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is counted, by name: closed lists, as [`crate::drops`] is one.
//!
//! The number of a variant is its place in the segment, so the order is part of the layout; the header carries the length of
//! every list and [`super::layout::LAYOUT`] changes with the order. `name()` is what scripts and metrics see, `text()`
//! what operators read.

macro_rules! kinds {
    ($(#[$doc:meta])* $Enum:ident { $($variant:ident $name:literal $text:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $Enum { $(#[doc = $text] $variant),+ }

        impl $Enum {
            /// All of them, in counter order.
            pub const ALL: &'static [$Enum] = &[$($Enum::$variant),+];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name in metrics.
            pub fn name(self) -> &'static str { match self { $($Enum::$variant => $name),+ } }
            /// The text operators read.
            pub fn text(self) -> &'static str { match self { $($Enum::$variant => $text),+ } }
        }
    };
}

kinds! {
    /// Events of a worker, counted since the dataplane started.
    Stat {
        Bursts "bursts" "Bursts with at least one frame";
        EmptyPolls "empty_polls" "Polls that found no frame";
        CyclesBusy "cycles_busy" "TSC cycles spent on frames";
        ConnsBuilt "conns_built" "Connections built";
        ConnsTornDown "conns_torn_down" "Connections torn down";
        ConnsRefused "conns_refused" "Connections refused for lack of room";
        XlatesBuilt "xlates_built" "Translations built";
        XlatesTornDown "xlates_torn_down" "Translations torn down";
        ArpRequests "arp_requests" "ARP requests sent";
        ArpReplies "arp_replies" "ARP replies sent";
        NdSolicitations "nd_solicitations" "IPv6 neighbour solicitations sent";
        NdAdvertisements "nd_advertisements" "IPv6 neighbour advertisements sent";
        IcmpErrorsSent "icmp_errors_sent" "ICMP errors sent";
        IcmpEchoReplies "icmp_echo_replies" "ICMP echo replies sent";
        IcmpEchoRequests "icmp_echo_requests" "ICMP echo requests sent";
        IcmpEchoAnswers "icmp_echo_answers" "ICMP echo requests answered";
        ProxySessionsOpened "proxy_sessions_opened" "TLS proxy sessions opened";
        ProxySessionsClosed "proxy_sessions_closed" "TLS proxy sessions closed";
        ProxySourceRefused "proxy_source_refused" "TLS proxy sessions refused: one address has its share";
        TlsHandshakesClientLeg "tls_handshakes_client_leg" "TLS handshakes completed with TCP clients";
        TlsHandshakesServerLeg "tls_handshakes_server_leg" "TLS handshakes completed with TCP servers";
        TlsFailures "tls_failures" "TLS handshakes failed";
        TlsNothingInCommon "tls_nothing_in_common" "TLS handshakes failed: no version or suite in common, or no TLS";
        TlsRevoked "tls_revoked" "TLS handshakes failed: certificate revoked";
        TlsResumed "tls_resumed" "TLS handshakes completed that resumed a session";
        SipInRequests "sip_in_requests" "SIP requests from outside";
        SipInResponses "sip_in_responses" "SIP responses from outside";
        SipOutRequests "sip_out_requests" "SIP requests from inside";
        SipOutResponses "sip_out_responses" "SIP responses from inside";
        SipPassed "sip_passed" "SIP messages passed";
        SipDeniedDomain "sip_denied_domain" "Denied: From domain is not permitted";
        SipDeniedPeer "sip_denied_peer" "Denied: certificate does not carry the From domain";
        SipDeniedRelay "sip_denied_relay" "Denied: Request-URI is not one of our domains";
        SipDeniedSpoof "sip_denied_spoof" "Denied: one of our domains in From, from outside";
        SipDeniedMethod "sip_denied_method" "Denied: method not served from outside";
        SipDeniedDialog "sip_denied_dialog" "Denied: in a dialog of another peer, or out of its order";
        SipDeniedRefer "sip_denied_refer" "Denied: REFER, Replaces, Join or Target-Dialog to what is not the sender's";
        SipDeniedRate "sip_denied_rate" "Denied: above the rate of the domain";
        SipDeniedSessions "sip_denied_sessions" "Denied: the domain has its share of the connections";
        SipDeniedInspect "sip_denied_inspect" "Denied: by a rule of an inspect map";
        SipDeniedOutbound "sip_denied_outbound" "Denied: outbound request to a domain not permitted";
        SipBadMessage "sip_bad_message" "SIP messages that break the syntax";
        SipDropped "sip_dropped" "SIP messages dropped without an answer";
        SipHeadersCut "sip_headers_cut" "SIP headers from outside cut out: identities that nobody vouches for";
        SipTranslatedOut "sip_translated_out" "SIP messages from inside in which NAT changed addresses";
        SipTranslatedIn "sip_translated_in" "SIP messages from outside in which NAT changed addresses";
        MediaPinholes "media_pinholes" "Media pinholes opened by SIP inspection";
        MediaRefused "media_refused" "Calls whose media got no pinhole for lack of room";
        SipDialogsBegun "sip_dialogs_begun" "SIP dialogs begun";
        SipDialogsEnded "sip_dialogs_ended" "SIP dialogs ended by their parties";
        SipDialogsExpired "sip_dialogs_expired" "SIP dialogs forgotten: their time was over";
        SipDialogsCleared "sip_dialogs_cleared" "SIP dialogs cleared by an operator";
        SipDialogsRefused "sip_dialogs_refused" "SIP dialogs not remembered for lack of room";
        PoolFailures "pool_failures" "SIP pools: connections to members failed";
        PoolMoved "pool_moved" "SIP pools: requests moved to another member";
        PoolAnswered "pool_answered" "SIP pools: requests answered for lack of a member";
        PoolUnheld "pool_unheld" "SIP pools: requests sent that there was no room to hold";
        TargetsFailed "targets_failed" "Foreign edges that could not be reached, or did not answer";
        TargetsMoved "targets_moved" "Connections that went on to another edge of the domain called";
        TlsUnvouched "tls_unvouched" "TLS sessions ended: nobody vouches for the peer any more";
        HandedOver "handed_over" "Frames handed to the worker that has their connection";
        TakenOver "taken_over" "Frames taken from the worker that received them";
        EventsLost "events_lost" "Events that control was too slow to take";
        InterceptCookies "tcp_intercept_cookies" "TCP Intercept: SYNs answered by a cookie";
        InterceptConns "tcp_intercept_conns" "TCP Intercept: clients that acknowledged one";
        InterceptOpened "tcp_intercept_opened" "TCP Intercept: servers that answered";
        AclHitsLost "acl_hits_lost" "Hits of access-lists that no message tells: too many flows at once";
        FlowNotesLost "flow_notes_lost" "Connections begun or ended that no message and no export tells: too many at once";
    }
}

kinds! {
    /// Levels, as they are now.
    Gauge {
        ConnsInUse "conns_in_use" "Connections in use";
        ConnsMostUsed "conns_most_used" "Connections most used";
        XlatesInUse "xlates_in_use" "Translations in use";
        XlatesMostUsed "xlates_most_used" "Translations most used";
        ProxySessionsInUse "proxy_sessions_in_use" "TLS proxy sessions in use";
        ProxySessionsMostUsed "proxy_sessions_most_used" "TLS proxy sessions most used";
        ProxyMemoryBytes "proxy_memory_bytes" "Bytes held for TLS proxy sessions";
        SipDialogsInUse "sip_dialogs_in_use" "SIP dialogs in use";
        MediaCallsInUse "media_calls_in_use" "Calls with media in use";
        MediaPinholesInUse "media_pinholes_in_use" "Media pinholes in use";
        MbufsInUse "mbufs_in_use" "Packet buffers in use";
        CyclesAll "cycles_all" "TSC cycles since the workers began";
        PolicyGeneration "policy_generation" "Generation of the policy in force";
    }
}

kinds! {
    /// Distributions.
    Histo {
        HandshakeUs "handshake_us" "Microseconds from the first byte to the end of a TLS handshake";
    }
}

kinds! {
    /// Verdicts on a domain.
    DomainCounter {
        PermittedIn "permitted_in" "Requests let in";
        PermittedOut "permitted_out" "Requests let out";
        DeniedNotPermitted "denied_not_permitted" "Denied: not permitted";
        DeniedPeer "denied_peer" "Denied: certificate does not carry the domain";
        DeniedBlocked "denied_blocked" "Denied: blocked";
        DeniedLimit "denied_limit" "Denied: above the domain's rate or connections";
    }
}

kinds! {
    /// Traffic of an interface.
    InterfaceCounter {
        RxPackets "rx_packets" "Packets received";
        RxBytes "rx_bytes" "Bytes received";
        TxPackets "tx_packets" "Packets sent";
        TxBytes "tx_bytes" "Bytes sent";
        RxMissed "rx_missed" "Frames lost by the device: the receive queue was full";
        RxErrors "rx_errors" "Frames received damaged";
        RxNoMbuf "rx_no_mbuf" "Frames lost by the driver: no packet buffer";
        TxErrors "tx_errors" "Frames that the driver could not send";
        RpfDrops "rpf_drops" "Packets dropped by ip verify reverse-path";
    }
}

kinds! {
    /// Hits of a NAT rule, as `show nat` has them.
    NatCounter {
        Translate "translate_hits" "Connections translated";
        Untranslate "untranslate_hits" "Connections untranslated";
    }
}

kinds! {
    /// Virtual reassembly on an interface, as `show fragment` has it. [`FragmentCounter::Queue`] is a level, the others only grow.
    FragmentCounter {
        Queue "fragments_waiting" "Fragments that wait for others";
        Assembled "fragments_assembled" "Datagrams whole";
        Size "fragments_size_overflow" "Fragments dropped: fragment size reached";
        Threshold "fragments_threshold" "Fragments dropped: of a new datagram above two thirds of fragment size";
        Chain "fragments_chain_overflow" "Fragments dropped: more than fragment chain of one datagram";
        Timeout "fragments_timeout" "Fragments dropped: the rest did not come in time";
        Overlap "fragments_overlap" "Fragments dropped: of a datagram with overlaps";
        Length "fragments_length" "Fragments dropped: of a datagram with two ends";
        Duplicate "fragments_duplicate" "Fragments dropped: here already";
    }
}
