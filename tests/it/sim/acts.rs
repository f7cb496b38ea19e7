//! People act at random while alerts come and go, the store fails, and the process dies between any two steps.
//!
//! What must hold:
//! - An act that was answered is there after any crash, once; one that was sent again is not done again.
//! - Nobody is told that an alert fires while a silence that was answered hides it.
//! - An alert that somebody has taken is not repeated until it is graver.
//! - A machine never hears of an end whose beginning it was not told.
//! - A message that can be edited shows in the end what people did; nobody is told anything new by that, or it by nobody else.
//! - In the end, when no silence runs and no fault is left, whatever fires was told to everybody.
//!
//! It drives the engine's own coordinator, with alerts that no rule makes: what rules find is for the rest of the simulator.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use memchr::memmem;
use tripline::{
    engine::{
        act::{
            Act, ActId, AlertName, Answer, Deed, DeedKind, Episode, EpisodeKey, NewSilence, Person,
            SilenceEnd, SilenceId, SilencePhase, Verdict, What,
        },
        alert::{Alert, AlertState, Fingerprint},
        coordinator::{Coordinator, CoordinatorSettings, Effect, Input},
        dispatch::{
            Audience, DispatchPlan, GroupBy, Grouping, HANDLING, Matcher, Notification,
            NotifierPlan, NotifyReason, Outcome, OutcomeReason, Receipt, ReceiverPlan, Route,
        },
        rule::Severity,
        state::{StateEntry, StateTable},
        time::WallTime,
    },
    store::{Store as _, memory::MemoryStore},
};

use super::{
    checkers::brief,
    narrate, number,
    rng::Rng,
    rules::{rule_sets, settings},
    world::SECOND,
};

/// When it begins: 2026-01-05T09:00:00Z.
const BEGINNING: i64 = 1_767_603_600_000_000;

/// Seeds that are run each time.
const SEEDS: u64 = 200;

/// Steps of one seed.
const STEPS: u32 = 300;

/// How long all of it may take, in microseconds: a day.
const REST_MAX: i64 = 86_400 * SECOND;

const USERS: [&str; 3] = ["eve", "bob", "tom"];
const PEOPLE: [&str; 2] = ["ann", "kim"];
const RECEIVERS: [&str; 3] = ["chat", "pages", "slack"];

/// How keys of groups begin under which stands what is owed.
const OWED: u8 = b'o';

/// An act that was sent, and what is known of it.
#[derive(Clone, Debug)]
struct Sent {
    act: Act,
    /// It was answered: it is there for ever.
    is_answered: bool,
    /// The episodes or the silence that the answer named, and when it began.
    alerts: Vec<EpisodeKey>,
    silence: Option<SilenceId>,
    began_at: WallTime,
}

