//! Keeps what people did, and says of each alert whether it is told.
//!
//! How to drive it: [`Acts::handle_timeout`] before anything else of that time, [`Acts::note`] for each
//! change of an alert, [`Acts::perform`](super::perform) for each act; then [`Acts::take_muted`] names the
//! alerts that are told otherwise than before.
//!
//! It is told of every alert, since silences may match any of them, and remembers those that ended for
//! [`limits::EPISODE_AGE_MAX`]: they are what a preview looks at, and verdicts come late.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    ActEntry, ActId, AlertName, Episode, EpisodeKey, Silence, SilenceId, SilencePhase,
    reminder::{self, Reminder},
    state_key::{ActStateKey, Done},
};
use crate::engine::{
    alert::{Alert, AlertState, Fingerprint},
    dispatch::Handling,
    limits,
    rule::Severity,
    state::StateChange,
    time::{EventTime, WallTime},
};

/// What keeps an alert from being told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mute {
    /// A silence hides it.
    pub is_silenced: bool,
    /// Somebody takes care of it: it is not repeated as long as it is no graver than this.
    pub acknowledged: Option<Severity>,
    /// What people did about it, as its messages show it.
    pub handling: Handling,
}

/// Something that people see is other than before.
#[derive(Clone, Debug)]
pub enum ActNews {
    /// A silence as it is now.
    Silence(Arc<Silence>),
    /// A silence that is not remembered any more.
    SilenceForgotten(SilenceId),
    /// An episode as it is now.
    Episode(Arc<Episode>),
    /// An episode that is not remembered any more.
    EpisodeForgotten(EpisodeKey),
}

/// Everything counted since start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActsCounts {
    /// Acts that were done, by their word.
    pub done: BTreeMap<&'static str, u64>,
    /// Acts that were sent again.
    pub again: u64,
    /// Acts that were refused, by why.
    pub refused: BTreeMap<&'static str, u64>,
    /// Episodes that were forgotten at a limit, before their time.
    pub episodes_dropped: u64,
}

/// What has to be looked at when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Silence(SilenceId),
    Episode(EpisodeKey),
    Done(ActId),
}

/// What of it people see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    Silence(SilenceId),
    Episode(EpisodeKey),
}

/// What people did.
#[derive(Debug, Default)]
pub struct Acts {
    pub(super) episodes: BTreeMap<EpisodeKey, Arc<Episode>>,
    /// Those that fire.
    pub(super) firing: BTreeSet<EpisodeKey>,
    /// Those of them that a silence hides.
    silenced: BTreeSet<EpisodeKey>,
    pub(super) silences: BTreeMap<SilenceId, Arc<Silence>>,
    pub(super) done: BTreeMap<ActId, Done>,
    /// Bytes of all deeds, about.
    pub(super) deed_bytes: usize,
    pub(super) counts: ActsCounts,
    pub(super) entries: Vec<ActEntry>,
    timers: BTreeSet<(WallTime, Timer)>,
    /// When each silence is looked at; in the timers too.
    looks: BTreeMap<SilenceId, WallTime>,
    dirty: BTreeSet<ActStateKey>,
    seen: BTreeSet<Seen>,
    muted: BTreeSet<Fingerprint>,
    alerts: Vec<Alert>,
}

impl Acts {
    // ---- questions ----

    /// What keeps an alert from being told now.
    pub fn mute(&self, fingerprint: Fingerprint) -> Mute {
        let episode = self.firing_of(fingerprint).and_then(|key| self.episodes.get(&key));
        episode.map_or_else(Mute::default, |episode| Mute {
            is_silenced: !episode.silenced_by.is_empty(),
            acknowledged: episode.acknowledged().map(|deed| deed.severity),
            handling: episode.handling(
                episode.silenced_by.first().and_then(|id| self.silences.get(id)).map(|one| &**one),
            ),
        })
    }

    /// An episode, if it is remembered.
    pub fn episode(&self, key: EpisodeKey) -> Option<&Arc<Episode>> {
        self.episodes.get(&key)
    }

    /// All episodes that are remembered, by fingerprint and start.
    pub fn episodes(&self) -> impl Iterator<Item = &Arc<Episode>> {
        self.episodes.values()
    }

    /// All silences that are remembered.
    pub fn silences(&self) -> impl Iterator<Item = &Arc<Silence>> {
        self.silences.values()
    }

