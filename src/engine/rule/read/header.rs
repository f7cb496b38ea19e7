//! Reads what a document says about itself: names, dates, level, and which logs it is for.
//!
//! Most of it decides nothing, but a file that other Sigma tools refuse, or a key that looks as if it
//! decided something, is worth a word.

use super::extension::{Extension, Sort, read_extension, severities};
use crate::engine::{
    diagnostic::{Diagnostic, Place, nearest},
    limits::SHOWN_FIELDS_MAX,
    rule::plan::alert::Severity,
    syntax::{
        code,
        read::{self, Text, parse_date, text, texts},
    },
    yaml::Section,
};

/// Characters of a title, as Sigma has it.
pub(in crate::engine) const TITLE_CHARS_MAX: usize = 256;
/// How a rule is related to another, as Sigma has it.
pub(in crate::engine) const RELATED_TYPES: [&str; 5] =
    ["derived", "obsolete", "merged", "renamed", "similar"];
/// Characters of a description, as Sigma has it.
const DESCRIPTION_CHARS_MAX: usize = 65_535;
/// The newest version of Sigma that is spoken here, without its minor number.
const SIGMA_VERSION_MAX: u32 = 2;

/// What a document says about itself.
#[derive(Debug)]
pub(in crate::engine) struct Header {
    /// Its `title` key, or where it begins.
    pub(in crate::engine) place: Place,
    /// Its number in the file, from 1.
    pub(in crate::engine) number: usize,
    /// `id`
    pub(in crate::engine) id: Option<Text>,
    /// `name`
    pub(in crate::engine) name: Option<Text>,
    /// `title`
    pub(in crate::engine) title: String,
    /// `description`
    pub(in crate::engine) description: String,
    /// `status`
    pub(in crate::engine) status: Option<String>,
    /// `level`
    pub(in crate::engine) level: Option<Severity>,
    /// `author`
    pub(in crate::engine) author: Option<String>,
    /// `tags`
    pub(in crate::engine) tags: Vec<String>,
    /// `references`
    pub(in crate::engine) references: Vec<String>,
    /// `falsepositives`
    pub(in crate::engine) false_positives: Vec<String>,
    /// `fields`
    pub(in crate::engine) fields: Vec<Text>,
    /// `generate` at the top level.
    pub(in crate::engine) generate: Option<bool>,
    /// `tripline`
    pub(in crate::engine) extension: Extension,
}

/// Keys that a document may have at its top level; the last belong under `tripline:`.
const TOP_LEVEL: &[&str] = &[
    "action",
    "author",
    "correlation",
    "date",
    "description",
    "detection",
    "falsepositives",
    "fields",
    "filter",
    "generate",
    "id",
    "level",
    "license",
    "logsource",
    "modified",
    "name",
    "references",
    "related",
    "scope",
    "sigma-version",
    "status",
    "tags",
    "taxonomy",
    "title",
    "tripline",
];
const BELOW_TRIPLINE: &[&str] = &[
    "absence",
    "annotations",
    "controls",
    "evidence",
    "expires",
    "first_seen",
    "gap",
    "group-by",
    "inside",
    "labels",
    "levels",
    "needs",
    "outside",
    "owner",
    "rarity",
    "risk",
    "runbook",
    "same_element",
    "spike",
    "suppress",
    "window",
];
const BELOW_CORRELATION: &[&str] =
    &["aliases", "condition", "group-by", "rules", "timespan", "type"];

/// Sigma allows any key at the top level, so these are suspicions only.
fn strange_keys(section: &Section<'_>, sort: Sort) {
    let warn = |key: &str, title: String, help: String| {
        let place = section.place_of_key(key);
        section.report(Diagnostic::warning(code::STRANGE_KEY, place, title).help(help));
    };
    for key in section.keys() {
        if TOP_LEVEL.contains(&key) {
            continue;
        }
        let title = format!("`{key}` is not looked at here");
        if sort == Sort::Correlation && BELOW_CORRELATION.contains(&key) {
            warn(key, title, format!("put it under `correlation:`: `correlation: {{{key}: …}}`"));
        } else if BELOW_TRIPLINE.contains(&key) {
            warn(key, title, format!("put it under `tripline:`: `tripline: {{{key}: …}}`"));
        } else if let Some(near) = nearest(key, TOP_LEVEL.iter().copied()) {
            warn(key, title, format!("did you mean `{near}`?"));
        }
    }
}

