// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;
use crate::directory::Listed;

const FILE: &str = "[[user]]\naddress = \"bob@local.example\"\npassword = \"b\"\n\
     [[user]]\naddress = \"far@local.example\"\nnode = \"cup2.local.example\"\n";

fn config(more: &str) -> Config {
    let text = "name = \"cup.local.example\"\ndomains = [\"local.example\", \"sales.local.example\"]\nstore = \"s\"\nusers = \"u\"\ncontrol = \"c\"\n\
                [[listen]]\naddress = \"127.0.0.1:0\"\n\
                [tls]\ncertificate = \"c\"\nkey = \"k\"\nca = \"a\"\n\
                [[node]]\nname = \"cup2.local.example\"\nto = [\"127.0.0.1:1\"]\n";
    Config::parse(&format!("{text}{more}"), "config").expect("a configuration")
}

fn aor(user: &str) -> Aor {
    Aor::parse(&format!("{user}@local.example")).expect("an address")
}

fn here(user: &str, password: &str) -> Account {
    Account { name: String::new(), place: Place::with(&aor(user), password).expect("a password") }
}

fn on(node: &str) -> Account {
    Account { name: String::new(), place: Place::On(node.to_owned()) }
}

fn listed(user: &str) -> Listed {
    Listed { aor: aor(user), name: Some(format!("The {user}")), dn: format!("uid={user}") }
}

#[test]
fn the_file_goes_before_the_store_and_the_store_before_the_directory() {
    let cfg = config("");
    let users = Users::parse(FILE, "users", &cfg).expect("users");
    let mut users = users.and(vec![listed("bob"), listed("cid"), listed("dan"), listed("eve")], &cfg);
    assert_eq!(users.len(), 4);
    for (user, account) in [
        ("bob", here("bob", "s")),
        ("cid", here("cid", "c")),
        ("ann", here("ann", "a")),
        ("far", here("far", "f")),
    ] {
        users.set(&aor(user), Some(account), &cfg);
    }
    users.set(&aor("dan"), Some(on("cup2.local.example")), &cfg);
    let password = |users: &Users, user: &str, password: &str| {
        users.get(&aor(user)).map(|user| user.has_password(password))
    };
    assert_eq!(password(&users, "bob", "b"), Some(true));
    assert_eq!(password(&users, "cid", "c"), Some(true));
    assert_eq!(users.get(&aor("cid")).and_then(User::dn), Some("uid=cid"));
    assert_eq!(users.get(&aor("cid")).and_then(|user| user.name.as_deref()), Some("The cid"));
    assert_eq!(password(&users, "ann", "a"), Some(true));
    assert!(users.get(&aor("dan")).is_none() && users.get(&aor("far")).is_none());
    assert_eq!(users.home(&aor("dan")), Some(Home::At(0)));
    // bob, cid, eve, ann; dan has moved.
    assert_eq!((users.len(), users.addresses().len(), users.named(Home::At(0))), (4, 4, 2));
    // The directory is read again, and has nobody any more.
    let mut other = Users::parse(FILE, "users", &cfg).expect("users");
    other.adopt(&users, &cfg);
    assert_eq!(password(&other, "cid", "c"), Some(true));
    assert_eq!(other.get(&aor("cid")).and_then(User::dn), None);
    assert_eq!(other.len(), 3);
    let shown = users.shown(&cfg);
    let from = |user: &str| {
        let all = shown.as_array().expect("a list");
        all.iter().find(|one| one["address"] == aor(user).as_str()).expect("there").clone()
    };
    assert_eq!(from("bob")["from"], json!(["file", "store", "ldap"]));
    assert!(from("bob")["store-not-used"].as_str().is_some_and(|why| why.contains("file")));
    assert_eq!(
        from("cid"),
        json!({ "address": "cid@local.example", "name": "The cid", "from": ["store", "ldap"], "node": "cup.local.example" })
    );
    assert_eq!(from("eve")["from"], json!(["ldap"]));
    assert_eq!(
        (from("dan")["node"].clone(), from("far")["from"].clone()),
        (json!("cup2.local.example"), json!(["file", "store"]))
    );
    // Taken out of the store, they are what the others say.
    for user in ["bob", "cid", "dan", "ann"] {
        users.set(&aor(user), None, &cfg);
    }
    assert_eq!((users.len(), users.get(&aor("ann")).is_none()), (4, true));
    assert_eq!(password(&users, "cid", "c"), Some(false));
}

