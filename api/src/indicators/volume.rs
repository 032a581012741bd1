//! Indicators of volume.

use std::cmp::Ordering;

use super::window::Window;
use super::{Step, step};

/// Begins with the first volume.
pub(super) fn obv() -> Step {
    let mut last: Option<f64> = None;
    let mut sum = 0.0;
    step(move |bar| {
        let move_since = last
            .replace(bar.close)
            .map(|before| bar.close.total_cmp(&before));
        sum += match move_since {
            None | Some(Ordering::Greater) => bar.volume,
            Some(Ordering::Equal) => 0.0,
            Some(Ordering::Less) => -bar.volume,
        };
        Some([sum])
    })
}

pub(super) fn ad() -> Step {
    let mut sum = 0.0;
    step(move |bar| {
        let range = bar.high - bar.low;
        if range > 0.0 {
            sum += ((bar.close - bar.low) - (bar.high - bar.close)) / range * bar.volume;
        }
        Some([sum])
    })
}

/// From the start of the session.
pub(super) fn session_vwap() -> Step {
    let (mut turnover, mut volume) = (0.0, 0.0);
    step(move |bar| {
        if bar.opens_session {
            (turnover, volume) = (0.0, 0.0);
        }
        turnover += bar.turnover;
        volume += bar.volume;
        (volume > 0.0).then(|| [turnover / volume])
    })
}

/// Over the last `n` candles.
pub(super) fn rolling_vwap(n: u32) -> Step {
    let (mut turnovers, mut volumes) = (Window::new(n), Window::new(n));
    step(move |bar| {
        let (turnovers, volumes) = (turnovers.push(bar.turnover), volumes.push(bar.volume));
        let (turnover, volume) = (turnovers?.sum(), volumes?.sum());
        (volume > 0.0).then(|| [turnover / volume])
    })
}
