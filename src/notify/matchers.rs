//! Matchers of labels, as routes and inhibitions write them.

use std::sync::Arc;

use crate::engine::{
    diagnostic::{Diagnostic, Place, code},
    dispatch::Matcher,
    yaml::Section,
};

/// Matchers below a key.
pub(super) fn matchers(section: &Section<'_>, key: &str) -> Vec<Matcher> {
    let Some(texts) = section.strings(key) else { return Vec::new() };
    let whole = section.place_of(key);
    let items = section.node(key).and_then(|node| node.as_list()).unwrap_or_default();
    let mut matchers = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match Matcher::parse(text) {
            Ok(matcher) => matchers.push(matcher),
            Err(error) => {
                let place = items.get(index).map_or_else(
                    || whole.clone(),
                    |item| Place { source: Arc::clone(&whole.source), span: item.span.clone() },
                );
                let help = "write `label=\"value\"`, or `!=`, `=~`, `!~` in place of `=`";
                section.report(
                    Diagnostic::error(code::INVALID_SETTING, place, error.to_string()).help(help),
                );
            }
        }
    }
    matchers
}
