//! Texts of alerts: templates that rule authors write, and a good sentence where they wrote none.
//!
//! Values are chosen by whoever is being watched, so they are data: a template never interprets them,
//! control characters are taken out, and both the work and the length of a text are bounded. A
//! template that fails never loses an alert: its text is then the default one.

use std::{collections::BTreeMap, sync::Arc};

use minijinja::{Environment, Value};

use crate::engine::{
    limits::ANNOTATION_BYTES_MAX,
    rule::{RuleSet, render_template, template_environment},
    text::bounded_lines,
};

/// Templates of one rule set.
pub(crate) struct Templates {
    environment: Environment<'static>,
}

impl std::fmt::Debug for Templates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Templates")
    }
}

/// What a template can name.
pub(crate) struct Context<'a> {
    /// Captured fields by path.
    pub(crate) fields: Vec<(&'a str, String)>,
    /// Everything that is not a field: `count`, `threshold`, `title` …
    pub(crate) extra: Vec<(&'static str, Value)>,
}

impl Templates {
    /// For the annotations of a rule set, each of which is compiled when it is rendered for the first time: most
    /// rules never say anything. Those that do not parse were refused when the rules were loaded; rendering one
    /// fails.
    pub(crate) fn new(rules: &Arc<RuleSet>) -> Templates {
        let mut environment = template_environment();
        let rules = Arc::clone(rules);
        environment.set_loader(move |name| {
            let text = || {
                let (id, name) = name.split_once(NAME_BEGINS)?;
                rules.rule(rules.find(id)?).meta().alert.as_ref()?.annotations.get(name)
            };
            Ok(text().cloned())
        });
        Templates { environment }
    }

    /// Renders one annotation of a rule; `None` if it fails.
    pub(crate) fn render(
        &self,
        rule_id: &str,
        name: &str,
        context: &Context<'_>,
    ) -> Option<String> {
        let template = self.environment.get_template(&template_name(rule_id, name)).ok()?;
        let text = render_template(&template, context.value()).ok()?;
        Some(bounded_lines(&text, ANNOTATION_BYTES_MAX))
    }
}

/// Stands between the id of a rule and the name of one of its annotations. Ids have no such byte.
const NAME_BEGINS: char = '\0';

fn template_name(rule_id: &str, name: &str) -> String {
    format!("{rule_id}{NAME_BEGINS}{name}")
}

/// A tree of fields: `objectRef.name` is `{{ objectRef.name }}`.
#[derive(Default)]
struct Tree {
    text: Option<String>,
    children: BTreeMap<String, Tree>,
}

impl Tree {
    fn insert(&mut self, path: &str, text: &str) {
        let mut node = self;
        for part in path.split('.') {
            node = node.children.entry(part.to_owned()).or_default();
        }
        node.text = Some(text.to_owned());
    }

    fn value(self) -> Value {
        match self.text {
            Some(text) if self.children.is_empty() => Value::from(text),
            _ => Value::from_pairs(
                self.children.into_iter().map(|(name, child)| (name, child.value())),
            ),
        }
    }
}

impl Context<'_> {
    fn value(&self) -> Value {
        let mut tree = Tree::default();
        for (path, text) in &self.fields {
            tree.insert(path, text);
        }
        let mut root: BTreeMap<String, Value> =
            tree.children.into_iter().map(|(name, child)| (name, child.value())).collect();
        // Keys that are no names (`annotations` with slashes) can be had as `fields["…"]`.
        let pair = |(path, text): &(&str, String)| ((*path).to_owned(), Value::from(text.as_str()));
        root.insert("fields".to_owned(), Value::from_pairs(self.fields.iter().map(pair)));
        for (name, value) in &self.extra {
            root.insert((*name).to_owned(), value.clone());
        }
        Value::from_pairs(root)
    }
}
