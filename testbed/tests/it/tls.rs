//! TLS to PostgreSQL and Kafka, with the server's name checked, and a login to Kafka by SCRAM.

use std::path::Path;

use testbed::certificates::{Authority, Certificate};
use testbed::kafka::Secured;
use testbed::{Encoding, Kafka, Publisher, Tick};

use crate::api::Api;
use crate::program::run;
use crate::secured::{Site, authority_file, servers};
use crate::worker::Worker;

const PASSWORD: &str = "t0ps3cret-Pa55word";

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_reached_by_tls_and_only_where_its_certificate_holds() {
    // GIVEN a server whose certificate is for `localhost`, and that takes logins over TLS alone
    let site = Site::new("tls_postgres").await;
    let servers = servers().await;
    let role = site.make_login("ingest", "login", PASSWORD).await;
    let reader = site.make_login("api", "reader", PASSWORD).await;
    let right = authority_file(&site.pipeline, "right.pem", &servers.authority);
    let wrong = authority_file(&site.pipeline, "wrong.pem", &Authority::new().unwrap());
    let (port, database) = (servers.postgres.port(), "it_tls_postgres");
    let url = |role: &str, host: &str, authority: &Path| {
        format!(
            "postgres://{role}:{PASSWORD}@{host}:{port}/{database}?sslmode=verify-full&sslrootcert={}",
            authority.display()
        )
    };
    // WHEN all is right THEN both programs are let in
    let good = url(&role, "localhost", &right);
    let (code, text) = run(&["offsets", "show"], &[("FDA_DATABASE__URL", &good)]).await;
    assert_eq!(code, 0, "{text}");
    let readers = url(&reader, "localhost", &right);
    let api = Api::start(&site.pipeline, &[("FDA_DATABASE__URL", &readers)]);
    api.ready().await;
    // WHEN the authority or the name is another, or TLS is not used THEN neither is, and it is said why
    let plain = format!("postgres://{role}:{PASSWORD}@localhost:{port}/{database}?sslmode=disable");
    for (url, reason) in [
        (url(&role, "localhost", &wrong), "certificate"),
        (url(&role, "127.0.0.1", &right), "certificate"),
        (plain, "no encryption"),
    ] {
        let (code, text) = run(&["offsets", "show"], &[("FDA_DATABASE__URL", &url)]).await;
        assert!(
            code == 1 && text.contains(reason),
            "{reason}: {code} {text}"
        );
        assert!(!text.contains(PASSWORD), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_is_reached_by_tls_and_scram_and_only_with_the_right_login_and_certificate() {
    // GIVEN a broker with a listener that asks for a login and a certificate, and a tick on its topic
    let site = Site::new("tls_kafka").await;
    let authority = Authority::new().unwrap();
    let certificate = authority.issue(&["127.0.0.1"]).unwrap();
    let kafka = Kafka::secured(&Secured {
        certificate: &certificate,
        clients: &authority,
        username: "worker",
        password: PASSWORD,
    })
    .await
    .unwrap();
    let topic = site.pipeline.topic().to_owned();
    kafka.create_topic(&topic, 1).await.unwrap();
    let plain = kafka.bootstrap();
    let publisher = tokio::task::spawn_blocking(move || Publisher::connect(&plain, &topic))
        .await
        .unwrap()
        .unwrap();
    let tick = Tick::new("A", 1_704_067_200_000_000, 1, "10.5", "1");
    publisher.send(&tick, Encoding::Json).unwrap();
    publisher.settle().await.unwrap();
    let role = site.make_login("ingest", "login", PASSWORD).await;
    let port = servers().await.postgres.port();
    let url = format!("postgres://{role}:{PASSWORD}@127.0.0.1:{port}/it_tls_kafka?sslmode=require");
    let brokers = kafka.secured_bootstrap().unwrap();
    let file = authority_file(&site.pipeline, "kafka.pem", &authority);
    let other = authority_file(&site.pipeline, "other.pem", &Authority::new().unwrap());
    let own = authority.issue(&["worker"]).unwrap();
    let strange = Authority::new().unwrap().issue(&["worker"]).unwrap();
    let folder = site.pipeline.folder();
    let pair = |name: &str, pair: &Certificate| {
        let files = [("cert", &pair.certificate), ("key", &pair.key)]
            .map(|(kind, text)| (folder.join(format!("{name}.{kind}.pem")), text));
        files.map(|(file, text)| {
            std::fs::write(&file, text).unwrap();
            file.display().to_string()
        })
    };
    let (own, strange) = (pair("own", &own), pair("strange", &strange));
    let none = [String::new(), String::new()];
    let settings = |authority: &Path, password: &str, [certificate, key]: &[String; 2]| {
        [
            ("FDA_DATABASE__URL", url.clone()),
            ("FDA_KAFKA__BROKERS", brokers.clone()),
            ("FDA_KAFKA__SECURITY_PROTOCOL", "sasl_ssl".to_owned()),
            ("FDA_KAFKA__SSL_CA_FILE", authority.display().to_string()),
            ("FDA_KAFKA__SSL_CERTIFICATE_FILE", certificate.clone()),
            ("FDA_KAFKA__SSL_KEY_FILE", key.clone()),
            ("FDA_KAFKA__SASL_USERNAME", "worker".to_owned()),
            ("FDA_KAFKA__SASL_PASSWORD", password.to_owned()),
        ]
    };
    let start = |authority: &Path, password: &str, pair: &[String; 2]| {
        let settings = settings(authority, password, pair);
        let settings: Vec<(&str, &str)> = settings.iter().map(|(n, v)| (*n, v.as_str())).collect();
        Worker::start(&site.pipeline, &settings)
    };
    // WHEN all is right THEN it is stored
    let worker = start(&file, PASSWORD, &own);
    worker
        .metric_becomes("ingest_messages_total{outcome=\"added\"}", |added| {
            added > 0.0
        })
        .await;
    // WHEN the password, the authority or the certificate is another or missing THEN the worker is not ready, and no
    // password is seen
    for (authority, password, pair) in [
        (&file, "wr0ng-Pa55word", &own),
        (&other, PASSWORD, &own),
        (&file, PASSWORD, &strange),
        (&file, PASSWORD, &none),
    ] {
        let worker = start(authority, password, pair);
        worker.waits_for(&brokers).await;
        assert!(!worker.log().contains(password), "{}", worker.log());
    }
}
