//! What must hold at the end, when all faults are over and everything has come to rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tripline::engine::{
    access::Observed,
    alert::{Alert, AlertState, Fingerprint},
    dispatch::{Audience, NotificationId},
    ledger::{Chain, hex_of},
    limits::FLOOD_ROWS,
    state::StateTable,
};

use super::{
    broker::Broker,
    checkers::{Checked, brief, ensure},
    model::{Input, Model, Summary, ideal, replay, summary},
    receivers::{Notifier, REORDERED, Receivers},
    rules::{FromEvents, LONG_MEMORIES, from_events, is_silence, rule_sets},
    silence::last_heard,
    world::World,
};

/// How long everything may take to come to rest, in minutes: longer than the longest pause that a
/// receiver may ask for, and than a resolved alert is told to Alertmanager.
const REST_MINUTES: u32 = 240;

/// Longer than any rule takes silence for nothing.
const SILENCE_MAX: Duration = Duration::from_secs(780);

/// For how long a cool-down is remembered: 10 minutes, and as long again if an alert that begins then
/// is to show what was held back.
const COOL_DOWN_MINUTES: u32 = 21;

/// How many rows in a row may come about just when everything rests.
const ROWS_AT_LAST: u32 = 3;

/// What stands for the rule of alerts about receivers.
const ABOUT_RECEIVERS: &str = "tripline.receiver";

/// Lets the world come to rest and looks at what came of everything.
pub(super) fn finish(world: &mut World) -> Checked {
    world.heal();
    let mut minutes = 0;
    loop {
        for pick in 0..3 {
            world.tell(pick, false);
        }
        // Not a minute, which is the time between two repetitions.
        world.advance(57_000_000)?;
        let missing = unrest(world);
        let cools_down = world.checkers.changed.iter().any(|alert| alert.rule_id == "config_read");
        if missing.is_empty() && (!cools_down || minutes > COOL_DOWN_MINUTES) {
            break;
        }
        minutes += 1;
        ensure("everything comes to rest", minutes < REST_MINUTES, || missing)?;
    }
    // What was forgotten last is not durable yet, nor a row that time has just brought.
    world.advance(2_000_000)?;
    let mut rows = 0;
    while rows < ROWS_AT_LAST && chain_of(world) != Some(world.disk.chain) {
        rows += 1;
        world.advance(2_000_000)?;
    }
    covers_everything(&world.history, &world.broker)?;
    every_dead_letter_is_kept(world)?;
    let model = replay(&world.history, &world.broker, &mut world.detectors);
    let may_be_late = world.checkers.may_be_late;
    ensure("what is not stalled is not late", may_be_late || model.late == 0, || {
        format!("{} late", model.late)
    })?;
    ensure("who is told to be silent has been", model.false_silences.is_empty(), || {
        model.false_silences.concat()
    })?;
    let by_alert = model.by_alert();
    for notifier in &world.receivers.notifiers {
        hears_of_others(notifier)?;
        receiver_knows(notifier, &world.receivers, &by_alert)?;
    }
    if !world.checkers.rules_changed {
        let ideal = ideal(&world.history, &world.broker, &mut world.detectors, &model);
        ensure("the ideal is not late", ideal.late == 0, || format!("{}", ideal.late))?;
        compare(&model, &ideal, may_be_late)?;
    }
    ledger_tells(world, &model)?;
    // The driver heard of each change at most once, in order, and of none that is not durable.
    let mut changes = model.alerts.iter();
    for alert in world.checkers.changed.iter().filter(|alert| !is_about_a_receiver(alert)) {
        let happened = changes.any(|change| change == alert);
        ensure("what the driver hears happened", happened, || brief([alert]))?;
    }
    the_silent_are_silent(world)?;
    the_ledger_is_whole(world)?;
    nothing_is_left(world)
}

/// Where the ledger's chain has come to, in the process.
fn chain_of(world: &World) -> Option<Chain> {
    Some(world.life.as_ref()?.coordinator.member().recorder().chain())
}

