// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;
use crate::aor::Aor;
use crate::config::Config;
use crate::users::Users;

fn bob() -> User {
    let text = "[[user]]\naddress = \"bob@local.example\"\npassword = \"secret\"\n";
    let config = "name = \"n\"\ndomains = [\"local.example\"]\nstore = \"s\"\nusers = \"u\"\ncontrol = \"c\"\n\
                  [[listen]]\naddress = \"127.0.0.1:0\"\n";
    let config = Config::parse(config, "config").expect("a configuration");
    let users = Users::parse(text, "users", &config).expect("users");
    users.get(&Aor::parse("bob@local.example").expect("an address")).expect("bob").clone()
}

/// The client's side, written out by RFC 7616 section 3.4.
fn answer(challenge: &str, algorithm: Algorithm, password: &str, nc: u32, uri: &str) -> String {
    let nonce = challenge.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a nonce");
    let ha1 = hash(algorithm, &format!("bob:local.example:{password}"));
    let ha2 = hash(algorithm, &format!("REGISTER:{uri}"));
    let response = hash(algorithm, &format!("{ha1}:{nonce}:{nc:08x}:abc:auth:{ha2}"));
    let name = algorithm.name();
    format!(
        "Digest username=\"bob\", realm=\"local.example\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\", \
         algorithm={name}, qop=auth, nc={nc:08x}, cnonce=\"abc\""
    )
}

fn judge(auth: &mut Authenticator, value: &str, now: u64) -> Result<(), Denied> {
    let uri = Uri::parse("sip:local.example").expect("a URI");
    auth.verify([value].into_iter(), "REGISTER", &uri, &bob(), now)
}

#[test]
fn both_algorithms_pass_and_each_count_once() {
    let mut auth = Authenticator::new([1; 32], Algorithm::ALL.to_vec());
    let challenges = auth.challenge("local.example", false, 1_000);
    for (challenge, algorithm, counts) in
        [(&challenges[0], Algorithm::Sha256, [1, 3]), (&challenges[1], Algorithm::Md5, [4, 5])]
    {
        for nc in counts {
            let value = answer(challenge, algorithm, "secret", nc, "sip:local.example");
            assert_eq!(judge(&mut auth, &value, 2_000), Ok(()));
            assert_eq!(judge(&mut auth, &value, 2_000), Err(Denied::Stale), "the same request again");
        }
    }
    let late = answer(&challenges[0], Algorithm::Sha256, "secret", 2, "sip:local.example");
    assert_eq!(judge(&mut auth, &late, 2_000), Err(Denied::Stale));
}

#[test]
fn what_does_not_pass() {
    let mut auth = Authenticator::new([1; 32], Algorithm::ALL.to_vec());
    let challenge = auth.challenge("local.example", false, 1_000).remove(0);
    let good = answer(&challenge, Algorithm::Sha256, "secret", 1, "sip:local.example");
    let wrong = answer(&challenge, Algorithm::Sha256, "guess", 1, "sip:local.example");
    let elsewhere = answer(&challenge, Algorithm::Sha256, "secret", 1, "sip:else.example");
    for (value, why) in [
        (wrong.as_str(), Denied::Bad),
        (elsewhere.as_str(), Denied::Bad),
        (&good.replace("qop=auth, ", ""), Denied::Bad),
        (&good.replace("\"bob\"", "\"eve\""), Denied::Bad),
        (&good.replace("realm=\"local", "realm=\"other"), Denied::Missing),
        (&good.replace("Digest ", "Basic "), Denied::Missing),
        (&good.replace("SHA-256", "SHA-1"), Denied::Missing),
        (&format!("{good}, nonce=\"x\""), Denied::Missing),
        (&good.replace("nonce=\"0", "nonce=\"f"), Denied::Stale),
        ("", Denied::Missing),
    ] {
        assert_eq!(judge(&mut auth, value, 2_000), Err(why), "{value}");
    }
    assert_eq!(judge(&mut auth, &good, 1_001 + LIFETIME), Err(Denied::Stale));
    let mut other = Authenticator::new([2; 32], Algorithm::ALL.to_vec());
    assert_eq!(judge(&mut other, &good, 2_000), Err(Denied::Stale), "a nonce of another process");
    assert_eq!(judge(&mut auth, &good, 2_000), Ok(()));
}

#[test]
fn what_is_not_offered_is_not_taken() {
    let mut auth = Authenticator::new([1; 32], vec![Algorithm::Sha256]);
    let challenges = auth.challenge("local.example", false, 1_000);
    assert_eq!(challenges.len(), 1);
    let value = answer(&challenges[0], Algorithm::Md5, "secret", 1, "sip:local.example");
    assert_eq!(judge(&mut auth, &value, 2_000), Err(Denied::Missing));
}

#[test]
fn what_is_remembered_is_bounded_and_ends() {
    let mut auth = Authenticator::new([1; 32], Algorithm::ALL.to_vec());
    for number in 0..MAX_NONCES as u64 {
        assert_eq!(auth.take(number, 1, 1_000, 1_000), Ok(()));
    }
    assert_eq!(auth.take(u64::MAX, 1, 1_000, 1_000), Err(Denied::Stale));
    let later = 1_001 + LIFETIME;
    assert_eq!(auth.take(u64::MAX, 1, later, later), Ok(()));
    assert_eq!(auth.used.len(), 1);
}
