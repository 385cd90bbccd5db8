// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interactive CLI: prompt, history, `?`, and the modes of an ASA (`configure terminal`, sub-modes, `exit`, `end`).
//!
//! What a mode is and where a line leads is the daemon's to say: it returns the mode lines that the next line stands under, and
//! this hands them back. Each command is a connection of its own, so a restarted control is met at the next one.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use super::client::{self, Answer};
use super::commands::takes_paste;
use super::protocol::{OK, Request};

/// Runs until `exit` or end of input. Gives the last command's exit code.
pub fn run(socket: &Path) -> io::Result<u8> {
    let config = Config::builder().completion_type(CompletionType::List).build();
    let mut editor: Lines = Editor::with_config(config).map_err(io::Error::other)?;
    editor.set_helper(Some(Tab { socket: socket.to_owned(), context: Vec::new() }));
    let history = std::env::home_dir().map(|home| home.join(".fedgate_history"));
    if let Some(path) = &history {
        // No history yet is no error.
        let _ = editor.load_history(path);
    }
    let mut shell = Shell::default();
    // A blank line, to learn the hostname and whether anybody is there.
    let mut code = shell.send(socket, "", String::new())?;
    loop {
        if let Some(tab) = editor.helper_mut() {
            tab.context.clone_from(&shell.answer.context);
        }
        match editor.readline(&shell.prompt()) {
            Ok(line) => {
                let line = line.trim();
                // A line that may hold a passphrase is not kept.
                if !line.is_empty() && !line.split_whitespace().any(|word| word == "pkcs12") {
                    // Only fails for a history that is turned off.
                    let _ = editor.add_history_entry(line);
                }
                match shell.step(line) {
                    Step::Leave => break,
                    Step::Nothing => {}
                    Step::Send => {
                        let input = if takes_paste(line) { pasted(&mut editor)? } else { String::new() };
                        code = shell.send(socket, line, input)?;
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

type Lines = Editor<Tab, DefaultHistory>;

/// The Tab key: asks the daemon what may follow.
struct Tab {
    socket: PathBuf,
    context: Vec<String>,
}

impl Completer for Tab {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = &line[..at];
        let start = typed.rfind(char::is_whitespace).map_or(0, |blank| blank + 1);
        let request = Request {
            line: format!("{typed}\t"),
            user: client::user(),
            context: self.context.clone(),
            ..Request::default()
        };
        let (mut out, mut err) = (Vec::new(), io::sink());
        // A daemon that is not there offers nothing.
        let _ = client::ask(&self.socket, &request, &mut out, &mut err);
        let words = String::from_utf8_lossy(&out).lines().map(|word| format!("{word} ")).collect();
        Ok((start, words))
    }
}

impl Hinter for Tab {
    type Hint = String;
}
impl Highlighter for Tab {}
impl Validator for Tab {}
impl Helper for Tab {}

/// What to do with a line.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Send,
    Nothing,
    Leave,
}

#[derive(Default)]
struct Shell {
    configuring: bool,
    answer: Answer,
}

impl Shell {
    fn prompt(&self) -> String {
        let hostname = if self.answer.hostname.is_empty() { "fedgate" } else { &self.answer.hostname };
        if !self.configuring {
            return format!("{hostname}# ");
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
        match line {
            "" => return Step::Nothing,
            _ if is_short_for(line, "configure terminal") => self.configuring = true,
            "end" => self.end(),
            "exit" | "quit" if self.answer.context.pop().is_some() => {
                // The daemon's next answer names the mode; until then the prompt shows the outer one it knows.
                self.answer.mode.clear();
            }
            "exit" | "quit" if self.configuring => self.end(),
            "exit" | "quit" | "logout" => return Step::Leave,
            _ => return Step::Send,
        }
        Step::Nothing
    }

    fn send(&mut self, socket: &Path, line: &str, input: String) -> io::Result<u8> {
        let context = self.answer.context.clone();
        let request = Request { line: line.to_owned(), user: client::user(), json: false, context, input };
        let answer = client::ask(socket, &request, &mut io::stdout(), &mut io::stderr())?;
        io::stdout().flush()?;
        let code = answer.code;
        // A daemon that went keeps us where we are.
        if !answer.hostname.is_empty() {
            self.configuring |= code == OK && !answer.context.is_empty();
            self.answer = answer;
        }
        Ok(code)
    }
}

/// Whether each word begins the one of `whole`, the first by enough to be no other command.
fn is_short_for(line: &str, whole: &str) -> bool {
    let (typed, known) = (line.split_whitespace(), whole.split(' '));
    line.len() >= 4
        && typed.clone().count() == known.clone().count()
        && known.zip(typed).all(|(known, word)| known.starts_with(word))
        && line.starts_with("conf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_and_prompts() {
        let mut shell = Shell::default();
        shell.answer.hostname = "fw".into();
        assert_eq!(shell.prompt(), "fw# ");
        assert_eq!(shell.step("show conn"), Step::Send);
        assert_eq!(shell.step("configure terminal"), Step::Nothing);
        assert_eq!(shell.prompt(), "fw(config)# ");
        shell.answer.context = vec!["policy-map p".into(), "class c".into()];
        shell.answer.mode = "config-pmap-c".into();
        assert_eq!(shell.prompt(), "fw(config-pmap-c)# ");
        assert_eq!(shell.step("exit"), Step::Nothing);
        assert_eq!(shell.answer.context, ["policy-map p"]);
        assert_eq!(shell.step("end"), Step::Nothing);
        assert_eq!((shell.prompt().as_str(), shell.answer.context.len()), ("fw# ", 0));
        shell.step("configure terminal");
        assert_eq!(shell.step("exit"), Step::Nothing);
        assert_eq!(shell.step("exit"), Step::Leave);
    }
}
