//! `testbed chaos`: everything that can be done to the service, done while it works, and the result compared to the last
//! digit with a program that knows only what was published.
//!
//! A seed decides the messages and the faults. What happens between them (which instruction a kill hits, which worker has
//! which partition) is chance, so that the same seed is the same plan and not the same run. A fault that is not seen to
//! have happened fails the run, as does a contradiction that a reader sees meanwhile.

mod compaction;
mod course;
mod disk;
mod faults;
mod feed;
mod producer;
mod proxy;
mod reader;
mod topics;
mod verdict;
mod worker;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use self::course::{Course, Struck};
use self::faults::Fault;
use self::feed::Plan;
use self::reader::Reader;
use self::world::{Size, World};
use crate::signals;

/// What `testbed chaos` is told.
#[derive(Debug, Clone, Args)]
pub struct Chaos {
    /// Decides messages and faults; the day since 1970 unless given.
    #[arg(long)]
    seed: Option<u64>,
    /// How long faults are drawn, in minutes; starting, and comparing at the end, come on top.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Messages a second.
    #[arg(long, default_value_t = 300.0)]
    rate: f64,
    /// A small world: one broker, two workers, no registry; and the faults that take little time.
    #[arg(long)]
    short: bool,
    /// Only these faults, by name.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// Runs it, prints a summary, and fails unless everything is as it must be.
///
/// # Errors
///
/// When the run cannot be made, or something is not as it must be.
pub async fn chaos(options: &Chaos) -> Result<()> {
    let days = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / 86_400;
    let seed = options.seed.unwrap_or(days);
    println!("chaos: seed {seed}; again with: {}", options.again(seed));
    let run = async {
        let mut world = World::start(options.size(), StdRng::seed_from_u64(seed)).await?;
        println!("everything runs; files are in {}", world.folder().display());
        let mut course = Course::default();
        let result = options.course(seed, &mut world, &mut course).await;
        course.summarise(seed, options.only.is_empty(), &options.again(seed));
        let faulty = course.faults();
        match result {
            Ok(()) if faulty.is_empty() => {
                world.forget();
                println!("verdict: everything is as it must be");
                Ok(())
            }
            Ok(()) => {
                let folder = world.folder();
                bail!(
                    "verdict: WRONG (logs and messages are in {})\n{}",
                    folder.display(),
                    faulty.join("\n")
                )
            }
            Err(error) => {
                let folder = world.folder();
                Err(error.context(format!(
                    "verdict: the run FAILED (logs are in {})",
                    folder.display()
                )))
            }
        }
    };
    tokio::select! {
        asked = signals::stop_requested() => asked.and_then(|()| bail!("stopped before its end")),
        result = run => result,
    }
}

/// Faults that cannot be had, and why.
type LeftOut = Vec<(Fault, String)>;

impl Chaos {
    fn size(&self) -> Size {
        if self.short {
            Size {
                brokers: 1,
                workers: 2,
                partitions: 3,
                avro: false,
                disk: false,
            }
        } else {
            Size {
                brokers: 3,
                workers: 3,
                partitions: 4,
                avro: true,
                disk: true,
            }
        }
    }

    fn again(&self, seed: u64) -> String {
        let Self { minutes, rate, .. } = self;
        let mut text = format!("testbed chaos --seed {seed} --minutes {minutes} --rate {rate}");
        if self.short {
            text.push_str(" --short");
        }
        if !self.only.is_empty() {
            text.push_str(" --only ");
            text.push_str(&self.only.join(","));
        }
        text
    }

    /// The faults of this run, and those that cannot be had.
    fn deck(&self, world: &World) -> Result<(Vec<Fault>, LeftOut)> {
        let known: Vec<&str> = Fault::ALL.map(Fault::name).to_vec();
        for name in &self.only {
            ensure!(
                known.contains(&name.as_str()),
                "no fault {name:?}: there are {}",
                known.join(", ")
            );
        }
        let wanted = Fault::ALL.into_iter().filter(|fault| {
            self.only.is_empty() || self.only.iter().any(|name| name == fault.name())
        });
        let (mut deck, mut left_out) = (Vec::new(), Vec::new());
        for fault in wanted {
            match fault.left_out(world) {
                None if self.short && self.only.is_empty() && fault.takes_long() => {
                    left_out.push((fault, "a short run leaves it out".to_owned()));
                }
                None => deck.push(fault),
                Some(reason) => left_out.push((fault, reason)),
            }
        }
        ensure!(!deck.is_empty(), "no fault can be had: {left_out:?}");
        Ok((deck, left_out))
    }

    async fn course(&self, seed: u64, world: &mut World, course: &mut Course) -> Result<()> {
        let (deck, left_out) = self.deck(world)?;
        course.left_out = left_out;
        course.gaps = compaction::gaps(&world.bootstrap(), world.size.partitions).await?;
        world.start_workers().await?;
        world.api.answers().await?;

        let plan = Plan {
            seed,
            trades: self.rate * self.minutes * 60.0 * 0.8,
            avro: world.size.avro,
            partitions: world.size.partitions,
        };
        let (brokers, rate, shared) = (world.bootstrap(), self.rate, world.shared.clone());
        let feeding =
            tokio::task::spawn_blocking(move || producer::send(&brokers, plan, rate, &shared));
        let stop = Arc::new(AtomicBool::new(false));
        let reader = Reader::new(
            world.owner.clone(),
            world.api.base(),
            StdRng::seed_from_u64(seed),
        )?;
        let reading = tokio::spawn(reader.run(stop.clone()));

        let struck = self
            .strike(seed, deck, world, &mut course.struck, &feeding)
            .await;
        world.shared.stop.store(true, Ordering::Relaxed);
        let sent = feeding.await.context("the feed panicked")?;
        struck?;
        course.sent = sent?;
        world.recovered().await.context("when all was quiet")?;
        stop.store(true, Ordering::Relaxed);
        course.readings = reading.await.context("the reader panicked")?;
        course.deadlocks = world.postgres_log(0).matches("deadlock detected").count();
        course.verdict = verdict::judge(world, &course.sent).await?;
        world.check_alive()
    }

    /// Draws faults until the time is up.
    async fn strike<T>(
        &self,
        seed: u64,
        mut deck: Vec<Fault>,
        world: &mut World,
        struck: &mut Vec<Struck>,
        feeding: &tokio::task::JoinHandle<T>,
    ) -> Result<()> {
        let mut random = StdRng::seed_from_u64(seed);
        let begun = Instant::now();
        let budget = Duration::from_secs_f64(self.minutes * 60.0);
        while begun.elapsed() < budget {
            deck.shuffle(&mut random);
            for fault in &deck {
                tokio::time::sleep(Duration::from_millis(random.random_range(200..1200))).await;
                ensure!(!feeding.is_finished(), "the feed has ended");
                let at = begun.elapsed().as_secs_f64();
                let proof = fault.strike(world).await.with_context(|| fault.name())?;
                world.check_alive()?;
                let recovered = world
                    .recovered()
                    .await
                    .with_context(|| format!("after {}", fault.name()))?;
                println!(
                    "{at:6.1} s  {:<28} over after {:4.1} s  {proof}",
                    fault.name(),
                    recovered.as_secs_f64()
                );
                struck.push(Struck {
                    fault: *fault,
                    proof,
                    recovered,
                });
                if begun.elapsed() >= budget {
                    break;
                }
            }
        }
        Ok(())
    }
}
