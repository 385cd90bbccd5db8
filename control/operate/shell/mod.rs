// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interactive CLI: prompt, history, keys, pages, and the modes of an ASA (`configure terminal`, sub-modes, `do`, `exit`, `end`).
//!
//! What a mode is and where a line leads is the daemon's to say: it returns the mode lines that the next line stands under, and
//! this hands them back. Each command is a connection of its own, so a restarted control is met at the next one. Ctrl-C ends a command that
//! is being answered, and the shell goes on. History is kept in ~/.fedgate_history, [`HISTORY`] lines of it, without lines that hold secrets.

pub mod keys;
pub mod pager;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{CompletionType, Config, Editor, EventHandler, KeyEvent};

use super::abbreviate::expand;
use super::client::{self, Answer};
use super::commands::takes_paste;
use super::protocol::{FAILED, OK, Request, USAGE};
use super::style::Painted;
use crate::config::model::users::ADMIN;
use crate::config::raw::Mode;
use crate::config::source::{masked, quoted};
use keys::{Asked, Asker};
use pager::{Page, Pager};

/// Lines of history that are kept.
const HISTORY: usize = 1000;

/// Runs until `exit` or end of input. Gives the last command's exit code.
pub fn run(socket: &Path) -> io::Result<u8> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .max_history_size(HISTORY)
        .and_then(|config| config.history_ignore_dups(true))
        .map_err(io::Error::other)?
        .build();
    let mut editor: Lines = Editor::with_config(config).map_err(io::Error::other)?;
    editor.set_helper(Some(Asker { socket: socket.to_owned(), template: Request::default() }));
    let asked = Asked::default();
    editor.bind_sequence(KeyEvent::from('?'), EventHandler::Conditional(Box::new(asked.clone())));
    let history = std::env::home_dir().map(|home| home.join(".fedgate_history"));
    if let Some(path) = &history {
        // No history yet is no error.
        let _ = editor.load_history(path);
    }
    let mut shell = Shell::default();
    signal_hook::flag::register(signal_hook::consts::SIGINT, shell.interrupted.clone())?;
    // A blank line, to learn the hostname and whether anybody is there.
    let mut code = shell.send(socket, "", String::new())?;
    let mut begun = (String::new(), String::new());
    loop {
        if let Some(asker) = editor.helper_mut() {
            asker.template = shell.request("");
        }
        let (before, behind) = std::mem::take(&mut begun);
        let read = editor.readline_with_initial(&shell.prompt(), (&before, &behind));
        if let Some(line) = asked.take() {
            let help = editor.helper().map(|asker| asker.ask(&line.0, '?')).unwrap_or_default();
            // Of pages too: the list may be longer than the screen.
            let _ = Pager::new(shell.page).write_all(help.as_bytes());
            begun = line;
            continue;
        }
        match read {
            Ok(line) => {
                let line = line.trim();
                if !line.is_empty() && !is_secret(line) {
                    // Only fails for a history that is turned off.
                    let _ = editor.add_history_entry(line);
                }
                match shell.step(line) {
                    Step::Leave => break,
                    Step::Enable => code = shell.enable(socket)?,
                    Step::Login(user) => {
                        let user = match user {
                            Some(user) => user,
                            None => editor.readline("Username: ").unwrap_or_default(),
                        };
                        let password = keys::secret("Password: ")?;
                        code = shell.send(socket, &format!("login {}", quoted(user.trim())), password)?;
                    }
                    Step::Nothing => {}
                    Step::Wrong(why) => {
                        writeln!(Painted::new(), "{why}")?;
                        code = USAGE;
                    }
                    Step::Send(line) => {
                        let input = if takes_paste(&line) { pasted(&mut editor)? } else { String::new() };
                        code = shell.send(socket, &line, input)?;
                    }
                }
            }
            Err(ReadlineError::Interrupted) => shell.end(),
            Err(ReadlineError::Eof) => break,
            Err(why) => return Err(io::Error::other(why)),
        }
    }
    if let Some(path) = &history {
        // A home that cannot be written to is not worth a word at the end of a session.
        let _ = editor.save_history(path);
    }
    Ok(code)
}

