//! Oscillators and rates of change.

use super::average::{Simple, Wilder};
use super::window::{Extremes, Window};
use super::{Step, same, step};

/// Lambert's constant: brings most of the commodity channel index between -100 and 100.
const LAMBERT: f64 = 0.015;

/// Relative strength index of a series.
struct Strength {
    last: Option<f64>,
    gains: Wilder,
    losses: Wilder,
}

impl Strength {
    const fn new(n: u32) -> Self {
        Self {
            last: None,
            gains: Wilder::new(n),
            losses: Wilder::new(n),
        }
    }

    fn next(&mut self, value: f64) -> Option<f64> {
        let change = value - self.last.replace(value)?;
        let gain = self.gains.next(change.max(0.0));
        let loss = self.losses.next((-change).max(0.0));
        Some(percent(gain?, gain? + loss?))
    }
}

/// 100 x `part` / `whole`; 0 of nothing.
fn percent(part: f64, whole: f64) -> f64 {
    if whole == 0.0 {
        0.0
    } else {
        100.0 * (part / whole)
    }
}

/// Where `value` lies on the way from `from` to `to`, in percent; 0 when there is no way.
fn place(value: f64, from: f64, to: f64) -> f64 {
    if same(from, to) {
        return 0.0;
    }
    percent(value - from, to - from)
}

pub(super) fn rsi(n: u32) -> Step {
    let mut strength = Strength::new(n);
    step(move |bar| Some([strength.next(bar.close)?]))
}

pub(super) fn stoch(k: u32, smooth: u32, d: u32) -> Step {
    let mut extremes = Extremes::new(k);
    let (mut smooth, mut d) = (Simple::new(smooth), Simple::new(d));
    step(move |bar| {
        let (high, low) = extremes.next(bar.high, bar.low)?;
        let k = smooth.next(place(bar.close, low, high))?;
        Some([k, d.next(k)?])
    })
}

pub(super) fn stochrsi(n: u32, k: u32, d: u32) -> Step {
    let (mut strength, mut extremes, mut d) = (Strength::new(n), Extremes::new(k), Simple::new(d));
    step(move |bar| {
        let strength = strength.next(bar.close)?;
        let (high, low) = extremes.next(strength, strength)?;
        let k = place(strength, low, high);
        Some([k, d.next(k)?])
    })
}

pub(super) fn willr(n: u32) -> Step {
    let mut extremes = Extremes::new(n);
    step(move |bar| {
        let (high, low) = extremes.next(bar.high, bar.low)?;
        Some([-place(bar.close, high, low)])
    })
}

pub(super) fn cci(n: u32) -> Step {
    let mut prices = Window::new(n);
    step(move |bar| {
        let prices = prices.push(bar.typical())?;
        let (newest, mean) = (prices.newest(), prices.mean());
        let scatter: f64 = prices.iter().map(|price| (price - mean).abs()).sum();
        // Equal prices: both differences are rounding.
        if same(newest, mean) || same(prices.highest(), prices.lowest()) {
            return Some([0.0]);
        }
        Some([(newest - mean) / (LAMBERT * (scatter / f64::from(n)))])
    })
}

pub(super) fn mfi(n: u32) -> Step {
    let mut last: Option<f64> = None;
    let (mut inflows, mut outflows) = (Window::new(n), Window::new(n));
    step(move |bar| {
        let price = bar.typical();
        let before = last.replace(price)?;
        let flow = if same(price, before) {
            0.0
        } else {
            price * bar.volume
        };
        let (inflow, outflow) = if price > before {
            (flow, 0.0)
        } else {
            (0.0, flow)
        };
        let (inflows, outflows) = (inflows.push(inflow), outflows.push(outflow));
        let (inflow, outflow) = (inflows?.sum(), outflows?.sum());
        Some([percent(inflow, inflow + outflow)])
    })
}

/// The close `n` candles before, beside the close.
fn pair(n: u32) -> impl FnMut(f64) -> Option<(f64, f64)> + Send {
    let mut closes = Window::new(n + 1);
    move |close| closes.push(close).map(|closes| (closes.oldest(), close))
}

pub(super) fn mom(n: u32) -> Step {
    let mut pair = pair(n);
    step(move |bar| pair(bar.close).map(|(before, close)| [close - before]))
}

pub(super) fn roc(n: u32) -> Step {
    let mut pair = pair(n);
    step(move |bar| pair(bar.close).map(|(before, close)| [percent(close - before, before)]))
}
