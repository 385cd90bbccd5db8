// SPDX-License-Identifier: MIT OR Apache-2.0
//! The commands that look and do, as data: one table for the parser, `?` and docs/cli.md ([`reference`] writes it). Any other line is a configuration line and is
//! looked up in [`crate::config::grammar`].

use super::help::SHELL;
use crate::config::grammar::{self, Effect};
use crate::config::raw::Mode;
use crate::config::source::Line;

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is a line of the table below, which says what it does")]
pub enum Run {
    Ping,
    PacketTracer,
    SipTracer,
    Capture,
    NoCapture,
    ClearCapture,
    ShowCapture,
    CopyCapture,
    ShowConn,
    ShowXlate,
    ShowNat,
    ShowNatPool,
    ShowServicePolicy,
    ShowLocalHost,
    ShowVerify,
    ShowCpu,
    ShowMemory,
    ShowLogging,
    ShowLoggingMessage,
    ClearLogging,
    ShowMetrics,
    ShowFlowExport,
    ShowTop,
    ShowIpv6Route,
    ShowIpv6Interface,
    ShowAccessList,
    ShowObjectGroup,
    ShowTimeRange,
    ShowDrops,
    ShowDomains,
    ShowDns,
    ShowProxy,
    ShowSip,
    ShowDialogs,
    ShowSipPool,
    ShowInterface,
    ShowRoute,
    ShowArp,
    ShowIpv6Neighbor,
    ShowFragment,
    ShowCounters,
    ShowVersion,
    ShowDataplane,
    ShowRunning,
    ShowStartup,
    ClearConn,
    ClearXlate,
    ClearArp,
    ClearIpv6Neighbors,
    ClearDialogs,
    ClearLocalHost,
    ClearDrops,
    ClearCounters,
    ConfigureReplace,
    Commit,
    CommitConfirmed,
    Rollback,
    ShowCommits,
    ShowDiff,
    ImportDomains,
    WriteMemory,
    ShowCryptoCertificates,
    ShowCryptoTrustpoints,
    ShowCryptoCrls,
    ShowCryptoKeys,
    CryptoKeyGenerate,
    CryptoKeyZeroize,
    CryptoCaAuthenticate,
    CryptoCaEnroll,
    CryptoCaImport,
    CryptoCaExport,
    CryptoCaCrlRequest,
    ShowTech,
    ShowImage,
    ImageInstall,
    ImageActivate,
    Reload,
    ShowHistory,
    ShowCurpriv,
    Who,
    Login,
    Enable,
    Help,
}

impl Run {
    /// Whether [`super::capture`] does it.
    pub fn is_capture(self) -> bool {
        matches!(
            self,
            Self::Capture | Self::NoCapture | Self::ClearCapture | Self::ShowCapture | Self::CopyCapture
        )
    }

