//! How findings of a rule become alerts: from what the document says to [`AlertSpec`].

use std::collections::BTreeMap;

use crate::engine::{
    diagnostic::{Diagnostic, Problems},
    kubernetes::fields::CLUSTER,
    rule::{
        plan::{
            alert::{AlertSpec, CaptureSlot, DoerSlots, label_name},
            rule::{About, RuleMeta},
        },
        read::{header::Header, names::RuleName},
        template,
    },
    syntax::{code, read::Text},
};

/// What is shown of every event, whatever a rule lists: who, what, where, from where, on whose behalf,
/// and how it ended. The time comes by itself. `requestURI` is not among them: it may hold secrets.
const ALWAYS_SHOWN: [&str; 15] = [
    "verb",
    "objectRef.resource",
    "objectRef.namespace",
    "objectRef.name",
    "objectRef.subresource",
    "user.username",
    "actor.id",
    "actor.kind",
    "actor.on_behalf_of",
    "actor.team",
    "cluster",
    "source.ip",
    "userAgent",
    "outcome",
    "responseStatus.code",
];

/// What a document says about itself, without alert and state.
pub(in crate::engine) fn meta_of(header: &Header, name: Option<&RuleName>) -> RuleMeta {
    let extension = &header.extension;
    let (id, name) = name.map(|name| (name.id.clone(), name.name.clone())).unwrap_or_default();
    RuleMeta {
        id,
        name,
        about: About {
            owner: extension.owner.clone(),
            runbook: extension.runbook.clone(),
            controls: extension.controls.clone(),
            ..header.about.clone()
        },
        severity: header.level.unwrap_or_default(),
        needs: extension.needs.unwrap_or_default(),
        place: Some(header.place.clone()),
        ..RuleMeta::default()
    }
}

/// The fields that a document wants to be shown: `tripline.evidence`, else Sigma's `fields`.
pub(in crate::engine) fn own_evidence(header: &Header) -> Option<Vec<String>> {
    let texts = match &header.extension.evidence {
        Some(evidence) => evidence,
        None if !header.fields.is_empty() => &header.fields,
        None => return None,
    };
    Some(texts.iter().map(|text| text.value.clone()).collect())
}

/// The fields that are shown: its own, and what is always shown.
pub(in crate::engine) fn evidence_of(header: &Header) -> Vec<String> {
    with_always_shown(own_evidence(header).unwrap_or_default())
}

/// These fields, and then those that are always shown.
pub(in crate::engine) fn with_always_shown(mut fields: Vec<String>) -> Vec<String> {
    for field in ALWAYS_SHOWN {
        if !fields.iter().any(|known| known == field) {
            fields.push(field.to_owned());
        }
    }
    fields
}

/// The fields that a document's templates name; templates that are none are reported.
pub(in crate::engine) fn template_fields(header: &Header, problems: &Problems) -> Vec<String> {
    let mut fields = Vec::new();
    for text in header.extension.annotations.values() {
        match template::fields_of(&text.value) {
            Ok(found) => fields.extend(found),
            Err(error) => {
                let place = error.at.map_or_else(|| text.place.clone(), |at| text.place_of(at));
                let title = format!("not a template: {}", error.title);
                problems.push(Diagnostic::error(code::BAD_TEMPLATE, place, title).help(error.help));
            }
        }
    }
    fields
}

/// Everything about alerts but key and duration. `captured` are the names that findings carry.
pub(in crate::engine) fn alert_spec(
    header: &Header,
    captured: &[String],
    evidence: &[String],
) -> AlertSpec {
    let extension = &header.extension;
    let risk = extension
        .risk
        .as_ref()
        .and_then(|(entity, score)| Some((slot(captured, &entity.value)?, *score)));
    let evidence = slots(captured, evidence);
    AlertSpec {
        doer: DoerSlots::of(captured, &evidence),
        suppress: extension.suppress,
        labels: values_of(&extension.labels),
        annotations: values_of(&extension.annotations),
        evidence,
        levels: extension.levels.clone(),
        risk,
        ..AlertSpec::default()
    }
}

fn values_of(texts: &BTreeMap<String, Text>) -> BTreeMap<String, String> {
    texts.iter().map(|(name, text)| (name.clone(), text.value.clone())).collect()
}

/// Warns about labels in whose place those of the key stand.
pub(in crate::engine) fn check_labels(
    header: &Header,
    key: &[String],
    spec: &AlertSpec,
    problems: &Problems,
) {
    let cluster = spec.cluster.map(|_| CLUSTER);
    for part in key.iter().map(String::as_str).chain(cluster) {
        let name = label_name(part);
        let Some(label) = header.extension.labels.get(&name) else { continue };
        let title =
            format!("the label `{name}` is that of `{part}`, by which alerts are told apart");
        problems.push(
            Diagnostic::warning(code::BAD_LABEL, label.place.clone(), title)
                .label("wherever events have it, this value is not seen")
                .help("choose another name, or other fields for `group-by`"),
        );
    }
}

/// Where a name is among the captured values.
pub(in crate::engine) fn slot(captured: &[String], name: &str) -> Option<CaptureSlot> {
    let index = captured.iter().position(|known| known == name)?;
    u16::try_from(index).ok().map(CaptureSlot)
}

/// Where names are among the captured values; those that are not are left out.
pub(in crate::engine) fn slots(captured: &[String], names: &[String]) -> Vec<CaptureSlot> {
    names.iter().filter_map(|name| slot(captured, name)).collect()
}
