//! What a query of candles may say, and what it is told else.

use super::*;
use crate::config::ApiConfig;
use proptest::prelude::*;
use std::time::Duration;

fn limits() -> Limits {
    Limits::of(&ApiConfig::default(), Duration::from_secs(1))
}

fn read(query: &str) -> Result<Query, ApiError> {
    read_of("A", query)
}

fn read_of(symbol: &str, query: &str) -> Result<Query, ApiError> {
    let uri = format!("/v1/candles/{symbol}?{query}").parse().unwrap();
    Query::read(&uri, &HeaderMap::new(), symbol, &limits())
}

fn faults(query: &str) -> Vec<String> {
    match read(query) {
        Err(ApiError::Parameters(faults)) => {
            faults.into_iter().map(|fault| fault.parameter).collect()
        }
        other => panic!("{query}: {other:?}"),
    }
}

#[test]
fn parameters_that_are_not_there_yet_are_unknown() {
    assert_eq!(
        faults("interval=1d&session=regular&format=xml&x=1"),
        ["session", "x", "format"]
    );
    assert_eq!(faults(""), ["interval"]);
    assert_eq!(
        faults(
            "interval=1mo&limit=10001&order=up&partial=yes&fill=linear&anchor=noon&numbers=float&indicators=sma:0,obv:1&cursor=x"
        )
        .len(),
        10
    );
    assert_eq!(faults("interval=2q&anchor=epoch"), ["anchor"]);
    let both = "interval=1d&updated_since=2024-01-01";
    assert_eq!(faults(&format!("{both}&fill=null")), ["fill"]);
    assert!(read(&format!("{both}&fill=none")).is_ok());
    assert_eq!(faults(&format!("{both}&indicators=obv")), ["indicators"]);
}

#[test]
fn a_cursor_is_bound_to_its_query() {
    let query = read("interval=1d&limit=2").unwrap();
    let position = Position {
        last: 5,
        until: 9,
        first: None,
        tz: Some(Tz::UTC),
    };
    let (cursor, next) = query.next(position);
    assert_eq!(read(&next).unwrap().position, Some(position));
    assert_eq!(
        faults(&format!("interval=1d&limit=3&cursor={cursor}")),
        ["cursor"]
    );
    let other = read_of("B", &format!("interval=1d&limit=2&cursor={cursor}"));
    assert!(matches!(other, Err(ApiError::Parameters(_))));
}

#[test]
fn from_after_to_is_refused_also_between_a_date_and_an_instant() {
    let query = read("interval=1d&from=2024-03-10&to=2024-03-10T04:00:00Z").unwrap();
    assert!(query.bounds(Tz::UTC).is_ok());
    assert!(query.bounds(Tz::America__New_York).is_err());
}

#[test]
fn only_forms_without_pages_tell_a_whole_range_and_only_without_a_limit() {
    for (query, whole, limit) in [
        ("interval=1d", false, 500),
        ("interval=1d&format=csv", true, 5_000),
        ("interval=1d&format=arrow&limit=7", false, 7),
        ("interval=1d&format=json&limit=7", false, 7),
    ] {
        let read = read(query).unwrap();
        assert_eq!((read.whole, read.limit), (whole, limit), "{query}");
    }
    let position = Position {
        last: 5,
        until: 9,
        first: None,
        tz: Some(Tz::UTC),
    };
    let (cursor, _) = read("interval=1d&format=csv").unwrap().next(position);
    let page = read(&format!("interval=1d&format=csv&cursor={cursor}")).unwrap();
    assert_eq!((page.whole, page.limit), (false, 500));
}

#[test]
fn what_no_form_fits_is_not_acceptable_and_faults_come_first() {
    let mut headers = HeaderMap::new();
    headers.insert("accept", "text/html".parse().unwrap());
    let read = |query: &str| {
        let uri = format!("/v1/candles/A?{query}").parse().unwrap();
        Query::read(&uri, &headers, "A", &limits())
    };
    assert!(matches!(read("interval=1d"), Err(ApiError::NotAcceptable)));
    assert!(matches!(read("interval=1x"), Err(ApiError::Parameters(_))));
    assert!(read("interval=1d&format=csv").is_ok());
}

#[test]
fn fields_are_known_names_each_once_and_times_of_columns_are_not_chosen() {
    let fields =
        |text: &str| read(&format!("interval=1d&fields={text}")).map(|query| query.output.fields);
    assert_eq!(fields("close,open_time").unwrap(), [0, 5]);
    for wrong in [
        "",
        "close,close",
        "close,",
        "Close",
        "close, open",
        "indicators",
    ] {
        let encoded = wrong.replace(' ', "%20");
        assert_eq!(
            faults(&format!("interval=1d&fields={encoded}")),
            ["fields"],
            "{wrong}"
        );
    }
    assert_eq!(faults("interval=1d&format=parquet&time=ms"), ["time"]);
    assert!(read("interval=1d&format=parquet&time=rfc3339").is_ok());
}

proptest! {
    #[test]
    fn no_query_panics(query in "((interval|tz|limit|order|from|to|fill|partial|anchor|updated_since|numbers|time|fields|format|indicators|cursor)=[!-~]{0,24}&){0,6}") {
        if let Ok(uri) = format!("/v1/candles/A?{query}").parse::<Uri>()
            && let Ok(query) = Query::read(&uri, &HeaderMap::new(), "A", &limits())
        {
            let _bounds = query.bounds(Tz::Pacific__Apia);
        }
    }
}
