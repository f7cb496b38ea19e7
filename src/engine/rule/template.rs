//! Which fields the templates of a rule's annotations need, and whether they are templates at all.
//!
//! Rendering is the business of alerts, in the [`environment`] that is made here. Each template is
//! parsed and tried when rules are loaded, so that a mistake is an error then and not a strange message
//! at night.

use std::{io, ops::Range};

use minijinja::{Environment, Error, ErrorKind, Template, UndefinedBehavior, Value};

use crate::engine::limits::{TEMPLATE_BYTES_MAX, TEMPLATE_FUEL, TEMPLATE_TEXT_BYTES_MAX};

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

/// The template language: a few filters, `if` and `for`, no functions, no assignments, no includes. A
/// field that is absent is the empty text, and so is everything below it.
///
/// Fuel bounds the work, but not how long a text may become on the way: whatever could make it grow
/// step by step is left out or has a bound of its own.
pub(in crate::engine) fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_fuel(Some(TEMPLATE_FUEL));
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.add_filter("default", minijinja::filters::default);
    environment.add_filter("first", minijinja::filters::first);
    environment.add_filter("join", join);
    environment.add_filter("last", minijinja::filters::last);
    environment.add_filter("length", minijinja::filters::length);
    environment.add_filter("lower", minijinja::filters::lower);
    environment.add_filter("replace", replace);
    environment.add_filter("upper", minijinja::filters::upper);
    environment
}

/// The filters, for help texts.
const FILTERS: [&str; 8] =
    ["default", "first", "join", "last", "length", "lower", "replace", "upper"];

/// What a template comes to, cut off at [`TEMPLATE_TEXT_BYTES_MAX`].
pub(in crate::engine) fn render(
    template: &Template<'_, '_>,
    values: Value,
) -> Result<String, Error> {
    let mut text = Bounded::default();
    match template.render_captured_to(values, &mut text) {
        Err(error) if !text.is_full => Err(error),
        _ => Ok(String::from_utf8_lossy(&text.bytes).into_owned()),
    }
}

