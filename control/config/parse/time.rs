// SPDX-License-Identifier: MIT OR Apache-2.0
//! `time-range`, `absolute`, `periodic`, `clock timezone`; and the civil calendar they are written in.

use std::fmt;

use crate::config::args::{Args, Env};
use crate::config::diag::Problem;
use crate::config::model::{Minute, Periodic, Timezone};
use crate::config::raw::Command;

type Parsed = Result<Command, Problem>;

const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAY: i64 = 24 * 60;

/// `time-range NAME`
pub fn time_range(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::TimeRange(args.name("a time-range's name")?))
}

/// `absolute [start HH:MM DAY MONTH YEAR] [end HH:MM DAY MONTH YEAR]`
pub fn absolute(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let start = if args.accept("start") { Some(minute(args)?) } else { None };
    let end = if args.accept("end") { Some(minute(args)?) } else { None };
    if start.is_none() && end.is_none() {
        args.one_of(&["start", "end"])?;
    }
    if start.zip(end).is_some_and(|(start, end)| end < start) {
        return Err(args.wrong("the end is before the start"));
    }
    Ok(Command::Absolute(start, end))
}

fn minute(args: &mut Args<'_, '_>) -> Result<Minute, Problem> {
    let time = args.parsed("a time", clock)?;
    let day = args.number("a day", 1, 31)?;
    let month = args.parsed("a month", |word| {
        let known = |name: &&str| {
            name.eq_ignore_ascii_case(word) || (word.len() == 3 && name[..3].eq_ignore_ascii_case(word))
        };
        MONTHS.iter().position(known).ok_or("expected January to December")
    })?;
    let year = args.number("a year", 1993, 2135)?;
    let days = days_from_civil(year.into(), month as i64 + 1, day.into());
    if civil_from_days(days) != (i64::from(year), month as i64 + 1, i64::from(day)) {
        return Err(args.wrong(format!("{} {year} has no day {day}", MONTHS[month])));
    }
    Ok(Minute(days * DAY + i64::from(time)))
}

/// `HH:MM` as minutes.
fn clock(word: &str) -> Result<u16, &'static str> {
    const SHAPE: &str = "expected HH:MM, 0:00 to 23:59";
    let (hours, minutes) = word.split_once(':').ok_or(SHAPE)?;
    let number = |word: &str, most: u16| {
        let digits = (1..=2).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_digit());
        word.parse::<u16>().ok().filter(|n| digits && *n <= most).ok_or(SHAPE)
    };
    Ok(number(hours, 23)? * 60 + number(minutes, 59)?)
}

/// `periodic {DAY ... | daily | weekdays | weekend} HH:MM to [DAY] HH:MM`
pub fn periodic(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let mut days = 0u8;
    loop {
        days |= match args.take("a day of the week")?.text {
            "daily" => 0x7f,
            "weekdays" => 0x1f,
            "weekend" => 0x60,
            word => {
                1 << day(word).ok_or_else(|| {
                    args.wrong(format!("`{word}` is not a day"))
                        .help("Monday to Sunday, daily, weekdays or weekend")
                })?
            }
        };
        if args.peek().is_none_or(|word| word.contains(':')) {
            break;
        }
    }
    let from = args.parsed("a time", clock)?;
    args.expect("to")?;
    let until = match args.peek().and_then(day) {
        Some(day) => {
            args.take("a day")?;
            if days.count_ones() != 1 {
                return Err(args.wrong("an end on another day takes one day to begin on"));
            }
            Some(day)
        }
        None => None,
    };
    let to = args.parsed("a time", clock)?;
    Ok(Command::Periodic(Periodic { days, from, until, to }))
}

fn day(word: &str) -> Option<u8> {
    DAYS.iter().position(|name| name.eq_ignore_ascii_case(word)).map(|at| at as u8)
}

/// `clock timezone NAME HOURS [MINUTES]`
pub fn timezone(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let name = args.name("a timezone's name")?;
    let hours = args.parsed("a number of hours", |word| {
        word.parse::<i16>().ok().filter(|h| (-23..=23).contains(h)).ok_or("expected -23 to 23")
    })?;
    let minutes = if args.peek().is_some() { args.number("a number of minutes", 0, 59)? as i16 } else { 0 };
    let offset = if hours < 0 { hours * 60 - minutes } else { hours * 60 + minutes };
    Ok(Command::Timezone(Timezone { name, offset }))
}

/// Days from 1970-01-01 of a date of the Gregorian calendar (Howard Hinnant's `days_from_civil`).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Its inverse: year, month, day.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + i64::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}

impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, time) = (self.0.div_euclid(DAY), self.0.rem_euclid(DAY));
        let (year, month, day) = civil_from_days(days);
        let month = MONTHS[(month - 1) as usize];
        write!(f, "{:02}:{:02} {day:02} {month} {year}", time / 60, time % 60)
    }
}

impl fmt::Display for Periodic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("periodic ")?;
        match self.days {
            0x7f => f.write_str("daily ")?,
            0x1f => f.write_str("weekdays ")?,
            0x60 => f.write_str("weekend ")?,
            days => {
                for (_, name) in DAYS.iter().enumerate().filter(|(at, _)| days >> at & 1 == 1) {
                    write!(f, "{name} ")?;
                }
            }
        }
        write!(f, "{}:{:02} to ", self.from / 60, self.from % 60)?;
        if let Some(day) = self.until {
            write!(f, "{} ", DAYS[usize::from(day) % 7])?;
        }
        write!(f, "{}:{:02}", self.to / 60, self.to % 60)
    }
}

impl fmt::Display for Timezone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.offset / 60)?;
        match self.offset % 60 {
            0 => Ok(()),
            minutes => write!(f, " {}", minutes.unsigned_abs()),
        }
    }
}

impl Minute {
    /// `2026-12-31`, for the last minute of that day, or `2026-12-31T18:00`.
    pub fn of_iso(word: &str) -> Result<Self, &'static str> {
        const SHAPE: &str = "expected YYYY-MM-DD or YYYY-MM-DDTHH:MM";
        let (date, at) = match word.split_once('T') {
            Some((date, at)) => (date, clock(at)?),
            None => (word, 24 * 60 - 1),
        };
        let digits = |part: &str, len: usize| {
            let good = part.len() == len && part.bytes().all(|b| b.is_ascii_digit());
            part.parse::<i64>().ok().filter(|_| good).ok_or(SHAPE)
        };
        let [year, month, day] = date.split('-').collect::<Vec<_>>()[..] else { return Err(SHAPE) };
        let (year, month, day) = (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?);
        let days = days_from_civil(year, month, day);
        if civil_from_days(days) != (year, month, day) || year < 1970 {
            return Err("there is no such day");
        }
        Ok(Self(days * 24 * 60 + i64::from(at)))
    }

    /// `2026-12-31T23:59`.
    pub fn iso(self) -> String {
        let (year, month, day) = civil_from_days(self.0.div_euclid(24 * 60));
        let minute = self.0.rem_euclid(24 * 60);
        format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}", minute / 60, minute % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_turns_both_ways() {
        assert_eq!((days_from_civil(1970, 1, 1), days_from_civil(2000, 3, 1)), (0, 11_017));
        for day in -800_000..800_000 {
            let (year, month, of_month) = civil_from_days(day);
            assert_eq!(days_from_civil(year, month, of_month), day);
        }
        assert_eq!(Minute(days_from_civil(2030, 12, 31) * DAY + 1439).to_string(), "23:59 31 December 2030");
    }
}
