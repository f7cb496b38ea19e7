//! Reads rule files: each document becomes a detection rule, a correlation or a filter.
//!
//! Nothing is resolved here; what one document alone can get wrong is reported here.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    correlation::{CorrelationSyntax, read_correlation},
    extension::Sort,
    header::{Header, Logs, read_header, read_logsource},
    selection::{Search, read_selection},
};
use crate::engine::{
    diagnostic::{Diagnostic, Problems, SourceText, nearest},
    limits::{CONDITION_BYTES_MAX, SELECTIONS_MAX},
    syntax::{
        code,
        condition::{self, Condition, parse_condition},
        read::{Context, Text, texts},
    },
    yaml::{self, Key, Node, NodeKind, Section},
};

/// A document of a rule file.
#[derive(Debug)]
pub(in crate::engine) enum RuleDocument {
    /// `detection:`
    Detection(DetectionDocument),
    /// `correlation:`
    Correlation(CorrelationDocument),
    /// `filter:`
    Filter(FilterDocument),
}

impl RuleDocument {
    /// What the document says about itself.
    pub(in crate::engine) const fn header(&self) -> &Header {
        match self {
            RuleDocument::Detection(document) => &document.header,
            RuleDocument::Correlation(document) => &document.header,
            RuleDocument::Filter(document) => &document.header,
        }
    }
}

/// A detection rule.
#[derive(Debug)]
pub(in crate::engine) struct DetectionDocument {
    /// What it says about itself.
    pub(in crate::engine) header: Header,
    /// Which logs it is for.
    pub(in crate::engine) logs: Logs,
    /// Its selections and condition.
    pub(in crate::engine) detection: DetectionSyntax,
}

/// A correlation.
#[derive(Debug)]
pub(in crate::engine) struct CorrelationDocument {
    /// What it says about itself.
    pub(in crate::engine) header: Header,
    /// What it looks for.
    pub(in crate::engine) correlation: CorrelationSyntax,
}

/// A filter.
#[derive(Debug)]
pub(in crate::engine) struct FilterDocument {
    /// What it says about itself.
    pub(in crate::engine) header: Header,
    /// Which logs it is for: rules for others are left alone.
    pub(in crate::engine) logs: Logs,
    /// The rules that it applies to; empty for any.
    pub(in crate::engine) rules: Vec<Text>,
    /// Its selections and condition.
    pub(in crate::engine) detection: DetectionSyntax,
}

/// Selections and a condition over them.
#[derive(Debug)]
pub(in crate::engine) struct DetectionSyntax {
    /// Selections by name; `None` for one that is unusable.
    pub(in crate::engine) selections: Vec<(Key, Option<Search>)>,
    /// Conditions, any of which must hold, with their texts; none if they are unusable, which was reported.
    pub(in crate::engine) conditions: Vec<(Condition, Text)>,
    /// The file.
    pub(in crate::engine) source: Arc<SourceText>,
}

/// Reads all documents of a file.
pub(in crate::engine) fn read_documents(
    source: &Arc<SourceText>,
    problems: &Problems,
) -> Vec<RuleDocument> {
    let context = Context { source, problems };
    yaml::parse_all(source, problems)
        .iter()
        .enumerate()
        .filter_map(|(index, node)| read_document(context, index + 1, node))
        .collect()
}

fn read_document(context: Context<'_>, number: usize, node: &Node) -> Option<RuleDocument> {
    let section = context.section(node, "");
    node.as_map()?;
    if section.has("action") {
        let place = section.place_of_key("action");
        let title = "`action` was removed from Sigma";
        let help = "write the whole rule in each document";
        section.report(Diagnostic::error(code::UNSUPPORTED, place, title).help(help));
        return None;
    }
    let sorts: Vec<Sort> = Sort::ALL.into_iter().filter(|sort| section.has(sort.key())).collect();
    let sort = match sorts.as_slice() {
        [sort] => *sort,
        [] => {
            not_a_rule(&section, "the document is neither a rule nor a correlation nor a filter");
            return None;
        }
        [first, second, ..] => {
            let (first, second) = (first.key(), second.key());
            let title = format!("a document has `{first}` or `{second}`, not both");
            not_a_rule(&section, &title);
            return None;
        }
    };
    let key = sort.key();
    let header = read_header(&section, number, sort);
    let document = match sort {
        Sort::Detection => {
            let logs = read_logsource(&section);
            let detection = read_detection(context, &section, key);
            RuleDocument::Detection(DetectionDocument { header, logs, detection: detection? })
        }
        Sort::Correlation => {
            let correlation = read_correlation(section.section(key)?);
            RuleDocument::Correlation(CorrelationDocument { header, correlation: correlation? })
        }
        Sort::Filter => {
            let logs = read_logsource(&section);
            let rules = read_filter_rules(&section.section(key)?);
            let detection = read_detection(context, &section, key);
            let (rules, detection) = (rules?, detection?);
            RuleDocument::Filter(FilterDocument { header, logs, rules, detection })
        }
    };
    Some(document)
}

