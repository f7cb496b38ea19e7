//! `tripline schema`: JSON Schemas of the files that people write and of the alerts that programs read.

use std::{collections::BTreeMap, process::ExitCode};

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::{exit, output, rule_test};
use crate::{
    config::SETTINGS, engine::framework::framework_schema, engine::rule, notify::NOTIFIERS, server,
    source::SOURCES,
};

/// The schema of alerts, as it is shipped.
const ALERT: &str = include_str!("../../deploy/alert.schema.json");

/// Print a JSON Schema (draft 2020-12).
///
/// Editors complete and check files with it. What needs other files, such as the names of rules and
/// lists, only `tripline check` knows.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tripline schema rules > rules.schema.json
  tripline schema alert | jq .properties.key.description

For the YAML language server, the first line of a rule file is then:
  # yaml-language-server: $schema=rules.schema.json")]
pub(super) struct SchemaArgs {
    /// Of what.
    #[arg(value_enum, value_name = "WHAT")]
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// One document of a rule file: a rule, a correlation or a filter.
    Rules,
    /// A file of rule tests, `*.test.yaml`.
    Tests,
    /// `identities.yaml`, beside the rules: which users are people, and whose team they are in.
    Identities,
    /// A file of `frameworks/`: which controls want which evidence of the ledger.
    Framework,
    /// An alert as receivers get it: a record in Kafka, a line of standard output, an entry of `alerts`
    /// in a webhook's body (which is `#/$defs/notification`).
    Alert,
    /// The API, `/api/v1`: a document of OpenAPI 3.1.
    Api,
    /// The configuration, `tripline.yaml`: its sections and settings. What is below a source, a receiver
    /// or a route only `tripline check` knows.
    Config,
}

pub(super) fn execute(args: &SchemaArgs) -> anyhow::Result<ExitCode> {
    let text = match args.what {
        What::Rules => format!("{:#}\n", rule::json_schema()),
        What::Tests => format!("{:#}\n", rule_test::json_schema()),
        What::Identities => format!("{:#}\n", rule::identities_schema()),
        What::Framework => format!("{:#}\n", framework_schema()),
        What::Alert => ALERT.to_owned(),
        What::Api => format!("{:#}\n", server::api_document()),
        What::Config => format!("{:#}\n", config()),
    };
    output::print_all(&text)?;
    Ok(exit::OK)
}

/// Made from the tables of settings, sources and receivers.
fn config() -> Value {
    let kinds = |table: &[(&str, &str)]| {
        let mut properties = Map::new();
        properties.insert("name".to_owned(), json!({"type": "string"}));
        for (name, summary) in table {
            properties.insert((*name).to_owned(), json!({"description": summary}));
        }
        json!({"type": "array", "items": {"type": "object", "properties": properties}})
    };
    let sources: Vec<_> = SOURCES.iter().map(|kind| (kind.name(), kind.summary())).collect();
    let receivers: Vec<_> = NOTIFIERS.iter().map(|kind| (kind.name(), kind.summary())).collect();
    let (mut properties, mut sections) = (Map::new(), BTreeMap::<&str, Map<String, Value>>::new());
    for setting in SETTINGS {
        let description = match setting.default {
            // It may also be given by the environment.
            "required" | "none" => setting.summary.to_owned(),
            // In words: a default such as «one per core» is no value.
            default => format!("{} Default: {default}.", setting.summary),
        };
        let (into, key) = match setting.path.split_once('.') {
            None => (&mut properties, setting.path),
            Some((section, key)) => (sections.entry(section).or_default(), key),
        };
        // Of what is below a section, only `tripline check` knows all.
        match key.split_once('.') {
            Some((inner, _)) => drop(into.entry(inner).or_insert_with(|| json!({}))),
            None => drop(into.insert(key.to_owned(), json!({"description": description}))),
        }
    }
    for (name, keys) in sections {
        let section = json!({
            "type": ["object", "null"],
            "additionalProperties": false,
            "properties": keys,
        });
        properties.insert(name.to_owned(), section);
    }
    properties.insert("sources".to_owned(), kinds(&sources));
    properties.insert("receivers".to_owned(), kinds(&receivers));
    properties.insert("route".to_owned(), json!({"type": "object"}));
    for list in ["time_intervals", "inhibit_rules"] {
        properties.insert(list.to_owned(), json!({"type": "array", "items": {"type": "object"}}));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tripline configuration",
        "type": "object",
        "properties": properties,
    })
}
