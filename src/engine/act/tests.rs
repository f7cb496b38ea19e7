//! What a silence may hide, wherever it is asked.

use std::{collections::BTreeMap, time::Duration};

use super::*;
use crate::engine::{
    alert::{Alert, CANARY, HEARTBEAT},
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
            ends_at: now.plus(HOUR),
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
        ends_at: now.plus(HOUR),
    };
    let silence = acts.perform(now, act(What::AddSilence(what))).unwrap().silence.unwrap().id;
    let key = EpisodeKey::of(&heartbeat);
    acts.change(key, |episode| episode.hide(vec![silence]));
    let mut stored = Vec::new();
    acts.take_changes(&mut stored);
    let entries = stored.into_iter().filter_map(|change| {
        Some(StateEntry { table: change.table, key: change.key, value: change.value? })
    });
    let mut restored = Acts::default();
    assert_eq!(restored.restore(&mut entries.into_iter()), 0);
    assert!(!restored.mute(heartbeat.fingerprint).is_silenced);
    assert!(restored.mute(exec.fingerprint).is_silenced);
}

fn act(what: What) -> Act {
    Act { id: ActId([7; 16]), by: Person::new("ann", "", ""), what }
}
