//! What a database failure means: wait and try again, look for the bad message, or stop.

use std::time::Duration;

/// The class of a failure. Every failure has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It may pass: connections, resources, locks, a server that starts or stops.
    Transient,
    /// A message's values are refused: find it.
    Data,
    /// Only an operator can mend it: rights, a missing object, a wrong database.
    Fatal,
}

/// Classes a failure, by SQLSTATE where the server gave one.
#[must_use]
pub fn class(error: &sqlx::Error) -> Class {
    match error {
        sqlx::Error::Database(error) => error
            .code()
            .map_or(Class::Transient, |code| of_sqlstate(&code)),
        // What is stored or configured is not what it should be; going on could make it worse.
        sqlx::Error::Configuration(_)
        | sqlx::Error::InvalidArgument(_)
        | sqlx::Error::Decode(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        // No certificate that the configuration asks for, or no TLS at all.
        | sqlx::Error::Tls(_) => Class::Fatal,
        // Io, Protocol, PoolTimedOut, WorkerCrashed, RowNotFound (a symbol's row not visible yet).
        _ => Class::Transient,
    }
}

fn of_sqlstate(code: &str) -> Class {
    match code {
        // A stale plan after a migration: the next attempt plans anew.
        "0A000" => Class::Transient,
        _ => match code.get(..2) {
            // 54: more than the server's limits allow, such as a field of a gigabyte.
            Some("22" | "23" | "54") => Class::Data,
            Some("42" | "28" | "3D" | "3F") => Class::Fatal,
            _ => Class::Transient,
        },
    }
}

/// The wait before attempt `attempt` (1 and up): doubling from 50 ms to 5 s, between half and all of
/// it by `jitter` (0 to 1), so that workers do not come back all at once.
#[must_use]
pub fn backoff(attempt: u32, jitter: f64) -> Duration {
    let full = Duration::from_millis(50)
        .saturating_mul(1 << attempt.clamp(1, 8).saturating_sub(1))
        .min(Duration::from_secs(5));
    full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstates_are_classed_as_documented() {
        for (codes, class) in [
            (
                [
                    "08000", "08006", "40001", "40003", "40P01", "53100", "53200", "53300",
                    "55P03", "57014", "57P01", "57P02", "57P03", "58000", "58030", "0A000",
                    "25P03", "25P04", "25006", "XX000",
                ]
                .as_slice(),
                Class::Transient,
            ),
            (
                ["22003", "22021", "23505", "23514", "54000"].as_slice(),
                Class::Data,
            ),
            (
                [
                    "42501", "42P01", "42703", "28000", "28P01", "3D000", "3F000",
                ]
                .as_slice(),
                Class::Fatal,
            ),
        ] {
            for code in codes {
                assert_eq!(of_sqlstate(code), class, "{code}");
            }
        }
    }

    #[test]
    fn backoff_doubles_to_a_bound_and_never_is_zero() {
        assert_eq!(backoff(1, 1.0), Duration::from_millis(50));
        assert_eq!(backoff(2, 1.0), Duration::from_millis(100));
        assert_eq!(backoff(1_000_000, 1.0), Duration::from_secs(5));
        assert_eq!(backoff(1, 0.0), Duration::from_millis(25));
    }
}
