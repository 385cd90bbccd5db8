// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who is logged in, and who has tried too often to be.
//!
//! A session is a secret of 256 bits that its client shows with each request. The node keeps a hash of it and no more, so neither a copy of its memory
//! nor the time a look-up takes tells one. A session ends when it is not used for a while, after [`LIFE`] in any case, or by logging out. A restart ends
//! all: they are not stored. At most so many as the configuration says, and [`OF_ONE`] of one user, whose oldest makes room.
//!
//! Wrong passwords are counted by where they come from and by whom they are for; beyond [`FROM_ONE`] and [`FOR_ONE`] in [`WINDOW`] nothing is
//! looked at until the window has passed, not even what would be right, so that guessing learns nothing. Who floods a user's name
//! keeps that user from logging in here for that time; sessions and SIP devices go on. At most [`MAX_ATTEMPTS`] names and addresses are kept;
//! when all are in use, any one of them makes room.
//!
//! Pure; owned by the service.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};

/// The longest a session lasts.
const LIFE: Duration = Duration::from_secs(12 * 3_600);
/// Sessions of one user.
const OF_ONE: usize = 16;
/// As long as wrong passwords count.
const WINDOW: Duration = Duration::from_secs(300);
/// Wrong passwords from one address.
const FROM_ONE: u32 = 20;
/// Wrong passwords for one user.
const FOR_ONE: u32 = 10;
/// Addresses and users remembered for wrong passwords.
const MAX_ATTEMPTS: usize = 65_536;
/// Between two times all sessions are looked through.
const SWEEP: Duration = Duration::from_secs(30);

/// What is kept of a secret.
pub(super) type Key = [u8; 32];

/// The key of a secret.
pub(super) fn key_of(secret: &str) -> Key {
    let mut key = [0; 32];
    key.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    key
}

/// A new secret: 64 hex digits. `None` where the system has no random numbers.
pub(super) fn secret() -> Option<String> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

struct Session {
    user: String,
    made: Instant,
    used: Instant,
}

/// All sessions.
pub(super) struct Sessions {
    all: HashMap<Key, Session>,
    of: HashMap<String, Vec<Key>>,
    most: usize,
    idle: Duration,
    swept: Option<Instant>,
}

impl Sessions {
    /// At most so many, each at most so long without being used.
    pub(super) fn new(most: usize, idle: Duration) -> Self {
        Self { all: HashMap::new(), of: HashMap::new(), most, idle, swept: None }
    }

    /// Seconds without use after which one ends.
    pub(super) fn idle(&self) -> u64 {
        self.idle.as_secs()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// A new one for `user`. `Err` where there is no room.
    pub(super) fn begin(&mut self, key: Key, user: &str, now: Instant) -> Result<(), ()> {
        self.sweep(now);
        let oldest =
            self.of.get(user).filter(|keys| keys.len() >= OF_ONE).and_then(|keys| keys.first().copied());
        if let Some(oldest) = oldest {
            self.end(&oldest);
        }
        if self.all.len() >= self.most {
            return Err(());
        }
        self.all.insert(key, Session { user: user.to_owned(), made: now, used: now });
        self.of.entry(user.to_owned()).or_default().push(key);
        Ok(())
    }

    /// Whose it is, if it lives; it has been used.
    pub(super) fn use_it(&mut self, key: &Key, now: Instant) -> Option<String> {
        if !self.lives(key, now) {
            self.end(key);
            return None;
        }
        let session = self.all.get_mut(key)?;
        session.used = now;
        Some(session.user.clone())
    }

    fn lives(&self, key: &Key, now: Instant) -> bool {
        self.all.get(key).is_some_and(|session| self.is_good(session, now))
    }

    fn is_good(&self, session: &Session, now: Instant) -> bool {
        now.duration_since(session.used) < self.idle && now.duration_since(session.made) < LIFE
    }

    /// Ends one; whether it was there.
    pub(super) fn end(&mut self, key: &Key) -> bool {
        let Some(session) = self.all.remove(key) else { return false };
        if let Some(keys) = self.of.get_mut(&session.user) {
            keys.retain(|other| other != key);
            if keys.is_empty() {
                self.of.remove(&session.user);
            }
        }
        true
    }

    fn sweep(&mut self, now: Instant) {
        let full = self.all.len() >= self.most;
        if !full && self.swept.is_some_and(|swept| now.duration_since(swept) < SWEEP) {
            return;
        }
        self.swept = Some(now);
        let ended: Vec<Key> =
            self.all.iter().filter(|(_, session)| !self.is_good(session, now)).map(|(key, _)| *key).collect();
        for key in ended {
            self.end(&key);
        }
    }
}

/// What wrong passwords are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Source {
    /// An IPv4 address, or the /64 of an IPv6 one: all of that is one customer's.
    From(IpAddr),
    /// A user, there or not.
    For(String),
}

/// Wrong passwords.
#[derive(Default)]
pub(super) struct Attempts {
    all: HashMap<Source, (u32, Instant)>,
    swept: Option<Instant>,
}

impl Attempts {
    /// Seconds until `user` may be tried from `from`; `None` for at once.
    pub(super) fn wait(&self, from: IpAddr, user: &str, now: Instant) -> Option<u64> {
        let of = |source: &Source, most: u32| {
            let (count, began) = self.all.get(source)?;
            let left = WINDOW.checked_sub(now.duration_since(*began)).filter(|left| !left.is_zero())?;
            (*count >= most).then(|| left.as_secs() + 1)
        };
        of(&network(from), FROM_ONE).max(of(&Source::For(user.to_owned()), FOR_ONE))
    }

