//! The engine under a script: detector, shard, a clock that the script moves, and a store.

use std::{sync::Arc, time::Duration};

use tripline::engine::{
    detector::Detector,
    diagnostic::SourceText,
    record::{PartitionName, RecordBatch},
    rule::{LoadOptions, Rule, RuleSet, RuleSources, load},
    shard::{EngineSettings, RestoreReport, Shard, ShardCounts},
    time::{EventTime, WallTime},
};

use crate::{
    event::{Line, Record},
    print::{self, Begun, counters},
    script::{Command, RulesUse, Setting},
    store::Store,
    ways::Way,
};

/// What `rules` starts.
struct Engine {
    rules: Arc<RuleSet>,
    epoch: u64,
    detector: Detector,
    shard: Shard,
}

pub(crate) struct World {
    way: Way,
    settings: EngineSettings,
    sources: RuleSources,
    /// Whether rules were started with them: what comes then is for other rules.
    sources_used: bool,
    engine: Option<Engine>,
    store: Store,
    clock: WallTime,
    /// What events are held against by this process, where its clock is behind that.
    horizon: WallTime,
    /// The latest event so far.
    latest: EventTime,
    listening: bool,
    /// Whether a reload has left something in the store.
    replaced: bool,
    begun: Begun,
    sequence: u64,
    /// Counters of shards that are gone, and what was told of already.
    gone: Counted,
    told: Counted,
    printed: Vec<String>,
}

/// Counters by name, and findings by rule.
#[derive(Clone, Default)]
struct Counted {
    numbers: Vec<(String, u64)>,
    findings: Vec<(String, u64)>,
}

impl World {
    pub(crate) fn new(way: Way) -> World {
        World {
            way,
            settings: usual(),
            sources: RuleSources::default(),
            sources_used: false,
            engine: None,
            store: Store::default(),
            clock: WallTime::MIN,
            horizon: WallTime::MIN,
            latest: EventTime::MIN,
            listening: true,
            replaced: false,
            begun: Begun::new(),
            sequence: 0,
            gone: Counted::default(),
            told: Counted::default(),
            printed: Vec::new(),
        }
    }

    /// Carries out one command; the lines that it prints.
    pub(crate) fn run(&mut self, command: &Command) -> Vec<String> {
        let is_source = matches!(
            command,
            Command::List { .. } | Command::Schedules { .. } | Command::Risk { .. }
        );
        let is_start = matches!(command, Command::Rules { purpose: RulesUse::Start, .. });
        if (is_source || is_start) && std::mem::take(&mut self.sources_used) {
            self.sources = RuleSources::default();
        }
        self.sources_used |= is_start;
        match command {
            Command::Rules { purpose, options, yaml } => self.rules(*purpose, options, yaml),
            Command::List { name, yaml } => {
                let source = SourceText::new(format!("lists/{name}.yaml"), yaml.as_str());
                self.sources.lists.retain(|(known, _)| known != name);
                self.sources.lists.push((name.clone(), source));
            }
            Command::Schedules { yaml } => {
                self.sources.schedules = Some(SourceText::new("schedules.yaml", yaml.as_str()));
            }
            Command::Risk { yaml } => {
                self.sources.risk = Some(SourceText::new("risk.yaml", yaml.as_str()));
            }
            Command::Feed { lines, quiet } => {
                let records: Vec<Record> = lines.iter().flat_map(Line::records).collect();
                let latest = records.iter().map(|record| record.time).max();
                for batch in self.way.batches(records, self.latest, self.settings.grace) {
                    self.feed(&batch);
                    if !*quiet {
                        self.after_line();
                    }
                }
                self.latest = self.latest.max(latest.unwrap_or(EventTime::MIN));
                if *quiet {
                    self.after_line();
                    self.count_lines();
                }
            }
            Command::Timeout { now, quiet } => {
                self.clock = self.clock.max(*now);
                self.tick();
                if *quiet {
                    self.count_lines();
                }
            }
            Command::Clock(now) => self.clock = *now,
            other => self.ask(other),
        }
        self.tell_counts();
        std::mem::take(&mut self.printed)
    }

