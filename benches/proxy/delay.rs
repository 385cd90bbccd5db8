// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long a SIP message takes through the appliance at half of the full rate: `sip_latency_p999_us`.
//!
//! A thousand connections, as for `sip_messages`, whose full rate was measured right before. The generator's own TLS takes as long as what is measured, so it
//! is kept out of the time: all requests of a round are made beforehand, sent one by one at equal distances, and only what comes out is looked for meanwhile;
//! then the servers make their answers, which go back the same way. A message is one packet in and one out, told by its connection, and its time is from when the first was with
//! the driver until the second was seen in the other port: both memif hops, the worker's turn, the queue before it, decryption, inspection,
//! encryption. What arrives right after the generator has not looked for 10 us is
//! left out, as is what found no place in its port meanwhile; the share is printed. The row is the lower decile of many short turns, as `latency_p999_us` of the
//! packet path is: a hypervisor that takes the CPU away for a millisecond decides a turn's percentile alone.

use crate::Failure;
use crate::crowd::{Crowd, Middle};
use crate::wire::Wire;
use fedgate_proxy::Leg;
use hdrhistogram::Histogram;

/// Turns: a request and an answer on each connection.
const TURNS: usize = 40;

/// The lower decile of the turns' 99.9th percentiles, microseconds, on the lines from number `first` on.
pub fn p999(crowd: &mut Crowd<'_, Wire>, first: usize, rate: f64) -> Result<f64, Failure> {
    let hz = crowd.middle.hz();
    let us = |ticks: u64| ticks as f64 / hz * 1e6;
    let (mut p50s, mut p999s) = (Vec::new(), Vec::new());
    let (mut all, mut left_out, mut expected) = (0u64, 0u64, 0u64);
    let mut sent = vec![0; crowd.lines()];
    for _ in 0..TURNS {
        let mut times = Histogram::<u64>::new_with_bounds(1, hz as u64, 3)?;
        let mut packets = crowd.prepare(first)?;
        for _ in Leg::BOTH {
            let times = &mut times;
            expected += (crowd.lines() - first) as u64;
            let came = crowd.middle.pace(&packets, rate, &mut sent, |ticks, blind| {
                all += 1;
                if blind {
                    left_out += 1;
                } else {
                    times.saturating_record(ticks.max(1));
                }
            })?;
            packets = crowd.digest(came)?;
        }
        // Acknowledgements of the answers.
        for (leg, packet) in &packets {
            crowd.middle.input(*leg, packet)?;
        }
        p50s.push(us(times.value_at_quantile(0.5)));
        p999s.push(us(times.value_at_quantile(0.999)));
    }
    let spread = |turns: &mut [f64]| {
        turns.sort_by(f64::total_cmp);
        let at = |tenth: usize| turns[(turns.len() - 1) * tenth / 10];
        format!("{:.1}, {:.1}, {:.1}, {:.1}", at(0), at(1), at(5), at(10))
    };
    if all * 100 < expected * 95 {
        return Err(format!("{all} of {expected} messages came at half of the full rate").into());
    }
    println!(
        "latency at {:.0} messages/s: p50 and p99.9 in us by turn (best, decile, median, worst): {}; {}; {:.1} % of {expected} left out",
        rate,
        spread(&mut p50s),
        spread(&mut p999s),
        (left_out + expected - all) as f64 / expected as f64 * 100.0
    );
    Ok(p999s[(TURNS - 1) / 10])
}
