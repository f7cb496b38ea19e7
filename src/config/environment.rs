//! Which setting an environment variable means.
//!
//! `TRIPLINE_` and the path of the setting in capitals, every other character as `_`:
//! `TRIPLINE_HTTP_LISTEN` is `http.listen`, `TRIPLINE_SOURCES_0_KAFKA_BROKERS` is
//! `sources[0].kafka.brokers`. Since keys hold `_` too, the name is read against the settings that
//! exist: first the fixed ones ([`SETTINGS`]), then whatever the file holds; what is left after the
//! deepest mapping is one key. An empty variable counts as not set.

use std::collections::BTreeSet;

use super::{
    general::SETTINGS,
    overlay::{Step, parse_path},
};
use crate::engine::{
    diagnostic::nearest,
    yaml::{Node, NodeKind},
};

/// What all variables of ours begin with.
pub(super) const PREFIX: &str = "TRIPLINE_";

/// Sections whose keys belong to other modules, so that we cannot list them.
const OPEN_SECTIONS: [&str; 3] = ["sources", "receivers", "route"];

/// Variables with our prefix that are not settings.
const NOT_SETTINGS: [&str; 4] =
    ["TRIPLINE_CONFIG", "TRIPLINE_SERVER", "TRIPLINE_TOKEN", "TRIPLINE_URL"];

/// What a variable means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The setting at this path.
    Setting(Vec<Step>),
    /// Not ours, or not meant for us.
    Nothing,
    /// It has our prefix, but there is no such setting; perhaps this variable was meant.
    Unknown { meant: Option<String> },
}

/// The variables of this process. Those that are not UTF-8 are left out.
pub fn variables() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// What a variable means for this file. `referred` are the variables that the file itself names.
pub(super) fn meaning(name: &str, root: &Node, referred: &BTreeSet<String>) -> Meaning {
    let Some(rest) = name.strip_prefix(PREFIX) else { return Meaning::Nothing };
    if NOT_SETTINGS.contains(&name) || is_service_link(rest) || referred.contains(name) {
        return Meaning::Nothing;
    }
    let wanted = rest.to_ascii_lowercase();
    let fixed = SETTINGS.iter().find(|setting| plain(setting.path) == wanted);
    let path = fixed.and_then(|setting| parse_path(setting.path)).or_else(|| walk(root, &wanted));
    path.map_or_else(|| Meaning::Unknown { meant: meant(name) }, Meaning::Setting)
}

/// The variables that a file takes secrets from: `${NAME}`, and `…_env: NAME`. They may have our
/// prefix too, and are no settings then.
pub(super) fn referred(node: &Node, names: &mut BTreeSet<String>) {
    match &node.kind {
        NodeKind::Map(entries) => {
            for (key, value) in entries {
                if let (true, Some(name)) = (key.text.ends_with("_env"), value.as_str()) {
                    names.insert(name.to_owned());
                }
                referred(value, names);
            }
        }
        NodeKind::List(items) => items.iter().for_each(|item| referred(item, names)),
        NodeKind::Str(text) => {
            let name = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
            names.extend(name.map(str::to_owned));
        }
        _ => {}
    }
}

/// Kubernetes tells pods about a Service called `tripline` by variables of exactly our form
/// (`TRIPLINE_SERVICE_HOST`, `TRIPLINE_PORT_9464_TCP_ADDR`). They are none of our business.
fn is_service_link(rest: &str) -> bool {
    rest == "PORT" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_")
}

fn meant(name: &str) -> Option<String> {
    let known: Vec<String> = SETTINGS.iter().map(|setting| variable_of(setting.path)).collect();
    nearest(name, known.iter().map(String::as_str)).map(str::to_owned)
}

/// The variable of a setting.
pub(super) fn variable_of(path: &str) -> String {
    format!("{PREFIX}{}", plain(path).to_ascii_uppercase())
}

fn plain(path: &str) -> String {
    path.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
        .collect()
}

/// Reads `wanted` against the tree. Only open sections are looked into.
fn walk(root: &Node, wanted: &str) -> Option<Vec<Step>> {
    OPEN_SECTIONS.iter().find_map(|section| {
        let rest = wanted.strip_prefix(section)?;
        let rest = if rest.is_empty() { rest } else { rest.strip_prefix('_')? };
        let first = Step::Key((*section).to_owned());
        let below = match root.get(section) {
            Some(node) => descend(node, rest),
            None => Some(one_key(rest)),
        };
        below.map(|below| std::iter::once(first).chain(below).collect())
    })
}