    fn ask(&mut self, command: &Command) {
        let clock = self.clock;
        let Some(Engine { shard, .. }) = &mut self.engine else { panic!("begin with `rules`") };
        match command {
            Command::Watermark => {
                let text = shard.watermark().map_or("none".to_owned(), print::time);
                self.printed.push(text);
            }
            Command::Keys => {
                let keys = shard.correlation_keys().filter(|(_, count)| *count > 0);
                let text: Vec<String> = keys.map(|(id, count)| format!("{id} {count}")).collect();
                self.printed.push(if text.is_empty() {
                    "none".to_owned()
                } else {
                    text.join(", ")
                });
            }
            Command::Alerts { evidence, annotations } => {
                for alert in shard.alerts_firing() {
                    self.printed.push(format!("fires {}", print::describe(alert)));
                    for (name, text) in alert.annotations.iter().filter(|_| *annotations) {
                        self.printed.push(format!("  {name}: {text}"));
                    }
                    for piece in alert.evidence.iter().filter(|_| *evidence) {
                        let fields: Vec<String> = piece
                            .fields
                            .iter()
                            .map(|(name, value)| format!("{name}={value}"))
                            .collect();
                        let text = format!("  {} {}", print::time(piece.time), fields.join(" "));
                        self.printed.push(text);
                    }
                }
            }
            Command::Unavailable => {
                self.listening = false;
                shard.handle_unavailable();
            }
            Command::Away(partitions) => {
                let names: Vec<_> = partitions.iter().copied().map(partition).collect();
                shard.handle_away(clock, &names);
                self.after_line();
            }
            Command::Ready(partitions) => {
                self.listening = true;
                let names: Vec<_> = partitions.iter().copied().map(partition).collect();
                shard.handle_ready(clock, &names);
                self.tick();
            }
            Command::Flush => {
                shard.flush(clock);
                self.after_line();
            }
            _ => unreachable!("the others are carried out above"),
        }
    }

    fn rules(&mut self, purpose: RulesUse, options: &[(String, Setting)], yaml: &str) {
        let mut settings = if purpose == RulesUse::Start { usual() } else { self.settings.clone() };
        for (name, value) in options {
            match (name.as_str(), *value) {
                ("grace", Setting::Time(time)) => settings.grace = time,
                ("idle_after", Setting::Time(time)) => settings.idle_after = time,
                ("max_skew", Setting::Time(time)) => settings.skew_max = time,
                ("resolve_after", Setting::Time(time)) => settings.resolve_after = time,
                ("memory", Setting::Bytes(bytes)) => settings.memory = bytes,
                _ => panic!("there is no option `{name}={value:?}`"),
            }
        }
        let resolve_after = settings.resolve_after;
        self.settings = settings;
        self.sources.rules = vec![SourceText::new("rules.yaml", yaml)];
        let loaded = load(&self.sources, &LoadOptions { resolve_after, ..LoadOptions::default() });
        for problem in &loaded.diagnostics {
            let text = format!("{} {}: {}", problem.level.as_str(), problem.code, problem.title);
            self.printed.push(text);
        }
        let Some(rules) = loaded.rules.map(Arc::new) else { return };
        let alerting = rules.rules.iter().filter(|rule| rule.meta().alert.is_some()).count();
        self.printed.push(format!("{} rules, {alerting} alert", rules.rules.len()));
        match (purpose, &mut self.engine) {
            (RulesUse::Start, _) => self.begin_anew(rules),
            (RulesUse::Replace, Some(engine)) => {
                engine.epoch += 1;
                engine.rules = Arc::clone(&rules);
                engine.detector.replace_rules(Arc::clone(&rules), engine.epoch);
                let report = engine.shard.replace_rules(self.clock, rules, engine.epoch);
                self.printed.push(format!("kept {}, dropped {}", report.kept, report.dropped));
                self.replaced = true;
            }
            (RulesUse::Restart, Some(engine)) => {
                engine.rules = rules;
                // How many pieces were restored depends on how often there was a checkpoint.
                let RestoreReport { outdated, unusable, .. } = self.restart();
                self.horizon = self.store.horizon().unwrap_or(WallTime::MIN);
                self.printed.push(format!("restored; outdated {outdated}, unusable {unusable}"));
            }
            (_, None) => panic!("begin with `rules`"),
        }
        self.after_line();
    }

    /// A script may tell several stories: each begins with nothing but its lists and schedules.
    fn begin_anew(&mut self, rules: Arc<RuleSet>) {
        let World { way, settings, sources, sources_used, printed, .. } =
            std::mem::replace(self, World::new(self.way));
        let engine = Some(start(rules, &settings));
        *self = World { settings, sources, sources_used, engine, printed, ..World::new(way) };
    }

    /// Ends the process and begins another one with what the store has.
    fn restart(&mut self) -> RestoreReport {
        self.gone = self.counted();
        let engine = self.engine.as_mut().unwrap();
        self.store.take(&mut engine.shard);
        *engine = start(Arc::clone(&engine.rules), &self.settings);
        let report = self.store.give(&mut engine.shard);
        if !self.listening {
            engine.shard.handle_unavailable();
        }
        if self.clock != WallTime::MIN {
            engine.shard.handle_timeout(self.clock);
        }
        report
    }

