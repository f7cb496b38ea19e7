//! A dispatcher under a script: its clock, its store, and receivers that answer as they are told.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use tripline::engine::{
    act::ActEntry,
    alert::{Alert, AlertState, Fingerprint},
    dispatch::{
        DispatchPlan, Form, LedgerEntry, Notification, NotificationId, NotifierCounts, Outcome,
        Receipt,
    },
    dispatcher::Dispatcher,
    rule::Severity,
    time::WallTime,
};

use super::act;
use super::script::{Answer, Change, Command, PlanUse, Verb};
use crate::{print, store::Store, ways::Way};

/// Attempts and timers that one command may lead to; more are a circle.
const STEPS_MAX: usize = 100_000;

/// Alerts of a notification that are named one by one.
const NAMED_MAX: usize = 4;

pub(crate) struct World {
    way: Way,
    plan: DispatchPlan,
    dispatcher: Option<Dispatcher>,
    store: Store,
    clock: WallTime,
    /// The latest snapshot of each alert, by its name and labels.
    alerts: BTreeMap<Vec<(String, String)>, Alert>,
    names: BTreeMap<Fingerprint, String>,
    answers: BTreeMap<String, Answer>,
    /// Attempts that receivers hold.
    held: VecDeque<Arc<Notification>>,
    /// The last attempt will never be answered, but the dispatcher does not know.
    has_lost: bool,
    /// Notifications in the order in which they were first seen.
    numbers: BTreeMap<NotificationId, usize>,
    ledger: Vec<LedgerEntry>,
    entries: Vec<ActEntry>,
    acts: usize,
    gone: Vec<(String, u64)>,
    told: Vec<(String, u64)>,
    printed: Vec<String>,
}

impl World {
    pub(crate) fn new(way: Way) -> World {
        World {
            way,
            plan: DispatchPlan::default(),
            dispatcher: None,
            store: Store::default(),
            clock: WallTime::MIN,
            alerts: BTreeMap::new(),
            names: BTreeMap::new(),
            answers: BTreeMap::new(),
            held: VecDeque::new(),
            has_lost: false,
            numbers: BTreeMap::new(),
            ledger: Vec::new(),
            entries: Vec::new(),
            acts: 0,
            gone: Vec::new(),
            told: Vec::new(),
            printed: Vec::new(),
        }
    }

    /// Carries out one command; the lines that it prints.
    pub(crate) fn run(&mut self, command: &Command) -> Vec<String> {
        match command {
            Command::Plan(purpose, plan) => self.take_plan(*purpose, plan),
            Command::Alert(changes) => {
                for change in changes {
                    self.advance(change.at);
                    self.change(change);
                    self.after_line();
                }
            }
            Command::LateAlert(changes) => {
                for change in changes {
                    self.clock = self.clock.max(change.at);
                    self.change(change);
                    self.after_line();
                }
            }
            Command::Act(lines) => {
                for line in lines {
                    self.advance(line.at);
                    self.act(line);
                    self.after_line();
                }
            }
            Command::LateAct(lines) => {
                for line in lines {
                    self.clock = self.clock.max(line.at);
                    self.act(line);
                    self.after_line();
                }
            }
            Command::Acts => self.tell_acts(),
            Command::Timeout(now) => {
                self.advance(*now);
                self.after_line();
            }
            Command::Clock(now) => {
                self.clock = *now;
                self.after_line();
            }
            Command::Answer(answers) => self.answers.extend(answers.iter().cloned()),
            Command::Outcome(outcomes) => {
                for (at, who, answer) in outcomes {
                    self.advance(*at);
                    let held = self.held.iter().position(|held| Self::name_of(held) == *who);
                    let held = held.and_then(|index| self.held.remove(index));
                    let held = held.unwrap_or_else(|| panic!("{who} holds nothing"));
                    self.answer(&held, answer);
                    self.run_shell();
                    self.after_line();
                }
            }
            Command::RetryNow => {
                let now = self.clock;
                self.dispatcher().retry_now(now);
                self.run_shell();
                self.after_line();
            }
            Command::Groups => {
                let dispatcher = self.dispatcher();
                let text = format!(
                    "{} groups, {} alerts, {} owed",
                    dispatcher.group_count(),
                    dispatcher.alert_count(),
                    dispatcher.pending_count()
                );
                self.printed.push(text);
            }
            Command::Ledger => {
                for entry in std::mem::take(&mut self.ledger) {
                    let text = self.ledger_line(&entry);
                    self.printed.push(text);
                }
            }
        }
        self.tell_counts();
        std::mem::take(&mut self.printed)
    }

