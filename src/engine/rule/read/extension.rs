//! Reads `tripline:`, the one mapping for what Sigma cannot say.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value, json};

use crate::engine::{
    diagnostic::{Diagnostic, Place},
    kind::{self, KINDS, KindEntry, KindSyntax, WindowShape, Written},
    kubernetes::AuditLevel,
    limits::{KEY_PARTS_MAX, SHOWN_FIELDS_MAX},
    rule::{
        plan::{
            alert::{LevelStep, Severity},
            record::RecordSpec,
        },
        read::record::{fits_record, read_record, record_schema, refuse_beside_record},
    },
    syntax::{
        code,
        key::{Key, Shape, mapping, properties, read_all, read_keys},
        read::{Text, bounded, chosen_text, end_of_date, texts, timespan},
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
    /// `labels`: the values, each with the place of its name.
    pub(in crate::engine) labels: BTreeMap<String, Text>,
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
    /// `across: clusters`: where it says so.
    pub(in crate::engine) across: Option<Place>,
    /// `needs.level`
    pub(in crate::engine) needs: Option<AuditLevel>,
    /// `reason`
    pub(in crate::engine) reason: Option<String>,
    /// `expires`: the first moment at which the document has no effect.
    pub(in crate::engine) expires: Option<(EventTime, Place)>,
    /// `gap`
    gap: Option<Duration>,
    /// `window`, with its `gap`.
    pub(in crate::engine) window: Option<(WindowShape, Place)>,
    /// `levels`, ascending.
    pub(in crate::engine) levels: Vec<LevelStep>,
    /// `risk`: the entity and the score.
    pub(in crate::engine) risk: Option<(Text, f64)>,
    /// `same_element`: arrays whose elements are looked at one by one.
    pub(in crate::engine) same_element: Vec<Text>,
    /// A kind that decides over time whether the rule fires: `first_seen`, `spike` …
    pub(in crate::engine) state: Option<KindSyntax>,
    /// `record`: the rule records, and makes no alert.
    pub(in crate::engine) record: Option<RecordSpec>,
}

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Sort {
    /// A detection rule.
    Detection,
    /// A correlation.
    Correlation,
    /// A filter.
    Filter,
}

impl Sort {
    /// All of them.
    pub(in crate::engine) const ALL: [Sort; 3] = [Sort::Detection, Sort::Correlation, Sort::Filter];

    /// The key that makes a document one of this sort.
    pub(in crate::engine) const fn key(self) -> &'static str {
        match self {
            Sort::Detection => "detection",
            Sort::Correlation => "correlation",
            Sort::Filter => "filter",
        }
    }
}

/// Who answers for a rule.
pub(in crate::engine) const OWNER: Key<Extension> =
    Key::new("owner", Shape::Text, "Who answers for it.", |s, key, to| to.owner = s.string(key));

/// Severity that follows the value.
pub(in crate::engine) const STEPS: Key<Extension> = Key::new(
    "levels",
    Shape::Is(|| json!({"type": "array", "items": mapping(STEP)})),
    "Severity that follows the value, ascending.",
    |s, key, to| to.levels = read_steps(s, key),
);

/// Whether clusters are one.
pub(in crate::engine) const ACROSS: Key<Extension> = Key::new(
    "across",
    Shape::Is(|| json!({"enum": ["clusters"]})),
    "`clusters`: counts, remembers and alerts across clusters. Without it each is apart.",
    |s, key, to| {
        let said = s.one_of(key, &[("clusters", true)]).is_some();
        to.across = said.then(|| s.place_of(key));
    },
);

/// What may stand under `tripline:` of every document.
const OF_ALL: &[Key<Extension>] = &[
    OWNER,
    Key::new("reason", Shape::Text, "Why it is there.", |s, key, to| to.reason = s.string(key)),
    Key::new("expires", Shape::Day, "The last day (UTC) on which it counts.", |s, key, to| {
        to.expires = end_of_date(s, key).map(|end| (end, s.place_of(key)));
    }),
];

/// What people are told when a rule fires.
pub(in crate::engine) const OF_ALERTS: &[Key<Extension>] = &[
    Key::new("suppress", Shape::Timespan, "Cool-down per key.", |s, key, to| {
        to.suppress = timespan(s, key);
    }),
    Key::new(
        "labels",
        Shape::Is(|| map_of(&json!({"type": ["string", "number", "boolean"]}))),
        "Few and stable: they identify an alert, and routes match them.",
        |s, key, to| to.labels = read_labels(s, key),
    ),
    Key::new(
        "annotations",
        Shape::Is(|| map_of(&json!({"type": "string"}))),
        "Templates for people: `summary` and others.",
        |s, key, to| to.annotations = read_annotations(s, key),
    ),
    Key::new("runbook", Shape::Text, "What to do: an address.", |s, key, to| {
        to.runbook = s.string(key);
    }),
    Key::new("evidence", Shape::Fields, "Fields that alerts show.", |s, key, to| {
        to.evidence =
            texts(s, key).filter(|fields| bounded(s, key, fields.len(), SHOWN_FIELDS_MAX));
    }),
    Key::new("controls", Shape::Texts, "Controls of frameworks: `soc2:CC6.1`.", |s, key, to| {
        to.controls = s.strings(key).unwrap_or_default();
    }),
];

