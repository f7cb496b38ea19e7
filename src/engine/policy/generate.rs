//! The audit policy that some rules need.
//!
//! For every sort of request that a policy can tell apart, the most that any rule needs is found.
//! Then requests that need the same become one entry of the policy, the particular before the
//! general, since the first entry that fits decides.

use std::collections::{BTreeMap, BTreeSet};

use super::requests::{Below, Need, Requests, Subject, Target, Verb};
use crate::engine::{
    kubernetes::{resources::SECRET_BODIES, verbs::RESOURCE_VERBS},
    rule::RuleSet,
    text::printable,
    yaml::scalar,
};

/// Names of rules in a comment; further ones are counted.
const NAMES_SHOWN: usize = 8;

/// Characters of a line.
const WIDTH: usize = 100;

/// A policy that was made.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The file.
    pub yaml: String,
    /// What its reader should know, a sentence each.
    pub warnings: Vec<String>,
    /// Whether it records everything that the rules need.
    pub is_complete: bool,
}

/// What is needed of one sort of request with one verb, and for whom.
#[derive(Clone, Debug, Default)]
struct Cell<'r> {
    need: Need,
    /// The rules that need the most.
    names: Names<'r>,
}

/// The first of some names, and how many more there are.
#[derive(Clone, Debug, Default)]
struct Names<'r> {
    shown: Vec<&'r str>,
    more: BTreeSet<&'r str>,
}

impl<'r> Names<'r> {
    fn add(&mut self, name: &'r str) {
        if self.shown.contains(&name) {
            return;
        }
        if self.shown.len() < NAMES_SHOWN {
            self.shown.push(name);
        } else {
            self.more.insert(name);
        }
    }

    fn add_all(&mut self, names: &Names<'r>) {
        for name in names.shown.iter().chain(&names.more) {
            self.add(name);
        }
    }

    fn text(&self) -> String {
        let mut text = self.shown.join(", ");
        if !self.more.is_empty() {
            text.push_str(&format!(" and {} more", self.more.len()));
        }
        text
    }
}

impl<'r> Cell<'r> {
    fn add(&mut self, need: Need, name: &'r str) {
        if need.level > self.need.level {
            self.names = Names::default();
        }
        if need.level.is_some() && need.level >= self.need.level {
            self.names.add(name);
        }
        self.need = self.need.and(need);
    }
}

/// The needs of one target: by verb, in the order of [`Target::verbs`], any other verb last.
type Row<'r> = Vec<Cell<'r>>;

/// One entry of the policy. `verbs` is empty for all.
#[derive(Default)]
struct DraftRule<'r> {
    /// Resources by group; neither resources nor `urls` for everything.
    resources: BTreeMap<String, BTreeSet<String>>,
    urls: bool,
    names: Names<'r>,
}

/// Entries that no order among them matters to, but that those with verbs come first.
type Tier<'r> = BTreeMap<(Vec<&'static str>, Need), DraftRule<'r>>;

