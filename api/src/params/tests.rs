//! All faults at once, zones by name, and no query that panics.

use super::*;
use proptest::prelude::*;

fn params(query: &str) -> Params {
    Params::read(
        &format!("/x?{query}").parse().unwrap(),
        &["interval", "tz", "limit", "order", "from", "cursor"],
    )
}

#[test]
fn all_faults_are_told_at_once() {
    let mut params = params("Limit=1&interval=1H&interval=1d&tz=EST&limit=0&order=up");
    params.interval("interval");
    params.zone("tz");
    params.number("limit", 1..=10);
    params.choice("order", &[("asc", 1), ("desc", 2)]);
    let Err(ApiError::Parameters(faults)) = params.check() else {
        panic!("no faults")
    };
    let named: Vec<_> = faults
        .iter()
        .map(|f| (f.parameter.as_str(), f.hint.as_deref()))
        .collect();
    assert_eq!(
        named,
        [
            ("Limit", Some("limit")),
            ("interval", None),
            ("interval", Some("1h")),
            ("tz", None),
            ("limit", None),
            ("order", None)
        ]
    );
}

#[test]
fn a_zone_is_a_full_iana_name() {
    for (name, valid) in [
        ("UTC", true),
        ("America/New_York", true),
        ("Etc/GMT%2B5", true),
        ("Etc/GMT+5", true),
        ("Japan", true),
        ("EST", false),
        ("EST5EDT", false),
        ("GMT", false),
        ("%2B05:30", false),
        ("+05:30", false),
        ("america/new_york", false),
        ("Mars/Olympus", false),
        ("", false),
    ] {
        assert_eq!(
            params(&format!("tz={name}")).zone("tz").is_some(),
            valid,
            "{name}"
        );
    }
}

#[test]
fn the_order_of_parameters_does_not_change_a_query() {
    assert_eq!(
        params("tz=UTC&interval=1d").canonical(&[]),
        params("interval=1d&cursor=x&tz=UTC").canonical(&[])
    );
    assert_eq!(
        params("interval=1d&tz=Etc/GMT%2B5&cursor=x").with_cursor("y"),
        "interval=1d&tz=Etc%2FGMT%2B5&cursor=y"
    );
}

proptest! {
    #[test]
    fn no_query_panics(query in "[ -~]{0,80}|((interval|tz|limit|order|from|cursor)=[!-~]{0,30}&){0,6}") {
        let Ok(uri) = format!("/x?{query}").parse::<Uri>() else { return Ok(()) };
        let mut params = Params::read(&uri, &["interval", "tz", "limit", "order", "from", "cursor"]);
        params.interval("interval");
        params.zone("tz");
        params.number("limit", 1..=10_000);
        params.when("from");
        format!("/x?{}", params.with_cursor("x")).parse::<Uri>().unwrap();
    }
}