/// Rows without a hole, one chain, and each request in it that a rule records.
fn the_ledger_is_whole(world: &mut World) -> Checked {
    let Some(chain) = chain_of(world) else { return Ok(()) };
    let archived = world.disk.chain;
    ensure("the archive has the whole chain", chain == archived, || {
        format!("{archived:?}, not {chain:?}")
    })?;
    let partitions = world.broker.partitions.iter().enumerate();
    let all = partitions.map(|(index, partition)| (index, 0..partition.records.len())).collect();
    let wall = world.wall();
    let found = world.detectors.detect(wall, 0, &world.broker, &all);
    let is_read = |observed: &&Observed| {
        observed.access().classes.iter().any(|class| &**class == "secret_read")
    };
    let accesses = found.accesses.iter().filter(is_read);
    let expected: BTreeSet<String> =
        accesses.map(|observed| hex_of(&observed.access().request)).collect();
    let recorded = world.disk.recorded("secret_read");
    // Of a flood the first ones are, and the others are counted together.
    let most = usize::try_from(FLOOD_ROWS).unwrap();
    let is_flood = expected.len() > most && recorded.len() >= most && recorded.is_subset(&expected);
    ensure("each request is recorded", recorded == expected || is_flood, || {
        let missing: Vec<_> = expected.difference(&recorded).collect();
        let more: Vec<_> = recorded.difference(&expected).collect();
        format!("missing {missing:?}, unexpected {more:?}")
    })
}

/// Nobody is told to be silent who has spoken since. Whoever speaks is given some time to fall silent
/// again, which is the same silence then.
fn the_silent_are_silent(world: &World) -> Checked {
    let Some(life) = &world.life else { return Ok(()) };
    let shard = life.coordinator.member().shard();
    for alert in shard.alerts_firing().filter(|alert| is_silence(&alert.rule_id)) {
        let user = alert.labels.get("user").map_or("", String::as_str);
        let Some(last) = last_heard(user, &world.history, &world.broker) else { continue };
        // A rule that is loaded has not heard what was read before.
        let is_known = world.checkers.rules_changed
            || last <= alert.last_seen
            || shard.watermark() <= Some(last.plus(SILENCE_MAX));
        ensure("who is silent is silent", is_known, || {
            format!("{user} was heard at {last}, but{}", brief([alert]))
        })?;
    }
    Ok(())
}

/// What has not come to rest yet; empty if all has. Whoever is silent remains so.
fn unrest(world: &World) -> String {
    let Some(life) = &world.life else { return "no process".to_owned() };
    let member = life.coordinator.member();
    let (shard, dispatcher) = (member.shard(), member.dispatcher());
    let unread = world.broker.partitions.iter().zip(&life.next);
    let unread: usize = unread.map(|(partition, next)| partition.records.len() - next).sum();
    let rules = &rule_sets()[life.rule_set];
    let (silent, firing): (Vec<&Alert>, Vec<&Alert>) = shard
        .alerts_firing()
        .partition(|alert| is_silence(&alert.rule_id) && rules.find(&alert.rule_id).is_some());
    let kept = silent.iter().map(|alert| {
        let is_target =
            |notifier: &&Notifier| world.receivers.is_target(notifier.receiver, &alert.labels);
        world.receivers.notifiers.iter().filter(is_target).count()
    });
    let is_quiet = life.is_ready
        && life.fenced_at.is_none()
        && unread == 0
        && life.flights.is_empty()
        && life.stopped_at.is_none()
        && life.effects.is_empty()
        && !life.coordinator.is_writing()
        && firing.is_empty()
        && shard.correlation_keys().all(|(id, keys)| keys == 0 || LONG_MEMORIES.contains(&id))
        && dispatcher.pending_count() == 0
        && dispatcher.alert_count() == kept.sum::<usize>();
    if is_quiet {
        return String::new();
    }
    let keys: Vec<_> = shard.correlation_keys().filter(|(_, keys)| *keys > 0).collect();
    format!(
        "now {}, watermark {:?}, {unread} unread, {} attempts, {} pending, {} alerts in {} groups, \
         keys {keys:?}, firing:{}\nsilent:{}",
        world.wall(),
        shard.watermark(),
        life.flights.len(),
        dispatcher.pending_count(),
        dispatcher.alert_count(),
        dispatcher.group_count(),
        brief(firing),
        brief(silent)
    )
}

