//! What can happen to brokers and to the schema registry.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use rand::RngExt as _;

use super::a_while;
use crate::chaos::feed::TICKS;
use crate::chaos::topics;
use crate::chaos::world::{PATIENCE, World};
use crate::{avro, eventually};

/// `kill -9` of a broker, and a start on the same disk.
pub(super) async fn broker_killed(world: &mut World) -> Result<String> {
    let number = world.random.random_range(0..world.brokers.len());
    let proof = kill(world, number)?;
    a_while(world, 500, 4000).await;
    world.brokers[number].restart().await?;
    Ok(proof)
}

fn kill(world: &mut World, number: usize) -> Result<String> {
    let broker = &mut world.brokers[number];
    broker.kill9();
    let status = broker
        .process()
        .exited()?
        .context("it runs after SIGKILL")?;
    ensure!(
        status.code().is_none(),
        "broker {} had ended before: {status}",
        number + 1
    );
    Ok(format!("broker {} ended by {status}", number + 1))
}

/// The broker that coordinates the group is killed, and another one takes over, unless it is the controller itself.
pub(super) async fn coordinator_killed(world: &mut World) -> Result<String> {
    killed_leader(world, "__consumer_offsets", 0).await
}

/// The leader of a partition of ticks is killed, and another one leads.
pub(super) async fn leader_changed(world: &mut World) -> Result<String> {
    let leaders = topics::leaders(&world.bootstrap(), TICKS).await?;
    // Not the controller: without it no leader changes.
    let partition = leaders.iter().find(|(_, leader)| **leader > 1);
    let partition = *partition.context("the controller leads all partitions")?.0;
    killed_leader(world, TICKS, partition).await
}

async fn killed_leader(world: &mut World, topic: &str, partition: i32) -> Result<String> {
    let leader = |leaders: &BTreeMap<i32, i32>| leaders.get(&partition).copied().unwrap_or(-1);
    let before = leader(&topics::leaders(&world.bootstrap(), topic).await?);
    let number =
        usize::try_from(before - 1).map_err(|_| anyhow!("{topic} [{partition}] has no leader"))?;
    let killed = kill(world, number)?;
    let mut proof = format!("{killed}, which led {topic} [{partition}]");
    if before != 1 {
        let others: Vec<String> = world
            .brokers
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != number)
            .map(|(_, broker)| broker.bootstrap())
            .collect();
        let others = others.join(",");
        let changed = eventually("another broker leads", PATIENCE, async || {
            let now = leader(&topics::leaders(&others, topic).await?);
            if now > 0 && now != before {
                Ok(now)
            } else {
                Err(anyhow!("the leader is {now}"))
            }
        });
        proof = format!("{proof}; broker {} leads it now", changed.await?);
    }
    a_while(world, 1000, 4000).await;
    world.brokers[number].restart().await?;
    Ok(proof)
}

/// Partitions are added to the topic, and messages go to them.
pub(super) async fn partitions_added(world: &mut World) -> Result<String> {
    let before = world.shared.partitions.load(Ordering::Relaxed);
    topics::grow(&world.bootstrap(), TICKS, before + 1).await?;
    let brokers = world.bootstrap();
    // A producer that asks too soon is told of the old ones.
    let known = eventually("the new partition has a leader", PATIENCE, async || {
        let leader = topics::leaders(&brokers, TICKS)
            .await?
            .get(&before)
            .copied();
        if leader > Some(0) {
            Ok(())
        } else {
            Err(anyhow!("{leader:?}"))
        }
    });
    known.await?;
    world.shared.partitions.store(before + 1, Ordering::Relaxed);
    let reached = eventually(
        "a message of the new partition is stored",
        PATIENCE,
        async || {
            let position = world
                .positions()
                .await?
                .get(&(TICKS.to_owned(), before))
                .copied();
            position
                .filter(|position| *position > 0)
                .ok_or_else(|| anyhow!("its position is {position:?}"))
        },
    );
    let position = reached.await?;
    Ok(format!(
        "{TICKS} has {} partitions; the new one is stored up to {position}",
        before + 1
    ))
}

/// The registry is killed just when messages of a schema come that no worker has met.
pub(super) async fn registry_down(world: &mut World) -> Result<String> {
    let marks = world.marks();
    let pad = format!(
        r#"{{"name": "pad_{}", "type": "null", "default": null}}"#,
        world.random.random_range(0..1_000_000)
    );
    let end = avro::SCHEMA
        .rfind(']')
        .context("the schema has no fields")?;
    let schema = format!("{},{pad}{}", &avro::SCHEMA[..end], &avro::SCHEMA[end..]);
    let registry = world.registry.as_mut().context("there is no registry")?;
    let id = registry.register("avro-value", &schema).await?;
    registry.process().kill9();
    let status = registry
        .process()
        .exited()?
        .context("it runs after SIGKILL")?;
    world.shared.use_schema(id);
    let missed = world.says(&marks, "registry").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    world
        .registry
        .as_mut()
        .context("there is no registry")?
        .restart()
        .await?;
    Ok(format!(
        "the registry ended by {status}; {} missed it for schema {id}",
        missed?
    ))
}
