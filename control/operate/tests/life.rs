// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commits, refusals, re-attachment, and what a new control finds of the one before.

use fedgate_tables::counters::DomainCounter;
use fedgate_tables::domains::Listed;

use super::{CONFIG, Lab, generation, permitted, wait};
use crate::operate::protocol::{FAILED, USAGE};

#[test]
fn the_first_policy_and_table_are_there_when_the_daemon_is() {
    let lab = Lab::new();
    let fake = lab.fake();
    let _control = lab.control();
    assert_eq!(generation(&fake), 1);
    assert!(permitted(&fake, "foreign.example") && !permitted(&fake, "other.example"));
    assert!(lab.running().contains("permit domain foreign.example\n"));
    assert!(lab.good("show version").contains("1 workers"));
    assert!(lab.good("show dataplane").contains("answered in"));
}

#[test]
fn domain_commands_act_in_place_and_at_once() {
    let lab = Lab::new();
    let fake = lab.fake();
    let _control = lab.control();
    let before = (generation(&fake), fake.state().tables);
    for _ in 0..20 {
        lab.good("permit domain Other.Example.");
        assert!(permitted(&fake, "other.example"));
        assert!(lab.running().contains("permit domain other.example\n"));
        lab.good("block domain other.example");
        assert!(!permitted(&fake, "other.example"));
        lab.good("no block domain other.example");
        assert!(permitted(&fake, "other.example"));
        lab.good("no permit domain other.example");
        assert!(!permitted(&fake, "other.example"));
        assert!(!lab.running().contains("other.example"));
    }
    assert_eq!((generation(&fake), fake.state().tables), before, "no policy and no table was pushed");
    let (code, _, err) = lab.cli("permit domain ours.example");
    assert_eq!(code, FAILED);
    assert!(err.contains("ours.example is a local domain"), "{err}");
    let (code, _, err) = lab.cli("permit domain *.com");
    assert_eq!(code, USAGE);
    assert!(err.contains("top-level"), "{err}");
}

#[test]
fn a_full_table_is_replaced_without_a_gap() {
    let lab = Lab::new();
    let fake = lab.fake();
    let _control = lab.control();
    let mut lines = CONFIG.to_owned();
    (0..3000).for_each(|n| lines.push_str(&format!("permit domain d{n}.example\n")));
    std::fs::write(lab.path("many.cfg"), lines).unwrap();
    lab.good(&format!("configure replace {}", lab.path("many.cfg").display()));
    assert!(fake.state().tables > 1, "a successor was sent");
    assert!((0..3000).all(|n| permitted(&fake, &format!("d{n}.example"))));
    assert!(permitted(&fake, "foreign.example"));
}

#[test]
fn a_commit_is_in_force_and_on_disk_when_the_command_returns() {
    let lab = Lab::new();
    let fake = lab.fake();
    let _control = lab.control();
    lab.good("access-list out extended permit udp any any eq sip");
    assert_eq!(generation(&fake), 2);
    assert_eq!(fake.state().policy.as_ref().unwrap().view().aces().len(), 3);
    assert!(lab.running().contains("permit udp any any eq sip\n"));
    lab.good("no access-list out extended permit udp any any eq 5060");
    assert_eq!(fake.state().policy.as_ref().unwrap().view().aces().len(), 2);
    assert_eq!(lab.good("show running-config"), lab.running());
}

#[test]
fn what_the_dataplane_refuses_does_not_happen() {
    let lab = Lab::new();
    let fake = lab.fake();
    let _control = lab.control();
    let running = lab.running();
    fake.state().refuse = Some("no such port".into());
    let (code, _, err) = lab.cli("access-list out extended permit udp any any eq sip");
    assert_eq!(code, FAILED);
    assert_eq!(err, "the dataplane refused it: no such port\n");
    assert_eq!((lab.running(), lab.good("show running-config")), (running.clone(), running));
    lab.good("access-list out extended permit udp any any eq sip");
}

