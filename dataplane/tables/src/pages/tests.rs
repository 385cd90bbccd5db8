// SPDX-License-Identifier: MIT OR Apache-2.0
//! Zeros first, what was written after, aligned, and no memory before use.

use super::Pages;

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn zeros_then_what_was_written() {
    for len in [0usize, 1, 511, 512, 100_000, 1_000_000] {
        let mut pages = Pages::<u64>::new(len);
        assert_eq!(pages.len(), len);
        assert!(pages.iter().all(|&n| n == 0));
        pages.iter_mut().zip(0..).for_each(|(at, n)| *at = n);
        assert!(pages.iter().zip(0..).all(|(&at, n)| at == n));
    }
}

#[test]
fn large_ones_begin_a_huge_page_and_take_no_memory_before_use() {
    let before = resident();
    let mut pages = Pages::<[u64; 8]>::new(4 << 20); // 256 MiB
    assert!((pages.as_ptr() as usize).is_multiple_of(super::HUGE));
    assert!(resident() - before < 64 << 20, "nothing was touched yet");
    pages[0][0] = 1;
    pages[(4 << 20) - 1][7] = 2;
    assert!(resident() - before < 64 << 20, "only two places were");
    let pages = std::thread::spawn(move || pages).join().unwrap();
    assert_eq!((pages[0][0], pages[(4 << 20) - 1][7]), (1, 2));
}
