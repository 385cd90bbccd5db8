// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a subscription of ours to a foreign contact does next: refresh, begin anew, or wait.
//!
//! There is one for each local watcher and foreign contact, even where another local user watches the same contact. It is refreshed 15
//! minutes before it runs out (half-way, where it is short), which for the two hours we ask for is OCS's own 1 h 45 min. A peer
//! that has forgotten it (481) gets a new one at once; one that refuses is asked again after a pause that doubles, or that it
//! names itself (Retry-After), and meanwhile the contact is shown offline. What the reasons of a terminated subscription
//! mean is RFC 6665 section 4.1.3.
//!
//! Pure: answers and times in, the next step out.

/// What we ask for, s.
pub const EXPIRES: u32 = 7_200;
/// First pause after a failure, ms.
const PAUSE: u64 = 30_000;
/// Longest pause, ms.
const MAX_PAUSE: u64 = 3_600_000;
/// Least time between new dialogs that are begun at once, ms.
const HURRY: u64 = 60_000;
/// As long as a NOTIFY may keep us waiting after the answer to SUBSCRIBE (timer N), ms.
const TIMER_N: u64 = 32_000;
/// Least time between refreshes, however little the peer grants, ms.
const MIN_REFRESH: u64 = 30_000;

/// What comes next, and when (ms).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Refresh in the dialog.
    Refresh(u64),
    /// A new dialog.
    Anew(u64),
}

impl Next {
    /// When.
    pub fn at(self) -> u64 {
        match self {
            Self::Refresh(at) | Self::Anew(at) => at,
        }
    }
}

/// The state that outlives dialogs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    failures: u8,
    /// When a new dialog was last begun at once, ms.
    hurried: Option<u64>,
    /// What the peer wants asked for at least (423).
    min_expires: u32,
}

impl Pace {
    /// What to ask for, s.
    pub fn expires(&self) -> u32 {
        EXPIRES.max(self.min_expires)
    }

    /// The peer has granted so many seconds.
    pub fn granted(&mut self, seconds: u32, now: u64) -> Next {
        self.failures = 0;
        let seconds = u64::from(seconds.clamp(1, 86_400 * 7));
        let early = if seconds > 1_800 { 900 } else { seconds.div_ceil(2) };
        Next::Refresh(now + ((seconds - early) * 1_000).max(MIN_REFRESH))
    }

    /// The peer has granted one, and a NOTIFY has to follow. If none does, it has none: a new one then, later each time.
    pub fn silent(&mut self, now: u64) -> Next {
        Next::Anew(now + self.pause(None).max(TIMER_N))
    }

    /// The peer has answered with `status` (408 for silence, 503 for no connection).
    pub fn refused(
        &mut self,
        status: u16,
        retry_after: Option<u32>,
        min_expires: Option<u32>,
        now: u64,
    ) -> Next {
        let more =
            min_expires.filter(|least| status == 423 && *least > self.expires() && *least <= 86_400 * 7);
        self.min_expires = more.unwrap_or(self.min_expires);
        if (status == 481 || more.is_some()) && self.may_hurry(now) {
            return Next::Anew(now);
        }
        Next::Anew(now + self.pause(retry_after))
    }

    /// The peer has ended it (`Subscription-State: terminated`).
    pub fn terminated(&mut self, reason: Option<&str>, retry_after: Option<u32>, now: u64) -> Next {
        let reason = reason.unwrap_or_default().to_ascii_lowercase();
        match reason.as_str() {
            // It may go on at once, but who answers each SUBSCRIBE so is not to make us busy.
            "deactivated" | "timeout" if self.may_hurry(now) => Next::Anew(now),
            // The user has said no, or there is no such user: asked again seldom, for policies change.
            "rejected" | "noresource" | "invariant" => Next::Anew(now + MAX_PAUSE),
            _ => Next::Anew(now + self.pause(retry_after)),
        }
    }

    /// Once in [`HURRY`]: a peer that forgets or ends each new one is no reason to be busy.
    fn may_hurry(&mut self, now: u64) -> bool {
        let may = self.hurried.is_none_or(|last| now.saturating_sub(last) >= HURRY);
        if may {
            self.hurried = Some(now);
        }
        may
    }

    fn pause(&mut self, retry_after: Option<u32>) -> u64 {
        let pause = (PAUSE << self.failures.min(10)).min(MAX_PAUSE);
        self.failures = self.failures.saturating_add(1);
        let asked = u64::from(retry_after.unwrap_or(0)).saturating_mul(1_000).min(24 * MAX_PAUSE);
        pause.max(asked)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refreshed_as_the_design_has_it() {
        assert_eq!(Pace::default().granted(7_200, 0), Next::Refresh(6_300_000));
        assert_eq!(Pace::default().granted(60, 0), Next::Refresh(30_000));
        assert_eq!(Pace::default().granted(0, 5), Next::Refresh(30_005));
    }

    #[test]
    fn forgotten_once_is_anew_at_once_and_twice_is_a_pause() {
        let mut pace = Pace::default();
        assert_eq!(pace.refused(481, None, None, 9), Next::Anew(9));
        assert_eq!(pace.refused(481, None, None, 9), Next::Anew(9 + PAUSE));
        let _ = pace.granted(60, 9);
        assert_eq!(pace.terminated(Some("timeout"), None, 10), Next::Anew(10 + PAUSE));
        assert_eq!(pace.refused(481, None, None, 9 + HURRY), Next::Anew(9 + HURRY));
    }

    #[test]
    fn one_that_never_notifies_is_asked_less_and_less() {
        let mut pace = Pace::default();
        assert_eq!(pace.silent(0), Next::Anew(TIMER_N));
        assert_eq!(pace.silent(0), Next::Anew(2 * PAUSE));
        let last = (0..20).map(|_| pace.silent(0).at()).last();
        assert_eq!(last, Some(MAX_PAUSE));
        let _ = pace.granted(60, 0);
        assert_eq!(pace.silent(0), Next::Anew(TIMER_N));
    }

    #[test]
    fn the_peer_says_when_and_how_long() {
        let mut pace = Pace::default();
        assert_eq!(pace.refused(503, Some(600), None, 0), Next::Anew(600_000));
        assert_eq!(pace.refused(423, None, Some(10_000), 0), Next::Anew(0));
        assert_eq!(pace.expires(), 10_000);
        // A peer that goes on asking for what it has been given is no reason to hurry.
        assert!(pace.refused(423, None, Some(10_000), 0).at() > 0);
    }

    proptest! {
        /// However a peer refuses, it is never asked twice in a row without a pause, and no pause is longer than an hour.
        #[test]
        fn refusals_never_make_us_busy(answers in proptest::collection::vec((300..700_u16, proptest::option::of(0..u32::MAX)), 1..40)) {
            let mut pace = Pace::default();
            let (mut now, mut at_once) = (0, 0);
            for (status, least) in answers {
                let next = pace.refused(status, None, least, now);
                at_once = if next.at() == now { at_once + 1 } else { 0 };
                prop_assert!(at_once <= 1);
                prop_assert!(next.at() - now <= MAX_PAUSE);
                now = next.at();
            }
        }
    }
}
