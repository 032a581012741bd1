//! What both programs say of themselves: which build they are, what the process uses, how full the
//! pool of connections is.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};
use sqlx::postgres::PgPool;

/// The version of all programs.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit, where the build was told it.
pub const REVISION: Option<&str> = option_env!("SOURCE_REVISION");

/// Registers `<program>_build_info`, the pool's metrics and, on Linux, those of the process.
///
/// # Errors
/// When a name is taken.
pub fn register(
    registry: &Registry,
    program: &str,
    pool: PgPool,
    max_connections: u32,
) -> prometheus::Result<()> {
    let build = IntGaugeVec::new(
        Opts::new(
            format!("{program}_build_info"),
            "1, with the version and the commit as labels",
        ),
        &["version", "revision"],
    )?;
    build
        .with_label_values(&[VERSION, REVISION.unwrap_or("unknown")])
        .set(1);
    registry.register(Box::new(build))?;
    registry.register(Box::new(Gauges::new(program, pool, max_connections)?))?;
    #[cfg(target_os = "linux")]
    registry.register(Box::new(
        prometheus::process_collector::ProcessCollector::for_self(),
    ))?;
    Ok(())
}

/// The pool, read when it is asked for.
struct Gauges {
    pool: PgPool,
    connections: IntGaugeVec,
    limit: IntGauge,
}

impl Gauges {
    fn new(program: &str, pool: PgPool, max_connections: u32) -> prometheus::Result<Self> {
        let connections = IntGaugeVec::new(
            Opts::new(
                format!("{program}_database_connections"),
                "Connections to the database, by state",
            ),
            &["state"],
        )?;
        let limit = IntGauge::new(
            format!("{program}_database_connections_max"),
            "Most connections to the database",
        )?;
        limit.set(i64::from(max_connections));
        Ok(Self {
            pool,
            connections,
            limit,
        })
    }
}

impl Collector for Gauges {
    fn desc(&self) -> Vec<&Desc> {
        let mut descriptions = self.connections.desc();
        descriptions.extend(self.limit.desc());
        descriptions
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let idle = i64::try_from(self.pool.num_idle()).unwrap_or(i64::MAX);
        self.connections.with_label_values(&["idle"]).set(idle);
        self.connections
            .with_label_values(&["used"])
            .set((i64::from(self.pool.size()) - idle).max(0));
        let mut families = self.connections.collect();
        families.extend(self.limit.collect());
        families
    }
}
