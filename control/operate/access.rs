// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who sits at the other end of the control socket, and what they may do.
//!
//! The kernel says which uid it is (SO_PEERCRED). Root, and whoever the daemon runs as, may do everything. Anybody else is the user of
//! this machine with that uid, and may do what the `username` line of that name says; without one, nothing. `login` and `enable` with a
//! password give a ticket, a random number that the CLI shows from then on, good for that uid alone and for half an hour of silence. A request
//! may ask for less than it could have (`disable`). What a command needs is told by its first word ([`needed`]): what is not known to look or to
//! clear needs all. Who may open the socket at all is a matter of its mode: see `--group` of fedgate-control. Names of uids come from /etc/passwd.
//!
//! Bounds: [`MOST`] tickets and as many callers remembered, the longest silent go first; one password is checked at a time, and a wrong one costs
//! a second.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use tokio::sync::Mutex;

use super::events::{EventLog, escaped};
use super::messages::sessions::{raised, recognized};
use super::protocol::Request;
use crate::config::model::Model;
use crate::config::model::users::{ADMIN, Hash, OPERATOR, Password, role};

/// Most tickets, callers and lines of history.
pub const MOST: usize = 256;
/// How long a ticket lasts that nobody shows.
pub const SILENCE: Duration = Duration::from_secs(1800);
/// What a wrong password costs.
const PENALTY: Duration = Duration::from_secs(1);

/// Who gave a command.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who {
    /// As the kernel says.
    pub uid: u32,
    /// Who they logged in as; else the machine's name for them.
    pub user: String,
    /// What they may do, 0 to 15.
    pub privilege: u8,
}

struct Ticket {
    number: String,
    who: Who,
    proof: Proof,
    shown: Instant,
}

/// What passwords a ticket was given for: it is good for as long as they are these.
#[derive(Clone, Default)]
struct Proof {
    /// By `login`: that of this user.
    login: Option<(String, Hash)>,
    /// By `enable`.
    enable: Option<Hash>,
}

/// What is known of those who call.
#[derive(Default)]
pub struct Access {
    tickets: RefCell<VecDeque<Ticket>>,
    /// Who called when last, and how often.
    callers: RefCell<BTreeMap<Who, (Instant, u64)>>,
    /// The last commands: user and line.
    commands: RefCell<VecDeque<(String, String)>>,
    checking: Mutex<()>,
}

/// The privilege that a command beginning with these words needs.
pub fn needed(words: &[&str]) -> u8 {
    match words {
        // What is in it is other people's traffic.
        ["show", "capture", _, ..] => OPERATOR,
        ["show" | "help" | "ping" | "packet-tracer", ..] | ["who" | "enable"] | ["login", _] | [] => 0,
        ["clear" | "capture", ..] | ["crypto", "ca", "crl", ..] => OPERATOR,
        ["permit" | "block", "domain", ..]
        | ["no", "permit" | "block", "domain", ..]
        | ["no", "capture", ..] => OPERATOR,
        _ => ADMIN,
    }
}

impl Access {
    /// Who sends a request, the kernel saying `uid`.
    ///
    /// # Errors
    /// Why they may not even look.
    pub fn identify(&self, model: &Model, uid: u32, request: &Request) -> Result<Who, String> {
        let mut who = match request.ticket.as_str() {
            "" => standing(model, uid, &request.user)?,
            number => self.redeem(model, number, uid)?,
        };
        who.privilege = request.privilege.map_or(who.privilege, |asked| who.privilege.min(asked));
        let mut callers = self.callers.borrow_mut();
        let seen = callers.entry(who.clone()).or_insert((Instant::now(), 0));
        *seen = (Instant::now(), seen.1 + 1);
        if callers.len() > MOST
            && let Some(oldest) = callers.iter().min_by_key(|(_, (at, _))| *at).map(|(who, _)| who.clone())
        {
            callers.remove(&oldest);
        }
        Ok(who)
    }

