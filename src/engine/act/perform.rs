//! Carries acts out.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Act, ActDigest, ActEntry, ActEntryKind, ActId, Acted, Acts, AlertName, Answer, Deed, DeedKind,
    EpisodeKey, NewSilence, OnAlert, Person, Refused, Silence, SilenceEnd, SilenceId, SilencePhase,
    What, state_key::Done,
};
use crate::engine::{limits, text::bounded_lines, time::WallTime};

/// What somebody said, harmless; nothing of it is cut.
fn whole_text(text: &str) -> Result<String, Refused> {
    let kept = bounded_lines(text, usize::MAX);
    if kept.len() > limits::ACT_TEXT_BYTES_MAX { Err(Refused::TextTooLong) } else { Ok(kept) }
}

impl Acts {
    /// Carries out an act, or says why not; then nothing changed. Ending an alert by hand is only noted here:
    /// whoever keeps alerts ends it. After [`Acts::handle_timeout`] of the same time.
    pub fn perform(&mut self, now: WallTime, act: Act) -> Answer {
        let (id, word, sent) = (act.id, act.what.as_str(), act.what.digest());
        if let Some((before, acted)) = self.done_before(id) {
            if before.is_some_and(|before| before != sent) {
                return self.refused(Refused::AnotherAct);
            }
            self.counts.again += 1;
            return Ok(acted);
        }
        let answer = match act.what {
            What::AddSilence(wanted) => self.add_silence(now, (id, sent), act.by, wanted),
            What::EndSilence { id: silence, why } => self.end_silence(now, silence, act.by, &why),
            What::Alerts { alerts, deed, text } => {
                self.on_alerts(now, (id, act.by), &alerts, &deed, &text)
            }
        };
        let acted = match answer {
            Ok(acted) => acted,
            Err(why) => return self.refused(why),
        };
        *self.counts.done.entry(word).or_default() += 1;
        let alerts = acted.alerts.iter().map(|on| on.episode.key).collect();
        let silence = acted.silence.as_ref().map(|silence| silence.id);
        let unknown = acted.unknown.clone();
        self.remember(id, Done { sent: Some(sent), at: now, silence, alerts, unknown });
        Ok(acted)
    }

    fn refused(&mut self, why: Refused) -> Answer {
        *self.counts.refused.entry(why.as_str()).or_default() += 1;
        Err(why)
    }

    /// What was sent with an id before, if that is known, and what it came to, as things are now.
    fn done_before(&self, id: ActId) -> Option<(Option<ActDigest>, Acted)> {
        if let Some(done) = self.done.get(&id) {
            return Some((done.sent, self.answer_again(id, done)));
        }
        // It is remembered for longer than the act that made it.
        let silence = self.silences.get(&SilenceId::from(id))?;
        let again = Acted { again: true, silence: Some(Arc::clone(silence)), ..Acted::default() };
        Some((silence.sent, again))
    }

    /// What an act came to that was done before, as things are now.
    fn answer_again(&self, id: ActId, done: &Done) -> Acted {
        let on = |key: &EpisodeKey| {
            let episode = Arc::clone(self.episodes.get(key)?);
            let before = episode.deeds.iter().position(|deed| deed.act == id)?;
            Some(OnAlert { episode, before })
        };
        Acted {
            again: true,
            silence: done.silence.and_then(|id| self.silences.get(&id).cloned()),
            alerts: done.alerts.iter().filter_map(on).collect(),
            unknown: done.unknown.clone(),
        }
    }

    fn add_silence(
        &mut self,
        now: WallTime,
        (id, sent): (ActId, ActDigest),
        author: Person,
        wanted: NewSilence,
    ) -> Answer {
        let NewSilence { matchers, reason, starts_at, ends } = wanted;
        let reason = whole_text(&reason)?;
        let ends_at = match ends {
            SilenceEnd::At(at) => at,
            SilenceEnd::After(span) => starts_at.unwrap_or(now).plus(span),
        };
        let starts_at = starts_at.map_or(now, |starts_at| starts_at.max(now));
        let is_short = ends_at.since(starts_at) <= limits::SILENCE_SPAN_MAX;
        if ends_at <= starts_at || !is_short || starts_at.since(now) > limits::SILENCE_SPAN_MAX {
            return Err(Refused::SilenceSpan);
        }
        let nothing = BTreeMap::new();
        let is_choosy = matchers.iter().any(|matcher| !matcher.matches(&nothing));
        if !is_choosy || matchers.len() > limits::MATCHERS_PER_SILENCE_MAX {
            return Err(Refused::SilenceMatchers);
        }
        let is_over = |silence: &Silence| silence.phase == SilencePhase::Expired;
        let open = self.silences.values().filter(|silence| !is_over(silence)).count();
        if open >= limits::SILENCES_MAX {
            return Err(Refused::TooManySilences);
        }
        let id = SilenceId::from(id);
        let silence = Silence {
            id,
            matchers,
            author,
            reason,
            made_at: now,
            starts_at,
            ends_at,
            phase: SilencePhase::Pending,
            sent: Some(sent),
            ended_by: None,
            hidden_count: 0,
            hiding_count: 0,
            hid_at: starts_at,
            end_told_at: None,
            idleness_told_at: None,
        };
        self.entries.push(ActEntry::of_silence(&silence));
        self.put_silence(now, silence);
        Ok(Acted { silence: self.silences.get(&id).cloned(), ..Acted::default() })
    }

