//! How findings of a rule become alerts: from what the document says to [`AlertSpec`].

use crate::engine::{
    diagnostic::{Diagnostic, Problems},
    rule::{
        check::fields::check_field,
        plan::set::{AlertSpec, CaptureSlot, RuleMeta},
        read::{header::Header, names::RuleName},
        taxonomy, template,
    },
    syntax::code,
};

/// What is shown of an event when the rule does not say. The time comes by itself. `requestURI` is not
/// among them: it may hold secrets.
pub(in crate::engine) const DEFAULT_EVIDENCE: [&str; 9] = [
    "verb",
    "objectRef.resource",
    "objectRef.namespace",
    "objectRef.name",
    "objectRef.subresource",
    "user.username",
    "source.ip",
    "userAgent",
    "responseStatus.code",
];

/// What a document says about itself, without alert and state.
pub(in crate::engine) fn meta_of(header: &Header, name: Option<&RuleName>) -> RuleMeta {
    let (id, name) = name.map(|name| (name.id.clone(), name.name.clone())).unwrap_or_default();
    RuleMeta {
        id,
        name,
        title: header.title.clone(),
        description: header.description.clone(),
        status: header.status.clone(),
        severity: header.level.unwrap_or_default(),
        author: header.author.clone(),
        tags: header.tags.clone(),
        references: header.references.clone(),
        false_positives: header.false_positives.clone(),
        needs: header.extension.needs.unwrap_or_default(),
        place: Some(header.place.clone()),
        state_shape: 0,
        alert: None,
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

/// The fields that are shown: its own, or the usual ones.
pub(in crate::engine) fn evidence_of(header: &Header) -> Vec<String> {
    own_evidence(header)
        .unwrap_or_else(|| DEFAULT_EVIDENCE.iter().map(|field| (*field).to_owned()).collect())
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

/// Unknown fields of one template that are warned about: 10. More say nothing new.
const UNKNOWN_SHOWN: usize = 10;

/// Reports unknown fields in evidence, risk and templates.
pub(in crate::engine) fn check_alert_fields(
    header: &Header,
    aliases: &[&str],
    problems: &Problems,
) {
    let extension = &header.extension;
    let evidence = extension.evidence.iter().flatten();
    for text in evidence.chain(extension.risk.iter().map(|(entity, _)| entity)) {
        if !aliases.contains(&text.value.as_str()) {
            check_field(&text.value, &text.place, problems);
        }
        if may_be_secret(&text.value) {
            let title = format!("`{}` may hold secrets", text.value);
            problems.push(
                Diagnostic::warning(code::SECRET_SHOWN, text.place.clone(), title)
                    .help("alerts are sent to chat rooms and mailboxes; show the object's name"),
            );
        }
    }
    for text in extension.annotations.values() {
        let paths = template::fields_of(&text.value).unwrap_or_default();
        let unknown = paths
            .into_iter()
            .filter(|path| !aliases.contains(&path.as_str()) && taxonomy::known(path).is_none());
        for path in unknown.take(UNKNOWN_SHOWN) {
            let at = text.value.find(&path).map(|start| start..start + path.len());
            let place = at.map_or_else(|| text.place.clone(), |at| text.place_of(at));
            let words = template::TEMPLATE_WORDS.iter().map(|(word, _)| *word);
            let fields = taxonomy::FIELDS.iter().map(|field| field.path);
            let title = format!("the template names `{path}`, which does not exist");
            problems.push(
                Diagnostic::warning(code::UNKNOWN_FIELD, place, title)
                    .suggest(&path, fields.chain(words)),
            );
        }
    }
}

/// Contents of secrets and config maps, and the whole event.
fn may_be_secret(path: &str) -> bool {
    let body = path.strip_prefix("requestObject.").or_else(|| path.strip_prefix("responseObject."));
    path == super::leaf::EVENT_TEXT
        || body.is_some_and(|below| {
            let first = below.trim_start_matches("items.").split('.').next();
            matches!(first, Some("data" | "stringData" | "binaryData")) || below == "status.token"
        })
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
    AlertSpec {
        suppress: extension.suppress,
        labels: extension.labels.clone(),
        annotations: extension
            .annotations
            .iter()
            .map(|(name, text)| (name.clone(), text.value.clone()))
            .collect(),
        runbook: extension.runbook.clone(),
        owner: extension.owner.clone(),
        controls: extension.controls.clone(),
        evidence: slots(captured, evidence),
        levels: extension.levels.clone(),
        risk,
        ..AlertSpec::default()
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