    /// One batch through detector and shard.
    fn feed(&mut self, records: &[Record]) {
        let Some(first) = records.first() else { return };
        let Some(engine) = &mut self.engine else { panic!("begin with `rules`") };
        let mut now = self.clock;
        let mut batch = RecordBatch { sequence: self.sequence, ..RecordBatch::default() };
        self.sequence += 1;
        for record in records {
            now = record.wall.unwrap_or_else(|| now.max(record.time.as_wall()));
            let offset = i64::try_from(self.sequence).unwrap();
            let (partition, payload) = (partition(record.partition), Some(&*record.payload));
            batch.push_at(&partition, offset, None, record.written, payload);
        }
        self.clock = now;
        let found = engine.detector.detect(now.max(self.horizon), &batch);
        for letter in &found.dead_letters {
            self.printed.push(format!("dead letter {}: {}", letter.reason.as_str(), letter.detail));
        }
        if found.counts.events_from_future > 0 {
            let text = format!("future {}", print::time(first.time));
            self.printed.push(text);
        }
        let late_before = engine.shard.counts().events_late;
        let watermark = engine.shard.watermark();
        engine.shard.handle_batch(now, &found);
        if engine.shard.counts().events_late > late_before
            && let Some(watermark) = watermark
        {
            let behind = print::span(watermark.since(first.time));
            self.printed.push(format!("late {}, by {behind}", print::time(first.time)));
        }
    }

    fn count_lines(&mut self) {
        self.printed = vec![format!("{} lines", self.printed.len())];
    }

    fn tick(&mut self) {
        let Some(engine) = &mut self.engine else { panic!("begin with `rules`") };
        engine.shard.handle_timeout(self.clock);
        self.after_line();
    }

    /// Tells of alerts, and does what the way does behind each line.
    fn after_line(&mut self) {
        self.tell_alerts();
        match self.way {
            Way::Restored if self.engine.is_some() => {
                let RestoreReport { outdated, unusable, .. } = self.restart();
                // What a reload took away may be in the store still; nothing else is ever outdated.
                if unusable > 0 || outdated > 0 && !std::mem::take(&mut self.replaced) {
                    self.printed.push(format!("outdated {outdated}, unusable {unusable}"));
                }
                self.tell_alerts();
            }
            Way::Ticking if self.clock != WallTime::MIN => {
                let clock = self.clock;
                if let Some(engine) = &mut self.engine {
                    engine.shard.handle_timeout(clock);
                    engine.shard.handle_timeout(clock);
                }
                self.tell_alerts();
            }
            _ => {}
        }
    }

    fn tell_alerts(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        while let Some(alert) = engine.shard.poll_alert() {
            self.printed.push(print::alert(&alert, &mut self.begun));
        }
    }

    /// Counters since the script began.
    fn counted(&self) -> Counted {
        let counts = self.engine.as_ref().map_or_else(ShardCounts::default, |e| e.shard.counts());
        let mut sum = self.gone.clone();
        let rules = self.engine.as_ref().map(|engine| Arc::clone(&engine.rules));
        for (name, number) in rules.iter().flat_map(|rules| counters(&counts, rules)) {
            add(&mut sum.numbers, name, number);
        }
        let names = rules.iter().flat_map(|rules| rules.rules.iter().map(Rule::meta));
        for meta in names {
            let number = counts.findings.get(&meta.id).copied().unwrap_or(0);
            add(&mut sum.findings, meta.name.clone(), number);
        }
        sum
    }

    fn tell_counts(&mut self) {
        let now = self.counted();
        let findings = changed(&self.told.findings, &now.findings);
        let numbers = changed(&self.told.numbers, &now.numbers);
        if !findings.is_empty() {
            self.printed.push(format!("findings: {}", findings.join(", ")));
        }
        if !numbers.is_empty() {
            self.printed.push(format!("counted: {}", numbers.join(", ")));
        }
        self.told = now;
    }
}

fn add<N: PartialEq>(sums: &mut Vec<(N, u64)>, name: N, number: u64) {
    match sums.iter_mut().find(|(known, _)| *known == name) {
        Some((_, sum)) => *sum += number,
        None => sums.push((name, number)),
    }
}

fn changed<N: PartialEq + std::fmt::Display>(before: &[(N, u64)], now: &[(N, u64)]) -> Vec<String> {
    now.iter()
        .filter_map(|(name, number)| {
            let known = before.iter().find(|(known, _)| known == name).map_or(0, |(_, n)| *n);
            (*number > known).then(|| format!("{name} {}", number - known))
        })
        .collect()
}

/// What holds unless a script says otherwise.
fn usual() -> EngineSettings {
    EngineSettings { grace: Duration::from_secs(30), ..EngineSettings::default() }
}

fn start(rules: Arc<RuleSet>, settings: &EngineSettings) -> Engine {
    Engine {
        detector: Detector::new(Arc::clone(&rules), 0, settings),
        shard: Shard::new(Arc::clone(&rules), 0, settings.clone()),
        rules,
        epoch: 0,
    }
}

fn partition(number: i32) -> Arc<PartitionName> {
    Arc::new(PartitionName::new("audit", number))
}