struct Shop {
    rng: Rng,
    now: i64,
    coordinator: Coordinator,
    store: MemoryStore,
    effects: VecDeque<Effect>,
    /// Attempts under way, with when they began.
    flights: Vec<(i64, Arc<Notification>)>,
    is_disk_down: bool,
    alerts: BTreeMap<&'static str, Alert>,
    /// When alerts of users ended.
    ends: BTreeSet<(&'static str, WallTime)>,
    sent: BTreeMap<u64, Sent>,
    ticket: u64,
    /// Silences that may have been ended, or whose end nobody was answered.
    ended: BTreeSet<SilenceId>,
    /// What each receiver was told last: that it fires, or that it ended.
    told: BTreeMap<(String, Fingerprint), AlertState>,
    /// Of which each receiver may have been told that they fire: an attempt that said so was begun, or may have
    /// been just before the process died.
    handed_out: BTreeSet<(String, Fingerprint)>,
    /// What the message in Slack shows of what people did with each alert.
    shown: BTreeMap<Fingerprint, BTreeMap<String, String>>,
    edits: usize,
}

fn plan() -> DispatchPlan {
    let receiver = |name: &str, audience, repeat| ReceiverPlan {
        name: name.to_owned(),
        notifiers: vec![NotifierPlan {
            kind: name.to_owned(),
            grouping: Grouping {
                by: GroupBy::Labels(Vec::new()),
                wait: Duration::from_secs(5),
                interval: Duration::from_secs(10),
                repeat: Duration::from_secs(repeat),
            },
            send_resolved: true,
            audience,
            spacing: Duration::ZERO,
            recipients: Vec::new(),
            attempt_max: Duration::from_secs(10),
            failing_after: Duration::from_secs(1_000_000_000),
        }],
    };
    let to = |receiver_index| Route { receiver_index, continue_matching: true, ..Route::default() };
    DispatchPlan {
        route: Route { routes: vec![to(0), to(1), to(2)], ..Route::default() },
        receivers: vec![
            receiver("chat", Audience::People, 600),
            receiver("pages", Audience::Machine, 600),
            receiver("slack", Audience::Editable, 600),
        ],
        ..DispatchPlan::default()
    }
}

/// A notification, its alerts a line each.
fn shown(notification: &Notification) -> String {
    let Notification { id, receiver, reason, alerts, .. } = notification;
    format!("{id} to {receiver}, {}:{}", reason.as_str(), brief(alerts))
}

fn coordinator(now: WallTime) -> Coordinator {
    let checkpoint_interval = Duration::from_secs(1);
    let own = CoordinatorSettings { sources: 1, checkpoint_interval, drain: Duration::ZERO };
    Coordinator::new(now, Arc::clone(&rule_sets()[0]), settings(), &plan(), own)
}

impl Shop {
    fn new(seed: u64) -> Shop {
        Shop {
            rng: Rng::new(seed),
            now: BEGINNING,
            coordinator: coordinator(WallTime::from_micros(BEGINNING)),
            store: MemoryStore::new(),
            effects: VecDeque::new(),
            flights: Vec::new(),
            is_disk_down: false,
            alerts: BTreeMap::new(),
            ends: BTreeSet::new(),
            sent: BTreeMap::new(),
            ticket: 0,
            ended: BTreeSet::new(),
            told: BTreeMap::new(),
            handed_out: BTreeSet::new(),
            shown: BTreeMap::new(),
            edits: 0,
        }
    }

    fn wall(&self) -> WallTime {
        WallTime::from_micros(self.now)
    }

    fn tell(&mut self, input: Input) {
        let now = self.wall();
        self.coordinator.handle(now, input);
        self.look();
    }

    /// The coordinator looks at its timers, and says what is to be done.
    fn look(&mut self) {
        let now = self.wall();
        self.coordinator.handle_timeout(now);
        while let Some(effect) = self.coordinator.poll_effect(now) {
            // An attempt begins when it is handed out.
            if let Effect::Attempt(notification) = effect {
                self.attempt(notification);
                continue;
            }
            self.effects.push_back(effect);
        }
    }

    fn attempt(&mut self, notification: Arc<Notification>) {
        // Whoever tries again has given up what was sent before: it arrives before this, or never.
        let is_same = |(_, flight): &(i64, Arc<Notification>)| {
            (&flight.receiver, flight.id) == (&notification.receiver, notification.id)
        };
        self.lose(is_same);
        narrate(|| format!("{} attempt: {}", self.wall(), shown(&notification)));
        self.check_attempt(&notification);
        self.edits += usize::from(notification.reason == NotifyReason::Handled);
        let firing = notification.alerts.iter().filter(|one| one.state == AlertState::Firing);
        for alert in firing {
            self.handed_out.insert((notification.receiver.clone(), alert.fingerprint));
        }
        self.flights.push((self.now, notification));
    }

    /// Carries out one effect.
    fn effect(&mut self) {
        let Some(effect) = self.effects.pop_front() else { return };
        match effect {
            Effect::Commit(checkpoint) => {
                let fails = self.is_disk_down || self.rng.chance(10);
                let is_written = !fails || (!self.is_disk_down && self.rng.chance(30));
                if is_written {
                    self.store.commit(&checkpoint).unwrap();
                }
                self.tell(if fails { Input::NotDurable } else { Input::Durable });
            }
            Effect::KeepDeadLetters(_) => self.tell(Input::Durable),
            Effect::Archive(rows) => {
                let through = rows.last().map_or(0, |row| row.id);
                self.tell(Input::Archived { through });
            }
            Effect::Acted { ticket, answer } => self.answered(ticket, &answer),
            _ => {}
        }
    }

