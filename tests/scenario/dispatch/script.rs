//! Commands of dispatch scripts, from text.

use std::{sync::Arc, time::Duration};

use tripline::engine::{
    dispatch::{
        Address, Audience, DispatchPlan, GroupBy, Grouping, GroupingOverride, InhibitRule, Matcher,
        NotifierPlan, OutcomeReason, ReceiverPlan, Route, TimeInterval, TimeIntervals,
    },
    rule::Severity,
    time::WallTime,
};

use super::act;
use crate::script::{Result, duration, time, unindented};

/// What a plan is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlanUse {
    Start,
    Replace,
    Restart,
    /// The next process does not look at the time before its next input.
    LateRestart,
}

pub(crate) enum Command {
    Plan(PlanUse, Box<DispatchPlan>),
    Alert(Vec<Change>),
    /// The process was away until then: what was due meanwhile comes after them.
    LateAlert(Vec<Change>),
    Act(Vec<act::Line>),
    LateAct(Vec<act::Line>),
    Acts,
    Timeout(WallTime),
    /// The operator's clock is set.
    Clock(WallTime),
    Answer(Vec<(String, Answer)>),
    Outcome(Vec<(WallTime, String, Answer)>),
    RetryNow,
    Groups,
    Ledger,
}

/// One change of an alert, or of a series of them.
pub(crate) struct Change {
    pub(crate) at: WallTime,
    pub(crate) what: Verb,
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) severity: Option<Severity>,
    pub(crate) times: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Fires,
    Grows,
    Ends,
}

/// What a receiver answers.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Delivered(Option<String>),
    Retry(OutcomeReason, Option<Duration>),
    Rejected(OutcomeReason),
    Hold,
    Lose,
}

pub(crate) const SEVERITIES: [Severity; 5] =
    [Severity::Informational, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

/// Reads one command.
pub(crate) fn command(line: &str, input: &[String], _number: usize) -> Result<Command> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let lines = unindented(input)?;
    let lines = lines.into_iter().filter(|line| !line.trim().is_empty());
    Ok(match words.as_slice() {
        ["plan"] => Command::Plan(PlanUse::Start, Box::new(plan(lines)?)),
        ["replace", "plan"] => Command::Plan(PlanUse::Replace, Box::new(plan(lines)?)),
        ["restart", "plan"] => Command::Plan(PlanUse::Restart, Box::new(plan(lines)?)),
        ["late", "restart", "plan"] => Command::Plan(PlanUse::LateRestart, Box::new(plan(lines)?)),
        ["late", "alert"] => Command::LateAlert(lines.map(change).collect::<Result<_>>()?),
        ["alert"] => Command::Alert(lines.map(change).collect::<Result<_>>()?),
        ["act"] => Command::Act(lines.map(act::line).collect::<Result<_>>()?),
        ["late", "act"] => Command::LateAct(lines.map(act::line).collect::<Result<_>>()?),
        ["acts"] => Command::Acts,
        ["timeout", at] => Command::Timeout(time(at)?.as_wall()),
        ["clock", at] => Command::Clock(time(at)?.as_wall()),
        ["answer"] => Command::Answer(
            lines
                .map(|line| {
                    let (who, what) = line.split_once(' ').ok_or("WHO ANSWER")?;
                    Ok((who.to_owned(), answer(what)?))
                })
                .collect::<Result<_>>()?,
        ),
        ["outcome"] => Command::Outcome(
            lines
                .map(|line| {
                    let (at, rest) = line.split_once(' ').ok_or("TIME WHO ANSWER")?;
                    let (who, what) = rest.split_once(' ').ok_or("TIME WHO ANSWER")?;
                    Ok((time(at)?.as_wall(), who.to_owned(), answer(what)?))
                })
                .collect::<Result<_>>()?,
        ),
        ["retry", "now"] => Command::RetryNow,
        ["groups"] => Command::Groups,
        ["ledger"] => Command::Ledger,
        _ => return Err(format!("there is no command `{line}`")),
    })
}

