// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attaching that does not come to its end: what commands say meanwhile, what is left alone, and that it is tried again.

use super::fake::{Fake, State};
use super::{CONFIG, Control, Lab, generation, permitted, wait};
use crate::operate::protocol::FAILED;

/// A line that makes a configuration not load: a file that is gone.
const GONE: &str = "crypto ca trustpoint gone\n certificate file /nonexistent/x.pem\n";

/// A dataplane that runs by what one control kept, which since does not load.
fn orphaned(lab: &Lab) -> Fake {
    let fake = lab.fake();
    let control = lab.control();
    lab.good("permit domain kept.example");
    drop(control);
    std::fs::write(lab.path("running-config"), format!("{}{GONE}", lab.running())).unwrap();
    fake
}

/// A control that starts while the dataplane cannot be reached, and finds it a moment later.
fn started_before(lab: &Lab) -> Control {
    let (path, away) = (lab.path("dataplane.sock"), lab.path("away.sock"));
    std::fs::rename(&path, &away).unwrap();
    let control = lab.control();
    std::fs::rename(&away, &path).unwrap();
    wait("attaches", || lab.cli("show dataplane").0 == 0);
    control
}

/// Nothing may be changed, and nothing was.
fn stays_as_it_was(lab: &Lab, fake: &Fake) {
    let (running, pushed) = (lab.running(), pushed(&fake.state()));
    for line in ["block domain foreign.example", "hostname other", "write memory", "show running-config"] {
        let (code, out, err) = lab.cli(line);
        assert_eq!((code, out.as_str()), (FAILED, ""), "{line}");
        assert!(err.contains("running-config does not load") && err.contains("/nonexistent/x.pem"), "{err}");
        assert!(err.contains("configure replace FILE"), "{err}");
    }
    assert!(permitted(fake, "kept.example") && permitted(fake, "foreign.example"));
    assert_eq!((lab.running(), pushed), (running, self::pushed(&fake.state())));
    assert!(lab.good("show version").contains("NOT in force"));
    assert!(lab.good("show dataplane").contains("NOT in force"));
    assert!(lab.good("show startup-config").contains("hostname fw"));
}

fn pushed(state: &State) -> (usize, usize) {
    (state.policies, state.tables)
}

#[test]
fn a_running_config_that_does_not_load_is_not_overrun_by_the_startup_config() {
    let lab = Lab::new();
    let fake = orphaned(&lab);
    let _control = started_before(&lab);
    stays_as_it_was(&lab, &fake);
}

#[test]
fn control_starts_over_a_running_config_that_does_not_load() {
    let lab = Lab::new();
    let fake = orphaned(&lab);
    let _control = lab.control();
    stays_as_it_was(&lab, &fake);
    // A whole configuration ends it, for the policy and for the table that the dataplane has.
    std::fs::write(lab.path("new.cfg"), CONFIG.replace("foreign.example", "new.example")).unwrap();
    lab.good(&format!("configure replace {}", lab.path("new.cfg").display()));
    assert_eq!((generation(&fake), pushed(&fake.state())), (2, (2, 1)));
    assert!(permitted(&fake, "new.example") && !permitted(&fake, "kept.example"));
    lab.good("block domain new.example");
    assert!(!permitted(&fake, "new.example"));
    assert!(lab.good("show version").contains("configuration: in force"));
    assert!(lab.running().contains("block domain new.example\n"));
}

#[test]
fn a_running_config_that_loads_again_is_taken_over() {
    let lab = Lab::new();
    let fake = orphaned(&lab);
    let _control = lab.control();
    assert_eq!(lab.cli("hostname other").0, FAILED);
    std::fs::write(lab.path("running-config"), lab.running().replace(GONE, "")).unwrap();
    wait("takes it over", || lab.good("show dataplane").contains("configuration: in force"));
    assert_eq!((generation(&fake), pushed(&fake.state())), (1, (1, 1)), "nothing was pushed");
    lab.good("no permit domain kept.example");
    assert!(!permitted(&fake, "kept.example"));
}

#[test]
fn a_fresh_dataplane_gets_the_startup_config_where_the_kept_one_does_not_load() {
    let lab = Lab::new();
    let fake = orphaned(&lab);
    let _control = lab.control();
    drop(fake);
    wait("sees the loss", || lab.cli("show dataplane").0 == FAILED);
    assert!(lab.cli("hostname other").2.contains("configure replace"));
    let fake = lab.fake();
    wait("is in force", || lab.cli("show dataplane").1.contains("configuration: in force"));
    assert!(permitted(&fake, "foreign.example") && !permitted(&fake, "kept.example"));
    assert!(lab.good("show running-config").contains("hostname fw\n"));
}

