//! `risk.yaml`: how much risk of an entity is too much, and what people are told then.
//!
//!
//! ```yaml
//! line: 100                     # from which sum on an entity has an alert
//! half_life: 24h                # how long it takes until half of a score is forgotten
//! level: high
//! levels: [{gte: 200, level: critical}]
//! suppress: 1h
//! across: clusters              # an entity is the same in all of them
//! annotations: {summary: "{{ actor.id }} has come to a risk of {{ value }}: {{ values | join(', ') }}"}
//! ```
//!
//! All of it may be left out, and so may the file.

use std::{sync::Arc, time::Duration};

use super::{
    extension::{ACROSS, OF_ALERTS, OWNER, STEPS, Sort},
    header::Header,
};
use crate::engine::{
    diagnostic::{Place, Problems, SourceText},
    rule::plan::alert::Severity,
    syntax::{
        code,
        key::{Key, Shape, read_keys},
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
    let place = Place { source: Arc::clone(source), span: 0..0 };
    let mut settings = RiskSettings {
        header: Header::new(Sort::Correlation, place, 1),
        line: LINE_DEFAULT,
        half_life: HALF_LIFE_DEFAULT,
    };
    let header = &mut settings.header;
    header.level = Some(Severity::High);
    header.about.title = String::from("Risk has added up");
    header.about.description = String::from(
        "Several findings about one entity, each perhaps harmless by itself, have added up. The \
         values name the rules and what each contributed.",
    );
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
        read_keys(RISK, &section, &mut settings);
        read_keys(&[ACROSS, OWNER, STEPS], &section, &mut settings.header.extension);
        read_keys(OF_ALERTS, &section, &mut settings.header.extension);
        section.finish();
    }
    settings
}

/// Keys of `risk.yaml`, beside those for alerts that rules have too.
const RISK: &[Key<RiskSettings>] = &[
    Key::new("line", Shape::Number, "From which sum on there is an alert.", |s, key, to| {
        to.line = number_within(s, key, 0.001..=1e9).unwrap_or(to.line);
    }),
    Key::new("half_life", Shape::Timespan, "How long a score takes to halve.", |s, key, to| {
        to.half_life = timespan(s, key).unwrap_or(to.half_life);
    }),
    Key::new("level", Shape::Severity, "", |s, key, to| {
        to.header.level = s.one_of(key, &Severity::WORDS).or(to.header.level);
    }),
];
