//! Logins come from AWS Secrets Manager; a wrong one is named, asked for gently, and mended without a restart.

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use testbed::moto::{Moto, REGION};

use crate::api::Api;
use crate::positions::{counts, ticks};
use crate::program::{log_of, run};
use crate::secured::{Site, aws, login, servers};
use crate::stand_in;
use crate::worker::Worker;

#[tokio::test(flavor = "multi_thread")]
async fn both_programs_log_in_with_a_secret_in_either_spelling() {
    // GIVEN a secret in our spelling for one program and in that of RDS for the other
    let site = Site::new("spellings").await;
    let writer = site.make_login("ingest", "writer", "w-p@ss:/'1").await;
    let reader = site.make_login("api", "reader", "r-p@ss%40\"2").await;
    let rds = |username: &str, password: &str| {
        serde_json::json!({"engine": "postgres", "host": "elsewhere", "port": 5432, "username": username, "password": password})
            .to_string()
    };
    for ours in [true, false] {
        let text = if ours { login } else { rds };
        let other = if ours { rds } else { login };
        let (ingest, api) = (format!("ingest-{ours}"), format!("api-{ours}"));
        site.put(&ingest, &text(&writer, "w-p@ss:/'1")).await;
        site.put(&api, &other(&reader, "r-p@ss%40\"2")).await;
        // WHEN they start
        let group = format!("spellings-{ours}");
        let mut worker = site.worker(&ingest, &[("FDA_KAFKA__GROUP", &group)]);
        let server = site.api(&api, &[]);
        let symbol = format!("S.{ours}");
        site.pipeline.publish(&ticks(&symbol, 0..5)).await;
        site.pipeline.caught_up().await;
        // THEN they work, as these logins
        server.ready().await;
        let (status, text) = server
            .get(&format!("/v1/candles/{symbol}?interval=1m"))
            .await
            .unwrap();
        assert!(status == 200 && text.contains("\"trades\":5"), "{text}");
        assert!(site.sessions(&writer, "true").await > 0);
        assert!(site.sessions(&reader, "true").await > 0);
        // AND each has asked once
        assert_eq!(site.door.asked(&site.secret(&ingest)), 1);
        assert_eq!(site.door.asked(&site.secret(&api)), 1);
        worker.stops().await;
    }
    // AND an operator's commands take the login from there, too
    let secret = site.secret("ingest-true");
    let url = site.pipeline.url_as("nobody");
    let endpoint = site.door.url();
    let settings = [&aws(endpoint, &secret)[..], &[("FDA_DATABASE__URL", &url)]].concat();
    let (code, text) = run(&["verify"], &settings).await;
    assert!(code == 0 && text.contains(" 0 differences"), "{text}");
    let expected = [("S.false".to_owned(), 5), ("S.true".to_owned(), 5)];
    assert_eq!(counts(&site.pipeline).await, expected);
}

