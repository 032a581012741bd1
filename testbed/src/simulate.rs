//! Made-up live ticks for symbols that say so: `SIM.AAA`, `SIM.AAB`, …
//!
//! Trades arrive as a Poisson process and prices walk at random on a grid of cents. The same seed gives the same trades;
//! their times are real, so that two runs never share an identity.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use chrono::Utc;
use clap::Args;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::publish::Target;
use crate::publisher::{Encoding, Publisher};
use crate::signals;
use crate::tick::Tick;

/// More than one thread can send.
const MAX_RATE: f64 = 1e6;
/// All names of three letters.
const MAX_SYMBOLS: usize = 26 * 26 * 26;

/// What the market is like.
#[derive(Debug, Clone, Args)]
pub struct Market {
    /// Ticks a second, all symbols together; `testbed run` takes 0 for none.
    #[arg(long, env = "SIMULATE_RATE", default_value_t = 20.0)]
    pub rate: f64,
    /// How many symbols trade, the first ones most.
    #[arg(long, default_value_t = 10)]
    pub symbols: usize,
    /// The same seed gives the same trades, at other times.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The share of ticks that arrive after the one behind them, from 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    pub disorder: f64,
    /// The share of ticks that arrive twice, from 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    pub duplicates: f64,
}

/// What `testbed simulate` is told.
#[derive(Debug, Clone, Args)]
pub struct Simulate {
    /// Where messages go.
    #[command(flatten)]
    pub target: Target,
    /// What the market is like.
    #[command(flatten)]
    pub market: Market,
}

struct Instrument {
    symbol: String,
    /// The last price, in hundredths.
    cents: i64,
    sequence: i64,
}

/// The market: a sequence of trades.
pub struct Simulator {
    random: StdRng,
    instruments: Vec<Instrument>,
    market: Market,
    held: Option<Tick>,
}

impl Market {
    /// Checks the numbers.
    ///
    /// # Errors
    ///
    /// When one is out of its range.
    pub fn check(&self) -> Result<()> {
        let share = |number: f64| (0.0..=1.0).contains(&number);
        ensure!(
            (0.0..=MAX_RATE).contains(&self.rate),
            "a rate of {} ticks a second cannot be simulated: give 0 to {MAX_RATE} (--rate or SIMULATE_RATE)",
            self.rate
        );
        ensure!(
            (1..=MAX_SYMBOLS).contains(&self.symbols),
            "{} symbols cannot be simulated: give 1 to {MAX_SYMBOLS}",
            self.symbols
        );
        ensure!(
            share(self.disorder) && share(self.duplicates),
            "disorder and duplicates are shares: give numbers from 0 to 1"
        );
        Ok(())
    }
}

impl Simulator {
    /// A market at its opening.
    ///
    /// # Errors
    ///
    /// When a number is out of its range, or the rate is 0.
    pub fn new(market: &Market) -> Result<Self> {
        market.check()?;
        ensure!(
            market.rate > 0.0,
            "a rate of 0 ticks a second is no market: give a number above 0"
        );
        let mut random = StdRng::seed_from_u64(market.seed);
        let instruments = (0..market.symbols)
            .map(|number| Instrument {
                symbol: symbol(number),
                cents: random.random_range(1_000..50_000),
                sequence: 0,
            })
            .collect();
        Ok(Self {
            random,
            instruments,
            market: market.clone(),
            held: None,
        })
    }

    /// How long until the next trade: exponentially distributed.
    pub fn pause(&mut self) -> Duration {
        // In (0, 1], so that its logarithm is finite.
        let uniform = 1.0 - self.random.random::<f64>();
        Duration::from_secs_f64(-uniform.ln() / self.market.rate)
    }

