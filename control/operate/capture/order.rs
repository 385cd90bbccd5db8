// SPDX-License-Identifier: MIT OR Apache-2.0
//! The grammar of `capture` and what goes with it.
//!
//! `match` is as on the ASA: a protocol, and two ends, between which packets are captured either way.

use std::net::IpAddr;
use std::rc::Rc;

use fedgate_tables::drops::DropReason;
use fedgate_tables::link::{Addr, CaptureEnd, CaptureMatch, CaptureSpec, Source};

use super::{Capture, begin, file, take, text};
use crate::config::args::Args;
use crate::config::diag::Problem;
use crate::config::model::Model;
use crate::config::parse::object::port_op;
use crate::config::ports;
use crate::config::types::PortOp;
use crate::operate::commands::Run;
use crate::operate::daemon::Daemon;
use crate::operate::files;
use crate::operate::run::Stop;
use crate::operate::server::Out;
use crate::policy::interfaces;

/// Bytes of a buffer where nothing is said, as on the ASA, and bounds.
const BUFFER: usize = 524_288;
const BUFFERS: [u32; 2] = [1534, 33_554_432];
/// Bytes of a frame that are kept where nothing is said.
const LENGTH: u16 = 1518;

/// How frames are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A line each.
    Line,
    /// With stations and TTL.
    Detail,
    /// With their bytes.
    Dump,
}

/// A command.
pub enum Order {
    /// `capture`
    Begin(Box<Capture>),
    /// `no capture`
    End(String),
    /// `clear capture`
    Clear(String),
    /// `show capture`
    Show(Option<String>, Layout),
    /// `copy /pcap capture:NAME FILE`
    Copy(String, String),
}

/// Takes what stands behind the words of a command.
///
/// # Errors
/// What is wrong with it.
pub fn parse(run: Run, model: &Model, args: &mut Args<'_, '_>) -> Result<Order, Problem> {
    let order = match run {
        Run::NoCapture => Order::End(args.name("a capture")?),
        Run::ClearCapture => Order::Clear(args.name("a capture")?),
        Run::CopyCapture => {
            let token = args.take("`capture:NAME`")?;
            let name = token.text.strip_prefix("capture:").filter(|name| !name.is_empty());
            let name = name.ok_or_else(|| args.wrong("expected `capture:NAME`"))?.to_owned();
            let path = args.take("a file")?.text;
            if !path.starts_with('/') {
                return Err(args.wrong("a file is an absolute path"));
            }
            Order::Copy(name, path.to_owned())
        }
        Run::ShowCapture => {
            let name = args.peek().map(|_| args.name("a capture")).transpose()?;
            let layout = match args.peek() {
                Some(_) => [Layout::Detail, Layout::Dump][args.one_of(&["detail", "dump"])?],
                None => Layout::Line,
            };
            Order::Show(name, layout)
        }
        _ => Order::Begin(Box::new(capture(model, args)?)),
    };
    args.end()?;
    Ok(order)
}

fn capture(model: &Model, args: &mut Args<'_, '_>) -> Result<Capture, Problem> {
    let name = args.name("a name for the capture")?;
    let words = args.clone().rest().to_owned();
    let source = match args.one_of(&["interface", "type"])? {
        0 => {
            let token = args.take("an interface")?;
            if !interfaces(model).any(|i| i.nameif.as_deref() == Some(token.text)) {
                return Err(args.wrong(format!("there is no complete interface `{}`", token.text)));
            }
            Source::Interface(token.text.to_owned())
        }
        _ => {
            args.expect("asp-drop")?;
            let reason = args.peek().and_then(|word| DropReason::ALL.iter().find(|r| r.name() == word));
            if reason.is_some() || args.peek() == Some("all") {
                args.take("a reason")?;
            }
            Source::Drops(reason.copied())
        }
    };
    let mut spec = CaptureSpec { source, matches: None, length: LENGTH, headers_only: false };
    let (mut buffer, mut circular) = (BUFFER, false);
    while args.peek().is_some() {
        match args.one_of(&["match", "buffer", "packet-length", "circular-buffer", "headers-only"])? {
            0 => spec.matches = Some(matches(args)?),
            1 => buffer = args.number("a number of bytes", BUFFERS[0], BUFFERS[1])? as usize,
            2 => {
                let most = fedgate_tables::capture::MAX_LENGTH.into();
                spec.length = args.number("a number of bytes", 64, most)? as u16;
            }
            3 => circular = true,
            _ => spec.headers_only = true,
        }
    }
    let frames = std::collections::VecDeque::new();
    Ok(Capture { name, spec, words, buffer, circular, frames, held: 0, full: false })
}

fn matches(args: &mut Args<'_, '_>) -> Result<CaptureMatch, Problem> {
    let token = args.take("a protocol")?;
    let proto = match token.text {
        "ip" => None,
        word => {
            let known = ports::proto(word);
            Some(known.ok_or_else(|| args.wrong(format!("`{word}` is not a protocol")))?)
        }
    };
    let ends = [end(args, proto)?, end(args, proto)?];
    if let [Some(one), Some(other)] = ends.map(|end| end.net.map(|(addr, _)| matches!(addr, Addr::V4(_))))
        && one != other
    {
        return Err(args.wrong("one end is IPv4 and the other IPv6: no packet has both"));
    }
    Ok(CaptureMatch { proto, ends })
}

