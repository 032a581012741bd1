//! Every form of an answer tells the same rows, exactly, and what JSON says around them.

mod rows;

use std::collections::BTreeMap;

use arrow_ipc::reader::StreamReader;
use axum::http::Method;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use self::rows::{Table, of_arrow, of_csv, of_json, of_parquet};
use crate::fixture::{Fixture, Trade, at, header};

/// Five minutes, the fourth empty, with prices and sizes of two decimals.
async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    let trade = |minute: i64, sequence: i64, price: i64| Trade {
        time: at("2024-03-10T05:00:00Z") + minute * 60_000_000 + sequence * 1_001,
        sequence,
        price,
        size: 150 * sequence,
    };
    let trades = [
        trade(0, 1, 9_239),
        trade(0, 2, 9_300),
        trade(1, 0, 9_200),
        trade(2, 7, 9_010),
        trade(4, 1, 9_999),
    ];
    fixture.add_trades("A", "America/New_York", &trades).await;
    fixture
}

#[tokio::test]
async fn every_form_tells_the_same_rows() {
    let fixture = fixture().await;
    for (route, rows) in [
        ("/v1/candles/A?interval=1m&from=2024-03-10&", "candles"),
        (
            "/v1/candles/A?interval=1m&from=2024-03-10&fill=null&",
            "candles",
        ),
        (
            "/v1/candles/A?interval=1m&from=2024-03-10&fill=previous&order=desc&",
            "candles",
        ),
        (
            "/v1/candles/A?interval=20s&from=2024-03-10&fields=close,vwap,open_time&",
            "candles",
        ),
        (
            "/v1/candles/A?interval=1m&from=2024-03-10&fill=null&indicators=ema:3,obv,macd:2:3:1,vwap,donchian:2&",
            "candles",
        ),
        (
            "/v1/candles/A?interval=1m&order=desc&fields=close&indicators=donchian:2&",
            "candles",
        ),
        ("/v1/candles/A?interval=1m&from=2030-01-01&", "candles"),
        ("/v1/ticks/A?from=2024-03-10&", "ticks"),
        (
            "/v1/ticks/A?from=2024-03-10&order=desc&fields=price,sequence&",
            "ticks",
        ),
    ] {
        // GIVEN the rows as JSON
        let json = fixture.json(&format!("{route}numbers=string")).await;
        let expected = of_json(json[rows].as_array().unwrap());
        assert_eq!(expected.is_empty(), route.contains("2030"), "{route}");
        // WHEN they are asked for in another form, THEN they are the same
        let get = async |query: &str| {
            let answer = fixture.get(&format!("{route}{query}")).await;
            assert_eq!(answer.status, 200, "{route}{query}: {}", answer.text);
            answer
        };
        let lines = get("format=ndjson&numbers=string").await;
        let lines: Vec<Value> = lines
            .text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(of_json(&lines), expected, "{route}");
        let csv = get("format=csv").await;
        assert!(
            csv.text.ends_with("\r\n") && !csv.text.contains('"'),
            "{}",
            csv.text
        );
        assert_eq!(of_csv(&csv.text), expected, "{route}");
        for numbers in ["number", "string"] {
            assert_eq!(
                of_arrow(&get(&format!("format=arrow&numbers={numbers}")).await),
                expected,
                "{route}"
            );
            assert_eq!(
                of_parquet(&get(&format!("format=parquet&numbers={numbers}")).await),
                expected,
                "{route}"
            );
        }
    }
}

#[tokio::test]
async fn a_form_is_asked_for_by_parameter_or_by_accept() {
    let fixture = fixture().await;
    let target = "/v1/candles/A?interval=1m";
    for (accept, query, content_type) in [
        ("*/*", "", "application/json"),
        ("text/csv", "", "text/csv; charset=utf-8; header=present"),
        ("application/x-ndjson", "", "application/x-ndjson"),
        (
            "application/vnd.apache.arrow.stream",
            "",
            "application/vnd.apache.arrow.stream",
        ),
        (
            "application/vnd.apache.parquet",
            "",
            "application/vnd.apache.parquet",
        ),
        ("text/html", "&format=json", "application/json"),
        (
            "application/json",
            "&format=csv",
            "text/csv; charset=utf-8; header=present",
        ),
    ] {
        let answer = fixture
            .send(
                Method::GET,
                &format!("{target}{query}"),
                &[("accept", accept)],
            )
            .await;
        assert_eq!(answer.status, 200, "{accept}");
        assert_eq!(header(&answer, "content-type"), content_type, "{accept}");
        assert_eq!(header(&answer, "vary"), "Accept, Accept-Encoding");
    }
    // A fault is a problem document whatever was asked for.
    for (accept, target, status) in [
        ("text/html", "/v1/candles/A?interval=1m", 406),
        ("text/html", "/v1/ticks/A", 406),
        ("text/csv", "/v1/candles/A?interval=1x", 400),
        ("text/csv", "/v1/candles/NONE?interval=1m", 404),
        ("*/*", "/v1/ticks/A?format=xml", 400),
    ] {
        let answer = fixture
            .send(Method::GET, target, &[("accept", accept)])
            .await;
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(header(&answer, "content-type"), "application/problem+json");
        assert_eq!(answer.json()["status"], status);
    }
}

