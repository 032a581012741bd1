//! `testbed run`: the whole service on one machine, from the broker to the answer, with history and live ticks.
//!
//! Everything is a child of this process but the embedded broker and the simulator, which are part of it. Data lies in
//! one folder and survives; a run that ends, for whatever reason, leaves no process behind.

mod claim;
mod given;
mod history;
mod parts;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, value_parser};

use crate::publisher::{Encoding, Publisher};
use crate::simulate::{Market, Running};
use crate::{ports, signals, workspace};
use claim::Claim;
use parts::{Broker, Database, Programs};

/// What `testbed run` is told.
#[derive(Debug, Clone, Args)]
pub struct Run {
    /// The port to answer on.
    #[arg(long, env = "PORT", default_value_t = 8080, value_parser = value_parser!(u16).range(1..))]
    pub port: u16,
    /// The folder for data and logs.
    #[arg(long, default_value = "data")]
    pub data: PathBuf,
    /// A database of your own, as a login that may create roles; else PostgreSQL is fetched and run.
    #[arg(long, env = "DATABASE_URL")]
    pub database_url: Option<String>,
    /// A broker of your own, host:port; its topic is `ticks`. Else a broker inside this process.
    #[arg(long, env = "KAFKA")]
    pub kafka: Option<String>,
    /// Load no history.
    #[arg(long)]
    pub no_history: bool,
    /// What the simulated market is like.
    #[command(flatten)]
    pub market: Market,
}

/// What is running. The order of fields is the order of ends.
struct Stack {
    simulator: Option<Running>,
    programs: Programs,
    database: Database,
    broker: Broker,
    _claim: Claim,
}

/// Runs the stack until asked to stop.
///
/// # Errors
///
/// When a part cannot be started or ends by itself; everything else is stopped then.
pub async fn run(options: &Run) -> Result<()> {
    let up = async {
        let mut stack = Stack::start(options).await?;
        stack.announce(options);
        stack.watch().await
    };
    let asked = async {
        let asked = signals::stop_requested().await;
        say("\nStopping …");
        asked
    };
    // Whichever ends first drops the other, and with it whatever has been started.
    let ended = tokio::select! {
        failed = up => failed,
        asked = asked => asked,
    };
    if ended.is_ok() {
        say(&format!(
            "Everything is stopped; the data stays in {}.",
            options.data.display()
        ));
    }
    ended
}

impl Stack {
    async fn start(options: &Run) -> Result<Self> {
        let begun = Instant::now();
        let step = |text: &str| say(&format!("{:5.1} s  {text}", begun.elapsed().as_secs_f64()));
        options.market.check()?;
        ports::check(options.port, "PORT")?;
        let claim = Claim::of(&options.data)?;
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());

        let database = Database::start(given(&options.database_url), &options.data).await?;
        step(&database.describe());
        let broker = Broker::start(given(&options.kafka)).await?;
        step(&broker.describe());
        let programs = Programs::start(options, &database, &broker).await?;
        let mut stack = Self {
            simulator: None,
            programs,
            database,
            broker,
            _claim: claim,
        };
        stack.programs.wait_until_ready().await?;
        step("ingest and api are ready");
        let publisher = stack.broker.publisher().await?;
        if !options.no_history {
            let database = stack.database.owner_url();
            let loaded = history::load(
                &publisher,
                &stack.broker.topic,
                &database,
                &mut stack.programs,
            )
            .await?;
            step(&loaded);
        }
        stack.simulate(publisher, &options.market)?;
        Ok(stack)
    }

    fn simulate(&mut self, publisher: Publisher, market: &Market) -> Result<()> {
        if market.rate > 0.0 {
            self.simulator = Some(Running::start(publisher, Encoding::Json, market)?);
        }
        Ok(())
    }

    fn announce(&self, options: &Run) {
        let base = format!("http://127.0.0.1:{}", options.port);
        let answers = if self.programs.behind_nginx() {
            "nginx, in front of api"
        } else {
            "api itself (no nginx here)"
        };
        let live = self.simulator.as_ref().map_or_else(String::new, |_| {
            format!("  curl '{base}/v1/candles/SIM.AAA?interval=1m&partial=include&order=desc&limit=3'\n")
        });
        say(&format!(
            "
Open {base}/v1/symbols   answered by {answers}

  curl '{base}/stocks/time-series/AMZN?interval=1&frequency=Annual'
  curl '{base}/v1/candles/AMZN?interval=1M&limit=3'
{live}  curl '{base}/v1/symbols'

  metrics   {}
  database  {}
  broker    {}   topic {}
  logs      {}
  commands  {} dead-letters list

Ctrl-C stops everything; the data stays.",
            self.programs.admin_urls().join("  "),
            self.database.shown_url(),
            self.broker.address,
            self.broker.topic,
            options.data.join("log").display(),
            self.command()
        ));
    }

    /// How an operator's command is begun, in a shell.
    fn command(&self) -> String {
        let ingest =
            workspace::binary("ingest").map_or("ingest".into(), |path| path.display().to_string());
        format!(
            "FDA_DATABASE__URL='{}' FDA_KAFKA__BROKERS={} FDA_KAFKA__TOPIC={} '{ingest}'",
            self.database.shown_url(),
            self.broker.address,
            self.broker.topic
        )
    }

    async fn watch(&mut self) -> Result<()> {
        loop {
            self.programs.check_alive()?;
            self.database.check_alive()?;
            if let Some(simulator) = &mut self.simulator {
                simulator.check_alive()?;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Prints a line; when nobody listens any more, there is nothing left to tell.
fn say(text: &str) {
    let _unheard = writeln!(std::io::stdout(), "{text}");
}
