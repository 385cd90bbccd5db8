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

use super::protocol::Request;
use crate::config::model::Model;
use crate::config::model::users::{ADMIN, Hash, OPERATOR, role};

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
    /// By `login`: good for as long as the user's line is there.
    named: bool,
    shown: Instant,
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
        ["clear" | "import" | "capture", ..] | ["crypto", "ca", "crl", ..] => OPERATOR,
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

    /// What a ticket is worth now: a user who has been taken out since is nobody.
    fn redeem(&self, model: &Model, number: &str, uid: u32) -> Result<Who, String> {
        let mut tickets = self.tickets.borrow_mut();
        tickets.retain(|ticket| ticket.shown.elapsed() < SILENCE);
        let found = tickets.iter_mut().find(|ticket| ticket.number == number && ticket.who.uid == uid);
        let ended = "the login has ended: `login` or `enable` again";
        let found = found.ok_or(ended)?;
        found.shown = Instant::now();
        let privilege = match found.named {
            true => model.users.get(&found.who.user).ok_or(ended)?.privilege,
            false => found.who.privilege,
        };
        Ok(Who { privilege, ..found.who.clone() })
    }

    /// `login` and `enable`: a ticket for `who`, if the password is right.
    ///
    /// # Errors
    /// What to tell; it does not say whether there is such a user.
    pub async fn admit(
        &self,
        who: Who,
        named: bool,
        hash: Option<Hash>,
        password: &str,
    ) -> Result<String, String> {
        let _one = self.checking.lock().await;
        let password = password.to_owned();
        let known = hash.is_some();
        let right = tokio::task::spawn_blocking(move || {
            // Who is not there takes as long.
            hash.or_else(|| Hash::of("").ok()).is_some_and(|hash| hash.is_of(&password))
        });
        let Who { user, privilege, .. } = &who;
        if !(right.await.unwrap_or(false) && known) {
            tracing::warn!(
                uid = who.uid,
                "%ASA-6-611102: User authentication failed: IP address: 0.0.0.0, Uname: {user}"
            );
            tokio::time::sleep(PENALTY).await;
            return Err("% Login failed".to_owned());
        }
        tracing::info!(
            uid = who.uid,
            "%ASA-6-611101: User authentication succeeded: IP address: 0.0.0.0, Uname: {user}"
        );
        tracing::info!(
            uid = who.uid,
            "%ASA-5-502103: User priv level changed: Uname: {user} From: 1 To: {privilege}"
        );
        let mut bytes = [0; 16];
        rand::fill(&mut bytes).map_err(|_| "no random numbers are to be had")?;
        let number: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut tickets = self.tickets.borrow_mut();
        if tickets.len() >= MOST
            && let Some(oldest) = (0..tickets.len()).min_by_key(|at| tickets[*at].shown)
        {
            tickets.remove(oldest);
        }
        tickets.push_back(Ticket { number: number.clone(), who, named, shown: Instant::now() });
        Ok(number)
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
        let (access, mut model) = (Access::default(), Model::default());
        let who = Who { uid: 7, user: "olga".into(), privilege: OPERATOR };
        let hash = Some(Hash::of("correct horse").unwrap());
        assert!(access.admit(who.clone(), true, hash.clone(), "wrong").await.is_err());
        assert!(access.admit(who.clone(), true, None, "").await.is_err(), "nobody has no password");
        let ticket = access.admit(who.clone(), true, hash.clone(), "correct horse").await.unwrap();
        let request = Request { ticket, ..Request::default() };
        assert!(access.identify(&model, 7, &request).is_err(), "a user whose line has gone");
        model.users.insert("olga".into(), User { password: hash, privilege: OPERATOR });
        assert_eq!(access.identify(&model, 7, &request).unwrap(), who);
        assert!(access.identify(&model, 8, &request).is_err());
    }
}
