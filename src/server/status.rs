//! What the process knows about itself, for health, API and the console.
//!
//! The app writes, the server reads. Everything in it is bounded by configuration, by the number of
//! partitions, or by the engine's limit of firing alerts.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hashbrown::HashSet;
use tokio::sync::Semaphore;

use super::{news::News, row::Episode};
use crate::engine::{
    act::{self, ActNews, Acts, AlertName, EpisodeKey, Silence, SilenceId},
    alert::{Alert, AlertState, Fingerprint},
    dispatch::ReceiverState,
    record::{PartitionName, Position},
    rule::RuleSet,
    time::{EventTime, WallTime},
    words::words,
};

words! {
    /// How one part of the process is.
    pub enum Health {
        /// Does its work.
        Ok = "ok",
        /// Has trouble that others do not suffer from, such as one receiver that is away.
        Degraded = "degraded",
        /// Not there yet.
        Starting = "starting",
        /// Cannot work at the moment; it goes on trying.
        Down = "down",
        /// Will not work again without a restart.
        Failed = "failed",
    }
}

impl Health {
    /// Whether the process can do its job while a part is so.
    pub const fn is_ready(self) -> bool {
        matches!(self, Health::Ok | Health::Degraded)
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How long an attempt may be under way before its receiver is shown as one that takes nothing: 1 minute.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// Streams that are open at once: 256, at some kB each. One more is told to come back.
const STREAMS_MAX: usize = 256;

/// One part of the process, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// How it is.
    pub health: Health,
    /// Why, for people; may be empty if all is well.
    pub detail: String,
    /// Since when it is so.
    pub since: WallTime,
    /// When that was last logged.
    pub(super) logged: WallTime,
}

/// How often it is said again that a part is in trouble: every 10 min.
const REMINDER: Duration = Duration::from_secs(600);

/// Where one partition stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PartitionStatus {
    pub(super) next_offset: Option<i64>,
    pub(super) lag: Option<i64>,
}

/// What the last attempt to load rules came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReloadStatus {
    pub(super) at: WallTime,
    /// The diagnostics, if it failed.
    pub(super) problems: Option<String>,
}

/// What playing the tests of rule files came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleTests {
    /// Of which rule set.
    pub version: String,
    /// When they were played.
    pub at: WallTime,
    /// By the path of the rule file, as the names of sources have it.
    pub files: BTreeMap<String, FileTests>,
    /// Why none was played; empty if they were.
    pub problem: String,
}

/// The tests of one rule file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileTests {
    /// How many passed.
    pub passed: usize,
    /// How many failed.
    pub failed: usize,
    /// Names of those that failed, some of them.
    pub failures: Vec<String>,
}

/// The state of the process, shared.
pub struct Status {
    started_at: WallTime,
    inner: RwLock<Inner>,
    /// Counts up with every change of what lists of alerts show.
    changes: AtomicU64,
    /// What fires, as lists show it, and as of which of these changes.
    firing: Mutex<(u64, Firing)>,
    /// What changed a moment ago.
    pub(super) news: News,
    /// Room for streams of it.
    pub(super) streams: Arc<Semaphore>,
}

/// What fires, as lists show it, the worst first, and the latest of these. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Firing {
    /// Lines of lists.
    pub(super) lines: Arc<[Arc<Episode>]>,
    keys: Arc<HashSet<EpisodeKey>>,
}

impl Firing {
    /// Whether an episode is among them.
    pub(super) fn has(&self, key: &EpisodeKey) -> bool {
        self.keys.contains(key)
    }
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) components: BTreeMap<String, Component>,
    pub(super) rules: Arc<RuleSet>,
    pub(super) reload: Option<ReloadStatus>,
    pub(super) rule_tests: Option<Arc<RuleTests>>,
    pub(super) alerts: BTreeMap<Fingerprint, Alert>,
    /// The same, as lists show it: made when one changes, so that nobody who changes another waits until all are made.
    lines: BTreeMap<Fingerprint, Arc<Episode>>,
    pub(super) silences: BTreeMap<SilenceId, Arc<Silence>>,
    /// What people did about alerts that fire, or did in the last days.
    pub(super) episodes: BTreeMap<EpisodeKey, Arc<act::Episode>>,
    pub(super) partitions: BTreeMap<PartitionName, PartitionStatus>,
    pub(super) watermark: Option<EventTime>,
}