fn answer(text: &str) -> Result<Answer> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let reason = |word: &str| {
        let found = OutcomeReason::ALL.into_iter().find(|reason| reason.as_str() == word);
        found.ok_or_else(|| format!("there is no reason `{word}`"))
    };
    Ok(match words.as_slice() {
        ["delivered"] => Answer::Delivered(None),
        ["delivered", receipt] => Answer::Delivered(Some((*receipt).to_owned())),
        ["retry", word] => Answer::Retry(reason(word)?, None),
        ["retry", word, after] => {
            let after = after.strip_prefix("after=").ok_or("a pause is written `after=30s`")?;
            Answer::Retry(reason(word)?, Some(duration(after)?))
        }
        ["rejected", word] => Answer::Rejected(reason(word)?),
        ["hold"] => Answer::Hold,
        ["lose"] => Answer::Lose,
        _ => return Err(format!("`{text}` is no answer")),
    })
}

fn change(line: &str) -> Result<Change> {
    let mut words = line.split_whitespace();
    let at = time(words.next().unwrap_or_default())?.as_wall();
    let what = match words.next() {
        Some("fires") => Verb::Fires,
        Some("grows") => Verb::Grows,
        Some("ends") => Verb::Ends,
        other => return Err(format!("{other:?} is neither `fires`, `grows` nor `ends`")),
    };
    let name = words.next().ok_or("an alert has a name")?.to_owned();
    let mut change = Change { at, what, name, labels: Vec::new(), severity: None, times: 1 };
    for word in words {
        let (key, value) = word.split_once('=').ok_or("labels are written `user=eve`")?;
        match key {
            "severity" => {
                let found = SEVERITIES.into_iter().find(|known| known.as_str() == value);
                change.severity = Some(found.ok_or_else(|| format!("no severity `{value}`"))?);
            }
            "times" => change.times = value.parse().map_err(|_| format!("no number `{value}`"))?,
            _ => change.labels.push((key.to_owned(), value.to_owned())),
        }
    }
    Ok(change)
}

// ---- plans ----

/// A route that is not yet hung below another.
struct Branch {
    depth: usize,
    receiver: String,
    route: Route,
}

fn plan<'a>(lines: impl Iterator<Item = &'a str>) -> Result<DispatchPlan> {
    let (mut plan, mut branches) = (DispatchPlan::default(), Vec::new());
    for line in lines {
        let depth = line.len() - line.trim_start().len();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("receiver") => {
                let name = words.next().and_then(|name| name.strip_suffix(':'));
                let name = name.ok_or("write `receiver NAME: AUDIENCE`")?;
                let mut words: Vec<&str> = words.collect();
                let is_address = |word: &&str| word.starts_with("at=");
                if let Some(at) = words.iter().position(is_address).map(|at| words.remove(at)) {
                    let addresses = plan.addresses.entry(name.to_owned()).or_default();
                    addresses.push(Address::of([at]));
                }
                let notifier = notifier(&words)?;
                match plan.receivers.iter_mut().find(|receiver| receiver.name == name) {
                    Some(receiver) => receiver.notifiers.push(notifier),
                    None => plan
                        .receivers
                        .push(ReceiverPlan { name: name.to_owned(), notifiers: vec![notifier] }),
                }
            }
            Some("route") => {
                let receiver = words.next().ok_or("a route leads to a receiver")?.to_owned();
                let route = route(&words.collect::<Vec<_>>())?;
                branches.push(Branch { depth, receiver, route });
            }
            Some("inhibit") => plan.inhibit.push(inhibit(words)?),
            _ => return Err(format!("`{line}` is neither receiver, route nor inhibition")),
        }
    }
    // From the last to the first, so that each finds those below it in its place.
    while let Some(Branch { depth, receiver, mut route }) = branches.pop() {
        let found = plan.receivers.iter().position(|known| known.name == receiver);
        route.receiver_index = found.ok_or_else(|| format!("no receiver `{receiver}`"))?;
        route.routes.reverse();
        match branches.iter_mut().rev().find(|above| above.depth < depth) {
            Some(above) => above.route.routes.push(route),
            None => plan.route = route,
        }
    }
    Ok(plan)
}

/// `inhibit from MATCHER… to MATCHER… [equal=LABEL,…]`
fn inhibit<'a>(words: impl Iterator<Item = &'a str>) -> Result<InhibitRule> {
    let (mut rule, mut is_target) = (InhibitRule::default(), false);
    for word in words {
        match word {
            "from" => is_target = false,
            "to" => is_target = true,
            _ => {
                if let Some(labels) = word.strip_prefix("equal=") {
                    rule.equal = labels.split(',').map(str::to_owned).collect();
                } else {
                    let matcher = Matcher::parse(word).map_err(|error| error.to_string())?;
                    if is_target { rule.target.push(matcher) } else { rule.source.push(matcher) }
                }
            }
        }
    }
    Ok(rule)
}

