//! Suspicions about what one selection says: values that never occur, fields that need a level.
//!
//! Rules that cannot match are the worst mistake of all, because nobody notices them. Everything here
//! is a warning: audit events of other products may differ from those that we know.

use crate::engine::{
    diagnostic::{Diagnostic, Problems},
    event::{derived::CONFIRMED, known_field, network::parse_address},
    kubernetes::{AuditLevel, fields::FieldKind, resources},
    rule::{
        plan::expression::TimePart,
        read::{
            document::DetectionSyntax,
            modifier::Operand,
            pattern::{Part, Pattern, Shape},
            selection::{Item, Search},
        },
    },
    syntax::{code, read::Context},
    value::{Number, fold_case},
};

/// Words that people write as a value of a field, and what to write instead.
const INSTEAD: &[(&str, &str, &str)] = &[
    ("verb", "replace", "a replaced object has the verb `update`"),
    ("verb", "apply", "an applied object has the verb `patch`"),
    ("verb", "edit", "an edited object has the verb `patch` or `update`"),
    ("verb", "read", "reading has the verbs `get`, `list` and `watch`"),
    ("verb", "write", "writing has the verbs `create`, `update`, `patch` and `delete`"),
    ("verb", "bind", "a binding is a `create`, with `objectRef.resource: rolebindings`"),
    ("verb", "impersonate", "a request that impersonates has `impersonatedUser.username`"),
    (
        "responseStatus.code",
        "allow",
        "the decision is in `annotations.authorization.k8s.io/decision`",
    ),
    ("responseStatus.code", "forbid", "write 403, or `outcome: denied`"),
    ("responseStatus.code", "forbidden", "write 403, or `outcome: denied`"),
    ("responseStatus.code", "unauthorized", "write 401, or `outcome: denied`"),
    ("responseStatus.code", "success", "write `outcome: success`"),
    ("outcome", "allow", "write `outcome: success`"),
    ("outcome", "failure", "write `outcome: [denied, error]`"),
    ("outcome", "forbidden", "write `outcome: denied`"),
    ("annotations.authorization.k8s.io/decision", "deny", "a refusal is `forbid`"),
    ("annotations.authorization.k8s.io/decision", "denied", "a refusal is `forbid`"),
    ("annotations.authorization.k8s.io/decision", "allowed", "a permission is `allow`"),
];

/// Values of one field that are warned about one by one: 10. The others are counted.
const IMPOSSIBLE_SHOWN: usize = 10;

/// Warns about every value of a document that can never occur.
pub(in crate::engine) fn lint_values(detection: &DetectionSyntax, problems: &Problems) {
    let context = Context { source: &detection.source, problems };
    for item in items(detection) {
        let Some(path) = item.field.as_deref() else { continue };
        let Some(field) = known_field(path) else { continue };
        if field.kind.is_prefix() && field.path == path {
            warn_of_object(path, item, &context);
        } else {
            warn_of_values(field.path, field.kind, item, &context);
        }
    }
}

/// Warns about a value of what has none, but fields below it.
fn warn_of_object(path: &str, item: &Item, context: &Context<'_>) {
    if let Some((_, span)) = item.values.iter().find(|(value, _)| !is_of_objects(value)) {
        let title = format!("`{path}` is an object, and has no value of its own");
        let help =
            format!("name a field below it: `{path}.…`; a text anywhere in the event is a keyword");
        let place = context.place(span);
        context.problems.push(Diagnostic::warning(code::CANNOT_MATCH, place, title).help(help));
    }
}

/// Whether an object can be like it, or nothing in its place.
fn is_of_objects(value: &Operand) -> bool {
    match value {
        Operand::Null | Operand::Exists(_) => true,
        Operand::Text { pattern, .. } => pattern.shape() == Shape::Anything,
        Operand::AnyOf(values) => values.iter().all(is_of_objects),
        _ => false,
    }
}

/// Warns about every value of a field that it never has.
pub(super) fn warn_of_values(path: &str, kind: FieldKind, item: &Item, context: &Context<'_>) {
    let mut count = 0;
    for (operand, span) in &item.values {
        let Some((title, help)) = impossible(path, kind, operand) else { continue };
        count += 1;
        if count > IMPOSSIBLE_SHOWN {
            continue;
        }
        let mut diagnostic = Diagnostic::warning(code::CANNOT_MATCH, context.place(span), title);
        if !help.is_empty() {
            diagnostic = diagnostic.help(help);
        }
        context.problems.push(diagnostic);
    }
    if let Some(more) = count.checked_sub(IMPOSSIBLE_SHOWN).filter(|more| *more > 0) {
        let title = format!("`{path}` is never {more} more of its values either");
        let place = context.place(&item.at);
        context.problems.push(Diagnostic::warning(code::CANNOT_MATCH, place, title));
    }
}