/// Whether a line may hold a password or a passphrase.
fn is_secret(line: &str) -> bool {
    let line = line.strip_prefix("do ").unwrap_or(line);
    // What is ambiguous is not done, and yet may hold one.
    let whole = expand(line, Mode::Global).unwrap_or_else(|_| line.to_owned());
    masked(&whole) != whole
}

/// What is pasted, up to a line `quit`.
fn pasted(editor: &mut Lines) -> io::Result<String> {
    println!("Enter the base 64 encoded certificate.\nEnd with the word \"quit\" on a line by itself");
    let mut text = String::new();
    loop {
        match editor.readline("") {
            Ok(line) if line.trim() == "quit" => return Ok(text),
            Ok(line) => {
                text.push_str(&line);
                text.push('\n');
            }
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(text),
            Err(why) => return Err(io::Error::other(why)),
        }
    }
}

type Lines = Editor<Asker, DefaultHistory>;

/// What to do with a line.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Send(String),
    Wrong(String),
    Enable,
    Login(Option<String>),
    Nothing,
    Leave,
}

#[derive(Default)]
struct Shell {
    configuring: bool,
    answer: Answer,
    page: Page,
    /// From `login` or `enable`.
    ticket: String,
    /// After `disable`: what is asked for at most.
    most: Option<u8>,
    /// Ctrl-C was pressed while no line was typed.
    interrupted: Arc<AtomicBool>,
}

impl Shell {
    fn prompt(&self) -> String {
        let hostname = if self.answer.hostname.is_empty() { "fedgate" } else { &self.answer.hostname };
        if !self.configuring {
            // As on an ASA: privileged or not.
            let privileged = self.answer.hostname.is_empty() || self.answer.privilege > 1;
            return format!("{hostname}{} ", if privileged { '#' } else { '>' });
        }
        let mode = if self.answer.mode.is_empty() { "config" } else { &self.answer.mode };
        format!("{hostname}({mode})# ")
    }

    /// Leaves all modes.
    fn end(&mut self) {
        self.configuring = false;
        self.answer.context.clear();
        self.answer.mode.clear();
    }

    fn step(&mut self, line: &str) -> Step {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [] => return Step::Nothing,
            [first, second] if is_short(first, "configure", 4) && is_short(second, "terminal", 1) => {
                self.configuring = true;
            }
            ["end"] => self.end(),
            ["enable" | "en"] => return Step::Enable,
            ["login"] => return Step::Login(None),
            ["login", user] => return Step::Login(Some(user.to_owned())),
            [first, ref rest @ ..] if !self.configuring && is_short(first, "disable", 3) => {
                let Some(level) = rest.first().map_or(Some(1), |level| level.parse().ok()) else {
                    return Step::Wrong("usage: disable [LEVEL]".to_owned());
                };
                self.most = Some(level);
                return Step::Send(String::new());
            }
            ["do", ..] if words.len() > 1 => return Step::Send(line[2..].trim_start().to_owned()),
            [first, "no", second] if is_short(first, "terminal", 4) && is_short(second, "pager", 1) => {
                self.page = Page::Off;
            }
            [first, second, ref rest @ ..]
                if is_short(first, "terminal", 4) && is_short(second, "pager", 1) =>
            {
                let lines = rest.strip_prefix(&["lines"]).unwrap_or(rest);
                self.page = match lines.first().map(|lines| lines.parse()) {
                    Some(Ok(0)) => Page::Off,
                    Some(Ok(lines)) => Page::Lines(lines),
                    _ => return Step::Wrong("usage: terminal pager LINES, 0 to 65535".to_owned()),
                };
            }
            ["exit" | "quit" | "ex"] if self.answer.context.pop().is_some() => {
                // The daemon's next answer names the mode; until then the prompt shows the outer one it knows.
                self.answer.mode.clear();
            }
            ["exit" | "quit" | "ex"] if self.configuring => self.end(),
            ["exit" | "quit" | "ex" | "logout"] => return Step::Leave,
            _ => return Step::Send(line.to_owned()),
        }
        Step::Nothing
    }

    fn request(&self, line: &str) -> Request {
        let context = self.answer.context.clone();
        let (ticket, privilege) = (self.ticket.clone(), self.most);
        Request {
            line: line.to_owned(),
            user: client::user(),
            context,
            ticket,
            privilege,
            ..Request::default()
        }
    }

    /// `enable`: what there is without a password, else by that.
    fn enable(&mut self, socket: &Path) -> io::Result<u8> {
        self.most = None;
        let code = self.send(socket, "", String::new())?;
        if code != OK || self.answer.privilege >= ADMIN {
            return Ok(code);
        }
        let password = keys::secret("Password: ")?;
        if self.interrupted.swap(false, Ordering::Relaxed) {
            return Ok(FAILED);
        }
        self.send(socket, "enable", password)
    }

    fn send(&mut self, socket: &Path, line: &str, input: String) -> io::Result<u8> {
        let request = Request { input, ..self.request(line) };
        self.interrupted.store(false, Ordering::Relaxed);
        let interrupted = || self.interrupted.load(Ordering::Relaxed);
        let mut out = Pager::new(self.page);
        let answer = client::ask_until(socket, &request, &mut out, &mut Painted::new(), interrupted);
        let answer = match answer {
            // `q` at a page's end: the rest is not wanted.
            Err(why) if why.kind() == io::ErrorKind::BrokenPipe && out.ended => return Ok(OK),
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {
                writeln!(Painted::new(), "\n% Interrupted")?;
                return Ok(FAILED);
            }
            answer => answer?,
        };
        let code = answer.code;
        if code == FAILED && answer.privilege == 0 && !self.ticket.is_empty() {
            // A login that has ended: from now on as whom the kernel says.
            self.ticket.clear();
        }
        // A daemon that went keeps us where we are.
        if !answer.hostname.is_empty() {
            self.configuring |= code == OK && !answer.context.is_empty();
            if !answer.ticket.is_empty() {
                (self.ticket, self.most) = (answer.ticket.clone(), None);
            }
            self.answer = answer;
        }
        Ok(code)
    }
}