    /// Whether it shows nothing where there is no configuration to show it of.
    pub fn reads_configuration(self) -> bool {
        match self {
            Self::Ping
            | Self::PacketTracer
            | Self::SipTracer
            | Self::Capture
            | Self::ShowNat
            | Self::ShowNatPool
            | Self::ShowServicePolicy
            | Self::ShowLocalHost
            | Self::ShowVerify
            | Self::ShowIpv6Route
            | Self::ShowIpv6Interface
            | Self::ShowAccessList
            | Self::ShowLoggingMessage
            | Self::ShowObjectGroup
            | Self::ShowTimeRange
            | Self::ShowDomains
            | Self::ShowDns
            | Self::ShowSipPool
            | Self::ShowInterface
            | Self::ShowFragment
            | Self::ShowRoute
            | Self::ShowDiff
            | Self::ShowCryptoCertificates
            | Self::ShowCryptoTrustpoints
            | Self::ShowCryptoCrls
            | Self::CryptoCaAuthenticate
            | Self::CryptoCaEnroll
            | Self::CryptoCaImport
            | Self::CryptoCaExport
            | Self::CryptoCaCrlRequest
            | Self::ShowRunning => true,
            Self::NoCapture
            | Self::ClearCapture
            | Self::ShowCapture
            | Self::CopyCapture
            | Self::ShowConn
            | Self::ShowCpu
            | Self::ShowMemory
            | Self::ShowLogging
            | Self::ShowMetrics
            | Self::ShowFlowExport
            | Self::ShowTop
            | Self::ClearLogging
            | Self::ShowXlate
            | Self::ShowDrops
            | Self::ShowProxy
            | Self::ShowSip
            | Self::ShowDialogs
            | Self::ShowArp
            | Self::ShowIpv6Neighbor
            | Self::ShowCounters
            | Self::ShowVersion
            | Self::ShowDataplane
            | Self::ShowStartup
            | Self::ClearConn
            | Self::ClearXlate
            | Self::ClearArp
            | Self::ClearIpv6Neighbors
            | Self::ClearDialogs
            | Self::ClearLocalHost
            | Self::ClearDrops
            | Self::ClearCounters
            | Self::ConfigureReplace
            | Self::Commit
            | Self::CommitConfirmed
            | Self::Rollback
            | Self::ShowCommits
            | Self::ImportDomains
            | Self::WriteMemory
            | Self::ShowCryptoKeys
            | Self::CryptoKeyGenerate
            | Self::CryptoKeyZeroize
            | Self::ShowTech
            | Self::ShowImage
            | Self::ImageInstall
            | Self::ImageActivate
            | Self::Reload
            | Self::ShowHistory
            | Self::ShowCurpriv
            | Self::Who
            | Self::Login
            | Self::Enable
            | Self::Help => false,
        }
    }

    /// Whether [`super::image`] does it.
    pub fn is_image(self) -> bool {
        matches!(self, Self::ShowImage | Self::ImageInstall | Self::ImageActivate | Self::Reload)
    }

    /// Whether [`super::crypto`] does it.
    pub fn is_crypto(self) -> bool {
        matches!(
            self,
            Self::CryptoKeyGenerate
                | Self::CryptoKeyZeroize
                | Self::CryptoCaAuthenticate
                | Self::CryptoCaEnroll
                | Self::CryptoCaImport
                | Self::CryptoCaExport
                | Self::CryptoCaCrlRequest
        )
    }
}

/// One command.
pub struct Spec {
    /// Its leading words.
    pub words: &'static str,
    /// The whole of it.
    pub usage: &'static str,
    /// What it does, in a few words.
    pub help: &'static str,
    /// The doing.
    pub run: Run,
}

const fn spec(words: &'static str, usage: &'static str, help: &'static str, run: Run) -> Spec {
    Spec { words, usage, help, run }
}

