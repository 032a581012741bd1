//! Wilder's parabolic stop and reverse.

use super::{Step, step};

/// A position: long or short.
struct Position {
    long: bool,
    /// The stop of the next candle.
    stop: f64,
    /// The highest high of a long position, the lowest low of a short one.
    extreme: f64,
    acceleration: f64,
}

/// A range of prices.
#[derive(Clone, Copy)]
struct Range {
    high: f64,
    low: f64,
}

impl Position {
    /// Moves the stop towards the extreme, but not into the ranges of the last two candles.
    fn advance(&mut self, before: Range, now: Range) {
        let stop = self.stop + self.acceleration * (self.extreme - self.stop);
        self.stop = outside(self.long, stop, before, now);
    }
}

/// At or beyond both ranges: below them for a long position.
fn outside(long: bool, stop: f64, before: Range, now: Range) -> f64 {
    if long {
        stop.min(before.low).min(now.low)
    } else {
        stop.max(before.high).max(now.high)
    }
}

/// The first candle gives the first stop; the second the direction: short when its low went
/// down by more than its high went up.
pub(super) fn psar(acceleration: f64, maximum: f64) -> Step {
    let mut last: Option<Range> = None;
    let mut position: Option<Position> = None;
    step(move |bar| {
        let now = Range {
            high: bar.high,
            low: bar.low,
        };
        let mut before = last.replace(now)?;
        let position = position.get_or_insert_with(|| {
            let (up, down) = (now.high - before.high, before.low - now.low);
            let long = !(down > 0.0 && down > up);
            let (stop, extreme) = if long {
                (before.low, now.high)
            } else {
                (before.high, now.low)
            };
            before = now;
            Position {
                long,
                stop,
                extreme,
                acceleration,
            }
        });
        let long = position.long;
        let reached = if long {
            now.low <= position.stop
        } else {
            now.high >= position.stop
        };
        let stop;
        if reached {
            position.long = !long;
            stop = outside(!long, position.extreme, before, now);
            position.stop = stop;
            position.acceleration = acceleration;
            position.extreme = if long { now.low } else { now.high };
        } else {
            stop = position.stop;
            let further = if long {
                now.high > position.extreme
            } else {
                now.low < position.extreme
            };
            if further {
                position.extreme = if long { now.high } else { now.low };
                position.acceleration = (position.acceleration + acceleration).min(maximum);
            }
        }
        position.advance(before, now);
        Some([stop])
    })
}