/// The audit level from which on all fields of a document are recorded, and the field that needs it.
pub(in crate::engine) fn level_needed(detection: &DetectionSyntax) -> Option<(AuditLevel, &Item)> {
    items(detection)
        .filter_map(|item| {
            let level = known_field(item.field.as_deref()?)?.level;
            (level > AuditLevel::Metadata).then_some((level, item))
        })
        // The first of the highest.
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
}

pub(super) fn items(detection: &DetectionSyntax) -> impl Iterator<Item = &Item> {
    detection.selections.iter().filter_map(|(_, search)| search.as_ref()).flat_map(Search::items)
}

/// Why a value can never occur, and what to write instead.
fn impossible(path: &str, kind: FieldKind, operand: &Operand) -> Option<(String, String)> {
    let never = |what: &str, help: String| Some((format!("`{path}` is never {what}"), help));
    match (operand, kind) {
        (Operand::AnyOf(values), _) => {
            let all: Option<Vec<_>> =
                values.iter().map(|value| impossible(path, kind, value)).collect();
            all?.into_iter().next()
        }
        (Operand::Text { pattern, original, .. }, kind) => {
            if pattern.placeholders().next().is_some() || text_occurs(kind, pattern) {
                return object_help(path, pattern)
                    .or_else(|| address_help(path, pattern))
                    .or_else(|| confirmed_help(path, pattern.plain()?));
            }
            never(&format!("`{original}`"), instead(path, kind, original))
        }
        (Operand::Number(number, written), FieldKind::Number)
            if path == "responseStatus.code"
                && !(Number::Whole(100)..Number::Whole(600)).contains(number) =>
        {
            never(&format!("`{written}`"), "HTTP statuses lie between 100 and 599".to_owned())
        }
        (Operand::Number(_, written), FieldKind::Words(_) | FieldKind::Bool | FieldKind::Time) => {
            never(&format!("`{written}`"), instead(path, kind, written))
        }
        (Operand::Bool(value), FieldKind::Text) => confirmed_help(path, &value.to_string()),
        (
            Operand::Bool(value),
            FieldKind::Words(_) | FieldKind::Number | FieldKind::Address | FieldKind::Time,
        ) => never(&format!("`{value}`"), instead(path, kind, &value.to_string())),
        (
            Operand::Time(..),
            FieldKind::Text
            | FieldKind::Words(_)
            | FieldKind::Number
            | FieldKind::Bool
            | FieldKind::Address,
        ) => {
            let help = "times are in `requestReceivedTimestamp` and `stageTimestamp`";
            never("a time", help.to_owned())
        }
        (Operand::Time(part, comparison, number), _) => {
            let (first, last) = range_of(*part);
            // Parts of a time are read as numbers up to 9999.
            let wanted = f64::from(i32::try_from(*number).unwrap_or(i32::MAX));
            let holds = |one: i32| comparison.holds(f64::from(one), wanted);
            if (first..=last).any(holds) {
                return None;
            }
            let word = format!("{part:?}").to_lowercase();
            let title = format!("no {word} is {} {number}", comparison.sign());
            Some((title, format!("it lies between {first} and {last}")))
        }
        (Operand::Compare(comparison, number), FieldKind::Number)
            if path == "responseStatus.code"
                && !(100..600).any(|code| comparison.holds(Number::Whole(code), *number)) =>
        {
            let what = format!("{} {number}", comparison.sign());
            never(&what, "HTTP statuses lie between 100 and 599".to_owned())
        }
        (
            Operand::Network(_),
            FieldKind::Words(_) | FieldKind::Number | FieldKind::Bool | FieldKind::Time,
        ) => never("an address", "addresses are in `source.ip` and `sourceIPs`".to_owned()),
        (
            Operand::Compare(..),
            FieldKind::Words(_) | FieldKind::Bool | FieldKind::Address | FieldKind::Time,
        ) => never("a number", String::new()),
        _ => None,
    }
}

/// The first and the last value of a part of a time.
const fn range_of(part: TimePart) -> (i32, i32) {
    match part {
        TimePart::Minute => (0, 59),
        TimePart::Hour => (0, 23),
        TimePart::Day => (1, 31),
        TimePart::Week => (1, 53),
        TimePart::Month => (1, 12),
        TimePart::Year => (1_970, 9_999),
    }
}

