//! An upgrade from the schema before migration 0007, with data in it and with the version before at work
//! beside this one, by a superuser and by a login that only owns the database.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use sqlx::migrate::{Migration, Migrator};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use testbed::Postgres;

use crate::database::{Database, MINUTES, VERSIONS, corrected, done, tick};

/// The last migration that the version before knew.
const PREVIOUS: i64 = 6;

/// Its statements by name: the role that sends one, and the text.
fn statements() -> BTreeMap<&'static str, (&'static str, &'static str)> {
    let mut statements = BTreeMap::new();
    for part in include_str!("upgrade/previous.sql")
        .split("\n\n-- ")
        .skip(1)
        .filter_map(|part| part.split_once(")\n"))
    {
        let (name, role) = part.0.split_once(" (").unwrap();
        statements.insert(name, (role, part.1));
    }
    assert_eq!(statements.len(), 49);
    statements
}

/// Migrates up to `last`, which has that number.
async fn migrate_to(url: &str, last: i64) {
    let mut session = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql("create schema if not exists market_data; set search_path = market_data")
        .execute(&mut session)
        .await
        .unwrap();
    let known: Vec<Migration> = sqlx::migrate!("../migrations")
        .iter()
        .filter(|migration| migration.version <= last)
        .cloned()
        .collect();
    assert_eq!(i64::try_from(known.len()), Ok(last));
    Migrator::with_migrations(known)
        .run(&mut session)
        .await
        .unwrap();
    session.close().await.unwrap();
}

/// The worker of the version before, as far as a batch of two ticks in one minute of a new day goes.
struct PreviousWorker {
    pool: PgPool,
    statements: BTreeMap<&'static str, (&'static str, &'static str)>,
}

impl PreviousWorker {
    fn sql(&self, name: &str) -> &'static str {
        self.statements[name].1
    }

    /// Stores two ticks, of price 10 and 12 and size 1, at `minute`, and a dead letter, from offset `next`.
    async fn store(&self, symbol: &str, minute: DateTime<Utc>, next: i64) {
        let (topic, partition) = (vec!["ticks"], vec![0]);
        let make = sqlx::query(self.sql("positions_make")).bind("cluster");
        let make = make.bind(&topic).bind(&partition);
        make.execute(&self.pool).await.unwrap();
        let make = sqlx::query(self.sql("symbols_make")).bind(vec![symbol]);
        make.execute(&self.pool).await.unwrap();
        let (_, id): (String, i32) = sqlx::query_as(self.sql("symbols_ids"))
            .bind(vec![symbol])
            .fetch_one(&self.pool)
            .await
            .unwrap();

        let mut tx = self.pool.begin().await.unwrap();
        let lock = sqlx::query(self.sql("positions_lock")).bind("cluster");
        let lock = lock.bind(&topic).bind(&partition);
        assert_eq!(lock.fetch_all(&mut *tx).await.unwrap().len(), 1);
        let moved = sqlx::query(self.sql("positions_move"))
            .bind("cluster")
            .bind(&topic)
            .bind(&partition)
            .bind(vec![next + 3])
            .bind(vec![next + 2])
            .bind(vec![minute])
            .execute(&mut *tx)
            .await
            .unwrap();
        assert_eq!(moved.rows_affected(), 1);
        let locked = sqlx::query(self.sql("symbols_lock")).bind(vec![id]);
        assert_eq!(locked.fetch_all(&mut *tx).await.unwrap().len(), 1);
        self.insert_block(&mut tx, id, minute).await;
        let (first, last) = (minute + Duration::seconds(1), minute + Duration::seconds(2));
        sqlx::query(self.sql("symbols_raise"))
            .bind(vec![id])
            .bind(vec![last])
            .bind(vec![2_i64])
            .bind(vec![0_i16])
            .bind(vec![0_i16])
            .execute(&mut *tx)
            .await
            .unwrap();
        let day = minute.date_naive();
        let midnight = day.and_time(chrono::NaiveTime::MIN).and_utc();
        let hour = minute - Duration::minutes(i64::from(chrono::Timelike::minute(&minute)));
        for (write, open) in [
            ("minutes_write", minute),
            ("hours_write", hour),
            ("days_write", midnight),
        ] {
            sqlx::query(self.sql(write))
                .bind(vec![id])
                .bind(vec![open])
                .bind(vec!["10"])
                .bind(vec!["12"])
                .bind(vec!["10"])
                .bind(vec!["12"])
                .bind(vec!["2"])
                .bind(vec!["22"])
                .bind(vec![2_i64])
                .bind(vec![first])
                .bind(vec![1_i64])
                .bind(vec![last])
                .bind(vec![2_i64])
                .bind(vec![day])
                .execute(&mut *tx)
                .await
                .unwrap();
        }
        // The periods that hold the first days of March 2024.
        let periods = [
            ("candles_1mo", "2024-03-01"),
            ("candles_1q", "2024-01-01"),
            ("candles_1w", "2024-03-04"),
            ("candles_1y", "2024-01-01"),
        ];
        sqlx::query(self.sql("marks_write"))
            .bind(periods.map(|(view, _)| view).to_vec())
            .bind(vec![id; 4])
            .bind(
                periods
                    .map(|(_, day)| day.parse::<chrono::NaiveDate>().unwrap())
                    .to_vec(),
            )
            .execute(&mut *tx)
            .await
            .unwrap();
        sqlx::query(self.sql("letters_write"))
            .bind("cluster")
            .bind(&topic)
            .bind(&partition)
            .bind(vec![next + 2])
            .bind(vec![Option::<Vec<u8>>::None])
            .bind(vec![b"garbage".to_vec()])
            .bind(vec!["not-json"])
            .bind(vec!["expected value"])
            .bind(vec![minute])
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    async fn insert_block(&self, tx: &mut PgConnection, id: i32, minute: DateTime<Utc>) {
        let (there, none) = (vec![Some(0)], vec![Option::<i32>::None]);
        let narrow = |first: i32, second: i32| vec![first, second];
        sqlx::query(self.sql("blocks_insert"))
            .bind(vec![id])
            .bind(vec![minute + Duration::seconds(1)])
            .bind(vec![1_i64])
            .bind(vec![minute + Duration::seconds(2)])
            .bind(vec![2_i64])
            .bind(vec![2])
            .bind(vec![0_i16])
            .bind(vec![0_i16])
            .bind(vec![10_i64])
            .bind(vec![1_i64])
            .bind(&there) // times
            .bind(&none)
            .bind(&there) // sequences
            .bind(&none)
            .bind(&there) // prices
            .bind(&none)
            .bind(&none)
            .bind(&there) // sizes
            .bind(&none)
            .bind(&none)
            .bind(&none)
            .bind(&none)
            .bind(narrow(0, 1_000_000))
            .bind(Vec::<i64>::new())
            .bind(narrow(0, 1))
            .bind(Vec::<i64>::new())
            .bind(narrow(0, 2))
            .bind(Vec::<i64>::new())
            .bind(Vec::<String>::new())
            .bind(narrow(0, 0))
            .bind(Vec::<i64>::new())
            .bind(Vec::<String>::new())
            .bind(Vec::<i32>::new())
            .bind(Vec::<bool>::new())
            .execute(tx)
            .await
            .unwrap();
    }
}

