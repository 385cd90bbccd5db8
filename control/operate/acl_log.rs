// SPDX-License-Identifier: MIT OR Apache-2.0
//! The flows of access-list lines with `log`: message 106100 for the first hit of each, then one an interval with the count, as the ASA
//! has it.
//!
//! A flow is remembered for as long as each interval brings a hit. Of denied flows at most `access-list deny-flow-max` are
//! (others go untold, with 106101 once an `alert-interval`), of permitted ones [`PERMITTED_MAX`]. What is due waits until the log has
//! room, and goes on counting: a flood makes messages late, it loses no hits. A flow is put into words when it is first hit, for a commit
//! may give its numbers to other lists and interfaces. Pure: time is an argument. The daemon's one thread.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use fedgate_tables::link::AclFlow;

/// Permitted flows that are remembered.
pub const PERMITTED_MAX: usize = 16_384;

/// How a line is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logging {
    /// Severity.
    pub level: u8,
    /// Seconds between messages of a flow.
    pub interval: u16,
}

/// A flow as its messages name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// The list, what it did, and the ends.
    pub flow: String,
    /// The line's hashes.
    pub hashes: String,
}

/// A message that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Of what.
    pub words: Words,
    /// How.
    pub logging: Logging,
    /// Hits that it tells of.
    pub hits: u64,
    /// It is the flow's first.
    pub first: bool,
}

struct Known {
    words: Words,
    logging: Logging,
    hits: u64,
    first: bool,
}

/// What became of a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is counted with its flow.
    Counted,
    /// There is no room for its flow.
    Untold,
    /// Nor is there, and it is time to say so.
    Alert,
}

/// See the module.
#[derive(Default)]
pub struct AclLog {
    flows: HashMap<AclFlow, Known>,
    denied: usize,
    /// Every flow, by when its next message is due.
    due: BTreeMap<(Instant, u64), AclFlow>,
    serial: u64,
    alerted: Option<Instant>,
}

impl AclLog {
    /// Flows remembered, and the denied ones among them.
    pub fn flows(&self) -> (usize, usize) {
        (self.flows.len(), self.denied)
    }

    /// `hits` of a flow, at `now`; `denied_max` and `alert` are the configuration's. `words` is asked of a new one.
    pub fn hit(
        &mut self,
        flow: AclFlow,
        hits: u32,
        logging: Logging,
        (denied_max, alert): (u32, Duration),
        now: Instant,
        words: impl FnOnce() -> Words,
    ) -> Taken {
        if let Some(known) = self.flows.get_mut(&flow) {
            known.hits += u64::from(hits);
            return Taken::Counted;
        }
        let permitted = self.flows.len() - self.denied;
        if flow.permitted && permitted >= PERMITTED_MAX {
            return Taken::Untold;
        }
        if !flow.permitted && self.denied >= denied_max as usize {
            if self.alerted.is_some_and(|last| now.saturating_duration_since(last) < alert) {
                return Taken::Untold;
            }
            self.alerted = Some(now);
            return Taken::Alert;
        }
        self.denied += usize::from(!flow.permitted);
        self.flows.insert(flow, Known { words: words(), logging, hits: hits.into(), first: true });
        self.await_until(flow, now);
        Taken::Counted
    }

    /// The next message that is due.
    pub fn due(&mut self, now: Instant) -> Option<Due> {
        loop {
            let entry = self.due.first_entry().filter(|entry| entry.key().0 <= now)?;
            let flow = entry.remove();
            let Some(known) = self.flows.get_mut(&flow) else { continue };
            let (first, logging) = (std::mem::take(&mut known.first), known.logging);
            let hits = if first { 1 } else { known.hits };
            if hits == 0 {
                self.flows.remove(&flow);
                self.denied -= usize::from(!flow.permitted);
                continue;
            }
            known.hits -= hits;
            let words = known.words.clone();
            self.await_until(flow, now + Duration::from_secs(logging.interval.into()));
            return Some(Due { words, logging, hits, first });
        }
    }

    fn await_until(&mut self, flow: AclFlow, when: Instant) {
        self.serial += 1;
        self.due.insert((when, self.serial), flow);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fedgate_tables::link::Packet5;

    const LOGGING: Logging = Logging { level: 4, interval: 60 };
    const BOUNDS: (u32, Duration) = (2, Duration::from_secs(300));

    fn flow(dport: u16, permitted: bool) -> AclFlow {
        AclFlow { permitted, packet: Packet5 { dport, ..Packet5::default() }, ..AclFlow::default() }
    }

    fn hit(log: &mut AclLog, flow: AclFlow, hits: u32, now: Instant) -> Taken {
        let words = || Words { flow: flow.packet.dport.to_string(), ..Words::default() };
        log.hit(flow, hits, LOGGING, BOUNDS, now, words)
    }

    fn all(log: &mut AclLog, now: Instant) -> Vec<(u16, u64, bool)> {
        let due = std::iter::from_fn(|| log.due(now));
        due.map(|due| (due.words.flow.parse().unwrap(), due.hits, due.first)).collect()
    }

    #[test]
    fn the_first_hit_at_once_then_each_interval_with_its_count() {
        let (mut log, start) = (AclLog::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(hit(&mut log, flow(22, false), 5, start), Taken::Counted);
        assert_eq!(all(&mut log, start), [(22, 1, true)]);
        hit(&mut log, flow(22, false), 3, at(10));
        assert_eq!(all(&mut log, at(59)), []);
        assert_eq!(all(&mut log, at(60)), [(22, 7, false)], "4 of the first event, and 3");
        assert_eq!(log.flows(), (1, 1));
        // An interval without a hit ends it; the next is a first one.
        assert_eq!(all(&mut log, at(120)), []);
        assert_eq!((log.flows(), log.due.len()), ((0, 0), 0));
        hit(&mut log, flow(22, false), 1, at(121));
        assert_eq!(all(&mut log, at(121)), [(22, 1, true)]);
    }

    #[test]
    fn denied_flows_are_bounded_and_the_alert_comes_once_an_interval() {
        let (mut log, start) = (AclLog::default(), Instant::now());
        for port in 1..=2 {
            assert_eq!(hit(&mut log, flow(port, false), 1, start), Taken::Counted);
        }
        assert_eq!(hit(&mut log, flow(3, false), 1, start), Taken::Alert);
        let later = start + Duration::from_secs(299);
        assert_eq!(hit(&mut log, flow(3, false), 1, later), Taken::Untold);
        // Known ones count on, and permitted ones have room of their own.
        assert_eq!(hit(&mut log, flow(1, false), 1, later), Taken::Counted);
        assert_eq!(hit(&mut log, flow(3, true), 1, later), Taken::Counted);
        let again = start + Duration::from_secs(300);
        assert_eq!(hit(&mut log, flow(4, false), 1, again), Taken::Alert);
        assert_eq!(log.flows(), (3, 2));
        for port in 0..u16::MAX {
            hit(&mut log, flow(port, true), 1, again);
        }
        assert_eq!(log.flows(), (PERMITTED_MAX + 2, 2));
        assert_eq!(log.due.len(), PERMITTED_MAX + 2);
    }
}
