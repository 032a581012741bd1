//! Tests of `simulate`.

use super::*;
use std::collections::HashMap;

fn market() -> Market {
    Market {
        rate: 100.0,
        symbols: 30,
        seed: 7,
        disorder: 0.1,
        duplicates: 0.1,
    }
}

#[test]
fn same_seed_gives_the_same_trades() {
    let trades = || {
        let mut simulator = Simulator::new(&market()).unwrap();
        (0..500)
            .flat_map(|now| simulator.trade(now))
            .collect::<Vec<_>>()
    };
    assert_eq!(trades(), trades());
}

#[test]
fn every_trade_arrives_with_its_own_number_and_a_positive_price() {
    let mut simulator = Simulator::new(&market()).unwrap();
    let messages: Vec<_> = (0..5_000).flat_map(|now| simulator.trade(now)).collect();
    let mut numbers: HashMap<String, Vec<i64>> = HashMap::new();
    for tick in &messages {
        assert!(tick.symbol.starts_with("SIM.") && tick.price.parse::<f64>().unwrap() >= 1.0);
        numbers
            .entry(tick.symbol.clone())
            .or_default()
            .push(tick.sequence);
    }
    let disordered = numbers.values().any(|seen| !seen.is_sorted());
    assert!(disordered, "some ticks arrive late");
    assert!(messages.len() > 5_200, "some ticks arrive twice");
    // All but the one that may be held back at the end.
    let held = simulator.held.take();
    for (symbol, mut seen) in numbers {
        seen.extend(
            held.iter()
                .filter(|tick| tick.symbol == symbol)
                .map(|tick| tick.sequence),
        );
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(
            seen,
            (1..=i64::try_from(seen.len()).unwrap()).collect::<Vec<_>>(),
            "{symbol}"
        );
    }
}

#[test]
fn pauses_have_the_mean_that_the_rate_asks_for() {
    let mut simulator = Simulator::new(&market()).unwrap();
    let total: Duration = (0..20_000).map(|_| simulator.pause()).sum();
    // 200 s are expected, with a standard deviation of 1.4 s.
    assert!((190.0..210.0).contains(&total.as_secs_f64()), "{total:?}");
}

#[test]
fn symbols_say_that_they_are_simulated() {
    assert_eq!(
        [symbol(0), symbol(27), symbol(676)],
        ["SIM.AAA", "SIM.ABB", "SIM.BAA"]
    );
}
