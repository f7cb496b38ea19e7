//! What `tripline explain` prints: lines with ticks and crosses for people, JSON for programs.

use anstyle::Style;
use serde_json::{Value, json};

use super::Explained;
use crate::engine::{
    decode::TakenApart,
    detect::{ExplainedEvent, ExplainedLine, ExplainedRule},
    diagnostic::Place,
    rule::{About, Rule, RuleIndex, RuleSet},
    text::{
        counted, one_line,
        paint::{BAD, GOOD, STRONG, paint},
    },
};

/// Characters of one line of text; the rest is cut. JSON has it all.
const LINE_CHARACTERS: usize = 400;

/// Everything as one JSON object.
pub(super) fn json(explained: &Explained<'_>) -> Value {
    let events: Vec<Value> = explained
        .kept
        .iter()
        .map(|event| {
            json!({
                "audit_id": event.audit_id,
                "stage": event.stage.as_str(),
                "time": event.time.rfc3339(),
                "request": event.request,
                "matches": event.rules.iter().any(|rule| rule.holds),
                "rules": event.rules,
            })
        })
        .collect();
    let undecodable: Vec<Value> = explained
        .counts
        .undecodable
        .iter()
        .map(|(line, reason, detail)| json!({"line": line, "reason": reason, "detail": detail}))
        .collect();
    // Of one rule that was asked for, what its author says of it.
    let one = explained.args.rule.as_ref().and_then(|_| explained.asked.first());
    let rule = one.map(|index| {
        let meta = explained.rules.rule(*index).meta();
        json!({
            "id": meta.id,
            "name": meta.name,
            "severity": meta.severity.as_str(),
            "place": meta.place.as_ref().map(Place::location),
            "about": meta.about,
        })
    });
    json!({
        "rule": rule,
        "event_count": explained.counts.events,
        "matching_count": explained.counts.matching,
        "events": events,
        "undecodable": undecodable,
    })
}

/// What could not be decoded, in a line.
pub(super) fn undecodable(line: Option<i64>, reason: &str, detail: &str) -> String {
    let place = line.map_or(String::new(), |line| format!("line {line}: "));
    format!("{place}not an event: {reason}: {detail}")
}

/// Everything for people.
pub(super) fn text(explained: &Explained<'_>, colours: bool) -> String {
    let mut page = Page { text: String::new(), colours, rules: explained.rules };
    let one = explained.args.rule.as_ref().and_then(|_| explained.asked.first());
    if let Some(index) = one {
        page.head(*index);
    }
    for event in &explained.kept {
        page.event(event, one.is_some());
    }
    let counts = &explained.counts;
    let left_out = counts.wanted - explained.kept.len();
    if left_out > 0 {
        let more = counted(left_out, "more event");
        page.line(0, &format!("… and {more}; --all shows them, --matching only those that match"));
    }
    for (line, reason, detail) in &counts.undecodable {
        page.line(0, &undecodable(*line, reason, detail));
    }
    let events = counted(counts.events, "event");
    let counted = one.is_some_and(|index| matches!(page.rules.rule(*index), Rule::Correlation(_)));
    let verdict = match (counts.matching, counts.events, counted) {
        (0, 1, false) => "no match".to_owned(),
        (0, 1, true) => "does not count".to_owned(),
        (0, _, false) => "none matches".to_owned(),
        (0, _, true) => "none counts".to_owned(),
        (_, 1, false) => "match".to_owned(),
        (_, 1, true) => "counts".to_owned(),
        (some, _, false) => format!("{some} match"),
        (some, _, true) => format!("{some} count"),
    };
    let verdict = page.paint(if counts.matching > 0 { GOOD } else { BAD }, &verdict);
    page.line(0, &format!("{events}: {verdict}"));
    page.text
}

struct Page<'r> {
    text: String,
    colours: bool,
    rules: &'r RuleSet,
}

