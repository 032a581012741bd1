//! PostgreSQL, the newest and the oldest supported.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use testbed::postgres::{NEWEST, OLDEST};
use testbed::{Postgres, eventually};

async fn server_version(url: &str) -> String {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let version =
        sqlx::query_scalar("select current_setting('server_version')").fetch_one(&mut connection);
    version.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn newest_and_oldest_version_start_side_by_side_and_stop() {
    // GIVEN both at once
    let (newest, oldest) =
        tokio::try_join!(Postgres::temporary(NEWEST), Postgres::temporary(OLDEST)).unwrap();
    // WHEN each is asked for its version
    let url = newest.create_database("financial_data").await.unwrap();
    let versions = [
        server_version(&url).await,
        server_version(&oldest.url("postgres")).await,
    ];
    // THEN each is itself, and both are gone when dropped
    assert!(
        versions[0].starts_with("18.") && versions[1].starts_with("15."),
        "{versions:?}"
    );
    drop((newest, oldest));
    assert!(PgConnection::connect(&url).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn data_outlives_a_crash_whose_lock_file_stays() {
    let folder = std::env::temp_dir().join(format!("testbed-it-crash-{}", std::process::id()));
    let data = folder.join("data");
    // GIVEN a server with a row, ended as by a crash
    let mut server = Postgres::start(NEWEST, &data).await.unwrap();
    let mut connection = PgConnection::connect(&server.url("postgres"))
        .await
        .unwrap();
    sqlx::query("create table kept as select 42 as answer")
        .execute(&mut connection)
        .await
        .unwrap();
    server.process().kill9();
    drop(server);
    assert!(data.join("postmaster.pid").exists());
    // WHEN it is started again
    let server = Postgres::start(NEWEST, &data).await.unwrap();
    // THEN the row is there
    let mut connection = PgConnection::connect(&server.url("postgres"))
        .await
        .unwrap();
    let answer: i32 = sqlx::query_scalar("select answer from kept")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(answer, 42);
    drop(server);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn data_folder_in_use_is_refused_with_a_clear_sentence() {
    let folder = std::env::temp_dir().join(format!("testbed-it-busy-{}", std::process::id()));
    let data = folder.join("data");
    let server = Postgres::start(NEWEST, &data).await.unwrap();
    let error = Postgres::start(NEWEST, &data).await.unwrap_err();
    assert!(
        format!("{error:#}").contains("in use by another run"),
        "{error:#}"
    );
    drop(server);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_when_the_parent_is_killed() {
    // GIVEN a parent, here this test program running one ignored test, that has started a server
    let told = std::env::temp_dir().join(format!("testbed-it-orphan-{}", std::process::id()));
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "postgres::parent_that_waits_to_be_killed",
        ])
        .env("TESTBED_TELL", &told)
        .spawn()
        .unwrap();
    let pid = eventually(
        "the server's process id is told",
        Duration::from_mins(1),
        async || {
            std::fs::read_to_string(&told)
                .map_err(|e| e.to_string())?
                .trim()
                .parse::<u32>()
                .map_err(|e| e.to_string())
        },
    )
    .await
    .unwrap();
    // WHEN the parent is killed
    parent.kill().unwrap();
    parent.wait().unwrap();
    // THEN the server ends
    eventually("the server ends", Duration::from_secs(10), async || {
        let status = Command::new("kill")
            .args(["-0", &pid.to_string()])
            .output()
            .map_err(|e| e.to_string())?;
        if status.status.success() {
            Err("it still runs".to_owned())
        } else {
            Ok(())
        }
    })
    .await
    .unwrap();
    std::fs::remove_file(told).unwrap();
}

/// Not a test: what [`nothing_is_left_when_the_parent_is_killed`] starts and kills.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by another test"]
async fn parent_that_waits_to_be_killed() {
    let Some(told) = std::env::var_os("TESTBED_TELL") else {
        return;
    };
    let mut server = Postgres::temporary(NEWEST).await.unwrap();
    let partial = Path::new(&told).with_extension("partial");
    std::fs::write(&partial, server.process().pid().to_string()).unwrap();
    std::fs::rename(partial, told).unwrap();
    std::future::pending::<()>().await;
}
