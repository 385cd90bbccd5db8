// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a user's presence is, and the two tables by which it crosses between CUP and OCS.
//!
//! [`Reach`] is the reachability of the design's tables ("CUP reachability"). Devices publish one each; [`compose`] makes one of
//! all: a device on which the user asked not to be disturbed speaks for all others, then one that is busy, then one that is there,
//! then one that is away. What far users are shown is decided by what is sent ([`super::pidf`]); what the near client (CUPC) shows
//! for it is [`Reach::shown_at_cupc`], and what Office Communicator shows is [`Reach::shown_at_communicator`].
//!
//! Pure.

use std::sync::Arc;

/// Reachability of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// Not there, or not to be seen.
    Unavailable,
    /// Logged in, but not at the device.
    Away,
    /// There.
    Available,
    /// There, and doing something.
    Busy,
    /// There, and asks to be left alone.
    DoNotDisturb,
}

impl Reach {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Unavailable, Self::Away, Self::Available, Self::Busy, Self::DoNotDisturb];

    /// As it is stored and printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Away => "away",
            Self::Available => "available",
            Self::Busy => "busy",
            Self::DoNotDisturb => "do-not-disturb",
        }
    }

    /// The one of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reach| reach.name() == name)
    }

    /// What Cisco Unified Personal Communicator shows for a federated contact (the design's first table, last column).
    pub fn shown_at_cupc(self) -> &'static str {
        match self {
            Self::Available => "Available",
            Self::Busy | Self::Away => "Away",
            Self::DoNotDisturb => "Do Not Disturb",
            Self::Unavailable => "Offline",
        }
    }

    /// What Microsoft Office Communicator shows for a federated contact (the design's second table, last column): what it is
    /// sent has no word for "do not disturb".
    pub fn shown_at_communicator(self) -> &'static str {
        match self {
            Self::Available => "Available",
            Self::Busy | Self::DoNotDisturb => "Busy",
            Self::Away => "Away",
            Self::Unavailable => "Offline",
        }
    }
}

/// The state of one user, as one document says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Reachability.
    pub reach: Reach,
    /// What the user says about it.
    pub note: Option<Arc<str>>,
}

impl Presence {
    /// What is known of a user nobody has published anything of, and what is told to a watcher that is blocked.
    pub const OFFLINE: Self = Self { reach: Reach::Unavailable, note: None };
}

/// One state of all devices; in the order in which they last published. The note is that of the device that speaks for the
/// user, and of several such the one that published last.
pub fn compose<'a>(devices: impl IntoIterator<Item = &'a Presence>) -> Presence {
    let loudest = devices.into_iter().max_by_key(|presence| presence.reach);
    match loudest {
        // Whoever is offline has nothing to say: a note would tell an offline user from a blocked watcher.
        Some(presence) if presence.reach != Reach::Unavailable => presence.clone(),
        Some(_) | None => Presence::OFFLINE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(reach: Reach) -> Presence {
        Presence { reach, note: Some(reach.name().into()) }
    }

    #[test]
    fn who_speaks_for_the_user() {
        for a in Reach::ALL {
            for b in Reach::ALL {
                let both = [device(a), device(b)];
                let composed = compose(&both);
                // The rule of the header, word by word.
                let expected = [Reach::DoNotDisturb, Reach::Busy, Reach::Available, Reach::Away]
                    .into_iter()
                    .find(|reach| [a, b].contains(reach))
                    .unwrap_or(Reach::Unavailable);
                assert_eq!(composed.reach, expected, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn offline_has_no_note() {
        assert_eq!(compose(&[device(Reach::Unavailable)]), Presence::OFFLINE);
        assert_eq!(compose(&[]), Presence::OFFLINE);
    }
}
