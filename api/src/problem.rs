//! Errors as `application/problem+json` (RFC 9457).
//!
//! A handler returns an [`ApiError`]; the response carries a [`Problem`], which `observe` writes
//! out once the request id is known. Nothing of a 5xx's cause is sent: it is logged with the id.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use common::database::sqlstate;
use serde::Serialize;
use utoipa::ToSchema;

use crate::table::EncodeError;

/// One fault of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Fault {
    pub(crate) parameter: String,
    pub(crate) detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allowed: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(parameter: &str, detail: impl Into<String>) -> Self {
        Self {
            parameter: parameter.into(),
            detail: detail.into(),
            allowed: None,
            hint: None,
        }
    }

    pub(crate) fn allowed(mut self, allowed: &[&str]) -> Self {
        self.allowed = Some(allowed.iter().map(|text| (*text).to_owned()).collect());
        self
    }

    pub(crate) fn hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hint = hint.map(Into::into);
        self
    }
}

/// What is wrong with a list that has an empty item.
pub(crate) const EMPTY_ITEM: &str = "names separated by commas, none of them empty";

/// Characters of a text that may be anything: as many as the longest symbol has.
const SHOWN: usize = 64;

/// What is said of such a text.
pub(crate) fn shown(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(SHOWN)
        .collect()
}

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// 400: parameters that are unknown or cannot be used, all of them.
    #[error("bad parameters")]
    Parameters(Vec<Fault>),
    /// 404: no such symbol.
    #[error("unknown symbol")]
    UnknownSymbol(String),
    /// 404: no such path.
    #[error("unknown path")]
    NotFound,
    /// 406: no form that the answer has is accepted.
    #[error("not acceptable")]
    NotAcceptable,
    /// 414: a longer target than any valid request has.
    #[error("request target too long")]
    TargetTooLong,
    /// 429: as many requests under way as are allowed.
    #[error("too many requests under way")]
    TooMany,
    /// 429: as many exports under way as may be.
    #[error("too many exports under way")]
    TooManyExports,
    /// 504: the whole answer took longer than `http.request_timeout`.
    #[error("request timeout")]
    Timeout,
    /// 504 on a statement timeout, 503 when the database is away, else 500.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// 503: the database answers, but all sessions are at work.
    #[error("all sessions of the database are at work (database.max_connections)")]
    Busy,
    /// 503: the answers that clients do not read fill `http.unread_mib`.
    #[error("answers that their clients have not taken yet fill http.unread_mib")]
    Unread,
    /// 500: rows that cannot be written in the form asked for.
    #[error("encoding: {0}")]
    Encode(#[from] EncodeError),
    /// 500: stored data that this program cannot read.
    #[error("stored data: {0}")]
    Data(String),
}

/// Marks a response whose body is what it should be, whatever its status.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain;

/// A problem document but for its `instance`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
}

/// A [`Problem`] with its `instance`, as it is sent.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    problem: &'a Problem,
    instance: &'a str,
}

impl Problem {
    fn new(status: StatusCode, name: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:financial-data-api:problem:{name}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    /// The problem of a response that came without one, such as a wrong method.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::METHOD_NOT_ALLOWED => {
                Self::new(status, "method-not-allowed", "every route is read by GET")
            }
            StatusCode::NOT_ACCEPTABLE => Self::new(
                status,
                "not-acceptable",
                "the answer has no form or coding that Accept and Accept-Encoding take; JSON is a form of every answer",
            ),
            StatusCode::NOT_FOUND => Self::new(status, "unknown-path", "no such path"),
            status if status.is_server_error() => Self::new(
                status,
                "internal",
                "the request failed; it was logged with this instance",
            ),
            status => Self::new(status, "bad-request", "the request cannot be read"),
        }
    }

    /// What a client is told for whom there is no connection.
    pub(crate) fn no_room() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too-many-connections",
            "as many clients are connected as may be; try again",
        )
    }

    /// The document.
    pub(crate) fn json(&self, instance: &str) -> Vec<u8> {
        serde_json::to_vec(&Document {
            problem: self,
            instance,
        })
        .unwrap_or_default()
    }
}

