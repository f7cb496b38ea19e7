//! `risk.yaml`: how much risk of an entity is too much, and what people are told then.
//!
//!
//! ```yaml
//! line: 100                     # from which sum on an entity has an alert
//! half_life: 24h                # how long it takes until half of a score is forgotten
//! level: high
//! levels: [{gte: 200, level: critical}]
//! suppress: 1h
//! annotations: {summary: "{{ actor.id }} has come to a risk of {{ value }}: {{ values | join(', ') }}"}
//! ```
//!
//! All of it may be left out, and so may the file.

use std::{sync::Arc, time::Duration};

use super::{
    extension::{Extension, read_alert, read_levels, severities},
    header::Header,
};
use crate::engine::{
    diagnostic::{Place, Problems, SourceText},
    rule::plan::alert::Severity,
    syntax::{
        code,
        read::{Context, number_within, timespan},
    },
    yaml,
};

const LINE_DEFAULT: f64 = 100.0;

const HALF_LIFE_DEFAULT: Duration = Duration::from_secs(86_400);

/// What `risk.yaml` says.
#[derive(Debug)]
pub(in crate::engine) struct RiskSettings {
    /// What its alerts say.
    pub(in crate::engine) header: Header,
    /// From which sum on an entity has an alert.
    pub(in crate::engine) line: f64,
    /// How long it takes until half of a score is forgotten.
    pub(in crate::engine) half_life: Duration,
}

/// Reads `risk.yaml`; without it everything is as usual.
pub(in crate::engine) fn read_risk(
    source: Option<&Arc<SourceText>>,
    problems: &Problems,
) -> RiskSettings {
    let nothing = SourceText::new("risk.yaml", "");
    let source = source.unwrap_or(&nothing);
    let mut header = Header {
        place: Place { source: Arc::clone(source), span: 0..0 },
        number: 1,
        id: None,
        name: None,
        title: "Risk has added up".to_owned(),
        description:
            "Several findings about one entity, each perhaps harmless by itself, have added \
                      up. The values name the rules and what each contributed."
                .to_owned(),
        status: None,
        level: Some(Severity::High),
        author: None,
        tags: Vec::new(),
        references: Vec::new(),
        false_positives: Vec::new(),
        fields: Vec::new(),
        generate: None,
        extension: Extension::default(),
    };
    let (mut line, mut half_life) = (LINE_DEFAULT, HALF_LIFE_DEFAULT);
    let context = Context { source, problems };
    let nodes = yaml::parse(source).unwrap_or_else(|problem| {
        problems.push(*problem);
        Vec::new()
    });
    if let Some(second) = nodes.get(1) {
        context.error(code::INVALID_VALUE, &second.span, "risk.yaml has one document");
    }
    if let Some(node) = nodes.first() {
        let section = context.section(node, "");
        line = number_within(&section, "line", 0.001..=1e9).unwrap_or(line);
        half_life = timespan(&section, "half_life").unwrap_or(half_life);
        header.level = section.one_of("level", &severities()).or(header.level);
        header.extension.levels = read_levels(&section);
        header.extension.owner = section.string("owner");
        read_alert(&section, &mut header.extension);
        section.finish();
    }
    RiskSettings { header, line, half_life }
}