impl Page<'_> {
    fn paint(&self, style: Style, text: &str) -> String {
        paint(text, style, self.colours)
    }

    fn line(&mut self, depth: usize, text: &str) {
        self.text.push_str(&"  ".repeat(depth));
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// A line of ours and of what stands in the event, which may be anything.
    fn marked(&mut self, depth: usize, holds: bool, text: &str) {
        let sign = if holds { self.paint(GOOD, "✓") } else { self.paint(BAD, "✗") };
        let line = format!("{sign} {}", one_line(text, LINE_CHARACTERS));
        self.line(depth, &line);
    }

    /// What the rule is.
    fn head(&mut self, index: RuleIndex) {
        let rule = self.rules.rule(index);
        let meta = rule.meta();
        let name = self.paint(STRONG, &meta.name);
        self.line(0, &format!("{name}: {} ({})", meta.about.title, meta.severity.as_str()));
        if let Some(place) = meta.place.as_ref().map(Place::location) {
            self.line(1, &format!("--> {place}"));
        }
        if let Rule::Correlation(rule) = rule {
            let by = match rule.group_by.as_slice() {
                [] => "all events together".to_owned(),
                names => format!("by {}", names.join(", ")),
            };
            let (kind, says) = (rule.kind.entry().name, rule.kind.describe(&rule.frame));
            self.line(1, &format!("{kind}: {says}, {by}"));
        }
        self.about(&meta.about);
        self.line(0, "");
    }

    /// What its author says for people.
    fn about(&mut self, about: &About) {
        let of = |text: &Option<String>| text.iter().cloned().collect::<Vec<_>>();
        for (name, values) in [
            ("author", of(&about.author)),
            ("owner", of(&about.owner)),
            ("runbook", of(&about.runbook)),
            ("controls", about.controls.clone()),
            ("reference", about.references.clone()),
            ("false positives", about.false_positives.clone()),
        ] {
            let is_list = name == "controls";
            let lines = if is_list { of(&Some(values.join(", "))) } else { values };
            for text in lines.iter().filter(|text| !text.is_empty()) {
                self.line(1, &one_line(&format!("{name}: {text}"), LINE_CHARACTERS));
            }
        }
        for note in &about.notes {
            let text = format!("note on {}: {note}", note.on);
            self.line(1, &one_line(&text, LINE_CHARACTERS));
        }
    }

    fn event(&mut self, event: &ExplainedEvent, one_rule: bool) {
        let heading = format!("{} {}", event.time.rfc3339(), one_line(&event.request, 200));
        let heading = self.paint(STRONG, &heading);
        let id = one_line(&event.audit_id, 64);
        self.line(0, &format!("{heading} ({}, {id})", event.stage.as_str()));
        if event.rules.is_empty() {
            self.marked(1, false, "no rule matches");
        }
        for rule in &event.rules {
            if one_rule {
                self.rule(1, rule);
            } else {
                self.summary(rule);
            }
        }
        self.line(0, "");
    }

    /// One line on a rule that matches.
    fn summary(&mut self, rule: &ExplainedRule) {
        let counting = rule.inputs.iter().find(|input| input.counts);
        let meta = self.rules.find_written(&rule.name).map(|index| self.rules.rule(index).meta());
        let what = match (counting, meta) {
            (Some(input), _) => format!("{} counts it{}", rule.name, input.under()),
            (None, Some(meta)) if meta.alerts() => {
                format!("{} ({})", rule.name, meta.severity.as_str())
            }
            (None, _) => format!("{}, which only feeds correlations", rule.name),
        };
        self.marked(1, true, &what);
    }

    fn rule(&mut self, depth: usize, rule: &ExplainedRule) {
        for ExplainedLine { depth, holds, text } in rule.lines(depth) {
            match holds {
                Some(holds) => self.marked(depth, holds, &text),
                None => self.line(depth, &text),
            }
        }
    }
}

/// How a record was taken apart, for people.
pub(super) fn taken_apart(taken: &TakenApart) -> String {
    let mut text = String::new();
    for step in &taken.steps {
        let what = one_line(&step.what, LINE_CHARACTERS);
        text.push_str(&format!("{}{what}\n", "  ".repeat(step.depth)));
    }
    if taken.steps_left_out > 0 {
        let more = counted(taken.steps_left_out, "more step");
        text.push_str(&format!("… and {more}\n"));
    }
    let mut sums = vec![counted(taken.events, "event")];
    if taken.control_messages > 0 {
        sums.push(format!("{} known to hold none", counted(taken.control_messages, "part")));
    }
    if taken.dead_letters > 0 {
        sums.push(counted(taken.dead_letters, "dead letter"));
    }
    text.push_str(&format!("{}\n", sums.join(", ")));
    text
}
