//! The facts of one alert that may have to be notified, with their times, and what is due when. To be filled in by
//! people; it is not advice.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    head::{Attested, report},
    model::{Cell, Report, ReportKind, Section, Table},
    part::{
        ROWS_MAX,
        alerts::{Alerts, Life},
        coverage::Seen,
        people::People,
        requests::Requests,
    },
    scope::Scope,
    tally::Tally,
};
use crate::{
    archive::{Cursor, Reader},
    ask::{AskError, Mistake, begun::Begun, coverage::Coverage, in_force::shipped_classes},
    engine::{
        access::Access,
        kubernetes::users::ANONYMOUS,
        ledger::{Entry, EntryKind},
        text::{first_of, printable},
        time::EventTime,
    },
};

const HOUR: u64 = 3_600;

/// Fields of an alert that say who acted, and on whose behalf.
const ACTORS: [&str; 5] = [
    "actor.id",
    "actor.caller",
    "actor.on_behalf_of",
    "user.username",
    "impersonatedUser.username",
];

/// The field that says from which address.
const SOURCE: &str = "source.ip";

/// Parties that the facts of an alert name.
const PARTIES_NAMED: usize = 10;

/// What stands where nobody can be looked for.
const NOBODY: &str = "Neither the alert's key nor its evidence names a user or an address: nobody's requests are shown.";

/// What is due when: the law, the step, seconds from the beginning of the clock, and what the clock begins with.
/// Regulation (EU) 2016/679, article 33(1); Directive (EU) 2022/2555, article 23(4); Regulation (EU) 2022/2554,
/// article 19, with Delegated Regulation (EU) 2025/301, article 5.
const DUE: &[(&str, &str, u64, &str)] = &[
    (
        "DORA, article 19",
        "initial notification",
        4 * HOUR,
        "classified as major; at the latest 24 hours after becoming aware",
    ),
    (
        "DORA, article 19",
        "intermediate report",
        76 * HOUR,
        "72 hours after the initial notification",
    ),
    (
        "NIS2, article 23(4)(a)",
        "early warning",
        24 * HOUR,
        "having become aware of a significant incident",
    ),
    (
        "NIS2, article 23(4)(b)",
        "incident notification",
        72 * HOUR,
        "having become aware of a significant incident",
    ),
    (
        "GDPR, article 33(1)",
        "notification to the authority",
        72 * HOUR,
        "having become aware of a breach of personal data",
    ),
];

/// What people must write themselves: GDPR, article 33(3); NIS2, article 23(4).
const TO_FILL_IN: &[&str] = &[
    "Is it an incident in the sense of the law that is meant? Who decided it, and when?",
    "When did the organisation become aware?",
    "Nature of the incident, in words",
    "Categories and number of persons and of records concerned",
    "Likely consequences",
    "Measures taken or proposed",
    "Contact",
    "Is a cross-border effect or an unlawful act suspected?",
];

