//! The memory that correlations share (`engine.memory`): it is enough, it is shared fairly, and what is dropped does
//! not depend on restarts.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tripline::engine::{
    rule::RuleSet,
    settings::EngineSettings,
    shard::{Limit, Shard, StateEntry, StateTable},
    time::WallTime,
};

use super::{floods::Stream, padding::Dice, reference::engine::rules};

const READS: &str = "\
title: reads
name: reads
logsource: {product: kubernetes, service: audit}
detection: {read: {verb: get}, condition: read}
generate: false
---
title: lists
name: lists
logsource: {product: kubernetes, service: audit}
detection: {list: {verb: list}, condition: list}
generate: false
---
title: often
name: often
correlation: {type: event_count, rules: [reads], group-by: [user.username], timespan: 1h, condition: {gte: 50}}
---
title: listed
name: listed
correlation: {type: event_count, rules: [lists], group-by: [user.username], timespan: 1h, condition: {gte: 50}}
";

/// Every way in which something is kept of a key.
const KINDS: &str = "\
---
title: many
name: many
correlation:
  type: value_count
  rules: [reads]
  group-by: [user.username]
  timespan: 1h
  condition: {field: objectRef.name, gte: 6}
---
title: before
name: before
correlation: {type: temporal_ordered, rules: [lists, reads], group-by: [user.username], timespan: 1h}
---
title: few
name: few
correlation: {type: event_count, rules: [reads], group-by: [user.username], timespan: 10m, condition: {lt: 2}}
---
title: new
name: new
logsource: {product: kubernetes, service: audit}
detection: {read: {verb: get}, condition: read}
tripline: {first_seen: {of: [objectRef.name], group-by: [user.username], history: 1d, learn: 1m}}
---
title: rare
name: rare
logsource: {product: kubernetes, service: audit}
detection: {read: {verb: get}, condition: read}
tripline: {rarity: {of: [objectRef.name], group-by: [user.username], history: 30m, max_share: 0.1}}
---
title: burst
name: burst
logsource: {product: kubernetes, service: audit}
detection: {read: {verb: get}, condition: read}
tripline: {spike: {group-by: [user.username], timespan: 10m, baseline: {of: 3h}}}
---
title: silent
name: silent
logsource: {product: kubernetes, service: audit}
detection: {list: {verb: list}, condition: list}
tripline: {absence: {group-by: [user.username], timespan: 5m}}
";

fn settings(memory: u64) -> EngineSettings {
    EngineSettings { grace: Duration::from_secs(30), memory, ..EngineSettings::default() }
}

fn held(shard: &Shard) -> Vec<(String, usize, usize)> {
    let with_bytes = shard.correlation_keys().zip(shard.correlation_bytes());
    with_bytes.map(|((id, keys), (_, bytes))| (id.to_owned(), keys, bytes)).collect()
}

fn bytes(shard: &Shard) -> u64 {
    shard.correlation_bytes().map(|(_, bytes)| bytes as u64).sum()
}

/// Keys that a rule dropped to make room.
fn evicted(shard: &Shard, rule: &str) -> u64 {
    let counts = shard.counts();
    let of_rules = counts.limits_hit.get(&Limit::CorrelationKeys);
    of_rules.and_then(|of_rules| of_rules.get(rule)).copied().unwrap_or(0)
}

fn id(rules: &RuleSet, name: &str) -> String {
    rules.rules.iter().find(|rule| rule.meta().name == name).unwrap().meta().id.clone()
}

/// What checkpoints have stored.
#[derive(Default)]
struct Stored(BTreeMap<(StateTable, Vec<u8>), Vec<u8>>);

impl Stored {
    fn commit(&mut self, shard: &mut Shard) {
        let mut changes = Vec::new();
        shard.take_changes(&mut changes);
        for change in changes {
            match change.value {
                Some(value) => drop(self.0.insert((change.table, change.key), value)),
                None => drop(self.0.remove(&(change.table, change.key))),
            }
        }
    }

    fn restored(&self, rules: &Arc<RuleSet>, settings: EngineSettings) -> Shard {
        let mut shard = Shard::new(Arc::clone(rules), 0, settings);
        let entries = self.0.iter().map(|((table, key), value)| StateEntry {
            table: *table,
            key: key.clone(),
            value: value.clone(),
        });
        let report = shard.restore(&mut entries.collect::<Vec<_>>().into_iter());
        assert_eq!((report.outdated, report.unusable), (0, 0));
        shard
    }
}

