//! How rows are told: the parameters `format`, `fields`, `numbers` and `time`.

use axum::http::HeaderMap;
use chrono_tz::Tz;

use crate::format::Format;
use crate::params::Params;
use crate::problem::{EMPTY_ITEM, Fault, shown};
use crate::table::{Spelling, Times};

/// What the client asked for.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) format: Format,
    /// Which of the columns, in their own order.
    pub(crate) fields: Vec<usize>,
    quoted: bool,
    times: Times,
}

impl Output {
    /// The names of its parameters.
    pub(crate) const NAMES: [&str; 4] = ["format", "fields", "numbers", "time"];

    /// Reads them for a table of `columns` that has some forms; `None` when none of them is acceptable.
    pub(crate) fn read(
        params: &mut Params,
        headers: &HeaderMap,
        columns: &[&str],
        formats: &[(&str, Format)],
    ) -> Option<Self> {
        let asked = params.choice("format", formats);
        let quoted = params.choice("numbers", &[("number", false), ("string", true)]);
        let times = params.choice(
            "time",
            &[
                ("rfc3339", Times::Utc),
                ("local", Times::Local),
                ("s", Times::Seconds),
                ("ms", Times::Milliseconds),
                ("ns", Times::Nanoseconds),
            ],
        );
        let fields = params.value("fields", |text| fields(text, columns));
        let format = asked.or_else(|| Format::accepted(headers, formats))?;
        if format.is_columnar() && times.is_some_and(|times| times != Times::Utc) {
            let detail = "Arrow and Parquet have timestamps of their own: microseconds, UTC";
            params.fault(Fault::new("time", detail).hint(Some("rfc3339")));
        }
        Some(Self {
            format,
            fields: fields.unwrap_or_else(|| (0..columns.len()).collect()),
            quoted: quoted.unwrap_or(false),
            times: times.unwrap_or(Times::Utc),
        })
    }

    /// Whether the whole range is told, not a page of it: other forms than JSON have no page unless one is asked for.
    pub(crate) fn is_whole(&self, limit: Option<u32>, continued: bool) -> bool {
        self.format != Format::Json && limit.is_none() && !continued
    }

    /// How values are spelled in an answer of that zone.
    pub(crate) const fn spelling(&self, tz: Tz) -> Spelling {
        Spelling {
            quoted: self.quoted,
            times: self.times,
            tz,
        }
    }

    /// Whether decimals go into columns of a type that does not hold all of them.
    pub(crate) const fn has_narrow_decimals(&self) -> bool {
        self.format.is_columnar() && !self.quoted
    }
}

/// The columns that a list names, each once.
fn fields(text: &str, columns: &[&str]) -> Result<Vec<usize>, Fault> {
    let mut indexes = Vec::new();
    for name in text.split(',') {
        let Some(index) = columns.iter().position(|known| *known == name) else {
            let near = columns
                .iter()
                .copied()
                .find(|known| known.eq_ignore_ascii_case(name.trim()));
            let detail = if name.is_empty() {
                EMPTY_ITEM.into()
            } else {
                format!("{}: no such column", shown(name))
            };
            return Err(Fault::new("fields", detail).allowed(columns).hint(near));
        };
        if indexes.contains(&index) {
            return Err(Fault::new("fields", format!("{name} is given twice")));
        }
        indexes.push(index);
    }
    indexes.sort_unstable();
    Ok(indexes)
}