/// `10:00-11:30`, every day in UTC.
fn daily(text: &str) -> Result<Arc<TimeIntervals>> {
    let minute = |text: &str| {
        let (hour, minute) = text.split_once(':')?;
        Some(hour.parse::<u16>().ok()? * 60 + minute.parse::<u16>().ok()?)
    };
    let range = text.split_once('-').and_then(|(from, to)| minute(from).zip(minute(to)));
    let interval = TimeInterval {
        times: vec![range.ok_or_else(|| format!("`{text}` is not `10:00-11:00`"))?],
        weekdays: Vec::new(),
        days_of_month: Vec::new(),
        months: Vec::new(),
        years: Vec::new(),
        location: jiff::tz::TimeZone::UTC,
    };
    Ok(Arc::new(TimeIntervals { name: text.to_owned(), intervals: vec![interval] }))
}

fn group_by(value: &str) -> GroupBy {
    match value {
        "each" => GroupBy::Each,
        "" => GroupBy::Labels(Vec::new()),
        names => GroupBy::Labels(names.split(',').map(str::to_owned).collect()),
    }
}

fn route(words: &[&str]) -> Result<Route> {
    let mut route = Route::default();
    let GroupingOverride { by, wait, interval, repeat } = &mut route.grouping;
    for word in words {
        match word.split_once('=') {
            _ if *word == "continue" => route.continue_matching = true,
            Some(("by", value)) => *by = Some(group_by(value)),
            Some(("wait", value)) => *wait = Some(duration(value)?),
            Some(("interval", value)) => *interval = Some(duration(value)?),
            Some(("repeat", value)) => *repeat = Some(duration(value)?),
            Some(("mute", value)) => route.times.mute.push(daily(value)?),
            Some(("active", value)) => route.times.active.push(daily(value)?),
            _ => route.matchers.push(Matcher::parse(word).map_err(|error| error.to_string())?),
        }
    }
    Ok(route)
}

/// What the kinds of each audience have when nothing else is said.
fn notifier(words: &[&str]) -> Result<NotifierPlan> {
    let grouping = |by, wait, interval, repeat| Grouping {
        by: group_by(by),
        wait: Duration::from_secs(wait),
        interval: Duration::from_secs(interval),
        repeat: Duration::from_secs(repeat),
    };
    let people = || grouping("alertname", 30, 300, 14_400);
    let (audience, usual) = match words.first() {
        Some(&"people") => (Audience::People, people()),
        Some(&"editable") => (Audience::Editable, people()),
        Some(&"machine") => (Audience::Machine, grouping("", 0, 10, 0)),
        Some(&"resend") => (Audience::Resend, grouping("", 0, 0, 60)),
        other => return Err(format!("there is no audience {other:?}")),
    };
    let mut notifier = NotifierPlan {
        kind: words[0].to_owned(),
        grouping: usual,
        send_resolved: true,
        audience,
        spacing: Duration::ZERO,
        recipients: Vec::new(),
        attempt_max: Duration::from_secs(60),
        failing_after: Duration::from_secs(600),
    };
    for word in &words[1..] {
        let Some((key, value)) = word.split_once('=') else {
            return Err(format!("`{word}` is no setting of a receiver"));
        };
        match key {
            "by" => notifier.grouping.by = group_by(value),
            "wait" => notifier.grouping.wait = duration(value)?,
            "interval" => notifier.grouping.interval = duration(value)?,
            "repeat" => notifier.grouping.repeat = duration(value)?,
            "spacing" => notifier.spacing = duration(value)?,
            "to" => notifier.recipients = value.split(',').map(str::to_owned).collect(),
            "attempt" => notifier.attempt_max = duration(value)?,
            "failing" => notifier.failing_after = duration(value)?,
            "resolved" => notifier.send_resolved = value != "no",
            _ => return Err(format!("`{word}` is no setting of a receiver")),
        }
    }
    Ok(notifier)
}
