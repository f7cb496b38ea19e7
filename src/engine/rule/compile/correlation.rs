//! Compiles one correlation: inputs, slots of keys and fields, window, alert.

use super::{
    alert::{alert_spec, check_labels, meta_of, slot, slots},
    clusters::Clusters,
    compiler::{Compiler, shapes},
    graph::{Graph, correlation_evidence, field_for},
    made::Made,
    timed::TimedInputs,
};
use crate::engine::{
    diagnostic::{Diagnostic, Place},
    event::known_field,
    kind::{Frame, Kind, WindowShape},
    kubernetes::fields::{CLUSTER, FieldKind},
    rule::{
        check::{absent::check_presence, alert::check_alert_fields, fields::check_key_field},
        plan::rule::{CorrelationInput, CorrelationRule, Rule, add_notes},
        read::{
            correlation::CorrelationSyntax,
            document::{CorrelationDocument, RuleDocument},
        },
    },
    syntax::code,
};

/// Compiles a correlation whose inputs are compiled. `None` if an input is missing; that is reported.
pub(in crate::engine) fn compile_correlation(
    compiler: &Compiler<'_>,
    graph: &Graph,
    made: &Made,
    timed: &TimedInputs,
    index: usize,
    document: &CorrelationDocument,
) -> Option<CorrelationRule> {
    let rules = &made.rules;
    let (header, syntax) = (&document.header, &document.correlation);
    let documents = graph.inputs.get(&index)?;
    let mut meta = meta_of(header, compiler.names.of.get(index));
    let key_parts = syntax.group_by.len();
    let kind = compiler.resolve(&syntax.kind, &syntax.rules, key_parts, &mut meta, header);
    check_fields(compiler, document, documents);
    let capture_names = graph.wanted.get(&index)?.0.clone();
    let group_by: Vec<String> = syntax.group_by.iter().map(|name| name.value.clone()).collect();
    let mut clusters = Clusters::of(header, &group_by, compiler.problems);
    let mut inputs = Vec::new();
    for (reference, input) in syntax.rules.iter().zip(documents) {
        let input = (*input)?;
        let rule = *timed.get(&(index, input)).or_else(|| made.of_document.get(&input))?;
        let input_rule = rules.get(rule.index())?;
        if clusters == Clusters::Apart && !input_rule.is_of_one_cluster() {
            // What was found across clusters is of none of them.
            clusters = Clusters::Across;
        }
        let captured = input_rule.capture();
        let slot_of = |name: &str| slot(captured, field_for(compiler, syntax, input, name));
        inputs.push(CorrelationInput {
            rule,
            name: reference.value.clone(),
            key: syntax.group_by.iter().map(|name| slot_of(&name.value)).collect::<Option<_>>()?,
            cluster: slot_of(CLUSTER),
            fields: syntax
                .kind
                .fields
                .iter()
                .map(|name| slot_of(&name.value))
                .collect::<Option<_>>()?,
            capture: capture_names.iter().map(|name| slot_of(name)).collect(),
        });
    }
    if clusters != Clusters::Apart {
        for input in &mut inputs {
            input.cluster = None;
        }
    }
    check_keys(compiler, syntax, documents, &inputs, rules);
    let kind = kind?;
    let window = window_of(compiler, document, &*kind)?;
    let frame = Frame { timespan: syntax.timespan, window };
    if graph.alerts(index) {
        let evidence = correlation_evidence(compiler, document, documents);
        let mut spec = alert_spec(header, &capture_names, &evidence);
        spec.key = slots(&capture_names, &group_by);
        spec.cluster = clusters.slot(&capture_names);
        check_labels(header, &group_by, &spec, compiler.problems);
        spec.resolve_after = kind.fires_for(&frame).unwrap_or(compiler.resolve_after);
        meta.alert = Some(spec);
    }
    let input_metas =
        || inputs.iter().filter_map(|input| rules.get(input.rule.index()).map(Rule::meta));
    input_metas().for_each(|input| add_notes(&mut meta.about.notes, &input.about.notes));
    meta.needs = input_metas().map(|meta| meta.needs).fold(meta.needs, Ord::max);
    let ids: Vec<&str> = input_metas().map(|meta| meta.id.as_str()).collect();
    let words = [format!("{frame:?}"), kind.state_parameters(&frame)];
    let fields = syntax.kind.fields.iter().map(|field| field.value.as_str());
    let more: Vec<&str> = words.iter().map(String::as_str).chain(ids).chain(fields).collect();
    shapes(&mut meta, clusters, kind.entry().name, &group_by, &more);
    let is_of_one_cluster = clusters != Clusters::Across;
    let expires = header.extension.expires.as_ref().map(|(until, _)| *until);
    Some(CorrelationRule {
        meta,
        kind,
        inputs,
        group_by,
        is_of_one_cluster,
        frame,
        expires,
        capture_names,
    })
}

