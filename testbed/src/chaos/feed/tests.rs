use std::collections::BTreeSet;

use super::*;

const PLAN: Plan = Plan {
    seed: 3,
    trades: 5000.0,
    avro: true,
    partitions: 3,
};
/// 2024-03-01T00:00:00Z.
const NOW: i64 = 1_709_251_200_000_000;

fn some(seed: u64) -> Vec<Message> {
    let mut feed = Feed::new(Plan { seed, ..PLAN }, NOW, 4, 1);
    (0..20_000).map(|_| feed.next().unwrap()).collect()
}

#[test]
fn a_seed_gives_the_same_messages_again() {
    let lines = |messages: Vec<Message>| {
        messages
            .iter()
            .map(|message| format!("{message:?}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(lines(some(3)), lines(some(3)));
    assert_ne!(lines(some(3)), lines(some(4)));
}

#[test]
fn all_kinds_come_and_contradictions_stay_in_one_partition() {
    let messages = some(3);
    let kinds: BTreeSet<&str> = messages.iter().map(|message| message.kind).collect();
    assert_eq!(kinds.len(), 10, "{kinds:?}");
    let share = messages
        .iter()
        .filter(|message| message.kind == "duplicates")
        .count();
    assert!((600..1400).contains(&share), "{share} duplicates of 20000");
    let contradicted: BTreeSet<String> = messages
        .iter()
        .filter(|message| message.kind == "contradictions")
        .map(identity)
        .collect();
    let mut places: BTreeMap<String, BTreeSet<(&str, i32)>> = BTreeMap::new();
    for message in messages.iter().filter(|message| {
        message.topic != AVRO && message.kind != "garbage" && message.payload.is_some()
    }) {
        places
            .entry(identity(message))
            .or_default()
            .insert((message.topic, message.partition));
    }
    assert!(contradicted.len() > 30, "{}", contradicted.len());
    for identity in contradicted {
        assert_eq!(places[&identity].len(), 1, "{identity}");
    }
}

/// Sequences are unique in a feed.
fn identity(message: &Message) -> String {
    let text = String::from_utf8_lossy(message.payload.as_deref().unwrap_or_default()).into_owned();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["sequence"].to_string()
}
