//! The login changes under load: no request fails, no tick is missing, one asking serves all that wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use testbed::process::Signal;
use testbed::{Encoding, Process, eventually, http};
use tokio::task::JoinHandle;

use crate::api::Api;
use crate::pipeline::{PATIENCE, Pipeline};
use crate::positions::{counts, ticks};
use crate::program::log_of;
use crate::secured::{Site, login, servers};
use crate::worker::Worker;

/// Clients that ask on and on, each for itself.
const CLIENTS: u64 = 4;

const PATH: &str = "/v1/candles/A?interval=1m";

/// Clients and a producer, until they are told to end.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Answers>>,
    producer: JoinHandle<i64>,
}

#[derive(Default)]
struct Answers {
    good: u64,
    bad: Vec<String>,
}

impl Load {
    async fn start(pipeline: &Pipeline, api: &Api) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let url = format!("{}{PATH}", api.base());
        let clients = (0..CLIENTS).map(|_| tokio::spawn(client(url.clone(), stop.clone())));
        let clients = clients.collect();
        let publisher = pipeline.publisher().await;
        let stopped = stop.clone();
        let producer = tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(5));
            let mut next = 0;
            while !stopped.load(Ordering::Relaxed) {
                pace.tick().await;
                for tick in ticks("A", next..next + 1) {
                    publisher.send(&tick, Encoding::Json).unwrap();
                }
                next += 1;
            }
            publisher.settle().await.unwrap();
            next
        });
        Self {
            stop,
            clients,
            producer,
        }
    }

    /// Ends it. No request has failed, and all that was published is stored.
    async fn end(self, pipeline: &Pipeline) {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Answers::default();
        for client in self.clients {
            let answers = client.await.unwrap();
            all.good += answers.good;
            all.bad.extend(answers.bad);
        }
        assert!(all.bad.is_empty(), "{:?}", all.bad);
        assert!(all.good >= 10 * CLIENTS, "{} answers", all.good);
        let published = self.producer.await.unwrap();
        pipeline.caught_up().await;
        assert_eq!(counts(pipeline).await, [("A".to_owned(), published)]);
    }
}

async fn client(url: String, stop: Arc<AtomicBool>) -> Answers {
    let client = http::local().unwrap();
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    let mut answers = Answers::default();
    // On a busy machine the change may be over before many have come.
    while !stop.load(Ordering::Relaxed) || answers.good + (answers.bad.len() as u64) < 10 {
        pace.tick().await;
        let answer = match client.get(&url).send().await {
            Ok(answer) if answer.status() == 200 => answer.text().await.map(drop),
            Ok(answer) => {
                let status = answer.status();
                let text = answer.text().await.unwrap_or_default();
                answers.bad.push(format!("{status}: {text}"));
                continue;
            }
            Err(error) => Err(error),
        };
        match answer {
            Ok(()) => answers.good += 1,
            Err(error) => answers.bad.push(format!("{error:?}")),
        }
    }
    answers
}

/// Both programs at work, each with a secret and a login of its own.
struct Running {
    site: Site,
    worker: Worker,
    api: Api,
    load: Load,
}

impl Running {
    /// The first login of `ingest` and `api` is `<name>_ingest_a` and `<name>_api_a`.
    async fn start(name: &str, password: &str) -> Self {
        let site = Site::new(name).await;
        for program in ["ingest", "api"] {
            let role = site
                .make_login(program, &format!("{program}_a"), password)
                .await;
            site.put(program, &login(&role, password)).await;
        }
        let (worker, api) = (site.worker("ingest", &[]), site.api("api", &[]));
        site.pipeline.publish(&ticks("A", 0..1)).await;
        site.pipeline.caught_up().await;
        api.ready().await;
        let load = Load::start(&site.pipeline, &api).await;
        Self {
            site,
            worker,
            api,
            load,
        }
    }

