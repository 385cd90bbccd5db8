// SPDX-License-Identifier: MIT OR Apache-2.0
//! `fedgate top`: what the appliance is doing, live on a terminal.
//!
//! Each second the CLI asks the daemon for a [`sample::Sample`] of all counters (`show top`), and [`view`] draws the differences of two. The daemon reads
//! shared memory for it and asks no worker. Keys: `q` ends, `?` lists them, `s` sorts, `p` holds the picture. `--once` prints one picture, for scripts and for where
//! there is no terminal. A daemon that goes away is waited for, with the last picture kept.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::client;
use super::protocol::{FAILED, OK, Request, UNREACHABLE};
use sample::Sample;
use view::{Picture, Sort};

pub mod sample;
#[cfg(test)]
mod tests;
pub mod view;

/// Between two pictures.
const PERIOD: Duration = Duration::from_secs(1);
/// Size of a picture that no terminal asked for.
const ONCE: (u16, u16) = (100, 60);

/// `fedgate top [--once]`. Gives the exit code.
///
/// # Errors
/// The terminal's.
pub fn run(socket: &Path, once: bool) -> io::Result<u8> {
    if once {
        return print_once(socket);
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        eprintln!("fedgate top needs a terminal; `fedgate top --once` prints one picture");
        return Ok(FAILED);
    }
    let mut picture = Picture::default();
    // The first answer decides whether there is anything to draw.
    match ask(socket) {
        Ok(sample) => picture.take(sample),
        Err((code, why)) => {
            eprintln!("{why}");
            return Ok(code);
        }
    }
    let mut terminal = ratatui::try_init()?;
    let ended = live(&mut terminal, socket, &mut picture);
    ratatui::try_restore()?;
    ended.map(|()| OK)
}

fn live(terminal: &mut ratatui::DefaultTerminal, socket: &Path, picture: &mut Picture) -> io::Result<()> {
    let mut next = Instant::now() + PERIOD;
    loop {
        // A terminal of another size is drawn anew by ratatui.
        terminal.draw(|frame| picture.draw(frame.area(), frame.buffer_mut()))?;
        let left = next.saturating_duration_since(Instant::now());
        if event::poll(left)? {
            if let Event::Key(key) = event::read()?
                && key.kind == KeyEventKind::Press
                && !pressed(picture, key.code, key.modifiers)
            {
                return Ok(());
            }
            continue;
        }
        next = Instant::now() + PERIOD;
        match ask(socket) {
            _ if picture.held => {}
            Ok(sample) => picture.take(sample),
            Err((_, why)) => picture.trouble = Some(why),
        }
    }
}

/// Does what a key asks for; false where that is to end.
fn pressed(picture: &mut Picture, key: KeyCode, modifiers: KeyModifiers) -> bool {
    match key {
        KeyCode::Char('c' | 'd') if modifiers.contains(KeyModifiers::CONTROL) => return false,
        KeyCode::Char('q') => return false,
        KeyCode::Esc if !picture.help => return false,
        KeyCode::Char('?' | 'h') => picture.help = !picture.help,
        KeyCode::Char('s') => {
            picture.sort = match picture.sort {
                Sort::Rate => Sort::Total,
                Sort::Total => Sort::Name,
                Sort::Name => Sort::Rate,
            };
        }
        KeyCode::Char('p') => picture.held = !picture.held,
        _ => picture.help = false,
    }
    true
}

/// Two samples a second apart, so that there are rates, as text.
fn print_once(socket: &Path) -> io::Result<u8> {
    let mut picture = Picture::default();
    for wait in [Duration::ZERO, PERIOD] {
        std::thread::sleep(wait);
        match ask(socket) {
            Ok(sample) => picture.take(sample),
            Err((code, why)) => {
                eprintln!("{why}");
                return Ok(code);
            }
        }
    }
    let mut out = io::stdout().lock();
    out.write_all(picture.text(ONCE).as_bytes())?;
    Ok(OK)
}

/// A sample, or an exit code and why there is none.
fn ask(socket: &Path) -> Result<Sample, (u8, String)> {
    let request = Request { line: "show top".into(), user: client::user(), json: true, ..Request::default() };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let answer = client::ask(socket, &request, &mut out, &mut err)
        .map_err(|why| (UNREACHABLE, format!("fedgate-control: {why}")))?;
    if answer.code != OK {
        return Err((answer.code, String::from_utf8_lossy(&err).trim().to_owned()));
    }
    serde_json::from_slice(&out)
        .map_err(|why| (FAILED, format!("fedgate-control is of another release: {why}")))
}
