// SPDX-License-Identifier: MIT OR Apache-2.0
//! One request from the socket: found in the grammar, done, answered. Every line ends in exactly one `done`.

use std::io;
use std::path::Path;
use std::rc::Rc;

use tracing::info;

use super::abbreviate::expand;
use super::access::{self, Who};
use super::cleared::{self, Group};
use super::commands::{self, Run};
use super::daemon::{Daemon, ListKind, MOST_MINUTES, Refusal};
use super::events::escaped;
use super::history::By;
use super::image;
use super::messages::sessions::{executed, looked};
use super::pipe::Pipes;
use super::protocol::{FAILED, OK, Reply, Request, USAGE};
use super::server::Out;
use super::session::Gone;
use super::show::{self, Selection, hosts::HostQuery};
use super::{capture, complete, crypto, help, ping, pipe, top, tracer};
use crate::config::args::Args;
use crate::config::diag::{Problem, Report};
use crate::config::model::users::ADMIN;
use crate::config::model::{DomainKey, Model};
use crate::config::raw::{Command, Mode};
use crate::config::source::{Line, masked};
use crate::config::suggest::nearest;
use crate::config::{Place, edit, parse_line};
use fedgate_tables::link::What;

/// Most lines of a context: modes stand two deep.
const MOST_CONTEXT: usize = 4;

/// What `show tech-support` shows.
const TECH_SUPPORT: &[&str] = &[
    "show version",
    "show dataplane",
    "show cpu detailed",
    "show memory",
    "show interface",
    "show route",
    "show ipv6 route",
    "show arp",
    "show access-list",
    "show nat detail",
    "show nat pool",
    "show service-policy",
    "show tls-proxy",
    "show asp drop",
    "show fragment",
    "show counters",
    "show crypto ca certificates",
    "show crypto ca crls",
    "show configuration commits",
    "show running-config",
];

/// Why a command ended early.
pub enum Stop {
    /// The client is gone or does not read.
    Io(io::Error),
    /// It was understood and failed.
    Failed(String),
    /// It was not understood.
    Usage(String),
}

impl From<io::Error> for Stop {
    fn from(why: io::Error) -> Self {
        Self::Io(why)
    }
}

impl From<Gone> for Stop {
    fn from(why: Gone) -> Self {
        Self::Failed(why.to_string())
    }
}

/// Answers one request of the user that the kernel says is `uid`.
pub async fn run(daemon: &Rc<Daemon>, request: &Request, uid: u32, out: &mut Out) -> io::Result<()> {
    let mut place = Place { mode: Mode::Global, context: Vec::new() };
    (out.audited, out.pipes, out.ticket) = (false, Pipes::default(), String::new());
    let who = daemon.access().identify(&daemon.config().model, uid, request);
    let ended = match who {
        Ok(who) => {
            out.privilege = who.privilege;
            let command = escaped(&masked(request.line.trim()));
            out.by = By { uid, user: escaped(&who.user), command };
            place = place_of(&daemon.config().model, &request.context);
            dispatch(daemon, request, &who, &mut place, out).await
        }
        Err(why) => {
            tracing::warn!(uid, user = escaped(&request.user), "refused: {why}");
            out.privilege = 0;
            Err(Stop::Failed(why))
        }
    };
    let done = match ended {
        Ok(()) => OK,
        Err(Stop::Io(why)) => return Err(why),
        Err(Stop::Failed(why)) => {
            out.error(&why).await?;
            FAILED
        }
        Err(Stop::Usage(why)) => {
            out.error(&why).await?;
            USAGE
        }
    };
    out.finish().await?;
    if out.audited {
        let By { uid, user, command } = &out.by;
        match done {
            OK => daemon.log().tell(&executed(user, command)),
            _ => info!(uid, user, command, "failed"),
        }
    } else if done == OK && out.by.command.starts_with("show ") {
        daemon.log().syslog().tell(&looked(&out.by.user, &out.by.command));
    }
    out.flush().await?;
    let hostname = daemon.config().model.name().to_owned();
    let mode = place.mode.prompt().to_owned();
    let (privilege, ticket) = (out.privilege, std::mem::take(&mut out.ticket));
    out.reply(&Reply::Done { done, context: place.context, hostname, mode, privilege, ticket }).await
}

