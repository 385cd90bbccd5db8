// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interactive CLI: prompt, history, `?`, and the modes of an ASA (`configure terminal`, sub-modes, `exit`, `end`).
//!
//! What a mode is and where a line leads is the daemon's to say: it returns the mode lines that the next line stands under, and
//! this hands them back. Each command is a connection of its own, so a restarted control is met at the next one.

use std::io::{self, Write};
use std::path::Path;

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::client::{self, Answer};
use super::commands::takes_paste;
use super::protocol::{OK, Request};

/// Runs until `exit` or end of input. Gives the last command's exit code.
pub fn run(socket: &Path) -> io::Result<u8> {
    let mut editor = DefaultEditor::new().map_err(io::Error::other)?;
    let history = std::env::home_dir().map(|home| home.join(".fedgate_history"));
    if let Some(path) = &history {
        // No history yet is no error.
        let _ = editor.load_history(path);
    }
    let mut shell = Shell::default();
    // A blank line, to learn the hostname and whether anybody is there.
    let mut code = shell.send(socket, "", String::new())?;
    loop {
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
fn pasted(editor: &mut DefaultEditor) -> io::Result<String> {
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
            "configure terminal" | "conf t" => self.configuring = true,
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
