// SPDX-License-Identifier: MIT OR Apache-2.0
//! The keys of the shell that ask the daemon: `?`, which lists at once what may come next and leaves the line as it is, and Tab.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Cmd, ConditionalEventHandler, Context, Event, EventContext, Helper, RepeatCount};

use crate::operate::client;
use crate::operate::protocol::Request;

/// Asks the daemon about the line that is being typed.
pub struct Asker {
    /// Its socket.
    pub socket: PathBuf,
    /// The mode that the line is typed in, and who types.
    pub template: Request,
}

impl Asker {
    /// The answer to `line` with `key` behind it; empty where nobody is there.
    pub fn ask(&self, line: &str, key: char) -> String {
        let request = Request { line: format!("{line}{key}"), ..self.template.clone() };
        let (mut out, mut err) = (Vec::new(), io::sink());
        let _ = client::ask(&self.socket, &request, &mut out, &mut err);
        String::from_utf8_lossy(&out).into_owned()
    }
}

impl Completer for Asker {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = &line[..at];
        let start = typed.rfind(char::is_whitespace).map_or(0, |blank| blank + 1);
        let words = self.ask(typed, '\t').lines().map(|word| format!("{word} ")).collect();
        Ok((start, words))
    }
}

impl Hinter for Asker {
    type Hint = String;
}
impl Highlighter for Asker {}
impl Validator for Asker {}
impl Helper for Asker {}

/// A line that is not shown as it is typed.
pub fn secret(prompt: &str) -> io::Result<String> {
    let stdin = io::stdin();
    let mut line = String::new();
    if !stdin.is_terminal() {
        stdin.read_line(&mut line)?;
        return Ok(line.trim_end().to_owned());
    }
    print!("{prompt}");
    io::stdout().flush()?;
    let before = tcgetattr(&stdin)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Now, &silent)?;
    let read = stdin.read_line(&mut line);
    tcsetattr(&stdin, OptionalActions::Now, &before)?;
    println!();
    read.map(|_| line.trim_end().to_owned())
}

/// Where `?` was pressed: what stood before the cursor, and behind it.
#[derive(Clone, Default)]
pub struct Asked(Arc<Mutex<Option<(String, String)>>>);

impl Asked {
    /// What was asked since the last time.
    pub fn take(&self) -> Option<(String, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ConditionalEventHandler for Asked {
    /// Ends the line, so that the list can be written under it; the shell then begins it anew.
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext<'_>) -> Option<Cmd> {
        let (before, behind) = context.line().split_at(context.pos());
        // Within quotes it is what it is: of a regular expression.
        if !before.matches('"').count().is_multiple_of(2) {
            return None;
        }
        let asked = Some((before.to_owned(), behind.to_owned()));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = asked;
        Some(Cmd::AcceptLine)
    }
}
