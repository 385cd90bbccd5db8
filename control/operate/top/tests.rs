// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pictures of made-up samples on ratatui's terminal for tests, and what keys do.

use fedgate_tables::counters::{Gauge, Stat};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyModifiers};

use super::pressed;
use super::sample::{Core, Interface, Sample};
use super::view::{Picture, Sort, si};

/// `n` seconds after the start: a core half busy with 1,000 packets a second, drops of two kinds.
fn sample(n: u64) -> Sample {
    let mut sample = Sample {
        at_ms: 1_000_000 + n * 1000,
        hostname: "fw".into(),
        up_seconds: 3661 + n,
        in_force: true,
        cores: vec![
            Core { busy: n * 500_000, cycles: n * 1_000_000, packets: n * 1000, conns: 7 },
            Core::default(),
        ],
        ..Sample::default()
    };
    let counters = [
        ("rx_packets", n * 1000),
        ("rx_bytes", n * 1_000_000),
        ("tx_packets", n * 900),
        ("rx_missed", n * 3),
    ];
    let counters = counters.map(|(name, value)| (name.to_owned(), value)).into();
    sample.interfaces.push(Interface { name: "outside".into(), counters });
    sample.gauges.insert(Gauge::ConnsInUse.name().to_owned(), 123_456);
    sample.stats.insert(Stat::ConnsBuilt.name().to_owned(), n * 250);
    sample.drops.insert("acl-drop".into(), 1_000_000 + n);
    sample.drops.insert("ttl-exceeded".into(), n * 40);
    sample
}

fn picture() -> Picture {
    let mut picture = Picture::default();
    picture.take(sample(1));
    picture.take(sample(3));
    picture
}

/// What a terminal of this size shows.
fn screen(picture: &Picture, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| picture.draw(frame.area(), frame.buffer_mut())).unwrap();
    let buffer = terminal.backend().buffer();
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(row).collect()
}

fn line<'s>(screen: &'s [String], begins: &str) -> Vec<&'s str> {
    let line = screen.iter().find(|line| line.starts_with(begins));
    line.unwrap_or_else(|| panic!("no {begins}:\n{}", screen.join("\n"))).split_whitespace().collect()
}

#[test]
fn rates_are_differences_of_two_samples() {
    let picture = picture();
    let shown = screen(&picture, 100, 40);
    assert_eq!(shown[0], " fedgate top - fw  up 1:01:04  configuration in force");
    assert_eq!(line(&shown, "Connections")[..4], ["Connections", "123k", "in", "use,"]);
    assert!(shown[1].contains("250/s begun"), "{}", shown[1]);
    assert_eq!(line(&shown, "0 "), ["0", "50.0%", "||||||||||", "1.00k", "500", "7"]);
    assert_eq!(line(&shown, "1 "), ["1", "0.0%", "0", "-", "0"]);
    assert_eq!(line(&shown, "outside"), ["outside", "1.00k", "8.00M", "900", "0", "3", "0"]);
    assert_eq!(line(&shown, "ttl-exceeded"), ["ttl-exceeded", "40", "120"]);
    assert_eq!(line(&shown, "acl-drop"), ["acl-drop", "1", "1.00M"]);
    let at = |name: &str| shown.iter().position(|line| line.starts_with(name)).unwrap();
    assert!(at("ttl-exceeded") < at("acl-drop"), "by rate");
    // The text of --once is the same.
    assert_eq!(picture.text((100, 40)).trim_end(), shown.join("\n").trim_end());
}

#[test]
fn a_first_sample_and_another_life_of_the_dataplane_have_no_rates() {
    let mut picture = Picture::default();
    picture.take(sample(5));
    assert_eq!(line(&screen(&picture, 100, 40), "outside")[1], "0");
    picture.take(Sample { up_seconds: 1, ..sample(6) });
    assert_eq!(line(&screen(&picture, 100, 40), "outside")[1], "0");
}

/// Any size is drawn, and what has no room is left out at the bottom.
#[test]
fn a_terminal_may_have_any_size() {
    let mut picture = picture();
    for help in [false, true] {
        picture.help = help;
        for width in [1, 2, 10, 45, 80, 200] {
            for height in 1..30 {
                assert_eq!(screen(&picture, width, height).len(), usize::from(height));
            }
        }
    }
    picture.help = false;
    let small = screen(&picture, 80, 12);
    assert!(small[0].contains("fedgate top") && !small.join("").contains("acl-drop"));
}

#[test]
fn keys_sort_hold_help_and_end() {
    let mut picture = picture();
    let press = |picture: &mut Picture, key| pressed(picture, KeyCode::Char(key), KeyModifiers::NONE);
    assert!(press(&mut picture, 's'));
    assert_eq!(picture.sort, Sort::Total);
    let shown = screen(&picture, 100, 40);
    let at = |name: &str| shown.iter().position(|line| line.starts_with(name)).unwrap();
    assert!(at("Drops by total") < at("acl-drop") && at("acl-drop") < at("ttl-exceeded"));
    assert!(press(&mut picture, 's') && press(&mut picture, 's'));
    assert_eq!(picture.sort, Sort::Rate);
    assert!(press(&mut picture, '?') && screen(&picture, 100, 40).join("\n").contains("hold the picture"));
    assert!(pressed(&mut picture, KeyCode::Esc, KeyModifiers::NONE), "closes the list");
    assert!(!picture.help);
    assert!(press(&mut picture, 'p') && screen(&picture, 100, 40)[0].contains("HELD"));
    picture.trouble = Some("fedgate-control does not answer".into());
    assert!(screen(&picture, 120, 40)[0].contains("does not answer"));
    assert!(!press(&mut picture, 'q'));
    assert!(!pressed(&mut picture, KeyCode::Char('c'), KeyModifiers::CONTROL));
    assert!(!pressed(&mut picture, KeyCode::Esc, KeyModifiers::NONE));
}

#[test]
fn numbers_have_four_places() {
    let shown = [0.0, 0.5, 7.0, 9.96, 999.4, 999.6, 12_345.0, 1e6, 123_456_789.0, 5e15].map(si);
    assert_eq!(shown, ["0", "0.5", "7", "10", "999", "1.00k", "12.3k", "1.00M", "123M", "5000T"]);
}
