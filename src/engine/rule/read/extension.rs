//! Reads `tripline:`, the one mapping for what Sigma cannot say.

use std::{collections::BTreeMap, time::Duration};

use crate::engine::{
    diagnostic::{Diagnostic, Place},
    kind::{self, KindSyntax, WindowShape, Written},
    kubernetes::AuditLevel,
    limits::{KEY_PARTS_MAX, SHOWN_FIELDS_MAX},
    rule::plan::alert::{LevelStep, Severity},
    syntax::{
        code,
        read::{Text, bounded, end_of_date, text, texts, timespan},
    },
    time::EventTime,
    yaml::Section,
};

/// What `tripline:` of one document says.
#[derive(Debug, Default)]
pub(in crate::engine) struct Extension {
    /// `inside` and `outside`: the schedule, and whether events inside it count.
    pub(in crate::engine) schedules: Vec<(Text, bool)>,
    /// `suppress`
    pub(in crate::engine) suppress: Option<Duration>,
    /// `labels`
    pub(in crate::engine) labels: BTreeMap<String, String>,
    /// `annotations`
    pub(in crate::engine) annotations: BTreeMap<String, Text>,
    /// `runbook`
    pub(in crate::engine) runbook: Option<String>,
    /// `owner`
    pub(in crate::engine) owner: Option<String>,
    /// `evidence`
    pub(in crate::engine) evidence: Option<Vec<Text>>,
    /// `controls`
    pub(in crate::engine) controls: Vec<String>,
    /// `group-by` of a plain detection rule: what identifies its alerts.
    pub(in crate::engine) group_by: Option<Vec<Text>>,
    /// `needs.level`
    pub(in crate::engine) needs: Option<AuditLevel>,
    /// `expires`: the first moment at which the document has no effect.
    pub(in crate::engine) expires: Option<(EventTime, Place)>,
    /// `window` and `gap`
    pub(in crate::engine) window: Option<(WindowShape, Place)>,
    /// `levels`, ascending.
    pub(in crate::engine) levels: Vec<LevelStep>,
    /// `risk`: the entity and the score.
    pub(in crate::engine) risk: Option<(Text, f64)>,
    /// `same_element`: arrays whose elements are looked at one by one.
    pub(in crate::engine) same_element: Vec<Text>,
    /// A kind that decides over time whether the rule fires: `first_seen`, `spike` …
    pub(in crate::engine) state: Option<KindSyntax>,
}

/// Which sort of document an extension belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Sort {
    /// A detection rule.
    Detection,
    /// A correlation.
    Correlation,
    /// A filter.
    Filter,
}

/// Reads the mapping; every key that does not belong to this sort of document is reported.
pub(in crate::engine) fn read_extension(section: Option<Section<'_>>, sort: Sort) -> Extension {
    let mut extension = Extension::default();
    let Some(section) = section else { return extension };
    if let Some(end) = end_of_date(&section, "expires") {
        extension.expires = Some((end, section.place_of("expires")));
    }
    extension.owner = section.string("owner");
    section.string("reason");
    if sort == Sort::Filter {
        section.finish();
        return extension;
    }
    read_alert(&section, &mut extension);
    extension.needs = read_needs(&section);
    extension.levels = read_levels(&section);
    extension.risk = read_risk(&section);
    read_schedules(&section, &mut extension);
    if sort == Sort::Detection {
        read_detection_only(&section, &mut extension);
    } else {
        extension.window = read_window(&section);
    }
    section.finish();
    extension
}

/// What people are told when it fires.
pub(in crate::engine) fn read_alert(section: &Section<'_>, extension: &mut Extension) {
    extension.suppress = timespan(section, "suppress");
    extension.labels = read_labels(section);
    extension.annotations = read_annotations(section);
    extension.runbook = section.string("runbook");
    extension.evidence = texts(section, "evidence")
        .filter(|fields| bounded(section, "evidence", fields.len(), SHOWN_FIELDS_MAX));
    extension.controls = section.strings("controls").unwrap_or_default();
}

/// The words for severities.
pub(in crate::engine) fn severities() -> Vec<(&'static str, Severity)> {
    Severity::ALL.into_iter().map(|severity| (severity.as_str(), severity)).collect()
}

fn read_schedules(section: &Section<'_>, extension: &mut Extension) {
    for (word, inside) in [("inside", true), ("outside", false)] {
        if let Some(names) = texts(section, word) {
            extension.schedules.extend(names.into_iter().map(|name| (name, inside)));
        }
    }
}

fn read_detection_only(section: &Section<'_>, extension: &mut Extension) {
    let mut group_by = texts(section, "group-by");
    for entry in kind::written(Written::Key) {
        let Some(inner) = section.section(entry.name) else { continue };
        inner_group_by(&inner, &mut group_by);
        let state = entry.read.and_then(|read| read(&inner));
        inner.finish();
        if extension.state.is_some() {
            let names: Vec<String> =
                kind::written(Written::Key).map(|entry| format!("`{}`", entry.name)).collect();
            let place = section.place_of_key(entry.name);
            let title = format!("a rule has one of {}", names.join(", "));
            section.report(
                Diagnostic::error(code::SHAPE_MISMATCH, place, title)
                    .help("write a second rule for the other"),
            );
        }
        extension.state = state;
    }
    extension.group_by =
        group_by.filter(|parts| bounded(section, "group-by", parts.len(), KEY_PARTS_MAX));
    extension.same_element = texts(section, "same_element").unwrap_or_default();
}

