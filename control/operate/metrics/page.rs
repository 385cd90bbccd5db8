// SPDX-License-Identifier: MIT OR Apache-2.0
//! A page of metrics in OpenMetrics' text form, which prometheus-client writes, or in Prometheus' own, which promtool and older readers want.
//!
//! The two differ in little: Prometheus' has `_total` in the names of the `# HELP` and `# TYPE` lines of counters too, and no `# EOF`. Numbers are
//! taken once, before: a [`Page`] is plain data.

use std::fmt;

use fedgate_tables::counters::HistoValues;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

/// What OpenMetrics is called in `Accept` and `Content-Type`.
pub const OPENMETRICS: &str = "application/openmetrics-text";
/// Its whole name.
pub const OPENMETRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Prometheus' own form.
pub const PLAIN_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Names and values.
pub type Labels = Vec<(&'static str, String)>;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Only grows.
    Counter(u64),
    /// A level.
    Gauge(f64),
    /// Sum, count, and how many in each bucket, by its upper end.
    Histogram(f64, u64, Vec<(f64, u64)>),
}

#[derive(Clone, Debug)]
struct Family {
    name: String,
    help: &'static str,
    samples: Vec<(Labels, Value)>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Page {
    families: Vec<Family>,
}

impl Page {
    /// Begins a family. Counters go without `_total`.
    pub fn family(&mut self, name: impl Into<String>, help: &'static str) -> &mut Self {
        self.families.push(Family { name: name.into(), help, samples: Vec::new() });
        self
    }

    /// A sample of the family begun last; all of one are of one kind.
    pub fn sample(&mut self, labels: Labels, value: Value) -> &mut Self {
        if let Some(family) = self.families.last_mut() {
            family.samples.push((labels, value));
        }
        self
    }

    /// A family of one counter.
    pub fn counter(&mut self, name: impl Into<String>, help: &'static str, value: u64) {
        self.family(name, help).sample(vec![], Value::Counter(value));
    }

    /// A family of one level.
    pub fn gauge(&mut self, name: impl Into<String>, help: &'static str, value: f64) {
        self.family(name, help).sample(vec![], Value::Gauge(value));
    }

    /// As OpenMetrics has it.
    ///
    /// # Errors
    /// None that a `String` makes.
    pub fn openmetrics(self) -> Result<String, fmt::Error> {
        let (mut registry, mut text) = (Registry::default(), String::new());
        registry.register_collector(Box::new(self));
        text::encode(&mut text, &registry)?;
        Ok(text)
    }

    /// As Prometheus has it.
    ///
    /// # Errors
    /// As [`openmetrics`](Self::openmetrics).
    pub fn plain(self) -> Result<String, fmt::Error> {
        let is_counter = |family: &&Family| matches!(family.samples.first(), Some((_, Value::Counter(_))));
        let counters: std::collections::HashSet<String> =
            self.families.iter().filter(is_counter).map(|family| family.name.clone()).collect();
        let mut plain = String::new();
        for line in self.openmetrics()?.lines().filter(|line| *line != "# EOF") {
            let described = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE "));
            match described.and_then(|rest| rest.split_once(' ')) {
                Some((name, rest)) if counters.contains(name) => {
                    plain.push_str(&format!("{}{name}_total {rest}\n", &line[..7]));
                }
                _ => plain.push_str(&format!("{line}\n")),
            }
        }
        Ok(plain)
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for Family { name, help, samples } in &self.families {
            let Some((_, first)) = samples.first() else { continue };
            let kind = match first {
                Value::Counter(_) => MetricType::Counter,
                Value::Gauge(_) => MetricType::Gauge,
                Value::Histogram(..) => MetricType::Histogram,
            };
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (labels, value) in samples {
                match labels.is_empty() {
                    true => write(&mut family, value)?,
                    false => write(&mut family.encode_family(labels)?, value)?,
                }
            }
        }
        Ok(())
    }
}

fn write(metric: &mut MetricEncoder<'_>, value: &Value) -> Result<(), fmt::Error> {
    const NONE: Option<&Exemplar<Labels, u64>> = None;
    match value {
        Value::Counter(value) => metric.encode_counter(value, NONE),
        Value::Gauge(value) => metric.encode_gauge(value),
        Value::Histogram(sum, count, buckets) => {
            metric.encode_histogram::<Labels>(*sum, *count, buckets, None)
        }
    }
}

/// Upper ends of a histogram's buckets, seconds: four a decade.
const ENDS: [f64; 21] = [
    0.0001, 0.0002, 0.0003, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5,
    1.0, 2.0, 5.0, 10.0, 30.0,
];

/// Values counted in `unit`s of a second, in Prometheus' buckets. The dataplane's are finer and exact to 1 %, so a value that is that
/// near to an end may stand on its other side; the sum is good to the same.
pub fn histogram(values: &HistoValues, unit: f64) -> Value {
    let mut buckets: Vec<(f64, u64)> = ENDS.iter().chain([&f64::INFINITY]).map(|end| (*end, 0)).collect();
    for (value, count) in values.buckets() {
        let value = value as f64 * unit;
        let at = buckets.iter().position(|(end, _)| value <= *end).unwrap_or(buckets.len() - 1);
        buckets[at].1 += count;
    }
    let hdr = values.hdr();
    let total = values.total();
    Value::Histogram(if total == 0 { 0.0 } else { hdr.mean() * total as f64 * unit }, total, buckets)
}