    fn dispatcher(&mut self) -> &mut Dispatcher {
        self.dispatcher.as_mut().expect("begin with `plan`")
    }

    fn take_plan(&mut self, purpose: PlanUse, plan: &DispatchPlan) {
        self.plan = plan.clone();
        match purpose {
            PlanUse::Start => {
                *self = World {
                    plan: plan.clone(),
                    dispatcher: Some(Dispatcher::new(plan)),
                    printed: std::mem::take(&mut self.printed),
                    ..World::new(self.way)
                };
            }
            PlanUse::Replace => {
                let now = self.clock;
                self.dispatcher().replace_plan(now, plan);
                self.run_shell();
            }
            PlanUse::Restart => {
                self.restart();
                self.run_shell();
            }
            PlanUse::LateRestart => {
                self.begin();
                return;
            }
        }
        self.after_line();
    }

    /// Ends the process and begins another one with what the store has. What was under way is gone.
    fn restart(&mut self) {
        self.begin();
        let clock = self.clock;
        if clock != WallTime::MIN {
            self.dispatcher().handle_timeout(clock);
        }
    }

    fn begin(&mut self) {
        self.held.clear();
        self.gone = self.counted();
        let mut dispatcher = Dispatcher::new(&self.plan);
        let unusable = dispatcher.restore(&mut self.store.entries());
        assert_eq!(unusable, 0, "what was stored can be read");
        self.dispatcher = Some(dispatcher);
    }

    fn after_line(&mut self) {
        match self.way {
            Way::Restored if self.held.is_empty() && !self.has_lost => {
                self.restart();
                self.run_shell();
            }
            Way::Ticking if self.clock != WallTime::MIN => {
                let now = self.clock;
                self.dispatcher().handle_timeout(now);
                self.dispatcher().handle_timeout(now);
                self.run_shell();
            }
            _ => {}
        }
    }

    // ---- time ----

    /// Lets the clock go on, from one timer to the next.
    fn advance(&mut self, until: WallTime) {
        for _ in 0..STEPS_MAX {
            let due = self.dispatcher().poll_timeout().filter(|due| *due <= until);
            let Some(due) = due else {
                self.clock = self.clock.max(until);
                return;
            };
            self.clock = self.clock.max(due);
            self.run_shell();
        }
        panic!("timers go in a circle at {}", self.clock);
    }

    /// What a driver does after each input: decide, make durable, attempt.
    fn run_shell(&mut self) {
        for _ in 0..STEPS_MAX {
            let now = self.clock;
            let dispatcher = self.dispatcher.as_mut().expect("begin with `plan`");
            while let Some(alert) = dispatcher.poll_alert() {
                self.names.insert(alert.fingerprint, self_told(&alert));
                dispatcher.handle_alert(now, &alert);
            }
            let is_due = dispatcher.poll_timeout().is_some_and(|due| due <= now);
            if is_due {
                dispatcher.handle_timeout(now);
            }
            let mut changes = Vec::new();
            dispatcher.take_changes(&mut changes);
            self.store.apply(changes);
            dispatcher.take_ledger(&mut self.ledger);
            self.entries.extend(dispatcher.take_act_entries());
            let attempts: Vec<_> = std::iter::from_fn(|| dispatcher.poll_attempt(now)).collect();
            if attempts.is_empty() && !is_due {
                return;
            }
            for attempt in attempts {
                self.attempt(attempt);
            }
        }
        panic!("attempts go in a circle at {}", self.clock);
    }

    // ---- alerts ----

    fn change(&mut self, change: &Change) {
        for number in 1..=change.times {
            let mut identity = vec![("alertname".to_owned(), change.name.clone())];
            for (label, value) in &change.labels {
                identity.push((label.clone(), value.replace("{n}", &number.to_string())));
            }
            let before = self.alerts.get(&identity).cloned();
            let alert = changed(before, change, &identity);
            let name: Vec<&str> = identity.iter().map(|(_, value)| value.as_str()).collect();
            self.names.insert(alert.fingerprint, name.join(" "));
            self.alerts.insert(identity, alert.clone());
            let now = self.clock;
            self.dispatcher().handle_alert(now, &alert);
        }
        self.run_shell();
    }

    // ---- what people do ----

    fn act(&mut self, line: &act::Line) {
        self.acts += 1;
        let act = line.act(self.acts, |name, labels| {
            let mut identity = vec![("alertname".to_owned(), name.to_owned())];
            identity.extend(labels.iter().cloned());
            let known = self.alerts.get(&identity);
            known.map_or(Fingerprint([0; 16]), |alert| alert.fingerprint)
        });
        let now = self.clock;
        let answer = self.dispatcher().act(now, act);
        let text = act::answered(&seconds(now), &line.who, &answer);
        self.printed.push(text);
        self.run_shell();
    }

