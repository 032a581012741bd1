//! Moving averages, and what smooths other indicators.

use super::window::Window;
use super::{Step, step};

/// Simple: the mean of the last `n` values.
#[derive(Debug)]
pub(super) struct Simple(Window);

impl Simple {
    pub(super) fn new(n: u32) -> Self {
        Self(Window::new(n))
    }

    pub(super) fn next(&mut self, value: f64) -> Option<f64> {
        self.0.push(value).map(Window::mean)
    }
}

/// The mean of the first `n` values, once.
#[derive(Debug)]
struct Seed {
    n: u32,
    seen: u32,
    sum: f64,
}

impl Seed {
    const fn new(n: u32) -> Self {
        let (seen, sum) = (0, 0.0);
        Self { n, seen, sum }
    }

    fn next(&mut self, value: f64) -> Option<f64> {
        self.sum += value;
        self.seen += 1;
        (self.seen == self.n).then(|| self.sum / f64::from(self.n))
    }
}

/// Exponential: begins with the mean of the first `n` values, then moves towards each value by
/// 2 / (`n` + 1) of the distance.
#[derive(Debug)]
pub(super) struct Exponential {
    seed: Seed,
    average: Option<f64>,
}

impl Exponential {
    pub(super) const fn new(n: u32) -> Self {
        Self {
            seed: Seed::new(n),
            average: None,
        }
    }

    pub(super) fn next(&mut self, value: f64) -> Option<f64> {
        let share = 2.0 / (f64::from(self.seed.n) + 1.0);
        self.average = match self.average {
            Some(average) => Some((value - average) * share + average),
            None => self.seed.next(value),
        };
        self.average
    }
}

/// Wilder's: begins with the mean of the first `n` values, then moves by 1 / `n` of the distance.
#[derive(Debug)]
pub(super) struct Wilder {
    seed: Seed,
    average: Option<f64>,
}

impl Wilder {
    pub(super) const fn new(n: u32) -> Self {
        Self {
            seed: Seed::new(n),
            average: None,
        }
    }

    pub(super) fn next(&mut self, value: f64) -> Option<f64> {
        let n = f64::from(self.seed.n);
        self.average = match self.average {
            Some(average) => Some((average * (n - 1.0) + value) / n),
            None => self.seed.next(value),
        };
        self.average
    }
}

/// Exponential averages of exponential averages.
struct Nested<const DEPTH: usize>([Exponential; DEPTH]);

impl<const DEPTH: usize> Nested<DEPTH> {
    fn new(n: u32) -> Self {
        Self(std::array::from_fn(|_| Exponential::new(n)))
    }

    /// The averages from the outermost in, once all are there.
    fn next(&mut self, value: f64) -> Option<[f64; DEPTH]> {
        let mut averages = [value; DEPTH];
        let mut input = value;
        for (stage, average) in self.0.iter_mut().zip(&mut averages) {
            input = stage.next(input)?;
            *average = input;
        }
        Some(averages)
    }
}

pub(super) fn sma(n: u32) -> Step {
    let mut average = Simple::new(n);
    step(move |bar| Some([average.next(bar.close)?]))
}

pub(super) fn ema(n: u32) -> Step {
    let mut average = Exponential::new(n);
    step(move |bar| Some([average.next(bar.close)?]))
}

pub(super) fn wma(n: u32) -> Step {
    let mut closes = Window::new(n);
    step(move |bar| {
        let closes = closes.push(bar.close)?;
        let weighted: f64 = closes
            .iter()
            .zip(1..=n)
            .map(|(close, weight)| close * f64::from(weight))
            .sum();
        Some([weighted / (f64::from(n) * (f64::from(n) + 1.0) / 2.0)])
    })
}

pub(super) fn dema(n: u32) -> Step {
    let mut averages = Nested::<2>::new(n);
    step(move |bar| {
        let [first, second] = averages.next(bar.close)?;
        Some([2.0 * first - second])
    })
}

pub(super) fn tema(n: u32) -> Step {
    let mut averages = Nested::<3>::new(n);
    step(move |bar| {
        let [first, second, third] = averages.next(bar.close)?;
        Some([3.0 * first - 3.0 * second + third])
    })
}
