//! The alerts of a group, in the orders in which the group asks for them, so that one that changes among
//! thousands costs some steps down a tree and not a look at all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    GroupedAlert, Policy,
    due::{Pace, due_of},
};
use crate::engine::{
    alert::{Alert, Fingerprint},
    rule::Severity,
    time::WallTime,
};

/// The alerts of one group.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct Members {
    all: BTreeMap<Fingerprint, Member>,
    /// By when something is to be said of them.
    dues: BTreeSet<(Pace, WallTime, Fingerprint)>,
    /// Those that ended, by when they leave.
    leaving: BTreeSet<(WallTime, Fingerprint)>,
    /// Those that the receiver refused, by since when.
    refused: BTreeSet<(WallTime, Fingerprint)>,
    /// How many have news.
    news_count: usize,
    /// How many were handled since their message said so.
    handled_count: usize,
    /// Who has how many. Only full groups ask for it, so it is there since somebody did.
    crowd: Option<Crowd>,
}

/// One of them, and where it stands in the orders.
#[derive(Clone, Debug)]
struct Member {
    grouped: GroupedAlert,
    standing: Standing,
}

/// What the orders know of an alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Standing {
    due: Option<(Pace, WallTime)>,
    leaves_at: Option<WallTime>,
    refused_since: Option<WallTime>,
    has_news: bool,
    is_handled: bool,
}

impl Standing {
    fn of(grouped: &GroupedAlert, policy: &Policy) -> Standing {
        let news = grouped.news(policy);
        let refused = grouped.refused.filter(|_| !grouped.is_held || news.is_some());
        Standing {
            due: due_of(grouped, news, policy),
            leaves_at: (!grouped.is_firing()).then(|| grouped.leaves_at(policy)),
            refused_since: refused.map(|refused| refused.since),
            has_news: news.is_some(),
            is_handled: grouped.is_handled_anew(policy),
        }
    }
}

impl Members {
    /// One of them.
    pub(in crate::engine) fn get(&self, fingerprint: Fingerprint) -> Option<&GroupedAlert> {
        self.all.get(&fingerprint).map(|member| &member.grouped)
    }

    /// All of them, by fingerprint.
    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = (Fingerprint, &GroupedAlert)> {
        self.all.iter().map(|(fingerprint, member)| (*fingerprint, &member.grouped))
    }

    /// The same, and nothing is left.
    pub(in crate::engine) fn into_all(self) -> impl Iterator<Item = (Fingerprint, GroupedAlert)> {
        self.all.into_iter().map(|(fingerprint, member)| (fingerprint, member.grouped))
    }

    /// How many there are.
    pub(in crate::engine) fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Changes one of them.
    pub(in crate::engine) fn change<R>(
        &mut self,
        fingerprint: Fingerprint,
        policy: &Policy,
        change: impl FnOnce(&mut GroupedAlert) -> R,
    ) -> Option<R> {
        let member = self.all.get_mut(&fingerprint)?;
        if let Some(crowd) = &mut self.crowd {
            crowd.remove(fingerprint, &member.grouped);
        }
        let result = change(&mut member.grouped);
        let standing = Standing::of(&member.grouped, policy);
        let before = std::mem::replace(&mut member.standing, standing);
        if let Some(crowd) = &mut self.crowd {
            crowd.insert(fingerprint, &member.grouped);
        }
        if before != standing {
            self.forget(fingerprint, before);
            self.note(fingerprint, standing);
        }
        Some(result)
    }

    /// Changes all of them, or takes up another policy. Cost: all of them.
    pub(in crate::engine) fn change_all(
        &mut self,
        policy: &Policy,
        mut change: impl FnMut(&mut GroupedAlert),
    ) {
        for (fingerprint, mut grouped) in std::mem::take(self).into_all() {
            change(&mut grouped);
            self.insert(fingerprint, grouped, policy);
        }
    }

    /// Adds one, or puts it in the place of one before.
    pub(in crate::engine) fn insert(
        &mut self,
        fingerprint: Fingerprint,
        grouped: GroupedAlert,
        policy: &Policy,
    ) {
        self.remove(fingerprint);
        let standing = Standing::of(&grouped, policy);
        self.note(fingerprint, standing);
        if let Some(crowd) = &mut self.crowd {
            crowd.insert(fingerprint, &grouped);
        }
        self.all.insert(fingerprint, Member { grouped, standing });
    }

    /// Takes one out.
    pub(in crate::engine) fn remove(&mut self, fingerprint: Fingerprint) -> Option<GroupedAlert> {
        let Member { grouped, standing } = self.all.remove(&fingerprint)?;
        self.forget(fingerprint, standing);
        if let Some(crowd) = &mut self.crowd {
            crowd.remove(fingerprint, &grouped);
        }
        Some(grouped)
    }

    fn note(&mut self, fingerprint: Fingerprint, standing: Standing) {
        let Standing { due, leaves_at, refused_since, has_news, is_handled } = standing;
        self.dues.extend(due.map(|(pace, time)| (pace, time, fingerprint)));
        self.leaving.extend(leaves_at.map(|time| (time, fingerprint)));
        self.refused.extend(refused_since.map(|time| (time, fingerprint)));
        self.news_count += usize::from(has_news);
        self.handled_count += usize::from(is_handled);
    }