    fn tell_acts(&mut self) {
        let acts = self.dispatcher.as_ref().expect("begin with `plan`").acts();
        let silences: Vec<String> = acts.silences().map(|one| act::describe(one)).collect();
        let mut alerts: Vec<String> = acts
            .episodes()
            .filter(|one| !one.deeds.is_empty() || !one.hidden_by.is_empty())
            .map(|one| format!("{}: {}", self.names[&one.key.fingerprint], act::state(one)))
            .collect();
        alerts.sort();
        self.printed.extend(silences);
        self.printed.extend(alerts);
        for entry in std::mem::take(&mut self.entries) {
            let name = |subject: &str| {
                let named = self.names.iter().find(|(id, _)| id.to_string() == subject);
                named.map_or_else(String::new, |(_, name)| name.clone())
            };
            self.printed.push(act::entry(&entry, name).trim_end().to_owned());
        }
    }

    // ---- attempts and answers ----

    /// `chat`, or `chat#2` for its second notifier; `mail/ann` for a recipient.
    fn name_of(notification: &Notification) -> String {
        let mut name = notification.receiver.clone();
        if notification.notifier_index > 0 {
            name += &format!("#{}", notification.notifier_index + 1);
        }
        if let Some(recipient) = &notification.recipient {
            name += &format!("/{recipient}");
        }
        name
    }

    fn attempt(&mut self, notification: Arc<Notification>) {
        self.has_lost = false;
        let next = self.numbers.len() + 1;
        let number = *self.numbers.entry(notification.id).or_insert(next);
        let who = Self::name_of(&notification);
        let again = if number == next { "" } else { " again" };
        let receipt = notification.receipt.as_ref().map_or_else(String::new, |receipt| {
            let values: Vec<&str> = receipt.values.values().map(String::as_str).collect();
            format!(" after {}", values.join(" "))
        });
        let form = match notification.form {
            Form::Full => "",
            Form::Short => " shortly",
            Form::Plain => " plainly",
        };
        let text = format!(
            "{} {who} {} #{number}{again}{form}{receipt}: {}",
            seconds(self.clock),
            notification.reason.as_str(),
            self.alerts_of(&notification)
        );
        self.printed.push(text);
        match self.answers.get(&who).cloned().unwrap_or(Answer::Delivered(None)) {
            Answer::Hold => self.held.push_back(notification),
            answer => self.answer(&notification, &answer),
        }
    }

    fn answer(&mut self, notification: &Notification, answer: &Answer) {
        let detail = "as the script says".to_owned();
        let outcome = match answer {
            Answer::Delivered(receipt) => Outcome::Delivered {
                receipt: receipt.as_ref().map(|text| Receipt {
                    values: BTreeMap::from([("id".to_owned(), text.clone())]),
                }),
            },
            Answer::Retry(reason, after) => {
                Outcome::Retry { reason: *reason, detail, after: *after }
            }
            Answer::Rejected(reason) => Outcome::Rejected { reason: *reason, detail },
            Answer::Lose => {
                self.has_lost = true;
                return;
            }
            Answer::Hold => return,
        };
        let now = self.clock;
        self.dispatcher().handle_outcome(now, notification.id, outcome);
    }

    // ---- words ----

    fn alerts_of(&self, notification: &Notification) -> String {
        let fire = notification.firing_count();
        let all = &notification.alerts;
        let mut text = if all.len() > NAMED_MAX {
            format!("{fire} fire, {} ended", all.len() - fire)
        } else {
            let words: Vec<String> = all.iter().map(|alert| self.describe(alert)).collect();
            words.join(", ")
        };
        if notification.truncated_count > 0 {
            text += &format!(", {} more", notification.truncated_count);
        }
        for alert in &notification.relabelled {
            text += &format!(", no longer {}", self.describe(alert));
        }
        text
    }

    /// `exec eve fires, high`
    fn describe(&self, alert: &Alert) -> String {
        let name = self.names.get(&alert.fingerprint).map_or("?", String::as_str);
        let word = match alert.state {
            AlertState::Firing => "fires",
            AlertState::Resolved => "ended",
        };
        let severity = alert.severity.as_str();
        let count = match alert.finding_count {
            1 => String::new(),
            count => format!(" x{count}"),
        };
        format!("{name} {word} ({severity}{count})")
    }

