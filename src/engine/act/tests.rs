//! What a silence may hide, wherever it is asked, and what is known of an act that was done.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::*;
use crate::engine::{
    alert::{Alert, CANARY, HEARTBEAT},
    digest::hex,
    dispatch::Matcher,
    rule::Severity,
    state::StateEntry,
    time::WallTime,
};

const HOUR: Duration = Duration::from_secs(3_600);

fn alert(name: &str, rule_id: &str) -> Alert {
    let labels = [("alertname", name), ("severity", "low")];
    let labels: BTreeMap<String, String> =
        labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Alert::begun(WallTime::epoch(), (rule_id, name), Severity::Low, labels)
}

fn matchers(text: &str) -> Vec<Matcher> {
    vec![Matcher::parse(text).unwrap()]
}

#[test]
fn a_preview_names_what_a_silence_hides() {
    let mut acts = Acts::default();
    let now = WallTime::epoch();
    let told = [
        alert("exec", "exec"),
        alert(HEARTBEAT, "tripline.heartbeat"),
        alert(CANARY, "canary"),
        alert("TriplineSilenceIdle", "tripline.silence_idle"),
    ];
    for alert in &told {
        acts.note(now, alert);
    }
    for (silence, hidden) in [
        ("severity=low", vec!["exec"]),
        ("alertname=~.+", vec!["exec"]),
        ("alertname=tripline_heartbeat", vec![HEARTBEAT]),
        ("alertname=~exec|tripline_canary", vec!["exec", CANARY]),
    ] {
        let previewed = preview(now, &matchers(silence), acts.episodes());
        let mut names: Vec<&str> =
            previewed.hidden.iter().map(|one| one.episode.title.as_str()).collect();
        let what = NewSilence {
            matchers: matchers(silence),
            reason: "r".to_owned(),
            starts_at: None,
            ends: SilenceEnd::After(HOUR),
        };
        let mut acting = Acts::default();
        for alert in &told {
            acting.note(now, alert);
        }
        acting.perform(now, act(What::AddSilence(what))).unwrap();
        let mut silenced: Vec<&str> = acting
            .episodes()
            .filter(|one| !one.silenced_by.is_empty())
            .map(|one| one.title.as_str())
            .collect();
        names.sort_unstable();
        silenced.sort_unstable();
        assert_eq!((names.clone(), silenced), (hidden.clone(), hidden), "{silence}");
    }
}

/// Earlier versions silenced the heartbeat with all that is not grave; it goes on as soon as this one starts.
#[test]
fn what_was_silenced_that_may_not_be_is_heard_again() {
    let (now, mut acts) = (WallTime::epoch(), Acts::default());
    let (exec, heartbeat) = (alert("exec", "exec"), alert(HEARTBEAT, "tripline.heartbeat"));
    acts.note(now, &exec);
    acts.note(now, &heartbeat);
    let what = NewSilence {
        matchers: matchers("severity=low"),
        reason: "r".to_owned(),
        starts_at: None,
        ends: SilenceEnd::After(HOUR),
    };
    let silence = acts.perform(now, act(What::AddSilence(what))).unwrap().silence.unwrap().id;
    let key = EpisodeKey::of(&heartbeat);
    acts.change(key, |episode| episode.hide(vec![silence]));
    let restored = restored(&mut acts);
    assert!(!restored.mute(heartbeat.fingerprint).is_silenced);
    assert!(restored.mute(exec.fingerprint).is_silenced);
}