/// Warns about key parts and counted fields that the inputs' events do not have.
fn check_keys(
    compiler: &Compiler<'_>,
    syntax: &CorrelationSyntax,
    documents: &[Option<usize>],
    inputs: &[CorrelationInput],
    rules: &[Rule],
) {
    for (input, document) in inputs.iter().zip(documents.iter().flatten()) {
        let Some(Rule::Detection(rule)) = rules.get(input.rule.index()) else { continue };
        for name in syntax.group_by.iter().chain(&syntax.kind.fields) {
            let path = field_for(compiler, syntax, *document, &name.value);
            check_presence(rule, path, &name.place, &compiler.builder, compiler.problems);
        }
    }
    if syntax.kind.wants_number {
        check_numbers(compiler, syntax, documents);
    }
}

/// Warns about a field that is never a number where one is needed.
fn check_numbers(compiler: &Compiler<'_>, syntax: &CorrelationSyntax, documents: &[Option<usize>]) {
    let is_detection = |document: &&usize| {
        matches!(compiler.documents.get(**document), Some(RuleDocument::Detection(_)))
    };
    let detections = || documents.iter().flatten().filter(is_detection);
    for name in &syntax.kind.fields {
        let mut paths =
            detections().map(|document| field_for(compiler, syntax, *document, &name.value));
        let is_no_number = |path: &&str| {
            known_field(path).is_some_and(|field| {
                use FieldKind::{Address, Bool, Time, Words};
                matches!(field.kind, Words(_) | Bool | Time | Address)
            })
        };
        if let Some(path) = paths.find(is_no_number) {
            let title = format!("`{path}` is never a number");
            let diagnostic = Diagnostic::warning(code::CANNOT_MATCH, name.place.clone(), title)
                .label("events whose value is no number do not count")
                .help("to count different values use `type: value_count`");
            compiler.problems.push(diagnostic);
        }
    }
}

/// Aliases must fit their rules, and every field must exist.
fn check_fields(compiler: &Compiler<'_>, document: &CorrelationDocument, inputs: &[Option<usize>]) {
    let syntax = &document.correlation;
    let alias_names: Vec<&str> =
        syntax.aliases.iter().map(|alias| alias.name.value.as_str()).collect();
    let error = |place: &Place, title: String, help: &str| {
        let diagnostic = Diagnostic::error(code::BAD_ALIAS, place.clone(), title).help(help);
        compiler.problems.push(diagnostic);
    };
    for alias in &syntax.aliases {
        for (rule, field) in &alias.fields {
            let Some(target) = compiler.names.find(rule, compiler.problems) else { continue };
            if !inputs.contains(&Some(target)) {
                let title = format!("`{}` is not among the correlation's rules", rule.value);
                error(&rule.place, title, "add it to `rules`, or remove it here");
            }
            if matches!(compiler.documents.get(target), Some(RuleDocument::Detection(_))) {
                check_key_field(&field.value, &field.place, compiler.problems);
            }
        }
        for (reference, input) in syntax.rules.iter().zip(inputs) {
            let said = |input| {
                alias.fields.iter().any(|(rule, _)| compiler.names.get(&rule.value) == Some(input))
            };
            if let Some(input) = input
                && !said(*input)
                && matches!(compiler.documents.get(*input), Some(RuleDocument::Detection(_)))
            {
                let alias_name = &alias.name.value;
                let title = format!(
                    "the alias `{alias_name}` does not say what `{}` calls it",
                    reference.value
                );
                error(&alias.name.place, title, "name the field of each rule");
            }
        }
        let used = syntax.group_by.iter().chain(&syntax.kind.fields);
        if used.clone().all(|name| name.value != alias.name.value) {
            let title = format!("the alias `{}` is not used", alias.name.value);
            let place = alias.name.place.clone();
            let diagnostic = Diagnostic::warning(code::BAD_ALIAS, place, title);
            compiler.problems.push(diagnostic.help("name it in `group-by`, or remove it"));
        }
    }
    // Names that come from inner correlations are known to them.
    let inner: Vec<&str> = inputs
        .iter()
        .flatten()
        .filter_map(|input| match compiler.documents.get(*input) {
            Some(RuleDocument::Correlation(inner)) => Some(&inner.correlation.aliases),
            _ => None,
        })
        .flatten()
        .map(|alias| alias.name.value.as_str())
        .collect();
    let known: Vec<&str> = alias_names.iter().copied().chain(inner).collect();
    for field in syntax.group_by.iter().chain(&syntax.kind.fields) {
        if !known.contains(&field.value.as_str()) {
            check_key_field(&field.value, &field.place, compiler.problems);
        }
    }
    check_alert_fields(&document.header, &known, compiler.problems);
}

/// The window: what the document says, else sliding, or tumbling for conditions that need an end.
fn window_of(
    compiler: &Compiler<'_>,
    document: &CorrelationDocument,
    kind: &dyn Kind,
) -> Option<WindowShape> {
    match (&document.header.extension.window, kind.needs_end()) {
        (None, true) => Some(WindowShape::Tumbling),
        (None, false) => Some(WindowShape::Sliding),
        (Some((WindowShape::Sliding, place)), true) => {
            let title = "a sliding window has no end at which this condition could be decided";
            let diagnostic = Diagnostic::error(code::SHAPE_MISMATCH, place.clone(), title)
                .help("use `gt` or `gte`, or `window: tumbling`");
            compiler.problems.push(diagnostic);
            None
        }
        (Some((window, _)), _) => Some(*window),
    }
}