    fn answered(&mut self, ticket: u64, answer: &Answer) {
        let Some(sent) = self.sent.get_mut(&ticket) else { return };
        if let Ok(acted) = answer {
            sent.is_answered = true;
            sent.alerts = acted.alerts.iter().map(|on| on.episode.key).collect();
            sent.silence = acted.silence.as_ref().map(|silence| silence.id);
            if let Some(silence) = &acted.silence {
                sent.began_at = silence.starts_at;
            }
            let id = sent.act.id;
            for on in &acted.alerts {
                assert_eq!(on.episode.deeds[on.before].act, id, "the answer is about the act");
            }
        } else {
            assert!(!sent.is_answered, "{sent:?} was done, and is refused");
            self.sent.remove(&ticket);
        }
    }

    // ---- what happens ----

    fn step(&mut self) {
        match self.rng.below(20) {
            0..3 => self.change_alert(),
            3..6 => self.act(),
            6 => self.act_again(),
            7..13 => self.effect(),
            13..15 => self.receiver_answers(),
            15..17 => {
                let most = if self.rng.chance(20) { 900 } else { 20 };
                self.now += i64::try_from(self.rng.between(1, most)).unwrap() * SECOND;
                self.lose_answers();
                self.look();
            }
            17 => self.is_disk_down = self.rng.chance(30),
            18 if self.rng.chance(40) => self.crash(),
            _ => self.turn(),
        }
        self.check_acts();
    }

    /// One round in which nothing is left to do.
    fn turn(&mut self) {
        self.look();
        while !self.effects.is_empty() {
            self.effect();
        }
    }

    fn change_alert(&mut self) {
        let user = USERS[usize::from(self.rng.small(3))];
        let now = self.wall();
        let alert = match self.alerts.get(user) {
            Some(alert) if alert.state == AlertState::Firing => {
                if self.rng.chance(40) {
                    alert.ended(now)
                } else {
                    let mut alert = alert.told_again(now, "more", "");
                    alert.severity = self.severity().max(alert.severity);
                    let word = alert.severity.as_str().to_owned();
                    alert.labels.insert("severity".to_owned(), word);
                    alert
                }
            }
            _ => {
                let severity = self.severity();
                let labels =
                    [("alertname", "exec"), ("user", user), ("severity", severity.as_str())];
                let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
                Alert::begun(now, ("exec", "exec"), severity, labels.into())
            }
        };
        narrate(|| format!("{now} {user}:{}", brief([&alert])));
        if alert.state == AlertState::Resolved {
            self.ends.insert((user, alert.changed_at));
        }
        self.alerts.insert(user, alert.clone());
        self.tell(Input::Alert(Box::new(alert)));
    }

    fn severity(&mut self) -> Severity {
        [Severity::Low, Severity::Medium, Severity::High][usize::from(self.rng.small(3))]
    }

    fn act(&mut self) {
        self.ticket += 1;
        let by = Person::new(PEOPLE[usize::from(self.rng.small(2))], "responder", "10.0.0.1");
        let id = ActId::of(&by.name, &self.ticket.to_string());
        let user = USERS[usize::from(self.rng.small(3))];
        let what = match self.rng.below(8) {
            kind @ (0 | 1) => {
                let span = Duration::from_secs(self.rng.between(30, 3_000));
                let until = SilenceEnd::At(self.wall().plus(span));
                What::AddSilence(NewSilence {
                    matchers: vec![Matcher::parse(&format!("user={user}")).unwrap()],
                    reason: "noise".to_owned(),
                    starts_at: None,
                    ends: if kind == 0 { until } else { SilenceEnd::After(span) },
                })
            }
            2 => {
                let made = self.sent.values().filter_map(|sent| sent.silence);
                let made: Vec<SilenceId> = made.collect();
                let Some(id) = made.get(usize::from(self.rng.small(8))) else { return };
                self.ended.insert(*id);
                What::EndSilence { id: *id, why: String::new() }
            }
            kind => {
                let mut names: Vec<&str> = vec![user];
                if self.rng.chance(30) {
                    names.extend(USERS);
                }
                let known = names.iter().filter_map(|name| self.alerts.get(name));
                let name =
                    |alert: &Alert| AlertName { fingerprint: alert.fingerprint, starts_at: None };
                let alerts: Vec<AlertName> = known.map(name).collect();
                let deed = match kind {
                    3 | 4 => DeedKind::Acknowledge,
                    5 => DeedKind::Assign { to: "kim".to_owned() },
                    6 => DeedKind::Verdict { verdict: Verdict::Benign },
                    _ => DeedKind::Comment,
                };
                What::Alerts { alerts, deed, text: "a word".to_owned() }
            }
        };
        let act = Act { id, by, what };
        let (alerts, silence, began_at) = (Vec::new(), None, self.wall());
        let sent = Sent { act, is_answered: false, alerts, silence, began_at };
        self.sent.insert(self.ticket, sent);
        self.send(self.ticket);
    }

