//! Migrations, on the newest and the oldest PostgreSQL.

use testbed::Postgres;
use testbed::postgres::{NEWEST, OLDEST};

use crate::program::run;

#[tokio::test(flavor = "multi_thread")]
async fn migrations_at_once_from_several_places_all_succeed() {
    // GIVEN a new server of either version with two empty databases
    for version in [NEWEST, OLDEST] {
        let postgres = Postgres::temporary(version).await.unwrap();
        let first = postgres.create_database("first").await.unwrap();
        let second = postgres.create_database("second").await.unwrap();
        // WHEN five processes migrate one and two the other, at once
        let migrate = async |url: &str| run(&["migrate"], &[("FDA_DATABASE__URL", url)]).await;
        let done = tokio::join!(
            migrate(&first),
            migrate(&first),
            migrate(&second),
            migrate(&first),
            migrate(&second),
            migrate(&first),
            migrate(&first),
        );
        // THEN all succeed, and each database has every migration once
        let done: [(i32, String); 7] = done.into();
        for (code, text) in &done {
            assert_eq!(*code, 0, "{version}: {text}");
        }
        let all = std::fs::read_dir(testbed::workspace::root().join("migrations"))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().extension() == Some("sql".as_ref()))
            .count();
        let applied = format!("{all} migrations applied");
        let working = done.iter().filter(|(_, text)| text.contains(&applied));
        assert_eq!(working.count(), 2, "{done:?}");
    }
}
