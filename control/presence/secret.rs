// SPDX-License-Identifier: MIT OR Apache-2.0
//! A password for the command line: from the terminal without being shown, or the first line of what is piped in; never an argument, which all
//! processes of the machine can read.
//!
//! At a terminal it is asked for twice. As getpass(3) does, the terminal makes no signals meanwhile, so that Ctrl-C cannot leave it without an echo:
//! it becomes a character of the password, with which that is refused by the node.

use std::io::{self, BufRead, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

/// Octets of a line that are read.
const MAX_LINE: u64 = 4_096;

/// The password.
pub fn read() -> io::Result<String> {
    let stdin = io::stdin().lock();
    if !stdin.is_terminal() {
        return line(stdin);
    }
    let before = tcgetattr(&stdin)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
    tcsetattr(&stdin, OptionalActions::Flush, &silent)?;
    let mut terminal = stdin;
    let typed =
        asked("password: ", &mut terminal).and_then(|first| Ok((first, asked("again: ", &mut terminal)?)));
    tcsetattr(&terminal, OptionalActions::Flush, &before)?;
    let (first, second) = typed?;
    if first == second { Ok(first) } else { Err(io::Error::other("the two passwords differ")) }
}

fn asked(prompt: &str, terminal: &mut impl BufRead) -> io::Result<String> {
    let mut shown = io::stderr();
    write!(shown, "{prompt}")?;
    shown.flush()?;
    let typed = line(terminal);
    writeln!(shown)?;
    typed
}

fn line(from: impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    from.take(MAX_LINE).read_line(&mut text)?;
    if !text.ends_with('\n') && u64::try_from(text.len()) == Ok(MAX_LINE) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the password is too long"));
    }
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "no password on standard input"));
    }
    Ok(password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_password() {
        for (piped, password) in [("s e\n", "s e"), ("s", "s"), ("s\r\nmore\n", "s"), (" s \n", " s ")] {
            assert_eq!(line(piped.as_bytes()).ok().as_deref(), Some(password), "{piped:?}");
        }
        let long = "s".repeat(5_000);
        for bad in [&b""[..], b"\n", b"\xff\n", long.as_bytes()] {
            assert!(line(bad).is_err(), "{bad:?}");
        }
    }
}