#[test]
fn edits_wait_for_the_dataplane_whose_configuration_was_kept() {
    let lab = Lab::new();
    let fake = lab.fake();
    drop(lab.control());
    drop(fake);
    let _control = lab.control();
    let running = lab.running();
    for line in ["hostname other", "permit domain other.example"] {
        let (code, _, err) = lab.cli(line);
        assert_eq!(code, FAILED);
        assert!(err.contains("not connected"), "{err}");
    }
    assert_eq!(lab.running(), running);
    std::fs::write(lab.path("whole.cfg"), CONFIG.replace("hostname fw", "hostname whole")).unwrap();
    lab.good(&format!("configure replace {}", lab.path("whole.cfg").display()));
    assert!(lab.running().contains("hostname whole\n"));
    lab.good("permit domain other.example");
}

#[test]
fn a_policy_refused_at_attach_is_given_again() {
    let lab = Lab::new();
    let fake = lab.fake();
    fake.state().refuse = Some("tap fgo: busy".into());
    let _control = lab.control();
    assert_eq!(generation(&fake), 0);
    wait("is in force", || lab.good("show dataplane").contains("configuration: in force"));
    assert!(generation(&fake) > 0 && permitted(&fake, "foreign.example"));
}

#[test]
fn the_same_configuration_is_no_success_while_it_is_not_in_force() {
    let lab = Lab::new();
    let fake = lab.fake();
    fake.state().refuse_all = Some("tap fgo: busy".into());
    let _control = lab.control();
    let said = "NOT in force: the dataplane refused it: tap fgo: busy";
    assert!(lab.good("show version").contains(said) && lab.good("show dataplane").contains(said));
    std::fs::write(lab.path("same.cfg"), CONFIG).unwrap();
    let replace = format!("configure replace {}", lab.path("same.cfg").display());
    let (code, _, err) = lab.cli(&replace);
    assert_eq!((code, err.as_str()), (FAILED, "the dataplane refused it: tap fgo: busy\n"));
    // The table is in force, so that its commands are true.
    lab.good("block domain foreign.example");
    assert!(!permitted(&fake, "foreign.example"));
    fake.state().refuse_all = None;
    lab.good(&replace);
    assert!(generation(&fake) > 0 && permitted(&fake, "foreign.example"));
    assert!(lab.good("show version").contains("configuration: in force"));
}

#[test]
fn without_a_table_in_the_dataplane_no_command_says_it_did_something() {
    let lab = Lab::new();
    let fake = lab.fake();
    fake.state().refuse_tables = usize::MAX;
    let _control = lab.control();
    assert_eq!(lab.cli("show dataplane").0, FAILED, "not attached");
    assert_eq!(generation(&fake), 0);
    std::fs::write(lab.path("same.cfg"), CONFIG).unwrap();
    let replace = format!("configure replace {}", lab.path("same.cfg").display());
    for line in ["block domain foreign.example", "hostname other", &replace] {
        let (code, _, err) = lab.cli(line);
        assert_eq!(code, FAILED, "{line}");
        assert!(err.contains("cannot attach to the dataplane") && err.contains("no room"), "{err}");
    }
    fake.state().refuse_tables = 0;
    wait("tries again", || lab.cli("show dataplane").1.contains("configuration: in force"));
    assert!(permitted(&fake, "foreign.example"));
}

/// The dataplane is another one, without a table; what this control wrote last for the one before is not what it is to have.
#[test]
fn a_table_of_before_is_brought_in_line_before_it_is_given_again() {
    let lab = Lab::new();
    let fake = lab.fake();
    let control = lab.control();
    lab.good("permit domain kept.example");
    drop((control, fake));
    // The control that comes finds the dataplane fresh, and gives it the startup-config and a table of that.
    let fake = lab.fake();
    let _control = lab.control();
    assert!(!permitted(&fake, "kept.example"));
    lab.good("permit domain later.example");
    // Taken behind this control's back, as by a bug or a half-done change: attaching does not trust it.
    fake.state().writer().permit("stray.example", false, None).unwrap();
    assert!(permitted(&fake, "stray.example"));
    drop(fake);
    let fake = lab.fake();
    wait("attaches", || generation(&fake) > 0);
    assert!(permitted(&fake, "later.example") && !permitted(&fake, "stray.example"));
}
