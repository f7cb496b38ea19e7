//! What people did, as JSON. Times are RFC 3339 in UTC.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use crate::engine::{
    act::{Acted, Deed, Episode, Person, Preview, Silence, SilencePhase},
    time::WallTime,
};

#[derive(Serialize)]
pub(super) struct PersonView<'a> {
    name: &'a str,
    role: &'a str,
    address: &'a str,
}

#[derive(Serialize)]
pub(super) struct DeedView<'a> {
    act: String,
    what: &'static str,
    value: &'a str,
    by: PersonView<'a>,
    at: String,
    severity: &'static str,
    text: &'a str,
}

/// One episode of an alert, with what people did about it.
#[derive(Serialize)]
pub(super) struct EpisodeView<'a> {
    fingerprint: String,
    starts_at: String,
    rule_id: &'a str,
    rule_title: &'a str,
    severity: &'static str,
    labels: &'a BTreeMap<String, String>,
    firing: bool,
    ended_at: Option<String>,
    acknowledged_by: Option<&'a str>,
    /// It is not repeated: somebody takes care of it, and it is no graver since.
    is_quieted: bool,
    assignee: Option<&'a str>,
    verdict: Option<&'static str>,
    /// Silences that hide it now, or did when it ended.
    silenced_by: Vec<String>,
    /// Silences that have hidden it at some time.
    hidden_by: Vec<String>,
    deeds: Vec<DeedView<'a>>,
}

#[derive(Serialize)]
pub(super) struct SilenceView<'a> {
    id: String,
    state: &'static str,
    matchers: Vec<String>,
    author: PersonView<'a>,
    reason: &'a str,
    made_at: String,
    starts_at: String,
    ends_at: String,
    ended_by: Option<PersonView<'a>>,
    ended_because: Option<&'a str>,
    /// Alerts that it has hidden.
    hidden_count: u64,
    /// Of these, those that fire now.
    hiding_count: u64,
}

#[derive(Serialize)]
pub(super) struct OnAlertView<'a> {
    #[serde(flatten)]
    alert: EpisodeView<'a>,
    /// How many of the deeds others did before this act.
    before_count: usize,
}

#[derive(Serialize)]
pub(super) struct ActedView<'a> {
    again: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    silence: Option<SilenceView<'a>>,
    alerts: Vec<OnAlertView<'a>>,
    unknown: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct PreviewView<'a> {
    firing_count: usize,
    last_24h_count: usize,
    all_firing_count: usize,
    alerts: Vec<HiddenView<'a>>,
}

#[derive(Serialize)]
struct HiddenView<'a> {
    fingerprint: String,
    starts_at: String,
    rule_title: &'a str,
    severity: &'static str,
    labels: &'a BTreeMap<String, String>,
    firing: bool,
    silenced_already: bool,
}

/// Those that run first.
pub(super) const fn order(phase: SilencePhase) -> u8 {
    match phase {
        SilencePhase::Active => 0,
        SilencePhase::Pending => 1,
        SilencePhase::Expired => 2,
    }
}

fn person(person: &Person) -> PersonView<'_> {
    PersonView { name: &person.name, role: &person.role, address: &person.address }
}

fn deed(deed: &Deed) -> DeedView<'_> {
    DeedView {
        act: deed.act.to_string(),
        what: deed.kind.as_str(),
        value: deed.kind.value(),
        by: person(&deed.by),
        at: deed.at.rfc3339(),
        severity: deed.severity.as_str(),
        text: &deed.text,
    }
}

pub(super) fn episode(episode: &Episode) -> EpisodeView<'_> {
    EpisodeView {
        fingerprint: episode.key.fingerprint.to_string(),
        starts_at: episode.key.starts_at.rfc3339(),
        rule_id: &episode.rule_id,
        rule_title: &episode.title,
        severity: episode.severity.as_str(),
        labels: &episode.labels,
        firing: episode.is_firing(),
        ended_at: episode.ended.map(WallTime::rfc3339),
        acknowledged_by: episode.acknowledged().map(|deed| deed.by.name.as_str()),
        is_quieted: episode.is_quieted(),
        assignee: episode.assignee(),
        verdict: episode.verdict().map(crate::engine::act::Verdict::as_str),
        silenced_by: episode.silenced_by.iter().map(ToString::to_string).collect(),
        hidden_by: episode.hidden_by.iter().map(ToString::to_string).collect(),
        deeds: episode.deeds.iter().map(|one| deed(one)).collect(),
    }
}

pub(super) fn silence(silence: &Silence) -> SilenceView<'_> {
    let ended_by = silence.ended_by.as_ref();
    SilenceView {
        id: silence.id.to_string(),
        state: silence.phase.as_str(),
        matchers: silence.matchers.iter().map(ToString::to_string).collect(),
        author: person(&silence.author),
        reason: &silence.reason,
        made_at: silence.made_at.rfc3339(),
        starts_at: silence.starts_at.rfc3339(),
        ends_at: silence.ends_at.rfc3339(),
        ended_by: ended_by.map(|(by, _)| person(by)),
        ended_because: ended_by.map(|(_, why)| why.as_str()),
        hidden_count: silence.hidden_count,
        hiding_count: silence.hiding_count,
    }
}

pub(super) fn acted(acted: &Acted) -> ActedView<'_> {
    let on = acted
        .alerts
        .iter()
        .map(|on| OnAlertView { alert: episode(&on.episode), before_count: on.before });
    ActedView {
        again: acted.again,
        silence: acted.silence.as_deref().map(silence),
        alerts: on.collect(),
        unknown: acted.unknown.iter().map(|name| name.fingerprint.to_string()).collect(),
    }
}

pub(super) fn preview(preview: &Preview) -> PreviewView<'_> {
    let hidden = preview.hidden.iter().map(|hidden| {
        let episode: &Arc<Episode> = &hidden.episode;
        HiddenView {
            fingerprint: episode.key.fingerprint.to_string(),
            starts_at: episode.key.starts_at.rfc3339(),
            rule_title: &episode.title,
            severity: episode.severity.as_str(),
            labels: &episode.labels,
            firing: episode.is_firing(),
            silenced_already: hidden.is_silenced,
        }
    });
    PreviewView {
        firing_count: preview.firing_count,
        last_24h_count: preview.day_count,
        all_firing_count: preview.all_firing_count,
        alerts: hidden.collect(),
    }
}
