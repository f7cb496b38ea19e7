//! One episode of an alert, as acts see it: what it is, what hides it, what people did about it.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Deed, DeedKind, Silence, SilenceId, Verdict};
use crate::engine::{
    alert::{Alert, AlertState, Fingerprint},
    dispatch::Handling,
    rule::Severity,
    time::{EventTime, WallTime},
};

/// Silences that an episode remembers to have been hidden by: 16, the latest.
const HIDDEN_BY_MAX: usize = 16;

/// Names one episode of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EpisodeKey {
    /// The alert.
    pub fingerprint: Fingerprint,
    /// When the episode began, in event time.
    pub starts_at: EventTime,
}

impl EpisodeKey {
    /// Of the episode that a snapshot belongs to.
    pub const fn of(alert: &Alert) -> EpisodeKey {
        EpisodeKey { fingerprint: alert.fingerprint, starts_at: alert.starts_at }
    }
}

/// One episode of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    /// Its name.
    pub key: EpisodeKey,
    /// Id of the rule.
    pub rule_id: String,
    /// Title of the rule.
    pub title: String,
    /// Labels now, or as they were at its end.
    pub labels: BTreeMap<String, String>,
    /// Severity now, or at its end.
    pub severity: Severity,
    /// When it was first told of, by the operator's clock.
    pub began: WallTime,
    /// When its end was told of; `None` while it fires.
    pub ended: Option<WallTime>,
    /// Silences that hide it now, or did when it ended.
    pub silenced_by: Vec<SilenceId>,
    /// Silences that have hidden it at some time, the latest `HIDDEN_BY_MAX`.
    pub hidden_by: Vec<SilenceId>,
    /// What people did about it, in order.
    pub deeds: Vec<Arc<Deed>>,
}

impl Episode {
    /// That begins with a snapshot.
    pub(super) fn begun(now: WallTime, alert: &Alert) -> Episode {
        Episode {
            key: EpisodeKey::of(alert),
            rule_id: alert.rule_id.clone(),
            title: alert.rule_title.clone(),
            labels: alert.labels.clone(),
            severity: alert.severity,
            began: now,
            ended: (alert.state == AlertState::Resolved).then_some(now),
            silenced_by: Vec::new(),
            hidden_by: Vec::new(),
            deeds: Vec::new(),
        }
    }

    /// Whether it goes on.
    pub const fn is_firing(&self) -> bool {
        self.ended.is_none()
    }

    /// Who has acknowledged it last, whether or not that still stops repetitions.
    pub fn acknowledged(&self) -> Option<&Deed> {
        self.last(|kind| *kind == DeedKind::Acknowledge)
    }

    /// Whether it is not repeated, since somebody takes care of it and it is no graver since.
    pub fn is_quieted(&self) -> bool {
        self.acknowledged().is_some_and(|deed| deed.severity >= self.severity)
    }

    /// Whose it is: whoever it was assigned to last, or acknowledged it since.
    pub fn assignee(&self) -> Option<&str> {
        let takes =
            |kind: &DeedKind| matches!(kind, DeedKind::Acknowledge | DeedKind::Assign { .. });
        let deed = self.last(takes)?;
        let who = match &deed.kind {
            DeedKind::Assign { to } => to,
            _ => &deed.by.name,
        };
        (!who.is_empty()).then_some(who)
    }

    /// What it turned out to be, by the last verdict.
    pub fn verdict(&self) -> Option<Verdict> {
        self.judged().map(|(verdict, _)| verdict)
    }

    /// The last verdict.
    pub(super) fn judged(&self) -> Option<(Verdict, &Deed)> {
        self.deeds.iter().rev().find_map(|deed| match deed.kind {
            DeedKind::Verdict { verdict } => Some((verdict, &**deed)),
            _ => None,
        })
    }

    /// What of it messages show, with the first of the silences that hide it.
    pub(super) fn handling(&self, silence: Option<&Silence>) -> Handling {
        let acknowledged = self.acknowledged().map(|deed| deed.by.name.clone());
        let is_other = |who: &&str| acknowledged.as_deref() != Some(who);
        let assigned = self.assignee().filter(is_other).map(str::to_owned);
        let verdict = self.judged().map(|(verdict, deed)| {
            let word = verdict.as_str().replace('_', " ");
            format!("{word}, by {}", deed.by.name)
        });
        let silenced = silence.map(|silence| {
            format!("until {}, by {}", silence.ends_at.rfc3339(), silence.author.name)
        });
        Handling::new([acknowledged, assigned, verdict, silenced])
    }

    fn last(&self, is_meant: impl Fn(&DeedKind) -> bool) -> Option<&Deed> {
        self.deeds.iter().rev().find(|deed| is_meant(&deed.kind)).map(|deed| &**deed)
    }

    /// Notes which silences hide it now; whether that is news.
    pub(super) fn hide(&mut self, silences: Vec<SilenceId>) -> bool {
        if self.silenced_by == silences {
            return false;
        }
        for silence in &silences {
            self.hidden_by.retain(|known| known != silence);
            self.hidden_by.push(*silence);
        }
        let surplus = self.hidden_by.len().saturating_sub(HIDDEN_BY_MAX);
        self.hidden_by.drain(..surplus);
        self.silenced_by = silences;
        true
    }
}
