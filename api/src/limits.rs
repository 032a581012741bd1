//! `GET /v1/limits`: every cap by name, from the values that enforce them.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use common::interval::{Interval, Unit};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::caching::{Freshness, Known};
use crate::config::ApiConfig;
use crate::indicators;
use crate::params::Params;
use crate::problem::{ApiError, Fault};

/// Most bytes of a path with its query: more than the longest useful query needs.
pub(crate) const MAX_TARGET_BYTES: usize = 8 * 1024;
/// Rows of a page that does not say how many it wants.
const DEFAULT_ROWS: u32 = 500;
/// What one request may ask for. `None`: no cap.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Limits {
    /// Rows of a page, `limit`, when it is not given; fewer where `max_span_ms` or `max_rows` for all symbols says so.
    /// Other forms than JSON then tell all rows.
    pub(crate) default_rows: u32,
    /// Most rows of a page.
    pub(crate) max_rows: u32,
    /// Most symbols of one request.
    pub(crate) max_symbols: u32,
    /// Most indicators of one request.
    pub(crate) max_indicators: usize,
    /// Longest period of an indicator, in candles.
    pub(crate) max_indicator_period: u32,
    /// Greatest count of each unit of an interval.
    pub(crate) max_interval_counts: BTreeMap<String, u32>,
    /// Longest range from `from` to `to`, in milliseconds; without `from`, of as many candles as `limit` says.
    pub(crate) max_span_ms: Option<u64>,
    /// Most requests under way at once; further ones are 429.
    pub(crate) max_concurrent: Option<u32>,
    /// Most exports under way at once; further ones are 429.
    pub(crate) max_exports: u32,
    /// Most rows of an export: an answer of a whole range. A longer one is broken off.
    pub(crate) max_export_rows: u64,
    /// Longest time for an export, in milliseconds; then it is broken off.
    pub(crate) export_timeout_ms: u64,
    /// Most bytes of a path with its query; longer ones are 414.
    pub(crate) max_target_bytes: usize,
    /// Longest time for an answer, in milliseconds; then 504.
    pub(crate) request_timeout_ms: u64,
    /// Longest time of one statement in the database, in milliseconds; then 504.
    pub(crate) statement_timeout_ms: u64,
    /// Most clients that are connected at once; further ones are 503.
    pub(crate) max_connections: usize,
    /// Longest wait for the head of a request, also of the next one on a connection, in milliseconds.
    pub(crate) header_timeout_ms: u64,
    /// How long a client may leave an answer unread, in milliseconds.
    pub(crate) write_timeout_ms: u64,
    /// Most bytes of answers that clients have not taken yet, all together; further ones are 503. Answers up to 16 KiB do
    /// not count; one longer than all of it is sent when nothing else lies unread.
    pub(crate) max_unread_bytes: u64,
}

impl Limits {
    pub(crate) fn of(config: &ApiConfig, statement_timeout: Duration) -> Self {
        Self {
            default_rows: DEFAULT_ROWS.min(config.limits.max_rows),
            max_rows: config.limits.max_rows,
            max_symbols: config.limits.max_symbols,
            max_indicators: indicators::MAX_ASKED,
            max_indicator_period: indicators::MAX_PERIOD,
            max_interval_counts: Unit::ALL
                .into_iter()
                .map(|unit| (unit.letter().to_string(), unit.max_count()))
                .collect(),
            max_span_ms: config.limits.max_span.map(milliseconds),
            max_concurrent: config.limits.max_concurrent,
            // Half of the sessions are left to short answers.
            max_exports: (config.database.max_connections / 2).max(1),
            max_export_rows: config.limits.max_export_rows,
            export_timeout_ms: milliseconds(config.limits.export_timeout),
            max_target_bytes: MAX_TARGET_BYTES,
            request_timeout_ms: milliseconds(config.http.request_timeout),
            statement_timeout_ms: milliseconds(statement_timeout),
            max_connections: config.http.max_connections,
            header_timeout_ms: milliseconds(config.http.header_timeout),
            write_timeout_ms: milliseconds(config.http.write_timeout),
            max_unread_bytes: u64::from(config.http.unread_mib) * 1_024 * 1_024,
        }
    }

