//! `indicators=sma:20,macd:12:26:9`: which ones are asked for.

use super::{Arguments, CATALOGUE, Domain, Entry, History, MAX_PERIOD, Step};
use crate::problem::{EMPTY_ITEM, Fault, shown};

/// Most indicators of one request.
pub(crate) const MAX_ASKED: usize = 20;

/// Name of the parameter in faults.
const PARAMETER: &str = "indicators";
/// No number that means something is longer.
const MAX_DIGITS: usize = 12;

/// An indicator as it was asked for.
#[derive(Clone)]
pub(crate) struct Asked {
    /// The text of the request, which is its key in the answer.
    pub(crate) key: String,
    pub(crate) entry: &'static Entry,
    arguments: Arguments,
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.key)
    }
}

impl Asked {
    /// Begins it anew.
    pub(crate) fn build(&self) -> Step {
        (self.entry.build)(&self.arguments)
    }

    /// The name of each output, of which one alone has none.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = Option<&'static str>> {
        let single = self.entry.outputs.is_empty().then_some(None);
        single
            .into_iter()
            .chain(self.entry.outputs.iter().copied().map(Some))
    }

    /// Of which candles its values are made.
    pub(crate) fn history(&self) -> History {
        (self.entry.history)(&self.arguments)
    }

    /// How many candles come before the first value.
    pub(crate) fn warm_up(&self) -> u32 {
        (self.entry.warm_up)(&self.arguments)
    }
}

/// Reads a list.
///
/// # Errors
/// With all faults at once.
pub(crate) fn parse(text: &str) -> Result<Vec<Asked>, Vec<Fault>> {
    let items: Vec<&str> = text.split(',').collect();
    if items.len() > MAX_ASKED {
        return Err(vec![Fault::new(
            PARAMETER,
            format!(
                "{} indicators, where at most {MAX_ASKED} may be asked for",
                items.len()
            ),
        )]);
    }
    let (mut asked, mut faults) = (Vec::new(), Vec::new());
    for (index, item) in items.iter().enumerate() {
        if items[..index].contains(item) {
            faults.push(fault(item, "given twice"));
            continue;
        }
        match one(item) {
            Ok(indicator) => asked.push(indicator),
            Err(more) => faults.extend(more),
        }
    }
    if faults.is_empty() {
        Ok(asked)
    } else {
        Err(faults)
    }
}

/// A fault of one item.
fn fault(item: &str, detail: &str) -> Fault {
    Fault::new(PARAMETER, format!("{}: {detail}", shown(item)))
}

fn one(item: &str) -> Result<Asked, Vec<Fault>> {
    if item.is_empty() {
        return Err(vec![Fault::new(PARAMETER, EMPTY_ITEM)]);
    }
    let mut parts = item.split(':');
    let name = parts.next().unwrap_or_default();
    let Some(entry) = Entry::find(name) else {
        let names: Vec<&str> = CATALOGUE.iter().map(|entry| entry.name).collect();
        let near = names
            .iter()
            .copied()
            .find(|known| known.eq_ignore_ascii_case(name));
        return Err(vec![
            fault(item, "no such indicator").allowed(&names).hint(near),
        ]);
    };
    let given: Vec<&str> = parts.collect();
    if given.len() > entry.parameters.len() {
        let detail = format!(
            "{} takes at most {} parameters",
            entry.name,
            entry.parameters.len()
        );
        return Err(vec![fault(item, &detail).hint(Some(example(entry)))]);
    }

    let mut arguments = entry.defaults();
    let mut faults = Vec::new();
    let (mut periods, mut factors) = (arguments.periods.iter_mut(), arguments.factors.iter_mut());
    for (parameter, text) in entry.parameters.iter().zip(given) {
        let digits = !text.is_empty()
            && text.len() <= MAX_DIGITS
            && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let allowed = match parameter.domain {
            Domain::Period { minimum, .. } => {
                let number = text
                    .parse()
                    .ok()
                    .filter(|n| digits && (minimum..=MAX_PERIOD).contains(n));
                if let (Some(number), Some(period)) = (number, periods.next()) {
                    *period = number;
                    continue;
                }
                format!("a whole number from {minimum} to {MAX_PERIOD}")
            }
            Domain::Factor {
                minimum, maximum, ..
            } => {
                let number = text
                    .parse()
                    .ok()
                    .filter(|n| digits && (minimum..=maximum).contains(n));
                if let (Some(number), Some(factor)) = (number, factors.next()) {
                    *factor = number;
                    continue;
                }
                format!("a number from {minimum} to {maximum}")
            }
        };
        faults.push(fault(
            item,
            &format!("{} must be {allowed}", parameter.name),
        ));
    }
    if let Some(rule) = entry.rule
        && faults.is_empty()
        && !(rule.holds)(&arguments)
    {
        faults.push(fault(item, rule.text));
    }
    if faults.is_empty() {
        Ok(Asked {
            key: item.to_owned(),
            entry,
            arguments,
        })
    } else {
        Err(faults)
    }
}

/// The entry with its defaults, as it may be asked for.
pub(crate) fn example(entry: &Entry) -> String {
    let defaults = entry
        .parameters
        .iter()
        .filter_map(|parameter| match parameter.domain {
            Domain::Period { default, .. } => default.map(|number| number.to_string()),
            Domain::Factor { default, .. } => Some(default.to_string()),
        });
    let parts: Vec<String> = std::iter::once(entry.name.to_owned())
        .chain(defaults)
        .collect();
    parts.join(":")
}
