//! What the ledger tells of how a rule does: how its alerts were judged, when it was replaced, and at which levels
//! events were recorded.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    super::row::Episode,
    asked::{Asked, When},
    ledger::{Answer, ROWS_MAX, ask, last_rows, rows},
    list::verdict_words,
    view::View,
};
use crate::{
    archive::{ArchiveError, Filter, Reader},
    engine::{
        act::{DeedKind, Verdict},
        ledger::{Entry, EntryKind, Row},
        text::one_line,
        time::EventTime,
    },
};

/// How far back it is looked for what replaced what: 400 days, as long as the ledger is kept by default.
const BACK: std::time::Duration = std::time::Duration::from_secs(400 * 86_400);

/// Recorded accesses from which it is told at which levels events come: the last 2,000.
const LEVELS_OF: usize = 2_000;

/// Changes of a rule that are shown, the latest: 20.
const CHANGES_SHOWN: usize = 20;

/// Days that are shown one by one: 31, the latest.
const DAYS_SHOWN: usize = 31;

const DAY: i64 = 86_400_000_000;

/// The last verdict on each episode.
pub(super) type Verdicts = BTreeMap<(String, EventTime), Verdict>;

/// What the ledger tells of a rule.
#[derive(Default)]
pub(super) struct Record {
    pub(super) verdicts: Verdicts,
    /// Accesses by the level at which they were recorded.
    pub(super) levels: BTreeMap<&'static str, u64>,
    pub(super) changes: Vec<Change>,
}

/// A rule set took the place of another one, and the rule was part of what is different.
pub(super) struct Change {
    pub(super) when: When,
    pub(super) what: String,
    pub(super) version: String,
    pub(super) before: String,
}

/// How many alerts were judged, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) good: usize,
    pub(super) benign: usize,
    pub(super) bad: usize,
    pub(super) all: usize,
}

/// One day of a rule.
pub(super) struct Day {
    pub(super) day: String,
    pub(super) judged: Judged,
}

impl Judged {
    /// Of some episodes.
    pub(super) fn of(episodes: &[Arc<Episode>], verdicts: &Verdicts) -> Judged {
        episodes.iter().fold(Judged::default(), |judged, episode| judged.with(episode, verdicts))
    }

    fn with(mut self, episode: &Episode, verdicts: &Verdicts) -> Judged {
        let key = (episode.fingerprint.clone(), episode.starts_at);
        let remembered = episode.acts.as_ref().and_then(|acts| acts.verdict());
        self.all += 1;
        match remembered.or_else(|| verdicts.get(&key).copied()) {
            Some(Verdict::TruePositive) => self.good += 1,
            Some(Verdict::Benign) => self.benign += 1,
            Some(Verdict::FalsePositive) => self.bad += 1,
            None => {}
        }
        self
    }

    /// How many of them somebody judged.
    pub(super) const fn count(&self) -> usize {
        self.good + self.benign + self.bad
    }

    /// What was noise: somebody was allowed to, or nobody did it.
    pub(super) const fn noise(&self) -> usize {
        self.benign + self.bad
    }

    /// `75 %`: the share of true positives among those that somebody judged, as reports count it.
    pub(super) fn precision(&self) -> Option<String> {
        (self.count() > 0).then(|| format!("{} %", self.good * 100 / self.count()))
    }

    /// The same with what it is made of, or why there is none.
    pub(super) fn words(&self) -> Vec<String> {
        let Some(precision) = self.precision() else {
            return vec![match self.all {
                0 => "not known: no alert in this range".to_owned(),
                all => format!("not known: none of {all} in this range was judged"),
            }];
        };
        let parts = [
            (Verdict::TruePositive, self.good),
            (Verdict::Benign, self.benign),
            (Verdict::FalsePositive, self.bad),
        ];
        let parts = parts.map(|(verdict, count)| format!("{count} {}", verdict_words(verdict)));
        let open = self.all - self.count();
        vec![format!("{precision} true positives of {} judged", self.count()), {
            format!("{}, {open} not judged", parts.join(", "))
        }]
    }
}

