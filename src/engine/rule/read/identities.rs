//! `identities.yaml`: who is who, for `actor.human` and `actor.team`.
//!
//! ```yaml
//! identities:                       # tried from top to bottom
//!   - users: ['*@example.com']      # Sigma strings: `*` and `?`, case makes no difference
//!     human: true
//!   - users: [jenkins, 'ci-*']
//!     human: false
//!     team: platform
//!   - groups: ['oidc:shop-*']       # any of the actor's groups
//!     team: shop
//!   - users: [anna@example.com]     # with groups too, both must fit
//!     groups: [contractors]
//!     team: partner
//!     owner: ops                    # for people: alerts of rules that ask for it show both
//!     reason: until the migration is done
//!     until: 2027-01-31             # counts up to and including this date (UTC), by the event's time
//! ```
//!
//! The first entry that fits and has `human` decides `actor.human`, the first that fits and has `team`
//! decides `actor.team`. With impersonation it is about the impersonated user.

use std::sync::Arc;

use serde_json::{Value, json};

use super::pattern::Pattern;
use crate::engine::{
    diagnostic::{Diagnostic, Problems, SourceText},
    event::{Identities, Identity, NamePattern},
    limits::{LIST_FILE_BYTES_MAX, LIST_VALUES_MAX},
    rule::plan::{build::Builder, rule::Note},
    syntax::{
        code,
        key::{Key, Shape, mapping, read_keys},
        read::{Context, end_of_date},
    },
    text::first_of,
    time::WallTime,
    value::fold_case,
    yaml::{self, Section},
};

/// What is said of entries, for rules that ask for what these decide.
#[derive(Debug, Default)]
pub(in crate::engine) struct IdentityNotes(Vec<(Note, Option<bool>, Option<String>)>);

impl IdentityNotes {
    /// Those of entries that decide a field.
    pub(in crate::engine) fn on<'n>(&'n self, field: &'n str) -> impl Iterator<Item = &'n Note> {
        let decides = move |(_, human, team): &&(Note, Option<bool>, Option<String>)| match field {
            "actor.human" => human.is_some(),
            "actor.team" => team.is_some(),
            _ => false,
        };
        self.0.iter().filter(decides).map(|(note, ..)| note)
    }
}

/// Reads the file; without it nothing is known of anybody.
pub(in crate::engine) fn read_identities(
    source: Option<&Arc<SourceText>>,
    now: Option<WallTime>,
    builder: &mut Builder,
    problems: &Problems,
) -> (Identities, IdentityNotes) {
    let nothing = || (Identities::default(), IdentityNotes::default());
    let Some(source) = source else { return nothing() };
    let context = Context { source, problems };
    let nodes = yaml::parse_bounded(source, LIST_FILE_BYTES_MAX).unwrap_or_else(|problem| {
        problems.push(*problem);
        Vec::new()
    });
    if let Some(second) = nodes.get(1) {
        context.error(code::BAD_IDENTITIES, &second.span, "identities.yaml has one document");
    }
    let Some(node) = nodes.first() else { return nothing() };
    let root = context.section(node, "");
    let mut file = File { now, entries: Vec::new() };
    read_keys(IDENTITIES, &root, &mut file);
    root.finish();
    let (entries, notes): (Vec<Identity>, Vec<Note>) = file.entries.into_iter().unzip();
    let said = entries.iter().zip(notes).filter(|(_, note)| note.is_said());
    let said = said.map(|(entry, note)| (note, entry.human, entry.team.clone())).collect();
    let whole = || context.place(&(0..0));
    let count: usize = entries.iter().map(|one| one.users.len() + one.groups.len()).sum();
    if count > LIST_VALUES_MAX {
        let title = format!("the file has {count} names; at most {LIST_VALUES_MAX} are read");
        problems.push(Diagnostic::error(code::TOO_MANY, whole(), title));
        return nothing();
    }
    let groups = if entries.iter().any(|entry| !entry.groups.is_empty()) {
        builder.field("impersonatedUser.groups")
    } else {
        crate::engine::event::well_known::GROUPS
    };
    let identities = Identities::new(entries, groups).unwrap_or_else(|_| {
        let title = "the file has too many names with wildcards";
        let diagnostic = Diagnostic::error(code::TOO_MANY, whole(), title)
            .help("names without wildcards cost next to nothing");
        problems.push(diagnostic);
        Identities::default()
    });
    (identities, IdentityNotes(said))
}

