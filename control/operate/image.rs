// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show image`, `image install`, `image activate`, `reload`: the firmware of a flashed box (docs/firmware.md), which has two slots.
//!
//! RAUC does the work: it checks an update's signature and hashes, writes the slot that is not running, and tells the boot loader. It is a
//! service of the box's; here its command line is started, with arguments and never through a shell, and what it says is passed on. A machine
//! that was not flashed has no RAUC: `show image` says so, the others fail. One at a time is RAUC's own rule. Control's thread
//! waits for none of it; a client that goes away does not end an update.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use tokio::process::Command;

use super::commands::Run;
use super::run::Stop;
use super::server::Out;
use crate::config::args::Args;
use crate::config::diag::Problem;

/// What a command wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    /// Slots, and what is in them.
    Show,
    /// An update from a file, by its absolute path.
    Install(PathBuf),
    /// Which slot starts next: `a` or `b`.
    Activate(&'static str),
    /// Starts the box anew.
    Reload,
}

/// One of the two slots.
#[derive(Debug, PartialEq, Eq)]
struct Slot {
    name: String,
    good: bool,
    booted: bool,
    next: bool,
    /// Of the update that was written there; none where the box was flashed with it.
    version: Option<String>,
}

/// Reads an order.
///
/// # Errors
/// It is none.
pub fn parse(run: Run, args: &mut Args<'_, '_>) -> Result<Order, Problem> {
    Ok(match run {
        Run::ImageInstall => Order::Install(args.take("a file")?.text.into()),
        Run::ImageActivate => Order::Activate(["a", "b"][args.one_of(&["a", "b"])?]),
        Run::Reload => Order::Reload,
        _ => Order::Show,
    })
}

/// Does it.
///
/// # Errors
/// This is no flashed box, the file is not there, or what RAUC refuses.
pub async fn execute(order: Order, out: &mut Out) -> Result<(), Stop> {
    match order {
        Order::Show => show(out).await,
        Order::Install(path) => {
            if !path.is_absolute() {
                return Err(Stop::Usage("image install takes an absolute path".to_owned()));
            }
            if !Path::new(&path).is_file() {
                return Err(Stop::Failed(format!("{}: there is no such file", path.display())));
            }
            rauc(&["install", &path.to_string_lossy()]).await?;
            Ok(out.note("Installed in the other slot, which starts next: `reload`\n").await?)
        }
        Order::Activate(slot) => {
            let found = slots().await?.into_iter().find(|found| found.0.name == slot);
            let Some((_, name)) = found else { return Err(Stop::Failed(format!("there is no slot {slot}"))) };
            rauc(&["status", "mark-active", &name]).await?;
            Ok(out.note(&format!("Slot {slot} starts next: `reload`\n")).await?)
        }
        Order::Reload => {
            said(Command::new("systemctl").args(["--no-block", "reboot"]).output().await, "systemctl")?;
            Ok(out.note("The box starts anew\n").await?)
        }
    }
}

async fn show(out: &mut Out) -> Result<(), Stop> {
    // With its commit, where an image has it.
    let version = std::fs::read_to_string("/usr/share/fedgate/version").ok();
    let version = version.as_deref().and_then(|text| text.trim().strip_prefix("fedgate "));
    let version = version.unwrap_or(env!("CARGO_PKG_VERSION"));
    // Where there is none, that is an answer too.
    let slots = match Path::new("/etc/rauc/system.conf").exists() {
        true => slots().await?,
        false => Vec::new(),
    };
    let booted = slots.iter().find(|(slot, _)| slot.booted).map(|(slot, _)| slot.name.clone());
    let place = match &booted {
        Some(slot) => format!("slot {slot}"),
        None => "on a machine that was not flashed".to_owned(),
    };
    out.row(|| format!("fedgate {version}, {place}"), || json!({ "version": version, "slot": booted }))
        .await?;
    for (slot, _) in &slots {
        out.row(|| line(slot), || {
            json!({
                "slot": slot.name, "good": slot.good, "booted": slot.booted, "next": slot.next, "version": slot.version,
            })
        })
        .await?;
    }
    Ok(())
}

fn line(slot: &Slot) -> String {
    let state = if slot.good { "good" } else { "bad" };
    let marks = [(slot.booted, ", running"), (slot.next, ", starts next")];
    let marks: String = marks.iter().filter(|(holds, _)| *holds).map(|(_, text)| *text).collect();
    format!("slot {}: {state}{marks}, {}", slot.name, slot.version.as_deref().unwrap_or("as flashed"))
}

/// The slots that hold a system, each with RAUC's name for it.
async fn slots() -> Result<Vec<(Slot, String)>, Stop> {
    let text = rauc(&["status", "--detailed", "--output-format=json"]).await?;
    read(&text).ok_or_else(|| Stop::Failed("rauc tells of no slots".to_owned()))
}

/// What `rauc status` prints.
fn read(text: &str) -> Option<Vec<(Slot, String)>> {
    let status: Value = serde_json::from_str(text.trim()).ok()?;
    let primary = status["boot_primary"].as_str();
    let each = status["slots"].as_array()?.iter().filter_map(Value::as_object).flatten();
    let mut slots: Vec<_> = each
        .filter_map(|(name, slot)| {
            let bootname = slot["bootname"].as_str()?;
            let slot = Slot {
                name: bootname.to_owned(),
                good: slot["boot_status"] == "good",
                booted: slot["state"] == "booted",
                next: primary == Some(name),
                version: slot["slot_status"]["bundle"]["version"].as_str().map(str::to_owned),
            };
            Some((slot, name.clone()))
        })
        .collect();
    slots.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    Some(slots)
}

/// Runs RAUC, and gives what it printed.
async fn rauc(words: &[&str]) -> Result<String, Stop> {
    said(Command::new("rauc").args(words).output().await, "rauc")
}

/// What a program printed, if it is there and content; else what it complains of, its last lines.
fn said(ended: io::Result<Output>, program: &str) -> Result<String, Stop> {
    let output = ended.map_err(|why| match why.kind() {
        io::ErrorKind::NotFound => Stop::Failed(format!("this machine was not flashed: it has no {program}")),
        _ => Stop::Failed(format!("{program}: {why}")),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    Err(Stop::Failed(lines[lines.len().saturating_sub(3)..].join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_of_rauc() {
        let text = r#"{"compatible":"fedgate-x86_64","variant":"","booted":"b","boot_primary":"system.1","slots":[
            {"boot.1":{"class":"boot","bootname":null,"state":"active","parent":"system.1","boot_status":null}},
            {"system.1":{"class":"system","bootname":"b","state":"booted","parent":null,"boot_status":"good",
                "slot_status":{"bundle":{"compatible":"fedgate-x86_64","version":"0.2.0"}}}},
            {"system.0":{"class":"system","bootname":"a","state":"inactive","parent":null,"boot_status":"bad"}}]}"#;
        let slots = read(text).unwrap();
        let lines: Vec<String> = slots.iter().map(|(slot, _)| line(slot)).collect();
        assert_eq!(lines, ["slot a: bad, as flashed", "slot b: good, running, starts next, 0.2.0"]);
        assert_eq!(slots[0].1, "system.0");
        for text in ["", "{}", "[]", r#"{"slots":1}"#] {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
