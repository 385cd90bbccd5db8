// SPDX-License-Identifier: MIT OR Apache-2.0
//! Colours of what the CLI says on a terminal: errors red, warnings yellow, what to do about them green. Nowhere else, and not where
//! NO_COLOR is set (no-color.org) or the terminal says that it has none.

use std::io::{self, IsTerminal, Write};

/// Whether what goes to `stream` may be coloured.
pub fn coloured(stream: &impl IsTerminal) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Standard error, with colours where they may be.
pub struct Painted {
    on: bool,
}

impl Painted {
    /// Standard error.
    pub fn new() -> Self {
        Self { on: coloured(&io::stderr()) }
    }
}

impl Default for Painted {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for Painted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(bytes) {
            Ok(text) if self.on => io::stderr().write_all(painted(text).as_bytes())?,
            _ => io::stderr().write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// `text` with its errors, warnings and remedies in colours.
fn painted(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| {
            let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
            let colour = match line.trim_start() {
                rest if rest.starts_with("error") || rest.starts_with("ERROR") || rest.starts_with('%') => {
                    "1;31"
                }
                rest if rest.starts_with("warning") || rest.starts_with("WARNING") => "1;33",
                rest if rest.starts_with("= help") || rest.starts_with("did you mean") => "32",
                rest if rest.starts_with("| ") && rest.contains("^") => "1;31",
                _ => return format!("{line}{end}"),
            };
            format!("\x1b[{colour}m{line}\x1b[0m{end}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_coloured() {
        assert_eq!(painted("plain\nerror: x\n"), "plain\n\x1b[1;31merror: x\x1b[0m\n");
        assert_eq!(painted("warning: y"), "\x1b[1;33mwarning: y\x1b[0m");
        assert_eq!(painted("  = help: z\n"), "\x1b[32m  = help: z\x1b[0m\n");
    }
}
