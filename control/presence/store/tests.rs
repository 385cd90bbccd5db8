// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;
use crate::transport::{ConnId, LIMITS};

fn aor(text: &str) -> Aor {
    Aor::parse(text).expect("an address")
}

fn dialog(tag: u64) -> Dialog {
    let request = format!(
        "SUBSCRIBE sip:bob@local.example SIP/2.0\r\nVia: SIP/2.0/TLS e;branch=z9hG4bK1\r\nFrom: <sip:x@f.example>;tag=a\r\nTo: <sip:bob@local.example>\r\n\
         Call-ID: c{tag}\r\nCSeq: 1 SUBSCRIBE\r\nContact: <sip:x@h.example>\r\nRecord-Route: <sip:r.example;lr;sig='>\r\nContent-Length: 0\r\n\r\n"
    );
    let incoming =
        crate::message::Incoming::scan(request.as_bytes().into(), ConnId(0), &LIMITS).expect("a message");
    let mut dialog = Dialog::of_request(incoming.msg(), Tag(tag), ConnId(0)).expect("a dialog");
    dialog.conn = None;
    dialog
}

fn subscription(tag: u64, expires: u64) -> Write {
    Write::Subscribed(Box::new(StoredSubscription {
        dialog: dialog(tag),
        resource: aor("bob@local.example"),
        watcher: aor("x@f.example"),
        package: Package::Presence,
        event_id: Some("7".into()),
        expires,
    }))
}

/// Each kind of write, made, changed and taken back; what is read is what a map would hold.
async fn round(url: &str) {
    let (bob, x) = (aor("bob@local.example"), aor("x@f.example"));
    let domain = Subject::Domain("f.example".into());
    let note = Presence { reach: Reach::Busy, note: Some("it's \"me\"; DROP TABLE".into()) };
    let mut store = Store::open(url).await.expect("a store");
    store
        .commit(&[
            Write::Policy(bob.clone(), Subject::User(x.clone()), Some(Verdict::Allow)),
            Write::Policy(bob.clone(), Subject::User(x.clone()), Some(Verdict::Block)),
            Write::Policy(bob.clone(), domain.clone(), Some(Verdict::Allow)),
            Write::Contact(bob.clone(), x.clone(), Some("X".into())),
            Write::Asked(bob.clone(), x.clone(), Some(5)),
            Write::Asked(bob.clone(), x.clone(), Some(6)),
            subscription(1, 10),
            subscription(1, 20),
            subscription(2, 30),
            Write::Published(9, bob.clone(), 40, note.clone()),
            Write::Bound(bob.clone(), "sip:b@h".into(), 50, u32::MAX, "c".into()),
            Write::Preference(bob.clone(), "theme".into(), Some("light".into())),
            Write::Preference(bob.clone(), "theme".into(), Some("d'ark".into())),
        ])
        .await
        .expect("committed");
    store.close().await.expect("closed");
    let mut store = Store::open(url).await.expect("the store again");
    let mut image = store.load().await.expect("an image");
    image.policy.sort_by(|a, b| a.1.cmp(&b.1));
    image.subscriptions.sort_by_key(|sub| sub.dialog.tag);
    assert_eq!(
        image.policy,
        [
            (bob.clone(), Subject::User(x.clone()), Verdict::Block),
            (bob.clone(), domain.clone(), Verdict::Allow)
        ]
    );
    assert_eq!(image.contacts, [(bob.clone(), x.clone(), "X".to_owned())]);
    assert_eq!(image.asked, [(bob.clone(), x.clone(), 5)]);
    let subscriptions: Vec<_> =
        image.subscriptions.into_iter().map(|sub| Write::Subscribed(Box::new(sub))).collect();
    assert_eq!(subscriptions, [subscription(1, 20), subscription(2, 30)]);
    assert_eq!(image.publications, [(9, bob.clone(), 40, note)]);
    assert_eq!(image.bindings, [(bob.clone(), "sip:b@h".to_owned(), 50, u32::MAX, "c".to_owned())]);
    assert_eq!(image.preferences, [(bob.clone(), "theme".to_owned(), "d'ark".to_owned())]);
    store
        .commit(&[
            Write::Policy(bob.clone(), Subject::User(x.clone()), None),
            Write::Policy(bob.clone(), domain, None),
            Write::Contact(bob.clone(), x.clone(), None),
            Write::Asked(bob.clone(), x, None),
            Write::Unsubscribed(Tag(1)),
            Write::Unsubscribed(Tag(2)),
            Write::Unpublished(9),
            Write::Unbound(bob.clone(), "sip:b@h".into()),
            Write::Preference(bob, "theme".into(), None),
        ])
        .await
        .expect("committed");
    let left = store.load().await.expect("an image");
    assert_eq!(format!("{left:?}"), format!("{:?}", Image::default()));
    store.close().await.expect("closed");
}

