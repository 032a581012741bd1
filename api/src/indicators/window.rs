//! The last values of a series.

use std::collections::VecDeque;

use super::same;

/// The last `length` values, oldest first.
#[derive(Debug)]
pub(super) struct Window {
    values: VecDeque<f64>,
    length: u32,
}

impl Window {
    /// An empty window; `length` is at least 1.
    pub(super) fn new(length: u32) -> Self {
        Self {
            values: VecDeque::with_capacity(length as usize),
            length,
        }
    }

    /// Adds a value; the window, once it is full.
    pub(super) fn push(&mut self, value: f64) -> Option<&Self> {
        if self.values.len() == self.length as usize {
            self.values.pop_front();
        }
        self.values.push_back(value);
        (self.values.len() == self.length as usize).then_some(self)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = f64> + Clone + '_ {
        self.values.iter().copied()
    }

    pub(super) fn oldest(&self) -> f64 {
        self.values.front().copied().unwrap_or_default()
    }

    pub(super) fn newest(&self) -> f64 {
        self.values.back().copied().unwrap_or_default()
    }

    pub(super) fn sum(&self) -> f64 {
        self.iter().sum()
    }

    pub(super) fn mean(&self) -> f64 {
        self.sum() / f64::from(self.length)
    }

    pub(super) fn highest(&self) -> f64 {
        self.iter().fold(f64::NEG_INFINITY, f64::max)
    }

    pub(super) fn lowest(&self) -> f64 {
        self.iter().fold(f64::INFINITY, f64::min)
    }

    /// Standard deviation of the population.
    pub(super) fn deviation(&self) -> f64 {
        // The mean of equal values may be rounded: no deviation must come of that.
        if same(self.highest(), self.lowest()) {
            return 0.0;
        }
        let mean = self.mean();
        let squares: f64 = self.iter().map(|value| (value - mean).powi(2)).sum();
        (squares / f64::from(self.length)).sqrt()
    }
}

/// The greatest of the last `length` values, each of which costs the same however many they are: of those that a later
/// one outdoes none is kept.
#[derive(Debug)]
struct Greatest {
    /// Numbers of values and values, which fall from the oldest to the newest.
    falling: VecDeque<(u64, f64)>,
    length: u64,
    seen: u64,
}

impl Greatest {
    fn new(length: u32) -> Self {
        Self {
            falling: VecDeque::new(),
            length: length.into(),
            seen: 0,
        }
    }

    /// Adds a value; the greatest, once there are `length`.
    fn push(&mut self, value: f64) -> Option<f64> {
        while self.falling.back().is_some_and(|(_, last)| *last <= value) {
            self.falling.pop_back();
        }
        self.falling.push_back((self.seen, value));
        self.seen += 1;
        let gone = |(number, _): &(u64, f64)| number + self.length < self.seen;
        if self.falling.front().is_some_and(gone) {
            self.falling.pop_front();
        }
        let greatest = self.falling.front().map(|(_, value)| *value);
        greatest.filter(|_| self.seen >= self.length)
    }
}

/// The highest high and the lowest low of the last candles.
#[derive(Debug)]
pub(super) struct Extremes {
    highs: Greatest,
    /// Of the lows with the other sign.
    lows: Greatest,
}

impl Extremes {
    pub(super) fn new(length: u32) -> Self {
        Self {
            highs: Greatest::new(length),
            lows: Greatest::new(length),
        }
    }

    /// The highest and the lowest, once the window is full.
    pub(super) fn next(&mut self, high: f64, low: f64) -> Option<(f64, f64)> {
        let (highest, lowest) = (self.highs.push(high), self.lows.push(-low));
        Some((highest?, -lowest?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_kept_does_not_grow() {
        let mut rising = Greatest::new(1_000);
        let mut falling = Greatest::new(1_000);
        for n in 0..5_000 {
            rising.push(f64::from(n));
            falling.push(-f64::from(n));
        }
        assert_eq!((rising.falling.len(), falling.falling.len()), (1, 1_000));
    }

    proptest! {
        #[test]
        fn extremes_are_those_of_the_window(length in 1_u32..8, values in prop::collection::vec((-9_i8..9, -9_i8..9), 0..40)) {
            let mut extremes = Extremes::new(length);
            let (mut highs, mut lows) = (Window::new(length), Window::new(length));
            for (high, low) in values {
                let (high, low) = (f64::from(high), f64::from(low));
                let whole = highs.push(high).zip(lows.push(low));
                let scanned = whole.map(|(highs, lows)| (highs.highest(), lows.lowest()));
                prop_assert_eq!(extremes.next(high, low), scanned);
            }
        }
    }
}