#[test]
fn a_commit_that_cannot_be_kept_is_undone() {
    let lab = Lab::new();
    let fake = lab.fake();
    let _control = lab.control();
    // A folder where the file would be written: fails for root too.
    std::fs::create_dir(lab.path("running-config.new")).unwrap();
    let (code, _, err) = lab.cli("access-list out extended permit udp any any eq sip");
    assert_eq!(code, FAILED);
    assert!(err.contains("cannot write"), "{err}");
    assert_eq!(fake.state().policy.as_ref().unwrap().view().aces().len(), 2, "the old policy is back");
    assert_eq!(generation(&fake), 3);
    // So is one of the domain lists.
    std::fs::remove_dir(lab.path("running-config.new")).unwrap();
    let list = lab.path("running-config");
    let named = std::fs::read_to_string(&list).unwrap().lines().next().unwrap().replace("! domains ", "");
    let file = lab.path(&format!("domains.{}", named.split(' ').next().unwrap()));
    std::fs::create_dir(lab.path("running-config.new")).unwrap();
    let before = std::fs::read(&file).unwrap();
    std::fs::write(lab.path("more.cfg"), format!("{CONFIG}permit domain other.example\n")).unwrap();
    let (code, _, err) = lab.cli(&format!("configure replace {}", lab.path("more.cfg").display()));
    assert_eq!((code, permitted(&fake, "other.example")), (FAILED, false), "{err}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    assert!(!lab.running().contains("other.example"));
}

#[test]
fn bad_files_and_lines_change_nothing() {
    let lab = Lab::new();
    let fake = lab.fake();
    let _control = lab.control();
    std::fs::write(lab.path("bad.cfg"), CONFIG.replace("subnet", "sbnet")).unwrap();
    let (code, _, err) = lab.cli(&format!("configure replace {}", lab.path("bad.cfg").display()));
    assert_eq!(code, FAILED);
    assert!(err.contains("bad.cfg:12:2"), "{err}");
    assert_eq!(lab.cli("acess-list x").0, USAGE);
    assert_eq!(lab.cli("show conn address nowhere").0, USAGE);
    assert_eq!(lab.cli("no hostname other").0, FAILED);
    assert_eq!(generation(&fake), 1);
}

#[test]
fn a_lost_link_is_made_again_and_nothing_is_pushed_that_is_there() {
    let lab = Lab::new();
    let fake = lab.fake();
    let _control = lab.control();
    lab.good("permit domain other.example");
    fake.state().hang_up = true;
    wait("sees the loss", || lab.cli("show dataplane").0 == FAILED);
    wait("comes back", || lab.cli("show dataplane").0 == 0);
    let state = fake.state();
    assert_eq!((state.policies, state.tables), (1, 1));
    drop(state);
    lab.good("no permit domain other.example");
    assert!(!permitted(&fake, "other.example"));
}

#[test]
fn without_a_dataplane_commits_are_kept_for_it() {
    let lab = Lab::new();
    let control = lab.control();
    lab.good("hostname kept");
    lab.good("permit domain other.example");
    assert_eq!(lab.cli("show conn").0, FAILED);
    let fake = lab.fake();
    wait("attaches", || lab.cli("show dataplane").0 == 0);
    assert!(permitted(&fake, "other.example"));
    // The dataplane starts anew, with nothing.
    drop(fake);
    let fake = lab.fake();
    wait("gives it all again", || generation(&fake) > 0);
    assert!(permitted(&fake, "other.example"));
    drop(control);
}

#[test]
fn a_new_control_takes_over_tables_counters_and_configuration() {
    let lab = Lab::new();
    let fake = lab.fake();
    let control = lab.control();
    lab.good("access-list out extended permit udp any any eq sip");
    lab.good("permit domain other.example");
    let slot = {
        let state = fake.state();
        let Some(Listed::Permitted { id, .. }) = state.table.as_ref().map(|t| t.lookup(b"other.example"))
        else {
            panic!("is permitted")
        };
        state.counters.domain(id, DomainCounter::PermittedIn);
        let view = state.policy.as_ref().unwrap().view();
        let slot = view.aces()[2].counter;
        (0..5).for_each(|_| state.counters.ace(slot));
        slot
    };
    drop(control);
    assert!(permitted(&fake, "other.example"), "the table outlives control");
    let _control = lab.control();
    let pushed = |state: &super::fake::State| (state.policies, state.tables);
    assert_eq!(pushed(&fake.state()), (2, 1), "nothing was pushed anew");
    assert!(lab.good("show access-list out").contains("permit udp any any eq sip (hitcnt=5)"));
    let domains = lab.good("show domains");
    let line = domains.lines().find(|l| l.starts_with("other.example")).unwrap();
    assert_eq!(line.split_whitespace().nth(2), Some("1"), "{domains}");
    lab.good("no access-list out extended deny ip any any log");
    let state = fake.state();
    let view = state.policy.as_ref().unwrap().view();
    assert_eq!((view.aces()[1].counter, view.generation()), (slot, 3));
}

#[test]
fn a_startup_config_counts_only_for_a_fresh_dataplane() {
    let lab = Lab::new();
    let fake = lab.fake();
    let control = lab.control();
    lab.good("hostname changed");
    drop(control);
    // Same dataplane: goes on with what runs.
    let control = lab.control();
    assert!(lab.good("show running-config").contains("hostname changed\n"));
    assert!(lab.good("show startup-config").contains("hostname fw\n"));
    drop((control, fake));
    // Fresh dataplane: as at boot.
    let _fake = lab.fake();
    let control = lab.control();
    assert!(lab.good("show running-config").contains("hostname fw\n"));
    lab.good("hostname written");
    assert_eq!(lab.good("write memory"), "[OK]\n");
    assert!(std::fs::read_to_string(lab.path("startup.cfg")).unwrap().contains("hostname written\n"));
    drop(control);
}

#[test]
fn a_late_dataplane_that_still_runs_is_not_overrun_by_the_startup_config() {
    let lab = Lab::new();
    let fake = lab.fake();
    let control = lab.control();
    lab.good("hostname changed");
    drop(control);
    let pushed = fake.state().policies;
    // The dataplane cannot be reached while the new control starts.
    let (path, away) = (lab.path("dataplane.sock"), lab.path("away.sock"));
    std::fs::rename(&path, &away).unwrap();
    let _control = lab.control();
    assert!(lab.good("show running-config").contains("hostname fw\n"));
    std::fs::rename(&away, &path).unwrap();
    wait("attaches", || lab.cli("show dataplane").0 == 0);
    assert!(lab.good("show running-config").contains("hostname changed\n"));
    assert_eq!(fake.state().policies, pushed);
}

#[test]
fn a_startup_config_with_an_error_ends_the_daemon() {
    let lab = Lab::new();
    let fake = lab.fake();
    std::fs::write(lab.path("startup.cfg"), "hostnme x\n").unwrap();
    let why = lab.try_control().err().unwrap();
    assert!(why.contains("startup.cfg:1:1") && why.contains("did you mean `hostname`?"), "{why}");
    assert_eq!(generation(&fake), 0);
}

/// A large configuration is written behind the answer, a small one before it, and `write memory` waits.
#[test]
fn a_large_configuration_is_written_behind_the_answer() {
    let lab = Lab::new();
    let _fake = lab.fake();
    let _control = lab.control();
    let mut lines = CONFIG.to_owned();
    (0..10_001).for_each(|n| lines.push_str(&format!("access-list many extended deny tcp any any eq {n}\n")));
    std::fs::write(lab.path("many.cfg"), lines).unwrap();
    lab.good(&format!("configure replace {}", lab.path("many.cfg").display()));
    lab.good("hostname behind");
    lab.good("write memory");
    assert!(lab.running().contains("hostname behind\n"));
    lab.good("hostname later");
    wait("is written", || lab.running().contains("hostname later\n"));
    std::fs::write(lab.path("few.cfg"), CONFIG).unwrap();
    lab.good(&format!("configure replace {}", lab.path("few.cfg").display()));
    assert!(lab.running().contains("hostname fw\n") && !lab.running().contains("access-list many"));
}
