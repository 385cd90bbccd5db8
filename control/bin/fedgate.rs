// SPDX-License-Identifier: MIT OR Apache-2.0
//! `fedgate`: the CLI. With a command it runs that one and exits with its code (0 done, 1 failed, 2 not understood, 3 no daemon);
//! without, it is a shell. `top` is a live view. `check FILE` needs no daemon.
#![forbid(unsafe_code)]

use std::io::{self, BufWriter, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use fedgate_control::config::source::quoted;
use fedgate_control::operate::commands::takes_paste;
use fedgate_control::operate::protocol::{DEFAULT_SOCKET, FAILED, Request, USAGE};
use fedgate_control::operate::{client, shell, top};

/// Configures and watches a fedgate appliance.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    /// The control daemon's socket.
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    /// One JSON object a line from `show` commands.
    #[arg(long)]
    json: bool,
    /// A command, e.g. `show conn`; `help` lists them. None: an interactive shell.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

fn main() -> ExitCode {
    let mut cli = Cli::parse();
    // `fedgate show conn --json` is how it is typed.
    let words = cli.command.len();
    cli.command.retain(|word| word != "--json");
    cli.json |= cli.command.len() < words;
    match run(&cli) {
        Ok(code) => ExitCode::from(code),
        // `fedgate show conn | head` is no failure.
        Err(why) if why.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(FAILED)
        }
    }
}

fn run(cli: &Cli) -> io::Result<u8> {
    let words: Vec<&str> = cli.command.iter().map(String::as_str).collect();
    let mut out = BufWriter::new(io::stdout().lock());
    let mut err = io::stderr();
    let line = match words[..] {
        [] => {
            drop(out);
            return shell::run(&cli.socket);
        }
        ["check", file] => return client::check(Path::new(file), err.is_terminal(), &mut out, &mut err),
        ["top"] => {
            drop(out);
            return top::run(&cli.socket, false);
        }
        ["top", "--once"] => {
            drop(out);
            return top::run(&cli.socket, true);
        }
        ["top", ..] => {
            eprintln!("usage: top [--once]");
            return Ok(USAGE);
        }
        ["check", ..] => {
            eprintln!("usage: check FILE");
            return Ok(USAGE);
        }
        // The daemon has another working directory.
        ["configure", "replace", file, ref rest @ ..] => {
            let path = std::path::absolute(file)?;
            format!("configure replace {} {}", quoted(&path.to_string_lossy()), rest.join(" "))
        }
        ["import", "domains", list, file] => {
            let path = std::path::absolute(file)?;
            format!("import domains {list} {}", quoted(&path.to_string_lossy()))
        }
        // One word with blanks is a line that the caller's shell left whole.
        [line] => line.to_owned(),
        _ => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    };
    let input = if takes_paste(&line) { pasted()? } else { String::new() };
    let request = Request { line, user: client::user(), json: cli.json, context: Vec::new(), input };
    Ok(client::ask(&cli.socket, &request, &mut out, &mut err)?.code)
}

/// What stands on standard input, up to a line `quit` or its end.
fn pasted() -> io::Result<String> {
    let mut text = String::new();
    for line in io::stdin().lines() {
        let line = line?;
        if line.trim() == "quit" {
            break;
        }
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}