    /// Refuses a range that is longer than the cap; without `to` it reaches to `now`, without `from` see
    /// [`Self::rows_of`]. All are microseconds since 1970-01-01T00:00:00Z.
    pub(crate) fn check_span(
        &self,
        from: Option<i64>,
        to: Option<i64>,
        now: i64,
    ) -> Result<(), ApiError> {
        match from.and_then(|from| self.span_fault(from, to.unwrap_or(now))) {
            Some(fault) => Err(ApiError::Parameters(vec![fault])),
            None => Ok(()),
        }
    }

    /// What is wrong with a range that is longer than the cap. Both are microseconds since 1970-01-01T00:00:00Z.
    pub(crate) fn span_fault(&self, from: i64, to: i64) -> Option<Fault> {
        let most = self.max_span_ms?;
        // One that begins in the future has no length.
        let span = u64::try_from(to.saturating_sub(from)).unwrap_or(0) / 1_000;
        let detail = || {
            format!(
                "{span} ms before `to`, which is now unless given: the range may be {most} ms long"
            )
        };
        (span > most).then(|| Fault::new("from", detail()))
    }

    /// Most candles of a page without `from`, which is as long as they are: at least one.
    pub(crate) fn rows_of(&self, interval: Interval) -> u32 {
        let Some(most) = self.max_span_ms else {
            return self.max_rows;
        };
        let rows = most / shortest_ms(interval);
        self.max_rows
            .min(u32::try_from(rows).unwrap_or(u32::MAX))
            .max(1)
    }

    pub(crate) const fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
}

/// The shortest that a candle lasts, in milliseconds; a day is told as 24 hours.
fn shortest_ms(interval: Interval) -> u64 {
    const DAY: u32 = 86_400;
    let seconds = match interval.unit() {
        Unit::Week => 7 * DAY,
        Unit::Month => 28 * DAY,
        Unit::Quarter => 90 * DAY,
        Unit::Year => 365 * DAY,
        unit => unit.seconds().unwrap_or(DAY),
    };
    u64::from(interval.count()) * u64::from(seconds) * 1_000
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) async fn get(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    Params::read(&uri, &[]).check()?;
    let body =
        serde_json::to_string(&*app.limits).map_err(|error| ApiError::Data(error.to_string()))?;
    Ok(Known::of(&headers).answer_with(None, Freshness::Recent, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_without_a_beginning_is_no_longer_than_the_cap() {
        let mut config = ApiConfig::default();
        let rows = |config: &ApiConfig, interval: &str| {
            Limits::of(config, Duration::from_secs(1)).rows_of(interval.parse().unwrap())
        };
        assert_eq!(rows(&config, "1000y"), 10_000);
        config.limits.max_span = Some(Duration::from_hours(48));
        for (interval, most) in [
            ("1s", 10_000),
            ("1m", 2_880),
            ("7h", 6),
            ("1d", 2),
            ("2d", 1),
            ("3d", 1),
            ("1M", 1),
        ] {
            assert_eq!(rows(&config, interval), most, "{interval}");
        }
    }

    #[test]
    fn a_range_is_no_longer_than_the_cap() {
        const DAY: i64 = 86_400_000_000;
        let mut config = ApiConfig::default();
        let span = |config: &ApiConfig, from, to| {
            let limits = Limits::of(config, Duration::from_secs(1));
            limits.check_span(from, to, 10 * DAY).is_ok()
        };
        assert!(span(&config, Some(i64::MIN), Some(i64::MAX)));
        config.limits.max_span = Some(Duration::from_hours(24));
        for (from, to, within) in [
            (None, None, true),
            (None, Some(20 * DAY), true),
            (Some(9 * DAY), None, true),
            (Some(9 * DAY - 1_000), None, false),
            (Some(11 * DAY), None, true),
            (Some(0), Some(DAY), true),
            (Some(0), Some(DAY + 1_000), false),
            (Some(i64::MIN), Some(i64::MAX), false),
        ] {
            assert_eq!(span(&config, from, to), within, "{from:?} {to:?}");
        }
    }
}
