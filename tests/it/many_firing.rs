//! Ten thousand alerts that fire, one change at a time. A change costs some steps, however many others fire: each
//! scenario here is done in a moment, and would take minutes if a change were a look at all of them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tripline::engine::{
    alert::{Alert, AlertState, Evidence},
    dispatch::{
        Audience, DispatchPlan, GroupBy, Grouping, InhibitRule, MatchTest, Matcher, Notification,
        NotifierPlan, Outcome, OutcomeReason, ReceiverPlan, Route,
    },
    dispatcher::Dispatcher,
    rule::Severity,
    time::WallTime,
};

/// Alerts that fire.
const MANY: usize = 10_000;

/// Alerts that a group holds, and groups of a route that their receiver has trouble with.
const GROUP_MAX: usize = 5_000;

fn plan(audience: Audience, by: GroupBy, wait: u64) -> DispatchPlan {
    let seconds = Duration::from_secs;
    let notifier = NotifierPlan {
        kind: "any".to_owned(),
        grouping: Grouping {
            by,
            wait: seconds(wait),
            interval: seconds(60),
            repeat: seconds(3600),
        },
        send_resolved: true,
        audience,
        spacing: Duration::ZERO,
        recipients: Vec::new(),
        attempt_max: seconds(10),
        failing_after: seconds(300),
    };
    let receiver = ReceiverPlan { name: "out".to_owned(), notifiers: vec![notifier] };
    DispatchPlan { route: Route::default(), receivers: vec![receiver], ..DispatchPlan::default() }
}

fn at(seconds: i64) -> WallTime {
    WallTime::from_micros(1_767_600_000_000_000 + seconds * 1_000_000)
}

/// An alert of a rule about somebody, whom an event shows.
fn alert(now: WallTime, rule: &str, user: usize) -> Alert {
    let user = format!("user{user}");
    let labels = [("alertname", rule), ("user", &user)];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut alert = Alert::begun(now, (rule, rule), Severity::Low, BTreeMap::from(labels));
    let fields = vec![("user.username".to_owned(), user)];
    alert.evidence = vec![Evidence { time: now.as_event(), fields, event: None }];
    alert
}

/// Its end.
fn ended(now: WallTime, mut alert: Alert) -> Alert {
    (alert.state, alert.ends_at) = (AlertState::Resolved, Some(now.as_event()));
    (alert.changed_at, alert.revision) = (now, alert.revision + 1);
    alert
}

/// Gives a dispatcher its time, and takes what it wants to send.
fn attempts(dispatcher: &mut Dispatcher, now: WallTime) -> Vec<Arc<Notification>> {
    dispatcher.handle_timeout(now);
    dispatcher.take_changes(&mut Vec::new());
    std::iter::from_fn(|| dispatcher.poll_attempt(now)).collect()
}

/// Delivers all there is, and counts the alerts of each rule that are told to fire.
fn rules_told(dispatcher: &mut Dispatcher, now: WallTime) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    loop {
        let sent = attempts(dispatcher, now);
        if sent.is_empty() {
            return told;
        }
        for notification in sent {
            let firing = |alert: &&Alert| alert.state == AlertState::Firing;
            for alert in notification.alerts.iter().filter(firing) {
                *told.entry(alert.rule_id.clone()).or_default() += 1;
            }
            dispatcher.handle_outcome(now, notification.id, Outcome::Delivered { receipt: None });
        }
    }
}

#[test]
fn a_change_of_one_alert_does_not_look_at_the_others_of_its_group() {
    let mut dispatcher = Dispatcher::new(&plan(Audience::People, GroupBy::Labels(Vec::new()), 30));
    let mut now = at(0);
    for user in 0..MANY {
        dispatcher.handle_alert(now, &alert(now, "exec", user % (MANY - 10)));
        attempts(&mut dispatcher, now);
    }
    // Beyond what a group holds, one who has no more of it than anybody else takes nobody's place.
    assert_eq!(dispatcher.alert_count(), GROUP_MAX);
    // Each grows, which is no news to people; then each ends.
    for turn in 0..2 {
        for user in 0..GROUP_MAX {
            let mut changed = alert(at(0), "exec", user);
            (changed.revision, changed.changed_at) = (2 + turn, now);
            let changed = if turn == 0 { changed } else { ended(now, changed) };
            dispatcher.handle_alert(now, &changed);
            attempts(&mut dispatcher, now);
        }
    }
    now = at(60);
    let mut told = 0;
    while dispatcher.alert_count() > 0 {
        for notification in attempts(&mut dispatcher, now) {
            told += notification.alerts.len();
            dispatcher.handle_outcome(now, notification.id, Outcome::Delivered { receipt: None });
        }
        now = now.plus(Duration::from_secs(60));
    }
    assert_eq!(told, GROUP_MAX);
    attempts(&mut dispatcher, now);
    assert_eq!((dispatcher.group_count(), dispatcher.pending_count()), (0, 0));
}