/// Every command but the configuration's.
#[rustfmt::skip]
pub const SPECS: &[Spec] = &[
    spec("show conn", "show conn [address A] [port P] [protocol {tcp|udp|icmp|icmp6}] [count|detail|long]", "connections; `detail` with age and timeout, `long` with mapped addresses too", Run::ShowConn),
    spec("show xlate", "show xlate [address A] [port P] [protocol {tcp|udp|icmp|icmp6}] [count]", "translations, the static ones first: those are their lines' and have no idle time", Run::ShowXlate),
    spec("show nat", "show nat [detail]", "NAT rules in the order of evaluation, with hits; `detail` with the addresses that they come to", Run::ShowNat),
    spec("show nat pool", "show nat pool", "addresses of dynamic NAT, and how far they are used. Addresses of `extended` rules are not in it: there a port is a connection's", Run::ShowNatPool),
    spec("show service-policy inspect sip", "show service-policy inspect sip", "the same as show service-policy", Run::ShowServicePolicy),
    spec("show service-policy", "show service-policy", "classes with what they count: connections, embryonic ones, first packets dropped at a bound; rules of inspect maps with hits", Run::ShowServicePolicy),
    spec("show local-host", "show local-host [ADDRESS] [all|brief|detail] [connection {tcp|udp|embryonic} [LEAST[-MOST]]]", "hosts with connections; of one host they too, with its translations", Run::ShowLocalHost),
    spec("show ip verify statistics", "show ip verify statistics", "what reverse-path checks dropped", Run::ShowVerify),
    spec("show cpu", "show cpu [detailed]", "how busy the workers are: their cycles in loops that found work", Run::ShowCpu),
    spec("show memory", "show memory", "where memory is", Run::ShowMemory),
    spec("show top", "show top", "what `fedgate top` shows, once and without rates; with JSON every counter", Run::ShowTop),
    spec("show flow-export counters", "show flow-export counters", "NAT events sent to each collector, and lost", Run::ShowFlowExport),
    spec("show metrics", "show metrics", "where metrics are read, and how often they were", Run::ShowMetrics),
    spec("show logging message", "show logging message", "messages with a severity of their own, or kept back", Run::ShowLoggingMessage),
    spec("show logging", "show logging", "what is sent to which collector, what became of it, and the buffer", Run::ShowLogging),
    spec("show access-list", "show access-list [NAME]", "access-lists with hits", Run::ShowAccessList),
    spec("show object-group", "show object-group [NAME]", "object-groups with their members", Run::ShowObjectGroup),
    spec("show time-range", "show time-range [NAME]", "time-ranges, and whether they hold now", Run::ShowTimeRange),
    spec("show drops", "show drops", "why frames were dropped", Run::ShowDrops),
    spec("show asp drop", "show asp drop", "the same as show drops", Run::ShowDrops),
    spec("show domains", "show domains", "domain lists with what was let in and denied", Run::ShowDomains),
    spec("show dns", "show dns", "name servers, and the edges of the domains with `srv`: priority, weight, TTL, state", Run::ShowDns),
    spec("show proxy", "show proxy", "TLS proxy: totals and sessions", Run::ShowProxy),
    spec("show tls-proxy", "show tls-proxy", "the same as show proxy", Run::ShowProxy),
    spec("show sip", "show sip", "SIP dialogs that have crossed", Run::ShowSip),
    spec("show dialogs", "show dialogs [detail] [domain D]", "the same with both parties, the last SUBSCRIBE, what let them in and the peer's identity; warns where `timeout sip` is too short for one; `detail` with the rule now in force, ages and the worker", Run::ShowDialogs),
    spec("show sip-pool", "show sip-pool [NAME]", "members of pools: state, what they do, and what they say to health checks", Run::ShowSipPool),
    spec("show interface", "show interface [NAMEIF]", "interfaces with traffic", Run::ShowInterface),
    spec("show route", "show route", "routes", Run::ShowRoute),
    spec("show arp", "show arp", "neighbours", Run::ShowArp),
    spec("show ipv6 route", "show ipv6 route", "IPv6 routes", Run::ShowIpv6Route),
    spec("show ipv6 interface", "show ipv6 interface [NAMEIF]", "interfaces with their IPv6 addresses", Run::ShowIpv6Interface),
    spec("show ipv6 neighbor", "show ipv6 neighbor", "IPv6 neighbours", Run::ShowIpv6Neighbor),
    spec("show fragment", "show fragment [NAMEIF]", "datagrams in fragments: bounds, what waits, what was dropped", Run::ShowFragment),
    spec("show counters", "show counters", "every statistic, level and distribution", Run::ShowCounters),
    spec("show tech-support", "show tech-support", "what support asks for: state, counters and the configuration, without secrets", Run::ShowTech),
    spec("show version", "show version", "versions and times", Run::ShowVersion),
    spec("show dataplane", "show dataplane", "asks the dataplane and times the answer", Run::ShowDataplane),
    spec("show running-config", "show running-config", "the configuration in force", Run::ShowRunning),
    spec("show startup-config", "show startup-config", "the configuration read at start", Run::ShowStartup),
    spec("capture", "capture NAME {interface NAMEIF | type asp-drop [REASON | all]} [match PROTOCOL SOURCE [eq P | lt P | gt P | range P P] DESTINATION [eq P | lt P | gt P | range P P]] [buffer BYTES] [packet-length BYTES] [circular-buffer] [headers-only]", "copies frames as they come in and leave by an interface, or those that are dropped, until its buffer is full. Lasts as long as control", Run::Capture),
    spec("no capture", "no capture NAME", "ends a capture and forgets its frames", Run::NoCapture),
    spec("clear capture", "clear capture NAME", "forgets a capture's frames; it goes on", Run::ClearCapture),
    spec("show capture", "show capture [NAME] [detail | dump]", "captures; of one its frames, with drop reasons, `detail` with both sides of the translation", Run::ShowCapture),
    spec("copy /pcap", "copy /pcap capture:NAME FILE", "writes a capture as pcapng, for Wireshark: drop reasons and both sides of the translation are in packet comments", Run::CopyCapture),
    spec("ping", "ping [NAMEIF] HOST [repeat COUNT] [size BYTES] [timeout SECONDS]", "asks a host for echoes, from the address of the interface that leads there, by the packet path: `!` for each that comes back in time, `?` for each that does not. 5 of 100 bytes with 2 seconds each unless said; Ctrl-C ends it", Run::Ping),
    spec("packet-tracer input", "packet-tracer input NAMEIF {tcp SRC SPORT DST DPORT | udp SRC SPORT DST DPORT | icmp SRC TYPE CODE [ID] DST} [detailed]", "what would become of a packet that comes in by an interface: each decision of the workers' own, with the lines that decide; nothing is sent, counted or kept. `tcp` is a SYN", Run::PacketTracer),
    spec("packet-tracer sip", "packet-tracer sip {inbound | outbound} METHOD FROM TO [uri URI] [certificate NAME]... [header NAME VALUE]... [tls-proxy NAME]", "what would become of a SIP request: each check of the workers' own, with the line that decides; nothing is sent, counted or kept. Without `certificate` the foreign peer's is taken for good", Run::SipTracer),
    spec("clear conn", "clear conn [address A] [port P] [protocol {tcp|udp|icmp|icmp6}]", "ends connections", Run::ClearConn),
    spec("clear xlate", "clear xlate [address A] [port P] [protocol {tcp|udp|icmp|icmp6}]", "ends translations and what uses them", Run::ClearXlate),
    spec("clear arp", "clear arp [address A]", "forgets neighbours", Run::ClearArp),
    spec("clear ipv6 neighbors", "clear ipv6 neighbors", "forgets IPv6 neighbours", Run::ClearIpv6Neighbors),
    spec("clear dialogs", "clear dialogs [domain D]", "forgets SIP dialogs: their next requests are judged by the domain lists again", Run::ClearDialogs),
    spec("clear local-host", "clear local-host [ADDRESS] [all]", "ends the connections and translations of a host, or of all", Run::ClearLocalHost),
    spec("clear asp drop", "clear asp drop", "show drops counts from zero; metrics go on", Run::ClearDrops),
    spec("clear counters", "clear counters", "show counters counts from zero, but for levels; metrics go on", Run::ClearCounters),
    spec("clear logging buffer", "clear logging buffer", "empties the buffer", Run::ClearLogging),
    spec("configure replace", "configure replace FILE [confirmed MINUTES]", "makes a file the configuration, as a whole or not at all; with `confirmed` as after commit confirmed", Run::ConfigureReplace),
    spec("commit confirmed", "commit confirmed MINUTES", "what is changed from now on is taken back after so many minutes, unless commit confirms it", Run::CommitConfirmed),
    spec("commit", "commit", "confirms what was changed", Run::Commit),
    spec("rollback", "rollback N", "makes the configuration what it was N commits ago, domain lists too", Run::Rollback),
    spec("show configuration commits", "show configuration commits", "the last 100 commits: who, when and by which command", Run::ShowCommits),
    spec("show history", "show history", "the last commands of yours", Run::ShowHistory),
    spec("show curpriv", "show curpriv", "who you are, and what you may do", Run::ShowCurpriv),
    spec("who", "who", "who used the CLI in the last half hour", Run::Who),
    spec("login", "login NAME", "goes on as a user with a password; the shell asks for it, else it comes on standard input", Run::Login),
    spec("enable", "enable", "privilege 15, by the enable password", Run::Enable),
    spec("show diff", "show diff [N]", "what the configuration has more and less than N commits ago, or than the startup-config", Run::ShowDiff),
    spec("import domains", "import domains {permit | block} FILE", "adds the names in a file, one a line, to a list: all or none", Run::ImportDomains),
    spec("show image", "show image", "the slots of a flashed box: what is in them, which one runs, which one starts next", Run::ShowImage),
    spec("image install", "image install FILE", "checks the signature of an update and writes it to the slot that does not run, which then starts next", Run::ImageInstall),
    spec("image activate", "image activate {a | b}", "which slot starts next", Run::ImageActivate),
    spec("reload", "reload", "starts the box anew", Run::Reload),
    spec("write memory", "write memory", "makes the running-config the startup-config", Run::WriteMemory),
    spec("show crypto ca certificates", "show crypto ca certificates [TRUSTPOINT]", "certificates in force, with the days they have left", Run::ShowCryptoCertificates),
    spec("show crypto ca trustpoints", "show crypto ca trustpoints", "trustpoints, and what they have", Run::ShowCryptoTrustpoints),
    spec("show crypto ca crls", "show crypto ca crls [trustpoint TRUSTPOINT]", "revocation lists in force, and how fetching them went", Run::ShowCryptoCrls),
    spec("show crypto key mypubkey", "show crypto key mypubkey [rsa | ecdsa | all]", "key pairs that were generated", Run::ShowCryptoKeys),
    spec("crypto key generate", "crypto key generate {rsa [modulus {2048 | 3072 | 4096}] | ecdsa [elliptic-curve {256 | 384}]} [label LABEL]", "makes a key pair", Run::CryptoKeyGenerate),
    spec("crypto key zeroize", "crypto key zeroize {rsa | ecdsa} label LABEL", "removes a key pair", Run::CryptoKeyZeroize),
    spec("crypto ca authenticate", "crypto ca authenticate TRUSTPOINT [file PATH]", "takes the CA of a trustpoint", Run::CryptoCaAuthenticate),
    spec("crypto ca enroll", "crypto ca enroll TRUSTPOINT", "prints a certificate request, or makes a certificate signed by its own key", Run::CryptoCaEnroll),
    spec("crypto ca import", "crypto ca import TRUSTPOINT {certificate | pkcs12 PASSPHRASE} [file PATH]", "takes the certificate that was asked for, or a key with its certificates", Run::CryptoCaImport),
    spec("crypto ca export", "crypto ca export TRUSTPOINT identity-certificate", "prints a trustpoint's certificate", Run::CryptoCaExport),
    spec("crypto ca crl request", "crypto ca crl request TRUSTPOINT", "fetches a trustpoint's revocation lists, or reads its file again", Run::CryptoCaCrlRequest),
    spec("help", "help", "this list; ? after some words lists what may follow", Run::Help),
];

