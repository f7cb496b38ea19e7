//! Reads `<name>.test.yaml`: a base event, events at offsets, and every alert that must come of them.
//!
//! ```yaml
//! rule: secret_enumeration.yaml        # the rule file; if left out, the one with the same name
//! base: {verb: list, objectRef.resource: secrets}
//! tests:
//!   - name: five namespaces fire once
//!     start: 2026-03-04T12:00:00Z      # time of offset zero; a Wednesday noon if left out
//!     events:
//!       - {at: 0s, every: 10s, times: 5, set: {objectRef.namespace: 'team-{n}'}}
//!     until: 10m                       # let time pass up to this offset; to the last event if left out
//!     expect:                          # all alerts, in order; [] is silence
//!       - {at: 40s, state: firing, labels: {actor_id: eve}, value: 5}
//! ```
//!
//! `set` takes dotted paths, `null` takes a field away, and `{n}` in a text is the number of the
//! repetition.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::event::{self, Setting};
use crate::engine::{
    alert::AlertState,
    diagnostic::{Diagnostic, Place, Problems, SourceText, code},
    duration::written,
    rule::Severity,
    time::EventTime,
    yaml::{self, NodeKind, Section},
};

/// Time of offset zero in tests that do not say: a Wednesday, noon in UTC.
const START_DEFAULT: &str = "2026-03-04T12:00:00Z";

/// Repetitions of one entry: 100,000. More is an error.
const TIMES_MAX: i64 = 100_000;

/// One file of tests.
#[derive(Debug)]
pub struct TestFile {
    /// The file.
    pub source: Arc<SourceText>,
    /// Name of the rule file that it is about, without directories.
    pub rule_file: String,
    /// Where that is said; the file's beginning if its own name says it.
    pub place: Place,
    /// The tests.
    pub tests: Vec<TestCase>,
}

/// One test.
#[derive(Debug)]
pub struct TestCase {
    /// What must hold, in words.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// Time of offset zero.
    pub start: EventTime,
    /// How long time goes on, from offset zero; to the last event if `None`.
    pub until: Option<Duration>,
    pub(super) base: Vec<Setting>,
    pub(super) events: Vec<Series>,
    /// Every alert that must come, in the order in which they come.
    pub expect: Vec<Expected>,
    /// Every access that must be recorded, in the order of the events.
    pub accesses: Vec<ExpectedAccess>,
}

/// An event, or several at even distances.
#[derive(Debug)]
pub(super) struct Series {
    at: Duration,
    every: Duration,
    times: u64,
    settings: Vec<Setting>,
}

/// An alert as a test states it. What is left out may be anything.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Where it stands.
    pub place: Place,
    /// Offset of its beginning, or of its end if it resolves.
    pub at: Duration,
    /// Firing, if the test does not say.
    pub state: AlertState,
    /// Labels that it must have among others; `alertname` tells rules of one file apart.
    pub labels: BTreeMap<String, String>,
    /// Its severity.
    pub severity: Option<Severity>,
    /// The value of its condition at that moment.
    pub value: Option<f64>,
    /// Annotations that it must have among others.
    pub annotations: BTreeMap<String, String>,
}

/// An access as a test states it. What is left out may be anything.
#[derive(Clone, Debug)]
pub struct ExpectedAccess {
    /// Where it stands.
    pub place: Place,
    /// Offset of its event.
    pub at: Duration,
    /// The class that the rule file gives it.
    pub class: Option<String>,
    /// Within which time like ones become one row; zero if each is a row of its own.
    pub every: Option<Duration>,
    /// What else it must be: `actor`, `object`, `outcome` …
    pub texts: BTreeMap<String, String>,
}

/// What a test may say of an access beside its class.
pub(super) const ACCESS_TEXTS: [&str; 8] =
    ["actor", "command", "kind", "object", "on_behalf_of", "outcome", "permission", "verb"];

impl Series {
    /// Offset of its last event.
    fn last(&self) -> Duration {
        let steps = u32::try_from(self.times.saturating_sub(1)).unwrap_or(u32::MAX);
        self.at.saturating_add(self.every.saturating_mul(steps))
    }

    fn sets_its_time(&self) -> bool {
        self.settings.iter().any(Setting::is_time)
    }
}