fn minute(day: u32) -> DateTime<Utc> {
    format!("2024-03-{day:02}T10:07:00Z").parse().unwrap()
}

/// Upgrades a database that the version before has filled, as the login of `url`.
async fn upgrade(version: &str, db: Database, url: &str) {
    // GIVEN a database of the version before, with data and fresh views
    migrate_to(url, PREVIOUS).await;
    let worker = PreviousWorker {
        pool: db.pool.clone(),
        statements: statements(),
    };
    worker.store("A", minute(4), 0).await;
    worker.store("B", minute(4), 3).await;
    let refresh = worker.sql("refresh");
    for (view, _) in ingest::store::marks::VIEWS {
        let query = sqlx::query(refresh).bind(view);
        query.execute(&db.pool).await.unwrap();
    }

    // WHEN it is migrated
    let config = crate::database::config(url);
    let applied = common::database::migrate(&config).await.unwrap();
    // THEN everything is as its ticks say
    assert!(applied.iter().all(|migration| *migration > PREVIOUS) && applied.len() >= 4);
    assert_eq!(db.differences().await, [""; 0], "{version}");
    assert_eq!(db.rows(MINUTES).await.len(), 2, "{version}");

    // AND every statement of the version before can still be sent
    for (name, (role, sql)) in &worker.statements {
        let pool = crate::database::pool(&(db.url_of)(role), "previous");
        let prepare = AssertSqlSafe(format!("prepare previous as {sql}"));
        let prepared = sqlx::raw_sql(prepare).execute(&pool).await;
        assert!(prepared.is_ok(), "{version}: {name}: {prepared:?}");
        pool.close().await;
    }

    // WHEN workers of both versions store by turns
    worker.store("A", minute(5), 6).await;
    let late = tick("2024-03-04T10:07:01.5Z", 9, "13", "1");
    let first = tick("2024-03-05T10:07:01Z", 1, "10", "1");
    let next = crate::database::batch(9, &[("A", late), ("A", corrected(first, 1, "9"))]);
    db.store_batch(&next).await.unwrap();
    worker.store("C", minute(6), 11).await;
    // THEN each builds on what the other has stored
    assert_eq!(db.differences().await, [""; 0], "{version}");
    assert_eq!(
        db.rows(MINUTES).await,
        [
            "A 03-04 10:07 10 13 10 12 3 35 3",
            "A 03-05 10:07 9 12 9 12 2 21 2",
            "B 03-04 10:07 10 12 10 12 2 22 2",
            "C 03-06 10:07 10 12 10 12 2 22 2",
        ],
        "{version}"
    );
    done(&ingest::upkeep::refresh_views(&db.sessions).await);
    assert!(db.differences().await.is_empty(), "{version}");
}

