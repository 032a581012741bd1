//! Opaque page cursors: base64url of a check and a JSON payload.
//!
//! A cursor is bound to the query that made it. The check (64-bit FNV-1a over query and payload)
//! tells a changed query or a damaged cursor; it is no secret, since a forged cursor can only ask
//! for what any query may ask for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono_tz::Tz;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::problem::{ApiError, Fault};

/// The cursor of `payload`, bound to `query`.
pub(crate) fn seal(payload: &impl Serialize, query: &str) -> String {
    let json = serde_json::to_vec(payload).unwrap_or_default();
    let mut bytes = check(query, &json).to_le_bytes().to_vec();
    bytes.extend(json);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The payload of a cursor that was bound to `query`; `None` for anything else.
pub(crate) fn open<T: DeserializeOwned>(cursor: &str, query: &str) -> Option<T> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (sum, json) = bytes.split_first_chunk::<8>()?;
    if u64::from_le_bytes(*sum) != check(query, json) {
        return None;
    }
    serde_json::from_slice(json).ok()
}

/// What is wrong with a cursor that does not open.
pub(crate) fn fault() -> Fault {
    Fault::new(
        "cursor",
        "not a cursor of this query: repeat it with nothing but the cursor changed",
    )
}

/// Refuses a cursor that was made in another zone than `tz`: the symbol's may have changed since, and dates and buckets
/// with it. One of the version before does not say its own.
///
/// # Errors
/// As for a cursor of another query.
pub(crate) fn check_zone(made_in: Option<Tz>, tz: Tz) -> Result<(), ApiError> {
    match made_in {
        Some(made_in) if made_in != tz => Err(ApiError::Parameters(vec![fault()])),
        _ => Ok(()),
    }
}

fn check(query: &str, json: &[u8]) -> u64 {
    let bytes = query.bytes().chain([0]).chain(json.iter().copied());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_cursor_opens_only_for_the_query_that_made_it() {
        let cursor = seal(&(5, "x"), "interval=1d");
        assert_eq!(
            open::<(i64, String)>(&cursor, "interval=1d"),
            Some((5, "x".into()))
        );
        assert_eq!(open::<(i64, String)>(&cursor, "interval=1h"), None);
        assert!(
            cursor
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}|[A-Za-z0-9_-]{0,60}") {
            prop_assert_eq!(open::<(i64, i64)>(&text, "q"), None);
        }
    }
}