    /// How many silences hide what matches.
    pub fn active_count(&self) -> usize {
        let is_active = |silence: &&Arc<Silence>| silence.phase == SilencePhase::Active;
        self.silences.values().filter(is_active).count()
    }

    /// How many alerts fire and are silenced.
    pub fn silenced_count(&self) -> usize {
        self.silenced.len()
    }

    /// Everything counted since start.
    pub const fn counts(&self) -> &ActsCounts {
        &self.counts
    }

    /// The episode of an alert that fires.
    pub(super) fn firing_of(&self, fingerprint: Fingerprint) -> Option<EpisodeKey> {
        let key = |starts_at| EpisodeKey { fingerprint, starts_at };
        self.firing.range(key(EventTime::MIN)..=key(EventTime::MAX)).next_back().copied()
    }

    /// The episode that a name stands for.
    pub(super) fn named(&self, name: AlertName) -> Option<EpisodeKey> {
        let key = |starts_at| EpisodeKey { fingerprint: name.fingerprint, starts_at };
        match name.starts_at {
            Some(starts_at) => Some(key(starts_at)).filter(|key| self.episodes.contains_key(key)),
            None => self.firing_of(name.fingerprint).or_else(|| {
                let all = key(EventTime::MIN)..=key(EventTime::MAX);
                self.episodes.range(all).next_back().map(|(key, _)| *key)
            }),
        }
    }

    // ---- alerts ----

    /// Takes a change of an alert. Cost: all silences that are active, if it begins or its labels changed.
    pub fn note(&mut self, now: WallTime, alert: &Alert) {
        let key = EpisodeKey::of(alert);
        if alert.state == AlertState::Resolved {
            // One that was about to be told as old may have been shown under another start.
            let firing = Some(key).filter(|key| self.firing.contains(key));
            if let Some(key) = firing.or_else(|| self.firing_of(alert.fingerprint)) {
                self.change(key, |episode| {
                    episode.labels.clone_from(&alert.labels);
                    episode.severity = alert.severity;
                });
                self.end(now, key);
            }
            return;
        }
        if let Some(before) = self.firing_of(alert.fingerprint).filter(|before| *before != key) {
            self.end(now, before);
        }
        match self.episodes.get(&key) {
            None => self.begin(now, alert),
            Some(known) if known.is_firing() && known.labels == alert.labels => {}
            Some(known) => {
                let is_again = !known.is_firing();
                self.change(key, |episode| {
                    episode.labels.clone_from(&alert.labels);
                    episode.severity = alert.severity;
                    episode.ended = None;
                });
                if is_again {
                    self.firing.insert(key);
                    // Whatever hid it then hides it anew.
                    self.change(key, |episode| episode.silenced_by.clear());
                }
                self.match_silences(now, key);
                self.muted.insert(key.fingerprint);
            }
        }
    }

    fn begin(&mut self, now: WallTime, alert: &Alert) {
        let key = EpisodeKey::of(alert);
        if self.firing.len() >= limits::ALERTS_MAX {
            self.counts.episodes_dropped += 1;
            return;
        }
        self.episodes.insert(key, Arc::new(Episode::begun(now, alert)));
        self.firing.insert(key);
        self.changed(key);
        self.match_silences(now, key);
    }

    /// The episode fires no longer.
    pub fn end(&mut self, now: WallTime, key: EpisodeKey) {
        if !self.firing.remove(&key) {
            return;
        }
        self.change(key, |episode| episode.ended = Some(now));
        let hidden = self.episodes.get(&key).map(|episode| episode.silenced_by.clone());
        for silence in hidden.unwrap_or_default() {
            self.hides(now, silence, |silence| {
                silence.hiding_count = silence.hiding_count.saturating_sub(1);
            });
        }
        self.timers.insert((now.plus(limits::EPISODE_AGE_MAX), Timer::Episode(key)));
        self.drop_surplus();
    }

    /// Forgets what ended first, if too much is remembered of what ended.
    fn drop_surplus(&mut self) {
        if self.episodes.len() - self.firing.len() <= limits::ENDED_EPISODES_MAX {
            return;
        }
        let first = self.timers.iter().find_map(|(_, timer)| match timer {
            Timer::Episode(key) if !self.firing.contains(key) => Some(*key),
            _ => None,
        });
        if let Some(key) = first {
            self.counts.episodes_dropped += 1;
            self.forget(key);
        }
    }