    fn end_silence(&mut self, now: WallTime, id: SilenceId, by: Person, why: &str) -> Answer {
        let silence = self.silences.get(&id).ok_or(Refused::UnknownSilence)?;
        if silence.phase == SilencePhase::Expired {
            return Err(Refused::SilenceEnded);
        }
        let why = whole_text(why)?;
        self.entries.push(ActEntry::of_end(silence, now, &by, &why));
        self.change_silence(id, |silence| silence.ended_by = Some((by, why)));
        self.expire(now, id);
        Ok(Acted { silence: self.silences.get(&id).cloned(), ..Acted::default() })
    }

    fn on_alerts(
        &mut self,
        now: WallTime,
        (act, by): (ActId, Person),
        names: &[AlertName],
        kind: &DeedKind,
        text: &str,
    ) -> Answer {
        if names.is_empty() || names.len() > limits::ALERTS_PER_ACT_MAX {
            return Err(Refused::TooManyAlerts);
        }
        let text = whole_text(text)?;
        let kind = match kind {
            DeedKind::Assign { to } => {
                let to = Person::whole_name(to).ok_or(Refused::TextTooLong)?;
                DeedKind::Assign { to }
            }
            other => other.clone(),
        };
        let (mut keys, mut unknown): (Vec<EpisodeKey>, Vec<AlertName>) = (Vec::new(), Vec::new());
        let mut is_over = false;
        for name in names {
            let key = self.named(*name);
            // Only what fires can be ended.
            let is_fit = |key: &EpisodeKey| kind != DeedKind::Resolve || self.firing.contains(key);
            is_over |= key.is_some_and(|key| !is_fit(&key));
            match key.filter(is_fit) {
                Some(key) if keys.contains(&key) => {}
                Some(key) => keys.push(key),
                None => unknown.push(*name),
            }
        }
        if keys.is_empty() {
            return Err(if is_over { Refused::AlertEnded } else { Refused::UnknownAlert });
        }
        let deeds = keys.iter().filter_map(|key| {
            let severity = self.episodes.get(key)?.severity;
            let (kind, text) = (kind.clone(), text.clone());
            Some((*key, Deed { act, by: by.clone(), at: now, kind, severity, text }))
        });
        let deeds: Vec<(EpisodeKey, Deed)> = deeds.collect();
        self.check_room(&deeds)?;
        let mut alerts = Vec::new();
        for (key, deed) in deeds {
            alerts.extend(self.add_deed(key, deed));
        }
        Ok(Acted { alerts, unknown, ..Acted::default() })
    }

    /// Whether there is room for all of these; else none is done.
    fn check_room(&self, deeds: &[(EpisodeKey, Deed)]) -> Result<(), Refused> {
        let is_full = |(key, _): &(EpisodeKey, Deed)| {
            let episode = self.episodes.get(key);
            episode.is_some_and(|episode| episode.deeds.len() >= limits::DEEDS_PER_ALERT_MAX)
        };
        let bytes: usize = deeds.iter().map(|(_, deed)| deed.bytes()).sum();
        if deeds.iter().any(is_full) || self.deed_bytes + bytes > limits::DEED_BYTES_MAX {
            return Err(Refused::TooManyDeeds);
        }
        Ok(())
    }

    fn add_deed(&mut self, key: EpisodeKey, deed: Deed) -> Option<OnAlert> {
        self.deed_bytes += deed.bytes();
        let before = self.change(key, |episode| {
            episode.deeds.push(Arc::new(deed));
            episode.deeds.len() - 1
        })?;
        self.added_deed(key, before);
        let episode = Arc::clone(self.episodes.get(&key)?);
        if let Some(deed) = episode.deeds.last() {
            self.entries.push(ActEntry::of_deed(&episode, entry_kind(&deed.kind), deed));
        }
        Some(OnAlert { episode, before })
    }
}

const fn entry_kind(kind: &DeedKind) -> ActEntryKind {
    match kind {
        DeedKind::Acknowledge => ActEntryKind::Acknowledge,
        DeedKind::Assign { .. } => ActEntryKind::Assign,
        DeedKind::Verdict { .. } => ActEntryKind::Verdict,
        DeedKind::Comment => ActEntryKind::Comment,
        DeedKind::Resolve => ActEntryKind::Resolve,
    }
}