/// What may stand under `tripline:` of detection rules and correlations.
const OF_RULES: &[Key<Extension>] = &[
    ACROSS,
    Key::new(
        "needs",
        Shape::Is(|| mapping(NEEDS)),
        "What it is blind without, and its author knows it.",
        |s, key, to| to.needs = s.section(key).and_then(|inner| read_all(NEEDS, inner)),
    ),
    STEPS,
    Key::new("inside", Shape::Texts, "Only events inside these schedules.", |s, key, to| {
        let names = texts(s, key).unwrap_or_default();
        to.schedules.extend(names.into_iter().map(|name| (name, true)));
    }),
    Key::new("outside", Shape::Texts, "Only events outside of these schedules.", |s, key, to| {
        let names = texts(s, key).unwrap_or_default();
        to.schedules.extend(names.into_iter().map(|name| (name, false)));
    }),
];

/// What tells alerts, and what is remembered, apart: under `tripline:`, or in the mapping of a kind.
pub(in crate::engine) const GROUP_BY: Key<Extension> =
    Key::new("group-by", Shape::Fields, "What tells alerts apart.", |s, key, to| {
        let Some(parts) = texts(s, key) else { return };
        if to.group_by.is_some() {
            let place = s.place_of_key(key);
            s.report(
                Diagnostic::error(code::TWICE, place, "`group-by` is given twice")
                    .help("keep the one in this mapping"),
            );
        }
        to.group_by = Some(parts).filter(|parts| bounded(s, key, parts.len(), KEY_PARTS_MAX));
    });

/// What may stand under `tripline:` of detection rules alone.
const OF_DETECTIONS: &[Key<Extension>] = &[
    GROUP_BY,
    Key::new(
        "record",
        Shape::Is(record_schema),
        "Records what it matches in the ledger, and makes no alert: a class, or a mapping.",
        |s, key, to| to.record = read_record(s, key),
    ),
    Key::new(
        "same_element",
        Shape::Texts,
        "Arrays: fields below one, in one mapping, are those of one element.",
        |s, key, to| to.same_element = texts(s, key).unwrap_or_default(),
    ),
];

/// What may stand under `tripline:` of correlations alone.
const OF_CORRELATIONS: &[Key<Extension>] = &[
    Key::new("gap", Shape::Timespan, "Silence that ends a session.", |s, key, to| {
        to.gap = timespan(s, key);
    }),
    Key::new("window", Shape::Is(|| json!({"enum": WINDOWS})), "", |s, key, to| {
        to.window = read_window(s, key, to.gap);
    }),
];

const WINDOWS: [&str; 3] = ["sliding", "tumbling", "session"];

const NEEDS: &[Key<Option<AuditLevel>>] = &[Key::new(
    "level",
    Shape::Is(|| json!({"enum": AuditLevel::ALL.map(AuditLevel::as_str)})),
    "The audit level.",
    |s, key, to| *to = s.one_of(key, &AuditLevel::ALL.map(|level| (level.as_str(), level))),
)];

/// The tables of one sort of document.
const fn tables(sort: Sort) -> &'static [&'static [Key<Extension>]] {
    match sort {
        Sort::Detection => &[OF_ALL, OF_ALERTS, OF_RULES, OF_DETECTIONS],
        Sort::Correlation => &[OF_ALL, OF_ALERTS, OF_RULES, OF_CORRELATIONS],
        Sort::Filter => &[OF_ALL],
    }
}

/// The kinds of correlation that are written under `tripline:`.
fn kinds() -> impl Iterator<Item = &'static KindEntry> {
    KINDS.iter().copied().filter(|entry| entry.written != Written::Type)
}

/// All keys that any document may have under `tripline:`.
pub(in crate::engine) fn extension_keys() -> impl Iterator<Item = &'static str> {
    let tables = Sort::ALL.into_iter().flat_map(tables).copied();
    tables.flatten().map(|key| key.name).chain(kinds().map(|entry| entry.name))
}

/// JSON Schema of `tripline:`.
pub(in crate::engine) fn extension_schema() -> Value {
    let tables = Sort::ALL.into_iter().flat_map(tables).copied();
    let mut all: Map<String, Value> = tables.flat_map(properties).collect();
    for entry in kinds() {
        let mut schema = (entry.schema)();
        if let Some(keys) = schema.get_mut("properties").and_then(Value::as_object_mut)
            && entry.written == Written::Key
        {
            keys.extend(properties(&[GROUP_BY]));
        }
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("description".to_owned(), entry.summary.into());
            schema.insert("markdownDescription".to_owned(), entry.doc.into());
        }
        all.insert(entry.name.to_owned(), schema);
    }
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": all,
        "if": {"properties": {"window": {"const": "session"}}, "required": ["window"]},
        "then": {"required": ["gap"]},
    })
}