    /// The messages of the next trade, made at `now` (microseconds since 1970): usually one; none when it is held back,
    /// two when it arrives twice or brings one that was held back.
    pub fn trade(&mut self, now: i64) -> Vec<Tick> {
        let number = self.pick();
        let step = self.random.random_range(-3..=3);
        let lots = self.random.random_range(1..=10_i64);
        let odd = self.random.random_bool(0.1);
        let size = if odd {
            self.random.random_range(1..100)
        } else {
            lots * 100
        };
        let instrument = &mut self.instruments[number];
        // Never below a whole unit, so that a price stays a price.
        instrument.cents = (instrument.cents + step).max(100);
        instrument.sequence += 1;
        let price = format!("{}.{:02}", instrument.cents / 100, instrument.cents % 100);
        let tick = Tick::new(
            instrument.symbol.clone(),
            now,
            instrument.sequence,
            price,
            size.to_string(),
        );
        if self.held.is_none() && self.random.random_bool(self.market.disorder) {
            self.held = Some(tick);
            return Vec::new();
        }
        let mut messages = vec![tick];
        if self.random.random_bool(self.market.duplicates) {
            messages.extend(messages.first().cloned());
        }
        messages.extend(self.held.take());
        messages
    }

    /// An instrument; the square makes the first ones busier.
    fn pick(&mut self) -> usize {
        let range = self.instruments.len();
        let (a, b) = (
            self.random.random_range(0..range),
            self.random.random_range(0..range),
        );
        a * b / range.max(1)
    }
}

/// `SIM.` and three letters.
fn symbol(number: usize) -> String {
    let letter = |n: usize| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"[n % 26]);
    format!(
        "SIM.{}{}{}",
        letter(number / 676),
        letter(number / 26),
        letter(number)
    )
}

/// A simulator that publishes on a thread of its own; dropping it stops it.
#[derive(Debug)]
pub struct Running {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<u64>>>,
}

impl Running {
    /// Starts to publish.
    ///
    /// # Errors
    ///
    /// When the market's numbers are out of range.
    pub fn start(publisher: Publisher, encoding: Encoding, market: &Market) -> Result<Self> {
        let simulator = Simulator::new(market)?;
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || run(&publisher, encoding, simulator, &asked));
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Fails when the simulator has stopped by itself, with its reason.
    ///
    /// # Errors
    ///
    /// As it says.
    pub fn check_alive(&mut self) -> Result<()> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            self.stop().context("the simulator stopped")?;
            return Err(anyhow!("the simulator stopped"));
        }
        Ok(())
    }

    /// Stops it and returns how many messages it sent.
    ///
    /// # Errors
    ///
    /// When it had failed before.
    pub fn stop(&mut self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else {
            return Ok(0);
        };
        thread
            .join()
            .map_err(|_| anyhow!("the simulator's thread panicked"))?
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A failure was told by `check_alive` or does not matter any more.
        drop(self.stop());
    }
}

fn run(
    publisher: &Publisher,
    encoding: Encoding,
    mut simulator: Simulator,
    stop: &AtomicBool,
) -> Result<u64> {
    /// The longest sleep, so that a request to stop is seen soon.
    const NAP: Duration = Duration::from_millis(20);
    let mut sent = 0;
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        if due > now {
            publisher.serve()?;
            std::thread::sleep((due - now).min(NAP));
            continue;
        }
        due += simulator.pause();
        for tick in simulator.trade(Utc::now().timestamp_micros()) {
            publisher.send(&tick, encoding)?;
            sent += 1;
        }
    }
    Ok(sent)
}

/// Publishes simulated ticks until asked to stop.
///
/// # Errors
///
/// When the brokers do not take a message.
pub async fn simulate(options: &Simulate) -> Result<()> {
    let encoding = options.target.encoding().await?;
    let (brokers, topic) = (options.target.brokers.clone(), options.target.topic.clone());
    let publisher =
        tokio::task::spawn_blocking(move || Publisher::connect(&brokers, &topic)).await??;
    let mut running = Running::start(publisher, encoding, &options.market)?;
    println!(
        "{} ticks a second to {}; Ctrl-C stops it",
        options.market.rate, options.target.topic
    );
    let watch = async {
        loop {
            running.check_alive()?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        stopped = signals::stop_requested() => stopped?,
        failed = watch => return failed,
    }
    println!("{} messages sent", running.stop()?);
    Ok(())
}

#[cfg(test)]
mod tests;
