//! No request is lost while nginx is told anew or the api is replaced.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use testbed::{eventually, ports};

use super::front::{Front, receive, send};
use super::upstream::Upstream;
use super::{api_at, tick};
use crate::pipeline::{PATIENCE, Pipeline};

/// Clients of a [`Load`].
const CLIENTS: usize = 4;

/// Clients that ask without pause, each on a new connection, until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<Result<(), String>>>,
}

impl Load {
    fn start(port: u16, target: &'static str) -> Self {
        let (stop, answered) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let client = |number: usize| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            async move {
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    // Each its own target, so that the cache answers none.
                    let request = format!(
                        "GET {target}&limit={} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
                        1 + (number * 2_000 + n) % 10_000
                    );
                    n += 1;
                    let stream = send(port, Ipv4Addr::LOCALHOST, &request)
                        .await
                        .map_err(|error| error.to_string())?;
                    let answer = receive(stream).await.map_err(|error| error.to_string())?;
                    if answer.status != 200 {
                        return Err(format!("{answer:?}"));
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }
        };
        let clients = (0..CLIENTS)
            .map(|number| tokio::spawn(client(number)))
            .collect();
        Self {
            stop,
            answered,
            clients,
        }
    }

    /// Waits until so many more requests are answered.
    async fn goes_on(&self, requests: usize) {
        let before = self.answered.load(Ordering::Relaxed);
        eventually("requests are answered", PATIENCE, async || {
            let now = self.answered.load(Ordering::Relaxed);
            if now >= before + requests
                || self
                    .clients
                    .iter()
                    .any(tokio::task::JoinHandle::is_finished)
            {
                Ok(())
            } else {
                Err(format!("{now} after {before}"))
            }
        })
        .await
        .unwrap();
    }

    /// Ends it; fails when a single request did.
    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_drops_no_request() {
    // GIVEN requests under way, all of them held by the api
    let (old, new) = (
        Upstream::start("no-store").await,
        Upstream::start("no-store").await,
    );
    new.answer(200, "Cache-Control: no-store\r\n", "new");
    let Some(mut front) = Front::start("reload", &[("NGINX_API", &old.address)]).await else {
        return;
    };
    let load = Load::start(front.port, "/x?a=1");
    load.goes_on(100).await;
    old.hold();
    eventually("all are with the api", PATIENCE, async || {
        let waiting = old.seen().len() - load.answered.load(Ordering::Relaxed);
        if waiting == CLIENTS {
            Ok(())
        } else {
            Err(waiting)
        }
    })
    .await
    .unwrap();
    // WHEN nginx is told to reload, with another api
    front.reload_with("NGINX_API", &new.address).await;
    eventually("the new configuration", PATIENCE, async || {
        // One that still meets the old configuration is held, as the others are.
        let answer = tokio::time::timeout(Duration::from_millis(500), front.get("/x")).await;
        if answer.is_ok_and(|answer| answer.text() == "new") {
            Ok(())
        } else {
            Err("not yet")
        }
    })
    .await
    .unwrap();
    // THEN the held ones are answered by the old, those that follow by the new, and none fails
    old.open();
    load.goes_on(100).await;
    // An old worker serves its connections until it has heard of the reload, which may come after the new ones' start.
    eventually(
        "the new api gets the requests",
        PATIENCE,
        async || match new.seen().len() {
            seen if seen >= 100 - CLIENTS => Ok(()),
            seen => Err(seen),
        },
    )
    .await
    .unwrap();
    load.end().await;

    // WHEN it is told so again and again under load THEN likewise
    let load = Load::start(front.port, "/x?a=2");
    for target in [&old, &new, &old, &new] {
        front.reload_with("NGINX_API", &target.address).await;
        load.goes_on(100).await;
    }
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollout_of_the_api_drops_no_request() {
    // GIVEN one api of two places, and requests under way
    let pipeline = Pipeline::with_partitions("nginx_rollout", 1).await;
    let _ingest = pipeline.ingest(&[]);
    pipeline
        .publish(&(0..200).map(tick).collect::<Vec<_>>())
        .await;
    pipeline.caught_up().await;
    let (first, second) = (ports::free().unwrap(), ports::free().unwrap());
    let mut old = api_at(first, &pipeline).await;
    let addresses = format!("127.0.0.1:{first} 127.0.0.1:{second}");
    let Some(front) = Front::start("rollout", &[("NGINX_API", &addresses)]).await else {
        return;
    };
    let load = Load::start(front.port, "/v1/candles/A?interval=1m");
    load.goes_on(100).await;
    // WHEN a new one comes and the old one is told to go
    let new = api_at(second, &pipeline).await;
    load.goes_on(100).await;
    let status = old.process().stop(Duration::from_secs(15)).unwrap();
    load.goes_on(100).await;
    // THEN it goes in order, the new one answers, and no request failed
    assert!(status.success(), "{status}");
    load.end().await;
    // AND the same the other way round
    let load = Load::start(front.port, "/v1/candles/A?interval=2m");
    let _third = api_at(first, &pipeline).await;
    load.goes_on(100).await;
    drop(new);
    load.goes_on(100).await;
    load.end().await;
}