fn end(args: &mut Args<'_, '_>, proto: Option<u8>) -> Result<CaptureEnd, Problem> {
    let any = |text: &str| text.parse::<IpAddr>().ok().map(|addr| (addr.into(), 0));
    let net = match args.peek() {
        Some("any") => {
            args.take("an address")?;
            None
        }
        Some(word @ ("any4" | "any6")) => {
            args.take("an address")?;
            any(if word == "any4" { "0.0.0.0" } else { "::" })
        }
        Some("host") => {
            args.take("an address")?;
            let addr = args.ip("an address")?;
            Some((addr.into(), if addr.is_ipv4() { 32 } else { 128 }))
        }
        Some(word) if word.contains(':') => {
            let net = args.network6()?;
            Some((IpAddr::V6(net.addr()).into(), net.prefix()))
        }
        _ => {
            let net = args.network()?;
            Some((IpAddr::V4(net.addr()).into(), net.prefix_len() as u8))
        }
    };
    let ports = match proto {
        Some(proto @ (ports::TCP | ports::UDP)) => match port_op(args, proto)? {
            PortOp::Any => None,
            PortOp::Eq(port) => Some([port, port]),
            PortOp::Lt(port) => Some([0, port - 1]),
            PortOp::Gt(port) => Some([port + 1, u16::MAX]),
            PortOp::Range(first, last) => Some([first, last]),
            PortOp::Neq(_) => return Err(args.wrong("a capture has no `neq`: take two")),
        },
        _ => None,
    };
    Ok(CaptureEnd { net, ports })
}

/// Does it.
///
/// # Errors
/// Why not.
pub async fn execute(daemon: &Rc<Daemon>, order: Order, out: &mut Out) -> Result<(), Stop> {
    let none = |name: &str| Stop::Failed(format!("ERROR: Capture <{name}> does not exist"));
    let captures = daemon.captures();
    match order {
        Order::Begin(capture) => {
            captures.add(*capture).map_err(Stop::Failed)?;
            begin(daemon);
            Ok(())
        }
        Order::End(name) => {
            if !captures.remove(&name) {
                return Err(none(&name));
            }
            begin(daemon);
            Ok(())
        }
        Order::Clear(name) => {
            if captures.clear(&name) {
                Ok(())
            } else {
                Err(none(&name))
            }
        }
        Order::Show(None, _) => {
            let (lines, lost) =
                captures.look(|all, lost| (all.iter().map(|one| text::head(one)).collect::<Vec<_>>(), lost));
            for (line, json) in lines {
                out.row(|| line, || json).await?;
            }
            if lost > 0 {
                out.note(&format!("{lost} packets were lost: more came than was taken\n")).await?;
            }
            Ok(())
        }
        Order::Show(Some(name), layout) => {
            take(daemon);
            // Written as they were at this moment, while others may come.
            let frames = captures.look(|all, _| {
                all.iter().find(|c| c.name == name).map(|c| c.frames.iter().cloned().collect::<Vec<_>>())
            });
            let frames = frames.ok_or_else(|| none(&name))?;
            out.note(&format!("\n{} packets captured\n\n", frames.len())).await?;
            for (number, frame) in (1..).zip(&frames) {
                out.row(|| text::frame(number, frame, layout), || text::json(number, frame)).await?;
            }
            Ok(out.note(&format!("{} packets shown\n", frames.len())).await?)
        }
        Order::Copy(name, path) => {
            take(daemon);
            let written = captures.look(|all, lost| {
                let capture = all.iter().find(|capture| capture.name == name);
                capture.map(|capture| (file::pcapng(capture, lost), capture.frames.len()))
            });
            let (bytes, packets) = written.ok_or_else(|| none(&name))?;
            let done = bytes.and_then(|bytes| {
                files::replace_private(path.as_ref(), &bytes).map_err(|why| format!("{path}: {why}"))
            });
            done.map_err(Stop::Failed)?;
            let json = || serde_json::json!({ "packets": packets, "file": path });
            Ok(out.row(|| format!("{packets} packets copied"), json).await?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::Line;

    fn matched(text: &str) -> Result<CaptureMatch, String> {
        let line = Line::lex(1, text).unwrap().unwrap();
        matches(&mut Args::new(&line, 0)).map_err(|problem| problem.message)
    }

    #[test]
    fn ports_are_an_access_lists() {
        let ports = |text: &str| matched(text).map(|it| it.ends.map(|end| end.ports));
        assert_eq!(ports("tcp any eq sip any range 5 9"), Ok([Some([5060; 2]), Some([5, 9])]));
        assert_eq!(ports("udp any lt 9 any gt 9"), Ok([Some([0, 8]), Some([10, u16::MAX])]));
        for (text, why) in [
            ("tcp any gt 65535 any", "greater"),
            ("tcp any lt 0 any", "less"),
            ("tcp any range 9 5 any", "ends before it begins"),
            ("tcp any neq 5 any", "no `neq`"),
            ("tcp host 10.0.0.1 host 2001:db8::1", "IPv4"),
            ("ip any4 any6", "IPv4"),
        ] {
            assert!(matched(text).is_err_and(|said| said.contains(why)), "{text}: {:?}", matched(text));
        }
    }
}
