// SPDX-License-Identifier: MIT OR Apache-2.0
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::*;
use crate::postgres::Server;
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
            Write::Contact(
                bob.clone(),
                x.clone(),
                Some(Contact { name: "X".into(), groups: vec!["a".into(), "b".into()] }),
            ),
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
    assert_eq!(
        image.contacts,
        [(bob.clone(), x.clone(), Contact { name: "X".into(), groups: vec!["a".into(), "b".into()] })]
    );
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

/// A store from a later version, and one that somebody has been at.
async fn not_ours(url: &str) {
    let mut store = Store::open(url).await.expect("a store");
    store
        .db
        .execute("INSERT INTO policy VALUES ('bob@local.example', 'user', 'x@f.example', 'maybe')")
        .await
        .expect("done");
    let why = store.load().await.expect_err("damaged").to_string();
    assert!(why.contains("policy") && why.contains("bob@local.example"), "{why}");
    store.db.execute("UPDATE schema_version SET version = 99").await.expect("done");
    store.close().await.expect("closed");
    assert!(matches!(Store::open(url).await, Err(StoreError::Later { found: 99, .. })));
}

/// A transaction is all of it or nothing: where one write cannot be made, none of the others has been.
async fn all_or_nothing(url: &str) {
    let (bob, x) = (aor("bob@local.example"), aor("x@f.example"));
    let mut store = Store::open(url).await.expect("a store");
    store.db.execute("DROP TABLE preference").await.expect("dropped");
    let writes = [
        Write::Contact(bob.clone(), x.clone(), Some(Contact::default())),
        Write::Preference(bob.clone(), "theme".into(), Some("light".into())),
    ];
    assert!(matches!(store.commit(&writes).await, Err(StoreError::Database(_))));
    store.db.execute("CREATE TABLE preference (owner TEXT, name TEXT, value TEXT)").await.expect("made");
    assert_eq!(store.load().await.expect("an image").contacts, []);
    store.close().await.expect("closed");
}

/// Two nodes on one store: one writes, and one that has been given up writes nothing any more.
async fn one_writes(url: &str) {
    let (bob, x) = (aor("bob@local.example"), aor("x@f.example"));
    let entry = |name: &str| Contact { name: name.into(), groups: Vec::new() };
    let contact = |name: &str| [Write::Contact(bob.clone(), x.clone(), Some(entry(name)))];
    let names = |image: Image| image.contacts.into_iter().map(|(_, _, of)| of.name).collect::<Vec<_>>();
    let term = Duration::from_millis(600);
    let (mut first, mut second) =
        (Store::open(url).await.expect("a store"), Store::open(url).await.expect("a store"));
    let mut one = Lease::open(url, "one", term).await.expect("a lease");
    let mut two = Lease::open(url, "two", term).await.expect("a lease");
    let token = one.take().await.expect("asked").expect("it is free");
    first.fence(token, term).await.expect("fenced");
    first.commit(&contact("1")).await.expect("committed");
    assert_eq!((two.take().await.expect("asked"), two.holder().await.expect("told").as_str()), (None, "one"));
    // Renewed, it stays whose it is.
    sleep(term / 2).await;
    one.renew().await.expect("renewed");
    sleep(term * 2 / 3).await;
    assert_eq!(two.take().await.expect("asked"), None);
    first.commit(&contact("2")).await.expect("committed");
    // Not renewed, it is the other's, and with it what was stored.
    sleep(term).await;
    let next = two.take().await.expect("asked").expect("it has run out");
    assert!(next > token);
    assert!(matches!(first.commit(&contact("3")).await, Err(StoreError::Lost)));
    assert!(matches!(one.renew().await, Err(StoreError::Lost)));
    second.fence(next, term).await.expect("fenced");
    assert_eq!(names(second.load().await.expect("an image")), ["2"]);
    second.commit(&contact("4")).await.expect("committed");
    // One that stands still within a transaction holds nobody up for longer than a term, and what it was about is not done.
    two.renew().await.expect("renewed");
    let mut tx = second.db.begin().await.expect("begun");
    sqlx::query(lease::FENCE).bind(next).fetch_one(&mut *tx).await.expect("held");
    apply(&mut tx, &contact("5")[0]).await.expect("done");
    let began = Instant::now();
    let again = loop {
        if let Some(token) = one.take().await.expect("asked") {
            break token;
        }
        sleep(term / 20).await;
    };
    assert!(again > next && began.elapsed() < term * 3, "{:?}", began.elapsed());
    assert!(tx.commit().await.is_err());
    first.fence(again, term).await.expect("fenced");
    assert_eq!(names(first.load().await.expect("an image")), ["4"]);
    // Given back, it is free at once.
    one.release().await.expect("given back");
    assert!(two.take().await.expect("asked").is_some());
}

/// Of the version before there were groups, with a contact in it.
async fn without_groups(url: &str) {
    let mut store = Store::open(url).await.expect("a store");
    store.db.execute("ALTER TABLE contact DROP COLUMN in_groups").await.expect("dropped");
    store.db.execute("DROP TABLE lease").await.expect("dropped");
    store.db.execute("UPDATE schema_version SET version = 2").await.expect("done");
    store
        .db
        .execute("INSERT INTO contact VALUES ('bob@local.example', 'x@f.example', 'X')")
        .await
        .expect("done");
    store.close().await.expect("closed");
    let mut store = Store::open(url).await.expect("a store");
    let of = Contact { name: "X".into(), groups: Vec::new() };
    assert_eq!(
        store.load().await.expect("an image").contacts,
        [(aor("bob@local.example"), aor("x@f.example"), of)]
    );
    store.close().await.expect("closed");
}

fn file(dir: &tempfile::TempDir) -> String {
    format!("sqlite:{}", dir.path().join("store").display())
}

#[tokio::test]
async fn a_store_of_before_is_brought_forward() {
    without_groups(&file(&tempfile::tempdir().expect("a folder"))).await;
}

#[tokio::test]
async fn sqlite_gives_back_what_it_was_given() {
    round(&file(&tempfile::tempdir().expect("a folder"))).await;
}

#[tokio::test]
async fn sqlite_refuses_a_later_store_and_names_a_damaged_row() {
    not_ours(&file(&tempfile::tempdir().expect("a folder"))).await;
}

#[tokio::test]
async fn sqlite_commits_all_or_nothing() {
    all_or_nothing(&file(&tempfile::tempdir().expect("a folder"))).await;
}

#[tokio::test]
async fn two_nodes_never_share_a_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(&file(&dir)).await.expect("a store");
    assert!(matches!(Store::open(&file(&dir)).await, Err(StoreError::Database(_))));
    store.close().await.expect("closed");
}

/// All of it again in PostgreSQL, each in a database of its own.
#[tokio::test]
async fn postgresql_does_what_sqlite_does() {
    let server = Server::start();
    round(&server.database()).await;
    not_ours(&server.database()).await;
    all_or_nothing(&server.database()).await;
    without_groups(&server.database()).await;
    one_writes(&server.database()).await;
}
