//! The rule set that was in force then, as a package has it.

use super::package::{Package, RuleFile, hash_of};
use crate::{archive::FileThen, engine::rule::RuleSources};

/// Adds the texts of files to a package. Returns the list of files.
pub(super) fn add_to(package: &mut Package, files: Vec<FileThen>) -> Vec<RuleFile> {
    let numbered = (1..).zip(files);
    let add = |(number, file): (u32, FileThen)| {
        let FileThen { part, list, name, sha256, text } = file;
        let file = text.map(|text| {
            let name = format!("rules/{number:04}.txt");
            package.add(&name, text);
            name
        });
        RuleFile { part, list, name, sha256, file }
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
        sources.add_kept((&file.part, file.list.as_deref()), (&file.name, text))?;
    }
    sources.sort();
    Ok(sources)
}