    fn forget(&mut self, key: EpisodeKey) {
        let Some(episode) = self.episodes.remove(&key) else { return };
        if let Some(ended) = episode.ended {
            self.timers.remove(&(ended.plus(limits::EPISODE_AGE_MAX), Timer::Episode(key)));
        }
        for (number, deed) in episode.deeds.iter().enumerate() {
            self.deed_bytes = self.deed_bytes.saturating_sub(deed.bytes());
            self.dirty.insert(ActStateKey::deed(key, number));
        }
        self.changed(key);
    }

    pub(super) fn change<R>(
        &mut self,
        key: EpisodeKey,
        change: impl FnOnce(&mut Episode) -> R,
    ) -> Option<R> {
        let result = change(Arc::make_mut(self.episodes.get_mut(&key)?));
        self.changed(key);
        Some(result)
    }

    /// Whether an alert fires and is silenced.
    fn is_silenced(&self, key: EpisodeKey) -> bool {
        let is_it = |episode: &Arc<Episode>| episode.is_firing() && !episode.silenced_by.is_empty();
        self.episodes.get(&key).is_some_and(is_it)
    }

    fn changed(&mut self, key: EpisodeKey) {
        if self.is_silenced(key) {
            self.silenced.insert(key);
        } else {
            self.silenced.remove(&key);
        }
        self.dirty.insert(ActStateKey::Episode(key));
        self.seen.insert(Seen::Episode(key));
    }

    /// One more deed was done with an episode.
    pub(super) fn added_deed(&mut self, key: EpisodeKey, number: usize) {
        self.dirty.insert(ActStateKey::deed(key, number));
        self.muted.insert(key.fingerprint);
    }

    // ---- silences ----

    /// Finds the silences that hide an episode now.
    fn match_silences(&mut self, now: WallTime, key: EpisodeKey) {
        let Some(episode) = self.episodes.get(&key) else { return };
        let active = self.silences.values().filter(|one| one.phase == SilencePhase::Active);
        let silences: Vec<SilenceId> =
            active.filter(|one| one.is_about(episode)).map(|one| one.id).collect();
        let before = episode.silenced_by.clone();
        if self.change_hidden(key, &silences) {
            for silence in silences.iter().filter(|silence| !before.contains(silence)) {
                self.hides(now, *silence, |silence| {
                    silence.hiding_count += 1;
                    silence.hidden_count += 1;
                });
            }
            for silence in before.iter().filter(|silence| !silences.contains(silence)) {
                self.hides(now, *silence, |silence| {
                    silence.hiding_count = silence.hiding_count.saturating_sub(1);
                });
            }
        }
    }

    fn change_hidden(&mut self, key: EpisodeKey, silences: &[SilenceId]) -> bool {
        let Some(episode) = self.episodes.get_mut(&key) else { return false };
        if episode.silenced_by == silences {
            return false;
        }
        Arc::make_mut(episode).hide(silences.to_vec());
        self.changed(key);
        self.muted.insert(key.fingerprint);
        true
    }

    /// A silence begins or ceases to hide something.
    fn hides(&mut self, now: WallTime, id: SilenceId, change: impl FnOnce(&mut Silence)) {
        self.change_silence(id, |silence| {
            change(silence);
            silence.hid_at = now;
        });
        self.end_idleness(now, id);
        self.set_timer(id);
    }

    /// Looks for everything that a silence hides, or hid until now.
    pub(super) fn match_all(&mut self, now: WallTime, id: SilenceId) {
        let Some(silence) = self.silences.get(&id).cloned() else { return };
        let is_active = silence.phase == SilencePhase::Active;
        let firing = self.firing.iter().filter_map(|key| self.episodes.get(key));
        let touched: Vec<EpisodeKey> = firing
            .filter(|episode| {
                let is_hidden = episode.silenced_by.contains(&id);
                if is_active { silence.is_about(episode) } else { is_hidden }
            })
            .map(|episode| episode.key)
            .collect();
        for key in touched {
            self.match_silences(now, key);
        }
    }

    pub(super) fn change_silence(&mut self, id: SilenceId, change: impl FnOnce(&mut Silence)) {
        if let Some(silence) = self.silences.get_mut(&id) {
            change(Arc::make_mut(silence));
            self.changed_silence(id);
        }
    }

    fn changed_silence(&mut self, id: SilenceId) {
        self.dirty.insert(ActStateKey::Silence(id));
        self.seen.insert(Seen::Silence(id));
    }