    /// Ends the sessions of these logins that are idle, so that new ones must be made.
    ///
    /// `api` stands still meanwhile: a session that looked idle could be in a request by the time that it is ended.
    /// `ingest` repeats what fails.
    async fn end_sessions(&mut self, ingest: &str, api: &str) {
        self.api.process().signal(Signal::SIGSTOP);
        let mut seen = None;
        eventually("the sessions of api rest", PATIENCE, async || {
            let sql = "select string_agg(concat_ws(' ', pid, state, state_change), ',' order by pid) \
                       from pg_stat_activity where usename = $1";
            let state: Option<String> = sqlx::query_scalar(sql)
                .bind(api)
                .fetch_one(self.site.pipeline.pool())
                .await
                .map_err(|error| error.to_string())?;
            let rests = seen.as_ref() == Some(&state);
            seen = Some(state);
            if rests { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await
        .unwrap();
        self.site.end_idle(api).await;
        self.api.process().signal(Signal::SIGCONT);
        self.site.end_idle(ingest).await;
    }

    /// Waits until each program has read so many logins, in all.
    async fn logins(&mut self, expected: usize) {
        for process in [self.worker.process(), self.api.process()] {
            logins_of(process, expected).await;
        }
    }

    fn asked(&self) -> [u32; 2] {
        ["ingest", "api"].map(|secret| self.site.door.asked(&self.site.secret(secret)))
    }
}

async fn logins_of(process: &Process, expected: usize) {
    eventually("the login is read", PATIENCE, async || {
        match log_of(process).matches("read the database login").count() {
            read if read == expected => Ok(()),
            read => Err(format!("{read} times instead of {expected}")),
        }
    })
    .await
    .unwrap_or_else(|error| panic!("{error:#}\n{}", log_of(process)));
}

#[tokio::test(flavor = "multi_thread")]
async fn password_changes_under_load_in_either_order_without_a_failed_request() {
    // GIVEN both programs under load
    let mut running = Running::start("one_user", "first").await;
    let (ingest, api) = ("one_user_ingest_a", "one_user_api_a");
    running.logins(1).await;
    assert_eq!(running.asked(), [1, 1]);
    // WHEN the passwords change, and logins are needed and refused before the secrets change
    for role in [ingest, api] {
        let sql = format!("alter role {role} password 'second'");
        running.site.execute(&sql).await;
    }
    running.end_sessions(ingest, api).await;
    for secret in ["ingest", "api"] {
        let name = running.site.secret(secret);
        running.site.door.asked_at_least(&name, 2).await;
    }
    running.site.put("ingest", &login(ingest, "second")).await;
    running.site.put("api", &login(api, "second")).await;
    // THEN each program reads its login once more
    running.logins(2).await;
    let asked = running.asked();
    assert!(asked.iter().all(|asked| *asked <= 6), "{asked:?}");
    // AND WHEN the secrets change first THEN nobody asks until the old passwords are refused
    running.site.put("ingest", &login(ingest, "third")).await;
    running.site.put("api", &login(api, "third")).await;
    running.end_sessions(ingest, api).await;
    running.site.has_sessions(api).await;
    assert_eq!(running.asked(), asked);
    for role in [ingest, api] {
        let sql = format!("alter role {role} password 'third'");
        running.site.execute(&sql).await;
    }
    running.end_sessions(ingest, api).await;
    running.logins(3).await;
    assert_eq!(running.asked(), asked.map(|asked| asked + 1));
    // AND no request has failed, no tick is missing
    running.load.end(&running.site.pipeline).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_alternate_under_load_without_a_failed_request() {
    // GIVEN both programs under load, and a second login for each
    let mut running = Running::start("two_users", "first").await;
    let (ingest, api) = ("two_users_ingest_a", "two_users_api_a");
    let site = &running.site;
    let other_ingest = site.make_login("ingest", "ingest_b", "other").await;
    let other_api = site.make_login("api", "api_b", "other").await;
    // WHEN the secrets name it, THEN the first serves on
    site.put("ingest", &login(&other_ingest, "other")).await;
    site.put("api", &login(&other_api, "other")).await;
    running.end_sessions(ingest, api).await;
    running.site.has_sessions(api).await;
    assert_eq!(running.asked(), [1, 1]);
    // AND WHEN the first may no longer log in
    for role in [ingest, api] {
        running
            .site
            .execute(&format!("alter role {role} nologin"))
            .await;
    }
    running.end_sessions(ingest, api).await;
    // THEN the second takes over, by one asking
    running.logins(2).await;
    assert_eq!(running.asked(), [2, 2]);
    for role in [other_ingest, other_api] {
        running.site.has_sessions(&role).await;
    }
    // AND no request has failed, no tick is missing
    running.load.end(&running.site.pipeline).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_refusals_lead_to_one_asking_that_outlives_who_began_it() {
    // GIVEN an api whose password has changed, and whose sessions have ended
    let site = Site::new("single_flight").await;
    let reader = site.make_login("api", "reader", "old").await;
    let secret = site.secret("api");
    site.put("api", &login(&reader, "old")).await;
    let mut api = site.api("api", &[]);
    api.ready().await;
    let sql = format!("alter role {reader} password 'new'");
    site.execute(&sql).await;
    site.put("api", &login(&reader, "new")).await;
    site.end_idle(&reader).await;
    // WHEN a request makes it ask, and its client goes away while the answer waits
    site.door.shut();
    let url = format!("{}/v1/symbols", api.base());
    let ask = || {
        let url = url.clone();
        tokio::spawn(async move {
            http::local()
                .unwrap()
                .get(url)
                .send()
                .await
                .unwrap()
                .status()
        })
    };
    let first = ask();
    site.door.asked_at_least(&secret, 2).await;
    first.abort();
    // AND eight others are refused the login
    let others: Vec<_> = (0..8).map(|_| ask()).collect();
    let refused = format!("password authentication failed for user \"{reader}\"");
    let server_log = servers().await.postgres.log().to_owned();
    eventually("all are refused", PATIENCE, async || {
        let log = std::fs::read_to_string(&server_log).map_err(|error| error.to_string())?;
        match log.matches(&refused).count() {
            count if count >= 9 => Ok(()),
            count => Err(format!("{count} of 9")),
        }
    })
    .await
    .unwrap();
    // THEN it has not asked again, and the one answer serves all of them
    assert_eq!(site.door.asked(&secret), 2);
    site.door.open();
    for other in others {
        assert_eq!(other.await.unwrap(), 200);
    }
    logins_of(api.process(), 2).await;
    assert_eq!(site.door.asked(&secret), 2);
}
