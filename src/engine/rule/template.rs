//! Which fields the templates of a rule's annotations need, and whether they are templates at all.
//!
//! Rendering is the business of alerts. Here each template is parsed once when rules are loaded, so
//! that a mistake is an error then and not a strange message at night.

use std::ops::Range;

use crate::engine::limits::TEMPLATE_BYTES_MAX;

/// Variables that every template has beside the captured fields, each with what it holds.
pub const TEMPLATE_WORDS: &[(&str, &str)] = &[
    ("alertname", "Name of the rule."),
    ("count", "The value of the condition as a whole number: events, or distinct values."),
    ("evidence", "The events that show it, each with `time` and `fields`."),
    ("first_seen", "Time of the first event that counted."),
    ("key", "The parts of the key, by field path."),
    ("labels", "The labels of the alert."),
    ("last_seen", "Time of the latest event that counted."),
    ("rule_id", "Stable id of the rule."),
    ("severity", "Severity now."),
    ("starts_at", "Time at which this episode began."),
    ("suppressed_count", "Findings since the last episode that `suppress` held back."),
    ("threshold", "What the value is compared with, in words."),
    ("timespan", "Length of the window."),
    ("title", "Title of the rule."),
    ("value", "The value of the condition."),
];

/// Functions that templates may call; not variables.
const FUNCTIONS: &[&str] = &["range", "dict", "debug", "namespace", "loop", "field"];

/// A template that cannot be parsed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TemplateError {
    /// Why.
    pub(super) title: String,
    /// Where, in bytes of the template, if that is known.
    pub(super) at: Option<Range<usize>>,
}

/// The field paths that a template names, sorted; words of [`TEMPLATE_WORDS`] are left out.
pub(super) fn fields_of(text: &str) -> Result<Vec<String>, TemplateError> {
    if text.len() > TEMPLATE_BYTES_MAX {
        let title = format!("a template has at most {TEMPLATE_BYTES_MAX} bytes");
        return Err(TemplateError { title, at: None });
    }
    let environment = minijinja::Environment::new();
    let template = environment.template_from_str(text).map_err(|error| {
        let title = error.detail().unwrap_or("it cannot be parsed").to_owned();
        TemplateError { title, at: error.range() }
    })?;
    let mut paths: Vec<String> = template.undeclared_variables(true).into_iter().collect();
    paths.extend(called_fields(text));
    paths.retain(|path| {
        let root = path.split('.').next().unwrap_or("");
        !TEMPLATE_WORDS.iter().any(|(word, _)| *word == root) && !FUNCTIONS.contains(&root)
    });
    paths.sort_unstable();
    paths.dedup();
    Ok(paths)
}

/// Paths in `field("…")`, for those that are no Jinja names: `user.extra.a/b`.
fn called_fields(text: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for after in text.split("field(").skip(1) {
        let after = after.trim_start();
        let Some(quote) = after.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            continue;
        };
        if let Some((path, _)) = after.get(1..).and_then(|rest| rest.split_once(quote)) {
            paths.push(path.to_owned());
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_and_words_are_not() {
        let text = "{{ actor.id }} read {{ count }} of {{ objectRef.name | upper }}{% if verb %}!\
                    {% endif %} {{ field('user.extra.a/b') }}";
        assert_eq!(
            fields_of(text).unwrap(),
            ["actor.id", "objectRef.name", "user.extra.a/b", "verb"]
        );
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in ["{{ a", "{% if a %}", "{{ a | }}", "{% nothing %}"] {
            assert!(fields_of(text).is_err(), "{text}");
        }
    }
}