/// Takes what a template writes, up to a bound at which rendering stops.
#[derive(Default)]
struct Bounded {
    bytes: Vec<u8>,
    is_full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        let room = TEMPLATE_TEXT_BYTES_MAX - self.bytes.len();
        if room == 0 {
            self.is_full = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = more.get(..room.min(more.len())).unwrap_or(more);
        self.bytes.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Refuses a text that has grown too long.
fn bounded(text: &str, more: usize) -> Result<(), Error> {
    if text.len() + more > TEMPLATE_TEXT_BYTES_MAX {
        return Err(Error::new(ErrorKind::InvalidOperation, "a text grows too long"));
    }
    Ok(())
}

fn join(value: &Value, separator: Option<String>) -> Result<String, Error> {
    let (separator, mut text) = (separator.unwrap_or_default(), String::new());
    if value.is_undefined() || value.is_none() {
        return Ok(text);
    }
    for (index, item) in value.try_iter()?.enumerate() {
        let item = item.to_string();
        bounded(&text, separator.len() + item.len())?;
        if index > 0 {
            text.push_str(&separator);
        }
        text.push_str(&item);
    }
    Ok(text)
}

fn replace(text: String, from: String, to: String) -> Result<String, Error> {
    if from.is_empty() {
        return Ok(text);
    }
    let (mut out, mut rest) = (String::new(), text.as_str());
    while let Some((before, after)) = rest.split_once(&from) {
        bounded(&out, before.len() + to.len())?;
        out.push_str(before);
        out.push_str(&to);
        rest = after;
    }
    bounded(&out, rest.len())?;
    out.push_str(rest);
    Ok(out)
}

/// Statements that there are.
const STATEMENTS: [&str; 8] = ["if", "elif", "else", "endif", "for", "endfor", "raw", "endraw"];

/// What a template that can be parsed must not have all the same, with its place.
fn forbidden(text: &str) -> Option<TemplateError> {
    let refuse = |title: String, at: Range<usize>, help: &str| {
        Some(TemplateError { title, at: Some(at), help: help.to_owned() })
    };
    let (mut at, mut loops) = (0, 0);
    while let Some(start) = text.get(at..)?.find('{').map(|found| at + found) {
        let end = match text.get(start..start + 2) {
            Some("{#") => start + text.get(start..)?.find("#}")?,
            Some("{{") => end_of_tag(text, start + 2, "}}"),
            Some("{%") => end_of_tag(text, start + 2, "%}"),
            _ => start + 1,
        };
        at = end;
        let Some(tag @ ("{{" | "{%")) = text.get(start..start + 2) else { continue };
        let inner = start + 2..end;
        if let Some(star) = outside_quotes(text, inner.clone()).find(|(_, c)| *c == '*') {
            let help = "numbers are shown as they are counted";
            return refuse("templates do not multiply".to_owned(), star.0..star.0 + 1, help);
        }
        if tag == "{{" {
            continue;
        }
        let statement = text.get(inner.clone())?.trim_start_matches(['-', '+']).trim();
        let word: &str = statement.split(|c: char| !c.is_alphabetic()).next()?;
        if !STATEMENTS.contains(&word) {
            let title = format!("templates have no `{word}`");
            return refuse(title, inner, "there are `if` and `for`");
        }
        loops += i32::from(word == "for") - i32::from(word == "endfor");
        if loops > 1 || word == "for" && statement.contains("recursive") {
            let title = "a loop cannot stand in a loop".to_owned();
            return refuse(title, inner, "use the filter `join`");
        }
        if word == "raw" {
            at = text.get(end..)?.find("endraw").map_or(text.len(), |found| end + found);
        }
    }
    None
}

/// Where a tag ends that began before `from`.
fn end_of_tag(text: &str, from: usize, mark: &str) -> usize {
    let first = mark.chars().next();
    outside_quotes(text, from..text.len())
        .find(|(at, c)| {
            Some(*c) == first && text.get(*at..).is_some_and(|rest| rest.starts_with(mark))
        })
        .map_or(text.len(), |(at, _)| at)
}

/// The characters of a part of a template that are not in quotes, with their places.
fn outside_quotes(text: &str, part: Range<usize>) -> impl Iterator<Item = (usize, char)> {
    let offset = part.start;
    let mut quote: Option<char> = None;
    let mut escaped = false;
    text.get(part).unwrap_or("").char_indices().filter_map(move |(at, c)| {
        let inside = quote.is_some();
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            None if matches!(c, '"' | '\'') => quote = Some(c),
            _ => {}
        }
        (!inside).then_some((offset + at, c))
    })
}

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
    fn new(error: &Error) -> TemplateError {
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
    if let Some(error) = forbidden(text) {
        return Err(error);
    }
    // What a template calls is looked up when it is rendered; values do not matter for that.
    if let Err(error) = render(&template, Value::UNDEFINED)
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
    fn what_could_grow_without_end_is_refused() {
        for text in [
            "{% set a = 'x' %}{% set a = a ~ a %}{{ a }}",
            "{%- with a = verb ~ verb %}{{ a }}{% endwith %}",
            "{% for a in values %}{% for b in values %}{{ b }}{% endfor %}{% endfor %}",
            "{% for a in values recursive %}{{ a }}{% endfor %}",
            "{{ ([1] * 1000000000) | join }}",
            "{{ verb }} {{ '\\'' * 5 }}",
            "{% filter upper %}a{% endfilter %}",
        ] {
            let error = fields_of(text).unwrap_err();
            assert!(error.at.is_some_and(|at| text.get(at).is_some()), "{text}");
        }
        for text in [
            "{% for a in values %}{{ a }}{% endfor %}{% for a in key %}{{ a }}{% endfor %}",
            "{{ verb | replace('*', '{% set %}') }} * {# * {% set #}",
            "{% raw %}{% set a %}{{ * }}{% endraw %}{{ verb }}",
            "{% if count > 5 %}many{% else %}few{% endif %}",
            "{ {{ verb ~ ' ' ~ count }} }",
        ] {
            fields_of(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        }
    }

    #[test]
    fn what_is_written_has_a_bound() {
        let text =
            format!("{{% for c in '{}' %}}{}{{% endfor %}}", "a".repeat(2_000), "b".repeat(900));
        let environment = environment();
        let template = environment.template_from_str(&text).unwrap();
        assert_eq!(render(&template, Value::UNDEFINED).unwrap().len(), TEMPLATE_TEXT_BYTES_MAX);
    }

    #[test]
    fn filters_that_multiply_have_a_bound() {
        let render = |text: &str| environment().render_str(text, ());
        assert_eq!(render("{{ 'a-b' | replace('-', '+') }}").unwrap(), "a+b");
        assert_eq!(
            render("{{ [1, 2] | join(', ') }}{{ [] | join }}{{ x | join }}").unwrap(),
            "1, 2"
        );
        let grow = "| replace('a', 'aaaaaaaaaa')".repeat(12);
        assert!(render(&format!("{{{{ 'aaaaaaaaaa' {grow} }}}}")).is_err());
        assert!(
            render(&format!("{{{{ '{}' | join('{}') }}}}", "a".repeat(2_000), "b".repeat(99)))
                .is_err()
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
