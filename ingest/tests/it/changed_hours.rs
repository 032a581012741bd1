//! Hours with minutes that changed after their end are noted, for readers that ask what changed since.

use crate::database::{Database, VERSIONS, VERSIONS_OF_ROWS, cancelled, corrected, tick};

const HOUR_VERSIONS: &str = "select concat_ws(' ', hour, xmin) from changed_hours order by 1";
const LATER: &str =
    "update changed_hours set updated_at = updated_at - interval '1 minute' returning hour::text";
const HOURS: &str = "select concat_ws(' ', s.symbol, to_char(hour, 'MM-DD HH24:MI')) \
     from changed_hours join symbols s on s.id = symbol_id order by 1";
/// Noted hours with a candle, of any level, that says it changed later.
const BEHIND: &str = "select concat_ws(' ', level, c.open_time) from changed_hours h join ( \
       select 'm' as level, * from candles_1m union all select 'h', * from candles_1h \
       union all select 'd', symbol_id, open_time, open, high, low, close, volume, turnover, trades, open_event_time, \
           open_sequence, close_event_time, close_sequence, revision, updated_at from candles_1d \
     ) c on c.symbol_id = h.symbol_id and date_trunc(case level when 'd' then 'day' else 'hour' end, h.hour, 'UTC') \
         = date_trunc(case level when 'd' then 'day' else 'hour' end, c.open_time, 'UTC') \
     where c.updated_at > (select max(updated_at) from changed_hours l where l.symbol_id = h.symbol_id) + interval '10 seconds'";

#[tokio::test]
async fn hours_of_ended_minutes_are_noted_and_of_open_ones_are_not() {
    for version in VERSIONS {
        // GIVEN ticks of two past hours, and one of a minute that has not ended
        let db = Database::new(version).await;
        let ahead = (chrono::Utc::now() + chrono::Duration::hours(2)).to_rfc3339();
        // WHEN they are stored
        db.store(&[
            ("A", tick("2024-03-04T10:00:01Z", 1, "10", "1")),
            ("A", tick("2024-03-04T10:59:59Z", 2, "11", "1")),
            ("A", tick("2024-03-04T23:00:00Z", 3, "12", "1")),
            ("B", tick(&ahead, 1, "10", "1")),
        ])
        .await;
        // THEN each past hour is noted once, and no candle in it says that it changed later
        assert_eq!(
            db.rows(HOURS).await,
            ["A 03-04 10:00", "A 03-04 23:00"],
            "{version}"
        );
        assert!(db.rows(BEHIND).await.is_empty(), "{version}");
    }
}

#[tokio::test]
async fn a_correction_a_cancel_and_a_late_tick_note_their_hour_anew_and_a_replay_does_not() {
    for version in VERSIONS {
        // GIVEN three hours
        let db = Database::new(version).await;
        let first = tick("2024-03-04T10:00:01Z", 1, "10", "1");
        let second = tick("2024-03-04T11:00:01Z", 2, "10", "1");
        let third = tick("2024-03-04T12:00:01Z", 3, "10", "1");
        db.store(&[("A", first), ("A", second), ("A", third)]).await;
        let late = tick("2024-03-04T10:30:00Z", 4, "9", "1");
        let only = async |sql: &'static str| db.rows(sql).await.remove(0);
        for (change, hour) in [
            (corrected(first, 1, "12"), "A 03-04 10:00"),
            (cancelled(second), "A 03-04 11:00"),
            (late, "A 03-04 10:00"),
        ] {
            // Some time after the hours were noted: within ten seconds they are not noted again.
            db.rows(LATER).await;
            let before = only("select max(updated_at)::text from changed_hours").await;
            // WHEN one changes
            db.store(&[("A", change)]).await;
            // THEN it is the one that was noted last, and was noted after all candles
            let latest = only(
                "select concat_ws(' ', s.symbol, to_char(hour, 'MM-DD HH24:MI')) \
                 from changed_hours join symbols s on s.id = symbol_id order by updated_at desc limit 1",
            )
            .await;
            assert_eq!(latest, hour, "{version}");
            assert!(only("select max(updated_at)::text from changed_hours").await > before);
            assert!(db.rows(BEHIND).await.is_empty(), "{version}");
        }
        // AND what changes once more within ten seconds is not noted again
        let noted = db.rows(HOUR_VERSIONS).await;
        let again = tick("2024-03-04T10:31:00Z", 5, "8", "1");
        db.store(&[("A", again)]).await;
        assert_eq!(db.rows(HOUR_VERSIONS).await, noted, "{version}");
        // AND a replay of everything notes nothing
        let rows = db.rows(VERSIONS_OF_ROWS).await;
        db.store(&[("A", first), ("A", second), ("A", third), ("A", late)])
            .await;
        assert_eq!(db.rows(VERSIONS_OF_ROWS).await, rows, "{version}");
    }
}
