//! Seeded cases: `LANNER_LAW_CASES` of them (else as many as the law says), the first with `LANNER_SEED`.

/// The sources of randomness of a law's cases. The seed of a case that panics is printed.
pub(crate) fn cases(count: u64) -> Cases {
    let setting = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let next: u64 = setting("LANNER_SEED").unwrap_or(1);
    Cases { next, end: next + setting("LANNER_LAW_CASES").unwrap_or(count) }
}

/// The cases of one law.
pub(crate) struct Cases {
    next: u64,
    end: u64,
}

impl Iterator for Cases {
    type Item = fastrand::Rng;

    fn next(&mut self) -> Option<fastrand::Rng> {
        if self.next == self.end {
            return None;
        }
        self.next += 1;
        Some(fastrand::Rng::with_seed(self.next - 1))
    }
}

impl Drop for Cases {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with LANNER_LAW_CASES=1 LANNER_SEED={}", self.next - 1);
        }
    }
}