/// What the ledger tells of a rule, over the range of a page and what led there.
pub(super) async fn record(context: &View, asked: &Asked, name: &str) -> Answer<Record> {
    let (from, to, name, asked) = (asked.from, asked.to, name.to_owned(), asked.clone());
    ask(context, move |reader| {
        let (accesses, _) = last_rows(reader, &[Filter::Accesses], (from, to), LEVELS_OF)?;
        let mut levels: BTreeMap<&'static str, u64> = BTreeMap::new();
        for access in accesses.iter().filter_map(Row::access) {
            let level = access.level.map_or("not said", |level| level.as_str());
            *levels.entry(level).or_default() += 1;
        }
        let range = (to.minus(BACK), to);
        let (sets, _) = last_rows(reader, &[Filter::Entries(EntryKind::Rules)], range, ROWS_MAX)?;
        let sets = sets.iter().rev().filter_map(|row| Some((row.at(), row.entry()?)));
        let changed = sets.filter_map(|(at, entry)| change(&asked, at, entry, &name));
        let changes = changed.take(CHANGES_SHOWN).collect();
        Ok(Record { verdicts: verdicts(reader, from)?, levels, changes })
    })
    .await
}

/// The last verdict on each episode, from a time on.
pub(super) fn verdicts(reader: &Reader, from: EventTime) -> Result<Verdicts, ArchiveError> {
    let filters = vec![Filter::Entries(EntryKind::Verdict)];
    let told = rows(reader, filters, (from, EventTime::MAX), ROWS_MAX)?.rows;
    let verdict = |row: &Row| {
        let entry = row.entry()?;
        let starts_at = entry.fact_of("starts_at").and_then(EventTime::parse)?;
        match entry.deed()?.kind {
            DeedKind::Verdict { verdict } => Some(((entry.subject.clone(), starts_at), verdict)),
            _ => None,
        }
    };
    Ok(told.iter().filter_map(verdict).collect())
}

/// What an entry about a rule set says of one of its rules; `None` if that stayed as it was.
fn change(asked: &Asked, at: EventTime, entry: &Entry, name: &str) -> Option<Change> {
    if matches!(entry.what.as_str(), "text" | "files" | "still") {
        return None;
    }
    let listed = |word: &str| entry.fact_of(word).unwrap_or_default();
    let names = |word: &str| listed(word).split(", ").any(|known| known == name);
    let what = if names("added") {
        "came"
    } else if names("removed") {
        "went"
    } else if names("changed") {
        "was changed"
    } else if ["added", "removed", "changed"].iter().any(|word| listed(word).ends_with('…')) {
        "may have been changed: the list of what was is cut"
    } else {
        return None;
    };
    let before = one_line(listed("before"), 40);
    Some(Change {
        when: asked.when(at),
        what: what.to_owned(),
        version: one_line(&entry.subject, 40),
        before,
    })
}

/// The days of a range on which alerts began, the latest first.
pub(super) fn days(asked: &Asked, episodes: &[Arc<Episode>], verdicts: &Verdicts) -> Vec<Day> {
    let mut days: BTreeMap<String, Judged> = BTreeMap::new();
    for episode in episodes.iter().filter(|episode| episode.starts_at >= asked.from) {
        let day = asked.full(episode.starts_at);
        let judged = days.entry(day.get(..10).unwrap_or(&day).to_owned()).or_default();
        *judged = judged.with(episode, verdicts);
    }
    let days = days.into_iter().rev().take(DAYS_SHOWN);
    days.map(|(day, judged)| Day { day, judged }).collect()
}

/// How many a day that is.
pub(super) fn per_day(count: usize, asked: &Asked) -> String {
    let micros = asked.to.micros().saturating_sub(asked.from.micros()).max(1);
    // In tenths, so that nothing is rounded away by whole days.
    let tenths = i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(10 * (DAY / 1_000_000))
        / (micros / 1_000_000).max(1);
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::Judged;

    #[test]
    fn precision_is_the_share_of_true_positives_among_those_that_were_judged() {
        let judged = Judged { good: 3, benign: 1, bad: 0, all: 6 };
        assert_eq!(judged.precision().as_deref(), Some("75 %"));
        assert_eq!((judged.noise(), judged.count()), (1, 4));
        let words = judged.words().join("; ");
        assert!(words.contains("2 not judged") && words.contains("of 4 judged"), "{words}");
        let open = Judged { all: 6, ..Judged::default() };
        assert_eq!((open.precision(), open.words().len()), (None, 1));
    }
}
