// SPDX-License-Identifier: MIT OR Apache-2.0
//! An entry of a user's list: the name it is shown by, and the groups it stands in.
//!
//! Groups are names and nothing else: one is there as long as a contact stands in it, and who stands in none is shown outside of all. They are
//! kept in order, each once. Bounds: [`MAX_GROUPS`] for a contact, [`MAX_NAME`] and [`MAX_GROUP`] octets. Pure; used by the core and the store.

/// Groups of one contact.
const MAX_GROUPS: usize = 16;
/// Longest name of a contact, octets.
const MAX_NAME: usize = 256;
/// Longest name of a group, octets.
const MAX_GROUP: usize = 64;

/// One entry, without its address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// As it is shown; empty for its address.
    pub name: String,
    /// Names of groups.
    pub groups: Vec<String>,
}

impl Contact {
    /// One that may be stored, or why not. Spaces around a group's name are no part of it.
    pub fn new(name: String, groups: Vec<String>) -> Result<Self, String> {
        if name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err("the name is too long or has controls in it".to_owned());
        }
        let mut groups: Vec<String> = groups.iter().map(|group| group.trim().to_owned()).collect();
        groups.sort_unstable();
        groups.dedup();
        let is_bad = |group: &String| {
            group.is_empty() || group.len() > MAX_GROUP || group.chars().any(char::is_control)
        };
        if groups.iter().any(is_bad) {
            return Err("the name of a group is empty, too long or has controls in it".to_owned());
        }
        if groups.len() > MAX_GROUPS {
            return Err(format!("a contact stands in {MAX_GROUPS} groups at most"));
        }
        Ok(Self { name, groups })
    }

    /// Its groups as the store has them: a line each.
    pub fn lines(&self) -> String {
        self.groups.join("\n")
    }

    /// Of what the store has.
    pub fn stored(name: String, lines: &str) -> Self {
        Self { name, groups: lines.lines().map(str::to_owned).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(names: &[&str]) -> Result<Vec<String>, String> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Contact::new("X".to_owned(), names).map(|contact| contact.groups)
    }

    #[test]
    fn groups_are_in_order_and_each_is_there_once() {
        assert_eq!(groups(&["b", " a ", "b"]), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(groups(&[]), Ok(Vec::new()));
        for bad in [&[" "][..], &["a\nb"], &["a".repeat(65).as_str()], &[""]] {
            assert!(groups(bad).is_err(), "{bad:?}");
        }
        let many: Vec<String> = (0..17).map(|n| n.to_string()).collect();
        assert!(Contact::new(String::new(), many).is_err());
        assert!(Contact::new("a\u{7}".to_owned(), Vec::new()).is_err());
    }

    #[test]
    fn what_is_stored_comes_back() {
        for names in [&[][..], &["a"], &["a", "b c"]] {
            let contact = Contact { name: "X".into(), groups: groups(names).expect("good") };
            assert_eq!(Contact::stored("X".into(), &contact.lines()), contact);
        }
    }
}