/// Asks `api` for candles until that much time has passed.
async fn ask_for(time: Duration, api: &Api) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        let (status, _) = api.get("/v1/candles/A?interval=1m").await.unwrap();
        assert_eq!(status, 503);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_secret_is_named_asked_for_gently_and_mended_without_a_restart() {
    // GIVEN a secret with a wrong password, one that is no login, and none at all
    let site = Site::new("wrong").await;
    let writer = site.make_login("ingest", "writer", "right-w").await;
    let reader = site.make_login("api", "reader", "right-r").await;
    let faults = [
        (
            "password",
            Some(login(&writer, "mistaken")),
            "password authentication failed",
        ),
        (
            "text",
            Some("mistaken".to_owned()),
            "is not a JSON object with DB_USERNAME and DB_PASSWORD",
        ),
        ("nothing", None, "can't find the specified secret"),
    ];
    for (name, text, _) in &faults {
        if let Some(text) = text {
            site.put(&format!("ingest-{name}"), text).await;
            let text = text.replace(&writer, &reader);
            site.put(&format!("api-{name}"), &text).await;
        }
    }
    // WHEN both programs start with each of them
    let mut started = Vec::new();
    for (name, _, reason) in &faults {
        let settings = [
            ("FDA_KAFKA__GROUP", *name),
            ("FDA_DATABASE__CONNECT_TIMEOUT", "1s"),
        ];
        let worker = site.worker(&format!("ingest-{name}"), &settings);
        let api = site.api(&format!("api-{name}"), &settings[1..]);
        started.push((*name, *reason, worker, api));
    }
    // THEN they say which secret is wrong, and how
    for (name, reason, worker, api) in &started {
        for program in ["ingest", "api"] {
            let secret = site.secret(&format!("{program}-{name}"));
            for words in [secret.as_str(), reason] {
                match program {
                    "ingest" => worker.waits_for(words).await,
                    _ => api.waits_for(words).await,
                }
            }
        }
        assert_eq!(api.get("/_healthcheck").await.unwrap().0, 503);
    }
    // AND however often they are asked, they ask but a few times: after 0, 0.2, 0.6, 1.4, 3.0 and 6.2 seconds
    let begun = Instant::now();
    let asked = || -> Vec<u32> {
        let programs = faults
            .iter()
            .flat_map(|(name, ..)| [format!("ingest-{name}"), format!("api-{name}")]);
        programs
            .map(|secret| site.door.asked(&site.secret(&secret)))
            .collect()
    };
    let before = asked();
    let ask = |fault: usize| ask_for(Duration::from_secs(3), &started[fault].3);
    tokio::join!(ask(0), ask(1), ask(2));
    let after = asked();
    let waits = begun.elapsed().as_secs_f64() / 0.2;
    for (before, after) in before.iter().zip(&after) {
        let most = (waits + 1.0).log2().ceil() + 1.0;
        assert!(
            f64::from(after - before) <= most,
            "{before} to {after} in {:?}",
            begun.elapsed()
        );
    }
    // AND WHEN the secrets are put right THEN all of them work
    for (name, ..) in &started {
        site.put(&format!("ingest-{name}"), &login(&writer, "right-w"))
            .await;
        site.put(&format!("api-{name}"), &login(&reader, "right-r"))
            .await;
    }
    for (_, _, worker, api) in &mut started {
        worker.ready().await;
        api.ready().await;
        assert_eq!(api.get("/_healthcheck").await.unwrap().0, 200);
        for log in [log_of(worker.process()), log_of(api.process())] {
            assert!(!log.contains("mistaken"), "{log}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_manager_that_is_away_is_waited_for_by_name() {
    // GIVEN an emulation that is down
    let site = Site::new("away").await;
    let writer = site.make_login("ingest", "writer", "w").await;
    let reader = site.make_login("api", "reader", "r").await;
    let mut moto = Moto::start().await.unwrap();
    moto.process().kill9();
    let url = moto.url();
    // WHEN both programs start
    let wait = [("FDA_DATABASE__CONNECT_TIMEOUT", "1s")];
    let mut worker = Worker::start(
        &site.pipeline,
        &[&aws(&url, "away/ingest")[..], &wait].concat(),
    );
    let mut api = Api::start(
        &site.pipeline,
        &[&aws(&url, "away/api")[..], &wait].concat(),
    );
    // THEN they say what they wait for
    for words in ["secret away/ingest: ", "onnection refused"] {
        worker.waits_for(words).await;
    }
    for words in ["secret away/api: ", "onnection refused"] {
        api.waits_for(words).await;
    }
    // AND they do not ask without a pause
    ask_for(Duration::from_secs(3), &api).await;
    for process in [worker.process(), api.process()] {
        let log = log_of(process);
        let tried = log.matches("cannot read the database login").count();
        assert!((1..=7).contains(&tried), "{tried} askings:\n{log}");
    }
    // AND WHEN it is there, without the secrets and then with them, THEN they work
    moto.restart().await.unwrap();
    api.waits_for("can't find the specified secret").await;
    moto.put("away/ingest", &login(&writer, "w")).await.unwrap();
    moto.put("away/api", &login(&reader, "r")).await.unwrap();
    worker.ready().await;
    api.ready().await;
}

/// Gives credentials, as the agent of EKS Pod Identity does, to who brings the token.
async fn pod_identity_agent(token: &'static str) -> String {
    let give = move |headers: HeaderMap| async move {
        if headers
            .get("authorization")
            .is_none_or(|given| given != token)
        {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        let credentials = serde_json::json!({
            "AccessKeyId": "AKIDPOD", "SecretAccessKey": "x", "Token": "x", "Expiration": "2099-01-01T00:00:00Z",
        });
        axum::Json(credentials).into_response()
    };
    let router = axum::Router::new().route("/v1/credentials", axum::routing::get(give));
    format!("{}/v1/credentials", stand_in::serve(router).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_credentials_come_from_the_service_account_or_the_pods_identity() {
    // GIVEN a token file as Kubernetes mounts it, and no key in the environment
    const TOKEN: &str = "a-projected-token";
    let site = Site::new("identity").await;
    let writer = site.make_login("ingest", "writer", "w").await;
    site.put("ingest", &login(&writer, "w")).await;
    let file = site.pipeline.folder().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let file = file.display().to_string();
    let (secret, url) = (site.secret("ingest"), site.pipeline.url_as("nobody"));
    let common = [
        ("FDA_DATABASE__SECRET", secret.as_str()),
        ("FDA_DATABASE__URL", &url),
        ("AWS_ENDPOINT_URL", site.door.url()),
        ("AWS_REGION", REGION),
    ];
    let sts = servers().await.moto.url();
    let service_account = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.as_str()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/ingest"),
        ("AWS_ENDPOINT_URL_STS", &sts),
    ];
    let agent = pod_identity_agent(TOKEN).await;
    let pod_identity = [
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.as_str()),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &agent),
    ];
    for (name, own, key) in [
        ("service account", &service_account[..], "ASIA"),
        ("pod identity", &pod_identity[..], "AKIDPOD"),
    ] {
        // WHEN a program needs its login
        let (code, text) = run(&["offsets", "show"], &[&common[..], own].concat()).await;
        // THEN it gets it, with the credentials that the one or the other gave
        assert_eq!(code, 0, "{name}: {text}");
        let signers = site.door.signers();
        assert!(
            signers.iter().any(|signer| signer.starts_with(key)),
            "{name}: {signers:?}"
        );
    }
}
