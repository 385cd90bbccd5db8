// SPDX-License-Identifier: MIT OR Apache-2.0
//! Certificates that are about to end, told in time: 30, 14, 7 days and one day before, and when they have ended.
//!
//! Looked at every hour, for what is in force then; each mark is told once a certificate and life of the daemon, in the ASA's words
//! (717054, 717055). `show crypto ca certificates` has the days left at any time, `show counters` the least of them.

use std::rc::Rc;
use std::time::Duration;

use super::Daemon;
use crate::clock::now;
use crate::operate::events::escaped;
use crate::operate::messages::Message;
use crate::operate::show::crypto::date;
use crate::trust::facts::{self, Facts, Status, Told};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(3600);

impl Daemon {
    /// Looks for as long as the daemon lives.
    pub(super) async fn watch_certificates(self: Rc<Self>) {
        let mut told = Told::default();
        loop {
            let (facts, now) = (facts::of(&self.config().material), now());
            for fact in told.due(&facts, now) {
                self.log().tell(&message(fact, now));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn message(facts: &Facts, now: i64) -> Message {
    let (id, what) = match facts.status(now) {
        Status::Expired => (717_055, "has expired".to_owned()),
        Status::Available | Status::Pending => {
            (717_054, format!("is due to expire in {} days", facts.days_left(now)))
        }
    };
    // What a CA wrote into a certificate stays in its line.
    let text = format!(
        "The {} certificate in the trustpoint {} {what}. Expiration {} Subject Name {} Issuer Name {} Serial Number {}",
        facts.kind(),
        facts.trustpoint,
        date(facts.not_after),
        escaped(&facts.subject),
        escaped(&facts.issuer),
        facts.serial
    );
    Message { severity: 1, number: id, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_asas_words() {
        let facts = Facts {
            trustpoint: "public".into(),
            is_ca: false,
            serial: "0A".into(),
            subject: "CN=cup.example.com".into(),
            issuer: "CN=x\ny".into(),
            key: String::new(),
            signature: String::new(),
            not_before: 0,
            not_after: 10 * 86_400,
        };
        let Message { severity, number, text } = message(&facts, 3 * 86_400);
        assert_eq!((severity, number), (1, 717_054));
        assert_eq!(
            text,
            "The identity certificate in the trustpoint public is due to expire in 7 days. Expiration 00:00:00 UTC \
             Jan 11 1970 Subject Name CN=cup.example.com Issuer Name CN=x\\ny Serial Number 0A"
        );
        assert!(
            message(&facts, 11 * 86_400)
                .text
                .starts_with("The identity certificate in the trustpoint public has expired. ")
        );
    }
}
