//! `api`: read-only HTTP over the candles in PostgreSQL.
//!
//! Each answer is read from one snapshot of the database. A request goes one way: parameters ->
//! plan -> rows -> fold -> table -> bytes.

mod answer;
mod app;
mod caching;
mod candles;
pub mod config;
mod cors;
mod cursor;
mod decimals;
mod encode;
mod envelope;
mod export;
pub mod format;
mod guard;
mod healthcheck;
mod held;
mod indicators;
mod latest;
mod limits;
mod link;
mod metrics;
mod observe;
mod openapi;
mod output;
mod params;
mod planner;
mod problem;
mod serve;
mod store;
mod symbols;
pub mod table;
mod ticks;
mod time_series;
mod unread;

use tokio_util::sync::CancellationToken;

pub use app::{App, StartError};

use crate::config::ApiConfig;

/// Serves until `shutdown`, then lets answers under way end, within `http.shutdown_timeout`.
///
/// It starts while the database is away, and says on `/readyz` that it waits.
///
/// # Errors
/// When an address cannot be listened on.
pub async fn run(config: ApiConfig, shutdown: CancellationToken) -> Result<(), StartError> {
    let public = common::admin::bind(config.http.listen, "http.listen").await?;
    let admin = common::admin::bind(config.admin.listen, "admin.listen").await?;
    tracing::info!(http = %public.local_addr()?, admin = %admin.local_addr()?, database = %config.database.url, "listening");

    let app = App::new(&config)?;
    let served = serve::serve(public, &app, &config.http, shutdown.clone());
    let bound = async {
        shutdown.cancelled().await;
        tokio::time::sleep(config.http.shutdown_timeout).await;
        tracing::warn!("requests still under way at the end of http.shutdown_timeout are dropped");
    };
    tokio::select! {
        () = served => (),
        served = axum::serve(admin, app.admin_router()).into_future() => served?,
        () = bound => (),
    }
    app.close(config.http.shutdown_timeout).await;
    Ok(())
}