#[test]
fn what_is_refused_is_named() {
    let cfg = config(
        "[homes]\n\"sales.local.example\" = \"cup2.local.example\"\n\"gus@local.example\" = \"cup.local.example\"\n",
    );
    let mut users = Users::parse(FILE, "users", &cfg).expect("users").and(vec![listed("cid")], &cfg);
    users.set(&aor("ann"), Some(here("ann", "a")), &cfg);
    let why = |user: &str, account: &Account| users.may_add(&aor(user), account, &cfg).expect_err(user);
    assert_eq!(why("bob", &here("bob", "x")), AccountError::InFile(aor("bob")));
    assert_eq!(why("far", &here("far", "x")), AccountError::InFile(aor("far")));
    assert_eq!(why("ann", &here("ann", "x")), AccountError::Twice(aor("ann")));
    assert_eq!(
        why("dan", &on("cup3.local.example")),
        AccountError::Node(aor("dan"), "cup3.local.example".into())
    );
    assert_eq!(
        why("dan", &on("CUP.local.example")),
        AccountError::Own(aor("dan"), "CUP.local.example".into())
    );
    assert!(matches!(why("gus", &on("cup2.local.example")), AccountError::Homes(..)));
    let named = |name: String| Account { name, ..here("dan", "x") };
    assert_eq!(why("dan", &named("n".repeat(MAX_NAME + 1))), AccountError::Name);
    assert_eq!(why("dan", &named("a\u{7}".into())), AccountError::Name);
    assert_eq!(users.may_add(&aor("dan"), &named("Dan".into()), &cfg), Ok(()));
    assert_eq!(users.may_add(&aor("cid"), &here("cid", "x"), &cfg), Ok(()));
    for (other, expected) in [("u@sales.local.example", "[homes]"), ("u@else.example", "domains")] {
        let other = Aor::parse(other).expect("an address");
        let why = users.may_add(&other, &here("u", "x"), &cfg).expect_err("not here").to_string();
        assert!(why.contains(expected), "{why}");
    }
    for bad in [String::new(), "p".repeat(MAX_PASSWORD + 1), "a\u{3}".into()] {
        assert_eq!(Place::with(&aor("dan"), &bad), Err(AccountError::Password));
    }
    assert_eq!(users.account(&aor("bob")), Err(AccountError::InFile(aor("bob"))));
    assert_eq!(users.account(&aor("cid")), Err(AccountError::InDirectory(aor("cid"))));
    assert_eq!(users.account(&aor("dan")), Err(AccountError::Unknown(aor("dan"))));
}

#[test]
fn an_entry_without_a_place_is_kept_and_not_used() {
    let (cfg, mut users) = (config(""), Users::default());
    users.set(&aor("dan"), Some(on("gone.local.example")), &cfg);
    let there = Aor::parse("u@gone.example").expect("an address");
    users.set(&there, Some(here("u", "x")), &cfg);
    assert_eq!((users.len(), users.home(&aor("dan"))), (0, None));
    assert!(users.get(&there).is_none());
    assert_eq!(users.unused(&there, &cfg), Some(AccountError::Domain(there.clone())));
    assert_eq!(users.shown(&cfg).as_array().map(Vec::len), Some(2));
    assert!(users.account(&there).is_ok(), "so it can be removed");
}

#[test]
fn there_is_an_end_to_them() {
    let (cfg, mut users) = (config(""), Users::default());
    let account = here("u", "x");
    for number in 0..MAX_ACCOUNTS {
        users.accounts.all.insert(aor(&format!("u{number}")), account.clone());
    }
    assert_eq!(users.may_add(&aor("dan"), &account, &cfg), Err(AccountError::Full));
    users.set(&aor("u7"), None, &cfg);
    assert_eq!(users.may_add(&aor("dan"), &account, &cfg), Ok(()));
}
