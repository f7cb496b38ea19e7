//! Reads what a document says about itself: names, dates, level, and which logs it is for.
//!
//! Most of it decides nothing, but a file that other Sigma tools refuse, or a key that looks as if it
//! decided something, is worth a word.

use serde_json::{Value, json};

use super::{
    correlation::CORRELATION,
    extension::{Extension, Sort, extension_keys, extension_schema, read_extension},
    record::beside_record,
};
use crate::engine::{
    diagnostic::{Diagnostic, Place, nearest},
    limits::SHOWN_FIELDS_MAX,
    rule::plan::{alert::Severity, rule::About},
    syntax::{
        code,
        key::{Key, Shape, mapping, read_all, read_keys_of_sigma},
        read::{self, Text, parse_date, text, texts},
    },
    yaml::Section,
};

/// Characters of a title, as Sigma has it.
const TITLE_CHARS_MAX: usize = 256;
/// How a rule is related to another, as Sigma has it.
const RELATED_TYPES: [&str; 5] = ["derived", "obsolete", "merged", "renamed", "similar"];
/// Characters of a description, as Sigma has it.
const DESCRIPTION_CHARS_MAX: usize = 65_535;
/// The newest version of Sigma that is spoken here, without its minor number.
const SIGMA_VERSION_MAX: u32 = 2;

/// What a document says about itself.
#[derive(Debug)]
pub(in crate::engine) struct Header {
    /// What the document is.
    pub(in crate::engine) sort: Sort,
    /// Its `title` key, or where it begins.
    pub(in crate::engine) place: Place,
    /// Its number in the file, from 1.
    pub(in crate::engine) number: usize,
    /// `id`
    pub(in crate::engine) id: Option<Text>,
    /// `name`
    pub(in crate::engine) name: Option<Text>,
    /// `level`
    pub(in crate::engine) level: Option<Severity>,
    /// What people are told of it.
    pub(in crate::engine) about: About,
    /// `fields`
    pub(in crate::engine) fields: Vec<Text>,
    /// `generate` at the top level.
    pub(in crate::engine) generate: Option<bool>,
    /// `tripline`
    pub(in crate::engine) extension: Extension,
}

impl Header {
    /// Of a document that says nothing about itself.
    pub(in crate::engine) fn new(sort: Sort, place: Place, number: usize) -> Header {
        Header {
            sort,
            place,
            number,
            id: None,
            name: None,
            level: None,
            about: About::default(),
            fields: Vec::new(),
            generate: None,
            extension: Extension::default(),
        }
    }
}

/// Keys that a document may have at its top level, beside what it looks for.
pub(in crate::engine) const HEADER: &[Key<Header>] = &[
    Key::required(
        "title",
        Shape::Is(title_schema),
        "What the rule finds, in a few words.",
        "",
        read_title,
    ),
    Key::new("id", Shape::Is(some_schema), "A UUID that never changes.", |s, key, to| {
        to.id = read_id(s, key);
    }),
    Key::new(
        "name",
        Shape::Is(some_schema),
        "A short name, by which correlations refer to the rule.",
        |s, key, to| to.name = some_text(s, key),
    ),
    Key::new(
        "related",
        Shape::Is(|| json!({"type": "array", "items": mapping(RELATED)})),
        "Other rules: which of them this one is derived from, or takes the place of.",
        |s, key, _| read_related(s, key),
    ),
    Key::new("description", Shape::Text, "What it means when the rule fires.", |s, key, to| {
        to.about.description = s.string(key).unwrap_or_default();
        bounded(s, key, &to.about.description, DESCRIPTION_CHARS_MAX);
    }),
    Key::new("status", Shape::Is(|| json!({"enum": STATUSES})), "", |s, key, to| {
        to.about.status = read_status(s, key);
    }),
    Key::new("level", Shape::Severity, "", |s, key, to| to.level = s.one_of(key, &Severity::WORDS)),
    Key::new("author", Shape::Text, "Who wrote it.", |s, key, to| to.about.author = s.string(key)),
    Key::new("license", Shape::Text, "", |s, key, _| drop(s.string(key))),
    Key::new("date", Shape::Is(date_schema), "When it was written.", |s, key, _| {
        check_date(s, key);
    }),
    Key::new("modified", Shape::Is(date_schema), "When it was changed last.", |s, key, _| {
        check_date(s, key);
    }),
    Key::new("tags", Shape::Texts, "", |s, key, to| to.about.tags = read_tags(s, key)),
    Key::new("references", Shape::Texts, "Where to read more.", |s, key, to| {
        to.about.references = strings(s, key);
    }),
    Key::new("falsepositives", Shape::Texts, "What else it may be.", |s, key, to| {
        to.about.false_positives = strings(s, key);
    }),
    Key::new(
        "fields",
        Shape::Fields,
        "What is shown, if `evidence` is not given.",
        |s, key, to| {
            let shown = texts(s, key)
                .filter(|fields| read::bounded(s, key, fields.len(), SHOWN_FIELDS_MAX));
            to.fields = shown.unwrap_or_default();
            is_list(s, key);
        },
    ),
    Key::new(
        "generate",
        Shape::Bool,
        "Whether referenced rules alert themselves.",
        |s, key, to| to.generate = s.boolean(key),
    ),
    Key::new("taxonomy", Shape::Is(|| json!({"const": "sigma"})), "", |s, key, _| {
        check_taxonomy(s, key);
    }),
    Key::new(
        "sigma-version",
        Shape::Is(|| json!({"type": ["string", "number"]})),
        "",
        |s, key, _| {
            check_version(s, key);
        },
    ),
    Key::new("scope", Shape::Texts, "Limits nothing.", |s, key, _| check_scope(s, key)),
    Key::new("tripline", Shape::Is(extension_schema), "What Sigma cannot say.", |s, key, to| {
        to.extension = read_extension(s.section(key), to.sort);
    }),
];