/// Whether `word` is `whole`, cut to no less than so many letters.
fn is_short(word: &str, whole: &str, least: usize) -> bool {
    word.len() >= least && whole.starts_with(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_and_prompts() {
        let mut shell = Shell::default();
        shell.answer.hostname = "fw".into();
        assert_eq!(shell.prompt(), "fw> ");
        assert_eq!(shell.step("dis"), Step::Send(String::new()));
        assert_eq!((shell.most, shell.step("en")), (Some(1), Step::Enable));
        shell.answer.privilege = ADMIN;
        assert_eq!(shell.prompt(), "fw# ");
        assert_eq!(shell.step("show conn"), Step::Send("show conn".into()));
        assert_eq!(shell.step("configure terminal"), Step::Nothing);
        assert_eq!(shell.prompt(), "fw(config)# ");
        shell.answer.context = vec!["policy-map p".into(), "class c".into()];
        shell.answer.mode = "config-pmap-c".into();
        assert_eq!(shell.prompt(), "fw(config-pmap-c)# ");
        assert_eq!(shell.step("exit"), Step::Nothing);
        assert_eq!(shell.answer.context, ["policy-map p"]);
        assert_eq!(shell.step("end"), Step::Nothing);
        assert_eq!((shell.prompt().as_str(), shell.answer.context.len()), ("fw# ", 0));
        shell.step("conf t");
        assert_eq!(shell.step("do show conn"), Step::Send("show conn".into()));
        assert_eq!(shell.step("exit"), Step::Nothing);
        assert_eq!(shell.step("exit"), Step::Leave);
    }

    #[test]
    fn pages() {
        let mut shell = Shell::default();
        for (line, page) in [
            ("terminal pager 24", Page::Lines(24)),
            ("term pager lines 5", Page::Lines(5)),
            ("terminal pager 0", Page::Off),
            ("term pag 7", Page::Lines(7)),
            ("terminal no pager", Page::Off),
        ] {
            assert_eq!((shell.step(line), shell.page), (Step::Nothing, page), "{line}");
        }
        assert!(matches!(shell.step("terminal pager x"), Step::Wrong(_)));
        assert!(
            is_secret("username u password p")
                && is_secret("crypto ca import t pkcs12 x")
                && is_secret("enab pass x")
                && is_secret("do cr ca imp t pkcs12 x")
                && !is_secret("show conn")
        );
    }
}
