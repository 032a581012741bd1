//! What the log says of dead letters: that there are some, now and then, with an example. All of them are in the database.

use std::time::{Duration, Instant};

use tracing::warn;

/// The log tells of them no more often: a topic of garbage has thousands a second.
const EVERY: Duration = Duration::from_secs(10);

/// Those that the log does not tell of yet.
#[derive(Debug, Default)]
pub(crate) struct LettersTold {
    untold: u64,
    example: Option<String>,
    told: Option<Instant>,
}

impl LettersTold {
    /// Notes `more` of them after a batch, and tells when it is time to.
    pub(crate) fn tell(&mut self, now: Instant, more: u64, example: Option<&str>) {
        if self.example.is_none() {
            self.example = example.map(ToOwned::to_owned);
        }
        if let Some(letters) = self.due(now, more) {
            let such_as = self.example.take().unwrap_or_default();
            warn!(
                letters,
                such_as, "messages became dead letters: see `ingest dead-letters list`"
            );
        }
    }

    /// How many are to be told now, with `more` of them.
    fn due(&mut self, now: Instant, more: u64) -> Option<u64> {
        self.untold += more;
        let quiet = |told| now.duration_since(told) >= EVERY;
        if self.untold == 0 || !self.told.is_none_or(quiet) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_told_but_not_each() {
        let mut letters = LettersTold::default();
        let begin = Instant::now();
        let told = [
            (0, 0),
            (1, 3),
            (2, 4),
            (9, 5),
            (12, 0),
            (13, 2),
            (24, 0),
            (40, 0),
        ]
        .map(|(second, more)| letters.due(begin + Duration::from_secs(second), more));
        let expected = [None, Some(3), None, None, Some(9), None, Some(2), None];
        assert_eq!(told, expected);
    }
}