fn not_a_rule(section: &Section<'_>, title: &str) {
    let place = section.keys().next().map_or(section.place(), |key| section.place_of_key(key));
    let mut diagnostic = Diagnostic::error(code::NOT_A_RULE, place, title)
        .help("write one of `detection:`, `correlation:` and `filter:`");
    for key in section.keys() {
        if let Some(near) = nearest(key, Sort::ALL.map(Sort::key))
            && near != key
        {
            diagnostic = diagnostic.help(format!("did you mean `{near}` by `{key}`?"));
        }
    }
    section.report(diagnostic);
}

fn read_filter_rules(section: &Section<'_>) -> Option<Vec<Text>> {
    if section.node("rules").is_none() {
        section.missing("rules", "name the rules that the filter is for, or write `any`");
        return None;
    }
    let mut rules = texts(section, "rules")?;
    if rules.len() == 1 && rules.first().is_some_and(|rule| rule.value.eq_ignore_ascii_case("any"))
    {
        rules.clear();
    } else if rules.is_empty() {
        section.invalid("rules", "the filter is for no rule", "name rules, or write `any`");
        return None;
    }
    Some(rules)
}

/// Reads selections and condition; `what` is `detection` or `filter`.
fn read_detection(
    context: Context<'_>,
    section: &Section<'_>,
    what: &'static str,
) -> Option<DetectionSyntax> {
    let Some(node) = section.node(what) else {
        let title = format!("the {what} is empty");
        let place = section.place_of_key(what);
        let diagnostic = Diagnostic::error(code::EMPTY_SELECTION, place, title);
        section
            .report(diagnostic.help("write its selections and its condition below it, indented"));
        return None;
    };
    let Some(entries) = node.as_map() else {
        context.wrong_type(what, "a mapping", node);
        return None;
    };
    let mut selections = Vec::new();
    let mut condition = None;
    for (key, value) in entries {
        match key.text.as_str() {
            "condition" => condition = Some((key, value)),
            "rules" if what == "filter" => {}
            "timeframe" => {
                let diagnostic = Diagnostic::error(
                    code::LEGACY_TIMEFRAME,
                    context.place(&key.span),
                    "`timeframe` was removed from Sigma",
                );
                context.problems.push(diagnostic.help(
                    "write a second document: `correlation: {type: event_count, rules: […], \
                     timespan: 5m, condition: {gte: 10}}`",
                ));
            }
            _ => selections.push((key.clone(), read_selection(context, key, value))),
        }
    }
    if selections.is_empty() {
        let title = format!("the {what} has no selection");
        let diagnostic = Diagnostic::error(code::EMPTY_SELECTION, context.place(&node.span), title);
        context.problems.push(diagnostic.help("write `selection:` with fields and values"));
        return None;
    }
    if selections.len() > SELECTIONS_MAX {
        let title = format!("the {what} has {} selections", selections.len());
        let diagnostic = Diagnostic::error(code::TOO_MANY, context.place(&node.span), title);
        context.problems.push(diagnostic.help(format!("at most {SELECTIONS_MAX} work")));
        return None;
    }
    let source = Arc::clone(context.source);
    let mut syntax = DetectionSyntax { selections, conditions: Vec::new(), source };
    let Some((key, value)) = condition else {
        let title = format!("{what}.condition is missing");
        let diagnostic = Diagnostic::error(code::MISSING_KEY, context.place(&node.span), title);
        let name = syntax.selections.first().map_or("selection", |(key, _)| key.text.as_str());
        let not = if what == "filter" { "not " } else { "" };
        context.problems.push(diagnostic.help(format!("write `condition: {not}{name}`")));
        return Some(syntax);
    };
    if what == "filter" && value.as_list().is_some() {
        let title = "a filter has one condition";
        let diagnostic = Diagnostic::warning(code::OTHER_TOOLS, context.place(&key.span), title)
            .label("other Sigma tools refuse this")
            .help("join the conditions by `or`");
        context.problems.push(diagnostic);
    }
    if let Some(conditions) = read_conditions(context, key, value) {
        syntax.conditions = conditions;
        if !check_names(context, &syntax, key) {
            syntax.conditions.clear();
        }
    }
    Some(syntax)
}

