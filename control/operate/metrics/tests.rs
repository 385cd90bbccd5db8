// SPDX-License-Identifier: MIT OR Apache-2.0
//! The two forms of a page, buckets, and which domains are on it. Over HTTP and by promtool: the daemon's tests.

use fedgate_tables::counters::{Counter, Counters, CountersReader, DomainCounter, Histo};
use proptest::prelude::*;

use super::domains::{MOST, Ranking, STRETCH};
use super::page::{Page, Value, histogram};
use crate::config::model::{DomainEntry, DomainKey, Domains, Permit};
use crate::operate::table::Table;

#[test]
fn the_two_forms_differ_as_they_should() {
    let mut page = Page::default();
    page.counter("fedgate_drops", "Why", 7);
    page.gauge("fedgate_level", "How high", 1.5);
    let labels = vec![("worker", "0".to_owned()), ("a", "b\"c\\d".to_owned())];
    page.family("fedgate_more", "More").sample(labels, Value::Counter(1));
    page.family("fedgate_empty", "Without samples");
    assert_eq!(
        page.clone().openmetrics().unwrap(),
        "# HELP fedgate_drops Why\n# TYPE fedgate_drops counter\nfedgate_drops_total 7\n\
         # HELP fedgate_level How high\n# TYPE fedgate_level gauge\nfedgate_level 1.5\n\
         # HELP fedgate_more More\n# TYPE fedgate_more counter\n\
         fedgate_more_total{worker=\"0\",a=\"b\\\"c\\\\d\"} 1\n# EOF\n"
    );
    assert_eq!(
        page.plain().unwrap(),
        "# HELP fedgate_drops_total Why\n# TYPE fedgate_drops_total counter\nfedgate_drops_total 7\n\
         # HELP fedgate_level How high\n# TYPE fedgate_level gauge\nfedgate_level 1.5\n\
         # HELP fedgate_more_total More\n# TYPE fedgate_more_total counter\n\
         fedgate_more_total{worker=\"0\",a=\"b\\\"c\\\\d\"} 1\n"
    );
}

proptest! {
    /// Nothing is lost between the dataplane's buckets and Prometheus', and each value stands at most 1 % from its own.
    #[test]
    fn buckets_hold_every_value(values in proptest::collection::vec(0u64..100_000_000, 0..60)) {
        let (counters, workers, _) = Counters::create(1, 0).unwrap();
        values.iter().for_each(|value| workers[0].observe(Histo::HandshakeUs, *value));
        let region = fedgate_tables::region::Region::map_rw(counters.region().fd().try_clone_to_owned().unwrap()).unwrap();
        let reader = CountersReader::attach(region).unwrap();
        let Value::Histogram(sum, count, buckets) = histogram(&reader.histo(Histo::HandshakeUs), 1e-6) else {
            panic!("not a histogram");
        };
        prop_assert_eq!(count, values.len() as u64);
        prop_assert_eq!(buckets.iter().map(|(_, n)| n).sum::<u64>(), count);
        let exact = values.iter().sum::<u64>() as f64 * 1e-6;
        prop_assert!((sum - exact).abs() <= exact * 0.01 + 1e-6 * values.len() as f64, "{} {}", sum, exact);
        let mut below = 0;
        for (end, n) in &buckets[..buckets.len() - 1] {
            below += n;
            let count = |factor: f64| values.iter().filter(|v| **v as f64 * 1e-6 <= end * factor).count() as u64;
            prop_assert!((count(0.99)..=count(1.01)).contains(&below), "{} to {}", below, end);
        }
    }
}

#[test]
fn the_busiest_domains_are_on_the_page_and_no_more_than_so_many() {
    let permit = DomainEntry { permit: Some(Permit::default()), block: None };
    let key = |n: usize| DomainKey { name: format!("d{n}.example"), wildcard: n.is_multiple_of(7) };
    let mut domains: Domains = (0..40_000).map(|n| (key(n), permit.clone())).collect();
    let mut table = Table::create(&domains).unwrap();
    assert!(table.writer().slots() > STRETCH, "more than one look");
    let (counters, workers, _) = Counters::create(1, 0).unwrap();
    let region =
        fedgate_tables::region::Region::map_rw(counters.region().fd().try_clone_to_owned().unwrap()).unwrap();
    let reader = CountersReader::attach(region).unwrap();
    let ids: Vec<(u32, String)> = table.writer().entries().map(|entry| (entry.id, entry.name)).collect();
    let id = |n: usize| ids.iter().find(|(_, name)| *name == format!("d{n}.example")).unwrap().0;
    for n in 0..100 {
        let counter = Counter::Domain(id(n * 100), DomainCounter::PermittedIn);
        workers[0].count(counter, 1 + n as u64);
    }
    let mut ranking = Ranking::default();
    let round = |ranking: &mut Ranking, table: &Table| {
        for _ in 0..table.writer().slots().div_ceil(STRETCH) {
            ranking.look(table, &reader, |_| [0; DomainCounter::COUNT]);
        }
    };
    round(&mut ranking, &table);
    let names = |ranking: &Ranking| ranking.top().iter().map(|r| r.name.clone()).collect::<Vec<_>>();
    let wanted = |n: usize| format!("{}d{n}.example", if n.is_multiple_of(7) { "*." } else { "" });
    assert_eq!(names(&ranking), (50..100).rev().map(|n| wanted(n * 100)).collect::<Vec<_>>());
    // One overtakes, another is taken out.
    workers[0].count(Counter::Domain(id(300), DomainCounter::DeniedPeer), 1000);
    let gone = key(9900);
    domains.remove(&gone);
    let _ = table.set(&gone, &DomainEntry::default()).unwrap();
    round(&mut ranking, &table);
    round(&mut ranking, &table);
    assert_eq!(names(&ranking)[..2], [wanted(300), wanted(9800)]);
    assert_eq!(ranking.top().len(), MOST);
    assert!(!names(&ranking).contains(&wanted(9900)));
}