/// Whether some event may have a text that fits the pattern.
pub(super) fn text_occurs(kind: FieldKind, pattern: &Pattern) -> bool {
    if matches!(kind, FieldKind::Text | FieldKind::Time) || kind.is_prefix() {
        return true;
    }
    // Nearly all values are plain; only the others need an expression.
    let plain = pattern.plain().map(fold_case);
    let regex = match &plain {
        Some(_) => None,
        None => regex::Regex::new(&pattern.regex(false)).ok(),
    };
    let fits = |word: &str| match (&plain, &regex) {
        (Some(text), _) if !pattern.cased => fold_case(word) == *text,
        (Some(_), _) => pattern.plain() == Some(word),
        (None, Some(regex)) => regex.is_match(word),
        (None, None) => true,
    };
    match kind {
        FieldKind::Words(words) => words.iter().any(|word| fits(word)),
        FieldKind::Bool => fits("true") || fits("false"),
        FieldKind::Number => {
            // Wildcards may fit some number; plain text must be one.
            pattern.plain().is_none_or(|text| text.trim().parse::<f64>().is_ok())
                && pattern.parts.iter().all(|part| match part {
                    Part::Text(text) => text
                        .chars()
                        .all(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E')),
                    _ => true,
                })
        }
        FieldKind::Address => pattern.plain().is_none_or(|text| {
            text.is_empty()
                || text.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '%'))
        }),
        FieldKind::Text | FieldKind::Time | FieldKind::Tree | FieldKind::Keyed => true,
    }
}

/// `objectRef.resource` holds plural names without subresource, `objectRef.apiGroup` names without
/// version, and none for the core group.
fn object_help(path: &str, pattern: &Pattern) -> Option<(String, String)> {
    let text = pattern.plain()?.to_ascii_lowercase();
    let title = format!("`{path}` is never `{text}`");
    let help = match path {
        "objectRef.resource" => match text.split_once('/') {
            Some((resource, subresource)) => format!(
                "write `objectRef.resource: {resource}` and `objectRef.subresource: {subresource}`"
            ),
            None => format!("resources are in the plural: `{}`", resources::meant(&text)?.name),
        },
        "objectRef.apiGroup" => match text.split_once('/') {
            Some((group, version)) => {
                format!("write `objectRef.apiGroup: {group}` and `objectRef.apiVersion: {version}`")
            }
            None if CORE_GROUP.contains(&text.as_str()) => {
                "the core group has no name in events: write `objectRef.apiGroup: null`".to_owned()
            }
            // Groups of custom resources have a dot.
            None if text.contains('.') || resources::is_group(&text) => return None,
            None => match resources::group_beginning_with(&text) {
                Some(group) => format!("did you mean `{group}`?"),
                None => return None,
            },
        },
        _ => return None,
    };
    Some((title, help))
}

/// `source.ip` holds an address in its one form, and nothing else.
fn address_help(path: &str, pattern: &Pattern) -> Option<(String, String)> {
    let text = pattern.plain().filter(|_| path == "source.ip")?;
    let address = parse_address(text)?.to_canonical().to_string();
    let title = || format!("`{path}` is never `{text}`");
    (!text.eq_ignore_ascii_case(&address)).then(|| (title(), format!("write `{address}`")))
}

/// `actor.confirmed` holds a name, and not whether there is one.
fn confirmed_help(path: &str, text: &str) -> Option<(String, String)> {
    let text = fold_case(text);
    let help = match text.as_str() {
        "true" => "it is a name, or absent: who is confirmed is `actor.confirmed|exists: true`",
        "false" => "it is a name, or absent: who is not confirmed is `actor.confirmed: null`",
        _ => return None,
    };
    (path == CONFIRMED).then(|| (format!("`{path}` is never `{text}`"), help.to_owned()))
}

/// What people write for the group that has no name.
const CORE_GROUP: [&str; 3] = ["", "core", "v1"];