/// Where context lines lead; the top where they lead nowhere any more, or are no context: they are the client's word.
fn place_of(model: &Model, context: &[String]) -> Place {
    let led = context
        .split_last()
        .filter(|_| context.len() <= MOST_CONTEXT)
        .and_then(|(last, before)| parse_line(model, before, last, Path::new("/")).ok());
    led.map_or(Place { mode: Mode::Global, context: Vec::new() }, |(_, place)| place)
}

async fn dispatch(
    daemon: &Rc<Daemon>,
    request: &Request,
    who: &Who,
    place: &mut Place,
    out: &mut Out,
) -> Result<(), Stop> {
    if let Some(typed) = request.line.strip_suffix('\t') {
        let words = complete::candidates(typed, place.mode, &daemon.config().model);
        return Ok(out.text(&words.iter().map(|word| format!("{word}\n")).collect::<String>()).await?);
    }
    let text = request.line.trim();
    if let Some(typed) = text.strip_suffix('?') {
        return Ok(out.text(&help::answer(typed, place.mode)).await?);
    }
    let expanded = expand(text, place.mode)
        .map_err(|why| Stop::Usage(format!("ambiguous: `{}` may be {}", why.word, why.known.join(", "))))?;
    let text = expanded.as_str();
    out.by.command = escaped(&masked(text));
    let mut line = match Line::lex(1, text) {
        Ok(Some(line)) => line,
        Ok(None) => return Ok(()),
        Err(problem) => return Err(usage(problem, text)),
    };
    // In a comment of a configuration line a bar is a bar.
    if let Some(bar) =
        pipe::bar(&line).filter(|bar| *bar > 0 && ["show", "help"].contains(&line.tokens[0].text))
    {
        out.pipes = pipe::parse(&line, bar).map_err(|problem| usage(problem, text))?;
        out.json |= out.pipes.json;
        line.tokens.truncate(bar);
    }
    let words: Vec<&str> = line.tokens.iter().map(|token| token.text).collect();
    let mut needed = access::needed(&words);
    if !place.context.is_empty() && commands::find(&line).is_none() {
        // The lines that lead to the mode are committed with it.
        needed = ADMIN;
    }
    if who.privilege < needed {
        tracing::warn!(uid = who.uid, user = who.user, command = out.by.command, "not permitted");
        return Err(Stop::Failed(access::refusal(who, needed)));
    }
    daemon.access().note(&who.user, &masked(text));
    perform(daemon, request, who, &line, place, out).await
}

