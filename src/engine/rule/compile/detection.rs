//! Compiles one detection rule: condition, filters, times, what it captures, how it alerts.

use super::{
    alert::{alert_spec, check_labels, evidence_of, meta_of, slots, template_fields},
    clusters::Clusters,
    compiler::{Compiler, Wanted, shape},
    condition::steps_of,
    filter::CompiledFilter,
};
use crate::engine::{
    kubernetes::fields::CLUSTER,
    rule::{
        check::{fields::check_key_field, values::level_needed},
        plan::{
            build::all,
            expression::Expression,
            outline::Outline,
            rule::{DetectionRule, add_notes},
        },
        read::document::DetectionDocument,
    },
};

/// A detection rule, and what it was made of.
#[derive(Debug)]
pub(in crate::engine) struct CompiledDetection {
    /// To be evaluated.
    pub(in crate::engine) rule: DetectionRule,
    /// Its condition as it was written.
    pub(in crate::engine) outline: Outline,
    /// Its condition without filters and times.
    pub(in crate::engine) own: Expression,
    /// What it asks of the time of an event.
    pub(in crate::engine) times: Vec<Expression>,
}

/// Fields by which alerts of a plain detection rule are told apart, unless it says otherwise.
const DEFAULT_KEY: [&str; 4] = [CLUSTER, "actor.id", "objectRef.namespace", "objectRef.name"];

impl Compiler<'_> {
    pub(in crate::engine) fn detection(
        &mut self,
        index: usize,
        document: &DetectionDocument,
        filters: Vec<&CompiledFilter<'_>>,
        mut wanted: Wanted,
        alerts: bool,
    ) -> CompiledDetection {
        let header = &document.header;
        let has_state = header.extension.state.is_some();
        let name = self.names.of.get(index);
        let events = name.filter(|_| has_state).map(|name| name.of_part("events", "events"));
        let mut meta = meta_of(header, events.as_ref().or(name));
        let own = self.condition_of(&document.detection, &header.extension.same_element);
        let (mut parts, mut outlines) = (vec![own.expression.clone()], vec![own.outline]);
        add_notes(&mut meta.about.notes, &own.notes);
        for (filter, compiled) in filters {
            if let Some(own) = parts.first() {
                self.check_left(document, filter, own, &compiled.expression);
            }
            parts.push(compiled.expression.clone());
            outlines.push(compiled.outline.clone());
            add_notes(&mut meta.about.notes, &compiled.notes);
        }
        let mut more = Vec::new();
        // What is waited for ends a silence at any time; when silence counts is the kind's business.
        if header.extension.state.as_ref().is_none_or(|state| !state.has_calendar) {
            more = self.schedule_tests(&header.extension.schedules);
            let expires = header.extension.expires.iter();
            more.extend(expires.map(|(until, _)| Expression::Before(*until)));
        }
        outlines.extend(more.iter().cloned().map(Outline::Part));
        parts.extend(more.iter().cloned());
        if alerts && !has_state {
            let key = self.key_of(document);
            wanted.add(&key);
            let evidence = evidence_of(header);
            wanted.add(&evidence);
            wanted.add(template_fields(header, self.problems));
            let mut spec = alert_spec(header, &wanted.0, &evidence);
            spec.key = slots(&wanted.0, &key);
            spec.cluster = Clusters::of(header, &key, self.problems).slot(&wanted.0);
            check_labels(header, &key, &spec, self.problems);
            spec.resolve_after = self.resolve_after;
            meta.alert = Some(spec);
            meta.state_shape = shape("detection", &key, &[]);
        }
        wanted.add(header.extension.risk.iter().map(|(entity, _)| &entity.value));
        wanted.add([CLUSTER]);
        if let Some((level, _)) = level_needed(&document.detection) {
            meta.needs = meta.needs.max(level);
        }
        let capture = wanted.0.iter().map(|path| self.builder.field(path)).collect();
        let rule = DetectionRule {
            meta,
            expression: all(parts),
            steps: steps_of(&document.detection),
            capture,
            capture_names: wanted.0,
            record: header.extension.record.clone(),
        };
        let outline = Outline::all(outlines);
        CompiledDetection { rule, outline, own: own.expression, times: more }
    }

    /// The fields that identify an alert of a detection rule.
    fn key_of(&self, document: &DetectionDocument) -> Vec<String> {
        match &document.header.extension.group_by {
            Some(fields) => {
                for field in fields {
                    check_key_field(&field.value, &field.place, self.problems);
                }
                fields.iter().map(|field| field.value.clone()).collect()
            }
            None => DEFAULT_KEY.iter().map(|field| (*field).to_owned()).collect(),
        }
    }
}
