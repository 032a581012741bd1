//! What all requests share, and the routes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use axum::routing::get;
use common::admin::Probe;
use common::config::DatabaseConfig;
use common::database::{Database, explain};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tower_http::catch_panic::CatchPanicLayer;

use crate::config::ApiConfig;
use crate::metrics::Metrics;
use crate::problem::ApiError;
use crate::store::Store;
use crate::{candles, healthcheck, observe, symbols, time_series};

/// What all requests share.
#[derive(Clone)]
pub struct App {
    pub(crate) store: Store,
    pub(crate) metrics: Metrics,
    pub(crate) request_timeout: Duration,
    pub(crate) correction_horizon: Duration,
}

impl App {
    /// The application of a configuration. It does not connect yet.
    ///
    /// # Errors
    /// When the database URL is not one.
    pub fn new(config: &ApiConfig) -> Result<Self, sqlx::Error> {
        // A statement that outlives its request would hold a connection for nobody.
        let statement_timeout = config
            .database
            .statement_timeout
            .min(config.http.request_timeout);
        let database = DatabaseConfig {
            statement_timeout,
            ..config.database.clone()
        };
        let sessions = Database::new(&database, "api")?;
        Ok(Self {
            metrics: Metrics::new(sessions.pool().clone(), database.max_connections),
            store: Store::new(sessions),
            request_timeout: config.http.request_timeout,
            correction_horizon: config.http.correction_horizon,
        })
    }

    /// The public routes.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/_healthcheck", get(healthcheck::get))
            .route("/stocks/time-series/{symbol}", get(time_series::get))
            .route("/v1/candles/{symbol}", get(candles::get))
            .route("/v1/symbols", get(symbols::list))
            .route("/v1/symbols/{symbol}", get(symbols::get))
            .fallback(async || ApiError::NotFound)
            .layer(CatchPanicLayer::new())
            .layer(middleware::from_fn_with_state(
                self.clone(),
                observe::observe,
            ))
            .with_state(self.clone())
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

impl Probe for App {
    /// A server that can answer this is alive.
    fn live(&self) -> BoxFuture<'_, Result<(), String>> {
        async { Ok(()) }.boxed()
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), String>> {
        async {
            self.store
                .ping()
                .await
                .map_err(|error| format!("waiting for the database: {}", explain(&error)))
        }
        .boxed()
    }
}
