// SPDX-License-Identifier: MIT OR Apache-2.0
//! The picture: a head, what there is of sessions, cores, interfaces, and drops, each with its rate between the last two samples.
//!
//! Drawn into a buffer of cells, whether a terminal shows that or [`Picture::text`] makes text of it. What has no room is left out from the bottom. Pure.

use std::collections::BTreeMap;

use fedgate_tables::counters::{Gauge, Stat};
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Row, Table, Widget};

use super::sample::Sample;
use crate::config::types::Seconds;

/// What drops stand in the order of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Most a second first.
    #[default]
    Rate,
    /// Most since the start first.
    Total,
    /// By name.
    Name,
}

/// What is drawn.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    now: Sample,
    before: Option<Sample>,
    /// Order of the drops.
    pub sort: Sort,
    /// The keys are shown.
    pub help: bool,
    /// The picture stays.
    pub held: bool,
    /// Why there is no newer one.
    pub trouble: Option<String>,
}

const HEAD: Style = Style::new().add_modifier(Modifier::REVERSED);
const TITLE: Style = Style::new().add_modifier(Modifier::BOLD);
const HELP: &str =
    "q, Esc  end\ns       sort drops by rate, total or name\np       hold the picture\n?       this list";

impl Picture {
    /// A newer sample.
    pub fn take(&mut self, sample: Sample) {
        let before = std::mem::replace(&mut self.now, sample);
        // Counters of another life of the dataplane are no beginning.
        let same =
            before.at_ms > 0 && before.up_seconds <= self.now.up_seconds && before.at_ms < self.now.at_ms;
        self.before = same.then_some(before);
        self.trouble = None;
    }

    /// Draws it.
    pub fn draw(&self, area: Rect, buffer: &mut Buffer) {
        let (cores, interfaces) = (self.now.cores.len() as u16, self.now.interfaces.len() as u16);
        let parts = [1, 6, cores + 2, interfaces + 2].map(Constraint::Length);
        let [head, levels, cores, interfaces, drops] =
            Layout::vertical(parts.into_iter().chain([Constraint::Min(0)])).areas(area);
        self.head(head, buffer);
        self.levels(levels, buffer);
        self.cores(cores, buffer);
        self.interfaces(interfaces, buffer);
        self.drops(drops, buffer);
        if self.help {
            let (width, height) = (46.min(area.width), 6.min(area.height));
            let place = Rect {
                x: area.x + (area.width - width) / 2,
                y: area.y + (area.height - height) / 2,
                width,
                height,
            };
            Clear.render(place, buffer);
            Paragraph::new(HELP).block(Block::bordered().title("Keys")).render(place, buffer);
        }
    }

    /// The same as lines of text, without blanks at their ends.
    pub fn text(&self, (width, height): (u16, u16)) -> String {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        self.draw(area, &mut buffer);
        let rows = (0..height).map(|y| {
            let row: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
            format!("{}\n", row.trim_end())
        });
        format!("{}\n", rows.collect::<String>().trim_end())
    }

    /// What a counter gained a second; 0 while there is but one sample.
    fn rate(&self, of: impl Fn(&Sample) -> u64) -> f64 {
        let Some(before) = &self.before else { return 0.0 };
        let seconds = (self.now.at_ms - before.at_ms) as f64 / 1000.0;
        of(&self.now).saturating_sub(of(before)) as f64 / seconds
    }

    fn head(&self, area: Rect, buffer: &mut Buffer) {
        let up = u32::try_from(self.now.up_seconds).unwrap_or(u32::MAX);
        let state = if self.now.in_force { "configuration in force" } else { "configuration NOT in force" };
        let text = format!(
            " fedgate top - {}  up {}  {state}{}",
            self.now.hostname,
            Seconds(up),
            if self.held { "  HELD" } else { "" }
        );
        let line = match &self.trouble {
            None => Line::from(text),
            Some(why) => Line::from(vec![
                Span::raw(text),
                Span::styled(format!("  {why}"), Style::new().fg(Color::Red)),
            ]),
        };
        Paragraph::new(line).style(HEAD).render(area, buffer);
    }

    fn levels(&self, area: Rect, buffer: &mut Buffer) {
        let (gauge, stat) =
            (|gauge| self.now.gauge(gauge), |stat: Stat| self.rate(move |sample| sample.stat(stat)));
        let used = |what: &str, now, most, built: Stat, ended: Stat| {
            format!(
                "{what:<16}{:>10} in use, {:>10} most used, {:>8}/s begun, {:>8}/s ended",
                si(gauge(now) as f64),
                si(gauge(most) as f64),
                si(stat(built)),
                si(stat(ended))
            )
        };
        let denials = Stat::ALL.iter().filter(|it| it.name().starts_with("sip_denied_"));
        let denied: f64 = denials.map(|it| stat(*it)).sum();
        let handshakes = stat(Stat::TlsHandshakesClientLeg) + stat(Stat::TlsHandshakesServerLeg);
        let lines = [
            used(
                "Connections",
                Gauge::ConnsInUse,
                Gauge::ConnsMostUsed,
                Stat::ConnsBuilt,
                Stat::ConnsTornDown,
            ),
            used(
                "Translations",
                Gauge::XlatesInUse,
                Gauge::XlatesMostUsed,
                Stat::XlatesBuilt,
                Stat::XlatesTornDown,
            ),
            used(
                "Proxy sessions",
                Gauge::ProxySessionsInUse,
                Gauge::ProxySessionsMostUsed,
                Stat::ProxySessionsOpened,
                Stat::ProxySessionsClosed,
            ),
            format!(
                "{:<16}{:>8}/s handshakes, {:>8}/s failed; {} bytes held",
                "TLS",
                si(handshakes),
                si(stat(Stat::TlsFailures)),
                si(gauge(Gauge::ProxyMemoryBytes) as f64)
            ),
            format!(
                "{:<16}{:>8}/s requests in, {:>8}/s out, {:>8}/s denied; {} dialogs, {} calls, {} pinholes",
                "SIP",
                si(stat(Stat::SipInRequests)),
                si(stat(Stat::SipOutRequests)),
                si(denied),
                si(gauge(Gauge::SipDialogsInUse) as f64),
                si(gauge(Gauge::MediaCallsInUse) as f64),
                si(gauge(Gauge::MediaPinholesInUse) as f64)
            ),
            format!(
                "{:<16}{:>10} in use; events lost {:>8}/s",
                "Packet buffers",
                si(gauge(Gauge::MbufsInUse) as f64),
                si(stat(Stat::EventsLost))
            ),
        ];
        Paragraph::new(lines.map(Line::from).to_vec()).render(area, buffer);
    }

