//! The rule set that was in force when something happened, as a package has it.

use std::sync::Arc;

use super::package::{Package, RuleFile, hash_of};
use crate::{
    archive::{FileThen, RulesThen},
    engine::{
        diagnostic::SourceText,
        rule::{RuleSources, SourcePart},
    },
};

/// Adds the texts of a rule set to a package. Returns the list of its files.
pub(super) fn add_to(package: &mut Package, then: RulesThen) -> Vec<RuleFile> {
    let numbered = (1..).zip(then.files);
    let add = |(number, file): (u32, FileThen)| {
        let name = file.text.map(|text| {
            let name = format!("rules/{number:04}.txt");
            package.add(&name, text);
            name
        });
        let (part, list, sha256) = (file.part, file.list, file.sha256);
        RuleFile { part, list, name: file.name, sha256, file: name }
    };
    numbered.map(add).collect()
}

/// The rule files of a package.
///
/// # Errors
/// A text that is not there, or is not what its hash says.
pub(super) fn sources(package: &Package, files: &[RuleFile]) -> Result<RuleSources, String> {
    let mut sources = RuleSources::default();
    for file in files {
        let text = file.file.as_deref().and_then(|name| package.text(name));
        let text = text.ok_or_else(|| format!("the text of {} is not in it", file.name))?;
        if hash_of(text.as_bytes()) != file.sha256 {
            return Err(format!("the text of {} is not what its hash says", file.name));
        }
        let part = SourcePart::parse(&file.part)
            .ok_or_else(|| format!("{}: nobody knows what `{}` is", file.name, file.part))?;
        let source: Arc<SourceText> = SourceText::new(file.name.clone(), text);
        sources.add(part, file.list.as_deref(), source);
    }
    sources.rules.sort_by(|a, b| a.name.cmp(&b.name));
    sources.lists.sort_by(|a, b| (&a.0, &a.1.name).cmp(&(&b.0, &b.1.name)));
    Ok(sources)
}