#[test]
fn whoever_takes_less_than_his_share_loses_nothing() {
    let rules = rules(READS);
    let (often, listed) = (id(&rules, "often"), id(&rules, "listed"));
    let mut stream = Stream::new(&rules, settings(1 << 20));
    // Just below half of it.
    for user in 0..5_000 {
        stream.event("list", &format!("lister-{user}"), "a", "");
    }
    for user in 0..30_000 {
        stream.at += 1_000;
        stream.event("get", &format!("reader-{user}"), "a", "");
        if user % 500 == 0 {
            assert!(bytes(&stream.shard) <= 1 << 20);
        }
    }
    stream.hand_over();
    let held = held(&stream.shard);
    assert!(held.iter().any(|(id, keys, _)| *id == listed && *keys == 5_000), "{held:?}");
    assert_eq!(evicted(&stream.shard, &listed), 0);
    assert!(evicted(&stream.shard, &often) > 20_000);
    // Nobody keeps more than he needs to: the room that is there is used.
    assert!(bytes(&stream.shard) > (1 << 20) * 9 / 10);

    // Now the others want more: what the flood took beyond its share it gives back.
    for user in 5_000..20_000 {
        stream.event("list", &format!("lister-{user}"), "a", "");
    }
    stream.hand_over();
    let shares: Vec<usize> = stream.shard.correlation_bytes().map(|(_, bytes)| bytes).collect();
    assert!(shares.iter().all(|bytes| *bytes > (1 << 19) * 9 / 10), "{shares:?}");
}

#[test]
fn state_that_has_no_room_any_more_makes_some_after_a_restart() {
    let rules = rules(READS);
    let often = id(&rules, "often");
    let mut stream = Stream::new(&rules, settings(4 << 20));
    for user in 0..20_000 {
        stream.event("get", &format!("reader-{user}"), "a", "");
    }
    stream.hand_over();
    let mut stored = Stored::default();
    stored.commit(&mut stream.shard);
    assert_eq!(evicted(&stream.shard, &often), 0);

    let same = stored.restored(&rules, settings(4 << 20));
    assert_eq!(held(&same), held(&stream.shard));
    let mut small = stored.restored(&rules, settings(1 << 20));
    small.handle_timeout(WallTime::from_micros(1_772_445_600_000_000));
    assert!(bytes(&small) <= 1 << 20);
    let kept = small.correlation_keys().map(|(_, keys)| keys as u64).sum::<u64>();
    assert_eq!(evicted(&small, &often), 20_000 - kept);
    // What was dropped is dropped from the store, too.
    stored.commit(&mut small);
    let again = stored.restored(&rules, settings(1 << 20));
    assert_eq!(held(&again), held(&small));
}

#[test]
fn what_is_dropped_does_not_depend_on_restarts() {
    let rules = rules(&format!("{READS}{KINDS}"));
    let memory = settings(200_000);
    for seed in 0..3 {
        let mut dice = Dice(seed);
        let mut whole = Stream::new(&rules, memory.clone());
        let mut restarted = Stream::new(&rules, memory.clone());
        let (mut stored, mut dropped) = (Stored::default(), 0);
        for _ in 0..120 {
            let (users, by) =
                ([3, 30, 4_000][dice.below(3)], [1_000, 50_000, 2_000_000][dice.below(3)]);
            let before = whole.at;
            for _ in 0..40 {
                let verb = ["get", "get", "list"][dice.below(3)];
                let (user, name) = (dice.below(users), dice.below(9));
                let (user, name) = (format!("user-{user}"), format!("object-{name}"));
                for stream in [&mut whole, &mut restarted] {
                    stream.at += by;
                    stream.event(verb, &user, &name, "");
                }
            }
            assert!(before < whole.at);
            whole.hand_over();
            restarted.hand_over();
            stored.commit(&mut restarted.shard);
            if dice.below(4) == 0 {
                dropped += drops(&restarted.shard);
                restarted.shard = stored.restored(&rules, memory.clone());
            }
            assert!(bytes(&whole.shard) <= memory.memory);
            assert_eq!(held(&whole.shard), held(&restarted.shard), "seed {seed}");
        }
        assert_eq!(whole.alerts, restarted.alerts, "seed {seed}");
        dropped += drops(&restarted.shard);
        assert_eq!(drops(&whole.shard), dropped);
        assert!(dropped > 100, "{dropped}");
    }
}

/// Keys that all rules dropped since the shard was made.
fn drops(shard: &Shard) -> u64 {
    shard.counts().limits_hit.get(&Limit::CorrelationKeys).map_or(0, |of| of.values().sum())
}