/// Does a line that may be done.
async fn perform(
    daemon: &Rc<Daemon>,
    request: &Request,
    who: &Who,
    line: &Line<'_>,
    place: &mut Place,
    out: &mut Out,
) -> Result<(), Stop> {
    let text = line.text;
    let Some((spec, words)) = commands::find(line) else {
        return configure(daemon, line, place, out).await;
    };
    let mut args = Args::new(line, words);
    let wrong = |mut problem: Problem| {
        problem.help.get_or_insert_with(|| format!("usage: {}", spec.usage));
        usage(problem, text)
    };
    if spec.run.is_crypto() {
        let order = crypto::parse(spec.run, &mut args).and_then(|order| args.end().map(|()| order));
        let order = order.map_err(wrong)?;
        out.audit("command");
        if spec.run.reads_configuration() {
            daemon.readable().map_err(Stop::Failed)?;
        }
        return crypto::execute(daemon, order, &request.input, out).await;
    }
    if spec.run.is_image() {
        let order = image::parse(spec.run, &mut args).and_then(|order| args.end().map(|()| order));
        let order = order.map_err(wrong)?;
        if order != image::Order::Show {
            out.audit("command");
        }
        return image::execute(order, out).await;
    }
    if let Run::Login | Run::Enable = spec.run {
        let user = match spec.run {
            Run::Login => Some(args.name("a user").map_err(wrong)?),
            _ => None,
        };
        args.end().map_err(wrong)?;
        return admit(daemon, user, who, request, out).await;
    }
    if spec.run.is_capture() {
        let order = capture::order::parse(spec.run, &daemon.config().model, &mut args).map_err(wrong)?;
        if spec.run != Run::ShowCapture {
            out.audit("command");
        }
        return capture::order::execute(daemon, order, out).await;
    }
    if spec.run == Run::Ping {
        let order = ping::parse(&daemon.config().model, &mut args).map_err(wrong)?;
        daemon.readable().map_err(Stop::Failed)?;
        return ping::execute(daemon, order, out).await;
    }
    if spec.run == Run::PacketTracer {
        let order = tracer::parse(&daemon.config().model, &mut args).map_err(wrong)?;
        daemon.readable().map_err(Stop::Failed)?;
        return tracer::execute(daemon, &order, out).await;
    }
    if spec.run == Run::SipTracer {
        let order = tracer::sip::parse(&daemon.config().model, &mut args).map_err(wrong)?;
        daemon.readable().map_err(Stop::Failed)?;
        return tracer::sip::execute(daemon, &order, out).await;
    }
    let (what, changes) = match spec.run {
        Run::ClearConn => (Some(What::Conns), true),
        Run::ClearXlate => (Some(What::Xlates), true),
        Run::ClearArp => (Some(What::Arp), true),
        Run::ClearIpv6Neighbors => (Some(What::Neighbors6), true),
        Run::ClearDialogs => (Some(What::Sip), true),
        Run::ConfigureReplace
        | Run::Commit
        | Run::CommitConfirmed
        | Run::Rollback
        | Run::ImportDomains
        | Run::ClearLogging
        | Run::ClearLocalHost
        | Run::ClearDrops
        | Run::ClearCounters
        | Run::WriteMemory => (None, true),
        Run::ShowConn => (Some(What::Conns), false),
        Run::ShowXlate => (Some(What::Xlates), false),
        Run::ShowDialogs => (Some(What::Sip), false),
        _ => (None, false),
    };
    let selection = match what {
        Some(What::Sip) => Selection::of_dialogs(&mut args, !changes).map_err(wrong)?,
        Some(_) => Selection::parse(&mut args, !changes, spec.run == Run::ShowConn).map_err(wrong)?,
        None => Selection::default(),
    };
    let mut kind = ListKind::Block;
    let name = match spec.run {
        Run::ShowAccessList
        | Run::ShowObjectGroup
        | Run::ShowTimeRange
        | Run::ShowInterface
        | Run::ShowIpv6Interface
        | Run::ShowCryptoCertificates
        | Run::ShowSipPool
        | Run::ShowFragment => args.peek().map(|_| args.name("a name")).transpose(),
        Run::ShowCryptoCrls => {
            let named = args.accept("trustpoint") || args.peek().is_some();
            named.then(|| args.name("a trustpoint")).transpose()
        }
        Run::ConfigureReplace => args.take("a file").map(|token| Some(token.text.to_owned())),
        Run::ImportDomains => args.one_of(&["permit", "block"]).and_then(|list| {
            kind = [ListKind::Permit, ListKind::Block][list];
            args.take("a file").map(|token| Some(token.text.to_owned()))
        }),
        Run::ShowCryptoKeys => {
            let kinds = ["rsa", "ecdsa", "all"];
            args.peek().map(|_| args.one_of(&kinds).map(|at| kinds[at].to_owned())).transpose()
        }
        _ => Ok(None),
    };
    let name = name.map_err(wrong)?;
    let most_back = super::history::MOST as u32 - 1;
    let number = match spec.run {
        Run::ConfigureReplace if args.accept("confirmed") => {
            args.number("a number of minutes", 1, MOST_MINUTES).map(Some)
        }
        Run::CommitConfirmed => args.number("a number of minutes", 1, MOST_MINUTES).map(Some),
        Run::Rollback => args.number("a number of commits", 0, most_back).map(Some),
        Run::ShowDiff => args.peek().map(|_| args.number("a number of commits", 0, most_back)).transpose(),
        _ => Ok(None),
    };
    let number = number.map_err(wrong)?;
    let word = match spec.run {
        Run::ShowNat => "detail",
        _ => "detailed",
    };
    let in_full = match spec.run {
        Run::ShowNat | Run::ShowCpu => match args.peek() {
            Some(_) => args.one_of(&[word]).map(|_| true).map_err(wrong)?,
            None => false,
        },
        _ => false,
    };
    let host = match spec.run {
        Run::ClearLocalHost => cleared::host(&mut args).map_err(wrong)?,
        _ => None,
    };
    let hosts = match spec.run {
        Run::ShowLocalHost => HostQuery::parse(&mut args).map_err(wrong)?,
        _ => HostQuery::default(),
    };
    args.end().map_err(wrong)?;
    if changes {
        out.audit("command");
    }
    if spec.run.reads_configuration() {
        daemon.readable().map_err(Stop::Failed)?;
    }
    match spec.run {
        Run::ShowConn => show::conn::conn(daemon, selection, out).await,
        Run::ShowXlate => show::conn::xlate(daemon, selection, out).await,
        Run::ShowNat => show::rules::nat(daemon, in_full, out).await,
        Run::ShowNatPool => show::pools::nat_pool(daemon, out).await,
        Run::ShowServicePolicy => show::service::service_policy(daemon, out).await,
        Run::ShowLocalHost => show::hosts::local_host(daemon, hosts, out).await,
        Run::ShowVerify => show::net::verify_statistics(daemon, out).await,
        Run::ShowCpu => show::load::cpu(daemon, in_full, out).await,
        Run::ShowMemory => show::load::memory(daemon, out).await,
        Run::ShowTop => top::sample::top(daemon, out).await,
        Run::ShowFlowExport => show::logging::flow_export(daemon, out).await,
        Run::ShowMetrics => show::logging::metrics(daemon, out).await,
        Run::ShowLogging => show::logging::logging(daemon, out).await,
        Run::ShowLoggingMessage => show::logging::messages(daemon, out).await,
        Run::ClearLogging => {
            daemon.log().syslog().clear();
            Ok(())
        }
        Run::ShowAccessList => show::acl::access_list(daemon, name.as_deref(), out).await,
        Run::ShowObjectGroup => show::acl::object_group(daemon, name.as_deref(), out).await,
        Run::ShowTimeRange => show::acl::time_range(daemon, name.as_deref(), out).await,
        Run::ShowDrops => show::counts::drops(daemon, out).await,
        Run::ShowDomains => show::domains::domains(daemon, out).await,
        Run::ShowDns => show::dns::dns(daemon, out).await,
        Run::ShowProxy => show::proxy::proxy(daemon, out).await,
        Run::ShowSip => show::dialogs::sip(daemon, out).await,
        Run::ShowDialogs => show::dialogs::dialogs(daemon, selection, out).await,
        Run::ShowSipPool => show::members::sip_pool(daemon, name.as_deref(), out).await,
        Run::ShowInterface => show::net::interface(daemon, name.as_deref(), out).await,
        Run::ShowRoute => show::net::route(daemon, out).await,
        Run::ShowArp => show::net::arp(daemon, out).await,
        Run::ShowIpv6Neighbor => show::net6::neighbor(daemon, out).await,
        Run::ShowIpv6Route => show::net6::route(daemon, out).await,
        Run::ShowIpv6Interface => show::net6::interface(daemon, name.as_deref(), out).await,
        Run::ShowFragment => show::fragment::fragment(daemon, name.as_deref(), out).await,
        Run::ShowCounters => show::counts::counters(daemon, out).await,
        Run::ShowVersion => show::counts::version(daemon, out).await,
        Run::ShowDataplane => show::counts::dataplane(daemon, out).await,
        Run::ShowRunning => show::text::running(daemon, who, out).await,
        Run::ShowStartup => show::text::startup(daemon, who, out).await,
        Run::ClearLocalHost => cleared::local_host(daemon, host, out).await,
        Run::ClearDrops => cleared::counters(daemon, Group::Drops, out),
        Run::ClearCounters => cleared::counters(daemon, Group::Counters, out),
        Run::ClearConn => clear(daemon, What::Conns, "connections", selection, out).await,
        Run::ClearXlate => clear(daemon, What::Xlates, "translations", selection, out).await,
        Run::ClearDialogs => clear(daemon, What::Sip, "dialogs", selection, out).await,
        Run::ClearArp => clear(daemon, What::Arp, "neighbours", selection, out).await,
        Run::ClearIpv6Neighbors => clear(daemon, What::Neighbors6, "neighbours", selection, out).await,
        Run::ConfigureReplace => {
            let path = name.unwrap_or_default();
            if !Path::new(&path).is_absolute() {
                return Err(Stop::Usage("configure replace takes an absolute path".to_owned()));
            }
            let report = daemon.replace(&out.by.clone(), Path::new(&path), number).await.map_err(refused)?;
            warn(&report, out).await?;
            not_yet(daemon, out).await
        }
        Run::Commit => {
            daemon.confirm().await.map_err(Stop::Failed)?;
            Ok(out.note("Confirmed\n").await?)
        }
        Run::CommitConfirmed => {
            let minutes = number.unwrap_or(1);
            daemon.commit_confirmed(&out.by.clone(), minutes).await.map_err(refused)?;
            Ok(out.note(&format!("What is changed from now on is taken back in {minutes} minutes unless `commit` confirms it\n")).await?)
        }
        Run::Rollback => {
            let report =
                daemon.rollback(&out.by.clone(), number.unwrap_or(0) as usize).await.map_err(refused)?;
            warn(&report, out).await?;
            not_yet(daemon, out).await
        }
        Run::ShowCommits => show::commits::commits(daemon, out).await,
        Run::ShowDiff => {
            let text = daemon.diff(number.map(|number| number as usize)).await.map_err(refused)?;
            show::text::lines(&show::text::discreet(&text, who), out).await
        }
        Run::ImportDomains => {
            let path = name.unwrap_or_default();
            if !Path::new(&path).is_absolute() {
                return Err(Stop::Usage("import domains takes an absolute path".to_owned()));
            }
            let by = out.by.clone();
            let progress = async |done, of| out.progress(done, of).await;
            let changed = daemon.import_list(&by, kind, Path::new(&path), progress).await.map_err(refused)?;
            out.row(|| format!("{changed} entries changed"), || serde_json::json!({ "changed": changed }))
                .await?;
            not_yet(daemon, out).await
        }
        Run::WriteMemory => {
            daemon.write_memory().await.map_err(Stop::Failed)?;
            Ok(out.text("[OK]\n").await?)
        }
        Run::ShowCryptoCertificates => show::crypto::certificates(daemon, name.as_deref(), out).await,
        Run::ShowCryptoTrustpoints => show::crypto::trustpoints(daemon, out).await,
        Run::ShowCryptoCrls => show::crypto::crls(daemon, name.as_deref(), out).await,
        Run::ShowCryptoKeys => show::crypto::keys(daemon, name.as_deref().unwrap_or("all"), out).await,
        Run::CryptoKeyGenerate
        | Run::CryptoKeyZeroize
        | Run::CryptoCaAuthenticate
        | Run::CryptoCaEnroll
        | Run::CryptoCaImport
        | Run::CryptoCaExport
        | Run::CryptoCaCrlRequest
        | Run::Capture
        | Run::NoCapture
        | Run::ClearCapture
        | Run::ShowCapture
        | Run::CopyCapture
        | Run::ShowImage
        | Run::ImageInstall
        | Run::ImageActivate
        | Run::Reload
        | Run::Ping
        | Run::PacketTracer
        | Run::SipTracer => Err(Stop::Usage("done above".to_owned())),
        Run::ShowTech => {
            // Of somebody who may look and no more: without hashes of passwords.
            let who = Who { privilege: 0, ..who.clone() };
            for text in TECH_SUPPORT {
                let heading = format!("\n------------------ {text} ------------------\n");
                out.row(|| heading, || serde_json::json!({ "command": text })).await?;
                let Ok(Some(line)) = Line::lex(1, text) else { continue };
                match Box::pin(perform(daemon, request, &who, &line, place, out)).await {
                    // What one cannot show the others may.
                    Err(Stop::Failed(why) | Stop::Usage(why)) => {
                        out.row(|| format!("ERROR: {why}"), || serde_json::json!({ "failed": why })).await?;
                    }
                    ended => ended?,
                }
            }
            Ok(())
        }
        Run::ShowCurpriv => show::users::curpriv(who, out).await,
        Run::Who => show::users::who(daemon, out).await,
        Run::ShowHistory => show::users::history(daemon, who, out).await,
        Run::Login | Run::Enable => Err(Stop::Usage("done above".to_owned())),
        Run::Help => Ok(out.text(&help::answer("", place.mode)).await?),
    }
}

