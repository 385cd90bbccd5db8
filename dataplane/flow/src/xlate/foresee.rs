// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an xlate would be, if it were made: for `packet-tracer`, which must leave none behind.
//!
//! Looked for and picked by the same code as one that is made, but by a copy of the dice, and given back at once. Worker cores, at an
//! operator's pace.

use super::{Made, NO_XLATE, Want, XlateError, Xlates};
use crate::Rng;
use fedgate_tables::drops::DropReason;

impl Xlates {
    /// What [`Self::obtain`] would give by these dice, as mapped address and port, without any effect.
    pub(crate) fn foresee(
        &mut self,
        want: &Want<'_>,
        rng: &mut Rng,
        prefer: impl Fn(u32, u16) -> bool,
    ) -> Result<(u32, u16, Made), XlateError> {
        let port = |one_to_one: bool, port: u16| if one_to_one { want.key.sport } else { port };
        if let Some(x) = self.obtained(want).and_then(|id| self.get(id)) {
            return Ok((x.mapped, port(x.is_one_to_one(), x.mapped_port), Made::Before));
        }
        if self.by_real.len() >= self.max || !self.has_room(1) {
            return Err(XlateError::TableFull);
        }
        let picked = self.picker.rehearse(want, rng, prefer)?;
        Ok((picked.mapped, port(picked.proto == 0, picked.port), Made::Now))
    }

    /// True where there are so many free slots.
    pub(crate) fn has_room(&self, slots: u32) -> bool {
        let fresh = self.max as u32 - self.used;
        let mut free = self.free;
        (fresh..slots).all(|_| {
            let found = free != NO_XLATE;
            if found {
                free = self.slots[free as usize].first;
            }
            found
        })
    }
}

impl XlateError {
    /// The drop's name.
    pub(crate) fn reason(self) -> DropReason {
        match self {
            Self::PortsExhausted => DropReason::PatPoolExhausted,
            Self::HostLimit => DropReason::PatHostLimit,
            Self::TableFull => DropReason::NatXlateFailed,
        }
    }
}
