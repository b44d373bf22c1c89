//! Random cases for the tests of this module: seeded, and the seed is printed when one fails.

use chat::MessageId;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs `check` with `LANNER_LAW_CASES` (else `count`) sources of randomness, the first one seeded with `LANNER_SEED`.
pub(crate) fn each(count: u64, check: impl Fn(&mut fastrand::Rng)) {
    struct Seed(u64);
    impl Drop for Seed {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("failed with LANNER_LAW_CASES=1 LANNER_SEED={}", self.0);
            }
        }
    }
    let first = setting("LANNER_SEED").unwrap_or(1);
    for seed in first..first + setting("LANNER_LAW_CASES").unwrap_or(count) {
        let _printed_on_failure = Seed(seed);
        check(&mut fastrand::Rng::with_seed(seed));
    }
}

/// From 1 to `most` ids, strictly ascending; spread, workers and counters differ widely from case to case.
pub(crate) fn ids(random: &mut fastrand::Rng, most: usize) -> Vec<MessageId> {
    let spread = 1 << random.u32(0..=41);
    let start = random.u64(0..=MessageId::MILLIS_MAX);
    let (workers, counters) = (1 << random.u32(0..=10), 1 << random.u32(0..=12));
    let mut ids: Vec<MessageId> = (0..random.usize(1..=most))
        .map(|_| {
            let ms = start.saturating_add(random.u64(0..spread)).min(MessageId::MILLIS_MAX);
            let low = random.u64(0..workers) << MessageId::COUNTER_BITS | random.u64(0..counters);
            MessageId::from_bits(ms << MessageId::MILLIS_SHIFT | low)
        })
        .collect();
    ids.sort();
    ids.dedup();
    ids
}