    /// What a ticket is worth now: a user who has been taken out since is nobody, and a password that was changed proves nothing.
    fn redeem(&self, model: &Model, number: &str, uid: u32) -> Result<Who, String> {
        let mut tickets = self.tickets.borrow_mut();
        tickets.retain(|ticket| ticket.shown.elapsed() < SILENCE);
        let found = tickets.iter_mut().find(|ticket| ticket.number == number && ticket.who.uid == uid);
        let ended = "the login has ended: `login` or `enable` again";
        let found = found.ok_or(ended)?;
        found.shown = Instant::now();
        let Proof { login, enable } = &found.proof;
        let is = |now: Option<&Password>, then: &Hash| now.and_then(Password::hash) == Some(then);
        let mut who = found.who.clone();
        match login {
            Some((user, hash)) => {
                let line = model.users.get(user).filter(|line| is(line.password.as_ref(), hash));
                who.privilege = line.ok_or(ended)?.privilege;
            }
            None => drop(standing(model, uid, "")?),
        }
        if let Some(hash) = enable {
            if !is(model.enable.as_ref(), hash) {
                return Err(ended.to_owned());
            }
            who.privilege = ADMIN;
        }
        Ok(who)
    }

    /// `login USER`: a ticket and what it is good for, if the password is right. `who` asks.
    ///
    /// # Errors
    /// What to tell; it does not say whether there is such a user.
    pub async fn login(
        &self,
        log: &EventLog,
        model: &Model,
        who: &Who,
        user: &str,
        password: &str,
    ) -> Result<(String, u8), String> {
        let known = model.users.get(user);
        let hash = known.and_then(|line| line.password.as_ref()?.hash().cloned());
        let proof = Proof { login: hash.clone().map(|hash| (user.to_owned(), hash)), enable: None };
        let privilege = known.map_or(0, |line| line.privilege);
        let new = Who { uid: who.uid, user: user.to_owned(), privilege };
        self.admit(log, who.privilege, new, (hash, proof), password).await
    }

    /// `enable`: as [`Self::login`], for whoever asks, who showed `ticket`.
    ///
    /// # Errors
    /// As [`Self::login`].
    pub async fn enable(
        &self,
        log: &EventLog,
        model: &Model,
        who: &Who,
        ticket: &str,
        password: &str,
    ) -> Result<(String, u8), String> {
        let hash = model.enable.as_ref().and_then(Password::hash).cloned();
        let shown = self.tickets.borrow().iter().find(|it| it.number == ticket).map(|it| it.proof.clone());
        let proof = Proof { enable: hash.clone(), ..shown.unwrap_or_default() };
        let new = Who { privilege: ADMIN, ..who.clone() };
        self.admit(log, who.privilege, new, (hash, proof), password).await
    }

    /// A ticket for `who` who had privilege `from` so far, if `password` is that of the hash.
    async fn admit(
        &self,
        log: &EventLog,
        from: u8,
        who: Who,
        (hash, proof): (Option<Hash>, Proof),
        password: &str,
    ) -> Result<(String, u8), String> {
        let _one = self.checking.lock().await;
        let password = password.to_owned();
        let known = hash.is_some();
        let right = tokio::task::spawn_blocking(move || {
            // Who is not there takes as long.
            hash.or_else(|| Hash::of("").ok()).is_some_and(|hash| hash.is_of(&password))
        });
        let (uid, user, privilege) = (who.uid, escaped(&who.user), who.privilege);
        if !(right.await.unwrap_or(false) && known) {
            log.tell_of(uid, &recognized(&user, false));
            tokio::time::sleep(PENALTY).await;
            return Err("% Login failed".to_owned());
        }
        log.tell_of(uid, &recognized(&user, true));
        log.tell_of(uid, &raised(&user, from, privilege));
        let mut bytes = [0; 16];
        rand::fill(&mut bytes).map_err(|_| "no random numbers are to be had")?;
        let number: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut tickets = self.tickets.borrow_mut();
        if tickets.len() >= MOST
            && let Some(oldest) = (0..tickets.len()).min_by_key(|at| tickets[*at].shown)
        {
            tickets.remove(oldest);
        }
        tickets.push_back(Ticket { number: number.clone(), who, proof, shown: Instant::now() });
        Ok((number, privilege))
    }

