//! Reads what a selection of a detection says: fields, modifiers, values.
//!
//! A mapping means *and*, a list means *or*, a list of scalars without a field means keywords. What
//! the modifiers make of the values is decided here; lists are put in when rules are compiled.

use std::ops::Range;

use super::modifier::{self, Effect, Operand, Refusal, expand};
use crate::engine::{
    diagnostic::Diagnostic,
    syntax::{code, read::Context},
    value::Number,
    yaml::{Key, Node, NodeKind, other_reading},
};

/// What a selection says.
#[derive(Clone, Debug)]
pub(in crate::engine) enum Search {
    /// One field, or keywords.
    Item(Item),
    /// All hold.
    All(Vec<Search>),
    /// Any holds.
    Any(Vec<Search>),
}

/// A field with its values.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Item {
    /// Path of the field; `None` for keywords, which may be anywhere in the event.
    pub(in crate::engine) field: Option<String>,
    /// Where the field stands.
    pub(in crate::engine) at: Range<usize>,
    /// The values with their places, after the modifiers.
    pub(in crate::engine) values: Vec<(Operand, Range<usize>)>,
    /// All values must match.
    pub(in crate::engine) all: bool,
    /// None may match.
    pub(in crate::engine) negated: bool,
}

impl Search {
    /// All items in it.
    pub(in crate::engine) fn items(&self) -> Vec<&Item> {
        match self {
            Search::Item(item) => vec![item],
            Search::All(parts) | Search::Any(parts) => {
                parts.iter().flat_map(Search::items).collect()
            }
        }
    }
}

/// Reads a selection. `None` if it is unusable; that is reported.
pub(in crate::engine) fn read_selection(
    context: Context<'_>,
    name: &Key,
    node: &Node,
) -> Option<Search> {
    match &node.kind {
        NodeKind::Map(entries) => read_map(context, node, entries),
        NodeKind::List(items) if items.is_empty() => empty(context, &name.span, &name.text),
        NodeKind::List(items) => {
            let scalars = items.iter().filter(|item| item.scalar_text().is_some()).count();
            if scalars == items.len() {
                return keywords(context, node, items);
            }
            let parts: Vec<Option<Search>> = items
                .iter()
                .map(|item| match &item.kind {
                    NodeKind::Map(entries) => read_map(context, item, entries),
                    NodeKind::List(_) | NodeKind::Null => {
                        let help = "a list holds mappings, or keywords";
                        nested(context, item, help);
                        None
                    }
                    _ => keywords(context, item, std::slice::from_ref(item)),
                })
                .collect();
            let parts: Option<Vec<Search>> = parts.into_iter().collect();
            Some(one_or(parts?, Search::Any))
        }
        NodeKind::Null => empty(context, &name.span, &name.text),
        _ => keywords(context, node, std::slice::from_ref(node)),
    }
}

fn one_or(mut parts: Vec<Search>, many: impl FnOnce(Vec<Search>) -> Search) -> Search {
    if parts.len() == 1 { parts.swap_remove(0) } else { many(parts) }
}

fn empty(context: Context<'_>, at: &Range<usize>, name: &str) -> Option<Search> {
    let diagnostic =
        Diagnostic::error(code::EMPTY_SELECTION, context.place(at), format!("`{name}` is empty"))
            .help("write a mapping from fields to values");
    context.problems.push(diagnostic);
    None
}

fn nested(context: Context<'_>, node: &Node, help: &str) {
    let title = format!("{} cannot stand here", node.kind_name());
    let diagnostic =
        Diagnostic::error(code::NESTED_VALUE, context.place(&node.span), title).help(help);
    context.problems.push(diagnostic);
}

fn keywords(context: Context<'_>, node: &Node, items: &[Node]) -> Option<Search> {
    let key = Key { text: String::new(), span: node.span.clone() };
    read_item(context, &key, items).map(Search::Item)
}

