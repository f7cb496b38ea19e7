//! Whom and what an alert is about: by its key, and by what its evidence shows.

use std::collections::BTreeMap;

use memchr::memmem;
use serde::Deserialize;

use super::{Body, Entry, EntryKind};
use crate::engine::event::network::{network_of, parse_address};

/// Fields that say who acted, who spoke for them, or who was made able to.
const ACTORS: [&str; 6] = [
    "actor.id",
    "actor.caller",
    "actor.on_behalf_of",
    "user.username",
    "impersonatedUser.username",
    "subject.id",
];

/// Fields that say with which credential, or which one was issued.
const CREDENTIALS: [&str; 3] = [
    "actor.credential_id",
    "user.extra.authentication.kubernetes.io/credential-id",
    "annotations.authentication.kubernetes.io/issued-credential-id",
];

/// Whom and what alerts are wanted about; all that is given must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Who acted, or on whose behalf.
    pub actor: Option<String>,
    /// From which address.
    pub source: Option<String>,
    /// With which credential.
    pub credential: Option<String>,
    /// To what.
    pub resource: Option<String>,
    /// Of which API group.
    pub group: Option<String>,
    /// Below which part of it.
    pub subresource: Option<String>,
    /// In which namespace.
    pub namespace: Option<String>,
    /// To which one.
    pub name: Option<String>,
    /// In which cluster.
    pub cluster: Option<String>,
}

/// What is read of the JSON of an alert.
#[derive(Deserialize)]
struct Told {
    evidence: Vec<Shown>,
}

/// What an alert shows of one event.
#[derive(Deserialize)]
struct Shown {
    fields: BTreeMap<String, String>,
}

/// What is known of one event of an alert.
struct Known<'a> {
    key: &'a [(&'a str, &'a str)],
    /// What the alert shows of it; `None` if it shows no events.
    shown: Option<&'a BTreeMap<String, String>>,
}

impl Entry {
    /// What an alert shows of its events, by the names of fields; nothing of another entry, or of one that was told without.
    /// Cost: the JSON of an alert is read.
    pub fn evidence(&self) -> Vec<BTreeMap<String, String>> {
        let Some(Body::Alert(json)) = &self.body else { return Vec::new() };
        let told: Option<Told> = serde_json::from_str(json).ok();
        told.into_iter().flat_map(|told| told.evidence).map(|shown| shown.fields).collect()
    }
}

impl About {
    /// Whether it names somebody or something. Alerts of a cluster alone are not about anybody.
    pub const fn is_any(&self) -> bool {
        self.actor.is_some()
            || self.source.is_some()
            || self.credential.is_some()
            || self.resource.is_some()
            || self.namespace.is_some()
    }

    /// Whether an entry is a change of such an alert. Cost: the JSON of an alert is read.
    pub fn fits(&self, entry: &Entry) -> bool {
        if entry.kind != EntryKind::Alert {
            return false;
        }
        let facts = entry.facts.iter();
        let key: Vec<(&str, &str)> = facts
            .filter_map(|(name, value)| Some((name.strip_prefix("key.")?, value.as_str())))
            .collect();
        let evidence = entry.evidence();
        if evidence.is_empty() {
            return self.fits_event(&Known { key: &key, shown: None });
        }
        evidence.iter().any(|one| self.fits_event(&Known { key: &key, shown: Some(one) }))
    }

    /// Whether a stored entry may be one; cheap, since most alerts are about others.
    pub fn may_fit(&self, stored: &[u8]) -> bool {
        let has =
            |text: &Option<String>| text.as_deref().is_none_or(|text| stands_in(text, stored));
        let namespace = self.namespace.as_ref().filter(|_| self.resource.is_none()).cloned();
        [&self.actor, &self.credential, &self.cluster, &namespace].into_iter().all(has)
    }

    fn fits_event(&self, known: &Known<'_>) -> bool {
        let is_said = |wanted: &Option<String>, fields: &[&str]| {
            wanted.as_deref().is_none_or(|wanted| {
                fields.iter().any(|field| known.says(field, wanted)) || known.is_keyed_by(wanted)
            })
        };
        let cluster = self.cluster.as_deref();
        is_said(&self.actor, &ACTORS)
            && is_said(&self.credential, &CREDENTIALS)
            && cluster.is_none_or(|cluster| known.says("cluster", cluster))
            && self.source.as_deref().is_none_or(|source| {
                let network = parse_address(source).map(network_of);
                known.says("source.ip", source)
                    || known.is_keyed_by(source)
                    || network.is_some_and(|network| known.says("source.network", &network))
            })
            && self.fits_object(known)
    }

    /// As for accesses: who asked without a name asked for all of them, and without a namespace for those of
    /// all. An alert without evidence must name it.
    fn fits_object(&self, known: &Known<'_>) -> bool {
        let (resource, name) = (self.resource.as_deref(), self.name.as_deref());
        let is_whole = known.shown.is_some();
        let covers = resource.is_some() && is_whole;
        let fits = |field: &str, wanted: Option<&str>| {
            wanted.is_none_or(|wanted| known.says(field, wanted) || covers && !known.has(field))
        };
        let is_resource = resource.is_none_or(|resource| {
            let field = "objectRef.resource";
            known.says(field, resource) || !is_whole && name.is_some() && !known.has(field)
        });
        let below = self.subresource.as_deref();
        is_resource
            && fits("objectRef.apiGroup", self.group.as_deref())
            && below.is_none_or(|below| known.says("objectRef.subresource", below))
            && fits("objectRef.namespace", self.namespace.as_deref())
            && fits("objectRef.name", name)
    }
}

