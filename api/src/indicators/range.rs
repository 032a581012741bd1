//! The true range and bands about a price.

use super::average::{Exponential, Wilder};
use super::window::{Extremes, Window};
use super::{Bar, Step, step};

/// The range of a candle, from the close before on.
#[derive(Debug, Default)]
pub(super) struct TrueRange {
    close: Option<f64>,
}

impl TrueRange {
    pub(super) fn next(&mut self, bar: &Bar) -> Option<f64> {
        let close = self.close.replace(bar.close)?;
        let gap = (bar.high - close).abs().max((bar.low - close).abs());
        Some((bar.high - bar.low).max(gap))
    }
}

/// Wilder's average of the true range.
struct AverageRange {
    range: TrueRange,
    average: Wilder,
}

impl AverageRange {
    fn new(n: u32) -> Self {
        Self {
            range: TrueRange::default(),
            average: Wilder::new(n),
        }
    }

    fn next(&mut self, bar: &Bar) -> Option<f64> {
        self.average.next(self.range.next(bar)?)
    }
}

/// Upper, middle, lower.
fn band(middle: f64, distance: f64) -> [f64; 3] {
    [middle + distance, middle, middle - distance]
}

pub(super) fn atr(n: u32) -> Step {
    let mut range = AverageRange::new(n);
    step(move |bar| Some([range.next(bar)?]))
}

/// Of one candle TA-Lib gives the range itself, not a percentage.
pub(super) fn natr(n: u32) -> Step {
    let mut range = AverageRange::new(n);
    step(move |bar| {
        let range = range.next(bar)?;
        Some([if bar.close == 0.0 {
            0.0
        } else {
            range / bar.close * 100.0
        }])
    })
}

pub(super) fn stddev(n: u32) -> Step {
    let mut closes = Window::new(n);
    step(move |bar| Some([closes.push(bar.close)?.deviation()]))
}

pub(super) fn bbands(n: u32, deviations: f64) -> Step {
    let mut closes = Window::new(n);
    step(move |bar| {
        let closes = closes.push(bar.close)?;
        Some(band(closes.mean(), closes.deviation() * deviations))
    })
}

pub(super) fn donchian(n: u32) -> Step {
    let mut extremes = Extremes::new(n);
    step(move |bar| {
        let (high, low) = extremes.next(bar.high, bar.low)?;
        Some([high, f64::midpoint(high, low), low])
    })
}

/// Average and range begin together, at the later of their first candles: the other one is fed
/// nothing before it needs it.
pub(super) fn keltner(n: u32, ranges: u32, multiplier: f64) -> Step {
    let (mut middle_waits, mut range_waits) = (
        (ranges + 1).saturating_sub(n),
        (n - 1).saturating_sub(ranges),
    );
    let (mut middle, mut range) = (Exponential::new(n), AverageRange::new(ranges));
    step(move |bar| {
        let middle = started(&mut middle_waits).then(|| middle.next(bar.typical()));
        let range = started(&mut range_waits).then(|| range.next(bar));
        Some(band(middle??, range?? * multiplier))
    })
}

/// Whether no candle is left to wait for; this one is one less.
const fn started(waits: &mut u32) -> bool {
    let started = *waits == 0;
    *waits = waits.saturating_sub(1);
    started
}

/// The final bands and the trend of the candle before.
struct Trend {
    upper: f64,
    lower: f64,
    up: bool,
    close: f64,
}

pub(super) fn supertrend(n: u32, multiplier: f64) -> Step {
    let mut range = AverageRange::new(n);
    let mut last: Option<Trend> = None;
    step(move |bar| {
        let [upper, _, lower] = band(
            f64::midpoint(bar.high, bar.low),
            range.next(bar)? * multiplier,
        );
        let trend = match &last {
            None => Trend {
                upper,
                lower,
                up: true,
                close: bar.close,
            },
            Some(last) => {
                // A band moves towards the price only, until a close was beyond it.
                let upper = if upper < last.upper || last.close > last.upper {
                    upper
                } else {
                    last.upper
                };
                let lower = if lower > last.lower || last.close < last.lower {
                    lower
                } else {
                    last.lower
                };
                let up = if last.up {
                    bar.close >= lower
                } else {
                    bar.close > upper
                };
                Trend {
                    upper,
                    lower,
                    up,
                    close: bar.close,
                }
            }
        };
        let values = if trend.up {
            [trend.lower, 1.0]
        } else {
            [trend.upper, -1.0]
        };
        last = Some(trend);
        Some(values)
    })
}