    /// Somebody has no answer, or does not believe it, and sends it again.
    fn act_again(&mut self) {
        let tickets: Vec<u64> = self.sent.keys().copied().collect();
        if let Some(ticket) = tickets.get(usize::try_from(self.rng.below(20)).unwrap()) {
            self.send(*ticket);
        }
    }

    fn send(&mut self, ticket: u64) {
        let act = Box::new(self.sent[&ticket].act.clone());
        narrate(|| format!("{} act {ticket}: {:?}", self.wall(), act.what));
        self.tell(Input::Act { ticket, act });
    }

    fn receiver_answers(&mut self) {
        if self.flights.is_empty() {
            return;
        }
        let at = usize::try_from(self.rng.below(self.flights.len() as u64)).unwrap();
        let (_, notification) = self.flights.remove(at);
        let outcome = if self.rng.chance(70) {
            self.take(&notification);
            delivered(&notification)
        } else {
            let reason = OutcomeReason::ServerError;
            Outcome::Retry { reason, detail: "fault".to_owned(), after: None }
        };
        self.tell(Input::Outcome { notification, outcome });
    }

    fn take(&mut self, notification: &Notification) {
        narrate(|| format!("{} taken: {}", self.wall(), shown(notification)));
        for alert in &notification.alerts {
            let key = (notification.receiver.clone(), alert.fingerprint);
            if notification.receiver == "pages" && alert.state == AlertState::Resolved {
                let may_know = self.handed_out.contains(&key);
                assert!(may_know, "an end without a beginning: {notification:?}");
            }
            if notification.receiver == "slack" {
                let said = alert.annotations.iter();
                let said = said.filter(|(name, _)| HANDLING.contains(&name.as_str()));
                let said = said.map(|(name, value)| (name.clone(), value.clone())).collect();
                self.shown.insert(alert.fingerprint, said);
            }
            if notification.reason != NotifyReason::Handled {
                self.told.insert(key, alert.state);
            }
        }
    }

    /// An attempt that takes as long as none may arrives or not, and nobody hears what came of it. What is sent
    /// after it arrives after it.
    fn lose_answers(&mut self) {
        let now = self.now;
        self.lose(|(began, _)| now - *began >= 10 * SECOND);
    }

    fn lose(&mut self, is_lost: impl FnMut(&(i64, Arc<Notification>)) -> bool) {
        let (lost, flights): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.flights).into_iter().partition(is_lost);
        self.flights = flights;
        for (_, flight) in lost {
            if self.rng.chance(50) {
                self.take(&flight);
            }
        }
    }

    /// The process dies. What was sent arrives or not; what it had answered was answered.
    fn crash(&mut self) {
        narrate(|| format!("{} crash", self.wall()));
        for (_, flight) in std::mem::take(&mut self.flights) {
            if self.rng.chance(50) {
                self.take(&flight);
            }
        }
        self.effects.clear();
        let now = self.wall();
        self.coordinator = coordinator(now);
        let loaded = self.store.load().unwrap();
        self.note_owed(&loaded.entries);
        let (report, unusable) = self.coordinator.restore(loaded.positions, loaded.entries, &[]);
        assert_eq!((report.unusable, unusable), (0, 0), "{report:?}");
        // Whoever tells alerts tells those again that are not durable: as a source would.
        let alerts: Vec<Alert> = self.alerts.values().cloned().collect();
        for alert in alerts {
            let is_known = self.episode(EpisodeKey::of(&alert)).is_some();
            if alert.state == AlertState::Resolved && !is_known {
                // Nobody hears of an end before the beginning.
                let (state, revision) = (AlertState::Firing, alert.revision - 1);
                let begun = Alert { state, revision, ends_at: None, ..alert.clone() };
                self.coordinator.handle(now, Input::Alert(Box::new(begun)));
            }
            self.coordinator.handle(now, Input::Alert(Box::new(alert)));
        }
        self.look();
    }