fn map_of(values: &Value) -> Value {
    json!({"type": "object", "additionalProperties": values})
}

/// Reads the mapping; every key that does not belong to this sort of document is reported.
pub(in crate::engine) fn read_extension(section: Option<Section<'_>>, sort: Sort) -> Extension {
    let mut extension = Extension::default();
    let Some(section) = section else { return extension };
    for keys in tables(sort) {
        read_keys(keys, &section, &mut extension);
    }
    refuse_opposites(&section, &extension.schedules);
    if sort != Sort::Filter {
        extension.risk = kind::read_risk(&section);
    }
    if sort == Sort::Detection {
        read_state(&section, &mut extension);
    }
    if section.has("record") {
        let kinds = kind::written(Written::Key).map(|entry| entry.name);
        let of_alerts = OF_ALERTS.iter().map(|key| key.name).filter(|name| !fits_record(name));
        refuse_beside_record(
            &section,
            of_alerts.chain([STEPS.name, GROUP_BY.name, "risk"]).chain(kinds),
        );
    }
    section.finish();
    extension
}

/// No time is inside and outside of one schedule.
fn refuse_opposites(section: &Section<'_>, schedules: &[(Text, bool)]) {
    for (name, _) in schedules.iter().filter(|(_, is_inside)| !is_inside) {
        let is_opposite =
            |(other, is_inside): &&(Text, bool)| *is_inside && other.value == name.value;
        if let Some((other, _)) = schedules.iter().find(is_opposite) {
            let title = format!("no time is inside and outside of `{}`", name.value);
            section.report(
                Diagnostic::error(code::TWICE, name.place.clone(), title)
                    .related(other.place.clone(), "inside here")
                    .help("keep one of them"),
            );
        }
    }
}

/// The kind that decides over time whether a detection rule fires.
fn read_state(section: &Section<'_>, extension: &mut Extension) {
    for entry in kind::written(Written::Key) {
        let Some(inner) = section.section(entry.name) else { continue };
        GROUP_BY.read(&inner, extension);
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
}

/// Labels that Tripline sets, or by which receivers know what it set.
const SET_BY_TRIPLINE: [&str; 5] = ["alertname", "severity", "rule_id", "fingerprint", "overflow"];

fn read_labels(section: &Section<'_>, key: &str) -> BTreeMap<String, Text> {
    let Some(inner) = section.section(key) else { return BTreeMap::new() };
    if !bounded(section, key, inner.keys().count(), SHOWN_FIELDS_MAX) {
        return BTreeMap::new();
    }
    let mut labels = BTreeMap::new();
    for name in inner.keys() {
        let Some(value) = chosen_text(&inner, name) else { continue };
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
        } else if SET_BY_TRIPLINE.contains(&name) {
            let title = format!("the label `{name}` is set by Tripline");
            refuse(inner.place_of_key(name), title, "choose another name");
        } else if value.value.contains("{{") || value.value.contains("{%") {
            let help =
                "labels identify an alert and must not change; use `annotations` for templates";
            refuse(value.place.clone(), format!("the label `{name}` is a template"), help);
        }
        let place = inner.place_of_key(name);
        labels.insert(name.to_owned(), Text { value: value.value, place });
    }
    labels
}

fn read_annotations(section: &Section<'_>, key: &str) -> BTreeMap<String, Text> {
    let Some(inner) = section.section(key) else { return BTreeMap::new() };
    if !bounded(section, key, inner.keys().count(), SHOWN_FIELDS_MAX) {
        return BTreeMap::new();
    }
    inner.keys().filter_map(|name| Some((name.to_owned(), chosen_text(&inner, name)?))).collect()
}

fn read_window(
    section: &Section<'_>,
    key: &str,
    gap: Option<Duration>,
) -> Option<(WindowShape, Place)> {
    let word = section.one_of(key, &WINDOWS.map(|word| (word, word)));
    let place = section.place_of(key);
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

const STEP: &[Key<(Option<f64>, Option<Severity>)>] = &[
    Key::required(
        "gte",
        Shape::Number,
        "From which value on.",
        "from which value on: `{gte: 50, level: critical}`",
        |s, key, to| to.0 = s.number(key),
    ),
    Key::required(
        "level",
        Shape::Severity,
        "Which severity then.",
        "which severity then: `{gte: 50, level: critical}`",
        |s, key, to| {
            to.1 = s.one_of(key, &Severity::WORDS);
        },
    ),
];

fn read_steps(section: &Section<'_>, key: &str) -> Vec<LevelStep> {
    let mut steps: Vec<LevelStep> = Vec::new();
    for step in section.sections(key) {
        let mut read = (None, None);
        read_keys(STEP, &step, &mut read);
        if let (Some(at_least), Some(severity)) = read {
            if steps.last().is_some_and(|before| before.at_least >= at_least) {
                step.invalid("gte", "levels must ascend", "write the lowest value first");
            }
            steps.push(LevelStep { at_least, severity });
        }
        step.finish();
    }
    steps
}