/// The file while it is being read.
pub(in crate::engine) struct File {
    now: Option<WallTime>,
    entries: Vec<(Identity, Note)>,
}

/// Keys of the file.
pub(in crate::engine) const IDENTITIES: &[Key<File>] = &[Key::required(
    "identities",
    Shape::Is(identities_schema),
    "",
    "write a list: `identities: [{users: ['ci-*'], human: false}]`",
    |s, key, to| {
        let entries = s.sections(key).into_iter();
        to.entries = entries.map(|entry| read_identity(entry, to.now)).collect();
    },
)];

fn identities_schema() -> Value {
    let mut entry = mapping(IDENTITY);
    if let Some(entry) = entry.as_object_mut() {
        entry
            .insert("anyOf".to_owned(), json!([{"required": ["users"]}, {"required": ["groups"]}]));
    }
    json!({"type": "array", "items": entry})
}

const IDENTITY: &[Key<(Identity, Note)>] = &[
    Key::new("users", Shape::Texts, "", |s, key, (to, _)| to.users = patterns(s, key)),
    Key::new("groups", Shape::Texts, "", |s, key, (to, _)| to.groups = patterns(s, key)),
    Key::new("human", Shape::Bool, "Whether they are people.", |s, key, (to, _)| {
        to.human = s.boolean(key);
    }),
    Key::new("team", Shape::Text, "", |s, key, (to, _)| to.team = s.string(key)),
    Key::new("owner", Shape::Text, "Who answers for the entry.", |s, key, (_, note)| {
        note.owner = s.string(key);
    }),
    Key::new("reason", Shape::Text, "Why it is there.", |s, key, (_, note)| {
        note.reason = s.string(key);
    }),
    Key::new("until", Shape::Day, "The last day (UTC) on which it counts.", |s, key, (to, _)| {
        to.until = end_of_date(s, key);
    }),
];

fn patterns(section: &Section<'_>, key: &str) -> Vec<NamePattern> {
    let names = section.strings(key).unwrap_or_default();
    names.iter().map(|name| pattern_of(name)).collect()
}

fn read_identity(section: Section<'_>, now: Option<WallTime>) -> (Identity, Note) {
    let mut read = (Identity::default(), Note::default());
    read_keys(IDENTITY, &section, &mut read);
    let (Identity { users, groups, human, team, until }, note) = &mut read;
    let names = ["users", "groups"].into_iter().filter_map(|key| section.strings(key));
    let names: Vec<String> = names.flatten().map(|name| format!("`{name}`")).collect();
    note.on = format!("{} in identities.yaml", first_of(&names, 3));
    let bad = |title: &str, help: &str| {
        let diagnostic = Diagnostic::error(code::BAD_IDENTITIES, section.place(), title);
        section.report(diagnostic.help(help));
    };
    if users.is_empty() && groups.is_empty() {
        bad("the entry is about nobody", "name `users`, `groups` or both");
    }
    if human.is_none() && team.is_none() {
        bad("the entry says nothing", "say `human: true`, `human: false` or `team: …`");
    }
    if let (Some(until), Some(now)) = (until, now)
        && *until <= now.as_event()
    {
        let title = "the entry has expired";
        let place = section.place_of("until");
        let diagnostic = Diagnostic::warning(code::EXPIRED, place, title);
        section.report(diagnostic.help("remove it, or give it a later date"));
    }
    section.finish();
    read
}

fn pattern_of(name: &str) -> NamePattern {
    let pattern = Pattern::parse(name);
    match pattern.plain() {
        Some(plain) => NamePattern::Exact(fold_case(plain)),
        None => NamePattern::Regex(pattern.regex(false)),
    }
}