/// `login USER` and `enable`, with the password beside the line.
async fn admit(
    daemon: &Rc<Daemon>,
    user: Option<String>,
    who: &Who,
    request: &Request,
    out: &mut Out,
) -> Result<(), Stop> {
    let password = request.input.trim_end_matches('\n');
    let (access, log, config) = (daemon.access(), daemon.log(), daemon.config());
    let admitted = match user {
        None => access.enable(log, &config.model, who, &request.ticket, password).await,
        Some(user) => access.login(log, &config.model, who, &user, password).await,
    };
    (out.ticket, out.privilege) = admitted.map_err(Stop::Failed)?;
    Ok(())
}

async fn clear(
    daemon: &Daemon,
    what: What,
    name: &str,
    selection: Selection,
    out: &mut Out,
) -> Result<(), Stop> {
    let attached = daemon.attached().ok_or(Gone)?;
    let cleared = attached.session.clear(what, selection.filter).await?;
    Ok(out.row(|| format!("{cleared} {name} cleared"), || serde_json::json!({ "cleared": cleared })).await?)
}

/// A line of the configuration, in the mode it was typed in.
async fn configure(
    daemon: &Rc<Daemon>,
    line: &Line<'_>,
    place: &mut Place,
    out: &mut Out,
) -> Result<(), Stop> {
    let base = daemon.paths.startup.parent().unwrap_or(Path::new("/"));
    let base = std::path::absolute(base)?;
    let text = line.text.trim();
    let (statement, next) =
        parse_line(&daemon.config().model, &place.context, text, &base).map_err(|report| {
            let first = line.tokens[0].text;
            let near = nearest(first, commands::first_words());
            let more = near.map(|near| format!("did you mean `{near}`?\n")).unwrap_or_default();
            Stop::Usage(format!("{}{more}", report.render(false)))
        })?;
    out.audit("configuration");
    let bound = |key: &DomainKey| daemon.config().model.domain_trust.contains_key(key);
    if let Command::Domain(key, rule) = statement.command
        // What a domain is bound to is part of the policy.
        && !bound(&key)
    {
        let warning = daemon.edit_domain(&key, rule, statement.negated).await.map_err(refused)?;
        if let Some(warning) = warning {
            out.error(&format!("warning: {warning}")).await?;
        }
    } else {
        let mut edits = place.context.clone();
        edits.push(text.to_owned());
        let edits = edits.join("\n");
        let report =
            daemon.commit(&out.by.clone(), |config| edit(config, &edits, &base)).await.map_err(refused)?;
        warn(&report, out).await?;
    }
    not_yet(daemon, out).await?;
    *place = next;
    Ok(())
}

/// Without a dataplane a change is kept for the next, which is not what a change usually is.
pub(super) async fn not_yet(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    if daemon.attached().is_none() {
        out.error("warning: the dataplane is not connected: kept, and in force once it is").await?;
    }
    Ok(())
}

pub(super) async fn warn(report: &Report, out: &mut Out) -> Result<(), Stop> {
    if !report.is_empty() {
        out.error(&report.render(false)).await?;
    }
    Ok(())
}

pub(super) fn refused(why: Refusal) -> Stop {
    Stop::Failed(match why {
        Refusal::Text(report) => report.render(false),
        Refusal::Failed(why) => why,
    })
}

fn usage(problem: Problem, text: &str) -> Stop {
    let mut report = Report::new("command line");
    report.push(problem, text);
    Stop::Usage(report.render(false))
}
