//! Technical indicators over candles, by the definitions of TA-Lib.
//!
//! An indicator is fed candles in order of time and says a value for each. So the value at a candle
//! is made of that candle and of earlier ones, never of a later one. Averages of a window are
//! computed from the window afresh, not by adding and subtracting as it slides: a value depends on
//! its window alone and is the same, to the last bit, wherever the feeding began.
//!
//! These are the only numbers of the API that are binary floating point (IEEE 754 double).
//!
//! No crate does this: those that agree with TA-Lib take whole columns, and a recursion must run
//! over histories that do not fit in memory; those that are fed differ from TA-Lib in how they begin.

mod average;
mod catalogue;
mod directional;
mod ichimoku;
mod list;
mod macd;
mod oscillator;
mod parse;
mod range;
mod regression;
mod sar;
mod volume;
mod window;

#[cfg(test)]
mod tests;

pub(crate) use catalogue::{Arguments, CATALOGUE, Domain, Entry, History, MAX_PERIOD};
pub(crate) use list::list;
pub(crate) use parse::{Asked, MAX_ASKED, example, parse};

/// What an indicator reads of a candle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bar {
    pub(crate) high: f64,
    pub(crate) low: f64,
    pub(crate) close: f64,
    pub(crate) volume: f64,
    /// Sum of price x size, rounded once from the exact sum.
    pub(crate) turnover: f64,
    /// Whether this is the first candle of a session, a local day.
    pub(crate) opens_session: bool,
}

impl Bar {
    /// The typical price.
    fn typical(&self) -> f64 {
        (self.high + self.low + self.close) / 3.0
    }
}

/// Most outputs of one indicator.
pub(crate) const MAX_OUTPUTS: usize = 4;

/// The values of one indicator at one candle, in the order of its outputs; they begin together.
pub(crate) type Values = [f64; MAX_OUTPUTS];

/// An indicator in progress: takes the next candle; `None` before it has seen enough.
pub(crate) type Step = Box<dyn FnMut(&Bar) -> Option<Values> + Send>;

/// An indicator of one or more outputs.
fn step<const N: usize>(mut next: impl FnMut(&Bar) -> Option<[f64; N]> + Send + 'static) -> Step {
    Box::new(move |bar| {
        let mut values = Values::default();
        for (value, output) in values.iter_mut().zip(next(bar)?) {
            // No negative zero.
            *value = output + 0.0;
        }
        Some(values)
    })
}

/// Rounding of sums of equal prices, relative to what was added; TA-Lib has the same bound.
const ROUNDING: f64 = 1e-14;

/// Whether `a` and `b` differ by no more than rounding.
fn same(a: f64, b: f64) -> bool {
    (a - b).abs() <= ROUNDING * (a.abs() + b.abs())
}
