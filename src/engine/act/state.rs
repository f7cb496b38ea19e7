//! What people did as state entries: what is stored of it, and how it is read back.
//!
//! Four kinds of entries in one table, told apart by the first byte of the key, so that a comment does not
//! write again what was said before it:
//! - `s` + silence: [`SilenceRecord`];
//! - `e` + fingerprint + start: [`EpisodeRecord`];
//! - `d` + fingerprint + start + number: a [`Deed`] of that episode;
//! - `i` + act: `Done`.
//!
//! Each value begins with its version. Behind a silence and a `Done` stands a digest of what was sent, which earlier
//! versions did not store and do not look at. An entry that cannot be read is left out and counted.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    ActDigest, Acts, Deed, Episode, Person, Silence, SilenceId, SilencePhase,
    state_key::{ActStateKey, Done},
};
use crate::engine::{
    dispatch::Matcher,
    encode::encode_into,
    rule::Severity,
    state::{StateChange, StateEntry, StateTable},
    time::WallTime,
};

/// First byte of every value.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct SilenceRecord {
    matchers: Vec<String>,
    author: Person,
    reason: String,
    made_at: WallTime,
    starts_at: WallTime,
    ends_at: WallTime,
    phase: SilencePhase,
    ended_by: Option<(Person, String)>,
    hidden_count: u64,
    hid_at: WallTime,
    end_told_at: Option<WallTime>,
    idleness_told_at: Option<WallTime>,
}

#[derive(Serialize, Deserialize)]
struct EpisodeRecord {
    rule_id: String,
    title: String,
    labels: BTreeMap<String, String>,
    severity: Severity,
    began: WallTime,
    ended: Option<WallTime>,
    silenced_by: Vec<SilenceId>,
    hidden_by: Vec<SilenceId>,
}

impl ActStateKey {
    /// How it is now, for the next checkpoint.
    pub(super) fn change(self, acts: &Acts) -> StateChange {
        let value = match self {
            ActStateKey::Silence(id) => {
                acts.silences.get(&id).map(|one| encode_sent(&record_of(one), one.sent))
            }
            ActStateKey::Episode(key) => acts.episodes.get(&key).map(|episode| {
                encode(&EpisodeRecord {
                    rule_id: episode.rule_id.clone(),
                    title: episode.title.clone(),
                    labels: episode.labels.clone(),
                    severity: episode.severity,
                    began: episode.began,
                    ended: episode.ended,
                    silenced_by: episode.silenced_by.clone(),
                    hidden_by: episode.hidden_by.clone(),
                })
            }),
            ActStateKey::Deed(key, number) => {
                let deed = acts.episodes.get(&key).and_then(|one| one.deeds.get(number as usize));
                deed.map(|deed| encode(&**deed))
            }
            ActStateKey::Done(act) => acts.done.get(&act).map(|done| encode_sent(done, done.sent)),
        };
        StateChange { table: StateTable::Act, key: self.to_bytes(), value }
    }
}

fn record_of(silence: &Silence) -> SilenceRecord {
    SilenceRecord {
        matchers: silence.matchers.iter().map(Matcher::to_string).collect(),
        author: silence.author.clone(),
        reason: silence.reason.clone(),
        made_at: silence.made_at,
        starts_at: silence.starts_at,
        ends_at: silence.ends_at,
        phase: silence.phase,
        ended_by: silence.ended_by.clone(),
        hidden_count: silence.hidden_count,
        hid_at: silence.hid_at,
        end_told_at: silence.end_told_at,
        idleness_told_at: silence.idleness_told_at,
    }
}

fn silence_of(
    id: SilenceId,
    (record, sent): (SilenceRecord, Option<ActDigest>),
) -> Option<Silence> {
    let matchers = record.matchers.iter().map(|text| Matcher::parse(text).ok());
    Some(Silence {
        id,
        matchers: matchers.collect::<Option<Vec<Matcher>>>()?,
        author: record.author,
        reason: record.reason,
        made_at: record.made_at,
        starts_at: record.starts_at,
        ends_at: record.ends_at,
        phase: record.phase,
        sent,
        ended_by: record.ended_by,
        hidden_count: record.hidden_count,
        hiding_count: 0,
        hid_at: record.hid_at,
        end_told_at: record.end_told_at,
        idleness_told_at: record.idleness_told_at,
    })
}

fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    encode_into(vec![VERSION], record)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).ok(),
        _ => None,
    }
}

/// With a digest of what was sent behind it.
fn encode_sent<T: Serialize>(record: &T, sent: Option<ActDigest>) -> Vec<u8> {
    let mut bytes = encode(record);
    bytes.extend(sent.into_iter().flatten());
    bytes
}

fn decode_sent<T: DeserializeOwned>(bytes: &[u8]) -> Option<(T, Option<ActDigest>)> {
    let (&VERSION, rest) = bytes.split_first()? else { return None };
    match postcard::take_from_bytes(rest).ok()? {
        (record, []) => Some((record, None)),
        (record, sent) => Some((record, Some(sent.try_into().ok()?))),
    }
}

impl Acts {
    /// Takes up what a store held; other tables' entries are passed over. Only when it is empty. Returns how
    /// many entries could not be used.
    pub fn restore(&mut self, entries: &mut dyn Iterator<Item = StateEntry>) -> usize {
        let (mut deeds, mut unusable) = (Vec::new(), 0);
        for entry in entries.filter(|entry| entry.table == StateTable::Act) {
            let key = ActStateKey::from_bytes(&entry.key);
            let taken = match key {
                Some(ActStateKey::Deed(episode, number)) => {
                    deeds.push((episode, number, entry.value));
                    continue;
                }
                Some(key) => self.restore_one(key, &entry.value),
                None => None,
            };
            unusable += usize::from(taken.is_none());
        }
        deeds.sort_unstable();
        for (episode, _, value) in deeds {
            let episode = self.episodes.get_mut(&episode);
            let deed = decode::<Deed>(&value);
            match episode.zip(deed) {
                Some((episode, deed)) => Arc::make_mut(episode).deeds.push(Arc::new(deed)),
                None => unusable += 1,
            }
        }
        self.restored();
        unusable
    }

    fn restore_one(&mut self, key: ActStateKey, value: &[u8]) -> Option<()> {
        match key {
            ActStateKey::Silence(id) => {
                let silence = silence_of(id, decode_sent(value)?)?;
                self.silences.insert(id, Arc::new(silence));
            }
            ActStateKey::Episode(key) => {
                let record: EpisodeRecord = decode(value)?;
                let episode = Episode {
                    key,
                    rule_id: record.rule_id,
                    title: record.title,
                    labels: record.labels,
                    severity: record.severity,
                    began: record.began,
                    ended: record.ended,
                    silenced_by: record.silenced_by,
                    hidden_by: record.hidden_by,
                    deeds: Vec::new(),
                };
                self.episodes.insert(key, Arc::new(episode));
            }
            ActStateKey::Done(act) => {
                let (done, sent) = decode_sent(value)?;
                self.done.insert(act, Done { sent, ..done });
            }
            ActStateKey::Deed(..) => return None,
        }
        Some(())
    }
}