/// Reads everything that detection rules, correlations and filters have in common.
pub(in crate::engine) fn read_header(section: &Section<'_>, number: usize, sort: Sort) -> Header {
    let title = section.required_string("title", "say in a few words what the rule finds");
    let description = section.string("description");
    bounded(section, "title", title.as_deref(), TITLE_CHARS_MAX);
    bounded(section, "description", description.as_deref(), DESCRIPTION_CHARS_MAX);
    let header = Header {
        place: section
            .keys()
            .find(|key| *key == "title")
            .or_else(|| section.keys().next())
            .map_or(section.place(), |key| section.place_of_key(key)),
        number,
        id: read_id(section),
        name: some_text(section, "name"),
        title: title.unwrap_or_default(),
        description: description.unwrap_or_default(),
        status: read_status(section),
        level: section.one_of("level", &severities()),
        author: section.string("author"),
        tags: read_tags(section),
        references: strings(section, "references"),
        false_positives: strings(section, "falsepositives"),
        fields: texts(section, "fields")
            .filter(|fields| read::bounded(section, "fields", fields.len(), SHOWN_FIELDS_MAX))
            .unwrap_or_default(),
        generate: section.boolean("generate"),
        extension: read_extension(section.section("tripline"), sort),
    };
    section.string("license");
    is_list(section, "fields");
    for key in ["date", "modified"] {
        check_date(section, key);
    }
    check_related(section);
    check_taxonomy(section);
    check_version(section);
    check_scope(section);
    strange_keys(section, sort);
    header
}

fn bounded(section: &Section<'_>, key: &str, text: Option<&str>, chars_max: usize) {
    let count = text.map_or(0, |text| text.chars().count());
    if count > chars_max {
        let title = format!("{key} has {count} characters");
        section.invalid(key, title, format!("Sigma allows {chars_max}"));
    }
}

/// A text that is not empty if it is there.
fn some_text(section: &Section<'_>, key: &str) -> Option<Text> {
    let found = text(section, key)?;
    if found.value.trim().is_empty() {
        section.invalid(key, format!("{key} is empty"), "remove the key, or say something");
        return None;
    }
    Some(found)
}

/// Warns that this works here, and that other Sigma tools refuse the file.
fn other_tools(section: &Section<'_>, place: Place, title: String, help: &str) {
    let diagnostic = Diagnostic::warning(code::OTHER_TOOLS, place, title)
        .label("other Sigma tools refuse this")
        .help(help);
    section.report(diagnostic);
}

fn read_id(section: &Section<'_>) -> Option<Text> {
    let id = some_text(section, "id")?;
    if is_uuid(&id.value) {
        return Some(Text { value: id.value.to_ascii_lowercase(), place: id.place });
    }
    let title = format!("the id `{}` is not a UUID", id.value);
    other_tools(section, id.place.clone(), title, "a `name` may be any words; an id is a UUID");
    Some(id)
}

fn read_status(section: &Section<'_>) -> Option<String> {
    let words = ["stable", "test", "experimental", "deprecated", "unsupported"];
    let status = section.one_of("status", &words.map(|word| (word, word)))?;
    if matches!(status, "deprecated" | "unsupported") {
        let place = section.place_of("status");
        let title = format!("the rule says that it is {status}");
        section.report(
            Diagnostic::warning(code::OUT_OF_USE, place, title)
                .label("it is loaded all the same")
                .help("remove the file, or correct `status`"),
        );
    }
    Some(status.to_owned())
}

/// One text is a list of one here, but not for other tools.
fn is_list(section: &Section<'_>, key: &str) {
    if section.node(key).is_some_and(|node| node.scalar_text().is_some()) {
        let title = format!("{key} is one text, not a list");
        other_tools(section, section.place_of(key), title, "put it in brackets");
    }
}

fn strings(section: &Section<'_>, key: &str) -> Vec<String> {
    is_list(section, key);
    section.strings(key).unwrap_or_default()
}

fn read_tags(section: &Section<'_>) -> Vec<String> {
    is_list(section, "tags");
    let tags = texts(section, "tags").unwrap_or_default();
    for tag in &tags {
        let mut parts = tag.value.split('.');
        if parts.clone().count() < 2 || parts.any(str::is_empty) {
            let title = format!("the tag `{}` has no namespace", tag.value);
            other_tools(section, tag.place.clone(), title, "write it as in `attack.t1552`");
        }
    }
    tags.into_iter().map(|tag| tag.value).collect()
}