/// Makes the policy that records whatever could satisfy one of the rules, and no more than that.
pub fn generate(rules: &RuleSet) -> Policy {
    let requests = Requests::new(rules);
    let rows = rows(&requests, &Subject::all(rules));
    let mut maker = Maker { requests: &requests, rows: &rows, unplaced: BTreeMap::new() };
    let tiers = maker.tiers();
    let mut warnings: Vec<String> = maker
        .unplaced
        .iter()
        .map(|(name, rules)| {
            format!(
                "nobody says which API group `{name}` is in, so it is left out: say \
                 `objectRef.apiGroup` in {}",
                rules.text()
            )
        })
        .collect();
    let is_complete = warnings.is_empty();
    warnings.extend(secrets(&requests, &rows));
    let entries: Vec<((Vec<&str>, Need), DraftRule<'_>)> =
        tiers.into_iter().flat_map(ordered).collect();
    Policy { yaml: print(rules, &entries, &warnings), warnings, is_complete }
}

fn rows<'r>(requests: &Requests<'r>, subjects: &[Subject<'r>]) -> Vec<Row<'r>> {
    let row = |(index, target): (usize, &Target)| {
        let verbs = target.verbs();
        let mut row = vec![Cell::default(); verbs.len()];
        for subject in subjects {
            if requests.need(subject, index, None).level.is_none() {
                continue;
            }
            for (cell, verb) in row.iter_mut().zip(&verbs) {
                cell.add(requests.need(subject, index, Some(*verb)), subject.name);
            }
        }
        row
    };
    requests.targets.iter().enumerate().map(row).collect()
}

struct Maker<'m, 'r> {
    requests: &'m Requests<'r>,
    rows: &'m [Row<'r>],
    /// Resources without a group, and who needs them.
    unplaced: BTreeMap<String, Names<'r>>,
}

impl<'r> Maker<'_, 'r> {
    /// Entries, the particular before the general: resources and subresources, all else below a
    /// resource, all else in a group, paths, everything.
    fn tiers(&mut self) -> [Tier<'r>; 5] {
        let mut tiers: [Tier<'r>; 5] = Default::default();
        let [exact, below, groups, urls, rest] = &mut tiers;
        for (target, row) in self.requests.targets.iter().zip(self.rows) {
            match target {
                Target::Resource { group: None, name, below: Below::Itself } => {
                    self.unplaced(name, row);
                }
                Target::Resource { group: None, .. } => {}
                Target::Resource { group: Some(group), name, below: Below::Other } => {
                    let upper = self.row(&Target::Group(group.clone()));
                    let upper = upper.or_else(|| self.row(&Target::OtherResource));
                    let itself = Target::Resource {
                        group: Some(group.clone()),
                        name: name.clone(),
                        below: Below::Itself,
                    };
                    let same = self.row(&itself).is_some_and(|itself| needs(itself) == needs(row));
                    add(below, target, row, upper, &mut |entry| {
                        let names = entry.resources.entry(group.clone()).or_default();
                        names.insert(format!("{name}/*"));
                        if same {
                            // It is meant anyway, but not everybody knows.
                            names.insert(name.clone());
                        }
                    });
                }
                Target::Resource { group: Some(group), name, below: _ } => {
                    let upper = Target::Resource {
                        group: Some(group.clone()),
                        name: name.clone(),
                        below: Below::Other,
                    };
                    let pattern = match target.subresource() {
                        Some(subresource) => format!("{name}/{subresource}"),
                        None => name.clone(),
                    };
                    // What Kubernetes brings along has no other subresources.
                    let upper = self.row(&upper);
                    let upper = upper.or_else(|| self.row(&Target::Group(group.clone())));
                    let upper = upper.or_else(|| self.row(&Target::OtherResource));
                    add(exact, target, row, upper, &mut |entry| {
                        entry.resources.entry(group.clone()).or_default().insert(pattern.clone());
                    });
                }
                Target::Group(group) => {
                    add(groups, target, row, self.row(&Target::OtherResource), &mut |entry| {
                        entry.resources.entry(group.clone()).or_default();
                    });
                }
                Target::OtherResource => add(rest, target, row, None, &mut |_| ()),
                Target::Url => {
                    add(urls, target, row, self.row(&Target::OtherResource), &mut |entry| {
                        entry.urls = true;
                    });
                }
            }
        }
        tiers
    }

    fn row(&self, target: &Target) -> Option<&Row<'r>> {
        let index = self.requests.targets.binary_search(target).ok()?;
        self.rows.get(index)
    }

    /// A resource that no entry can name, unless what is said of all others suffices.
    fn unplaced(&mut self, name: &str, row: &Row<'r>) {
        let rest = self.row(&Target::OtherResource).map(needs).unwrap_or_default();
        let mut names = Names::default();
        for (cell, rest) in row.iter().zip(rest) {
            if cell.need.and(rest) != rest {
                names.add_all(&cell.names);
            }
        }
        if !names.shown.is_empty() {
            self.unplaced.entry(name.to_owned()).or_default().add_all(&names);
        }
    }
}

fn needs(row: &Row<'_>) -> Vec<Need> {
    row.iter().map(|cell| cell.need).collect()
}

/// Adds what a target needs to a tier, wherever the tier above, `upper`, says otherwise. Policies have
/// no word for "any other verb": it is said by an entry without verbs, behind those with verbs.
fn add<'r>(
    tier: &mut Tier<'r>,
    target: &Target,
    row: &Row<'r>,
    upper: Option<&Row<'r>>,
    fill: &mut dyn FnMut(&mut DraftRule<'r>),
) {
    let verbs = target.verbs();
    let upper_need = |verb: Verb| {
        let Some(upper) = upper else { return Need::default() };
        let named = RESOURCE_VERBS.iter().position(|known| Some(*known) == verb);
        let cell = named.and_then(|index| upper.get(index)).or(upper.last());
        cell.map_or(Need::default(), |cell| cell.need)
    };
    let Some(other) = row.last() else { return };
    let all_others = other.need != upper_need(None) || *target == Target::OtherResource;
    let mut entries: BTreeMap<Need, (Vec<&'static str>, Names<'r>)> = BTreeMap::new();
    for (cell, verb) in row.iter().zip(&verbs) {
        let Some(verb) = *verb else { continue };
        let default = if all_others { other.need } else { upper_need(Some(verb)) };
        if cell.need != default {
            let (verbs, names) = entries.entry(cell.need).or_default();
            verbs.push(verb);
            names.add_all(&cell.names);
        }
    }
    if all_others {
        let mut names = Names::default();
        for cell in row.iter().filter(|cell| cell.need == other.need) {
            names.add_all(&cell.names);
        }
        let entry = tier.entry((Vec::new(), other.need)).or_default();
        entry.names.add_all(&names);
        fill(entry);
    }
    for (need, (verbs, names)) in entries {
        let entry = tier.entry((verbs, need)).or_default();
        entry.names.add_all(&names);
        fill(entry);
    }
}

