//! Everything that a rule directory holds, as text.

use std::sync::Arc;

use crate::engine::{
    diagnostic::SourceText,
    digest::{Digest, hex},
    words::words,
};

/// Everything that a rule directory holds, as text.
#[derive(Clone, Debug, Default)]
pub struct RuleSources {
    /// Rule files, sorted by name.
    pub rules: Vec<Arc<SourceText>>,
    /// Lists by name: `lists/<name>.yaml` or `lists/<name>.txt`.
    pub lists: Vec<(String, Arc<SourceText>)>,
    /// `schedules.yaml`, if there is one.
    pub schedules: Option<Arc<SourceText>>,
    /// `risk.yaml`, if there is one.
    pub risk: Option<Arc<SourceText>>,
    /// `identities.yaml`, if there is one.
    pub identities: Option<Arc<SourceText>>,
}

words! {
    /// What a file of a rule directory is for.
    pub enum SourcePart {
        /// Rules.
        Rules = "rules",
        /// A list.
        List = "list",
        /// Schedules.
        Schedules = "schedules",
        /// Risk.
        Risk = "risk",
        /// Who is who.
        Identities = "identities",
    }
}

/// One file of a rule directory.
#[derive(Clone, Copy, Debug)]
pub struct SourceFile<'a> {
    /// What it is for.
    pub part: SourcePart,
    /// Name of the list, if it is one.
    pub list: Option<&'a str>,
    /// The file.
    pub source: &'a Arc<SourceText>,
}

impl RuleSources {
    /// All files, in a fixed order.
    pub fn files(&self) -> impl Iterator<Item = SourceFile<'_>> {
        let rules = self.rules.iter().map(|source| (SourcePart::Rules, None, source));
        let lists =
            self.lists.iter().map(|(name, source)| (SourcePart::List, Some(name.as_str()), source));
        let singles = [
            (SourcePart::Schedules, &self.schedules),
            (SourcePart::Risk, &self.risk),
            (SourcePart::Identities, &self.identities),
        ];
        let singles = singles.into_iter();
        let singles = singles.filter_map(|(part, file)| Some((part, None, file.as_ref()?)));
        let all = rules.chain(lists).chain(singles);
        all.map(|(part, list, source)| SourceFile { part, list, source })
    }

    /// Puts rule files and lists into the order of their names, as a directory gives them.
    pub fn sort(&mut self) {
        self.rules.sort_by(|a, b| a.name.cmp(&b.name));
        self.lists.sort_by(|a, b| (&a.0, &a.1.name).cmp(&(&b.0, &b.1.name)));
    }

    /// Puts a file where it belongs, as [`RuleSources::files`] gave it.
    pub fn add(&mut self, part: SourcePart, list: Option<&str>, source: Arc<SourceText>) {
        match part {
            SourcePart::Rules => self.rules.push(source),
            SourcePart::List => self.lists.push((list.unwrap_or_default().to_owned(), source)),
            SourcePart::Schedules => self.schedules = Some(source),
            SourcePart::Risk => self.risk = Some(source),
            SourcePart::Identities => self.identities = Some(source),
        }
    }

    /// Adds a file that was kept: what it is for as a word, and its text.
    ///
    /// # Errors
    /// Nobody knows what it is for.
    pub fn add_kept(
        &mut self,
        (part, list): (&str, Option<&str>),
        (name, text): (&str, &str),
    ) -> Result<(), String> {
        let part = SourcePart::parse(part)
            .ok_or_else(|| format!("{name}: nobody knows what `{part}` is"))?;
        self.add(part, list, SourceText::new(name.to_owned(), text));
        Ok(())
    }

    /// Hash of all names and texts, as 16 hexadecimal digits: equal exactly if nothing changed.
    pub fn version(&self) -> String {
        let parts = self.files().flat_map(|file| [&file.source.name, &file.source.text]);
        hex(&Digest::of(parts).first::<8>())
    }
}
