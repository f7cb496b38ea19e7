//! The rules of the simulated world, and what edits make of them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tripline::engine::{
    diagnostic::SourceText,
    rule::{LoadOptions, RuleSet, RuleSources, load},
    settings::EngineSettings,
};

/// Short spans, so that an hour is long.
pub(super) fn settings() -> EngineSettings {
    EngineSettings {
        grace: Duration::from_secs(30),
        idle_after: Duration::from_secs(20),
        skew_max: Duration::from_secs(300),
        resolve_after: Duration::from_secs(60),
    }
}

const RULES: &str = r"
title: Secret read
name: secret_read
logsource: {product: kubernetes, service: audit}
detection: {read: {objectRef.resource: secrets, verb: get}, condition: read}
level: low
generate: true
tripline: {group-by: [user.username]}
---
title: Command in a pod
name: exec
logsource: {product: kubernetes, service: audit}
detection: {run: {objectRef.subresource: exec}, condition: run}
level: high
generate: true
tripline: {group-by: [user.username, objectRef.namespace]}
---
title: Configuration read
name: config_read
logsource: {product: kubernetes, service: audit}
detection: {read: {objectRef.resource: configmaps}, condition: read}
level: medium
tripline: {group-by: [user.username], suppress: 10m}
---
title: Many secrets read
name: secret_burst
correlation:
  type: event_count
  rules: [secret_read]
  group-by: [user.username]
  timespan: 2m
  condition: {gte: 3}
level: medium
tripline: {levels: [{gte: 5, level: high}, {gte: 8, level: critical}]}
---
title: Different secrets read
name: secret_spread
correlation:
  type: value_count
  rules: [secret_read]
  group-by: [user.username]
  timespan: 90s
  condition: {gte: 3, field: objectRef.name}
level: high
---
title: Secrets and a command
name: secret_and_exec
correlation:
  type: temporal
  rules: [secret_read, exec]
  group-by: [user.username]
  timespan: 1m
level: critical
---
title: A command, then secrets
name: exec_then_secret
correlation:
  type: temporal_ordered
  rules: [exec, secret_read]
  group-by: [user.username]
  timespan: 1m
level: medium
---
title: A single secret
name: lone_secret
correlation:
  type: event_count
  rules: [secret_read]
  group-by: [user.username]
  timespan: 1m
  condition: {eq: 1}
level: low
tripline: {window: tumbling}
";

/// Whether a rule is decided by one event alone. The value of its alert counts the events of an
/// episode.
pub(super) fn is_plain(rule_id: &str) -> bool {
    matches!(rule_id, "secret_read" | "exec" | "config_read")
}

/// Rules that only count what is never early or late: what they find does not depend on the order in
/// which events arrive within grace.
pub(super) fn depends_on_order(rule_id: &str) -> bool {
    // A cool-down begins with an episode, and where one ends depends on what was known then.
    rule_id == "config_read"
}

/// The rule sets that a directory holds one after the other. The first one is the usual one.
pub(super) fn rule_sets() -> &'static [Arc<RuleSet>] {
    static SETS: OnceLock<Vec<Arc<RuleSet>>> = OnceLock::new();
    SETS.get_or_init(|| {
        let rules: Vec<&str> = RULES.split("---\n").collect();
        let reversed: Vec<&str> = rules.iter().rev().copied().collect();
        let fewer: Vec<&str> =
            rules.iter().filter(|rule| !rule.contains("secret_spread")).copied().collect();
        let texts = [
            RULES.to_owned(),
            // The same meaning in another order, with another text and another threshold.
            reversed
                .join("---\n")
                .replace("title: Secret read", "title: A secret was read")
                .replace("{gte: 8, level: critical}", "{gte: 7, level: critical}"),
            // A rule is gone.
            fewer.join("---\n"),
            // One means something else, and one carries other values.
            RULES.replace("timespan: 2m", "timespan: 3m").replace(
                "tripline: {window: tumbling}",
                "tripline: {window: tumbling, annotations: {agent: '{{ userAgent }}'}}",
            ),
        ];
        texts.iter().map(|text| compile(text)).collect()
    })
}

fn compile(text: &str) -> Arc<RuleSet> {
    let sources =
        RuleSources { rules: vec![SourceText::new("rules.yaml", text)], ..RuleSources::default() };
    let options = LoadOptions { resolve_after: settings().resolve_after, ..LoadOptions::default() };
    let loaded = load(&sources, &options);
    let words: String = loaded.diagnostics.iter().map(|problem| problem.render(false)).collect();
    Arc::new(loaded.rules.unwrap_or_else(|| panic!("{words}")))
}
