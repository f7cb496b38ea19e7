//! Identity of rules: ids, names, and who is meant by a reference.

use std::{cell::Cell, collections::BTreeMap};

use super::{
    document::RuleDocument,
    header::{Header, is_uuid},
};
use crate::engine::{
    diagnostic::{Diagnostic, Place, Problems},
    syntax::{code, read::Text},
};

/// What a document is called.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct RuleName {
    /// See [`crate::engine::rule::plan::set::RuleMeta::id`].
    pub(in crate::engine) id: String,
    /// See [`crate::engine::rule::plan::set::RuleMeta::name`].
    pub(in crate::engine) name: String,
}

impl RuleName {
    /// What a rule is called that is made for this one, by what it is of it.
    pub(in crate::engine) fn of_part(&self, id: &str, name: &str) -> RuleName {
        RuleName { id: format!("{}#{id}", self.id), name: format!("{}_{name}", self.name) }
    }
}

/// All documents by what they are called. Indexes are those of the list of documents.
#[derive(Debug, Default)]
pub(in crate::engine) struct Names {
    /// What each document is called.
    pub(in crate::engine) of: Vec<RuleName>,
    by_reference: BTreeMap<String, usize>,
    /// References that led to nothing.
    unknown_count: Cell<usize>,
}

/// References to nothing for which a near name is looked for.
const SUGGESTIONS_MAX: usize = 100;

impl Names {
    /// Names all documents and reports ids and names that are used twice.
    pub(in crate::engine) fn new(documents: &[RuleDocument], problems: &Problems) -> Names {
        let mut names = Names::default();
        let mut ids: BTreeMap<String, Place> = BTreeMap::new();
        let mut short: BTreeMap<String, Place> = BTreeMap::new();
        for (index, document) in documents.iter().enumerate() {
            let header = document.header();
            let name = name_of(header);
            let id_place = header.id.as_ref().map_or(&header.place, |id| &id.place);
            if let Some(first) = ids.insert(name.id.to_lowercase(), id_place.clone()) {
                let title = format!("the id `{}` is used twice", name.id);
                let diagnostic = Diagnostic::error(code::DUPLICATE_ID, id_place.clone(), title)
                    .related(first, "first here")
                    .help("give each rule an id of its own; case makes no difference");
                problems.push(diagnostic);
            }
            let is_filter = matches!(document, RuleDocument::Filter(_));
            let name_place = header.name.as_ref().map_or(&header.place, |name| &name.place);
            if !is_filter
                && let Some(first) = short.insert(name.name.to_lowercase(), name_place.clone())
            {
                let title = format!("the name `{}` is used twice", name.name);
                let diagnostic = Diagnostic::error(code::DUPLICATE_NAME, name_place.clone(), title)
                    .related(first, "first here")
                    .help("give each rule a `name` of its own; case makes no difference");
                problems.push(diagnostic);
            }
            if !is_filter {
                names.by_reference.entry(name.name.clone()).or_insert(index);
            }
            names.by_reference.entry(name.id.clone()).or_insert(index);
            names.of.push(name);
        }
        names
    }

    /// The document that a reference means; a reference to nothing is reported.
    pub(in crate::engine) fn find(&self, reference: &Text, problems: &Problems) -> Option<usize> {
        if let Some(index) = self.get(&reference.value) {
            return Some(index);
        }
        let title = format!("there is no rule `{}`", reference.value);
        let mut diagnostic = Diagnostic::error(code::UNKNOWN_RULE, reference.place.clone(), title);
        // Looking for the nearest of thousands of names takes a while.
        self.unknown_count.set(self.unknown_count.get() + 1);
        if self.unknown_count.get() <= SUGGESTIONS_MAX {
            let known = self.by_reference.keys().map(String::as_str);
            diagnostic = diagnostic.suggest(&reference.value, known);
        }
        problems.push(diagnostic.help("rules are referred to by `name` or `id`"));
        None
    }

    /// The document that a reference means, if any.
    pub(in crate::engine) fn get(&self, reference: &str) -> Option<usize> {
        if is_uuid(reference) {
            return self.by_reference.get(&reference.to_ascii_lowercase()).copied();
        }
        self.by_reference.get(reference).copied()
    }
}

fn name_of(header: &Header) -> RuleName {
    let name = match &header.name {
        Some(name) => name.value.clone(),
        None => slug(&header.about.title),
    };
    let id = header.id.as_ref().or(header.name.as_ref()).map_or_else(
        || format!("{}#{}", header.place.source.name, header.number),
        |text| text.value.clone(),
    );
    RuleName { id, name }
}

/// A title in snake_case.
fn slug(title: &str) -> String {
    let mut slug = String::new();
    for c in title.chars().flat_map(char::to_lowercase) {
        if c.is_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('_') {
            slug.push('_');
        }
    }
    slug.truncate(slug.trim_end_matches('_').len());
    slug
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_become_names() {
        assert_eq!(slug("Secrets Modified or Deleted!"), "secrets_modified_or_deleted");
        assert_eq!(slug(" RBAC — listing "), "rbac_listing");
    }
}
