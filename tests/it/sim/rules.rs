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
        away_max: Duration::from_secs(120),
        ..EngineSettings::default()
    }
}

const RULES: &str = r"
title: Secret read
name: secret_read
logsource: {product: kubernetes, service: audit}
detection: {read: {objectRef.resource: secrets, verb: get}, condition: read}
level: low
generate: true
tripline: {group-by: [user.username], risk: {entity: user.username, score: 7}}
---
title: Command in a pod
name: exec
logsource: {product: kubernetes, service: audit}
detection: {run: {objectRef.subresource: exec}, condition: run}
level: high
generate: true
tripline:
  group-by: [user.username, objectRef.namespace]
  risk: {entity: user.username, score: 20}
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
---
title: A secret nobody read lately
name: first_secret
logsource: {product: kubernetes, service: audit}
detection: {read: {objectRef.resource: secrets}, condition: read}
level: low
tripline:
  first_seen: {of: [objectRef.name], group-by: [user.username], history: 10m, learn: 1m}
---
title: A secret that is rarely read
name: rare_secret
logsource: {product: kubernetes, service: audit}
detection: {read: {objectRef.resource: secrets}, condition: read}
level: medium
tripline: {rarity: {of: [objectRef.name], group-by: [user.username], history: 30m, max_share: 0.2}}
---
title: More commands than usual
name: exec_spike
logsource: {product: kubernetes, service: audit}
detection: {run: {objectRef.subresource: exec}, condition: run}
level: high
tripline:
  spike: {group-by: [user.username], timespan: 5m, baseline: {of: 2h}, factor: 2, min: 2}
---
title: Somebody is silent
name: silent_user
logsource: {product: kubernetes, service: audit}
detection: {any: {verb: '*'}, condition: any}
level: medium
tripline: {absence: {group-by: [user.username], timespan: 10m}}
---
title: Somebody who should be there is silent
name: silent_ann
logsource: {product: kubernetes, service: audit}
detection: {any: {verb: '*'}, condition: any}
level: high
tripline: {absence: {group-by: [user.username], timespan: 5m, expect: [ann]}}
---
title: Whoever asks for a secret is recorded
name: recorded_secrets
logsource: {product: kubernetes, service: audit}
detection: {read: {objectRef.resource: secrets}, condition: read}
tripline: {record: secret_read}
---
title: Configuration that is read is recorded together
name: recorded_configuration
logsource: {product: kubernetes, service: audit}
detection: {read: {objectRef.resource: configmaps}, condition: read}
tripline: {record: {class: read, every: 5m, key: [actor, verb]}}
";

const RISK: &str = "{line: 50, half_life: 5m, level: high, levels: [{gte: 100, level: critical}]}";

/// Whether a rule is decided by one event alone. The value of its alert counts the events of an
/// episode.
pub(super) fn is_plain(rule_id: &str) -> bool {
    matches!(rule_id, "secret_read" | "exec" | "config_read")
}

/// Whether a rule looks for silence: its alert ends when it is over, and only then.
pub(super) fn is_silence(rule_id: &str) -> bool {
    matches!(rule_id, "silent_user" | "silent_ann")
}

/// Rules that remember for longer than a world lasts.
pub(super) const LONG_MEMORIES: [&str; 4] =
    ["silent_user", "silent_ann", "exec_spike", "rare_secret"];

/// How much of a rule's alerts follows from the events alone, in whichever order they arrive within
/// grace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FromEvents {
    /// All of it.
    All,
    /// Whether there is one: a cool-down begins with an episode, and where one ends depends on what
    /// was known then; so does a sum that sinks, at its highest.
    Existence,
    /// Nothing: an event is judged by what was known when it came, or by silence.
    Nothing,
}

pub(super) fn from_events(rule_id: &str) -> FromEvents {
    match rule_id {
        "first_secret" | "rare_secret" | "silent_user" | "silent_ann" => FromEvents::Nothing,
        "config_read" | "exec_spike" => FromEvents::Existence,
        id if id.starts_with("risk") => FromEvents::Existence,
        _ => FromEvents::All,
    }
}

/// The rule sets that a directory holds one after the other. The first one is the usual one.
pub(super) fn rule_sets() -> &'static [Arc<RuleSet>] {
    static SETS: OnceLock<Vec<Arc<RuleSet>>> = OnceLock::new();
    SETS.get_or_init(|| {
        let rules: Vec<&str> = RULES.split("---\n").collect();
        let reversed: Vec<&str> = rules.iter().rev().copied().collect();
        let is_kept =
            |rule: &&&str| !["secret_spread", "silent_ann"].iter().any(|name| rule.contains(name));
        let fewer: Vec<&str> = rules.iter().filter(is_kept).copied().collect();
        let texts = [
            RULES.to_owned(),
            // The same meaning in another order, with another text and another threshold.
            reversed
                .join("---\n")
                .replace("title: Secret read", "title: A secret was read")
                .replace("{gte: 8, level: critical}", "{gte: 7, level: critical}"),
            // Two rules are gone.
            fewer.join("---\n"),
            // One means something else, one waits longer, and one carries other values.
            RULES
                .replace("timespan: 2m", "timespan: 3m")
                .replace("timespan: 10m", "timespan: 12m")
                .replace(
                    "tripline: {window: tumbling}",
                    "tripline: {window: tumbling, annotations: {agent: '{{ userAgent }}'}}",
                ),
        ];
        texts.iter().map(|text| compile(text)).collect()
    })
}

fn compile(text: &str) -> Arc<RuleSet> {
    let sources = RuleSources {
        rules: vec![SourceText::new("rules.yaml", text)],
        risk: Some(SourceText::new("risk.yaml", RISK)),
        ..RuleSources::default()
    };
    let options = LoadOptions { resolve_after: settings().resolve_after, ..LoadOptions::default() };
    let loaded = load(&sources, &options);
    let words: String = loaded.diagnostics.iter().map(|problem| problem.render(false)).collect();
    Arc::new(loaded.rules.unwrap_or_else(|| panic!("{words}")))
}