    /// What is durable may have been handed out just before: nobody can know.
    fn note_owed(&mut self, entries: &[StateEntry]) {
        let owed = entries
            .iter()
            .filter(|entry| entry.table == StateTable::Group && entry.key.first() == Some(&OWED));
        for StateEntry { value, .. } in owed {
            let names = |text: &[u8]| memmem::find(value, text).is_some();
            for receiver in RECEIVERS.into_iter().filter(|name| names(name.as_bytes())) {
                let alerts = self.alerts.values().filter(|alert| names(&alert.fingerprint.0));
                let known = alerts.map(|alert| (receiver.to_owned(), alert.fingerprint));
                self.handed_out.extend(known);
            }
        }
    }

    // ---- what must hold ----

    fn episode(&self, key: EpisodeKey) -> Option<&Arc<Episode>> {
        self.coordinator.member().dispatcher().acts().episode(key)
    }

    fn check_acts(&self) {
        let acts = self.coordinator.member().dispatcher().acts();
        for sent in self.sent.values() {
            let id = sent.act.id;
            for key in &sent.alerts {
                let episode = self.episode(*key).expect("an episode with deeds is remembered");
                let count = episode.deeds.iter().filter(|deed| deed.act == id).count();
                assert_eq!(count, 1, "an act that was answered is there once: {sent:?}");
            }
            if let Some(silence) = sent.silence {
                assert!(acts.silences().any(|one| one.id == silence), "{sent:?} is lost");
            }
        }
        for episode in acts.episodes() {
            let ids: BTreeSet<ActId> = episode.deeds.iter().map(|deed| deed.act).collect();
            assert_eq!(ids.len(), episode.deeds.len(), "no act is done twice: {episode:?}");
        }
    }

    /// Whether an alert is hidden now, by what was answered alone. One that had ended before is not hidden: that it
    /// was is still told, to a machine in two steps.
    fn is_hidden(&self, alert: &Alert) -> bool {
        // Of what owners of silences are told there is no user.
        let Some(user) = alert.labels.get("user") else { return false };
        let (now, matcher) = (self.wall(), format!("user={user:?}"));
        let had_ended = |began_at: WallTime| {
            let latest = self.alerts[user.as_str()].ends_at;
            latest.is_some_and(|ended| ended.as_wall() <= began_at)
                || alert.changed_at <= began_at
                    && self.ends.contains(&(user.as_str(), alert.changed_at))
        };
        self.sent.values().filter(|sent| sent.is_answered).any(|sent| match &sent.act.what {
            What::AddSilence(wanted) => {
                let ends_at = match wanted.ends {
                    SilenceEnd::At(at) => at,
                    SilenceEnd::After(span) => sent.began_at.plus(span),
                };
                let is_active = ends_at > now
                    && sent.silence.is_some_and(|silence| !self.ended.contains(&silence));
                is_active && wanted.matchers[0].to_string() == matcher && !had_ended(sent.began_at)
            }
            _ => false,
        })
    }

