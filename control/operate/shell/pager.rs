// SPDX-License-Identifier: MIT OR Apache-2.0
//! `<--- More --->`: output of the shell stops when the screen is full, as on an ASA.
//!
//! Space shows the next page, Enter the next line, `q` or Ctrl-C ends the command. A line that is wider than the screen
//! counts as the rows that it takes. Only on a terminal. What comes meanwhile waits in the CLI ([`crate::operate::client`]), so the daemon waits for nobody's
//! pager.

use std::io::{self, IsTerminal, Read, Write};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

const MORE: &str = "<--- More --->";
/// Ctrl-C.
const END_OF_TEXT: u8 = 3;

/// How long a page is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Page {
    /// As long as the terminal is high.
    #[default]
    Terminal,
    /// So many lines; `terminal pager N`.
    Lines(u16),
    /// Endless; `terminal pager 0`.
    Off,
}

/// Standard output, a page at a time.
pub struct Pager<W> {
    out: W,
    /// Rows of a page and columns of a row; `None` where nothing is held up.
    screen: Option<(u32, u32)>,
    /// Rows that are full since the last stop, and what the line that is being written has of columns.
    rows: u32,
    column: u32,
    /// Asks for a key: the byte that it sent.
    key: fn() -> io::Result<u8>,
    /// It was ended by `q`.
    pub ended: bool,
}

impl Pager<io::Stdout> {
    /// For one command.
    pub fn new(page: Page) -> Self {
        let size = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_row > 2 && size.ws_col > 0);
        let on = page != Page::Off && io::stdin().is_terminal() && io::stdout().is_terminal();
        let screen = size.filter(|_| on).map(|size| {
            let rows = match page {
                Page::Lines(lines) => lines,
                Page::Terminal | Page::Off => size.ws_row - 1,
            };
            (u32::from(rows), u32::from(size.ws_col))
        });
        Self { out: io::stdout(), screen, rows: 0, column: 0, key: pressed, ended: false }
    }
}

impl<W: Write> Pager<W> {
    /// Stops until a key says how to go on.
    fn more(&mut self, rows: u32) -> io::Result<()> {
        self.out.write_all(MORE.as_bytes())?;
        self.out.flush()?;
        let pressed = loop {
            let key = (self.key)()?;
            if [b' ', b'\r', b'\n', b'q', b'Q', END_OF_TEXT].contains(&key) {
                break key;
            }
        };
        write!(self.out, "\r{:width$}\r", "", width = MORE.len())?;
        match pressed {
            b' ' => self.rows = 0,
            b'\r' | b'\n' => self.rows = rows.saturating_sub(1),
            _ => {
                self.ended = true;
                // Ends the command like a reader that has gone.
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        Ok(())
    }
}

impl<W: Write> Write for Pager<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some((rows, columns)) = self.screen else { return self.out.write(bytes) };
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            // Not before there is more to show.
            if self.rows >= rows {
                self.more(rows)?;
            }
            self.out.write_all(line)?;
            // Bytes that continue a character of UTF-8 take no column.
            let width = line.iter().filter(|byte| **byte >= b' ' && **byte & 0xC0 != 0x80).count();
            self.column += u32::try_from(width).unwrap_or(u32::MAX);
            if line.ends_with(b"\n") {
                self.rows += self.column.div_ceil(columns).max(1);
                self.column = 0;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The next key, without waiting for Enter and without showing it.
fn pressed() -> io::Result<u8> {
    let stdin = io::stdin();
    let before = tcgetattr(&stdin)?;
    let mut raw: Termios = before.clone();
    raw.make_raw();
    // Carriage returns and line feeds of what is written stay as they are.
    raw.output_modes = before.output_modes;
    tcsetattr(&stdin, OptionalActions::Now, &raw)?;
    let mut byte = [0];
    let read = stdin.lock().read_exact(&mut byte);
    tcsetattr(&stdin, OptionalActions::Now, &before)?;
    read.map(|()| byte[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(screen: Option<(u32, u32)>, key: fn() -> io::Result<u8>, text: &str) -> (String, bool) {
        let mut pager = Pager { out: Vec::new(), screen, rows: 0, column: 0, key, ended: false };
        let _ = pager.write_all(text.as_bytes());
        (String::from_utf8(pager.out).unwrap(), pager.ended)
    }

    #[test]
    fn a_full_screen_stops() {
        let clear = format!("\r{}\r", " ".repeat(MORE.len()));
        let stop = format!("{MORE}{clear}");
        assert_eq!(shown(None, || Ok(b'q'), "1\n2\n3\n"), ("1\n2\n3\n".into(), false));
        assert_eq!(
            shown(Some((2, 80)), || Ok(b' '), "1\n2\n3\n4\n5\n").0,
            format!("1\n2\n{stop}3\n4\n{stop}5\n")
        );
        assert_eq!(shown(Some((2, 80)), || Ok(b'\r'), "1\n2\n3\n4\n").0, format!("1\n2\n{stop}3\n{stop}4\n"));
        assert_eq!(shown(Some((2, 80)), || Ok(b'q'), "1\n2\n3\n"), (format!("1\n2\n{stop}"), true));
        assert_eq!(shown(Some((2, 80)), || Ok(b'q'), "1\n2\n"), ("1\n2\n".into(), false), "it fits");
        assert_eq!(
            shown(Some((3, 2)), || Ok(b'q'), "1234\n5\n6\n").0,
            format!("1234\n5\n{stop}"),
            "wide lines"
        );
    }
}