const RELATED: &[Key<()>] = &[
    Key::required("id", Shape::Text, "", "", |s, key, ()| {
        if let Some(id) = s.required_string(key, "name the rule by its id")
            && !is_uuid(&id)
        {
            let title = format!("the id `{id}` is not a UUID");
            other_tools(s, s.place_of(key), title, "related rules are named by id");
        }
    }),
    Key::required("type", Shape::Is(|| json!({"enum": RELATED_TYPES})), "", "", |s, key, ()| {
        if s.node(key).is_none() {
            s.missing(key, format!("it is one of: {}", RELATED_TYPES.join(", ")));
        }
        s.one_of(key, &RELATED_TYPES.map(|word| (word, ())));
    }),
];

fn title_schema() -> Value {
    json!({"type": "string", "maxLength": TITLE_CHARS_MAX})
}

fn some_schema() -> Value {
    json!({"type": "string", "minLength": 1})
}

fn date_schema() -> Value {
    json!({"$ref": "#/$defs/date"})
}

/// Sigma allows any key at the top level, so these are suspicions only.
fn strange_keys(section: &Section<'_>, sort: Sort) {
    let known = || {
        let header = HEADER.iter().map(|key| key.name);
        header.chain(Sort::ALL.map(Sort::key)).chain(["logsource"])
    };
    for key in section.keys().filter(|key| known().all(|known| known != *key)) {
        let below = |mapping: &str| format!("put it under `{mapping}:`: `{mapping}: {{{key}: …}}`");
        let help = if sort == Sort::Correlation && CORRELATION.iter().any(|one| one.name == key) {
            below("correlation")
        } else if extension_keys().any(|name| name == key) {
            below("tripline")
        } else if let Some(near) = nearest(key, known()) {
            format!("did you mean `{near}`?")
        } else {
            continue;
        };
        not_looked_at(section, key, help);
    }
}

fn not_looked_at(section: &Section<'_>, key: &str, help: String) {
    let title = format!("`{key}` is not looked at here");
    let place = section.place_of_key(key);
    section.report(Diagnostic::warning(code::STRANGE_KEY, place, title).help(help));
}

/// Reads everything that detection rules, correlations and filters have in common.
pub(in crate::engine) fn read_header(section: &Section<'_>, number: usize, sort: Sort) -> Header {
    let place = section
        .keys()
        .find(|key| *key == "title")
        .or_else(|| section.keys().next())
        .map_or(section.place(), |key| section.place_of_key(key));
    let mut header = Header::new(sort, place, number);
    read_keys_of_sigma(HEADER, section, &mut header);
    strange_keys(section, sort);
    if header.extension.record.is_some() {
        for key in ["level", "fields", "generate"].into_iter().filter(|key| section.has(key)) {
            section.report(beside_record(section, key));
        }
    }
    header
}

fn read_title(section: &Section<'_>, key: &'static str, to: &mut Header) {
    let title = section.required_string(key, "say in a few words what the rule finds");
    to.about.title = title.unwrap_or_default();
    bounded(section, key, &to.about.title, TITLE_CHARS_MAX);
}