#[tokio::test]
async fn what_json_says_around_the_rows_is_in_headers_and_metadata() {
    let fixture = fixture().await;
    fixture.execute("update symbols set symbol = 'Ä/1%'").await;
    let target = "/v1/candles/%C3%84%2F1%25?interval=1m&from=2024-03-10&limit=2";
    let json = fixture.json(target).await;
    for (query, page) in [
        ("&format=csv", 2),
        ("&format=arrow", 2),
        ("&format=parquet", 2),
    ] {
        // WHEN a page is asked for in another form
        let answer = fixture.get(&format!("{target}{query}")).await;
        // THEN its headers say the same
        assert_eq!(header(&answer, "x-symbol"), "%C3%84/1%25");
        for name in ["interval", "tz", "from", "fill", "as_of"] {
            let header = header(&answer, &format!("x-{}", name.replace('_', "-")));
            assert_eq!(Value::from(header), json[name], "{name}");
        }
        assert!(!answer.headers.contains_key("x-to"));
        assert_eq!(
            header(&answer, "x-available-first"),
            json["available"]["first"]
        );
        assert_eq!(
            header(&answer, "x-available-last"),
            json["available"]["last"]
        );
        let cursor = header(&answer, "x-next-cursor").to_owned();
        assert!(header(&answer, "link").contains(&cursor) && !cursor.is_empty());
        // AND its metadata, where there is any
        let metadata: BTreeMap<String, String> = match query {
            "&format=arrow" => {
                let reader = StreamReader::try_new(answer.bytes.as_ref(), None).unwrap();
                let schema = reader.schema();
                let all = schema.metadata().iter();
                all.map(|(key, value)| (key.clone(), value.clone()))
                    .collect()
            }
            "&format=parquet" => {
                let reader =
                    ParquetRecordBatchReaderBuilder::try_new(answer.bytes.clone()).unwrap();
                let all = reader
                    .metadata()
                    .file_metadata()
                    .key_value_metadata()
                    .unwrap();
                all.iter()
                    .map(|pair| (pair.key.clone(), pair.value.clone().unwrap()))
                    .collect()
            }
            _ => BTreeMap::new(),
        };
        if !query.contains("csv") {
            assert_eq!(metadata["symbol"], "Ä/1%");
            assert_eq!(metadata["as_of"], header(&answer, "x-as-of"));
            assert_eq!(metadata["next_cursor"], cursor);
        }
        // AND its cursor leads to the next page
        let next = fixture
            .get(&format!("{target}{query}&cursor={cursor}"))
            .await;
        assert_eq!(next.status, 200, "{}", next.text);
        if query.contains("csv") {
            assert_eq!(
                (of_csv(&answer.text).len(), of_csv(&next.text).len()),
                (page, 2)
            );
        }
        assert_eq!(header(&next, "x-next-cursor"), "");
    }
}

#[tokio::test]
async fn times_are_told_as_asked_in_rows_and_around_them() {
    let fixture = fixture().await;
    let target = "/v1/candles/A?interval=1h&from=2024-03-10&fields=open_time,close_time";
    for (time, open, close) in [
        (
            "rfc3339",
            json!("2024-03-10T05:00:00Z"),
            json!("2024-03-10T06:00:00Z"),
        ),
        (
            "local",
            json!("2024-03-10T00:00:00-05:00"),
            json!("2024-03-10T01:00:00-05:00"),
        ),
        ("s", json!(1_710_046_800), json!(1_710_050_400)),
        (
            "ms",
            json!(1_710_046_800_000_i64),
            json!(1_710_050_400_000_i64),
        ),
        (
            "ns",
            json!(1_710_046_800_000_000_000_i64),
            json!(1_710_050_400_000_000_000_i64),
        ),
    ] {
        let body = fixture.json(&format!("{target}&time={time}")).await;
        assert_eq!(
            body["candles"],
            json!([{"open_time": open, "close_time": close}])
        );
        assert_eq!(body["available"]["first"], open);
    }
}

