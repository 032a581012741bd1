//! What the catalogue says of an indicator.

mod entries;

pub(crate) use entries::CATALOGUE;

use super::Step;

/// Longest period of a parameter, in candles.
pub(crate) const MAX_PERIOD: u32 = 1_000;

/// Of which candles a value is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum History {
    /// Of those of the warm-up and its own.
    Window,
    /// Of all since the symbol's first.
    First,
    /// Of those since the start of its session, the local day in the query's zone.
    Session,
}

/// What a parameter may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Domain {
    /// A number of candles.
    Period { minimum: u32, default: Option<u32> },
    /// A decimal.
    Factor {
        minimum: f64,
        maximum: f64,
        default: f64,
    },
}

/// A parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) domain: Domain,
}

/// The parameters of one indicator, each kind in the order of the catalogue.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Arguments {
    pub(crate) periods: [u32; 3],
    pub(crate) factors: [f64; 2],
}

/// What the parameters of an indicator must be to each other.
#[derive(Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) holds: fn(&Arguments) -> bool,
    /// The same in words.
    pub(crate) text: &'static str,
}

/// One indicator.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) parameters: &'static [Parameter],
    /// Names of the outputs; an indicator with one has no names.
    pub(crate) outputs: &'static [&'static str],
    pub(crate) formula: &'static str,
    /// Where the definition is from.
    pub(crate) source: &'static str,
    pub(crate) history: fn(&Arguments) -> History,
    /// How many candles come before the first value.
    pub(crate) warm_up: fn(&Arguments) -> u32,
    /// The same in words.
    pub(crate) warm_up_rule: &'static str,
    pub(crate) rule: Option<Rule>,
    pub(crate) build: fn(&Arguments) -> Step,
}

impl Entry {
    /// The entry of that name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        CATALOGUE.iter().find(|entry| entry.name == name)
    }

    /// All defaults; a period without one is 0.
    pub(crate) fn defaults(&self) -> Arguments {
        let mut arguments = Arguments::default();
        let (mut periods, mut factors) =
            (arguments.periods.iter_mut(), arguments.factors.iter_mut());
        for parameter in self.parameters {
            match parameter.domain {
                Domain::Period { default, .. } => {
                    if let Some(period) = periods.next() {
                        *period = default.unwrap_or(0);
                    }
                }
                Domain::Factor { default, .. } => {
                    if let Some(factor) = factors.next() {
                        *factor = default;
                    }
                }
            }
        }
        arguments
    }
}