/// What was not lost covers each record exactly once.
fn covers_everything(history: &[Input], broker: &Broker) -> Checked {
    let mut next = vec![0; broker.partitions.len()];
    for input in history {
        let Input::Batch { spans, .. } = input else { continue };
        for (index, span) in spans {
            ensure("records are read once, in order", next[*index] == span.start, || {
                format!("partition {index}: {span:?} after {}", next[*index])
            })?;
            next[*index] = span.end;
        }
    }
    let all: Vec<usize> = broker.partitions.iter().map(|p| p.records.len()).collect();
    ensure("every record is read", next == all, || format!("{next:?} of {all:?}"))
}

/// A record that is no event is not passed over before it is kept.
fn every_dead_letter_is_kept(world: &World) -> Checked {
    for (index, partition) in world.broker.partitions.iter().enumerate() {
        for (offset, record) in partition.records.iter().enumerate() {
            let is_kept = record.time.is_some() || world.dead_letters.has(index, offset);
            ensure("every dead letter is kept", is_kept, || format!("{index}/{offset} is lost"))?;
        }
    }
    Ok(())
}

/// What happened in all lives is what should have happened.
fn compare(model: &Model, ideal: &Model, excused: bool) -> Checked {
    let self_told = |alerts: &[&Alert]| alerts[0].rule_id == "tripline_self";
    let summaries = |model: &Model| -> BTreeMap<Fingerprint, Summary> {
        let by_alert = model.by_alert().into_iter().filter(|(_, alerts)| !self_told(alerts));
        by_alert.filter_map(|(id, alerts)| Some((id, summary(alerts)?))).collect()
    };
    let (found, expected) = (summaries(model), summaries(ideal));
    for (fingerprint, expected) in &expected {
        let found = found.get(fingerprint);
        match from_events(&expected.rule_id) {
            FromEvents::Nothing => {}
            FromEvents::Existence => {
                ensure("no alert is missing", excused || found.is_some(), || {
                    format!("{expected:#?}")
                })?;
            }
            FromEvents::All => {
                let same = found.is_some_and(|found| found.is_like(expected));
                ensure("alerts are those of a world without faults", excused || same, || {
                    format!("{found:#?} is not {expected:#?}")
                })?;
            }
        }
    }
    let extra = found.iter().find(|(fingerprint, found)| {
        from_events(&found.rule_id) != FromEvents::Nothing && !expected.contains_key(*fingerprint)
    });
    ensure("no alert is made up", excused || extra.is_none(), || format!("{extra:#?}"))
}

/// The engine's own word about a receiver that takes nothing. The model knows of none.
fn is_about_a_receiver(alert: &Alert) -> bool {
    alert.rule_id == ABOUT_RECEIVERS
}

/// Who hears that another receiver takes nothing hears of its end too; nobody hears it of himself.
fn hears_of_others(notifier: &Notifier) -> Checked {
    let mut last: BTreeMap<Fingerprint, &Alert> = BTreeMap::new();
    let views = notifier.taken.iter().flat_map(|notification| &notification.alerts);
    for view in views.filter(|alert| is_about_a_receiver(alert)) {
        let about = |name: &str| view.labels.get(name).map(String::as_str);
        let own = about("receiver") == Some(notifier.receiver)
            && about("recipient") == notifier.recipient
            && about("notifier").is_some_and(|name| name.ends_with(notifier.kind));
        // Whoever changes places is somebody else by name.
        let is_named = notifier.receiver != REORDERED;
        ensure("nobody is told that he takes nothing", !(own && is_named), || brief([view]))?;
        last.insert(view.fingerprint, view);
    }
    for view in last.into_values().filter(|_| notifier.send_resolved) {
        let is_over = view.state == AlertState::Resolved;
        ensure("a receiver that takes again is told of", is_over, || brief([view]))?;
    }
    Ok(())
}

