//! Who did what an alert shows: so that one who makes much noise drowns nobody else.

use std::borrow::Cow;

use super::{Alert, Evidence, shown_value};
use crate::engine::{rule::AlertSpec, value::Captured};

/// Everybody who did not say who he is has this name.
const ANONYMOUS: &str = "system:anonymous";

impl Evidence {
    fn get(&self, field: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(name, value)| name == field && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// Who was authenticated, whomever he acted for; of those who were not, where they came from. The field
    /// and its value.
    pub(in crate::engine) fn doer(&self) -> Option<(&'static str, &str)> {
        doer_of(|field| self.get(field))
    }

    /// His name, with his cluster.
    pub(crate) fn who(&self) -> Option<String> {
        let (_, name) = self.doer()?;
        Some(with_cluster(Cow::Borrowed(name), self.get("cluster")).into_owned())
    }

    /// Its cluster.
    pub(in crate::engine) fn cluster(&self) -> Option<&str> {
        self.get("cluster")
    }
}

/// Who did what these values show: what [`Evidence::who`] says of the evidence of them, which need not be
/// made for it.
pub(super) fn who_of<'c>(spec: &AlertSpec, captured: &'c [Captured]) -> Option<Cow<'c, str>> {
    let get = |field: &str| {
        let text = match captured.get(spec.doer.slot(field)?.index())?.joined()? {
            Cow::Borrowed(text) => shown_value(text),
            Cow::Owned(text) => Cow::Owned(shown_value(&text).into_owned()),
        };
        (!text.is_empty()).then_some(text)
    };
    let (_, name) = doer_of(get)?;
    Some(with_cluster(name, get("cluster").as_deref()))
}

fn doer_of<T: AsRef<str>>(get: impl Fn(&'static str) -> Option<T>) -> Option<(&'static str, T)> {
    let named = |field: &'static str| Some((field, get(field)?));
    match named("user.username") {
        Some((field, name)) if name.as_ref() != ANONYMOUS => Some((field, name)),
        user => named("source.ip").or(user).or_else(|| named("actor.id")),
    }
}

fn with_cluster<'n>(name: Cow<'n, str>, cluster: Option<&str>) -> Cow<'n, str> {
    match cluster {
        Some(cluster) => Cow::Owned(format!("{name} in {cluster}")),
        None => name,
    }
}

impl Alert {
    /// Who began it; if nothing shows that, what it is about. What stands for many is about its rule.
    pub fn who(&self) -> String {
        if self.is_overflow() && self.key.is_empty() {
            return self.rule_id.clone();
        }
        let began = self.evidence.first().and_then(Evidence::who);
        began.or_else(|| self.key.first().map(|(_, value)| value.clone())).unwrap_or_default()
    }

    /// Whether it stands for alerts that would be too many.
    pub fn is_overflow(&self) -> bool {
        self.labels.contains_key(OVERFLOW_LABEL)
    }
}

/// The label of alerts that stand for others.
pub(super) const OVERFLOW_LABEL: &str = "overflow";
