// SPDX-License-Identifier: MIT OR Apache-2.0
//! Inspect maps and what they name: every regex and class is there, every rule does something that can be done, and all fits.

use fedgate_sip::inspect::{Deed, Inspector, MAX_RULES};

use super::{About, Fault, Found};
use crate::config::model::Model;
use crate::config::model::sip::{Pattern, SipMatch, SipWhat, Subject, spec};

pub(super) fn maps(model: &Model, found: &mut Found) {
    for (class, regexes) in &model.regex_classes {
        for regex in regexes.iter().filter(|regex| !model.regexes.contains_key(*regex)) {
            let what = format!("regex {regex} is needed by class-map {class}");
            found.push((About::RegexClass(class.clone()), Fault::error(what).word(regex)));
        }
    }
    for (name, class) in &model.sip_classes {
        class.matches.iter().for_each(|one| reference(model, one, &About::SipClass(name.clone()), found));
    }
    let mut rules = 0;
    for (name, map) in &model.inspect_maps {
        rules += map.rules.len() + map.parameters.set().count();
        for rule in &map.rules {
            let about = About::InspectRule(name.clone(), rule.subject.to_string());
            let matches = match &rule.subject {
                Subject::Match(one) => {
                    reference(model, one, &about, found);
                    std::slice::from_ref(one)
                }
                Subject::Class(class) => match model.sip_classes.get(class) {
                    Some(class) => class.matches.as_slice(),
                    None => {
                        let what = format!("there is no `class-map type inspect sip {class}`");
                        found.push((about, Fault::error(what).word(class)));
                        continue;
                    }
                },
            };
            let content = |one: &SipMatch| {
                matches!(one.what, SipWhat::ContentSdp | SipWhat::ContentLength(_))
                    || matches!(&one.what, SipWhat::Part(crate::config::model::sip::Part::ContentType, _))
            };
            let used = model.policy_maps.values().flatten().filter_map(|class| class.inspect.as_ref());
            let used = used.filter_map(|inspect| inspect.map.as_ref()).any(|used| used == name);
            let fault = match rule.action {
                None if used => Fault::error(format!("`{}` of {name} has no action", rule.subject))
                    .help("write drop, drop-connection, reset, mask, rate-limit or log under it"),
                Some(action) if action.deed == Deed::Mask && !matches.iter().any(content) => {
                    Fault::error(format!("`{}` of {name} cannot be masked", rule.subject))
                        .help("what routes a message cannot be crossed out; mask goes with `match content`")
                }
                Some(_) if matches.is_empty() => {
                    Fault::error(format!("`{}` of {name} matches nothing", rule.subject))
                        .help("its class-map has no `match` line")
                }
                _ => continue,
            };
            found.push((about, fault));
        }
        // What the dataplane will do with it; a class of patterns may be too large though each of them is not.
        if let Some(Err(why)) = spec(model, name, |_| 0).map(Inspector::new) {
            let what = format!("policy-map {name} cannot be compiled: {why}");
            found.push((About::InspectMap(name.clone()), Fault::error(what)));
        }
    }
    if rules > MAX_RULES as usize
        && let Some(last) = model.inspect_maps.keys().next_back()
    {
        let what = format!("{rules} rules and parameters of inspect maps; at most {MAX_RULES} fit");
        found.push((About::InspectMap(last.clone()), Fault::error(what)));
    }
}

fn reference(model: &Model, one: &SipMatch, about: &About, found: &mut Found) {
    let SipWhat::Part(_, pattern) = &one.what else { return };
    let (what, name) = match pattern {
        Pattern::Regex(name) if !model.regexes.contains_key(name) => ("regex", name),
        Pattern::Class(name) if model.regex_classes.get(name).is_none_or(Vec::is_empty) => {
            ("class-map type regex with a `match`,", name)
        }
        Pattern::Regex(_) | Pattern::Class(_) => return,
    };
    found.push((about.clone(), Fault::error(format!("there is no {what} {name}")).word(name)));
}