#[test]
fn a_newcomer_to_a_full_group_takes_the_place_of_whoever_has_most() {
    let mut dispatcher =
        Dispatcher::new(&plan(Audience::People, GroupBy::Labels(Vec::new()), 3600));
    let now = at(0);
    // Two have half of the group each, and are pushed out of it one by one by many who have one.
    for number in 0..GROUP_MAX {
        let mut of_two = alert(now, &format!("read{number}"), 0);
        of_two.evidence[0].fields[0].1 = format!("noisy{}", number % 2);
        dispatcher.handle_alert(now, &of_two);
    }
    for user in 1..=GROUP_MAX - 2 {
        dispatcher.handle_alert(now, &alert(now, "exec", user));
        attempts(&mut dispatcher, now);
    }
    assert_eq!(dispatcher.alert_count(), GROUP_MAX);
    let of_noisy = dispatcher.told().filter(|alert| alert.rule_id.starts_with("read")).count();
    assert_eq!(of_noisy, 2);
}

#[test]
fn a_receiver_that_takes_nothing_of_many_groups_costs_no_more_for_each() {
    let mut dispatcher = Dispatcher::new(&plan(Audience::Machine, GroupBy::Each, 0));
    let mut now = at(0);
    for user in 0..MANY {
        dispatcher.handle_alert(now, &alert(now, "exec", user));
    }
    let mut refused = 0;
    while refused < MANY {
        let sent = attempts(&mut dispatcher, now);
        assert!(!sent.is_empty(), "{refused} refused, and nothing more is tried");
        for notification in sent {
            refused += 1;
            let (reason, detail) = (OutcomeReason::ClientError, "no".to_owned());
            let outcome = Outcome::Rejected { reason, detail };
            dispatcher.handle_outcome(now, notification.id, outcome);
            // As whoever waits for the end asks.
            assert!(dispatcher.pending_count() > 0);
        }
    }
    assert_eq!(dispatcher.receivers().next().unwrap().failing_since, Some(at(0)));
    now = at(7200);
    let mut taken = 0;
    while taken < MANY {
        for notification in attempts(&mut dispatcher, now) {
            taken += 1;
            dispatcher.handle_outcome(now, notification.id, Outcome::Delivered { receipt: None });
            dispatcher.handle_timeout(now);
            assert_eq!(dispatcher.pending_count(), MANY - taken);
        }
    }
    assert_eq!(dispatcher.receivers().next().unwrap().failing_since, None);
}

#[test]
fn a_further_alert_that_hides_others_does_not_look_at_those_that_are_hidden() {
    let of_rule = |name: &str| {
        let test = MatchTest::Equal(name.to_owned());
        vec![Matcher { label: "alertname".to_owned(), test }]
    };
    let rule =
        InhibitRule { source: of_rule("breach"), target: of_rule("exec"), equal: Vec::new() };
    let mut plan = plan(Audience::Machine, GroupBy::Each, 0);
    plan.inhibit = vec![rule];
    let mut dispatcher = Dispatcher::new(&plan);
    let now = at(0);
    dispatcher.handle_alert(now, &alert(now, "breach", 0));
    for user in 0..MANY / 2 {
        dispatcher.handle_alert(now, &alert(now, "exec", user));
    }
    for user in 1..MANY / 2 {
        dispatcher.handle_alert(now, &alert(now, "breach", user));
        dispatcher.handle_alert(now, &ended(now, alert(now, "breach", user)));
    }
    assert_eq!(rules_told(&mut dispatcher, now), BTreeMap::from([("breach".to_owned(), MANY / 2)]));
    // Once nothing hides them they are told.
    dispatcher.handle_alert(now, &ended(now, alert(now, "breach", 0)));
    let told = rules_told(&mut dispatcher, now);
    assert_eq!(told.get("exec"), Some(&(MANY / 2)), "{told:?}");
    assert_eq!(dispatcher.pending_count(), 0);
}