    /// Callers of the last half hour: who, how long ago, and how often.
    pub fn callers(&self) -> Vec<(Who, Duration, u64)> {
        let mut callers = self.callers.borrow_mut();
        callers.retain(|_, (at, _)| at.elapsed() < SILENCE);
        callers.iter().map(|(who, (at, times))| (who.clone(), at.elapsed(), *times)).collect()
    }

    /// Notes a command for `show history`.
    pub fn note(&self, user: &str, line: &str) {
        let mut commands = self.commands.borrow_mut();
        if commands.len() >= MOST {
            commands.pop_front();
        }
        commands.push_back((user.to_owned(), line.to_owned()));
    }

    /// The last commands of a user, oldest first.
    pub fn history(&self, user: &str) -> Vec<String> {
        let commands = self.commands.borrow();
        commands.iter().filter(|(whose, _)| whose == user).map(|(_, line)| line.clone()).collect()
    }
}

/// Who somebody is by the kernel's word alone.
fn standing(model: &Model, uid: u32, claimed: &str) -> Result<Who, String> {
    let own = rustix::process::geteuid().as_raw();
    let name = name_of(uid);
    if uid == 0 || uid == own {
        // The name is for the log: with sudo it is not root's.
        let user = Some(claimed).filter(|name| !name.is_empty()).map(str::to_owned);
        let user = user.or(name).unwrap_or_else(|| uid.to_string());
        return Ok(Who { uid, user, privilege: ADMIN });
    }
    let known = name.as_ref().and_then(|name| model.users.get(name));
    match (known, name) {
        (Some(line), Some(user)) => Ok(Who { uid, user, privilege: line.privilege }),
        (_, name) => {
            let name = name.unwrap_or_else(|| "?".to_owned());
            Err(format!(
                "no `username {name}` in the configuration: the user {name} (uid {uid}) of this machine may do nothing here"
            ))
        }
    }
}

/// The machine's name for a uid.
pub fn name_of(uid: u32) -> Option<String> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    let of = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    };
    text.lines().find_map(of)
}

/// The gid of a group of the machine.
pub fn gid_of(group: &str) -> Option<u32> {
    let text = std::fs::read_to_string("/etc/group").ok()?;
    let of = |line: &str| {
        let mut fields = line.split(':');
        (fields.next()? == group).then(|| fields.nth(1)?.parse().ok()).flatten()
    };
    text.lines().find_map(of)
}