fn instead(path: &str, kind: FieldKind, written: &str) -> String {
    let plain = written.trim_matches('*').to_ascii_lowercase();
    let known = INSTEAD.iter().find(|(of, word, _)| *of == path && *word == plain);
    if let Some((_, _, help)) = known {
        return (*help).to_owned();
    }
    if let Some(below) = resources::subresource(&plain).filter(|_| path == "verb") {
        let verbs: Vec<String> = below.verbs.iter().map(|verb| format!("`{verb}`")).collect();
        let (name, verbs) = (below.name, verbs.join(" or "));
        return format!("{name} has the verb {verbs}, and `objectRef.subresource: {name}`");
    }
    match kind {
        FieldKind::Words(words) => format!("it is one of: {}", words.join(", ")),
        FieldKind::Number => "it is a number".to_owned(),
        FieldKind::Bool => "it is `true` or `false`".to_owned(),
        FieldKind::Address if written.contains('/') => {
            format!("for a network write `{path}|cidr`")
        }
        FieldKind::Address => "it is an address".to_owned(),
        FieldKind::Time => "it is a time; see the modifiers `hour`, `day` and so on".to_owned(),
        FieldKind::Text | FieldKind::Tree | FieldKind::Keyed => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::syntax::threshold::Comparison;

    fn verdict(path: &str, operand: &Operand) -> Option<(String, String)> {
        impossible(path, known_field(path).unwrap().kind, operand)
    }

    #[test]
    fn what_occurs_is_not_suspected() {
        for (path, text) in [
            ("verb", "create"),
            ("verb", "*create*"),
            ("verb", "GET"),
            ("verb", "*"),
            ("responseStatus.code", "403"),
            ("responseStatus.code", "4*"),
            ("actor.human", "true"),
            ("source.ip", "10.0.*"),
            ("source.ip", "2001:db8::1"),
            ("objectRef.resource", "pods"),
            ("objectRef.resource", "po*"),
            ("objectRef.apiGroup", "apps"),
            ("objectRef.apiGroup", "serving.knative.dev"),
            ("requestObject.spec.x", "anything"),
        ] {
            assert_eq!(verdict(path, &Operand::text(text)), None, "{path} {text}");
        }
    }

    #[test]
    fn what_never_occurs_is_explained() {
        for (path, text, help) in [
            ("verb", "replace", "a replaced object has the verb `update`"),
            ("verb", "execute", "it is one of: get, list, watch"),
            ("responseStatus.code", "ALLOW", "the decision is in"),
            ("responseStatus.code", "4xx", "it is a number"),
            ("stage", "Complete", "it is one of: RequestReceived"),
            ("actor.human", "yes", "it is `true` or `false`"),
            ("source.ip", "10.0.0.0/8", "for a network write `source.ip|cidr`"),
            ("objectRef.resource", "pods/exec", "write `objectRef.resource: pods` and"),
            ("objectRef.resource", "Secret", "resources are in the plural: `secrets`"),
            ("objectRef.resource", "svc", "resources are in the plural: `services`"),
            ("objectRef.apiGroup", "core", "the core group has no name in events"),
            ("objectRef.apiGroup", "apps/v1", "write `objectRef.apiGroup: apps` and"),
            ("objectRef.apiGroup", "rbac", "did you mean `rbac.authorization.k8s.io`?"),
            ("actor.confirmed", "False", "it is a name, or absent: who is not confirmed is"),
            ("verb", "portforward", "portforward has the verb `create` or `get`, and"),
        ] {
            let (_, found) = verdict(path, &Operand::text(text)).expect(text);
            assert!(found.starts_with(help), "{path} {text}: {found}");
        }
        let number = |number: f64| Operand::Number(Number::from(number), number.to_string());
        assert!(verdict("responseStatus.code", &number(1000.0)).is_some());
        assert!(verdict("verb", &number(1.0)).is_some());
        for path in ["verb", "source.ip", "actor.confirmed"] {
            assert!(verdict(path, &Operand::Bool(true)).is_some(), "{path}");
        }
        assert!(verdict("user.username", &Operand::Bool(true)).is_none(), "it may be a name");
        let time = |comparison, number| {
            verdict("stageTimestamp", &Operand::Time(TimePart::Hour, comparison, number))
        };
        assert!(time(Comparison::Equal, 24).is_some() && time(Comparison::Less, 0).is_some());
        assert!(time(Comparison::Equal, 0).is_none() && time(Comparison::Greater, 22).is_none());
        let code = |number| {
            verdict("responseStatus.code", &Operand::Compare(Comparison::GreaterOrEqual, number))
        };
        assert!(code(Number::Whole(600)).is_some() && code(Number::Whole(500)).is_none());
    }

    #[test]
    fn every_hint_is_about_a_field_and_a_value_that_cannot_occur() {
        for (path, word, _) in INSTEAD {
            assert!(verdict(path, &Operand::text(word)).is_some(), "{path} {word}");
        }
    }
}
