//! Wilder's average directional index.

use super::range::TrueRange;
use super::{Step, step};

/// A sum that loses 1 / `n` of itself with each value.
struct Decaying {
    n: f64,
    sum: f64,
}

impl Decaying {
    fn add(&mut self, value: f64, decay: bool) {
        if decay {
            self.sum -= self.sum / self.n;
        }
        self.sum += value;
    }
}

/// The sums of the first `n` - 1 movements are plain; the index begins with the mean of `n` values,
/// one without a range or without movement counting as 0, and later does not move for such a one.
pub(super) fn adx(n: u32) -> Step {
    let decaying = || Decaying {
        n: f64::from(n),
        sum: 0.0,
    };
    let (mut ups, mut downs, mut ranges) = (decaying(), decaying(), decaying());
    let mut range = TrueRange::default();
    let mut last: Option<(f64, f64)> = None;
    let (mut seen, mut index) = (0_u32, 0.0);
    step(move |bar| {
        let true_range = range.next(bar);
        let (high, low) = last.replace((bar.high, bar.low))?;
        let (up, down) = (bar.high - high, low - bar.low);
        seen = seen.saturating_add(1);
        let decay = seen >= n;
        ups.add(if up > down && up > 0.0 { up } else { 0.0 }, decay);
        downs.add(if down > up && down > 0.0 { down } else { 0.0 }, decay);
        ranges.add(true_range?, decay);
        if !decay {
            return None;
        }
        let movement = ups.sum + downs.sum;
        let known = (ranges.sum > 0.0 && movement > 0.0)
            .then(|| 100.0 * ((ups.sum - downs.sum).abs() / movement));
        let n_values = f64::from(n);
        if seen < 2 * n {
            index += known.unwrap_or(0.0) / n_values;
        } else if let Some(known) = known {
            index = (index * (n_values - 1.0) + known) / n_values;
        }
        (seen >= 2 * n - 1).then_some([index])
    })
}