    /// Puts a new silence in force, or lets it wait for its start.
    pub(super) fn put_silence(&mut self, now: WallTime, silence: Silence) {
        let id = silence.id;
        self.silences.insert(id, Arc::new(silence));
        self.changed_silence(id);
        self.look_at(now, id);
    }

    /// Ends a silence; what still fires is told.
    pub(super) fn expire(&mut self, now: WallTime, id: SilenceId) {
        self.change_silence(id, |silence| {
            silence.phase = SilencePhase::Expired;
            silence.ends_at = silence.ends_at.min(now).max(silence.made_at);
        });
        self.match_all(now, id);
        self.end_reminders(now, id);
        self.drop_expired();
        self.set_timer(id);
    }

    /// Forgets those that ended first, if too many that ended are remembered.
    fn drop_expired(&mut self) {
        let expired = self.silences.values().filter(|one| one.phase == SilencePhase::Expired);
        let mut expired: Vec<(WallTime, SilenceId)> =
            expired.map(|silence| (silence.ends_at, silence.id)).collect();
        expired.sort_unstable();
        let surplus = expired.len().saturating_sub(limits::EXPIRED_SILENCES_MAX);
        for (_, id) in expired.into_iter().take(surplus) {
            self.forget_silence(id);
        }
    }

    fn forget_silence(&mut self, id: SilenceId) {
        self.silences.remove(&id);
        self.set_timer(id);
        self.changed_silence(id);
    }

    /// When a silence has to be looked at next.
    fn set_timer(&mut self, id: SilenceId) {
        if let Some(at) = self.looks.remove(&id) {
            self.timers.remove(&(at, Timer::Silence(id)));
        }
        if let Some(at) = self.silences.get(&id).map(|silence| reminder::look_at(silence)) {
            self.timers.insert((at, Timer::Silence(id)));
            self.looks.insert(id, at);
        }
    }

    fn look_at(&mut self, now: WallTime, id: SilenceId) {
        let Some(silence) = self.silences.get(&id).cloned() else { return };
        match silence.phase {
            SilencePhase::Pending if silence.starts_at <= now => {
                self.change_silence(id, |silence| {
                    silence.phase = SilencePhase::Active;
                    silence.hid_at = now;
                });
                self.match_all(now, id);
            }
            SilencePhase::Active if silence.ends_at <= now => {
                self.entries.push(ActEntry::of_expiry(&silence));
                self.expire(now, id);
                return;
            }
            SilencePhase::Active => self.remind(now, &silence),
            SilencePhase::Expired if reminder::look_at(&silence) <= now => {
                self.forget_silence(id);
                return;
            }
            SilencePhase::Pending | SilencePhase::Expired => {}
        }
        self.set_timer(id);
    }

    // ---- reminders ----

    fn remind(&mut self, now: WallTime, silence: &Silence) {
        let id = silence.id;
        for reminder in Reminder::ALL {
            if reminder.told_at(silence).is_none() && reminder.due(silence) <= now {
                self.change_silence(id, |silence| reminder.set_told(silence, Some(now)));
                self.alerts.push(reminder.alert(now, silence));
            }
        }
    }

    fn end_idleness(&mut self, now: WallTime, id: SilenceId) {
        self.end_reminder(now, id, Reminder::Idle);
    }

    fn end_reminders(&mut self, now: WallTime, id: SilenceId) {
        for reminder in Reminder::ALL {
            self.end_reminder(now, id, reminder);
        }
    }

    fn end_reminder(&mut self, now: WallTime, id: SilenceId, reminder: Reminder) {
        let Some(silence) = self.silences.get(&id).cloned() else { return };
        if let Some(told_at) = reminder.told_at(&silence) {
            self.change_silence(id, |silence| reminder.set_told(silence, None));
            self.alerts.push(reminder.alert(told_at, &silence).ended(now));
        }
    }

    // ---- acts that were done ----

    /// Remembers that an act was done.
    pub(super) fn remember(&mut self, act: ActId, done: Done) {
        self.timers.insert((done.at.plus(limits::EPISODE_AGE_MAX), Timer::Done(act)));
        self.dirty.insert(ActStateKey::Done(act));
        self.done.insert(act, done);
        if self.done.len() > limits::ACTS_REMEMBERED_MAX {
            let first = self.timers.iter().find_map(|(_, timer)| match timer {
                Timer::Done(act) => Some(*act),
                _ => None,
            });
            if let Some(act) = first {
                self.forget_act(act);
            }
        }
    }

