//! Ichimoku Kinko Hyo.

use std::collections::VecDeque;

use super::window::Extremes;
use super::{Step, step};

/// The leading spans at a candle are those computed `base` candles before it, which is where charts
/// draw them. The lagging span, the close drawn `base` candles back, would be a value from the future
/// there, and is left out.
pub(super) fn ichimoku(conversion: u32, base: u32, span: u32) -> Step {
    let lines = [conversion, base, span];
    let [mut conversion, mut base_line, mut span] = lines.map(Extremes::new);
    let mut leading: VecDeque<(f64, f64)> = VecDeque::with_capacity(base as usize + 1);
    step(move |bar| {
        let middle = |extremes: &mut Extremes| {
            let (high, low) = extremes.next(bar.high, bar.low)?;
            Some(f64::midpoint(high, low))
        };
        let lines = [
            middle(&mut conversion),
            middle(&mut base_line),
            middle(&mut span),
        ];
        let [Some(conversion), Some(base_line), Some(span)] = lines else {
            return None;
        };
        leading.push_back((f64::midpoint(conversion, base_line), span));
        if leading.len() <= base as usize {
            return None;
        }
        let (span_a, span_b) = leading.pop_front()?;
        Some([conversion, base_line, span_a, span_b])
    })
}
