// SPDX-License-Identifier: MIT OR Apache-2.0
//! An inspection map as it is written: what control puts together from `policy-map type inspect sip` and the dataplane makes an
//! [`super::Inspector`] of. Names of regexes and classes are resolved already; the texts are the ASA's, for `show`.
//!
//! Crosses between the halves as JSON within the policy, a few hundred octets; read once when a policy is taken into use.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Most rules of all maps together: each has a counter.
pub const MAX_RULES: u32 = 1024;

/// A map.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Its name.
    pub name: String,
    /// `match` and `class`, in order.
    pub rules: Vec<Rule>,
    /// `parameters`.
    pub parameters: Parameters,
    /// Counters of the parameters that are set, by [`Parameters::set`]'s texts.
    pub counters: Vec<(String, u32)>,
}

/// One `match` or `class` with its action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// As it stands in the configuration.
    pub text: String,
    /// All of `matches` have to hold, else one of them.
    pub all: bool,
    /// What it is about.
    pub matches: Vec<Match>,
    /// What is done.
    pub action: Action,
    /// Its counter, below [`MAX_RULES`].
    pub slot: u32,
}

/// One question about a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Holds where `what` does not.
    pub not: bool,
    /// The question.
    pub what: What,
}

/// What is looked at. Patterns are a list of which one has to be found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// The URI in To.
    CalledParty(Vec<String>),
    /// The URI in From.
    CallingParty(Vec<String>),
    /// The URI in From of a SUBSCRIBE or MESSAGE.
    ImSubscriber(Vec<String>),
    /// A Via header.
    MessagePath(Vec<String>),
    /// The URI in From of a REGISTER for another one in To.
    ThirdPartyRegistration(Vec<String>),
    /// Octets of the body, above this.
    ContentLength(u32),
    /// Content-Type is application/sdp.
    ContentSdp,
    /// Content-Type.
    ContentType(Vec<String>),
    /// The method of a request; `None` for those without a word of their own.
    Method(Option<String>),
    /// Octets of a URI in Request-URI, From, To or Contact, above this.
    UriLength {
        /// `tel:`, else `sip:` and `sips:`.
        tel: bool,
        /// Octets.
        over: u32,
    },
}

/// The methods that `match request-method` has a word for; all others are `unknown`.
pub const METHODS: [&str; 13] = [
    "ack",
    "bye",
    "cancel",
    "info",
    "invite",
    "message",
    "notify",
    "options",
    "prack",
    "refer",
    "register",
    "subscribe",
    "update",
];

/// What is done with a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// It goes on.
    #[default]
    Pass,
    /// It is refused.
    Drop,
    /// It is not answered, and its connection ends.
    DropConnection,
    /// The same by RST.
    Reset,
    /// What matched is made unreadable.
    Mask,
    /// Refused above so many a second.
    RateLimit(u32),
}

/// A deed, and whether it is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// What is done.
    pub deed: Deed,
    /// Whether the log hears of it.
    pub log: bool,
}

/// As the ASA writes it.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.deed {
            Deed::Pass => return f.write_str("log"),
            Deed::Drop => f.write_str("drop")?,
            Deed::DropConnection => f.write_str("drop-connection")?,
            Deed::Reset => f.write_str("reset")?,
            Deed::Mask => f.write_str("mask")?,
            Deed::RateLimit(n) => write!(f, "rate-limit {n}")?,
        }
        f.write_str(if self.log { " log" } else { "" })
    }
}

/// `parameters`; `None` where a check is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// `max-forwards-validation`: what besides the 483 is done about a Max-Forwards of 0.
    pub max_forwards: Option<Action>,
    /// `state-checking`: a request of a dialog that was never begun.
    pub state: Option<Action>,
    /// `strict-header-validation`: headers that RFC 3261 section 8.1.1 wants are not there.
    pub headers: Option<Action>,
    /// `software-version`: Server and User-Agent.
    pub version: Option<Action>,
    /// `uri-non-sip`: URIs in Alert-Info and Call-Info that are not SIP's.
    pub uri_non_sip: Option<Action>,
    /// `no im`: instant messages are refused.
    pub no_im: bool,
    /// `rtp-conformance`: what media is held to.
    pub rtp: Option<Rtp>,
    /// `asserted-identity strip`: the calling party's asserted identities are cut out, not checked.
    pub strip_identities: bool,
}

/// `rtp-conformance [enforce-payloadtype]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rtp {
    /// Only payload types that the receiver's description lists.
    pub enforce_payloads: bool,
}

pub(super) const IM: &str = "no im";
pub(super) const MAX_FORWARDS: &str = "max-forwards-validation";
pub(super) const STATE: &str = "state-checking";
pub(super) const HEADERS: &str = "strict-header-validation";
pub(super) const VERSION: &str = "software-version";
pub(super) const NON_SIP: &str = "uri-non-sip";

impl Parameters {
    /// Those that are set, with their actions.
    pub fn set(&self) -> impl Iterator<Item = (&'static str, Action)> {
        let im = Action { deed: Deed::Drop, log: false };
        [
            (IM, self.no_im.then_some(im)),
            (MAX_FORWARDS, self.max_forwards),
            (STATE, self.state),
            (HEADERS, self.headers),
            (VERSION, self.version),
            (NON_SIP, self.uri_non_sip),
        ]
        .into_iter()
        .filter_map(|(text, action)| Some((text, action?)))
    }
}