/// `group-by` inside the mapping of a kind; beside it is taken already, and both is a contradiction.
fn inner_group_by(section: &Section<'_>, group_by: &mut Option<Vec<Text>>) {
    let Some(inner) = texts(section, "group-by") else { return };
    if group_by.is_some() {
        let place = section.place_of_key("group-by");
        let title = "`group-by` is given twice";
        section.report(
            Diagnostic::error(code::TWICE, place, title).help("keep the one in this mapping"),
        );
    }
    *group_by = Some(inner);
}

fn read_labels(section: &Section<'_>) -> BTreeMap<String, String> {
    let Some(inner) = section.section("labels") else { return BTreeMap::new() };
    if !bounded(section, "labels", inner.keys().count(), SHOWN_FIELDS_MAX) {
        return BTreeMap::new();
    }
    let mut labels = BTreeMap::new();
    for name in inner.keys() {
        let Some(value) = text(&inner, name) else { continue };
        let mut chars = name.chars();
        let well_formed = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
        let refuse = |place, title: String, help: &str| {
            inner.report(Diagnostic::error(code::BAD_LABEL, place, title).help(help));
        };
        if !well_formed {
            let title = format!("`{name}` cannot be the name of a label");
            let help = "names are letters, digits and `_`, and do not begin with a digit";
            refuse(inner.place_of_key(name), title, help);
        } else if matches!(name, "alertname" | "severity" | "rule_id") {
            let title = format!("the label `{name}` is set by Tripline");
            refuse(inner.place_of_key(name), title, "choose another name");
        } else if value.value.contains("{{") || value.value.contains("{%") {
            let help =
                "labels identify an alert and must not change; use `annotations` for templates";
            refuse(value.place.clone(), format!("the label `{name}` is a template"), help);
        }
        labels.insert(name.to_owned(), value.value);
    }
    labels
}

fn read_annotations(section: &Section<'_>) -> BTreeMap<String, Text> {
    let Some(inner) = section.section("annotations") else { return BTreeMap::new() };
    if !bounded(section, "annotations", inner.keys().count(), SHOWN_FIELDS_MAX) {
        return BTreeMap::new();
    }
    inner.keys().filter_map(|name| Some((name.to_owned(), text(&inner, name)?))).collect()
}

fn read_needs(section: &Section<'_>) -> Option<AuditLevel> {
    let inner = section.section("needs")?;
    let words: Vec<(&str, AuditLevel)> =
        AuditLevel::ALL.into_iter().map(|level| (level.as_str(), level)).collect();
    let level = inner.one_of("level", &words);
    inner.finish();
    level
}

fn read_window(section: &Section<'_>) -> Option<(WindowShape, Place)> {
    let word = section.one_of(
        "window",
        &[("sliding", "sliding"), ("tumbling", "tumbling"), ("session", "session")],
    );
    let gap = timespan(section, "gap");
    let place = section.place_of("window");
    match (word, gap) {
        (Some("session"), Some(gap)) => Some((WindowShape::Session { gap }, place)),
        (Some("session"), None) => {
            if !section.has("gap") {
                section.missing("gap", "after how long without events a session ends: `gap: 15m`");
            }
            None
        }
        (word, Some(_)) => {
            let title = "`gap` belongs to session windows";
            let diagnostic =
                Diagnostic::error(code::SHAPE_MISMATCH, section.place_of_key("gap"), title);
            section.report(diagnostic.help("write `window: session`, or leave out `gap`"));
            word.map(|_| (WindowShape::Sliding, place))
        }
        (Some("tumbling"), None) => Some((WindowShape::Tumbling, place)),
        (Some(_), None) => Some((WindowShape::Sliding, place)),
        (None, None) => None,
    }
}

/// Severity that follows the value.
pub(in crate::engine) fn read_levels(section: &Section<'_>) -> Vec<LevelStep> {
    let words = severities();
    let mut steps: Vec<LevelStep> = Vec::new();
    for step in section.sections("levels") {
        let at_least = step.number("gte");
        if !step.has("gte") {
            step.missing("gte", "from which value on: `{gte: 50, level: critical}`");
        }
        let severity = step.one_of("level", &words);
        if !step.has("level") {
            step.missing("level", "which severity then: `{gte: 50, level: critical}`");
        }
        if let (Some(at_least), Some(severity)) = (at_least, severity) {
            if steps.last().is_some_and(|before| before.at_least >= at_least) {
                step.invalid("gte", "levels must ascend", "write the lowest value first");
            }
            steps.push(LevelStep { at_least, severity });
        }
        step.finish();
    }
    steps
}

fn read_risk(section: &Section<'_>) -> Option<(Text, f64)> {
    let inner = section.section("risk")?;
    let entity = text(&inner, "entity");
    if entity.is_none() {
        inner.missing("entity", "whose risk grows: `entity: actor.id`");
    }
    let score = inner.number("score");
    match score {
        None if !inner.has("score") => inner.missing("score", "by how much: `score: 20`"),
        Some(score) if !(score > 0.0 && score <= 1e6) => {
            inner.invalid("score", "a score lies above 0 and up to 1000000", "such as `score: 20`");
        }
        _ => {}
    }
    inner.finish();
    Some((entity?, score?))
}