/// A receiver was told everything that it should have been told, and nothing else.
fn receiver_knows(
    notifier: &Notifier,
    receivers: &Receivers,
    by_alert: &BTreeMap<Fingerprint, Vec<&Alert>>,
) -> Checked {
    let who = || format!("{} {}", notifier.receiver, notifier.index);
    let mut views: BTreeMap<Fingerprint, Vec<&Alert>> = BTreeMap::new();
    let mut ids: Vec<NotificationId> = Vec::new();
    for notification in &notifier.taken {
        if ids.contains(&notification.id) {
            continue;
        }
        ids.push(notification.id);
        for alert in notification.alerts.iter().filter(|alert| !is_about_a_receiver(alert)) {
            views.entry(alert.fingerprint).or_default().push(alert);
        }
    }
    for (fingerprint, views) in &views {
        let Some(snapshots) = by_alert.get(fingerprint) else {
            return ensure("nothing is made up", false, || {
                format!("{}:{}", who(), brief(views.iter().copied()))
            });
        };
        is_implied(notifier, views, snapshots)?;
    }
    for (fingerprint, snapshots) in by_alert {
        let views = views.get(fingerprint).map_or(&[][..], Vec::as_slice);
        is_told(notifier, receivers, views, snapshots)?;
    }
    Ok(())
}

/// What a receiver was shown of an alert follows from what became of it.
fn is_implied(notifier: &Notifier, views: &[&Alert], snapshots: &[&Alert]) -> Checked {
    let Some(all) = summary(snapshots.iter().copied()) else { return Ok(()) };
    for (at, view) in views.iter().enumerate() {
        let fits = snapshots.iter().any(|snapshot| snapshot.starts_at == view.starts_at)
            && view.value <= all.value
            && view.severity <= all.severity
            && view.first_seen >= all.first_seen
            && view.last_seen <= all.last_seen;
        // As it was, whether it is shown as firing or as it is; or several episodes in one.
        let shown = |snapshot: &&&Alert| {
            let (state, ends_at) = (snapshot.state, snapshot.ends_at);
            Alert { state, ends_at, ..Alert::clone(view) } == ***snapshot
        };
        let is_merged = snapshots.iter().any(|latest| latest.revision == view.revision)
            && snapshots.iter().filter(|snapshot| snapshot.revision == 1).count() > 1;
        let fits = fits && (is_merged || snapshots.iter().any(|snapshot| shown(&snapshot)));
        ensure("what is shown happened", fits, || {
            format!("{}\nis not of{}", brief([*view]), brief(snapshots.iter().copied()))
        })?;
        let fires_first = matches!(notifier.audience, Audience::Machine | Audience::Resend);
        let begins = !fires_first || view.state == AlertState::Firing || at > 0;
        ensure("machines hear first that it fires", begins, || brief([*view]))?;
    }
    Ok(())
}

/// One episode of an alert. Several may begin at the same moment.
struct Episode<'a> {
    /// Whether it was for the receiver at some time.
    is_target: bool,
    first: &'a Alert,
    snapshots: Vec<&'a Alert>,
}

/// The episodes of an alert, in their order.
fn episodes_of<'a>(
    notifier: &Notifier,
    receivers: &Receivers,
    snapshots: &[&'a Alert],
) -> Vec<Episode<'a>> {
    let mut episodes: Vec<Episode<'a>> = Vec::new();
    for &snapshot in snapshots {
        let is_firing = snapshot.state == AlertState::Firing;
        let is_target = is_firing && receivers.is_target(notifier.receiver, &snapshot.labels);
        match episodes.last_mut().filter(|_| snapshot.revision > 1) {
            Some(episode) => {
                episode.is_target |= is_target;
                episode.snapshots.push(snapshot);
            }
            None => {
                episodes.push(Episode { is_target, first: snapshot, snapshots: vec![snapshot] });
            }
        }
    }
    episodes
}

