//! What all requests share, and the routes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use axum::routing::{MethodRouter, get};
use common::admin::Probe;
use common::config::DatabaseConfig;
use common::database::{Database, explain};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate as _, SizeAbove};
use tower_http::cors::CorsLayer;
use utoipa::openapi::path::Operation;

use crate::config::ApiConfig;
use crate::format::Format;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::problem::ApiError;
use crate::store::Store;
use crate::unread::Memory;
use crate::{
    caching, candles, cors, guard, healthcheck, indicators, latest, limits, observe, openapi,
    symbols, ticks, time_series, unread,
};

/// What is shorter does not shrink by as much as the headers grow.
const COMPRESSED_BYTES: u64 = 1_024;

/// What all requests share.
#[derive(Clone)]
pub struct App {
    pub(crate) store: Store,
    pub(crate) metrics: Metrics,
    pub(crate) limits: Arc<Limits>,
    /// The contract, as JSON.
    pub(crate) document: Arc<str>,
    /// One for each request that may be under way, when their number has a cap.
    pub(crate) turns: Option<Arc<Semaphore>>,
    pub(crate) cors: Option<CorsLayer>,
    pub(crate) correction_horizon: Duration,
    /// One for each export that may be under way.
    pub(crate) exports: Arc<Semaphore>,
    /// What answers may fill that their clients have not taken yet.
    pub(crate) unread: Memory,
}

/// How often a statement looks whether its client is still there.
const CHECK_CLIENT: (&str, &str) = ("client_connection_check_interval", "1s");

/// The path that asks for nothing but whether the database answers.
pub(crate) const HEALTHCHECK: &str = "/_healthcheck";

