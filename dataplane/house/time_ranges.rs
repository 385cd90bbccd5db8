// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which time-ranges are in force: `absolute` start and end, and `periodic` minutes of the local week.
//!
//! The housekeeping thread looks once a second, so that a time-range begins and ends while control is away, and
//! compiles the ACLs again when one did (an ACE that sleeps or wakes costs what an edited one costs, fedgate-acl `Layered`). Connections that
//! were permitted stay, as on the ASA. Local time is UTC and the policy's offset.

use fedgate_tables::policy::{Period, TimeRange, WEEK_MINUTES};
use fedgate_tables::policy_view::PolicyView;

/// Of each time-range of a policy, at a time in Unix seconds.
pub fn in_force(policy: &PolicyView<'_>, unix: i64) -> Vec<bool> {
    let minute = minute_of_week(unix.saturating_add(i64::from(policy.globals().utc_offset)));
    let holds = |range: &TimeRange| {
        let first = range.first as usize;
        let periods = policy.periods().get(first..first + range.count as usize).unwrap_or_default();
        range.start <= unix
            && unix < range.end
            && (periods.is_empty() || periods.iter().any(|period| within(*period, minute)))
    };
    policy.time_ranges().iter().map(holds).collect()
}

/// Monday 00:00 is 0; the epoch was a Thursday.
fn minute_of_week(local: i64) -> u16 {
    let seconds = i64::from(WEEK_MINUTES) * 60;
    (local.saturating_add(3 * 86_400).rem_euclid(seconds) / 60) as u16
}

fn within(Period { from, to }: Period, minute: u16) -> bool {
    if from < to { from <= minute && minute < to } else { from <= minute || minute < to }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_week_begins_on_monday() {
        // 2024-01-01 was a Monday.
        let monday = 1_704_067_200;
        assert_eq!(minute_of_week(monday), 0);
        assert_eq!(minute_of_week(monday - 1), WEEK_MINUTES - 1);
        assert_eq!(minute_of_week(monday + 86_400 + 3_661), 24 * 60 + 61);
        assert_eq!(minute_of_week(0), 3 * 24 * 60);
        assert_eq!(minute_of_week(i64::MAX), minute_of_week(i64::MAX - 1), "far ends do not overflow");
    }

    #[test]
    fn a_period_may_go_over_the_end_of_the_week() {
        let day = Period { from: 480, to: 1020 };
        assert!(!within(day, 479) && within(day, 480) && within(day, 1019) && !within(day, 1020));
        let weekend = Period { from: WEEK_MINUTES - 60, to: 60 };
        assert!(within(weekend, WEEK_MINUTES - 1) && within(weekend, 0) && !within(weekend, 60));
        assert!(!within(weekend, WEEK_MINUTES - 61));
        assert!(within(Period { from: 0, to: WEEK_MINUTES }, 5_000));
    }
}