impl Known<'_> {
    fn values<'a>(&'a self, field: &'a str) -> impl Iterator<Item = &'a str> {
        let of_key =
            self.key.iter().filter(move |(name, _)| *name == field).map(|(_, value)| *value);
        of_key.chain(self.shown.and_then(|shown| shown.get(field)).map(String::as_str))
    }

    fn says(&self, field: &str, wanted: &str) -> bool {
        self.values(field).any(|value| value == wanted)
    }

    fn has(&self, field: &str) -> bool {
        self.values(field).next().is_some()
    }

    /// Whether it stands in the key, under whatever name a rule gives it; a name of an object is nobody's.
    fn is_keyed_by(&self, wanted: &str) -> bool {
        let of_object = |name: &str| name.starts_with("objectRef.");
        self.key.iter().any(|(name, value)| *value == wanted && !of_object(name))
    }
}

/// Whether a text may stand in a stored entry. In JSON some characters are written in another way.
fn stands_in(text: &str, stored: &[u8]) -> bool {
    let is_plain = !text.contains(|c: char| matches!(c, '"' | '\\') || c.is_control());
    !is_plain || memmem::find(stored, text.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An alert with a key, and what it shows of each event.
    fn alert(key: &[(&str, &str)], evidence: &[&[(&str, &str)]]) -> Entry {
        let entry = Entry::new(EntryKind::Alert, "f", "firing");
        let entry = key
            .iter()
            .fold(entry, |entry, (name, value)| entry.fact(&format!("key.{name}"), value));
        let shown = |fields: &&[(&str, &str)]| {
            let fields: BTreeMap<&str, &str> = fields.iter().copied().collect();
            serde_json::json!({ "fields": fields })
        };
        let evidence: Vec<serde_json::Value> = evidence.iter().map(shown).collect();
        entry.body(Body::Alert(serde_json::json!({ "evidence": evidence }).to_string()))
    }

    fn about(pairs: &[(&str, &str)]) -> About {
        let of = |name: &str| {
            pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        About {
            actor: of("actor"),
            source: of("source"),
            credential: of("credential"),
            resource: of("resource"),
            group: of("group"),
            subresource: of("subresource"),
            namespace: of("namespace"),
            name: of("name"),
            cluster: of("cluster"),
        }
    }

    fn fits(entry: &Entry, pairs: &[(&str, &str)]) -> bool {
        let about = about(pairs);
        let fits = about.fits(entry);
        let stored = postcard::to_stdvec(entry).expect("it can be stored");
        assert!(!fits || about.may_fit(&stored), "{pairs:?}");
        fits
    }

    #[test]
    fn an_alert_is_about_who_and_what_its_key_or_its_evidence_names() {
        let pod = alert(
            &[("objectRef.namespace", "default"), ("objectRef.name", "debug")],
            &[
                &[
                    ("actor.id", "marta"),
                    ("source.ip", "10.0.0.1"),
                    ("objectRef.resource", "pods"),
                    ("objectRef.subresource", "exec"),
                    ("objectRef.namespace", "default"),
                    ("objectRef.name", "debug"),
                    ("cluster", "lab"),
                ],
                &[("actor.id", "vera"), ("actor.on_behalf_of", "a\"b"), ("source.ip", "::1")],
            ],
        );
        for wanted in [
            &[("actor", "marta")][..],
            &[("actor", "vera")],
            &[("actor", "a\"b")],
            &[("source", "10.0.0.1")],
            &[("resource", "pods"), ("namespace", "default"), ("name", "debug")],
            &[("resource", "pods")],
            &[("resource", "pods"), ("subresource", "exec")],
            &[("namespace", "default")],
            &[("actor", "marta"), ("namespace", "default"), ("cluster", "lab")],
        ] {
            assert!(fits(&pod, wanted), "{wanted:?}");
        }
        for wanted in [
            &[("actor", "debug")][..],
            &[("actor", "mart")],
            // Two events are not one.
            &[("actor", "vera"), ("source", "10.0.0.1")],
            &[("source", "10.0.0.2")],
            &[("resource", "secrets"), ("name", "debug")],
            &[("resource", "pods"), ("name", "other")],
            &[("resource", "pods"), ("subresource", "log")],
            &[("namespace", "lab")],
            &[("actor", "marta"), ("cluster", "prod")],
        ] {
            assert!(!fits(&pod, wanted), "{wanted:?}");
        }
    }

    #[test]
    fn networks_credentials_and_requests_for_all_count() {
        let token = alert(
            &[("credential", "JTI=1"), ("source.network", "2001:db8::/64")],
            &[&[("objectRef.resource", "secrets"), ("actor.id", "anna")]],
        );
        for wanted in [
            &[("credential", "JTI=1")][..],
            &[("source", "2001:db8::7")],
            // A list of all secrets covers this one.
            &[("resource", "secrets"), ("namespace", "shop"), ("name", "db")],
        ] {
            assert!(fits(&token, wanted), "{wanted:?}");
        }
        for wanted in [
            &[("credential", "JTI=2")][..],
            &[("source", "2001:db8:1::7")],
            &[("namespace", "shop")],
            &[("resource", "pods"), ("name", "db")],
        ] {
            assert!(!fits(&token, wanted), "{wanted:?}");
        }
        let ended = alert(&[("actor.id", "anna"), ("objectRef.name", "db")], &[]);
        assert!(fits(&ended, &[("actor", "anna")]));
        assert!(fits(&ended, &[("resource", "secrets"), ("name", "db")]));
        assert!(!fits(&ended, &[("resource", "secrets"), ("name", "other")]));
        assert!(!fits(&ended, &[("resource", "secrets")]), "it does not say so");
        let other = Entry { kind: EntryKind::Verdict, ..ended };
        assert!(!fits(&other, &[("actor", "anna")]));
    }
}