    /// One more is tried, and counts as wrong until it has been judged otherwise: so many at once are no way around the limit.
    pub(super) fn tried(&mut self, from: IpAddr, user: &str, now: Instant) {
        for source in [network(from), Source::For(user.to_owned())] {
            if !self.all.contains_key(&source) && self.all.len() >= MAX_ATTEMPTS {
                self.make_room(now);
            }
            let (count, began) = self.all.entry(source).or_insert((0, now));
            if now.duration_since(*began) >= WINDOW {
                (*count, *began) = (0, now);
            }
            *count = count.saturating_add(1);
        }
    }

    /// One was right: what was wrong for this user before it was a slip.
    pub(super) fn right(&mut self, from: IpAddr, user: &str) {
        self.all.remove(&Source::For(user.to_owned()));
        self.take_back(&network(from));
    }

    /// One could not be judged.
    pub(super) fn not_judged(&mut self, from: IpAddr, user: &str) {
        self.take_back(&network(from));
        self.take_back(&Source::For(user.to_owned()));
    }

    fn take_back(&mut self, source: &Source) {
        if let Some((count, _)) = self.all.get_mut(source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.all.remove(source);
            }
        }
    }

    fn make_room(&mut self, now: Instant) {
        if self.swept.is_none_or(|swept| now.duration_since(swept) >= SWEEP) {
            self.swept = Some(now);
            self.all.retain(|_, (_, began)| now.duration_since(*began) < WINDOW);
        }
        let any = self.all.keys().next().cloned();
        if let Some(any) = any.filter(|_| self.all.len() >= MAX_ATTEMPTS) {
            self.all.remove(&any);
        }
    }
}

fn network(from: IpAddr) -> Source {
    Source::From(match from {
        IpAddr::V4(_) => from,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn sessions(most: usize) -> (Sessions, Instant) {
        (Sessions::new(most, Duration::from_secs(60)), Instant::now())
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_session_lives_while_it_is_used_and_no_longer_than_half_a_day() {
        let (mut all, start) = sessions(10);
        let key = key_of(&secret().expect("random numbers"));
        all.begin(key, "bob", start).expect("room");
        let mut now = start;
        while now < start + LIFE - Duration::from_secs(59) {
            assert_eq!(all.use_it(&key, now).as_deref(), Some("bob"));
            now += Duration::from_secs(59);
        }
        assert_eq!(all.use_it(&key, start + LIFE), None);
        all.begin(key, "bob", start).expect("room");
        assert_eq!(all.use_it(&key, after(start, 60)), None);
        assert_eq!((all.len(), all.of.len()), (0, 0));
    }

    #[test]
    fn a_user_s_oldest_makes_room_and_others_do_not() {
        let (mut all, start) = sessions(OF_ONE + 1);
        let key = |n: usize| key_of(&n.to_string());
        for n in 0..=OF_ONE {
            all.begin(key(n), "bob", start).expect("room");
        }
        assert_eq!(all.use_it(&key(0), start), None);
        assert!(all.use_it(&key(1), start).is_some());
        all.begin(key(100), "ann", start).expect("room");
        assert!(all.begin(key(101), "cid", start).is_err());
        // What has ended makes room even before it is looked for.
        assert!(all.begin(key(101), "cid", after(start, 61)).is_ok());
        assert!(all.end(&key(101)) && !all.end(&key(101)));
        assert_eq!((all.len(), all.of.len()), (0, 0));
    }

    #[test]
    fn guesses_are_limited_by_user_and_by_address() {
        let (mut attempts, start) = (Attempts::default(), Instant::now());
        for n in 0..FOR_ONE {
            assert_eq!(attempts.wait(HERE, "bob", start), None, "{n}");
            attempts.tried(HERE, "bob", start);
        }
        // From anywhere, but only bob.
        let there: IpAddr = "2001:db8::1".parse().expect("an address");
        assert_eq!(attempts.wait(there, "bob", start), Some(301));
        assert_eq!(attempts.wait(HERE, "ann", start), None);
        assert_eq!(attempts.wait(HERE, "bob", start + WINDOW), None);
        for n in 0..FROM_ONE {
            attempts.tried(there, &format!("user{n}"), start);
        }
        let neighbour: IpAddr = "2001:db8::2".parse().expect("an address");
        assert!(attempts.wait(neighbour, "ann", start).is_some());
        assert_eq!(attempts.wait("2001:db8:0:1::1".parse().expect("an address"), "ann", start), None);
        attempts.right(HERE, "bob");
        assert_eq!(attempts.wait(HERE, "bob", start), None);
        // What was right, or not judged, is not counted.
        for _ in 0..100 {
            attempts.tried(HERE, "cid", start);
            attempts.right(HERE, "cid");
            attempts.tried(HERE, "cid", start);
            attempts.not_judged(HERE, "cid");
        }
        assert_eq!(attempts.wait(HERE, "cid", start), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut attempts, start) = (Attempts::default(), Instant::now());
        for n in 0..MAX_ATTEMPTS + 10 {
            attempts.tried(HERE, &n.to_string(), start + Duration::from_millis(n as u64 / 1_000));
        }
        assert_eq!(attempts.all.len(), MAX_ATTEMPTS);
    }
}
