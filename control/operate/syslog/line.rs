// SPDX-License-Identifier: MIT OR Apache-2.0
//! A message as a line: in the ASA's form, which is RFC 3164's priority before a head of its own, and in that of RFC 5424.
//!
//! Pure. The ASA's: `<166>Nov 09 2022 10:01:59 fw : %ASA-6-302013: Built ...`, of which time and device are there where the
//! configuration says so. RFC 5424's has the ASA's tag in its text, so that one parser does for both.

use std::borrow::Cow;

use time::{Duration, OffsetDateTime};

use super::MOST_TEXT;
use crate::config::model::logging::Stamp;

/// What every message begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// 16 to 23.
    pub facility: u8,
    /// How times are written.
    pub stamp: Option<Stamp>,
    /// Local time less UTC, seconds.
    pub offset: i64,
    /// `logging device-id`.
    pub device: Option<String>,
    /// The appliance's name.
    pub hostname: String,
}

/// A message that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'m> {
    /// 0 to 7.
    pub severity: u8,
    /// The ASA's.
    pub number: u32,
    /// One line of printable ASCII.
    pub text: Cow<'m, str>,
    /// When it was told.
    pub at: OffsetDateTime,
}

impl Head {
    /// `<166>...`
    pub fn asa(&self, line: &Line<'_>) -> String {
        format!("<{}>{}", self.priority(line), self.asa_body(line))
    }

    /// What follows the priority, and is kept in the buffer.
    pub fn asa_body(&self, line: &Line<'_>) -> String {
        let time = match self.stamp {
            None => String::new(),
            Some(Stamp::Asa) => self.asa_time(line.at),
            Some(Stamp::Rfc5424) => seconds(line.at) + "Z",
        };
        let head = match (time.is_empty(), &self.device) {
            (true, None) => String::new(),
            (false, None) => format!("{time}: "),
            (true, Some(device)) => format!("{device} : "),
            (false, Some(device)) => format!("{time} {device} : "),
        };
        format!("{head}{}", tagged(line))
    }

    /// RFC 5424 section 6: version 1, no structured data.
    pub fn rfc5424(&self, line: &Line<'_>) -> String {
        let host = self.device.as_deref().unwrap_or(&self.hostname);
        let (micros, pid) = (line.at.microsecond(), std::process::id());
        format!(
            "<{}>1 {}.{micros:06}Z {host} fedgate {pid} {} - {}",
            self.priority(line),
            seconds(line.at),
            line.number,
            tagged(line)
        )
    }

    fn priority(&self, line: &Line<'_>) -> u16 {
        u16::from(self.facility) * 8 + u16::from(line.severity & 7)
    }

    /// `Nov 09 2022 10:01:59`
    fn asa_time(&self, at: OffsetDateTime) -> String {
        let at = at.saturating_add(Duration::seconds(self.offset));
        let month = at.month().to_string();
        let (h, m, s) = at.to_hms();
        format!("{} {:02} {} {h:02}:{m:02}:{s:02}", &month[..3], at.day(), at.year())
    }
}

/// `%ASA-6-302013: Built ...`
fn tagged(line: &Line<'_>) -> String {
    format!("%ASA-{}-{}: {}", line.severity, line.number, line.text)
}

/// `2022-11-09T10:01:59`
fn seconds(at: OffsetDateTime) -> String {
    let (h, m, s) = at.to_hms();
    format!("{:04}-{:02}-{:02}T{h:02}:{m:02}:{s:02}", at.year(), u8::from(at.month()), at.day())
}

/// One line whatever comes: texts are escaped where they are made, and framing must not hang on that.
pub fn cleaned(text: &str) -> Cow<'_, str> {
    let text = &text[..text.floor_char_boundary(MOST_TEXT)];
    if text.chars().any(char::is_control) {
        return text.replace(char::is_control, " ").into();
    }
    text.into()
}