#[tokio::test]
async fn sqlite_gives_back_what_it_was_given() {
    let dir = tempfile::tempdir().expect("a folder");
    round(&format!("sqlite:{}", dir.path().join("store").display())).await;
}

#[tokio::test]
async fn a_later_store_is_refused_and_a_damaged_row_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", dir.path().join("store").display());
    let mut store = Store::open(&url).await.expect("a store");
    store
        .db
        .execute("INSERT INTO policy VALUES ('bob@local.example', 'user', 'x@f.example', 'maybe')")
        .await
        .expect("done");
    let why = store.load().await.expect_err("damaged").to_string();
    assert!(why.contains("policy") && why.contains("bob@local.example"), "{why}");
    store.db.execute("UPDATE schema_version SET version = 99").await.expect("done");
    store.close().await.expect("closed");
    assert!(matches!(Store::open(&url).await, Err(StoreError::Later { found: 99, .. })));
}

#[tokio::test]
async fn two_nodes_never_share_a_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", dir.path().join("store").display());
    let store = Store::open(&url).await.expect("a store");
    assert!(matches!(Store::open(&url).await, Err(StoreError::Database(_))));
    store.close().await.expect("closed");
}

/// A server of its own in a folder of its own; as the user `postgres`, since it will not run as root.
#[test]
fn postgresql_gives_back_what_it_was_given() {
    let server = postgres::Server::start().expect("PostgreSQL, which scripts/setup installs");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(round(&server.url));
}

mod postgres {
    use std::path::PathBuf;
    use std::process::{Command, Stdio};

    pub(super) struct Server {
        pub(super) url: String,
        dir: tempfile::TempDir,
        bin: PathBuf,
    }

    impl Server {
        pub(super) fn start() -> Option<Self> {
            let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
            let bin =
                versions.flatten().map(|v| v.path().join("bin")).find(|bin| bin.join("initdb").exists())?;
            let dir = tempfile::tempdir().expect("a folder");
            let path = dir.path().display().to_string();
            let is_root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n");
            if is_root && !Command::new("chown").args(["postgres", &path]).status().is_ok_and(|s| s.success())
            {
                return None;
            }
            let server = Self { url: format!("postgres://fedgate@localhost/postgres?host={path}"), dir, bin };
            let data = format!("{path}/data");
            let init =
                server.run("initdb", &["-D", &data, "-U", "fedgate", "-A", "trust", "--no-sync"], is_root);
            let options = format!("-k {path} -c listen_addresses= -c fsync=off");
            let log = format!("{path}/log");
            let start =
                server.run("pg_ctl", &["-D", &data, "-w", "-l", &log, "-o", &options, "start"], is_root);
            assert!(init && start, "PostgreSQL does not start");
            Some(server)
        }

        fn run(&self, program: &str, arguments: &[&str], is_root: bool) -> bool {
            let program = self.bin.join(program);
            let mut command = if is_root {
                let mut command = Command::new("runuser");
                command.args(["-u", "postgres", "--"]).arg(program);
                command
            } else {
                Command::new(program)
            };
            let command =
                command.args(arguments).current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            let data = self.dir.path().join("data").display().to_string();
            let is_root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n");
            self.run("pg_ctl", &["-D", &data, "-m", "immediate", "stop"], is_root);
        }
    }
}