fn read_map(context: Context<'_>, node: &Node, entries: &[(Key, Node)]) -> Option<Search> {
    if entries.is_empty() {
        let diagnostic =
            Diagnostic::error(code::EMPTY_SELECTION, context.place(&node.span), "this is empty")
                .help("write a mapping from fields to values");
        context.problems.push(diagnostic);
        return None;
    }
    let parts: Vec<Option<Search>> = entries
        .iter()
        .map(|(key, value)| {
            let values = value.as_list().unwrap_or(std::slice::from_ref(value));
            read_item(context, key, values).map(Search::Item)
        })
        .collect();
    let parts: Option<Vec<Search>> = parts.into_iter().collect();
    Some(one_or(parts?, Search::All))
}

fn read_item(context: Context<'_>, key: &Key, nodes: &[Node]) -> Option<Item> {
    let mut words = key.text.split('|');
    let field = words.next().unwrap_or("").trim();
    let at = key.span.start..(key.span.start + field.len().max(1)).min(key.span.end);
    let at = if context.source.text.get(at.clone()) == Some(field) { at } else { key.span.clone() };
    let names: Vec<&str> = words.collect();
    let text = if names.contains(&"expand") { Operand::expanding } else { Operand::text };
    let values = read_values(context, key, nodes, text);
    let mut item = Item {
        field: (!field.is_empty()).then(|| field.to_owned()),
        at,
        values: values?,
        all: false,
        negated: false,
    };
    for (index, name) in names.iter().enumerate() {
        apply(context, key, &mut item, name, index == 0)?;
    }
    if item.field.is_none() && item.values.iter().any(|(value, _)| !is_keyword(value)) {
        let title = "keywords are texts, numbers or regular expressions";
        context.error(code::MODIFIER_MISUSE, &key.span, title);
        return None;
    }
    let several =
        item.values.len() > 1 || item.values.iter().any(|(value, _)| value.has_placeholders());
    if item.all && !several {
        let diagnostic = Diagnostic::error(
            code::MODIFIER_MISUSE,
            context.place(&key.span),
            "`all` needs at least two values",
        );
        context.problems.push(diagnostic.help("leave out `all`, or write a list"));
        return None;
    }
    Some(item)
}

fn is_keyword(operand: &Operand) -> bool {
    match operand {
        Operand::Text { .. } | Operand::Number(..) | Operand::Bool(_) | Operand::Regex(_) => true,
        Operand::AnyOf(values) => values.iter().all(is_keyword),
        _ => false,
    }
}

fn read_values(
    context: Context<'_>,
    key: &Key,
    nodes: &[Node],
    text: fn(&str) -> Operand,
) -> Option<Vec<(Operand, Range<usize>)>> {
    if nodes.is_empty() {
        let title = format!("`{}` has an empty list of values", key.text);
        context.error(code::EMPTY_SELECTION, &key.span, title);
        return None;
    }
    let mut values = Vec::with_capacity(nodes.len());
    let mut usable = true;
    for node in nodes {
        warn_of_older_yaml(context, node);
        let written = || {
            let text = context.source.text.get(node.span.clone()).unwrap_or("").trim();
            if text.is_empty() { node.scalar_text().unwrap_or_default() } else { text.to_owned() }
        };
        let operand = match &node.kind {
            NodeKind::Null => Operand::Null,
            NodeKind::Bool(value) => Operand::Bool(*value),
            NodeKind::Int(value) => Operand::Number(Number::Whole(i128::from(*value)), written()),
            NodeKind::Float(value) => {
                let written = written();
                // A whole number that is too long for the one is exact here.
                let whole = written.parse().map(Number::Whole);
                Operand::Number(whole.unwrap_or_else(|_| Number::from(*value)), written)
            }
            NodeKind::Str(written) => text(written),
            NodeKind::List(_) | NodeKind::Map(_) => {
                nested(context, node, "a field is compared with a value or a list of values");
                usable = false;
                continue;
            }
        };
        if operand == Operand::Null && nodes.len() > 1 {
            let title = "null in a list of values";
            let help = "Sigma wants a selection of its own for null; other tools refuse this one";
            let place = context.place(&node.span);
            context.problems.push(Diagnostic::warning(code::NULL_IN_LIST, place, title).help(help));
        }
        values.push((operand, node.span.clone()));
    }
    usable.then_some(values)
}