/// The command that a line begins with, longest first, and how many words that took.
pub fn find(line: &Line<'_>) -> Option<(&'static Spec, usize)> {
    let matches = |spec: &&Spec| {
        let mut tokens = line.tokens.iter();
        let begins = spec.words.split(' ').all(|word| tokens.next().is_some_and(|t| t.text == word));
        // `enable password` is a line of the configuration.
        begins && (spec.words != "enable" || tokens.next().is_none())
    };
    SPECS.iter().filter(matches).map(|s| (s, s.words.split(' ').count())).max_by_key(|(_, words)| *words)
}

/// Whether text is to be pasted behind a command, up to a line `quit`.
pub fn takes_paste(text: &str) -> bool {
    let Ok(text) = super::abbreviate::expand(text, Mode::Global) else { return false };
    let Ok(Some(line)) = Line::lex(1, &text) else { return false };
    let takes =
        |(spec, _): (&Spec, usize)| matches!(spec.run, Run::CryptoCaAuthenticate | Run::CryptoCaImport);
    find(&line).is_some_and(takes)
        && line.tokens.iter().all(|token| token.text != "file" && token.text != "?")
}

/// Commands whose first word an operator may have slipped in, for "did you mean".
pub fn first_words() -> impl Iterator<Item = &'static str> {
    SPECS.iter().filter_map(|s| s.words.split(' ').next())
}