/// What is left of a name, as one key; nothing if nothing is left.
fn one_key(rest: &str) -> Vec<Step> {
    if rest.is_empty() { Vec::new() } else { vec![Step::Key(rest.to_owned())] }
}

fn descend(node: &Node, rest: &str) -> Option<Vec<Step>> {
    if rest.is_empty() {
        return Some(Vec::new());
    }
    match &node.kind {
        NodeKind::List(items) => {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (index, tail) = rest.split_at_checked(digits)?;
            let index: usize = index.parse().ok()?;
            let tail = if tail.is_empty() { tail } else { tail.strip_prefix('_')? };
            let below = descend(items.get(index)?, tail)?;
            Some(std::iter::once(Step::Index(index)).chain(below).collect())
        }
        NodeKind::Map(entries) => {
            // The longest key first, so that `group_by` wins over `group`.
            let mut keys: Vec<_> = entries.iter().collect();
            keys.sort_by_key(|(key, _)| std::cmp::Reverse(key.text.len()));
            let deeper = keys.iter().find_map(|(key, value)| {
                let tail = rest.strip_prefix(&plain(&key.text))?;
                let tail = if tail.is_empty() { tail } else { tail.strip_prefix('_')? };
                let below = descend(value, tail)?;
                Some(std::iter::once(Step::Key(key.text.clone())).chain(below).collect())
            });
            deeper.or_else(|| Some(one_key(rest)))
        }
        NodeKind::Null => Some(one_key(rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::overlay::show_path,
        engine::{diagnostic::SourceText, yaml::parse},
    };

    const FILE: &str = "
sources:
  - kafka: {brokers: [a], topics: [audit], properties: {security.protocol: ssl}}
receivers:
  - name: hook
    webhook: {url: x, url_base: y, token: '${TRIPLINE_TOKEN}', password_env: TRIPLINE_PASS}
route: {receiver: hook, group_by: [x]}
http:
";

    fn path(name: &str) -> String {
        let root = parse(&SourceText::new("t.yaml", FILE)).unwrap().remove(0);
        let mut names = BTreeSet::new();
        referred(&root, &mut names);
        match meaning(name, &root, &names) {
            Meaning::Setting(steps) => show_path(&steps),
            Meaning::Nothing => "nothing".to_owned(),
            Meaning::Unknown { meant } => format!("unknown, meant {meant:?}"),
        }
    }

    #[test]
    fn names_are_read_against_what_exists() {
        for (name, expected) in [
            ("TRIPLINE_HTTP_LISTEN", "http.listen"),
            ("TRIPLINE_HTTP_EXTERNAL_URL", "http.external_url"),
            ("TRIPLINE_ENGINE_IDLE_AFTER", "engine.idle_after"),
            ("TRIPLINE_RULES", "rules"),
            ("TRIPLINE_SOURCES", "sources"),
            ("TRIPLINE_SOURCES_0_KAFKA_BROKERS", "sources[0].kafka.brokers"),
            ("TRIPLINE_SOURCES_0_KAFKA_GROUP", "sources[0].kafka.group"),
            (
                "TRIPLINE_SOURCES_0_KAFKA_PROPERTIES_SECURITY_PROTOCOL",
                "sources[0].kafka.properties.security.protocol",
            ),
            ("TRIPLINE_RECEIVERS_0_WEBHOOK_URL", "receivers[0].webhook.url"),
            ("TRIPLINE_RECEIVERS_0_WEBHOOK_URL_BASE", "receivers[0].webhook.url_base"),
            ("TRIPLINE_RECEIVERS_0_WEBHOOK_URL_FILE", "receivers[0].webhook.url_file"),
            ("TRIPLINE_ROUTE_GROUP_BY", "route.group_by"),
            ("TRIPLINE_ROUTE_GROUP_WAIT", "route.group_wait"),
        ] {
            assert_eq!(path(name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_setting_is_said_and_what_is_not_ours_is_not() {
        for name in [
            "PATH",
            "TRIPLINE_CONFIG",
            "TRIPLINE_PORT",
            "TRIPLINE_PORT_9464_TCP_ADDR",
            "TRIPLINE_SERVICE_PORT_HTTP",
            "TRIPLINE_TOKEN",
            "TRIPLINE_PASS",
        ] {
            assert_eq!(path(name), "nothing", "{name}");
        }
        assert_eq!(path("TRIPLINE_HTTP_LISTN"), "unknown, meant Some(\"TRIPLINE_HTTP_LISTEN\")");
        assert_eq!(path("TRIPLINE_SOURCES_7_KAFKA_GROUP"), "unknown, meant None");
        assert_eq!(path("TRIPLINE_X"), "unknown, meant None");
    }
}