impl TestCase {
    /// The events with their offsets, in order of time.
    pub fn records(&self) -> Vec<(Duration, Vec<u8>)> {
        let mut records = Vec::new();
        for series in &self.events {
            for repetition in 1..=series.times {
                let steps = u32::try_from(repetition - 1).unwrap_or(u32::MAX);
                let at = series.at + series.every * steps;
                let settings = self.base.iter().chain(&series.settings);
                let time = self.start.plus(at);
                records.push((at, event::build(settings, time, records.len(), repetition)));
            }
        }
        records.sort_by_key(|(at, _)| *at);
        records
    }
}

/// Reads a file. What is wrong with it goes to `problems`; what is not is returned.
pub fn read_test_file(source: &Arc<SourceText>, problems: &Problems) -> Option<TestFile> {
    let nodes = match yaml::parse(source) {
        Ok(nodes) => nodes,
        Err(problem) => {
            problems.push(*problem);
            return None;
        }
    };
    let [node] = nodes.as_slice() else {
        let place = Place { source: Arc::clone(source), span: 0..0 };
        let title = format!("a test file has one document, not {}", nodes.len());
        problems.push(Diagnostic::error(code::SEVERAL_TEST_DOCUMENTS, place, title));
        return None;
    };
    let root = Section::new(source, problems, node, "");
    let file_name = source.name.rsplit(['/', '\\']).next().unwrap_or("");
    let same_name = file_name.replacen(".test.", ".", 1);
    let rule_file = root.string("rule").unwrap_or(same_name);
    let said = root.node("rule").map_or(0..0, |node| node.span.clone());
    let place = Place { source: Arc::clone(source), span: said };
    let base = settings(&root, "base");
    if root.node("tests").is_none() {
        root.missing("tests", "write a list of tests with `name`, `events` and `expect` each");
    }
    let tests: Vec<TestCase> =
        root.sections("tests").iter().filter_map(|section| read_test(section, &base)).collect();
    for section in root.sections("tests") {
        finish(&section);
    }
    root.finish();
    Some(TestFile { source: Arc::clone(source), rule_file, place, tests })
}

/// Reports the keys of a test that do not exist.
fn finish(section: &Section<'_>) {
    const KEYS: [&str; 7] = ["name", "start", "until", "base", "events", "expect", "accesses"];
    for key in section.keys().filter(|key| !KEYS.contains(key)) {
        let title = format!("unknown key `{}`", section.path_of(key));
        let mut diagnostic =
            Diagnostic::error(code::UNKNOWN_SETTING, section.place_of_key(key), title)
                .suggest(key, KEYS);
        if diagnostic.help.is_empty() {
            diagnostic = diagnostic.help(format!("known keys here: {}", KEYS.join(", ")));
        }
        section.report(diagnostic);
    }
}

fn read_test(section: &Section<'_>, base: &[Setting]) -> Option<TestCase> {
    let name = section.required_string("name", "say in words what must hold");
    let start = match section.string("start") {
        Some(text) => EventTime::parse(&text).or_else(|| {
            let title = format!("`{text}` is not a time");
            section.invalid("start", title, "write a time such as 2026-03-04T12:00:00Z");
            None
        }),
        None => EventTime::parse(START_DEFAULT),
    };
    let own = settings(section, "base");
    if section.node("events").is_none() {
        section.missing("events", "write a list of events: `events: [{at: 0s, set: {…}}]`");
    }
    if !section.has("expect") && !section.has("accesses") {
        section.missing("expect", "write all alerts that must come, or `expect: []` for silence");
    }
    let events: Vec<Series> =
        section.sections("events").into_iter().filter_map(read_series).collect();
    let expect: Vec<Expected> =
        section.sections("expect").into_iter().filter_map(read_expected).collect();
    let accesses: Vec<ExpectedAccess> =
        section.sections("accesses").into_iter().filter_map(read_access).collect();
    let until = section.duration("until");
    check_until(section, until, &events, &expect);
    Some(TestCase {
        name: name?,
        place: section.place(),
        start: start?,
        until,
        base: base.iter().cloned().chain(own).collect(),
        events,
        expect,
        accesses,
    })
}

/// Refuses an `until` that lets no time pass, and alerts that would come after all time.
fn check_until(
    section: &Section<'_>,
    until: Option<Duration>,
    events: &[Series],
    expect: &[Expected],
) {
    let last = events.iter().map(Series::last).max().unwrap_or_default();
    if let Some(until) = until.filter(|until| *until < last) {
        let title = format!("`until: {}` is over before the last event comes", written(until));
        let help = format!("it counts from the start of the test: {} at least", written(last));
        section.invalid("until", title, &help);
        return;
    }
    // Events that say their own time may be ahead of it.
    if events.iter().any(Series::sets_its_time) {
        return;
    }
    let end = until.unwrap_or(last);
    for expected in expect.iter().filter(|expected| expected.at > end) {
        let (at, end) = (written(expected.at), written(end));
        let title = format!("nothing can come at {at}: the test is over at {end}");
        section.report(
            Diagnostic::error(code::TEST_OVER_BEFORE, expected.place.clone(), title)
                .help(format!("let time go on with `until: {at}` or later")),
        );
    }
}