/// Why a command is not for them.
pub fn refusal(who: &Who, needed: u8) -> String {
    format!(
        "ERROR: Command authorization failed: it needs privilege {needed} ({}), and {} has {} ({})",
        role(needed),
        who.user,
        who.privilege,
        role(who.privilege)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::users::User;

    #[test]
    fn what_is_not_known_to_be_harmless_needs_all() {
        for (line, least) in [
            ("show conn", 0),
            ("show capture", 0),
            ("show capture c detail", OPERATOR),
            ("help", 0),
            ("clear conn", OPERATOR),
            ("permit domain a.example", OPERATOR),
            ("no block domain a.example", OPERATOR),
            ("crypto ca crl request t", OPERATOR),
            ("crypto key generate rsa", ADMIN),
            ("hostname x", ADMIN),
            ("no access-list a", ADMIN),
            ("enable", 0),
            ("enable password secret", ADMIN),
            ("configure replace /f", ADMIN),
            ("username u nopassword privilege 15", ADMIN),
            ("write memory", ADMIN),
            ("copy x", ADMIN),
            ("import domains permit /etc/shadow", ADMIN),
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(needed(&words), least, "{line}");
        }
    }

    #[test]
    fn the_kernel_says_who_it_is() {
        let (access, model) = (Access::default(), Model::default());
        let own = rustix::process::geteuid().as_raw();
        let request = Request { user: "olga".into(), ..Request::default() };
        let who = access.identify(&model, own, &request).unwrap();
        assert_eq!((who.user.as_str(), who.privilege), ("olga", ADMIN));
        let less = Request { privilege: Some(1), ..request.clone() };
        assert_eq!(access.identify(&model, own, &less).unwrap().privilege, 1);
        // A name that is claimed is worth nothing to others.
        let stranger = 4_000_000_000;
        assert!(access.identify(&model, stranger, &request).unwrap_err().contains("may do nothing here"));
        let forged = Request { ticket: "00".repeat(16), ..request };
        assert!(access.identify(&model, own, &forged).unwrap_err().contains("has ended"));
        assert_eq!(access.callers().len(), 2);
    }

    #[tokio::test]
    async fn a_password_opens_and_a_ticket_is_for_one_uid() {
        let (access, log, mut model) = (Access::default(), EventLog::default(), Model::default());
        let asks = Who { uid: 7, user: "x".into(), privilege: 1 };
        let who = Who { uid: 7, user: "olga".into(), privilege: OPERATOR };
        let hash = || Some(Password::Hashed(Hash::of("correct horse").unwrap()));
        model.users.insert("olga".into(), User { password: hash(), privilege: OPERATOR });
        assert!(access.login(&log, &model, &asks, "olga", "wrong").await.is_err());
        assert!(access.login(&log, &model, &asks, "nobody", "").await.is_err(), "nobody has no password");
        let admitted = access.login(&log, &model, &asks, "olga", "correct horse").await.unwrap();
        let request = Request { ticket: admitted.0, ..Request::default() };
        assert_eq!(admitted.1, OPERATOR);
        assert_eq!(access.identify(&model, 7, &request).unwrap(), who);
        assert!(access.identify(&model, 8, &request).is_err());
        let olga = model.users.remove("olga").unwrap();
        assert!(access.identify(&model, 7, &request).is_err(), "a user whose line has gone");
        model.users.insert("olga".into(), User { password: hash(), ..olga.clone() });
        assert!(
            access.identify(&model, 7, &request).is_err(),
            "another password, though it is the same word"
        );
        model.users.insert("olga".into(), olga);
        assert_eq!(access.identify(&model, 7, &request).unwrap(), who);
    }

    #[tokio::test]
    async fn what_enable_gave_ends_with_what_it_was_given_for() {
        let (access, log, mut model) = (Access::default(), EventLog::default(), Model::default());
        let hash = |word| Some(Password::Hashed(Hash::of(word).unwrap()));
        model.enable = hash("secret");
        let stranger = Who { uid: 4_000_000_000, user: "?".into(), privilege: 1 };
        let request = |ticket| Request { ticket, ..Request::default() };
        let (ticket, _) = access.enable(&log, &model, &stranger, "", "secret").await.unwrap();
        assert!(access.identify(&model, stranger.uid, &request(ticket)).is_err(), "whose line has gone");
        let own = Who { uid: rustix::process::geteuid().as_raw(), ..stranger };
        let (ticket, privilege) = access.enable(&log, &model, &own, "", "secret").await.unwrap();
        assert_eq!(privilege, ADMIN);
        let by_itself = request(ticket);
        model.users.insert("olga".into(), User { password: hash("horse"), privilege: OPERATOR });
        let (ticket, _) = access.login(&log, &model, &own, "olga", "horse").await.unwrap();
        let olga = access.identify(&model, own.uid, &request(ticket.clone())).unwrap();
        let (ticket, _) = access.enable(&log, &model, &olga, &ticket, "secret").await.unwrap();
        let after_login = request(ticket);
        let privilege = |model: &Model, request: &Request| {
            access.identify(model, own.uid, request).map(|who| (who.user, who.privilege)).ok()
        };
        assert_eq!(privilege(&model, &by_itself), Some(("?".into(), ADMIN)));
        assert_eq!(privilege(&model, &after_login), Some(("olga".into(), ADMIN)));
        let user = model.users.remove("olga").unwrap();
        assert_eq!(privilege(&model, &after_login), None, "who logged in is gone");
        model.users.insert("olga".into(), user);
        model.enable = hash("another");
        assert_eq!((privilege(&model, &by_itself), privilege(&model, &after_login)), (None, None));
    }
}