/// One candle with these texts in it.
async fn wide(price: &str, size: &str, scales: (i16, i16)) -> Fixture {
    let fixture = Fixture::new().await;
    let id = fixture.add_symbol("W", "UTC").await;
    sqlx::query("update symbols set price_scale = $1, size_scale = $2")
        .bind(scales.0)
        .bind(scales.1)
        .execute(&fixture.pool)
        .await
        .unwrap();
    for (table, date) in [("candles_1m", ""), ("candles_1d", ", '2024-01-01'::date")] {
        let insert = format!(
            "insert into {table} select $1, '2024-01-01T00:00:00Z', p, p, p, p, s, p * s, 1, '2024-01-01T00:00:01Z', 1, \
             '2024-01-01T00:00:01Z', 1, 1, '2024-01-01T00:00:02Z' {date} from (select $2::numeric p, $3::numeric s) x"
        );
        sqlx::query(sqlx::AssertSqlSafe(insert))
            .bind(id)
            .bind(price)
            .bind(size)
            .execute(&fixture.pool)
            .await
            .unwrap();
    }
    fixture
}

#[tokio::test]
async fn decimals_keep_every_digit_in_every_form() {
    for (price, size, scales, turnover) in [
        (
            "1234567890.123456789012345678",
            "0.5",
            (18, 1),
            "617283945.061728394506172839",
        ),
        ("0.00000798374", "1000000", (11, 0), "7.98374"),
        (
            "9999999999999999999999999999",
            "1",
            (0, 0),
            "9999999999999999999999999999",
        ),
    ] {
        // GIVEN a candle
        let fixture = wide(price, size, scales).await;
        let target = "/v1/candles/W?interval=1m&from=2024-01-01&fields=close,volume,turnover,vwap";
        let expected: Table = vec![
            [
                ("close", price),
                ("volume", size),
                ("turnover", turnover),
                ("vwap", price),
            ]
            .map(|(name, text)| (name.to_owned(), Some(text.to_owned())))
            .into(),
        ];
        // THEN its text is in JSON, as a number and as a string
        for (numbers, quote) in [("number", ""), ("string", "\"")] {
            let text = fixture
                .get(&format!("{target}&numbers={numbers}"))
                .await
                .text;
            assert!(
                text.contains(&format!("\"close\":{quote}{price}{quote},")),
                "{text}"
            );
        }
        // AND its digits in the others
        assert_eq!(
            of_csv(&fixture.get(&format!("{target}&format=csv")).await.text),
            expected
        );
        assert_eq!(
            of_arrow(&fixture.get(&format!("{target}&format=arrow")).await),
            expected
        );
        assert_eq!(
            of_parquet(&fixture.get(&format!("{target}&format=parquet")).await),
            expected
        );
    }
}

#[tokio::test]
async fn a_turnover_too_wide_for_columns_is_refused_with_the_way_out() {
    // GIVEN a turnover of 56 digits
    let (price, size) = (
        "9999999999.999999999999999999",
        "9999999999999999999999999999",
    );
    let fixture = wide(price, size, (18, 0)).await;
    let target = "/v1/candles/W?interval=1m&from=2024-01-01&fields=turnover";
    let turnover = "99999999999999999999999999980000000000.000000000000000001";
    for format in ["arrow", "parquet"] {
        // WHEN it is asked for in columns, THEN the problem names the way out
        let answer = fixture.get(&format!("{target}&format={format}")).await;
        assert_eq!(answer.status, 400);
        let fault = answer.json()["errors"][0].clone();
        assert_eq!(
            (&fault["parameter"], &fault["hint"]),
            (&json!("numbers"), &json!("string"))
        );
        assert!(
            fault["detail"].as_str().unwrap().contains("turnover"),
            "{fault}"
        );
        // AND the way out leads to all digits
        let answer = fixture
            .get(&format!("{target}&format={format}&numbers=string"))
            .await;
        let table = if format == "arrow" {
            of_arrow(&answer)
        } else {
            of_parquet(&answer)
        };
        assert_eq!(table[0]["turnover"].as_deref(), Some(turnover));
    }
    let csv = fixture.get(&format!("{target}&format=csv")).await;
    assert_eq!(csv.text, format!("turnover\r\n{turnover}\r\n"));
}