/// Makes the report on the alert whose fingerprint begins with a text. The scope is the time around it. Cost: two passes
/// over the entries on alerts, and one over the rows of the scope.
///
/// # Errors
/// No alert of the period has that fingerprint, or the ledger cannot be read.
pub fn incident_report(
    reader: &Reader,
    scope: &Scope,
    coverage: &Coverage,
    attested: &Attested,
    (fingerprint, tally): (&str, &Tally<'_>),
    progress: &mut dyn FnMut(u64),
) -> Result<Report, AskError> {
    let alerts = Alerts::read(reader, scope)?;
    let fits = |((known, _), _): &(&(String, _), _)| known.starts_with(fingerprint);
    let found = alerts.lives.iter().rfind(fits);
    if let (Some(((one, _), _)), Some(((other, _), _))) = (alerts.lives.iter().find(fits), found)
        && one != other
    {
        let beginning = printable(fingerprint);
        let message = format!(
            "there are several alerts whose fingerprint begins with `{beginning}`: {one}, {other} …"
        );
        return Err(Mistake::bad(message, "write more of it").into());
    }
    let Some(((fingerprint, starts_at), life)) = found else {
        let message =
            format!("the ledger has no alert `{}` in this period", printable(fingerprint));
        let hint = "ask for a longer one: `--since 90d`".to_owned();
        return Err(Mistake { code: "unknown_name", message, hint }.into());
    };
    let parties = Parties::of(reader, scope, (fingerprint, starts_at))?;
    let (mut people, mut requests) = (People::default(), Requests::default());
    let mut begun = Begun::new(reader, scope.period.from);
    scope.each(reader, progress, |row| {
        let Some(access) = row.access() else { return Ok(()) };
        let at = Cursor::behind(row);
        if !parties.did(access) {
            return Ok(());
        }
        if begun.is_first(access)? {
            people.add(access, at, scope);
            requests.add(access, at);
        } else {
            requests.add_end(access, at);
        }
        Ok(())
    })?;
    let about = shipped_classes().into_iter().map(str::to_owned).collect();
    let seen = Seen::of_classes(reader, (coverage, scope), about)?;
    let mut theirs = [
        people.section(scope, &seen),
        requests.secrets_section(scope, &seen),
        requests.sessions_section(reader, (scope, &seen), |access| parties.did(access))?,
        requests.changes_section(scope, &seen),
        requests.denied_section(scope, &seen),
        people.machine_section(scope, &seen),
    ];
    for section in theirs.iter_mut().filter(|_| parties.are_unknown()) {
        section.notes.push(NOBODY.to_owned());
        section.tables.iter_mut().for_each(|table| table.empty = Cell::NotApplicable);
    }
    let mut sections = vec![
        facts_section(scope, (fingerprint, life), &parties),
        due_section(scope, life),
        fill_in_section(),
    ];
    sections.extend(theirs);
    let title = format!("Facts of an alert: {}", life.title);
    let mut made =
        report((ReportKind::Incident, title), scope, attested, (&seen, &tally.totals), sections);
    made.limits.insert(
        0,
        "Whether anything has to be notified, and when somebody became aware, are questions of law: times here are those \
         of events and of acts in Tripline, and what is due is computed from the first notification."
            .to_owned(),
    );
    Ok(made)
}

/// Whose requests are shown for an alert.
#[derive(Debug, Default)]
struct Parties {
    /// Who acted, and on whose behalf.
    actors: BTreeSet<String>,
    /// From which addresses, if the alert is about an address, or nobody is known by name.
    sources: BTreeSet<String>,
}

impl Parties {
    /// Those that an alert's key and its evidence name. Cost: a pass over the entries on alerts.
    fn of(
        reader: &Reader,
        scope: &Scope,
        (fingerprint, starts_at): (&str, &str),
    ) -> Result<Parties, AskError> {
        let (mut parties, mut is_of_source) = (Parties::default(), false);
        // It may have begun before the period. Its entries begin when it did, or a moment later.
        let began = EventTime::parse(starts_at).unwrap_or(EventTime::MIN);
        scope.since(began).entries(reader, &[EntryKind::Alert], |row| {
            let is_this = |entry: &&Entry| {
                entry.subject == fingerprint && entry.fact_of("starts_at") == Some(starts_at)
            };
            let Some(entry) = row.entry().filter(is_this) else { return };
            let key = entry.facts.iter().filter_map(|(name, value)| {
                Some((name.strip_prefix("key.")?.to_owned(), value.clone()))
            });
            let key: Vec<(String, String)> = key.collect();
            is_of_source |= key.iter().any(|(name, _)| name.starts_with("source."));
            for (field, value) in entry.evidence().into_iter().flatten().chain(key) {
                if ACTORS.contains(&field.as_str()) && value != ANONYMOUS {
                    parties.actors.insert(value);
                } else if field == SOURCE {
                    parties.sources.insert(value);
                }
            }
        })?;
        if !is_of_source && !parties.actors.is_empty() {
            parties.sources.clear();
        }
        Ok(parties)
    }

    fn are_unknown(&self) -> bool {
        self.actors.is_empty() && self.sources.is_empty()
    }

    /// Whether they made a request.
    fn did(&self, access: &Access) -> bool {
        let is_one = |of: &BTreeSet<String>, text: &Option<Arc<str>>| {
            text.as_ref().is_some_and(|text| of.contains(&**text))
        };
        is_one(&self.actors, &access.actor.id)
            || is_one(&self.actors, &access.on_behalf_of)
            || is_one(&self.sources, &access.source_ip)
    }
}

fn facts_section(scope: &Scope, (fingerprint, life): (&str, &Life), parties: &Parties) -> Section {
    let mut table = Table::new(["fact", "is"], Cell::NotApplicable);
    let mut say = |what: &str, cell: Cell| table.push(ROWS_MAX, [Cell::text(what), cell]);
    let time =
        |at: Option<EventTime>| at.map_or(Cell::NotObserved, |at| Cell::text(scope.time(at)));
    let word = |text: &str| if text.is_empty() { Cell::NotObserved } else { Cell::text(text) };
    say("alert", Cell::text(fingerprint));
    say("rule", Cell::text(format!("{} ({})", life.title, life.rule)));
    say("severity", word(&life.severity));
    for (name, value) in &life.key {
        say(name, Cell::text(value));
    }
    let whose: Vec<&str> =
        parties.actors.iter().chain(&parties.sources).map(String::as_str).collect();
    let whose = first_of(&whose, PARTIES_NAMED);
    say(
        "whose requests follow",
        if whose.is_empty() { Cell::NotApplicable } else { Cell::text(whose) },
    );
    say("first event", time(life.began));
    say("raised by Tripline", time(life.raised));
    say("first notification taken by a receiver", time(life.told));
    say("first taken by a person", time(life.taken));
    say("who took it", word(&life.taken_by));
    say("verdict", word(&life.verdict));
    say("ended", time(life.resolved));
    Section::new("facts", "Facts and their times").table(table)
}

fn due_section(scope: &Scope, life: &Life) -> Section {
    let mut table = Table::new(
        ["law", "what", "due, from the first notification", "its clock begins with", "done at"],
        Cell::NotApplicable,
    );
    for (law, step, seconds, begins) in DUE {
        let due = life.told.map(|told| told.plus(Duration::from_secs(*seconds)));
        table.push(
            ROWS_MAX,
            [
                Cell::text(*law),
                Cell::text(*step),
                due.map_or(Cell::text("nobody was notified yet"), |due| {
                    Cell::text(scope.time(due))
                }),
                Cell::text(*begins),
                Cell::Blank,
            ],
        );
    }
    let marked = match life.verdict.as_str() {
        "true_positive" => "Somebody judged this alert a true positive.",
        "" => {
            "Nobody has judged this alert yet: no clock runs for an alert alone. `tripline alerts verdict` marks it."
        }
        _ => "Somebody judged this alert to be no incident.",
    };
    Section::new("due", "What may be due").note(marked).table(table)
}

fn fill_in_section() -> Section {
    let mut table = Table::new(["to be filled in", ""], Cell::NotApplicable);
    for question in TO_FILL_IN {
        table.push(ROWS_MAX, [Cell::text(*question), Cell::Blank]);
    }
    Section::new("fill-in", "What no log knows").table(table)
}
