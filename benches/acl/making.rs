// SPDX-License-Identifier: MIT OR Apache-2.0
//! Building a classifier, and editing one.

use crate::lookup::{given, single};
use crate::rival::Rival;
use crate::rows::Row;
use crate::{Failure, name};
use fedgate_acl::{Layered, Rule};
use std::time::Instant;

/// Rounds; the best counts.
const ROUNDS: usize = 7;

/// Time and memory of a build, of an edit, and of lookups after an edit.
pub fn rows(size: usize, rival: &Rival) -> Result<Vec<Row>, Failure> {
    let (rules, packets) = given::<u32>(size);
    let mut build = f64::INFINITY;
    for _ in 0..ROUNDS {
        let rules = rules.clone();
        let began = Instant::now();
        let layered = Layered::new(rules);
        build = build.min(began.elapsed().as_secs_f64());
        drop(layered);
    }
    let copy = rules.clone();
    let mut built = None;
    let info = allocation_counter::measure(|| built = Some(Layered::new(copy)));
    let built = built.ok_or("nothing was built")?;

    let mut edited = rules;
    edited.insert(size / 2, Rule { dst: 0xc000_0201, dst_mask: !0, ..Rule::default() });
    let mut update = f64::INFINITY;
    let mut after = built.clone();
    for _ in 0..ROUNDS {
        let edited = edited.clone();
        let began = Instant::now();
        after = built.updated(edited);
        update = update.min(began.elapsed().as_secs_f64());
    }
    if !after.shares_base(&built) {
        return Err("one more rule made a whole new classifier".into());
    }
    let size = name(size);
    let mib = info.bytes_max as f64 / (1 << 20) as f64;
    let anew = "librte_acl, built anew";
    Ok(vec![
        Row::times_less(&format!("build_{size}_ms"), build * 1e3, "ms", "librte_acl", rival.build_ms),
        Row::times_less(&format!("build_{size}_mib"), mib, "MiB at most", "librte_acl", rival.build_mib),
        Row::times_less(&format!("update_one_{size}_ms"), update * 1e3, "ms", anew, rival.build_ms),
        Row::new(
            &format!("lookup_{size}_edited"),
            single(&after, &packets),
            "M lookups/s",
            "librte_acl, one at a time",
            rival.single,
        ),
    ])
}
