// SPDX-License-Identifier: MIT OR Apache-2.0
//! A configuration of a hundred thousand lines, loaded, compiled, and given one line more. What must hold is tested; what it costs is printed
//! (`cargo nextest run -p fedgate-control --release --no-capture a_hundred_thousand`).

use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use super::compile;
use super::slots::{Slots, Zero};
use crate::config::{edit, load};

const LINES: u32 = 100_000;

#[test]
fn a_hundred_thousand_lines_and_one() {
    let mut text =
        String::from("interface tap fgo\n nameif outside\n ip address 203.0.113.2 255.255.255.0\n");
    for n in 0..LINES {
        let [_, a, b, c] = n.to_be_bytes();
        let _ = writeln!(
            text,
            "access-list big extended permit tcp 10.{a}.{b}.{c} 255.255.255.255 host 192.0.2.{c} eq {}",
            1024 + n % 50_000
        );
    }
    text.push_str("access-group big in interface outside\n");
    let clock =
        |what: &str, since: Instant| eprintln!("{what}: {:.1} ms", since.elapsed().as_secs_f64() * 1e3);

    let start = Instant::now();
    let before = load(&text, "big", Path::new("/")).expect("loads").config;
    clock("load", start);
    let start = Instant::now();
    let first = compile(&before, 1, &Slots::default(), &Zero).expect("compiles");
    clock("compile", start);

    let start = Instant::now();
    let line = "access-list big line 50000 extended deny ip host 10.1.1.1 any";
    let after = edit(&before, line, Path::new("/")).expect("is taken").config;
    clock("one line more: edit", start);
    let start = Instant::now();
    let second = compile(&after, 2, &first.slots, &Zero).expect("compiles");
    clock("one line more: compile", start);

    let counters = |slots: &Slots| slots.blocks["big"].aces.iter().map(|ace| ace.counter).collect::<Vec<_>>();
    let (mut old, mut new) = (counters(&first.slots), counters(&second.slots));
    assert_eq!((new.remove(49_999), new.len()), (LINES, LINES as usize));
    assert_eq!(old, new);
    old.sort_unstable();
    old.dedup();
    assert_eq!(old.len(), LINES as usize);
}