fn bounded(section: &Section<'_>, key: &str, text: &str, chars_max: usize) {
    let count = text.chars().count();
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

fn read_id(section: &Section<'_>, key: &str) -> Option<Text> {
    let id = some_text(section, key)?;
    if is_uuid(&id.value) {
        return Some(Text { value: id.value.to_ascii_lowercase(), place: id.place });
    }
    let title = format!("the id `{}` is not a UUID", id.value);
    other_tools(section, id.place.clone(), title, "a `name` may be any words; an id is a UUID");
    Some(id)
}

const STATUSES: [&str; 5] = ["stable", "test", "experimental", "deprecated", "unsupported"];

fn read_status(section: &Section<'_>, key: &str) -> Option<String> {
    let status = section.one_of(key, &STATUSES.map(|word| (word, word)))?;
    if matches!(status, "deprecated" | "unsupported") {
        let place = section.place_of(key);
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

fn read_tags(section: &Section<'_>, key: &str) -> Vec<String> {
    is_list(section, key);
    let tags = texts(section, key).unwrap_or_default();
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

fn read_related(section: &Section<'_>, key: &str) {
    for related in section.sections(key) {
        read_all(RELATED, related);
    }
}

fn check_taxonomy(section: &Section<'_>, key: &str) {
    let Some(taxonomy) = some_text(section, key) else { return };
    if taxonomy.value != "sigma" {
        let title = format!("the names are those of the taxonomy `{}`", taxonomy.value);
        section.report(
            Diagnostic::error(code::UNSUPPORTED, taxonomy.place, title)
                .help("write the fields as they are in audit events, and remove `taxonomy`"),
        );
    }
}

fn check_version(section: &Section<'_>, key: &str) {
    let Some(version) = text(section, key) else { return };
    let major = version.value.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major > SIGMA_VERSION_MAX) {
        let title = format!("the rule is written in Sigma {}", version.value);
        section.report(
            Diagnostic::error(code::UNSUPPORTED, version.place, title)
                .help(format!(
                    "Sigma up to {SIGMA_VERSION_MAX}.x is understood here: leave `sigma-version` out"
                ))
                .help(
                    "for `containers[any].image` write `containers.image`; several fields of one \
                     element are joined by `tripline: {same_element: …}`",
                ),
        );
    }
}

/// `scope` would limit a rule to some machines; nobody has defined its words.
fn check_scope(section: &Section<'_>, key: &str) {
    let scopes = strings(section, key);
    if scopes.is_empty() {
        return;
    }
    let title = "`scope` limits nothing here: the rule sees all events";
    section.report(
        Diagnostic::warning(code::STRANGE_KEY, section.place_of_key(key), title)
            .help("name clusters or namespaces in a selection"),
    );
}

/// Keys of `logsource:`.
pub(in crate::engine) const LOGSOURCE: &[Key<Logs>] = &[
    Key::new("product", Shape::Is(|| json!({"const": "kubernetes"})), "", |s, key, to| {
        to.read(s, key, "kubernetes");
    }),
    Key::new("service", Shape::Is(|| json!({"const": "audit"})), "", |s, key, to| {
        to.read(s, key, "audit");
    }),
    Key::new("category", Shape::Is(|| json!({"const": "application"})), "", |s, key, to| {
        // It alone does not say that the logs are those of Kubernetes.
        let right = to.right;
        to.read(s, key, "application");
        to.right = right;
    }),
    Key::new("definition", Shape::Text, "What is to be logged.", |s, key, _| drop(s.string(key))),
];

/// Which logs a rule is for.
#[derive(Debug, Default)]
pub(in crate::engine) struct Logs {
    right: bool,
    /// What it says of them: key and value.
    said: Vec<(&'static str, String)>,
    /// What it says of other logs.
    wrong: Option<(&'static str, Text)>,
}

impl Logs {
    fn read(&mut self, section: &Section<'_>, key: &'static str, accepted: &str) {
        let Some(value) = text(section, key) else { return };
        self.said.push((key, value.value.to_ascii_lowercase()));
        if value.value.eq_ignore_ascii_case(accepted) {
            self.right = true;
        } else if self.wrong.is_none() {
            self.wrong = Some((key, value));
        }
    }
}

impl Logs {
    /// Whether others are among them: those say all that these say.
    pub(in crate::engine) fn contain(&self, others: &Logs) -> bool {
        self.said.iter().all(|said| others.said.contains(said))
    }
}

/// Rules must be for Kubernetes audit events: others could only match by mistake.
pub(in crate::engine) fn read_logsource(section: &Section<'_>) -> Logs {
    let Some(logsource) = section.section("logsource") else {
        section.missing("logsource", "write `logsource: {product: kubernetes, service: audit}`");
        return Logs::default();
    };
    let mut logs = Logs::default();
    read_keys_of_sigma(LOGSOURCE, &logsource, &mut logs);
    let known = || LOGSOURCE.iter().map(|key| key.name);
    for key in logsource.keys().filter(|key| known().all(|known| known != *key)) {
        if let Some(near) = nearest(key, known()) {
            not_looked_at(&logsource, key, format!("did you mean `{near}`?"));
        }
    }
    let report = |place: Place, title: String| {
        let diagnostic = Diagnostic::error(code::WRONG_LOGSOURCE, place, title);
        section.report(diagnostic.help("Tripline reads `product: kubernetes`, `service: audit`"));
    };
    if let Some((key, value)) = &logs.wrong {
        report(value.place.clone(), format!("the rule is for the {key} `{}`", value.value));
    } else if !logs.right {
        let title = "the rule does not say which logs it is for";
        report(section.place_of_key("logsource"), title.to_owned());
    }
    logs
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