/// A public path, what answers it, and what the contract says of it.
type Route = (&'static str, MethodRouter<App>, fn(&Limits) -> Operation);

/// All public paths but the page at `/docs`.
fn routes() -> [Route; 11] {
    [
        (HEALTHCHECK, get(healthcheck::get), openapi::health),
        (
            "/stocks/time-series/{symbol}",
            get(time_series::get),
            openapi::time_series,
        ),
        ("/v1/candles", get(candles::many::get), openapi::many),
        ("/v1/candles/{symbol}", get(candles::get), openapi::candles),
        ("/v1/indicators", get(indicators::list), openapi::indicators),
        ("/v1/latest", get(latest::get), openapi::latest),
        ("/v1/limits", get(limits::get), openapi::limits),
        ("/v1/symbols", get(symbols::list), openapi::symbols),
        ("/v1/symbols/{symbol}", get(symbols::get), openapi::symbol),
        ("/v1/ticks/{symbol}", get(ticks::get), openapi::ticks),
        (openapi::PATH, get(openapi::get), openapi::contract),
    ]
}

/// Why the program cannot serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The database URL is not one.
    #[error("database.url")]
    Url(#[source] sqlx::Error),
    /// An origin of `http.cors_origins` is not one.
    #[error("{0}")]
    Cors(String),
    /// The contract cannot be written.
    #[error("the contract")]
    Contract(#[from] serde_json::Error),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] std::io::Error),
}

impl App {
    /// The application of a configuration. It does not connect yet.
    ///
    /// # Errors
    /// When the database URL is not one, or an origin of `http.cors_origins`.
    pub fn new(config: &ApiConfig) -> Result<Self, StartError> {
        // A statement that outlives its request would hold a connection for nobody.
        let statement_timeout = config
            .database
            .statement_timeout
            .min(config.http.request_timeout);
        let database = DatabaseConfig {
            statement_timeout,
            ..config.database.clone()
        };
        let session = common::database::options(&database, "api").map_err(StartError::Url)?;
        let sessions = Database::of(&database, &session.options([CHECK_CLIENT]));
        let turns = config.limits.max_concurrent;
        let limits = Limits::of(config, statement_timeout);
        let exports = Arc::new(Semaphore::new(limits.max_exports as usize));
        let unread = Memory::new(config.http.unread_mib);
        let operations = routes().map(|(path, _, operation)| (path, operation(&limits)));
        let document = openapi::document(operations).to_json()?;
        Ok(Self {
            metrics: Metrics::new(
                sessions.pool().clone(),
                database.max_connections,
                unread.clone(),
            ),
            store: Store::new(sessions),
            limits: Arc::new(limits),
            document: document.into(),
            turns: turns.map(|turns| Arc::new(Semaphore::new(turns as usize))),
            cors: cors::layer(&config.http.cors_origins).map_err(StartError::Cors)?,
            correction_horizon: config.http.correction_horizon,
            exports,
            unread,
        })
    }

    /// The public routes.
    pub fn router(&self) -> Router {
        let routes = routes()
            .into_iter()
            .fold(Router::new(), |router, (path, methods, _)| {
                router.route(path, methods)
            })
            .merge(openapi::page())
            .fallback(async || ApiError::NotFound);
        self.around(routes)
    }

    /// Routes with all that every answer goes through.
    fn around(&self, routes: Router<Self>) -> Router {
        let routes = routes
            .layer(CatchPanicLayer::new())
            .layer(compression())
            .layer(middleware::map_response(caching::name_coding))
            .layer(middleware::from_fn_with_state(self.clone(), unread::bound))
            .layer(middleware::from_fn_with_state(self.clone(), guard::guard));
        // Outside what refuses, so that a page may read why it was refused.
        let routes = match &self.cors {
            Some(cors) => routes.layer(cors.clone()),
            None => routes,
        };
        routes
            .layer(middleware::from_fn_with_state(
                self.clone(),
                observe::observe,
            ))
            .with_state(self.clone())
    }

    /// Whether the database answers and has the schema; its metric tells it too.
    pub(crate) async fn ping(&self) -> Result<(), sqlx::Error> {
        let answer = self.store.ping().await;
        self.metrics.tell_ready(answer.is_ok());
        answer
    }

    /// The routes of the admin listener.
    pub fn admin_router(&self) -> Router {
        common::admin::router(self.metrics.registry(), Arc::new(self.clone()))
    }

    /// Closes the connections, waiting at most `limit`.
    pub async fn close(&self, limit: Duration) {
        if tokio::time::timeout(limit, self.store.close())
            .await
            .is_err()
        {
            tracing::warn!("connections to the database were dropped");
        }
    }
}

/// gzip or zstd, as the client takes them; not for what is short, and not for Parquet, which is compressed within.
fn compression() -> CompressionLayer<impl tower_http::compression::Predicate> {
    let parquet = NotForContentType::const_new(Format::Parquet.content_type());
    CompressionLayer::new().compress_when(SizeAbove::new(COMPRESSED_BYTES).and(parquet))
}

impl Probe for App {
    /// A server that can answer this is alive.
    fn live(&self) -> BoxFuture<'_, Result<(), String>> {
        async { Ok(()) }.boxed()
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), String>> {
        async {
            self.ping()
                .await
                .map_err(|error| format!("waiting for the database: {}", explain(&error)))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::Request;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_problem_like_any_other() {
        // GIVEN a route that panics
        let app = App::new(&ApiConfig::default()).unwrap();
        let panics = get(async || -> ApiError { panic!("secret") });
        let router = app.around(Router::new().route("/x", panics));
        // WHEN it is asked
        let request = Request::builder().uri("/x").body(Body::empty()).unwrap();
        let (head, body) = router.oneshot(request).await.unwrap().into_parts();
        // THEN the answer is a problem document that says nothing of it
        assert_eq!(head.status, 500);
        assert_eq!(head.headers["content-type"], "application/problem+json");
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            problem["instance"],
            head.headers["x-request-id"].to_str().unwrap()
        );
        assert_eq!(problem["type"], "urn:financial-data-api:problem:internal");
        assert!(!String::from_utf8_lossy(&body).contains("secret"));
    }
}
