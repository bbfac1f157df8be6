//! When the next request may go out, over all threads.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Gives requests their turns, evenly spaced.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    /// 0 for no limit.
    pub(super) fn new(requests_per_minute: f64) -> Self {
        let seconds = if requests_per_minute > 0.0 { 60.0 / requests_per_minute } else { 0.0 };
        Self { interval: Duration::from_secs_f64(seconds), next: Mutex::new(Instant::now()) }
    }

    /// Nobody's turn comes before this has passed.
    pub(super) fn hold(&self, pause: Duration) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next = (*next).max(Instant::now() + pause);
    }

    /// How long until the turn of whoever asks now.
    pub(super) fn turn(&self, now: Instant) -> Duration {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*next).max(now);
        *next = turn + self.interval;
        turn - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_evenly_spaced_and_none_is_saved_up() {
        let pace = Pace::new(120.0);
        let start = Instant::now() + Duration::from_secs(1);
        let half = Duration::from_millis(500);
        assert_eq!([0, 1, 2].map(|_| pace.turn(start)), [Duration::ZERO, half, 2 * half]);
        let later = start + Duration::from_secs(60);
        assert_eq!([0, 1].map(|_| pace.turn(later)), [Duration::ZERO, half]);
    }

    #[test]
    fn without_a_limit_only_a_held_pace_waits() {
        let pace = Pace::new(0.0);
        let now = Instant::now() + Duration::from_secs(1);
        assert_eq!([0, 1].map(|_| pace.turn(now)), [Duration::ZERO; 2]);
        pace.hold(Duration::from_secs(3600));
        assert!(pace.turn(now) > Duration::from_secs(3500));
    }
}
