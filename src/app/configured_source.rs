//! The entries of `sources` as they are read.

use std::sync::Arc;

use crate::{
    engine::{
        diagnostic::{Diagnostic, Place, code},
        yaml::Section,
    },
    source::{SOURCES, SourceConfig},
};

use super::canary::CanarySettings;

/// One entry of `sources`.
pub(super) struct ConfiguredSource {
    pub(super) name: Option<Arc<str>>,
    pub(super) kind: &'static str,
    pub(super) config: Box<dyn SourceConfig>,
    /// Clusters for which it is the truth.
    pub(super) truth_for: Vec<String>,
    pub(super) places: SourcePlaces,
}

/// Where settings of a source stand; where its section begins, for those that are not there.
pub(super) struct SourcePlaces {
    pub(super) section: Place,
    pub(super) topics: Place,
    pub(super) group: Place,
    pub(super) listen: Place,
}

impl ConfiguredSource {
    /// What it is called in `/readyz`.
    pub(super) fn component(&self) -> String {
        match &self.name {
            Some(name) => format!("source {name}"),
            None => format!("source {}", self.kind),
        }
    }
}

/// Whether the canary is sent to the cluster of a source.
pub(super) fn takes_canary(source: &ConfiguredSource, settings: &CanarySettings) -> bool {
    let is_meant =
        settings.source.as_deref().is_none_or(|name| source.name.as_deref() == Some(name));
    is_meant && source.config.kafka().is_some()
}

/// Reads `sources:`.
pub(super) fn parse_sources(root: &Section<'_>) -> Vec<ConfiguredSource> {
    let kinds = || SOURCES.iter().map(|kind| kind.name());
    let is_empty = |list: &[_]| list.is_empty();
    if root.node("sources").is_none_or(|node| node.as_list().is_some_and(is_empty)) {
        root.missing(
            "sources",
            "name at least one: `sources: [{kafka: {brokers: [127.0.0.1:9092], topics: [audit], group: tripline}}]`",
        );
    }
    let mut sources: Vec<ConfiguredSource> = Vec::new();
    let sections = root.sections("sources");
    let several = sections.len() > 1;
    for section in sections {
        let name: Option<Arc<str>> = section.string("name").map(Arc::from);
        if several && name.is_none() {
            section
                .missing("name", "several sources need a name each, to keep their positions apart");
        }
        if name.as_deref().is_some_and(|name| name.is_empty() || name.contains(':')) {
            section.invalid(
                "name",
                "this is no name for a source",
                "use letters, digits, `-`, `_`",
            );
        }
        if name.is_some() && sources.iter().any(|known| known.name == name) {
            section.invalid("name", "two sources have this name", "give each its own");
        }
        let truth_for = section.strings("truth_for").unwrap_or_default();
        let is_claimed =
            |cluster: &&String| sources.iter().any(|known| known.truth_for.contains(cluster));
        if let Some(cluster) = truth_for.iter().find(is_claimed) {
            let title = format!("two sources are the truth for cluster `{cluster}`");
            section.invalid("truth_for", title, "name it at one of them");
        }
        let given: Vec<_> = SOURCES.iter().filter(|kind| section.has(kind.name())).collect();
        if given.len() != 1 {
            let title = format!("{} must have exactly one kind of source", section.path());
            let help = format!("add one of: {}", kinds().collect::<Vec<_>>().join(", "));
            section.report(
                Diagnostic::error(code::MISSING_SETTING, section.place(), title).help(help),
            );
        }
        for kind in given {
            if let Some(inner) = section.section(kind.name()) {
                let config = kind.parse(&inner);
                let places = SourcePlaces {
                    section: inner.place(),
                    topics: inner.place_of("topics"),
                    group: inner.place_of("group"),
                    listen: inner.place_of("listen"),
                };
                inner.finish();
                if let Some(config) = config {
                    let name = name.clone();
                    let (kind, truth_for) = (kind.name(), truth_for.clone());
                    sources.push(ConfiguredSource { name, kind, config, truth_for, places });
                }
            }
        }
        section.finish();
    }
    sources
}