    fn ledger_line(&self, entry: &LedgerEntry) -> String {
        let mut detail = entry.detail.clone();
        for (fingerprint, name) in &self.names {
            detail = detail.replace(&fingerprint.to_string(), name);
        }
        let of_alert = self.names.iter().find(|(id, _)| id.to_string() == entry.about.id);
        let of_notification = self.numbers.iter().find(|(id, _)| id.to_string() == entry.about.id);
        let subject = match (of_alert, of_notification) {
            (Some((_, name)), _) => name.clone(),
            (None, Some((_, number))) => format!("#{number}"),
            (None, None) => "?".to_owned(),
        };
        let (at, what) = (seconds(entry.at), entry.what.as_str());
        format!("{at} {} {} {what} {subject}: {detail}", entry.receiver, entry.notifier)
    }

    /// Counters since the script began, with their names.
    fn counted(&self) -> Vec<(String, u64)> {
        let mut sums = self.gone.clone();
        let Some(dispatcher) = &self.dispatcher else { return sums };
        let counts = dispatcher.counts();
        let mut add =
            |name: String, number: u64| match sums.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += number,
                None => sums.push((name, number)),
            };
        for ((receiver, kind), of) in &counts.notifiers {
            for (name, number) in numbers(of) {
                add(format!("{receiver}/{kind} {name}"), number);
            }
        }
        add("groups_overflowed".to_owned(), counts.groups_overflowed);
        add("ledger_dropped".to_owned(), counts.ledger_dropped);
        add("outcomes_unknown".to_owned(), counts.outcomes_unknown);
        sums
    }

    fn tell_counts(&mut self) {
        let mut now = self.counted();
        now.sort();
        let news: Vec<String> = now
            .iter()
            .filter_map(|(name, number)| {
                let known = self.told.iter().find(|(known, _)| known == name);
                let known = known.map_or(0, |(_, number)| *number);
                (*number > known).then(|| format!("{name} {}", number - known))
            })
            .collect();
        if !news.is_empty() {
            self.printed.push(format!("counted: {}", news.join(", ")));
        }
        self.told = now;
    }
}

/// What is counted of a notifier beside what its attempts show.
fn numbers(counts: &NotifierCounts) -> Vec<(String, u64)> {
    let mut numbers = Vec::new();
    for (word, reasons) in [("retried", &counts.retried), ("rejected", &counts.rejected)] {
        for (reason, number) in reasons {
            numbers.push((format!("{word} {}", reason.as_str()), *number));
        }
    }
    numbers.push(("superseded".to_owned(), counts.superseded));
    numbers.push(("expired".to_owned(), counts.alerts_expired));
    numbers.push(("dropped".to_owned(), counts.alerts_dropped));
    numbers
}

/// Of an alert about a receiver: `failing chat/people`.
fn self_told(alert: &Alert) -> String {
    // Of one about a silence: `TriplineSilenceEnds of ann`.
    if let Some(owner) = alert.labels.get("owner") {
        return format!("{} of {owner}", alert.labels["alertname"]);
    }
    let key: Vec<&str> = alert.key.iter().map(|(_, value)| value.as_str()).collect();
    format!("failing {}", key.join(" "))
}

/// To the second: pauses are spread, and nobody wants to read by how much.
fn seconds(time: WallTime) -> String {
    let text = print::time(time.as_event());
    text.split_once('.').map_or(text.clone(), |(whole, _)| whole.to_owned())
}

/// The next snapshot of an alert.
fn changed(before: Option<Alert>, change: &Change, identity: &[(String, String)]) -> Alert {
    let at = change.at.as_event();
    let new = || {
        let mut labels: BTreeMap<String, String> = identity.iter().cloned().collect();
        labels.insert("severity".to_owned(), Severity::Medium.as_str().to_owned());
        let rule = (change.name.as_str(), change.name.as_str());
        let key = identity.iter().skip(1).cloned().collect();
        Alert { key, ..Alert::begun(change.at, rule, Severity::Medium, labels) }
    };
    let mut alert = match (change.what, before) {
        (Verb::Fires, _) => new(),
        (_, None) => panic!("{} did not fire before", change.name),
        (Verb::Grows, Some(mut alert)) => {
            alert.finding_count += 1;
            alert.value += 1.0;
            alert.last_seen = at;
            alert.revision += 1;
            alert
        }
        (Verb::Ends, Some(mut alert)) => {
            alert.state = AlertState::Resolved;
            alert.ends_at = Some(at);
            alert.revision += 1;
            alert
        }
    };
    alert.changed_at = change.at;
    if let Some(severity) = change.severity {
        alert.severity = severity;
        alert.labels.insert("severity".to_owned(), severity.as_str().to_owned());
    }
    alert
}