impl Status {
    /// All of `components` starting; the process is ready when each of them is.
    pub fn new(components: &[&str]) -> Status {
        let status = Status {
            started_at: now(),
            inner: RwLock::default(),
            changes: AtomicU64::new(1),
            firing: Mutex::default(),
            news: News::default(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        };
        for name in components {
            status.set_component(name, Health::Starting, "not started yet");
        }
        status
    }

    /// How a part of the process is now. A change is also logged, and trouble that lasts now and then.
    pub fn set_component(&self, name: &str, health: Health, detail: &str) {
        let mut inner = self.write();
        let before = inner.components.get(name);
        if before.is_some_and(|known| known.health == health && known.detail == detail) {
            return;
        }
        let changed = before.is_none_or(|known| known.health != health);
        let (since, mut logged) =
            before.filter(|_| !changed).map_or((now(), now()), |known| (known.since, known.logged));
        let is_due = now().since(logged) >= REMINDER;
        if is_due {
            logged = now();
        }
        let component = Component { health, detail: detail.to_owned(), since, logged };
        inner.components.insert(name.to_owned(), component);
        drop(inner);
        match health {
            Health::Degraded | Health::Down if is_due && !changed => {
                let minutes = now().since(since).as_secs() / 60;
                tracing::warn!(component = name, minutes, "{name} is still {health}: {detail}");
            }
            _ if !changed => {}
            Health::Ok => tracing::info!(component = name, "{name} is ok: {detail}"),
            Health::Starting => tracing::debug!(component = name, "{name} is starting: {detail}"),
            Health::Degraded | Health::Down => {
                tracing::warn!(component = name, "{name} is {health}: {detail}");
            }
            Health::Failed => tracing::error!(component = name, "{name} failed: {detail}"),
        }
    }

    /// How a receiver does, or one of its recipients. Others do not suffer from its trouble.
    pub fn receiver(&self, state: &ReceiverState<'_>, now: WallTime) {
        let name = format!("receiver {}", state.name);
        // An attempt that is under way is nothing yet; one that hangs is.
        let has_failed = state.is_in_trouble || !state.words.is_empty();
        let is_overdue = |since: &WallTime| has_failed || now.since(*since) >= HANGS_AFTER;
        match state.failing_since.filter(is_overdue) {
            None => self.set_component(&name, Health::Ok, "nothing is overdue"),
            Some(since) => {
                let minutes = now.since(since).as_secs() / 60;
                let words = if state.words.is_empty() { "no answer yet" } else { state.words };
                let detail = format!("takes nothing for {minutes} min; {words}");
                self.set_component(&name, Health::Degraded, &detail);
            }
        }
    }

    /// Every part with its state, by name.
    pub fn components(&self) -> BTreeMap<String, Component> {
        self.read().components.clone()
    }

    /// Whether every part is ready.
    pub fn is_ready(&self) -> bool {
        self.read().components.values().all(|component| component.health.is_ready())
    }

    /// These rules are in use.
    pub fn rules_loaded(&self, rules: Arc<RuleSet>) {
        let mut inner = self.write();
        inner.rules = rules;
        inner.reload = Some(ReloadStatus { at: now(), problems: None });
    }

    /// The tests of rule files were played.
    pub fn tests_played(&self, tests: RuleTests) {
        self.write().rule_tests = Some(Arc::new(tests));
    }

    /// A reload failed; the rules before it stay in use. `problems` are the rendered diagnostics.
    pub fn reload_failed(&self, problems: &str) {
        self.write().reload = Some(ReloadStatus { at: now(), problems: Some(problems.to_owned()) });
    }

    /// An alert began, changed or resolved; also for each alert that was restored at start.
    pub fn alert_changed(&self, alert: &Alert) {
        let shown =
            (alert.state == AlertState::Firing).then(|| (alert.clone(), Episode::of_alert(alert)));
        let mut inner = self.write();
        if let Some((alert, mut line)) = shown {
            line.acts = inner.episodes.get(&EpisodeKey::of(&alert)).cloned();
            inner.lines.insert(alert.fingerprint, Arc::new(line));
            inner.alerts.insert(alert.fingerprint, alert);
        } else {
            inner.alerts.remove(&alert.fingerprint);
            inner.lines.remove(&alert.fingerprint);
        }
        let firing = inner.alerts.len();
        drop(inner);
        self.changed();
        self.news.push(alert, firing);
    }

    /// What an earlier process knew of silences and of what people did.
    pub fn acts_restored(&self, acts: &Acts) {
        let mut inner = self.write();
        inner.silences = acts.silences().map(|one| (one.id, Arc::clone(one))).collect();
        inner.episodes = acts.episodes().map(|one| (one.key, Arc::clone(one))).collect();
        let keys: Vec<EpisodeKey> = inner.episodes.keys().copied().collect();
        for key in keys {
            inner.show_acts(key);
        }
        drop(inner);
        self.changed();
    }

    /// Silences, or what people did about alerts, are otherwise than before.
    pub fn acts_changed(&self, news: Vec<ActNews>) {
        let mut inner = self.write();
        for news in news {
            match news {
                ActNews::Silence(silence) => drop(inner.silences.insert(silence.id, silence)),
                ActNews::SilenceForgotten(id) => drop(inner.silences.remove(&id)),
                ActNews::Episode(episode) => {
                    let key = episode.key;
                    inner.episodes.insert(key, episode);
                    inner.show_acts(key);
                }
                ActNews::EpisodeForgotten(key) => {
                    inner.episodes.remove(&key);
                    inner.show_acts(key);
                }
            }
        }
        drop(inner);
        self.changed();
    }

    /// All silences, those that are over included as long as they are remembered.
    pub fn silences(&self) -> Vec<Arc<Silence>> {
        self.read().silences.values().cloned().collect()
    }

    /// What people did about an alert: of its episode that fires, else of the latest. `None` if it never
    /// fired, or ended long ago.
    pub fn acts(&self, fingerprint: Fingerprint) -> Option<Arc<act::Episode>> {
        let key = |starts_at| EpisodeKey { fingerprint, starts_at };
        let inner = self.read();
        let all = inner.episodes.range(key(EventTime::MIN)..=key(EventTime::MAX));
        let latest_first = || all.clone().rev().map(|(_, episode)| episode);
        latest_first().find(|one| one.is_firing()).or_else(|| latest_first().next()).cloned()
    }

    /// What people did about one episode of an alert.
    pub fn acts_of(&self, key: EpisodeKey) -> Option<Arc<act::Episode>> {
        self.read().episodes.get(&key).cloned()
    }

    /// The episode that somebody names.
    pub fn episode(&self, name: AlertName) -> Option<Arc<act::Episode>> {
        match name.starts_at {
            Some(starts_at) => {
                self.acts_of(EpisodeKey { fingerprint: name.fingerprint, starts_at })
            }
            None => self.acts(name.fingerprint),
        }
    }

    /// All episodes that are remembered. Cost: a pointer each, for a moment under the lock.
    pub fn episodes(&self) -> Vec<Arc<act::Episode>> {
        self.read().episodes.values().cloned().collect()
    }

    /// What fires, as lists show it. Cost: all that fires, once after a change of any; a pointer each under the lock.
    pub(super) fn firing(&self) -> Firing {
        let change = self.changes.load(Ordering::Acquire);
        let mut known = self.firing.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != change {
            let mut lines: Vec<(Fingerprint, Arc<Episode>)> = {
                let inner = self.read();
                inner.lines.iter().map(|(key, line)| (*key, Arc::clone(line))).collect()
            };
            let key = |(fingerprint, line): &(Fingerprint, Arc<Episode>)| EpisodeKey {
                fingerprint: *fingerprint,
                starts_at: line.starts_at,
            };
            let keys = Arc::new(lines.iter().map(key).collect());
            lines.sort_by_key(|(fingerprint, line)| {
                (Reverse(line.severity), Reverse(line.last_seen), *fingerprint)
            });
            let lines = lines.into_iter().map(|(_, line)| line).collect();
            *known = (change, Firing { lines, keys });
        }
        known.1.clone()
    }

    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// How many alerts fire.
    pub fn alerts_firing(&self) -> usize {
        self.read().alerts.len()
    }

    /// Where partitions stand after a checkpoint.
    pub fn set_positions(&self, positions: &[Position]) {
        let mut inner = self.write();
        for position in positions {
            let partition = inner.partitions.entry((*position.partition).clone()).or_default();
            partition.next_offset = Some(position.next_offset);
        }
    }

    /// Records between our position and the end of a partition.
    /// `None`: it is not known.
    pub fn set_lag(&self, partition: &PartitionName, records: Option<i64>) {
        self.write().partitions.entry(partition.clone()).or_default().lag = records;
    }

    /// The partitions of a source, as far as something was told of them.
    pub fn partitions_of(&self, source: Option<&Arc<str>>) -> Vec<Arc<PartitionName>> {
        let inner = self.read();
        let of_source = |name: &&PartitionName| name.source.as_ref() == source;
        inner.partitions.keys().filter(of_source).cloned().map(Arc::new).collect()
    }

    /// How far the stream has come.
    pub fn set_watermark(&self, watermark: EventTime) {
        self.write().watermark = Some(watermark);
    }

    pub(super) fn started_at(&self) -> WallTime {
        self.started_at
    }

    /// Nobody panics while holding the lock, and if somebody did, old news are better than none.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// What people did about an episode shows on the line of its alert, if it is the one that fires.
    fn show_acts(&mut self, key: EpisodeKey) {
        let acts = self.episodes.get(&key).cloned();
        if let Some(line) = self.lines.get_mut(&key.fingerprint)
            && line.starts_at == key.starts_at
        {
            Arc::make_mut(line).acts = acts;
        }
    }
}

/// The operator's clock.
pub(super) fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