    fn cores(&self, area: Rect, buffer: &mut Buffer) {
        let head = Row::new(["Core", "Busy", "", "Packets/s", "Cycles/packet", "Conns"]).style(TITLE);
        let rows = self.now.cores.iter().enumerate().map(|(n, core)| {
            let of = |what: fn(&super::sample::Core) -> u64| {
                self.rate(move |sample| sample.cores.get(n).map_or(0, what))
            };
            let (busy, cycles, packets) = (of(|c| c.busy), of(|c| c.cycles), of(|c| c.packets));
            let share = if cycles > 0.0 { (busy / cycles).min(1.0) } else { 0.0 };
            let each = if packets > 0.0 { si(busy / packets) } else { "-".to_owned() };
            let bar = "|".repeat((share * 20.0).round() as usize);
            Row::new([
                n.to_string(),
                format!("{:.1}%", share * 100.0),
                bar,
                si(packets),
                each,
                si(core.conns as f64),
            ])
        });
        let widths = [4, 7, 20, 12, 14, 12].map(Constraint::Length);
        Widget::render(Table::new(rows, widths).header(head.top_margin(1)), area, buffer);
    }

    fn interfaces(&self, area: Rect, buffer: &mut Buffer) {
        let head = Row::new(["Interface", "In/s", "In bit/s", "Out/s", "Out bit/s", "Missed/s", "Errors/s"])
            .style(TITLE);
        let rows = self.now.interfaces.iter().enumerate().map(|(n, interface)| {
            let of = |names: &[&str]| {
                self.rate(|sample| {
                    let counters = sample.interfaces.get(n).map(|interface| &interface.counters);
                    names.iter().filter_map(|name| counters?.get(*name)).sum()
                })
            };
            Row::new([
                interface.name.clone(),
                si(of(&["rx_packets"])),
                si(of(&["rx_bytes"]) * 8.0),
                si(of(&["tx_packets"])),
                si(of(&["tx_bytes"]) * 8.0),
                si(of(&["rx_missed", "rx_no_mbuf"])),
                si(of(&["rx_errors", "tx_errors"])),
            ])
        });
        let widths = [16, 10, 10, 10, 10, 10, 10].map(Constraint::Length);
        Widget::render(Table::new(rows, widths).header(head.top_margin(1)), area, buffer);
    }

    fn drops(&self, area: Rect, buffer: &mut Buffer) {
        let by = match self.sort {
            Sort::Rate => "rate",
            Sort::Total => "total",
            Sort::Name => "name",
        };
        let head = Row::new([format!("Drops by {by}"), "/s".to_owned(), "Total".to_owned()]).style(TITLE);
        let none = BTreeMap::new();
        let before = self.before.as_ref().map_or(&none, |sample| &sample.drops);
        let gained = |name: &String, total: u64| total.saturating_sub(before.get(name).copied().unwrap_or(0));
        let mut drops: Vec<(&String, u64, u64)> =
            self.now.drops.iter().map(|(name, total)| (name, gained(name, *total), *total)).collect();
        match self.sort {
            Sort::Rate => drops.sort_by_key(|drop| std::cmp::Reverse((drop.1, drop.2))),
            Sort::Total => drops.sort_by_key(|drop| std::cmp::Reverse(drop.2)),
            Sort::Name => {}
        }
        let rows = drops.into_iter().map(|(name, _, total)| {
            let rate = self.rate(|sample| sample.drops.get(name).copied().unwrap_or(0));
            Row::new([name.clone(), si(rate), si(total as f64)])
        });
        let widths = [36, 10, 10].map(Constraint::Length);
        Widget::render(Table::new(rows, widths).header(head.top_margin(1)), area, buffer);
    }
}

/// Four places at most: `999`, `1.23k`, `45.6M`.
pub fn si(value: f64) -> String {
    let mut value = value;
    for unit in ["", "k", "M", "G", "T"] {
        if value < 999.5 || unit == "T" {
            return match (unit, value) {
                ("", v) if v > 0.0 && v < 9.95 && v.fract() > 0.05 => format!("{v:.1}"),
                ("", v) => format!("{v:.0}"),
                (_, v) if v < 9.995 => format!("{v:.2}{unit}"),
                (_, v) if v < 99.95 => format!("{v:.1}{unit}"),
                (_, v) => format!("{v:.0}{unit}"),
            };
        }
        value /= 1000.0;
    }
    format!("{value:.0}")
}
