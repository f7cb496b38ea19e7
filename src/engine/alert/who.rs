//! Who did what an alert shows: so that one who makes much noise drowns nobody else.

use super::{Alert, Evidence};

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
        let named = |field: &'static str| Some((field, self.get(field)?));
        let user = named("user.username").filter(|(_, name)| *name != ANONYMOUS);
        user.or_else(|| named("source.ip"))
            .or_else(|| named("user.username"))
            .or_else(|| named("actor.id"))
    }

    /// His name, with his cluster.
    pub(crate) fn who(&self) -> Option<String> {
        let (_, name) = self.doer()?;
        Some(match self.get("cluster") {
            Some(cluster) => format!("{name} in {cluster}"),
            None => name.to_owned(),
        })
    }

    /// Its cluster.
    pub(in crate::engine) fn cluster(&self) -> Option<&str> {
        self.get("cluster")
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
