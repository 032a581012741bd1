//! The statements that read candles of a level. Nothing of a request is in their text.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{Direction, part};
use crate::planner::{Source, View};

impl View {
    /// Name of the view, what `date_trunc` calls its period, and the period as an interval.
    const fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Weeks => ("candles_1w", "week", "7 days"),
            Self::Months => ("candles_1mo", "month", "1 month"),
            Self::Quarters => ("candles_1q", "quarter", "3 months"),
            Self::Years => ("candles_1y", "year", "1 year"),
        }
    }
}

/// The statement of every source but ticks.
pub(super) static STATEMENTS: LazyLock<HashMap<(Source, Direction), String>> =
    LazyLock::new(|| {
        let views = [View::Weeks, View::Months, View::Quarters, View::Years].map(Source::View);
        let sources = views
            .into_iter()
            .chain([Source::Days, Source::Hours, Source::Minutes]);
        let both = |source| [(source, Direction::Forward), (source, Direction::Backward)];
        sources
            .flat_map(both)
            .map(|(source, direction)| ((source, direction), statement(source, direction)))
            .collect()
    });

fn statement(source: Source, direction: Direction) -> String {
    let order = match direction {
        Direction::Forward => "asc",
        Direction::Backward => "desc",
    };
    let (table, key) = match source {
        Source::View(view) => {
            let (name, unit, length) = view.names();
            return include_str!("view.sql")
                .replace("{columns}", part::COLUMNS)
                .replace("{view}", name)
                .replace("{unit}", unit)
                .replace("{length}", length)
                .replace("{order}", order);
        }
        Source::Days => ("candles_1d", "local_date"),
        Source::Hours => ("candles_1h", "open_time"),
        Source::Minutes | Source::Ticks => ("candles_1m", "open_time"),
    };
    format!(
        "select {key}, {} from {table} where symbol_id = $1 and {key} >= $2 and {key} < $3 order by {key} {order} limit $4",
        part::COLUMNS
    )
}
