//! A visit as a line of a table.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    asked::{Asked, When},
    link::Link,
};
use crate::engine::{
    access::Visit,
    text::{first_of, span, thousands},
};

/// Texts that are named on a line: 3.
const NAMED: usize = 3;

/// One visit.
pub(super) struct VisitLine {
    pub(super) start: When,
    pub(super) lasted: String,
    pub(super) link: Link,
    pub(super) actor: Option<(String, Link)>,
    pub(super) cluster: String,
    pub(super) requests: String,
    pub(super) denied: u64,
    pub(super) sessions: u64,
    pub(super) is_privileged: bool,
    pub(super) sources: String,
    pub(super) namespaces: String,
}

impl VisitLine {
    /// Of a visit.
    pub(super) fn new(asked: &Asked, visit: &Visit) -> VisitLine {
        let named = |texts: &BTreeSet<Arc<str>>| {
            let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
            first_of(&texts, NAMED)
        };
        let mut link = asked.link("/visit").with("start", &visit.start.rfc3339());
        // Another pause makes other visits.
        if let Some(pause) = asked.get("pause") {
            link = link.with("pause", pause);
        }
        for (name, value) in [
            ("actor", &visit.actor),
            ("on_behalf_of", &visit.on_behalf_of),
            ("cluster", &visit.cluster),
        ] {
            if let Some(value) = value {
                link = link.with(name, value);
            }
        }
        VisitLine {
            start: asked.when(visit.start),
            lasted: span(visit.end.since(visit.start)),
            link,
            actor: asked.who(visit.actor.as_ref(), visit.on_behalf_of.as_ref()),
            cluster: visit.cluster.as_deref().unwrap_or_default().to_owned(),
            requests: thousands(visit.requests),
            denied: visit.denied,
            sessions: visit.sessions,
            is_privileged: visit.is_privileged,
            sources: named(&visit.sources),
            namespaces: named(&visit.namespaces),
        }
    }
}
