//! Which fields the templates of a rule's annotations need, and whether they are templates at all.
//!
//! Rendering is the business of alerts, in the [`environment`] that is made here. Each template is
//! parsed and tried when rules are loaded, so that a mistake is an error then and not a strange message
//! at night.

use std::ops::Range;

use minijinja::{Environment, ErrorKind, UndefinedBehavior};

use crate::engine::limits::{TEMPLATE_BYTES_MAX, TEMPLATE_FUEL};

/// Variables that every template has beside the captured fields, each with what it holds.
pub const TEMPLATE_WORDS: &[(&str, &str)] = &[
    ("count", "The value of the condition: events, different values, a sum."),
    ("fields", "All fields by path, for those whose path is no name: `fields[\"a.b/c\"]`."),
    ("findings", "How often the condition held in this episode."),
    ("first_seen", "Time of the first event that counted."),
    ("key", "The parts of the key, in the rule's order."),
    ("last_seen", "Time of the latest event that counted."),
    ("rule", "Stable id of the rule."),
    ("severity", "Severity now."),
    ("threshold", "What the value is compared with, in words."),
    ("title", "Title of the rule."),
    ("usual", "What the value usually is, of a `spike`."),
    ("value", "The same as `count`."),
    ("values", "The different values that were counted, as far as they are kept."),
];

/// The template language: a few filters, no functions, no includes, bounded work. A field that is
/// absent is the empty text, and so is everything below it.
pub(in crate::engine) fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_fuel(Some(TEMPLATE_FUEL));
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.add_filter("default", minijinja::filters::default);
    environment.add_filter("first", minijinja::filters::first);
    environment.add_filter("join", minijinja::filters::join);
    environment.add_filter("last", minijinja::filters::last);
    environment.add_filter("length", minijinja::filters::length);
    environment.add_filter("lower", minijinja::filters::lower);
    environment.add_filter("replace", minijinja::filters::replace);
    environment.add_filter("upper", minijinja::filters::upper);
    environment
}

/// The filters, for help texts.
const FILTERS: [&str; 8] =
    ["default", "first", "join", "last", "length", "lower", "replace", "upper"];

/// A template that cannot be parsed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TemplateError {
    /// Why.
    pub(super) title: String,
    /// Where, in bytes of the template, if that is known.
    pub(super) at: Option<Range<usize>>,
    /// What to do.
    pub(super) help: String,
}

impl TemplateError {
    fn new(error: &minijinja::Error) -> TemplateError {
        let help = match error.kind() {
            ErrorKind::UnknownFilter => format!("the filters are: {}", FILTERS.join(", ")),
            ErrorKind::UnknownFunction | ErrorKind::UnknownMethod | ErrorKind::UnknownTest => {
                "templates have fields, words and filters only".to_owned()
            }
            _ => "fields stand in double braces: `{{ actor.id }}`".to_owned(),
        };
        let title = error.detail().unwrap_or("it cannot be parsed").to_owned();
        TemplateError { title, at: error.range(), help }
    }
}

/// The field paths that a template names, sorted; words of [`TEMPLATE_WORDS`] are left out.
pub(super) fn fields_of(text: &str) -> Result<Vec<String>, TemplateError> {
    if text.len() > TEMPLATE_BYTES_MAX {
        let title = format!("it has more than {TEMPLATE_BYTES_MAX} bytes");
        return Err(TemplateError { title, at: None, help: "shorten it".to_owned() });
    }
    let environment = environment();
    let template =
        environment.template_from_str(text).map_err(|error| TemplateError::new(&error))?;
    // What a template calls is looked up when it is rendered; values do not matter for that.
    if let Err(error) = template.render(())
        && matches!(
            error.kind(),
            ErrorKind::UnknownFilter
                | ErrorKind::UnknownFunction
                | ErrorKind::UnknownMethod
                | ErrorKind::UnknownTest
                | ErrorKind::TemplateNotFound
                | ErrorKind::OutOfFuel
        )
    {
        return Err(TemplateError::new(&error));
    }
    let mut paths: Vec<String> = template.undeclared_variables(true).into_iter().collect();
    paths.extend(looked_up(text));
    paths.retain(|path| {
        let root = path.split('.').next().unwrap_or("");
        root != "loop" && !TEMPLATE_WORDS.iter().any(|(word, _)| *word == root)
    });
    paths.sort_unstable();
    paths.dedup();
    Ok(paths)
}

/// Paths in `fields["…"]`.
fn looked_up(text: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for after in text.split("fields[").skip(1) {
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
                    {% endif %} {{ fields['user.extra.a/b'] }}";
        assert_eq!(
            fields_of(text).unwrap(),
            ["actor.id", "objectRef.name", "user.extra.a/b", "verb"]
        );
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in
            ["{{ a", "{% if a %}", "{{ a | }}", "{% nothing %}", "{{ a | shout }}", "{{ f(1) }}"]
        {
            assert!(fields_of(text).is_err(), "{text}");
        }
    }
}
