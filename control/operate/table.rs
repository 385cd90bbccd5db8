// SPDX-License-Identifier: MIT OR Apache-2.0
//! The shared domain table, kept in line with the configuration's lists.
//!
//! [`Table`] owns the one [`DomainWriter`]. A single entry is one store in shared memory: effective for the workers when the call
//! returns, no message sent. Only a table that is full is replaced by a larger successor, which then has to be sent; the
//! caller is told by [`Change::Grown`].

use fedgate_tables::domains::{DomainError, DomainWriter, Entry, List};

use crate::config::model::{DomainEntry, DomainKey, Domains};

/// Room of a fresh table beyond what the configuration has, so that the first commands need no successor.
const SPARE: usize = 1024;

/// Whether the dataplane has to be given another segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Change {
    /// In the table that it has.
    InPlace,
    /// In a successor.
    Grown,
}

/// The table and its writer.
pub struct Table {
    writer: DomainWriter,
}

impl Table {
    /// A fresh one that holds `domains`.
    pub fn create(domains: &Domains) -> Result<Self, DomainError> {
        let capacity = u32::try_from(domains.len() * 2 + SPARE).unwrap_or(u32::MAX);
        let mut table = Self { writer: DomainWriter::create(capacity)? };
        for (key, entry) in domains {
            // Nobody has it yet, so that it grew is nobody's business.
            let _: Change = table.set(key, entry)?;
        }
        Ok(table)
    }

    /// One that another control left.
    pub fn adopted(writer: DomainWriter) -> Self {
        Self { writer }
    }

    /// The writer, to send its region and to list its entries.
    pub fn writer(&self) -> &DomainWriter {
        &self.writer
    }

    /// Ids that are given out again since this was last asked.
    pub fn take_reused(&mut self) -> Vec<u32> {
        self.writer.take_reused()
    }

    /// Makes the entry of `key` what `entry` says; both lists off takes it out.
    pub fn set(&mut self, key: &DomainKey, entry: &DomainEntry) -> Result<Change, DomainError> {
        let (name, wildcard) = (key.name.as_str(), key.wildcard);
        let mut change = Change::InPlace;
        // Block before permit, and permit off before block off: no moment at which more is let in than before or after.
        if entry.block.is_some() {
            change = self.grown(change, |w| w.block(name, wildcard).map(drop))?;
        }
        match &entry.permit {
            Some(permit) => {
                change =
                    self.grown(change, |w| w.permit(name, wildcard, permit.peer.as_deref()).map(drop))?;
            }
            None => drop(self.writer.remove(name, wildcard, List::Permit)?),
        }
        if entry.block.is_none() {
            self.writer.remove(name, wildcard, List::Block)?;
        }
        Ok(change)
    }

    fn grown(
        &mut self,
        before: Change,
        mut attempt: impl FnMut(&mut DomainWriter) -> Result<(), DomainError>,
    ) -> Result<Change, DomainError> {
        let mut change = before;
        loop {
            match attempt(&mut self.writer) {
                Ok(()) => return Ok(change),
                Err(why) if why.wants_growth() => {
                    let successor = self.writer.grow()?;
                    // At its largest a table cannot grow any more, and trying for ever would not help.
                    if successor.capacity() == self.writer.capacity() && change == Change::Grown {
                        return Err(why);
                    }
                    self.writer = successor;
                    change = Change::Grown;
                }
                Err(why) => return Err(why),
            }
        }
    }

    /// Brings the whole table in line with `domains`.
    pub fn sync(&mut self, domains: &Domains) -> Result<Change, DomainError> {
        let key = |entry: &Entry| DomainKey { name: entry.name.clone(), wildcard: entry.wildcard };
        let gone: Vec<DomainKey> =
            self.writer.entries().map(|e| key(&e)).filter(|k| !domains.contains_key(k)).collect();
        for key in gone {
            let _: Change = self.set(&key, &DomainEntry::default())?;
        }
        // What is there already and right is left alone, so that a restart with a million entries writes nothing.
        let right: std::collections::HashSet<DomainKey> = self
            .writer
            .entries()
            .filter(|e| domains.get(&key(e)).is_some_and(|d| same(e, d)))
            .map(|e| key(&e))
            .collect();
        let mut change = Change::InPlace;
        for (key, entry) in domains.iter().filter(|(key, _)| !right.contains(*key)) {
            if self.set(key, entry)? == Change::Grown {
                change = Change::Grown;
            }
        }
        Ok(change)
    }
}

fn same(entry: &Entry, wanted: &DomainEntry) -> bool {
    let peer = wanted.permit.as_ref().and_then(|p| p.peer.as_ref());
    entry.permitted == wanted.permit.is_some()
        && entry.blocked == wanted.block.is_some()
        && (!entry.permitted || entry.peer.as_ref() == peer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{Note, Permit};
    use fedgate_tables::domains::{DomainReader, Listed};
    use fedgate_tables::region::Region;

    fn reader(table: &Table) -> DomainReader {
        let fd = table.writer().region().fd().try_clone_to_owned().unwrap();
        DomainReader::attach(Region::map_rw(fd).unwrap()).unwrap()
    }

    fn key(name: &str, wildcard: bool) -> DomainKey {
        DomainKey { name: name.into(), wildcard }
    }

    fn permitted(peer: Option<&str>) -> DomainEntry {
        DomainEntry { permit: Some(Permit { peer: peer.map(Into::into), ..Permit::default() }), block: None }
    }

    #[test]
    fn sync_makes_the_table_what_the_lists_say() {
        let mut domains = Domains::new();
        domains.insert(key("a.example", false), permitted(Some("edge.a.example")));
        domains.insert(key("b.example", false), permitted(None));
        let mut table = Table::create(&domains).unwrap();
        domains.remove(&key("a.example", false));
        domains
            .insert(key("b.example", false), DomainEntry { block: Some(Note::default()), ..permitted(None) });
        domains.insert(key("c.example", true), permitted(None));
        assert_eq!(table.sync(&domains), Ok(Change::InPlace));
        let reader = reader(&table);
        assert!(matches!(reader.lookup(b"a.example"), Listed::Unlisted));
        assert!(matches!(reader.lookup(b"b.example"), Listed::Blocked { .. }));
        assert!(matches!(reader.lookup(b"x.c.example"), Listed::Permitted { .. }));
        assert!(matches!(reader.lookup(b"c.example"), Listed::Unlisted));
    }

    #[test]
    fn a_full_table_is_followed_by_a_larger_one() {
        let mut table = Table::create(&Domains::new()).unwrap();
        let before = table.writer().generation();
        let mut grown = false;
        for n in 0..5000 {
            grown |=
                table.set(&key(&format!("d{n}.example"), false), &permitted(None)).unwrap() == Change::Grown;
        }
        assert!(grown && table.writer().generation() > before);
        let reader = reader(&table);
        for n in 0..5000 {
            assert!(matches!(reader.lookup(format!("d{n}.example").as_bytes()), Listed::Permitted { .. }));
        }
    }
}
