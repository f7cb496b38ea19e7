//! Warnings about what alerts would show: fields that do not exist, and what may be secret.

use super::fields::{check_field, check_key_field};
use crate::engine::{
    diagnostic::{Diagnostic, Problems},
    event::{KNOWN_FIELDS, derived::EVENT_TEXT, known_field},
    rule::{read::header::Header, template},
    syntax::{code, read::Text},
};

/// Unknown fields of one template that are warned about: 10. More say nothing new.
const UNKNOWN_SHOWN: usize = 10;

/// Reports unknown fields in evidence, risk and templates.
pub(in crate::engine) fn check_alert_fields(
    header: &Header,
    aliases: &[&str],
    problems: &Problems,
) {
    let extension = &header.extension;
    let is_field = |text: &&Text| !aliases.contains(&text.value.as_str());
    let entity = || extension.risk.iter().map(|(entity, _)| entity);
    for text in entity().filter(is_field) {
        check_key_field(&text.value, &text.place, problems);
    }
    let evidence = || extension.evidence.iter().flatten();
    for text in evidence().filter(is_field) {
        check_field(&text.value, &text.place, problems);
    }
    for text in evidence().chain(entity()) {
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
            .filter(|path| !aliases.contains(&path.as_str()) && known_field(path).is_none());
        for path in unknown.take(UNKNOWN_SHOWN) {
            let at = text.value.find(&path).map(|start| start..start + path.len());
            let place = at.map_or_else(|| text.place.clone(), |at| text.place_of(at));
            let words = template::TEMPLATE_WORDS.iter().map(|(word, _)| *word);
            let fields = KNOWN_FIELDS.iter().map(|field| field.path);
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
    let bodies = ["requestObject.", "responseObject.", "object."];
    let body = bodies.iter().find_map(|body| path.strip_prefix(body));
    path == EVENT_TEXT
        || body.is_some_and(|below| {
            let first = below.trim_start_matches("items.").split('.').next();
            matches!(first, Some("data" | "stringData" | "binaryData")) || below == "status.token"
        })
}