    fn forget_act(&mut self, act: ActId) {
        if let Some(done) = self.done.remove(&act) {
            self.timers.remove(&(done.at.plus(limits::EPISODE_AGE_MAX), Timer::Done(act)));
            self.dirty.insert(ActStateKey::Done(act));
        }
    }

    // ---- time ----

    /// When [`Acts::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<WallTime> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Begins and ends silences, reminds their owners, forgets what is long over. Safe to call early or
    /// twice.
    pub fn handle_timeout(&mut self, now: WallTime) {
        while let Some((at, timer)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Silence(id) => self.look_at(now, id),
                Timer::Done(act) => self.forget_act(act),
                Timer::Episode(key) if !self.firing.contains(&key) => self.forget(key),
                // It fires again.
                Timer::Episode(_) => {}
            }
        }
    }

    // ---- what comes of it ----

    /// Alerts for the owners of silences.
    pub fn take_alerts(&mut self) -> Vec<Alert> {
        std::mem::take(&mut self.alerts)
    }

    /// The alerts that are told otherwise than when this was last asked, or may be.
    pub fn take_muted(&mut self) -> BTreeSet<Fingerprint> {
        std::mem::take(&mut self.muted)
    }

    /// What is to be written down, in order.
    pub fn take_entries(&mut self) -> Vec<ActEntry> {
        std::mem::take(&mut self.entries)
    }

    /// What people see otherwise than when this was last asked.
    pub fn take_news(&mut self) -> Vec<ActNews> {
        let news = |seen| match seen {
            Seen::Silence(id) => match self.silences.get(&id) {
                Some(silence) => ActNews::Silence(Arc::clone(silence)),
                None => ActNews::SilenceForgotten(id),
            },
            Seen::Episode(key) => match self.episodes.get(&key) {
                Some(episode) => ActNews::Episode(Arc::clone(episode)),
                None => ActNews::EpisodeForgotten(key),
            },
        };
        std::mem::take(&mut self.seen).into_iter().map(news).collect()
    }

    /// Adds what changed since the last call, for the next checkpoint.
    pub fn take_changes(&mut self, out: &mut Vec<StateChange>) {
        for key in std::mem::take(&mut self.dirty) {
            out.push(key.change(self));
        }
    }

    /// Puts timers and counts in order after a restore. Nothing of it is news but to people who see it.
    pub(super) fn restored(&mut self) {
        let ended =
            self.episodes.values().filter_map(|episode| Some((episode.ended?, episode.key)));
        let ended: Vec<_> = ended.collect();
        for (at, key) in ended {
            self.timers.insert((at.plus(limits::EPISODE_AGE_MAX), Timer::Episode(key)));
        }
        let done: Vec<_> = self.done.iter().map(|(act, done)| (done.at, *act)).collect();
        for (at, act) in done {
            self.timers.insert((at.plus(limits::EPISODE_AGE_MAX), Timer::Done(act)));
        }
        self.firing =
            self.episodes.values().filter(|one| one.is_firing()).map(|one| one.key).collect();
        let deeds = self.episodes.values().flat_map(|episode| &episode.deeds);
        self.deed_bytes = deeds.map(|deed| deed.bytes()).sum();
        let silences = &self.silences;
        for key in &self.firing {
            let Some(episode) = self.episodes.get_mut(key) else { continue };
            let hides = |id: &&SilenceId| {
                let silence = silences.get(*id);
                silence
                    .is_some_and(|one| one.phase == SilencePhase::Active && one.is_about(episode))
            };
            // Nobody could end a silence that could not be read; earlier versions silenced what measures the way.
            let hidden_by: Vec<SilenceId> =
                episode.silenced_by.iter().filter(hides).copied().collect();
            if hidden_by != episode.silenced_by {
                Arc::make_mut(episode).silenced_by = hidden_by;
            }
        }
        self.silenced = self.firing.iter().copied().filter(|key| self.is_silenced(*key)).collect();
        let mut hiding: BTreeMap<SilenceId, u64> = BTreeMap::new();
        for episode in self.firing.iter().filter_map(|key| self.episodes.get(key)) {
            for silence in &episode.silenced_by {
                *hiding.entry(*silence).or_default() += 1;
            }
        }
        let ids: Vec<SilenceId> = self.silences.keys().copied().collect();
        for id in ids {
            if let Some(silence) = self.silences.get_mut(&id) {
                Arc::make_mut(silence).hiding_count = hiding.get(&id).copied().unwrap_or(0);
            }
            self.set_timer(id);
        }
    }
}
