//! The alerts that are known, by their keys: told in the order of these, and looked for at each finding by a hash of
//! what it shows, without a key being made for it.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    hash::{Hash, Hasher},
    sync::Arc,
};

use hashbrown::{Equivalent, HashMap};

use super::{AlertKey, TrackedAlert};

/// What an alert is looked for by.
pub(super) trait Wanted: Hash + Equivalent<Known> {}

impl<W: Hash + Equivalent<Known>> Wanted for W {}

/// The key of an alert that is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known(Arc<AlertKey>);

/// The key of an alert that may be known.
pub(super) struct Named<'k>(pub(super) &'k AlertKey);

/// What a finding says of the key of its alert: the rule's id, values of the key, and the cluster if it keeps alerts
/// apart.
pub(super) struct Shown<'f> {
    pub(super) rule_id: &'f str,
    pub(super) parts: &'f [Option<Cow<'f, str>>],
    pub(super) cluster: Option<&'f str>,
}

impl Shown<'_> {
    fn texts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|part| part.as_deref().unwrap_or_default()).chain(self.cluster)
    }

    /// The key.
    pub(super) fn key(&self) -> AlertKey {
        (self.rule_id.to_owned(), self.texts().map(str::to_owned).collect())
    }
}

impl Hash for Known {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Named(&self.0).hash(state);
    }
}

impl Hash for Named<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (rule_id, parts) = self.0;
        rule_id.hash(state);
        for part in parts {
            part.hash(state);
        }
    }
}

impl Hash for Shown<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rule_id.hash(state);
        for part in self.texts() {
            part.hash(state);
        }
    }
}

impl Equivalent<Known> for Named<'_> {
    fn equivalent(&self, known: &Known) -> bool {
        *self.0 == *known.0
    }
}

impl Equivalent<Known> for Shown<'_> {
    fn equivalent(&self, known: &Known) -> bool {
        let (rule_id, parts) = &*known.0;
        self.rule_id == rule_id && self.texts().eq(parts.iter().map(String::as_str))
    }
}

/// Alerts by their keys.
#[derive(Debug, Default)]
pub(super) struct Entries {
    known: HashMap<Known, TrackedAlert>,
    order: BTreeSet<Arc<AlertKey>>,
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn contains(&self, key: &impl Wanted) -> bool {
        self.known.contains_key(key)
    }

    pub(super) fn get(&self, key: &impl Wanted) -> Option<&TrackedAlert> {
        self.known.get(key)
    }

    /// With its key.
    pub(super) fn get_mut(
        &mut self,
        key: &impl Wanted,
    ) -> Option<(&Arc<AlertKey>, &mut TrackedAlert)> {
        let (Known(key), entry) = self.known.get_key_value_mut(key)?;
        Some((key, entry))
    }

    pub(super) fn insert(&mut self, key: Arc<AlertKey>, entry: TrackedAlert) {
        self.order.insert(Arc::clone(&key));
        self.known.insert(Known(key), entry);
    }

    pub(super) fn remove(&mut self, key: &AlertKey) -> Option<TrackedAlert> {
        self.order.remove(key);
        self.known.remove(&Named(key))
    }

    /// In the order of their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<AlertKey>, &TrackedAlert)> {
        self.order.iter().filter_map(|key| Some((key, self.known.get(&Named(key))?)))
    }

    /// Changes each, in the order of their keys.
    pub(super) fn each(&mut self, mut change: impl FnMut(&AlertKey, &mut TrackedAlert)) {
        for key in &self.order {
            if let Some(entry) = self.known.get_mut(&Named(key)) {
                change(key, entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_finding_shows_is_looked_for_as_the_key_is() {
        let text = |text: &'static str| Some(Cow::Borrowed(text));
        let mut known = HashMap::new();
        known.insert(Known(Arc::new(("rule".to_owned(), vec![String::new(), "a".to_owned()]))), ());
        let has = |rule_id, parts: &[Option<Cow<'_, str>>], cluster| {
            known.contains_key(&Shown { rule_id, parts, cluster })
        };
        assert!(has("rule", &[None, text("a")], None));
        assert!(has("rule", &[text("")], Some("a")));
        assert!(!has("rule", &[text("a"), None], None));
        assert!(!has("rule", &[None, text("a")], Some("")));
        assert!(!has("other", &[None, text("a")], None));
        let shown = Shown { rule_id: "rule", parts: &[None], cluster: Some("a") };
        assert!(known.contains_key(&Named(&shown.key())));
    }
}
