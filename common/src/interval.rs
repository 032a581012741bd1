//! An interval as a request spells it: a count and a unit, `5m`, `1d`, `3M`.
//!
//! Grammar `^[1-9][0-9]*(s|m|h|d|w|M|q|y)$`, case-sensitive: `m` is a minute, `M` a month. What was
//! asked for is what prints: `60m` stays `60m`. Nothing falls back silently; an error carries the
//! nearest valid form.

use std::fmt;
use std::str::FromStr;

/// A unit of the clock or of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// `s`
    Second,
    /// `m`
    Minute,
    /// `h`
    Hour,
    /// `d`, a local day
    Day,
    /// `w`, an ISO week
    Week,
    /// `M`
    Month,
    /// `q`
    Quarter,
    /// `y`
    Year,
}

impl Unit {
    /// All of them, the shortest first.
    pub const ALL: [Self; 8] = [
        Self::Second,
        Self::Minute,
        Self::Hour,
        Self::Day,
        Self::Week,
        Self::Month,
        Self::Quarter,
        Self::Year,
    ];

    /// The letter of the grammar.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Second => 's',
            Self::Minute => 'm',
            Self::Hour => 'h',
            Self::Day => 'd',
            Self::Week => 'w',
            Self::Month => 'M',
            Self::Quarter => 'q',
            Self::Year => 'y',
        }
    }

    /// Greatest count. Clock units stay below 24 h, since longer ones are days of a calendar; the
    /// others end where a single candle would span centuries.
    #[must_use]
    pub const fn max_count(self) -> u32 {
        match self {
            Self::Second => 86_399,
            Self::Minute => 1_439,
            Self::Hour => 23,
            Self::Day => 10_000,
            Self::Month => 1_200,
            Self::Week | Self::Quarter | Self::Year => 1_000,
        }
    }

    /// Seconds of a clock unit; `None` for a calendar unit, whose length varies.
    #[must_use]
    pub const fn seconds(self) -> Option<u32> {
        match self {
            Self::Second => Some(1),
            Self::Minute => Some(60),
            Self::Hour => Some(3_600),
            _ => None,
        }
    }

    fn of_letter(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.letter() == letter)
    }

    /// The unit that a word of another API, or the wrong case, most likely means.
    fn of_word(word: &str) -> Option<Self> {
        if let Some(unit) = word
            .chars()
            .next()
            .filter(|_| word.chars().count() == 1)
            .and_then(Self::of_letter)
        {
            return Some(unit);
        }
        Some(match word.to_ascii_lowercase().as_str() {
            "s" | "sec" | "secs" | "second" | "seconds" => Self::Second,
            "m" | "min" | "mins" | "minute" | "minutes" | "t" => Self::Minute,
            "h" | "hr" | "hrs" | "hour" | "hours" | "hourly" => Self::Hour,
            "d" | "day" | "days" | "daily" => Self::Day,
            "w" | "wk" | "week" | "weeks" | "weekly" => Self::Week,
            "mo" | "mon" | "mth" | "mn" | "month" | "months" | "monthly" => Self::Month,
            "q" | "qtr" | "quarter" | "quarters" | "quarterly" => Self::Quarter,
            "y" | "yr" | "year" | "years" | "yearly" | "a" | "annual" | "annually" => Self::Year,
            _ => return None,
        })
    }
}

/// Why a text is not an [`Interval`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IntervalError {
    /// Not of the grammar.
    #[error("an interval is a count and one of s, m, h, d, w, M, q, y, such as 5m or 1M")]
    Malformed {
        /// The nearest valid form, where one can be told.
        hint: Option<Interval>,
    },
    /// Seconds, minutes or hours that make a day or more.
    #[error("an interval in s, m or h is below 24 h; days are counted in d")]
    DayOrLonger {
        /// The nearest whole number of days.
        hint: Interval,
    },
    /// A count beyond the unit's greatest.
    #[error("an interval in {} has a count of at most {}", hint.unit().letter(), hint.count())]
    TooLong {
        /// The greatest interval of that unit.
        hint: Interval,
    },
}

impl IntervalError {
    /// The nearest valid form, where one can be told.
    #[must_use]
    pub const fn hint(&self) -> Option<Interval> {
        match self {
            Self::Malformed { hint } => *hint,
            Self::DayOrLonger { hint } | Self::TooLong { hint } => Some(*hint),
        }
    }
}

/// A count, at least 1, of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interval {
    count: u32,
    unit: Unit,
}

impl Interval {
    /// `count` of `unit`.
    ///
    /// # Errors
    /// When the count is 0 or beyond the unit's greatest.
    pub fn new(count: u32, unit: Unit) -> Result<Self, IntervalError> {
        if count == 0 {
            return Err(IntervalError::Malformed {
                hint: Some(Self { count: 1, unit }),
            });
        }
        if count <= unit.max_count() {
            return Ok(Self { count, unit });
        }
        let greatest = |unit: Unit| Self {
            count: unit.max_count(),
            unit,
        };
        let Some(seconds) = unit.seconds() else {
            return Err(IntervalError::TooLong {
                hint: greatest(unit),
            });
        };
        let days = (u64::from(count) * u64::from(seconds) + 43_200) / 86_400;
        let days = u32::try_from(days)
            .unwrap_or(u32::MAX)
            .clamp(1, Unit::Day.max_count());
        Err(IntervalError::DayOrLonger {
            hint: Self {
                count: days,
                unit: Unit::Day,
            },
        })
    }

    /// How many units, at least 1.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.count
    }

    /// The unit.
    #[must_use]
    pub const fn unit(self) -> Unit {
        self.unit
    }

    /// Length in seconds, below 86 400, of an interval of the clock; `None` for one of the calendar.
    #[must_use]
    pub fn seconds(self) -> Option<u32> {
        self.unit.seconds().map(|seconds| seconds * self.count)
    }

    fn guess(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        let letters = |c: char| c.is_ascii_alphabetic();
        let digits = |c: char| c.is_ascii_digit();
        let (count, word) = if text.starts_with(digits) {
            let word = text.trim_start_matches(digits);
            (&text[..text.len() - word.len()], word)
        } else {
            // `H4`, `M5`, `D1`: the count after the unit.
            let count = text.trim_start_matches(letters);
            (count, &text[..text.len() - count.len()])
        };
        // A bare number is minutes elsewhere, and so is the M of `M5`.
        let minutes =
            word.is_empty() || (word == "M" && !text.starts_with(digits) && !count.is_empty());
        let unit = if minutes {
            Unit::Minute
        } else {
            Unit::of_word(word.trim())?
        };
        let count = if count.is_empty() {
            1
        } else {
            count.parse().ok()?
        };
        match Self::new(count, unit) {
            Ok(interval) => Some(interval),
            Err(error) => error.hint(),
        }
    }
}

impl FromStr for Interval {
    type Err = IntervalError;

    fn from_str(text: &str) -> Result<Self, IntervalError> {
        let malformed = || IntervalError::Malformed {
            hint: Self::guess(text),
        };
        let letter = text.chars().next_back().ok_or_else(malformed)?;
        let unit = Unit::of_letter(letter).ok_or_else(malformed)?;
        let count = &text[..text.len() - letter.len_utf8()];
        if count.is_empty() || count.starts_with('0') || !count.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(malformed());
        }
        // Only a count beyond u32 fails here, and that is beyond every unit's greatest.
        Self::new(count.parse().unwrap_or(u32::MAX), unit)
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.count, self.unit.letter())
    }
}

#[cfg(test)]
mod tests;