impl ApiError {
    fn problem(&self) -> Problem {
        match self {
            Self::Parameters(faults) => {
                let detail = if faults.len() == 1 {
                    "a parameter is wrong"
                } else {
                    "several parameters are wrong"
                };
                Problem {
                    errors: faults.clone(),
                    ..Problem::new(StatusCode::BAD_REQUEST, "bad-parameters", detail)
                }
            }
            Self::UnknownSymbol(symbol) => {
                let detail = format!("unknown symbol {}", shown(symbol));
                Problem::new(StatusCode::NOT_FOUND, "unknown-symbol", detail)
            }
            Self::NotFound => Problem::of_status(StatusCode::NOT_FOUND),
            Self::NotAcceptable => Problem::of_status(StatusCode::NOT_ACCEPTABLE),
            Self::TargetTooLong => Problem::new(
                StatusCode::URI_TOO_LONG,
                "target-too-long",
                "the request target is too long",
            ),
            Self::TooMany => Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-requests",
                "as many requests are under way as are allowed; try again",
            ),
            Self::TooManyExports => Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-exports",
                "as many exports are under way as may be; try again, or ask for pages with limit",
            ),
            Self::Timeout => timeout(),
            Self::Database(error) => match sqlstate(error).as_deref() {
                Some("57014") => timeout(),
                _ if is_away(error) => Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "database-away",
                    "the database does not answer or is not ready yet; try again",
                ),
                _ => Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR),
            },
            Self::Busy => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "all sessions of the database are at work; try again",
            ),
            Self::Unread => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unread",
                "other clients have not read their answers yet; try again, or ask for a shorter page",
            ),
            Self::Data(_) | Self::Encode(_) => {
                Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }
}

fn timeout() -> Problem {
    Problem::new(
        StatusCode::GATEWAY_TIMEOUT,
        "timeout",
        "the answer took too long; ask for a shorter range",
    )
}

/// Whether a failure of that SQLSTATE passes: connection, resources, operator intervention, credentials, no database, no
/// schema or table yet; a conflict with the recovery of a standby, a lock that was not had in time, a fault of the
/// system; a statement that was prepared before a migration.
fn passes(code: &str) -> bool {
    ["08", "53", "57P", "28", "3D", "3F", "40", "58"]
        .iter()
        .any(|class| code.starts_with(class))
        || ["25P03", "25P04", "42P01", "42883", "55P03", "0A000"].contains(&code)
}

/// Whether waiting may help: no connection, or a schema that is not there yet.
fn is_away(error: &sqlx::Error) -> bool {
    match sqlstate(error) {
        Some(code) => passes(&code),
        None => matches!(
            error,
            sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
        ),
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let status =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        match &self {
            // As many as there may be are no failure of this program.
            Self::Busy | Self::Unread => tracing::warn!(error = %self, "request refused"),
            _ if status.is_server_error() => {
                tracing::error!(error = %self, status = status.as_u16(), "request failed");
            }
            _ => (),
        }
        let mut response = status.into_response();
        if [
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::TOO_MANY_REQUESTS,
        ]
        .contains(&status)
        {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response.extensions_mut().insert(problem);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_symbol_is_named_without_control_characters() {
        let problem = ApiError::UnknownSymbol("A\u{0}\nB".into()).problem();
        assert_eq!(
            (problem.status, problem.detail.as_str()),
            (404, "unknown symbol AB")
        );
    }

    #[test]
    fn what_passes_by_itself_is_told_from_what_does_not() {
        for code in [
            "08006", "0A000", "28P01", "40001", "40P01", "53300", "55P03", "57P01", "58030",
        ] {
            assert!(passes(code), "{code}");
        }
        for code in ["22P02", "42601", "42703", "57014", "XX000"] {
            assert!(!passes(code), "{code}");
        }
    }

    #[test]
    fn the_cause_of_a_server_error_is_not_sent() {
        let problem = ApiError::Data("table secrets".into()).problem();
        let text = String::from_utf8(problem.json("id-1")).unwrap();
        assert!(
            !text.contains("secrets") && text.contains(r#""instance":"id-1""#),
            "{text}"
        );
    }
}
