// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is fuzzed of the node (`fuzz/fuzz_targets`), and replayed by a plain test over `tests/corpus/fuzz`, a folder for each.
//!
//! Each takes any octets and panics where what it promises does not hold. The readers are those of the crate itself, which are
//! nobody else's, so this stands inside it; it is built for tests and fuzzing only.

use fedgate_sip::uri::Uri;

use crate::aor::Aor;
use crate::config::Config;
use crate::digest::{Algorithm, Authenticator, hash};
use crate::im::sdp;
use crate::presence::pidf;
use crate::presence::state::Reach;
use crate::users::Users;
use crate::xml::{self, Element};

/// The whole node.
pub fn node(data: &[u8]) {
    let _ = crate::node::fuzzed::check(data);
}

/// An envelope of SOAP's.
pub fn soap(data: &[u8]) {
    crate::web::soap::fuzzed(data);
}

/// A presence document: what is read of one is what is read of the one that is written of it.
pub fn pidf(data: &[u8]) {
    let user = Aor::parse("bob@local.example").expect("an address");
    if let Ok(root) = xml::parse(data) {
        let (mut count, mut deepest) = (0, 0);
        measure(&root, 1, &mut count, &mut deepest);
        assert!(count <= 2_000 && deepest <= 32);
    }
    let Ok(Some(mut presence)) = pidf::read(data, &user) else { return };
    let text = pidf::write(&user, presence.note.as_deref(), &presence);
    // What cannot be said in a document of OCS's is said as what comes nearest.
    if presence.reach == Reach::DoNotDisturb {
        presence.reach = Reach::Busy;
    }
    assert_eq!(pidf::read(text.as_bytes(), &user), Ok(Some(presence)), "{text}");
}

fn measure(element: &Element, depth: usize, count: &mut usize, deepest: &mut usize) {
    *count += 1;
    *deepest = depth.max(*deepest);
    let texts = element.attributes.iter().map(|(_, value)| value).chain([&element.text]);
    for text in texts {
        let escaped = xml::escape(text);
        let again = xml::parse(format!("<a>{escaped}</a>").as_bytes()).expect("our own");
        assert_eq!(again.text.replace('\r', "\n"), text.replace("\r\n", "\n").replace('\r', "\n"));
    }
    for child in &element.children {
        measure(child, depth + 1, count, deepest);
    }
}

/// A session description: one that can be talked by has the one media, and ours can.
pub fn im_sdp(data: &[u8]) {
    if sdp::read(data).is_some() {
        let text = std::str::from_utf8(data).expect("text");
        let media = |line: &&str| line.starts_with("m=message") || line.starts_with("m=x-ms-message");
        assert!(text.starts_with("v=0") && text.lines().any(|line| media(&line)));
    }
}

/// Credentials: the right ones are good once, and to nobody else. The first line is a method, the others headers; `NONCE` and `RIGHT` stand for
/// the nonce that was offered, and the right response to it.
pub fn digest(data: &[u8]) {
    const RIGHT: &[u8] = include_bytes!("../../tests/corpus/fuzz/digest/right");
    const CONFIG: &str = "name = \"n\"\ndomains = [\"local.example\"]\nstore = \"sqlite::memory:\"\nusers = \"u\"\ncontrol = \"c\"\n\
        [[listen]]\naddress = \"127.0.0.1:0\"\n";
    let cfg = Config::parse(CONFIG, "config").expect("a configuration");
    let text = "[[user]]\naddress = \"bob@local.example\"\npassword = \"b\"\n";
    let users = Users::parse(text, "users", &cfg).expect("users");
    let bob = Aor::parse("bob@local.example").expect("an address");
    let user = users.get(&bob).expect("a user");
    let mut judge = Authenticator::new([1; 32], Algorithm::ALL.to_vec());
    let offered = judge.challenge("local.example", false, 1_000);
    let nonce = offered[0].split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a nonce");
    let of = |text: String| hash(Algorithm::Sha256, &text);
    let (ha1, ha2) = (of("bob:local.example:b".to_owned()), of("REGISTER:sip:bob@local.example".to_owned()));
    let right = of(format!("{ha1}:{nonce}:00000001:c:auth:{ha2}"));
    let text = String::from_utf8_lossy(data).replace("NONCE", nonce).replace("RIGHT", &right);
    let (method, headers) = text.split_once('\n').unwrap_or((&text, ""));
    let uri = Uri::parse("sip:bob@local.example").expect("a URI");
    let values = || headers.lines();
    let first = judge.verify(values(), method, &uri, user, 2_000);
    let again = judge.verify(values(), method, &uri, user, 2_000);
    assert!(again.is_err(), "taken twice: {text}");
    // Or it would see nothing but refusals.
    assert!(first.is_ok() || data != RIGHT, "{first:?}");
    assert!(
        Authenticator::new([2; 32], Algorithm::ALL.to_vec())
            .verify(values(), method, &uri, user, 2_000)
            .is_err()
    );
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    fn replay(target: &str, mut check: impl FnMut(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/fuzz").join(target);
        let files: Vec<_> = std::fs::read_dir(folder).expect("a folder of seeds").collect();
        assert!(!files.is_empty());
        for file in files {
            check(&std::fs::read(file.expect("an entry").path()).expect("readable"));
        }
    }

    #[test]
    fn what_fuzzing_began_with_and_found() {
        let mut counted = BTreeMap::new();
        replay("node", |data| counted.extend(crate::node::fuzzed::check(data)));
        // Or the plays would be about nothing.
        for name in [
            "texts_delivered",
            "sessions_in",
            "sessions_out",
            "notifies",
            "subscribes",
            "subscribe_refused",
            "group_chat",
        ] {
            assert!(counted.contains_key(name), "{name}: {counted:?}");
        }
        replay("pidf", super::pidf);
        replay("soap", super::soap);
        replay("im_sdp", super::im_sdp);
        replay("digest", super::digest);
    }
}
