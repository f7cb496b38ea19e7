//! The real engine, driven with events that arrive in some order, in some batches, over some restarts.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tripline::engine::{
    alert::{Alert, AlertState},
    detector::Detector,
    diagnostic::SourceText,
    record::{PartitionName, RecordBatch},
    rule::{LoadOptions, Rule, RuleSet, RuleSources, load},
    shard::{EngineSettings, Shard, ShardCounts},
    state::{StateChange, StateEntry, StateTable},
    time::{EventTime, WallTime},
};

use super::{
    case::{Happening, Micros, START},
    model::Episode,
};

/// Loads rules that have no mistakes.
pub(crate) fn rules(yaml: &str) -> Arc<RuleSet> {
    rules_and_risk(yaml, "")
}

pub(crate) fn rules_and_risk(yaml: &str, risk: &str) -> Arc<RuleSet> {
    let sources = RuleSources {
        rules: vec![SourceText::new("rules.yaml", yaml)],
        risk: Some(SourceText::new("risk.yaml", risk)),
        ..RuleSources::default()
    };
    let loaded = load(&sources, &LoadOptions::default());
    let words: String = loaded.diagnostics.iter().map(|problem| problem.render(false)).collect();
    Arc::new(loaded.rules.unwrap_or_else(|| panic!("{words}")))
}

pub(crate) struct Engine {
    rules: Arc<RuleSet>,
    settings: EngineSettings,
    detector: Detector,
    shard: Shard,
    store: BTreeMap<(StateTable, Vec<u8>), Vec<u8>>,
    now: WallTime,
    pub(crate) alerts: Vec<Alert>,
}

impl Engine {
    pub(crate) fn new(rules: &Arc<RuleSet>, grace: Micros) -> Engine {
        let grace = Duration::from_micros(u64::try_from(grace).unwrap());
        let settings = EngineSettings { grace, ..EngineSettings::default() };
        Engine {
            detector: Detector::new(Arc::clone(rules), 0, &settings),
            shard: Shard::new(Arc::clone(rules), 0, settings.clone()),
            rules: Arc::clone(rules),
            settings,
            store: BTreeMap::new(),
            now: WallTime::from_micros(START),
            alerts: Vec::new(),
        }
    }

    /// One batch.
    pub(crate) fn feed(&mut self, events: &[Happening]) {
        let partition = Arc::new(PartitionName::new("audit", 0));
        let mut batch = RecordBatch::default();
        for event in events {
            self.now = self.now.max(WallTime::from_micros(START + event.at));
            batch.push(&partition, 0, None, Some(&event.json()));
        }
        let found = self.detector.detect(self.now, &batch);
        assert_eq!(found.dead_letters, []);
        self.shard.handle_batch(self.now, &found);
        self.drain();
    }

    /// A timer rings although nothing is due.
    pub(crate) fn tick(&mut self) {
        self.shard.handle_timeout(self.now);
        self.drain();
    }

    /// The process ends, and another one takes over what was stored.
    pub(crate) fn restart(&mut self) {
        let mut changes = Vec::new();
        self.shard.take_changes(&mut changes);
        for StateChange { table, key, value } in changes {
            match value {
                Some(value) => self.store.insert((table, key), value),
                None => self.store.remove(&(table, key)),
            };
        }
        self.shard = Shard::new(Arc::clone(&self.rules), 0, self.settings.clone());
        let mut entries = self.store.iter().map(|((table, key), value)| StateEntry {
            table: *table,
            key: key.clone(),
            value: value.clone(),
        });
        let report = self.shard.restore(&mut entries);
        assert_eq!((report.outdated, report.unusable), (0, 0), "{report:?}");
        self.drain();
    }

    /// The stream ends: everything is decided, and nothing is kept but silence, which has no end.
    pub(crate) fn finish(mut self) -> Outcome {
        self.shard.flush(self.now);
        self.drain();
        let is_silence = |id: &str| match self.rules.rule(self.rules.find(id).unwrap()) {
            Rule::Correlation(rule) => rule.kind.entry().name == "absence",
            Rule::Detection(_) => false,
        };
        for alert in self.shard.alerts_firing() {
            assert!(is_silence(&alert.rule_id), "{alert:?}");
            let alert = Alert { ends_at: Some(EventTime::MAX), ..alert.clone() };
            self.alerts.push(Alert { state: AlertState::Resolved, ..alert });
        }
        let keys = self.shard.correlation_keys().filter(|(id, _)| !is_silence(id));
        assert_eq!(keys.map(|(_, count)| count).sum::<usize>(), 0);
        Outcome { counts: self.shard.counts(), alerts: self.alerts }
    }

    fn drain(&mut self) {
        while let Some(alert) = self.shard.poll_alert() {
            self.alerts.push(alert);
        }
    }
}

/// What became of a stream.
pub(crate) struct Outcome {
    pub(crate) alerts: Vec<Alert>,
    pub(crate) counts: ShardCounts,
}

impl Outcome {
    /// The alerts of one rule as the model sees them, sorted.
    pub(crate) fn episodes(&self, rule: &str) -> Vec<Episode> {
        let offset = |time: EventTime| time.micros() - START;
        let resolved = self.alerts.iter().filter(|alert| alert.state == AlertState::Resolved);
        let mut episodes: Vec<Episode> = resolved
            .filter(|alert| alert.labels["alertname"] == rule)
            .map(|alert| Episode {
                key: alert.key.iter().map(|(_, value)| value.clone()).collect(),
                first: offset(alert.first_seen),
                last: offset(alert.last_seen),
                value: alert.value,
                ends: offset(alert.ends_at.unwrap()),
            })
            .collect();
        sort(&mut episodes);
        episodes
    }
}

pub(crate) fn sort(episodes: &mut [Episode]) {
    episodes.sort_by(|a, b| (&a.key, a.first, a.ends).cmp(&(&b.key, b.first, b.ends)));
}