/// Warns about a scalar that other Sigma tools, which read YAML 1.1, take for something else.
fn warn_of_older_yaml(context: Context<'_>, node: &Node) {
    let written = context.source.text.get(node.span.clone()).unwrap_or("").trim();
    let Some(other) = other_reading(written, &node.kind).filter(|_| !written.is_empty()) else {
        return;
    };
    let title =
        format!("`{written}` is {} here, and {other} to other Sigma tools", node.kind_name());
    let help = match (&node.kind, other) {
        (NodeKind::Str(_), "`true`" | "`false`") => format!("put it in quotes, or write {other}"),
        (NodeKind::Str(_), _) => "put it in quotes".to_owned(),
        _ => "write the number in decimal digits".to_owned(),
    };
    let place = context.place(&node.span);
    context.problems.push(Diagnostic::warning(code::OTHER_TOOLS, place, title).help(help));
}

fn apply(context: Context<'_>, key: &Key, item: &mut Item, name: &str, first: bool) -> Option<()> {
    let Some(found) = modifier::find(name) else {
        let title = format!("there is no modifier `{name}`");
        let mut diagnostic =
            Diagnostic::error(code::UNKNOWN_MODIFIER, modifier_place(context, key, name), title)
                .suggest(name, modifier::names());
        if name == "not" {
            diagnostic =
                diagnostic.help("`neq` negates a field, `not` in the condition a selection");
        }
        context.problems.push(diagnostic);
        return None;
    };
    let at = || modifier_place(context, key, name);
    let change: &dyn Fn(Operand) -> Result<Operand, Refusal> = match &found.effect {
        Effect::All => {
            item.all = true;
            return Some(());
        }
        Effect::Negate => {
            item.negated = true;
            return Some(());
        }
        Effect::Expand => &expand,
        Effect::Each(change) => &|value| change(value, first),
    };
    for (value, span) in &mut item.values {
        let number = matches!(value, Operand::Number(..) | Operand::Bool(_));
        match change(std::mem::replace(value, Operand::Null)) {
            Ok(changed) => *value = changed,
            Err(refusal) => {
                let mut diagnostic =
                    Diagnostic::error(refusal.code, context.place(span), refusal.title)
                        .related(at(), "because of this modifier");
                if !refusal.help.is_empty() {
                    diagnostic = diagnostic.help(refusal.help);
                }
                context.problems.push(diagnostic);
                return None;
            }
        }
        if number && matches!(value, Operand::Text { .. } | Operand::AnyOf(_)) {
            let title = format!("`{name}` wants text");
            context.problems.push(
                Diagnostic::warning(code::OTHER_TOOLS, context.place(span), title)
                    .label("other Sigma tools refuse this")
                    .related(at(), "because of this modifier")
                    .help("put the value in quotes"),
            );
        }
    }
    if matches!(found.effect, Effect::Expand)
        && !item.values.iter().any(|(value, _)| value.has_placeholders())
    {
        let place = item.values.first().map_or_else(at, |(_, span)| context.place(span));
        let title = "`expand` finds no placeholder in this value";
        context.problems.push(
            Diagnostic::error(code::NO_PLACEHOLDER, place, title)
                .related(at(), "because of this modifier")
                .help("write the name of a list as `%name%`; a literal `%` is `\\%`"),
        );
        return None;
    }
    Some(())
}

fn modifier_place(context: Context<'_>, key: &Key, name: &str) -> crate::engine::diagnostic::Place {
    let written = context.source.text.get(key.span.clone()).unwrap_or("");
    match written.find(&format!("|{name}")) {
        Some(at) => {
            let start = key.span.start + at + 1;
            context.place(&(start..start + name.len()))
        }
        None => context.place(&key.span),
    }
}
