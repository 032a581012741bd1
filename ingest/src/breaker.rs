//! Stops a worker when too large a share of its messages is poison, instead of draining the topic into
//! the dead letters: a wrong format or a broken producer is for an operator to mend.
//!
//! Pure. What counts are the messages of a sliding window of time, and only when there are enough of
//! them. Ticks below a symbol's floor do not count: they are old, not bad.

use std::collections::VecDeque;
use std::time::Instant;

use crate::config::PoisonConfig;

/// Messages of one batch, and those among them that are no ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages, good and bad.
    pub messages: u64,
    /// Bad ones.
    pub poison: u64,
}

/// Counts the messages of the window.
#[derive(Debug)]
pub struct Breaker {
    config: PoisonConfig,
    window: VecDeque<(Instant, Counts)>,
    sum: Counts,
}

impl Breaker {
    /// Nothing is counted yet.
    #[must_use]
    pub const fn new(config: PoisonConfig) -> Self {
        Self {
            config,
            window: VecDeque::new(),
            sum: Counts {
                messages: 0,
                poison: 0,
            },
        }
    }

    /// Counts a batch that is stored.
    pub fn count(&mut self, now: Instant, batch: Counts) {
        self.window.push_back((now, batch));
        self.sum.messages += batch.messages;
        self.sum.poison += batch.poison;
        self.forget(now);
    }

    /// What was counted within the window, with a batch that is not stored yet, where that is too much.
    pub fn trips(&mut self, now: Instant, next: Counts) -> Option<Counts> {
        self.forget(now);
        let sum = Counts {
            messages: self.sum.messages + next.messages,
            poison: self.sum.poison + next.poison,
        };
        #[expect(
            clippy::cast_precision_loss,
            reason = "a share of counts far below 2^52"
        )]
        let too_many = sum.poison as f64 > self.config.max_share * sum.messages as f64;
        (sum.poison >= self.config.min_count && too_many).then_some(sum)
    }

    fn forget(&mut self, now: Instant) {
        while let Some((time, batch)) = self.window.front()
            && now.saturating_duration_since(*time) > self.config.window
        {
            self.sum.messages -= batch.messages;
            self.sum.poison -= batch.poison;
            self.window.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn counts(messages: u64, poison: u64) -> Counts {
        Counts { messages, poison }
    }

    fn breaker(max_share: f64) -> Breaker {
        Breaker::new(PoisonConfig {
            window: MINUTE,
            min_count: 100,
            max_share,
        })
    }

    #[test]
    fn a_share_above_the_limit_trips_once_there_are_enough() {
        let (mut breaker, now) = (breaker(0.5), Instant::now());
        // Few messages, all of them bad.
        assert_eq!(breaker.trips(now, counts(99, 99)), None);
        breaker.count(now, counts(99, 99));
        // Half is not above half.
        assert_eq!(breaker.trips(now, counts(101, 1)), None);
        assert_eq!(breaker.trips(now, counts(100, 1)), Some(counts(199, 100)));
        // It is asked, not told: nothing was counted.
        assert_eq!(breaker.trips(now, counts(0, 0)), None);
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let (mut breaker, begun) = (breaker(0.5), Instant::now());
        breaker.count(begun, counts(150, 150));
        assert!(breaker.trips(begun + MINUTE, counts(0, 0)).is_some());
        let later = begun + MINUTE + Duration::from_millis(1);
        assert_eq!(breaker.trips(later, counts(99, 99)), None);
        // Good messages outweigh bad ones within it.
        breaker.count(later, counts(1_000, 0));
        assert_eq!(breaker.trips(later, counts(200, 200)), None);
    }

    #[test]
    fn a_share_of_one_never_trips() {
        let mut breaker = breaker(1.0);
        assert_eq!(breaker.trips(Instant::now(), counts(10_000, 10_000)), None);
    }
}