    fn forget(&mut self, fingerprint: Fingerprint, standing: Standing) {
        let Standing { due, leaves_at, refused_since, has_news, is_handled } = standing;
        if let Some((pace, time)) = due {
            self.dues.remove(&(pace, time, fingerprint));
        }
        if let Some(time) = leaves_at {
            self.leaving.remove(&(time, fingerprint));
        }
        if let Some(time) = refused_since {
            self.refused.remove(&(time, fingerprint));
        }
        self.news_count -= usize::from(has_news);
        self.handled_count -= usize::from(is_handled);
    }

    /// Of each pace at which something is to be said, the time of the first of them.
    pub(in crate::engine) fn dues(&self) -> impl Iterator<Item = (Pace, WallTime)> {
        Pace::ALL.into_iter().filter_map(|pace| {
            let from = (pace, WallTime::MIN, Fingerprint([0; 16]));
            let (first, time, _) = self.dues.range(from..).next()?;
            (*first == pace).then_some((pace, *time))
        })
    }

    /// Whether there is something new of any.
    pub(in crate::engine) const fn has_news(&self) -> bool {
        self.news_count > 0
    }

    /// Whether people did something about any of which their message does not say so.
    pub(in crate::engine) const fn are_handled_anew(&self) -> bool {
        self.handled_count > 0
    }

    /// When the first of them leaves that ended.
    pub(in crate::engine) fn leaves_first(&self) -> Option<WallTime> {
        self.leaving.first().map(|(time, _)| *time)
    }

    /// Those that have to leave by now, by fingerprint.
    pub(in crate::engine) fn leaving(&self, now: WallTime) -> BTreeSet<Fingerprint> {
        let due = self.leaving.iter().take_while(|(time, _)| *time <= now);
        due.map(|(_, fingerprint)| *fingerprint).collect()
    }

    /// Since when the receiver refuses one of them.
    pub(in crate::engine) fn refused_since(&self) -> Option<WallTime> {
        self.refused.first().map(|(time, _)| *time)
    }

    /// The one to drop at a limit, so that there is room for an alert: the one that ended longest ago, else
    /// one of whoever has most of them. `None` if the new one would be another of these.
    pub(in crate::engine) fn victim(&mut self, newcomer: &Alert) -> Option<Fingerprint> {
        let all = &self.all;
        let crowd = self.crowd.get_or_insert_with(|| {
            let mut crowd = Crowd::default();
            for (fingerprint, member) in all {
                crowd.insert(*fingerprint, &member.grouped);
            }
            crowd
        });
        crowd.victim(&newcomer.who())
    }
}

/// Who has how many alerts of a group, and which of them says least.
#[derive(Clone, Debug, Default)]
struct Crowd {
    /// Those that ended, by when.
    ended: BTreeSet<(WallTime, Fingerprint)>,
    /// Of each who began them: those that the receiver does not know first, and of them the harmless ones.
    of: BTreeMap<Arc<str>, BTreeSet<(bool, Severity, Fingerprint)>>,
    /// By how many they have.
    largest: BTreeSet<(usize, Arc<str>)>,
}

impl Crowd {
    fn insert(&mut self, fingerprint: Fingerprint, grouped: &GroupedAlert) {
        if !grouped.is_firing() {
            self.ended.insert((grouped.latest.changed_at, fingerprint));
        }
        let who: Arc<str> = grouped.latest.who().into();
        let own = self.of.entry(Arc::clone(&who)).or_default();
        self.largest.remove(&(own.len(), Arc::clone(&who)));
        own.insert(rank(fingerprint, grouped));
        self.largest.insert((own.len(), who));
    }

    fn remove(&mut self, fingerprint: Fingerprint, grouped: &GroupedAlert) {
        self.ended.remove(&(grouped.latest.changed_at, fingerprint));
        let who: Arc<str> = grouped.latest.who().into();
        let Some(own) = self.of.get_mut(&who) else { return };
        self.largest.remove(&(own.len(), Arc::clone(&who)));
        own.remove(&rank(fingerprint, grouped));
        if own.is_empty() {
            self.of.remove(&who);
        } else {
            self.largest.insert((own.len(), who));
        }
    }

    fn victim(&self, newcomer: &str) -> Option<Fingerprint> {
        if let Some((_, fingerprint)) = self.ended.first() {
            return Some(*fingerprint);
        }
        let own = self.of.get(newcomer).map_or(0, BTreeSet::len);
        let (most, noisiest) = self.largest.last()?;
        let (.., least) = self.of.get(noisiest)?.first()?;
        (*most > own + 1).then_some(*least)
    }
}

/// Where an alert stands among those of whoever began it.
fn rank(fingerprint: Fingerprint, grouped: &GroupedAlert) -> (bool, Severity, Fingerprint) {
    (!grouped.is_new(), grouped.latest.severity, fingerprint)
}
