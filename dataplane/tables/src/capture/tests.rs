// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ring against a queue, and in the model checker.

use super::*;

#[cfg(loom)]
mod model {
    use super::*;
    use loom::sync::Arc;

    fn record(n: u64) -> Record {
        let translation = Some([(1, 2), (3, 4), (5, 6), (7, n as u16)]);
        Record {
            captures: 1,
            seen: Seen::In,
            ifindex: 0,
            reason: None,
            headers: 0,
            len: 9,
            micros: n,
            translation,
        }
    }

    /// Whatever the reader sees is a whole record, in order, and none is seen twice; what is missing was counted.
    #[test]
    fn loom_records_are_whole_and_in_order() {
        loom::model(|| {
            // Room for two records.
            let words: Arc<Vec<AtomicU64>> =
                Arc::new((0..DATA + 2 * (RECORD + 2)).map(|_| AtomicU64::new(0)).collect());
            let writer = words.clone();
            let thread = loom::thread::spawn(move || {
                for n in 1..=3u64 {
                    Ring(&writer).put(&record(n), &[n as u8; 9]);
                }
            });
            let mut seen = Vec::new();
            let mut frame = Vec::new();
            for _ in 0..2 {
                if let Some(got) = Ring(&words).take(&mut frame) {
                    assert_eq!((got, &frame[..]), (record(got.micros), &[got.micros as u8; 9][..]));
                    seen.push(got.micros);
                }
            }
            thread.join().unwrap();
            while let Some(got) = Ring(&words).take(&mut frame) {
                assert_eq!((got, &frame[..]), (record(got.micros), &[got.micros as u8; 9][..]));
                seen.push(got.micros);
            }
            assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
            assert_eq!(seen.len() as u64 + Ring(&words).lost(), 3);
        });
    }
}

#[cfg(not(loom))]
mod plain {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn ring(words: usize) -> Vec<AtomicU64> {
        (0..DATA + words).map(|_| AtomicU64::new(0)).collect()
    }

    prop_compose! {
        fn record()(
            captures in any::<u8>(), seen in 0..3usize, ifindex in any::<u8>(), reason in proptest::option::of(0..DropReason::COUNT),
            sizes in any::<[u16; 2]>(), micros in any::<u64>(), translation in proptest::option::of(any::<[(u32, u16); 4]>()),
        ) -> Record {
            Record {
                captures, ifindex, micros, translation, headers: sizes[0], len: sizes[1],
                seen: [Seen::In, Seen::Out, Seen::Dropped][seen],
                reason: reason.map(|at| DropReason::ALL[at]),
            }
        }
    }

    proptest! {
        /// It is a queue with a bound.
        #[test]
        fn what_is_put_is_taken(steps in vec((record(), vec(any::<u8>(), 0..200), 0..3usize), 1..60), room in 40..400usize) {
            let words = ring(room);
            let ring = Ring(&words);
            let mut queue = VecDeque::new();
            let (mut lost, mut frame) = (0, Vec::new());
            for (record, bytes, takes) in steps {
                let used: usize = queue.iter().map(|(_, b): &(Record, Vec<u8>)| RECORD + b.len().div_ceil(8)).sum();
                let fits = used + RECORD + bytes.len().div_ceil(8) <= room;
                prop_assert_eq!(ring.put(&record, &bytes), fits);
                if fits { queue.push_back((record, bytes)) } else { lost += 1 }
                for _ in 0..takes {
                    let got = ring.take(&mut frame).map(|record| (record, frame.clone()));
                    prop_assert_eq!(got, queue.pop_front());
                }
            }
            prop_assert_eq!(ring.lost(), lost);
        }

        /// Whatever stands in it, taking ends and gives nothing beyond its bounds.
        #[test]
        fn any_words_are_borne(words in vec(any::<u64>(), DATA + 64), small in 0..80u64) {
            let words: Vec<AtomicU64> = words.into_iter().map(AtomicU64::new).collect();
            let tail = words[TAIL].load(Ordering::Relaxed);
            words[HEAD].store(tail.wrapping_add(small), Ordering::Relaxed);
            let mut frame = Vec::new();
            for _ in 0..100 {
                if Ring(&words).take(&mut frame).is_some() {
                    prop_assert!(frame.len() <= usize::from(MAX_LENGTH));
                }
            }
            prop_assert!(Ring(&words).take(&mut frame).is_none());
        }
    }

    /// Nothing is written by a tail that makes no sense, before or behind what was written.
    #[test]
    fn a_forged_tail_leaves_no_room() {
        let words: Vec<AtomicU64> = (0..RING_WORDS).map(|_| AtomicU64::new(0)).collect();
        let ring = Ring::of(&words, 0).unwrap();
        let record = Record {
            captures: 1,
            seen: Seen::In,
            ifindex: 0,
            reason: None,
            headers: 14,
            len: 60,
            micros: 1,
            translation: None,
        };
        for (n, tail) in [1, 7, u64::MAX / 2].into_iter().enumerate() {
            words[TAIL].store(tail, Ordering::Relaxed);
            assert_eq!((ring.put(&record, &[1; 60]), ring.lost()), (false, n as u64 + 1), "{tail}");
        }
        words[TAIL].store(0, Ordering::Relaxed);
        assert!(ring.put(&record, &[1; 60]));
    }

    #[test]
    fn a_long_frame_is_cut_and_each_worker_has_its_own() {
        let words: Vec<AtomicU64> = (0..2 * RING_WORDS).map(|_| AtomicU64::new(0)).collect();
        let (one, two) = (Ring::of(&words, 0).unwrap(), Ring::of(&words, 1).unwrap());
        assert!(Ring::of(&words, 2).is_none());
        let record = Record {
            captures: 3,
            seen: Seen::Out,
            ifindex: 1,
            reason: None,
            headers: 54,
            len: 9000,
            micros: 5,
            translation: None,
        };
        assert!(one.put(&record, &vec![7; 9000]));
        let mut frame = Vec::new();
        assert_eq!(two.take(&mut frame), None);
        assert_eq!(one.take(&mut frame), Some(record));
        assert_eq!(frame, vec![7; usize::from(MAX_LENGTH)]);
    }
}