/// A receiver was told of each episode of an alert that is for it, all of it, and of the end.
fn is_told(
    notifier: &Notifier,
    receivers: &Receivers,
    views: &[&Alert],
    snapshots: &[&Alert],
) -> Checked {
    let mut episodes = episodes_of(notifier, receivers, snapshots);
    episodes.retain(|episode| episode.is_target);
    let what = || {
        let (views, snapshots) = (brief(views.iter().copied()), brief(snapshots.iter().copied()));
        format!("{} {} was told{views}\nof{snapshots}", notifier.receiver, notifier.index)
    };
    for Episode { first, .. } in &episodes {
        let is_told = views.iter().any(|view| {
            view.starts_at == first.starts_at
                || (view.starts_at < first.starts_at && view.last_seen >= first.last_seen)
        });
        ensure("every alert is told", is_told, what)?;
    }
    let Some(last) = views.last().filter(|_| notifier.send_resolved) else { return Ok(()) };
    let is_over = snapshots.last().is_some_and(|last| last.state == AlertState::Resolved);
    ensure("ends are told", !is_over || last.state == AlertState::Resolved, what)?;
    // That it is not more than happened is looked at view by view.
    let owed = summary(episodes.iter().flat_map(|episode| &episode.snapshots).copied());
    let covers = |told: Summary, owed: Summary| {
        told.key == owed.key
            && told.value >= owed.value
            && told.severity >= owed.severity
            && told.first_seen <= owed.first_seen
            && told.last_seen >= owed.last_seen
    };
    let told = summary(views.iter().copied());
    let is_covered = told.zip(owed).is_none_or(|(told, owed)| covers(told, owed));
    ensure("all of it is told", !is_over || is_covered, what)
}

/// The ledger has every change of an alert once.
fn ledger_tells(world: &World, model: &Model) -> Checked {
    let mut expected: Vec<String> =
        model.alerts.iter().map(|alert| alert.fingerprint.to_string()).collect();
    let rows = world.disk.ledger();
    let mut found: Vec<String> = rows
        .iter()
        .filter(|row| row.kind == "alert" && row.party != ABOUT_RECEIVERS)
        .map(|row| row.subject.clone())
        .collect();
    if world.disk.has_repeated {
        found.sort_unstable();
        found.dedup();
        expected.sort_unstable();
        expected.dedup();
    }
    ensure("the ledger has every change", found == expected, || {
        format!("{found:#?} is not {expected:#?}")
    })
}

/// Nothing is kept of what is over.
fn nothing_is_left(world: &mut World) -> Checked {
    let is_anybody_silent = world
        .life
        .as_ref()
        .is_some_and(|life| life.coordinator.member().shard().alerts_firing().next().is_some());
    let entries = world.disk.load().entries;
    // What a rule looks for is in front of every key.
    let is_kept = |entry: &&tripline::engine::state::StateEntry| match entry.table {
        StateTable::Watermark
        | StateTable::Identity
        | StateTable::Unfinished
        | StateTable::SourceNote
        // What people may say of it is remembered for days.
        | StateTable::Act
        | StateTable::Recorder => false,
        StateTable::Correlation | StateTable::Alert => {
            let name = entry.key.get(1..).unwrap_or_default();
            !LONG_MEMORIES.iter().any(|rule| name.starts_with(rule.as_bytes()))
        }
        StateTable::Group => !is_anybody_silent,
    };
    let left: Vec<_> = entries.iter().filter(is_kept).map(|e| (e.table, e.key.clone())).collect();
    ensure("nothing is left over", left.is_empty(), || format!("{left:?}"))
}