/// docs/cli.md.
pub fn reference() -> String {
    let mut out = String::from(HEAD);
    for spec in SPECS {
        out.push_str(&format!("- `{}`: {}.\n", spec.usage, spec.help));
    }
    out.push_str(SHELLS);
    for (usage, help) in SHELL {
        out.push_str(&format!("- `{usage}`: {help}.\n"));
    }
    out.push_str(CONFIGURATION);
    let mut modes: Vec<Mode> = Vec::new();
    for spec in grammar::SPECS {
        if !modes.contains(&spec.mode) {
            modes.push(spec.mode);
        }
    }
    for mode in modes {
        let opens: Vec<String> = grammar::SPECS
            .iter()
            .filter(|spec| spec.enters == Some(mode))
            .map(|spec| format!("`{}`", spec.words))
            .collect();
        match mode {
            Mode::Global => out.push_str("\n### At the top\n\n"),
            _ => out.push_str(&format!("\n### Under {} (`({})#`)\n\n", opens.join(", "), mode.prompt())),
        }
        for spec in grammar::SPECS.iter().filter(|spec| spec.mode == mode) {
            out.push_str(&format!("- `{}`: {}.", spec.usage, spec.help));
            out.push_str(&if spec.example.is_empty() {
                "\n".to_owned()
            } else {
                format!(" Example: `{}`\n", spec.example)
            });
        }
    }
    out.push_str(NO_EFFECT);
    for spec in grammar::IDLE {
        let instead = match spec.effect {
            Effect::Real => "",
            Effect::Always => "always so",
            Effect::None(instead) => instead,
        };
        out.push_str(&format!("- `{}`: on an ASA it {}. Here: {instead}.\n", spec.usage, spec.help));
    }
    out
}

