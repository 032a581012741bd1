//! When a tag matches, and when it does not.

use super::*;

fn known(values: &[&str]) -> Known {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(header::IF_NONE_MATCH, HeaderValue::from_str(value).unwrap());
    }
    Known::of(&headers)
}

fn tag(response: &Response) -> String {
    response.headers()[header::ETAG]
        .to_str()
        .unwrap()
        .to_owned()
}

#[test]
fn another_build_names_a_state_otherwise() {
    assert_eq!(State::by("1 a", "x"), State::by("1 a", "x"));
    assert_ne!(State::by("1 a", "x"), State::by("1 b", "x"));
    let version = env!("CARGO_PKG_VERSION");
    assert!(build().len() > version.len() + 1, "{}", build());
}

#[test]
fn a_tag_matches_by_its_state_or_by_its_body_and_by_nothing_else() {
    let (old, new) = (State::of("1"), State::of("2"));
    let answer = |known: &Known, state, body: &str| {
        known.answer_with(Some(state), Freshness::Recent, body.to_owned())
    };
    let first = tag(&answer(&known(&[]), old, "body"));

    for given in [
        vec![first.as_str()],
        vec!["\"x\"", &format!("W/{first}")],
        vec![&format!("\"x\", {first} ,\"y\"")],
    ] {
        let known = known(&given);
        let early = known.answer(old, Freshness::Recent).unwrap();
        assert_eq!(
            (early.status(), tag(&early)),
            (StatusCode::NOT_MODIFIED, first.clone())
        );
        assert!(known.answer(new, Freshness::Recent).is_none());
        let late = answer(&known, new, "body");
        assert_eq!(
            (late.status(), tag(&late)),
            (StatusCode::NOT_MODIFIED, first.clone())
        );
        let other = answer(&known, new, "another body");
        assert_eq!(other.status(), StatusCode::OK);
        assert_ne!(tag(&other), first);
    }
    assert_eq!(
        answer(&known(&["*"]), old, "body").status(),
        StatusCode::NOT_MODIFIED
    );
    let half = &first[first.len() / 2..];
    for none in ["", "\"\"", "\"-\"", half, first.trim_matches('"')] {
        assert_eq!(
            answer(&known(&[none]), new, "body").status(),
            StatusCode::OK,
            "{none}"
        );
    }
}

#[test]
fn a_tag_of_a_compressed_body_matches_the_body() {
    let (old, new) = (State::of("1"), State::of("2"));
    let answer = |known: &Known, state, body: &str| {
        known.answer_with(Some(state), Freshness::Recent, body.to_owned())
    };
    let plain = tag(&answer(&known(&[]), old, "body"));
    for (coding, matches) in [("gzip", true), ("zstd", true), ("br", false)] {
        let coded = format!("{}-{coding}\"", plain.trim_end_matches('"'));
        let known = known(&[&coded]);
        let same = answer(&known, new, "body");
        assert_eq!(
            same.status() == StatusCode::NOT_MODIFIED,
            matches,
            "{coding}"
        );
        if matches {
            assert_eq!(tag(&same), coded);
        }
        let other = answer(&known, new, "another body");
        assert_eq!(other.status(), StatusCode::OK, "{coding}");
    }
}

#[test]
fn nginx_is_told_before_it_reads_no_cache() {
    let response = known(&[]).answer_with(None, Freshness::Recent, String::new());
    let names: Vec<&str> = response.headers().keys().map(HeaderName::as_str).collect();
    let at = |name| names.iter().position(|known| *known == name).unwrap();
    assert!(at("x-accel-expires") < at("cache-control"), "{names:?}");
}
