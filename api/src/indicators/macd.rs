//! Moving average convergence/divergence.

use super::average::Exponential;
use super::{Step, step};

/// The two averages begin together, at close `slow` - 1: the fast one with the mean of the `fast`
/// closes that end there.
pub(super) fn macd(fast: u32, slow: u32, signal: u32) -> Step {
    let mut wait = slow - fast;
    let (mut fast, mut slow) = (Exponential::new(fast), Exponential::new(slow));
    let mut signal = Exponential::new(signal);
    step(move |bar| {
        let slow = slow.next(bar.close);
        if wait > 0 {
            wait -= 1;
            return None;
        }
        let macd = fast.next(bar.close)? - slow?;
        let signal = signal.next(macd)?;
        Some([macd, signal, macd - signal])
    })
}
