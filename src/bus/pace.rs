//! How busy a loop is.

use std::time::{Duration, Instant};

/// Tasks a second from which on a loop is busy. Below, the bell costs writers nothing and wakes sooner than looking.
const BRISK: usize = 120;

/// How many tasks came in the last second or two.
pub(super) struct Pace {
    since: Instant,
    now: usize,
    before: usize,
}

impl Pace {
    pub fn new() -> Self {
        Self { since: Instant::now(), now: 0, before: 0 }
    }

    pub fn count(&mut self, tasks: usize) {
        let elapsed = self.since.elapsed();
        if elapsed >= Duration::from_secs(1) {
            self.before = if elapsed < Duration::from_secs(2) { self.now } else { 0 };
            (self.since, self.now) = (Instant::now(), 0);
        }
        self.now += tasks;
    }

    pub fn is_brisk(&self) -> bool {
        self.now.max(self.before) >= BRISK
    }
}
