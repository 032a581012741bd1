//! Least squares.

use super::window::Window;
use super::{Step, step};

/// The value at the last candle of the line through the last `n` closes.
pub(super) fn linreg(n: u32) -> Step {
    let mut closes = Window::new(n);
    // Places are counted from the middle: their sum is 0, the sum of their squares this.
    let half = (f64::from(n) - 1.0) / 2.0;
    let squares = f64::from(n) * (f64::from(n) * f64::from(n) - 1.0) / 12.0;
    step(move |bar| {
        let closes = closes.push(bar.close)?;
        let products: f64 = closes
            .iter()
            .zip(0..n)
            .map(|(close, place)| (f64::from(place) - half) * close)
            .sum();
        Some([closes.mean() + products / squares * half])
    })
}