fn read_series(section: Section<'_>) -> Option<Series> {
    let at = required_offset(&section);
    let times = section.integer("times", 1..=TIMES_MAX);
    let every = section.duration("every");
    if times.is_some_and(|times| times > 1) && !section.has("every") {
        section.missing("every", "say how far apart the events are: `every: 10s`");
    }
    let settings = settings(&section, "set");
    section.finish();
    let times = times.and_then(|times| u64::try_from(times).ok()).unwrap_or(1);
    Some(Series { at: at?, every: every.unwrap_or_default(), times, settings })
}

fn required_offset(section: &Section<'_>) -> Option<Duration> {
    let at = section.duration("at");
    if !section.has("at") {
        section.missing("at", "say when, from the start of the test: `at: 0s`");
    }
    at
}

fn read_expected(section: Section<'_>) -> Option<Expected> {
    let at = required_offset(&section);
    let expected = at.map(|at| Expected {
        place: section.place(),
        at,
        state: section.one_of("state", &AlertState::WORDS).unwrap_or(AlertState::Firing),
        labels: section.string_map("labels").unwrap_or_default().into_iter().collect(),
        severity: section.one_of("severity", &Severity::WORDS),
        value: section.number("value"),
        annotations: section.string_map("annotations").unwrap_or_default().into_iter().collect(),
    });
    section.finish();
    expected
}

fn read_access(section: Section<'_>) -> Option<ExpectedAccess> {
    let at = required_offset(&section);
    let text = |key: &&str| Some(((*key).to_owned(), section.string(key)?));
    let access = at.map(|at| ExpectedAccess {
        place: section.place(),
        at,
        class: section.string("class"),
        every: section.duration("every"),
        texts: ACCESS_TEXTS.iter().filter_map(text).collect(),
    });
    section.finish();
    access
}

/// A mapping from dotted paths to values.
fn settings(section: &Section<'_>, key: &str) -> Vec<Setting> {
    let Some(inner) = section.section(key) else { return Vec::new() };
    let mut settings = Vec::new();
    for path in inner.keys() {
        let null = yaml::Node { kind: NodeKind::Null, span: 0..0 };
        let node = inner.node(path).unwrap_or(&null);
        match event::read_setting(path, inner.place_of(path), node) {
            Ok(setting) => settings.push(setting),
            Err(diagnostic) => inner.report(*diagnostic),
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(text: &str) -> Vec<String> {
        let problems = Problems::new();
        read_test_file(&SourceText::new("rules/a.test.yaml", text), &problems);
        problems.into_sorted().iter().map(Diagnostic::one_line).collect()
    }

    #[test]
    fn a_file_is_about_the_rule_of_its_name() {
        let problems = Problems::new();
        let text = "tests:\n  - {name: x, events: [{at: 0s, every: 1s, times: 3}], expect: []}\n";
        let file = read_test_file(&SourceText::new("rules/a.test.yaml", text), &problems).unwrap();
        assert_eq!(problems.into_sorted(), []);
        assert_eq!(file.rule_file, "a.yaml");
        let offsets: Vec<u64> =
            file.tests[0].records().iter().map(|(at, _)| at.as_secs()).collect();
        assert_eq!(offsets, [0, 1, 2]);
    }

    #[test]
    fn all_mistakes_are_reported_with_their_place() {
        let text = "base: {verbs: get}\ntests:\n  - name: x\n    start: noon\n    \
                    events: [{at: soon, times: 2}]\n    expekt: []\n";
        assert_eq!(
            problems_of(text),
            [
                "rules/a.test.yaml:1:15: error[T002]: audit events have no field `verbs`",
                "rules/a.test.yaml:3:5: error[C002]: tests[0].expect is missing",
                "rules/a.test.yaml:4:12: error[C004]: `noon` is not a time",
                "rules/a.test.yaml:5:14: error[C002]: tests[0].events[0].every is missing",
                "rules/a.test.yaml:5:19: error[C004]: tests[0].events[0].at is not a duration",
                "rules/a.test.yaml:6:5: error[C001]: unknown key `tests[0].expekt`",
            ]
        );
    }
}