/// The entries of a tier: those with verbs first, and of these those that record most.
fn ordered(tier: Tier<'_>) -> Vec<((Vec<&'static str>, Need), DraftRule<'_>)> {
    let mut entries: Vec<_> = tier.into_iter().collect();
    entries.sort_by(|((left, left_need), _), ((right, right_need), _)| {
        let by_verbs = left.is_empty().cmp(&right.is_empty());
        by_verbs.then_with(|| right_need.cmp(left_need)).then_with(|| left.cmp(right))
    });
    entries
}

/// Warnings about secrets that the log will hold.
fn secrets(requests: &Requests<'_>, rows: &[Row<'_>]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (group, name, subresource, level) in SECRET_BODIES {
        let mut names = Names::default();
        for (target, row) in requests.targets.iter().zip(rows) {
            let is_it =
                target.known().is_some_and(|known| known.group == *group && known.name == *name)
                    && target.subresource() == *subresource
                    && !matches!(target, Target::Resource { below: Below::Other, .. });
            for cell in row.iter().filter(|cell| is_it && cell.need.level >= Some(*level)) {
                names.add_all(&cell.names);
            }
        }
        if !names.shown.is_empty() {
            let what = match subresource {
                Some(subresource) => format!("{name}/{subresource}"),
                None => (*name).to_owned(),
            };
            warnings.push(format!(
                "the bodies of {what} are recorded, with what is secret in them, for {}: name \
                 resources in the rule, or guard the log as you guard them",
                names.text()
            ));
        }
    }
    warnings
}

fn print(
    rules: &RuleSet,
    entries: &[((Vec<&str>, Need), DraftRule<'_>)],
    warnings: &[String],
) -> String {
    let mut text = String::new();
    let count = rules.written_count();
    let who = if count == 1 { "1 rule needs".to_owned() } else { format!("{count} rules need") };
    comment(&mut text, "", &format!("What {who}, made by `tripline policy`."));
    for warning in warnings {
        comment(&mut text, "", &format!("Mind: {warning}."));
    }
    text.push_str("apiVersion: audit.k8s.io/v1\nkind: Policy\n");
    let received = entries.iter().any(|((_, need), _)| need.received);
    if !received {
        text.push_str("omitStages: [RequestReceived]\n");
    }
    let managed = rules.fields.paths().iter().any(|path| path.contains("managedFields"));
    if !managed {
        text.push_str("omitManagedFields: true\n");
    }
    text.push_str("rules:\n");
    for ((verbs, need), entry) in entries {
        let what = match need.level {
            None => "Nothing needs these.".to_owned(),
            Some(_) => format!("For {}.", entry.names.text()),
        };
        comment(&mut text, "  ", &what);
        let level = need.level.map_or("None", super::AuditLevel::as_str);
        text.push_str(&format!("  - level: {level}\n"));
        if received && need.level.is_some() && !need.received {
            text.push_str("    omitStages: [RequestReceived]\n");
        }
        if !verbs.is_empty() {
            list(&mut text, "    ", "verbs", verbs.iter().copied());
        }
        if !entry.resources.is_empty() {
            text.push_str("    resources:\n");
        }
        for (group, names) in &entry.resources {
            text.push_str(&format!("      - group: {}\n", scalar(group)));
            if !names.is_empty() {
                list(&mut text, "        ", "resources", names.iter().map(String::as_str));
            }
        }
        if entry.urls {
            text.push_str("    nonResourceURLs: [\"*\"]\n");
        }
    }
    text
}

/// A comment, over several lines if it is long. Names of rules may have anything in them, line breaks too.
fn comment(text: &mut String, indent: &str, words: &str) {
    let mut line = format!("{indent}#");
    for word in printable(words).split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = format!("{indent}#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}

/// `key: [a, b]`, over several lines if it is long.
fn list<'t>(text: &mut String, indent: &str, key: &str, values: impl Iterator<Item = &'t str>) {
    let mut line = format!("{indent}{key}: [");
    let mut is_first = true;
    for value in values {
        let value = scalar(value);
        if !is_first {
            line.push(',');
            if line.len() + 2 + value.len() > WIDTH {
                text.push_str(&line);
                text.push('\n');
                line = format!("{indent} ");
            }
            line.push(' ');
        }
        is_first = false;
        line.push_str(&value);
    }
    text.push_str(&line);
    text.push_str("]\n");
}