const HEAD: &str = "\
# Commands

Written by a test from the grammar (`control/operate/commands.rs`, `control/config/grammar.rs`): change it there. What the commands
mean together is in [config.md](config.md).

Words may be abbreviated as long as they are unique (`sh conn`); `?`, without Enter, lists what may come next, and Tab completes it, names
too (Ctrl-V ? is a question mark). `fedgate top` is a live view of the appliance (`q` ends it, `?` lists its keys), `fedgate top --once` one picture of it. Behind `show` commands `| include RE`, `| exclude RE`, `| begin RE`, `| grep [-v] RE`, `| count` and `| json` may stand, one after the
other; RE is a regular expression. With `--json` or `| json` every `show` command prints one JSON object a line.

## Looking and doing

";

const SHELLS: &str = "
### Of the shell

Only at the prompt of `fedgate` alone.

";

const CONFIGURATION: &str = "
## Configuration

`no` before a line takes it out.
";

const NO_EFFECT: &str = "
## Lines of an ASA that have no effect

Taken, reported with line and caret, and not kept.

";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::args::Env;
    use crate::config::model::GroupKind;
    use crate::config::types::Protos;
    use std::path::Path;

    fn run(text: &str) -> Option<Run> {
        find(&Line::lex(1, text).unwrap().unwrap()).map(|(spec, _)| spec.run)
    }

    #[test]
    fn lines_find_their_commands() {
        assert_eq!(run("show asp drop"), Some(Run::ShowDrops));
        assert_eq!(run("show conn address 10.0.0.1"), Some(Run::ShowConn));
        assert_eq!(run("show"), None);
        assert_eq!(run("hostname x"), None);
        assert_eq!((run("enable"), run("enable password x")), (Some(Run::Enable), None));
    }

    /// docs/cli.md cannot lag behind the grammar. `FEDGATE_BLESS=1` writes it.
    #[test]
    fn the_reference_is_what_the_grammar_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cli.md");
        if std::env::var_os("FEDGATE_BLESS").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        assert!(
            std::fs::read_to_string(path).unwrap() == reference(),
            "FEDGATE_BLESS=1 writes docs/cli.md anew"
        );
    }

    #[test]
    fn every_example_is_understood() {
        let model = crate::config::model::Model::default();
        let env = Env { base: Path::new("/"), model: &model, group: None };
        for spec in grammar::SPECS.iter().filter(|spec| !spec.example.is_empty()) {
            let group = (spec.mode == Mode::GroupService).then_some(match spec.words {
                "port-object" => GroupKind::Ports(Protos::One(6)),
                _ => GroupKind::Service,
            });
            let line = Line::lex(1, spec.example).unwrap().unwrap();
            let parsed = grammar::parse(&line, spec.mode, &Env { group, ..env });
            let found = parsed.unwrap_or_else(|why| panic!("{}: {}", spec.example, why.problem.message)).spec;
            assert_eq!((found.words, found.mode), (spec.words, spec.mode), "{}", spec.example);
        }
    }
}