/// Everything that may be sent differs from all else, and is the same in another order.
#[test]
fn an_act_is_known_by_all_that_was_sent() {
    let now = WallTime::epoch();
    let name = |digit| AlertName { fingerprint: Fingerprint([digit; 16]), starts_at: None };
    let silence = |texts: &[&str], starts_at, ends| {
        let matchers = texts.iter().map(|text| Matcher::parse(text).unwrap()).collect();
        What::AddSilence(NewSilence { matchers, reason: "r".to_owned(), starts_at, ends })
    };
    let on = |alerts: &[u8], deed, text: &str| What::Alerts {
        alerts: alerts.iter().copied().map(name).collect(),
        deed,
        text: text.to_owned(),
    };
    let hour = SilenceEnd::After(HOUR);
    let again = [
        (silence(&["a=b", "c=d"], None, hour), silence(&["c=d", "a=b"], None, hour)),
        (on(&[1, 2], DeedKind::Comment, "t"), on(&[2, 1, 1], DeedKind::Comment, "t")),
    ];
    for (one, same) in &again {
        assert_eq!(one.digest(), same.digest(), "{one:?}");
    }
    let [(one, _), (other, _)] = again;
    let begun = What::Alerts {
        alerts: vec![AlertName { starts_at: Some(now.as_event()), ..name(1) }],
        deed: DeedKind::Comment,
        text: "t".to_owned(),
    };
    let end = |id, why: &str| What::EndSilence { id: SilenceId([id; 16]), why: why.to_owned() };
    let other_reason = What::AddSilence(NewSilence {
        matchers: matchers("a=b"),
        reason: "other".to_owned(),
        starts_at: None,
        ends: hour,
    });
    let all = [
        one,
        other,
        begun,
        other_reason,
        silence(&["a=b"], None, hour),
        silence(&["a!=b"], None, hour),
        silence(&["a=b"], Some(now), hour),
        silence(&["a=b"], None, SilenceEnd::After(2 * HOUR)),
        silence(&["a=b"], None, SilenceEnd::At(now.plus(HOUR))),
        silence(&["a=b"], Some(now.plus(HOUR)), hour),
        end(1, ""),
        end(2, ""),
        end(1, "r"),
        on(&[1], DeedKind::Comment, "t"),
        on(&[1], DeedKind::Comment, ""),
        on(&[2], DeedKind::Comment, "t"),
        on(&[1], DeedKind::Resolve, "t"),
        on(&[1], DeedKind::Assign { to: "t".to_owned() }, ""),
        on(&[1], DeedKind::Assign { to: String::new() }, "t"),
        on(&[1], DeedKind::Verdict { verdict: Verdict::Benign }, ""),
        on(&[1], DeedKind::Verdict { verdict: Verdict::TruePositive }, ""),
    ];
    let digests: BTreeSet<[u8; 8]> = all.iter().map(What::digest).collect();
    assert_eq!(digests.len(), all.len());
    // Stored ones know it.
    assert_eq!(hex(&end(1, "r").digest()), "59ed4a9bcd4bb381");
}

/// A silence is remembered for longer than the act that made it, and what it was made of with it, over a restart, too.
#[test]
fn another_act_with_the_id_of_a_silence_is_refused_as_long_as_it_is_known() {
    let (begin, mut acts) = (WallTime::epoch(), Acts::default());
    let wanted = |hours, ends: fn(WallTime, Duration) -> SilenceEnd| {
        act(What::AddSilence(NewSilence {
            matchers: matchers("severity=low"),
            reason: "r".to_owned(),
            starts_at: None,
            ends: ends(begin, hours * HOUR),
        }))
    };
    let after = |_, span| SilenceEnd::After(span);
    let made = acts.perform(begin, wanted(24 * 30, after)).unwrap();
    assert!(!made.again);
    for (days, restarts, acts_known) in [(0, false, 1), (20, false, 0), (20, true, 0)] {
        if restarts {
            acts = restored(&mut acts);
        }
        let now = begin.plus(days * 24 * HOUR);
        acts.handle_timeout(now);
        assert_eq!(acts.done.len(), acts_known, "{days}");
        assert!(acts.perform(now, wanted(24 * 30, after)).unwrap().again);
        let until = wanted(24 * 30, |begin, span| SilenceEnd::At(begin.plus(span)));
        for other in [wanted(24 * 29, after), until] {
            assert_eq!(acts.perform(now, other).unwrap_err(), Refused::AnotherAct);
        }
    }
}

/// What an older or a newer form of the digest would be is not taken for one.
#[test]
fn what_stands_behind_a_done_act_is_a_digest_or_nothing() {
    let mut acts = Acts::default();
    let what = NewSilence {
        matchers: matchers("severity=low"),
        reason: "r".to_owned(),
        starts_at: None,
        ends: SilenceEnd::After(HOUR),
    };
    acts.perform(WallTime::epoch(), act(What::AddSilence(what))).unwrap();
    let entries = stored(&mut acts);
    for cut in 0..=8 {
        let cut_off = |entry: &StateEntry| {
            let mut entry = entry.clone();
            entry.value.truncate(entry.value.len() - cut);
            entry
        };
        let unusable = Acts::default().restore(&mut entries.iter().map(cut_off));
        assert_eq!(unusable, if matches!(cut, 0 | 8) { 0 } else { 2 }, "{cut}");
    }
}

/// What the acts store anew.
fn stored(acts: &mut Acts) -> Vec<StateEntry> {
    let mut changes = Vec::new();
    acts.take_changes(&mut changes);
    let entries = changes.into_iter().filter_map(|change| {
        Some(StateEntry { table: change.table, key: change.key, value: change.value? })
    });
    entries.collect()
}

fn restored(acts: &mut Acts) -> Acts {
    let mut restored = Acts::default();
    assert_eq!(restored.restore(&mut stored(acts).into_iter()), 0);
    restored
}

fn act(what: What) -> Act {
    Act { id: ActId([7; 16]), by: Person::new("ann", "", ""), what }
}