#[tokio::test]
async fn the_schema_before_is_upgraded_with_its_data_while_its_programs_go_on() {
    for version in VERSIONS {
        let (db, url) = Database::empty(version).await;
        upgrade(version, db, &url).await;
    }
}

#[tokio::test]
async fn symbols_whose_candles_were_deleted_before_begin_with_what_is_left() {
    for version in VERSIONS {
        // GIVEN a database from before 0011: A has all, B and C a floor at 18:30, of B the minutes before the 3rd are
        // gone, of C all below the floor
        let (db, url) = Database::empty(version).await;
        migrate_to(&url, 10).await;
        for statement in [
            "insert into symbols (symbol, floor_time) values ('A', null), ('B', '2024-03-04T18:30:00Z'), ('C', '2024-03-04T18:30:00Z')",
            "insert into candles_1m (symbol_id, open_time, volume, turnover, trades, revision, updated_at) \
             select id, at::timestamptz, 0, 0, 0, 1, clock_timestamp() from symbols join (values \
                ('A', '2024-03-01T10:07:00Z'), ('B', '2024-03-03T10:07:00Z'), ('B', '2024-03-05T00:00:00Z'), \
                ('C', '2024-03-05T00:00:00Z')) v(symbol, at) using (symbol)",
            "insert into candles_1h (symbol_id, open_time, volume, turnover, trades, revision, updated_at) \
             select id, timestamptz '2024-03-01T10:00:00Z', 0, 0, 0, 1, clock_timestamp() from symbols where symbol <> 'C'",
        ] {
            sqlx::query(statement).execute(&db.pool).await.unwrap();
        }
        // WHEN it is migrated
        let config = crate::database::config(&url);
        common::database::migrate(&config).await.unwrap();
        // THEN what is left is known
        let found = db
            .rows("select concat_ws(' ', symbol, to_char(minutes_from, 'MM-DD HH24:MI'), to_char(hours_from, 'MM-DD HH24:MI')) from symbols order by symbol")
            .await;
        let expected = [
            "A",
            "B 03-03 10:07 03-01 10:00",
            "C 03-04 18:00 03-04 18:00",
        ];
        assert_eq!(found, expected, "{version}");
    }
}

#[tokio::test]
async fn a_login_that_owns_the_database_and_may_create_roles_migrates_it() {
    for version in VERSIONS {
        // GIVEN a server of its own, whose roles no superuser has made, and no superuser to migrate by
        let server = Postgres::temporary(version).await.unwrap();
        let superuser = server.create_database("owned").await.unwrap();
        let mut session = PgConnection::connect(&superuser).await.unwrap();
        sqlx::raw_sql(
            "create role migrator login createrole; alter database owned owner to migrator",
        )
        .execute(&mut session)
        .await
        .unwrap();
        session.close().await.unwrap();
        // WHEN it migrates an empty database, and once more
        let url = server.url_as("migrator", "owned");
        let config = crate::database::config(&url);
        let applied = common::database::migrate(&config).await.unwrap();
        assert!(applied.len() >= 10, "{version}");
        assert!(common::database::migrate(&config).await.unwrap().is_empty());
        // THEN a worker works in it, and its views are refreshed
        let db = Database::of(
            &superuser,
            Box::new(move |role| server.url_as(role, "owned")),
        );
        db.store(&[("A", tick("2024-03-04T10:00:01Z", 1, "10", "1"))])
            .await;
        assert_eq!(done(&ingest::upkeep::refresh_views(&db.sessions).await), 4);
        assert!(db.differences().await.is_empty(), "{version}");
    }
}
