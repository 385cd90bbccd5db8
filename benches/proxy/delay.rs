// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long a SIP message takes through the appliance at half of the full rate: `sip_latency_p999_us`.
//!
//! A thousand connections, as for `sip_messages`, whose full rate was measured right before. The generator's own TLS takes as long as what is measured, so it
//! is kept out of the time: all requests of a round are made beforehand, sent one by one at equal distances, and only what comes out is looked for meanwhile;
//! then the servers make their answers, which go back the same way. A message is one packet in and one out, told by its connection, and its time is from when the first was with
//! the driver until the second was seen in the other port: both memif hops, the worker's turn, the queue before it, decryption, inspection,
//! encryption. What arrives right after the generator has not looked for 10 us is left out, and the share is printed.

use crate::Failure;
use crate::crowd::{Crowd, Middle};
use crate::rows::median;
use crate::wire::Wire;
use fedgate_proxy::Leg;
use hdrhistogram::Histogram;

/// Turns, of whose percentiles the median is taken, and rounds of a request and an answer on each connection in one.
const TURNS: usize = 9;
const ROUNDS: usize = 5;

/// The median turn's 99.9th percentile, microseconds, on the lines from number `first` on.
pub fn p999(crowd: &mut Crowd<'_, Wire>, first: usize, rate: f64) -> Result<f64, Failure> {
    let hz = crowd.middle.hz();
    let us = |ticks: u64| ticks as f64 / hz * 1e6;
    let (mut p50s, mut p999s) = (Vec::new(), Vec::new());
    let (mut all, mut left_out) = (0u64, 0u64);
    let mut sent = vec![0; crowd.lines()];
    for _ in 0..TURNS {
        let mut times = Histogram::<u64>::new_with_bounds(1, hz as u64, 3)?;
        for _ in 0..ROUNDS {
            let mut packets = crowd.prepare(first)?;
            for _ in Leg::BOTH {
                // Both ends of a line stand in its packets, whichever way they go.
                let times = &mut times;
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
        }
        p50s.push(us(times.value_at_quantile(0.5)));
        p999s.push(us(times.value_at_quantile(0.999)));
    }
    let spread = |turns: &[f64]| {
        let (low, high) = turns.iter().fold((f64::MAX, 0.0f64), |(low, high), &t| (low.min(t), high.max(t)));
        format!("{low:.1} to {high:.1}")
    };
    println!(
        "latency at {:.0} messages/s: p50 {} us, p99.9 {} us by turn; {:.1} % of {all} left out",
        rate,
        spread(&p50s),
        spread(&p999s),
        left_out as f64 / all as f64 * 100.0
    );
    Ok(median(&mut p999s))
}