fn check_date(section: &Section<'_>, key: &str) {
    let Some(date) = section.string(key) else { return };
    // Rules from before Sigma 2 write slashes.
    if parse_date(&date.replace('/', "-")).is_none() {
        let title = format!("`{date}` is not a date");
        section.invalid(key, title, "write year, month and day: 2027-01-31");
    }
}

fn check_related(section: &Section<'_>) {
    for related in section.sections("related") {
        if let Some(id) = related.required_string("id", "name the rule by its id")
            && !is_uuid(&id)
        {
            let title = format!("the id `{id}` is not a UUID");
            other_tools(&related, related.place_of("id"), title, "related rules are named by id");
        }
        if related.node("type").is_none() {
            related.missing("type", format!("it is one of: {}", RELATED_TYPES.join(", ")));
        }
        related.one_of("type", &RELATED_TYPES.map(|word| (word, ())));
        related.finish();
    }
}

fn check_taxonomy(section: &Section<'_>) {
    let Some(taxonomy) = some_text(section, "taxonomy") else { return };
    if taxonomy.value != "sigma" {
        let title = format!("the names are those of the taxonomy `{}`", taxonomy.value);
        section.report(
            Diagnostic::error(code::UNSUPPORTED, taxonomy.place, title)
                .help("write the fields as they are in audit events, and remove `taxonomy`"),
        );
    }
}

fn check_version(section: &Section<'_>) {
    let Some(version) = text(section, "sigma-version") else { return };
    let major = version.value.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major > SIGMA_VERSION_MAX) {
        let title = format!("the rule is written in Sigma {}", version.value);
        section.report(
            Diagnostic::error(code::UNSUPPORTED, version.place, title)
                .help(format!("Sigma up to {SIGMA_VERSION_MAX}.x is understood here")),
        );
    }
}

/// `scope` would limit a rule to some machines; nobody has defined its words.
fn check_scope(section: &Section<'_>) {
    let scopes = strings(section, "scope");
    if scopes.is_empty() {
        return;
    }
    let title = "`scope` limits nothing here: the rule sees all events";
    section.report(
        Diagnostic::warning(code::STRANGE_KEY, section.place_of_key("scope"), title)
            .help("name clusters or namespaces in a selection"),
    );
}

/// Rules must be for Kubernetes audit events: others could only match by mistake.
pub(in crate::engine) fn check_logsource(section: &Section<'_>) {
    let Some(logsource) = section.section("logsource") else {
        section.missing("logsource", "write `logsource: {product: kubernetes, service: audit}`");
        return;
    };
    let mut wrong = None;
    let mut right = false;
    for (key, accepted) in
        [("product", "kubernetes"), ("service", "audit"), ("category", "application")]
    {
        let Some(value) = text(&logsource, key) else { continue };
        let fits = value.value.eq_ignore_ascii_case(accepted);
        right |= fits && key != "category";
        if !fits && wrong.is_none() {
            wrong = Some((key, value));
        }
    }
    let help = "Tripline reads `product: kubernetes`, `service: audit`";
    logsource.string("definition");
    let known = ["product", "service", "category", "definition"];
    for key in logsource.keys().filter(|key| !known.contains(key)) {
        if let Some(near) = nearest(key, known) {
            let title = format!("`{key}` is not looked at here");
            let place = logsource.place_of_key(key);
            section.report(
                Diagnostic::warning(code::STRANGE_KEY, place, title)
                    .help(format!("did you mean `{near}`?")),
            );
        }
    }
    if let Some((key, value)) = wrong {
        let title = format!("the rule is for the {key} `{}`", value.value);
        let diagnostic = Diagnostic::error(code::WRONG_LOGSOURCE, value.place, title);
        section.report(diagnostic.help(help));
    } else if !right {
        let title = "the rule does not say which logs it is for";
        let place = section.place_of_key("logsource");
        section.report(Diagnostic::error(code::WRONG_LOGSOURCE, place, title).help(help));
    }
}

/// Whether a text has the form of a UUID; case makes no difference.
pub(in crate::engine) fn is_uuid(text: &str) -> bool {
    let lengths = text
        .split('-')
        .map(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(part.len()));
    lengths.eq([8, 4, 4, 4, 12].map(Some))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_told_from_words() {
        assert!(is_uuid("929a690e-bef0-4204-a928-EF5E620D6FCC"));
        for text in ["", "929a690ebef04204a928ef5e620d6fcc", "g29a690e-bef0-4204-a928-ef5e620d6fcc"]
        {
            assert!(!is_uuid(text), "{text}");
        }
    }
}
