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

/// The highest high and the lowest low of the last candles.
#[derive(Debug)]
pub(super) struct Extremes {
    highs: Window,
    lows: Window,
}

impl Extremes {
    pub(super) fn new(length: u32) -> Self {
        Self {
            highs: Window::new(length),
            lows: Window::new(length),
        }
    }

    /// The highest and the lowest, once the window is full.
    pub(super) fn next(&mut self, high: f64, low: f64) -> Option<(f64, f64)> {
        let (highs, lows) = (self.highs.push(high), self.lows.push(low));
        Some((highs?.highest(), lows?.lowest()))
    }
}
