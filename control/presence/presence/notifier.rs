// SPDX-License-Identifier: MIT OR Apache-2.0
//! When a NOTIFY is sent: at once where a SUBSCRIBE or the user's decision asks for it, else one in five seconds.
//!
//! RFC 6665 wants a NOTIFY after each SUBSCRIBE; RFC 3856 and RFC 3857 want no more than one in five seconds for changes. Changes
//! that come faster are not queued: the NOTIFY that is due says how things are then, so the last state is always told and nothing
//! grows. While one is unanswered, changes wait for its answer; a watcher that answers slowly is told seldom.
//!
//! Failures: a subscriber that does not know the subscription (481) or cannot take it any more has none; what may be mended
//! (no connection, 5xx) is tried again, later and later, until the subscription runs out.
//!
//! Pure: time comes in as milliseconds. One for each subscription, owned by the core.

/// At least this long between NOTIFYs of changes, ms.
pub const INTERVAL: u64 = 5_000;
/// Longest time between attempts, ms.
const MAX_RETRY: u64 = 300_000;

/// When the next NOTIFY goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Now.
    Now,
    /// At this time, ms.
    At(u64),
    /// Not before something happens.
    Idle,
}

/// What becomes of a subscription by the answer to a NOTIFY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It lives.
    Keep,
    /// The subscriber has none.
    Gone,
}

/// The state of one subscription's NOTIFYs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notifier {
    forced: bool,
    changed: bool,
    in_flight: u8,
    /// Not before this time, but for what is forced.
    not_before: u64,
    failures: u8,
}

impl Notifier {
    /// A NOTIFY is owed at once.
    pub fn force(&mut self) {
        self.forced = true;
    }

    /// There is something new to tell.
    pub fn change(&mut self) {
        self.changed = true;
    }

    /// When to send.
    pub fn due(&self, now: u64) -> Due {
        match (self.forced, self.changed) {
            (true, _) => Due::Now,
            (false, true) if self.in_flight > 0 => Due::Idle,
            (false, true) if self.not_before <= now => Due::Now,
            (false, true) => Due::At(self.not_before),
            (false, false) => Due::Idle,
        }
    }

    /// One has been sent that tells everything.
    pub fn sent(&mut self, now: u64) {
        self.forced = false;
        self.changed = false;
        self.in_flight = self.in_flight.saturating_add(1);
        self.not_before = now + INTERVAL;
    }

    /// One could not even be sent, or its answer has come: its status, 408 where none came, 503 where the connection broke.
    pub fn answered(&mut self, status: u16, retry_after: Option<u32>, now: u64) -> After {
        self.in_flight = self.in_flight.saturating_sub(1);
        match status {
            200..=299 => {
                self.failures = 0;
                After::Keep
            }
            // RFC 6665 section 4.2.2, and those by which the peer says that it will never take one.
            404 | 405 | 408 | 410 | 416 | 480..=485 | 489 | 501 | 603 | 604 => After::Gone,
            _ => {
                self.failures = self.failures.saturating_add(1);
                let pause = (INTERVAL << self.failures.min(8)).min(MAX_RETRY);
                let asked = u64::from(retry_after.unwrap_or(0)) * 1_000;
                self.not_before = now + pause.max(asked.min(3_600_000));
                self.changed = true;
                After::Keep
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Event {
        Force,
        Change,
        Pass(u64),
        Answer(u16),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Force),
            Just(Event::Change),
            (1..9_000_u64).prop_map(Event::Pass),
            proptest::sample::select(&[200_u16, 200, 200, 503, 500][..]).prop_map(Event::Answer),
        ]
    }

    proptest! {
        /// Two NOTIFYs of changes are five seconds apart, whatever happens; what was new is told as soon as it may be.
        #[test]
        fn one_in_five_seconds_and_nothing_forgotten(events in proptest::collection::vec(event(), 1..80)) {
            let mut notifier = Notifier::default();
            let (mut now, mut last, mut flying, mut news, mut owed) = (1_000_u64, None, 0_u32, false, false);
            for event in events {
                match event {
                    Event::Force => { notifier.force(); owed = true; }
                    Event::Change => { notifier.change(); news = true; }
                    Event::Pass(time) => now += time,
                    Event::Answer(status) if flying > 0 => {
                        flying -= 1;
                        prop_assert_eq!(notifier.answered(status, None, now), After::Keep);
                        news |= status >= 300;
                    }
                    Event::Answer(_) => {}
                }
                match notifier.due(now) {
                    Due::Now => {
                        prop_assert!(owed || last.is_none_or(|last| now - last >= INTERVAL));
                        prop_assert!(owed || (news && flying == 0));
                        notifier.sent(now);
                        (last, news, owed) = (Some(now), false, false);
                        flying += 1;
                    }
                    Due::At(time) => prop_assert!(time > now && news && !owed),
                    Due::Idle => prop_assert!(!owed && (!news || flying > 0)),
                }
            }
        }
    }

    #[test]
    fn who_has_no_subscription_is_told_no_more() {
        for status in [404, 408, 481, 489, 603] {
            let mut notifier = Notifier::default();
            notifier.force();
            notifier.sent(0);
            assert_eq!(notifier.answered(status, None, 1), After::Gone, "{status}");
        }
    }

    #[test]
    fn a_busy_watcher_says_when() {
        let mut notifier = Notifier::default();
        notifier.force();
        notifier.sent(0);
        assert_eq!(notifier.answered(503, Some(60), 1_000), After::Keep);
        assert_eq!(notifier.due(1_000), Due::At(61_000));
    }
}