    fn check_attempt(&self, notification: &Notification) {
        if notification.reason == NotifyReason::Handled {
            assert_eq!(notification.receiver, "slack", "who has no message to edit hears nothing");
            assert!(notification.receipt.is_some(), "there is no message: {notification:?}");
            for alert in notification.alerts.iter().filter(|one| one.state == AlertState::Firing) {
                let told = self.told.get(&("slack".to_owned(), alert.fingerprint));
                assert_eq!(told, Some(&AlertState::Firing), "{alert:?} was not told before");
            }
            return;
        }
        for alert in notification.alerts.iter().filter(|one| one.state == AlertState::Firing) {
            assert!(!self.is_hidden(alert), "{alert:?} is told: {notification:?}");
        }
        if notification.reason == NotifyReason::RepeatDue {
            let is_taken = |alert: &Alert| {
                let episode = self.episode(EpisodeKey::of(alert));
                // The latest counts: two episodes may begin at one moment, of which the second is less grave.
                let acknowledged = |deed: &&Arc<Deed>| deed.kind == DeedKind::Acknowledge;
                let latest = episode.and_then(|one| one.deeds.iter().rev().find(acknowledged));
                latest.is_some_and(|deed| {
                    let is_it = |sent: &Sent| sent.is_answered && sent.act.id == deed.act;
                    self.sent.values().any(is_it) && deed.severity >= alert.severity
                })
            };
            let all = notification.alerts.iter().all(is_taken);
            assert!(!all, "what was taken is repeated: {notification:?}");
        }
    }

    /// The message in Slack shows what people did, as long as the alert fires.
    fn shows_what_people_did(&self, alert: &Alert) {
        let handling =
            self.coordinator.member().dispatcher().acts().mute(alert.fingerprint).handling;
        let expected =
            handling.annotations().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let shown = self.shown.get(&alert.fingerprint).cloned().unwrap_or_default();
        assert_eq!(shown, expected.collect(), "of {alert:?}");
    }

    /// No more faults, and time for everything.
    fn settle(&mut self) {
        self.is_disk_down = false;
        let mut quiet = 0;
        // Longer than the time between two repetitions.
        while quiet < 25 {
            self.turn();
            for (_, flight) in std::mem::take(&mut self.flights) {
                self.take(&flight);
                let outcome = delivered(&flight);
                self.tell(Input::Outcome { notification: flight, outcome });
            }
            self.now += 30 * SECOND;
            let dispatcher = self.coordinator.member().dispatcher();
            let mut silences = dispatcher.acts().silences();
            let is_over = silences.all(|silence| silence.phase == SilencePhase::Expired);
            let is_quiet = is_over && dispatcher.pending_count() == 0;
            quiet = if is_quiet { quiet + 1 } else { 0 };
            assert!(self.now < BEGINNING + REST_MAX, "it comes to rest");
        }
        for alert in self.alerts.values() {
            for receiver in RECEIVERS {
                let told = self.told.get(&(receiver.to_owned(), alert.fingerprint));
                if alert.state == AlertState::Firing {
                    self.shows_what_people_did(alert);
                    assert_eq!(told, Some(&AlertState::Firing), "{receiver} knows of {alert:?}");
                } else {
                    assert_ne!(told, Some(&AlertState::Firing), "{receiver} believes in {alert:?}");
                }
            }
        }
    }
}

/// Slack says where the message is.
fn delivered(notification: &Notification) -> Outcome {
    let values = BTreeMap::from([("ts".to_owned(), "1".to_owned())]);
    let receipt = (notification.receiver == "slack").then_some(Receipt { values });
    Outcome::Delivered { receipt }
}

#[test]
fn what_people_did_is_there_after_any_crash_and_decides_what_is_told() {
    let (from, seeds) = match number("SIM_SEED") {
        Some(seed) => (seed, 1),
        None => (number("SIM_FROM").unwrap_or(0), number("SIM_SEEDS").unwrap_or(SEEDS)),
    };
    let (mut answered, mut hidden, mut edits) = (0, 0, 0);
    for seed in from..from + seeds {
        let mut shop = Shop::new(seed);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..STEPS {
                shop.step();
            }
            shop.settle();
        }));
        if let Err(panic) = outcome {
            let why = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            panic!("seed {seed}: {why}");
        }
        answered += shop.sent.values().filter(|sent| sent.is_answered).count();
        let acts = shop.coordinator.member().dispatcher().acts();
        edits += shop.edits;
        hidden += acts.silences().map(|silence| silence.hidden_count).sum::<u64>();
    }
    // Not all of this may have happened to nobody.
    assert!(answered > 20 && hidden > 5, "{answered} acts answered, {hidden} alerts hidden");
    assert!(edits > 20, "{edits} edits");
}