/// One condition, or a list of them.
fn read_conditions(context: Context<'_>, key: &Key, node: &Node) -> Option<Vec<(Condition, Text)>> {
    let items = match &node.kind {
        NodeKind::List(items) if !items.is_empty() => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    if items.len() > SELECTIONS_MAX {
        let title = format!("there are {} conditions; at most {SELECTIONS_MAX} work", items.len());
        context.error(code::TOO_MANY, &key.span, title);
        return None;
    }
    let mut conditions = Vec::with_capacity(items.len());
    let mut usable = true;
    for item in items {
        let Some(value) = item.scalar_text() else {
            if item.kind == NodeKind::Null {
                context.error(code::CONDITION_SYNTAX, &key.span, "the condition is empty");
            } else {
                context.wrong_type("the condition", "text or a list of texts", item);
            }
            usable = false;
            continue;
        };
        if value.len() > CONDITION_BYTES_MAX {
            let title = format!("the condition has {} bytes", value.len());
            let help =
                format!("at most {CONDITION_BYTES_MAX} are read; join selections into lists");
            let place = context.place(&item.span);
            context.problems.push(Diagnostic::error(code::TOO_MANY, place, title).help(help));
            usable = false;
            continue;
        }
        let text = Text { value, place: context.place(&item.span) };
        match parse_condition(context.problems, &text, true) {
            Some(condition) => conditions.push((condition, text)),
            None => usable = false,
        }
    }
    usable.then_some(conditions)
}

/// Every name in the conditions must be a selection, and every selection should be used.
fn check_names(context: Context<'_>, syntax: &DetectionSyntax, condition_key: &Key) -> bool {
    let mut used = BTreeSet::new();
    let mut usable = true;
    for (condition, text) in &syntax.conditions {
        usable &= check_names_of(context, syntax, condition, text, &mut used);
    }
    let place = context.place(&condition_key.span);
    for (key, _) in &syntax.selections {
        if usable && !used.contains(key.text.as_str()) {
            let title = format!("the condition does not use `{}`", key.text);
            let diagnostic =
                Diagnostic::warning(code::UNUSED_SELECTION, context.place(&key.span), title)
                    .related(place.clone(), "this condition");
            context.problems.push(diagnostic);
        }
    }
    usable
}

/// Selections that an unknown name is compared with.
const NAMES_COMPARED_MAX: usize = 100;

fn check_names_of<'s>(
    context: Context<'_>,
    syntax: &'s DetectionSyntax,
    condition: &Condition,
    text: &Text,
    used: &mut BTreeSet<&'s str>,
) -> bool {
    let names = || syntax.selections.iter().map(|(key, _)| key.text.as_str());
    match condition {
        Condition::Name(name, at) => {
            if let Some(known) = names().find(|known| known == name) {
                used.insert(known);
                return true;
            }
            let title = format!("there is no selection `{name}`");
            let near = names().take(NAMES_COMPARED_MAX);
            let mut diagnostic =
                Diagnostic::error(code::UNKNOWN_SELECTION, text.place_of(at.clone()), title)
                    .suggest(name, near);
            if diagnostic.help.is_empty() {
                let list: Vec<String> = names().map(|name| format!("`{name}`")).collect();
                diagnostic = diagnostic.help(format!("the selections are: {}", list.join(", ")));
            }
            context.problems.push(diagnostic);
            false
        }
        Condition::Of { pattern, at, .. } => {
            let fitting: Vec<&str> =
                names().filter(|name| condition::fits(pattern, name)).collect();
            if fitting.is_empty() {
                let title = format!("no selection fits `{pattern}`");
                let list: Vec<String> = names().map(|name| format!("`{name}`")).collect();
                let diagnostic =
                    Diagnostic::error(code::EMPTY_SELECTOR, text.place_of(at.clone()), title)
                        .help(format!("the selections are: {}", list.join(", ")));
                context.problems.push(diagnostic);
            }
            used.extend(fitting.iter().copied());
            !fitting.is_empty()
        }
        Condition::Not(inner) => check_names_of(context, syntax, inner, text, used),
        Condition::All(parts) | Condition::Any(parts) => {
            let checks: Vec<bool> = parts
                .iter()
                .map(|part| check_names_of(context, syntax, part, text, used))
                .collect();
            checks.into_iter().all(|usable| usable)
        }
    }
}
