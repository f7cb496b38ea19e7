//! What a rule makes of an event, as lines for people: with ticks and crosses, one part of the condition each.

use super::explain::{ExplainedInput, ExplainedRule, Explanation, KeyPart};
use crate::engine::text::one_line;

/// Characters of one line; the rest is cut.
const LINE_CHARACTERS: usize = 400;

/// Inputs of a correlation that are all explained; of more, those that do not match are only named.
const INPUTS_SHOWN: usize = 5;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedLine {
    /// How far it is indented.
    pub depth: usize,
    /// Whether what it says holds; `None` for a remark.
    pub holds: Option<bool>,
    /// What it says, harmless and in one line.
    pub text: String,
}

impl ExplainedRule {
    /// As lines, the first of them so far indented.
    pub fn lines(&self, depth: usize) -> Vec<ExplainedLine> {
        let mut lines = Lines(Vec::new());
        lines.rule(depth, self);
        lines.0
    }
}

impl ExplainedInput {
    /// The key and the values with which an event counts: ` under user=eve with name=db`.
    pub fn under(&self) -> String {
        let shown = |parts: &[KeyPart]| {
            let parts: Vec<String> = parts
                .iter()
                .map(|part| {
                    format!("{}={}", part.field, part.value.as_deref().unwrap_or("(absent)"))
                })
                .collect();
            parts.join(", ")
        };
        let words = |word: &str, parts: &[KeyPart]| match parts {
            [] => String::new(),
            parts => format!(" {word} {}", shown(parts)),
        };
        words("under", &self.key) + &words("with", &self.values)
    }
}

struct Lines(Vec<ExplainedLine>);

impl Lines {
    fn add(&mut self, depth: usize, holds: Option<bool>, text: &str) {
        self.0.push(ExplainedLine { depth, holds, text: one_line(text, LINE_CHARACTERS) });
    }

    fn rule(&mut self, depth: usize, rule: &ExplainedRule) {
        if let Some(why) = rule.unseen {
            self.add(depth, Some(false), &format!("not seen: {why}"));
        }
        if let Some(condition) = &rule.condition {
            self.condition(depth, condition);
        }
        if !rule.cut_off.is_empty() {
            let fields = rule.cut_off.join(", ");
            let text = format!("note: the event is not whole; not to be seen: {fields}");
            self.add(depth, None, &text);
        }
        if let Some(remark) = rule.remark {
            self.add(depth, None, &format!("note: {remark}"));
        }
        let is_short = rule.inputs.len() <= INPUTS_SHOWN;
        let (shown, others): (Vec<_>, Vec<_>) =
            rule.inputs.iter().partition(|input| is_short || input.rule.holds);
        for input in shown {
            self.input(depth, input);
        }
        let others: Vec<&str> = others.iter().map(|input| input.rule.name.as_str()).collect();
        if !others.is_empty() {
            self.add(depth, Some(false), &format!("no match: {}", others.join(", ")));
        }
    }

    fn input(&mut self, depth: usize, input: &ExplainedInput) {
        let name = &input.rule.name;
        let absent: Vec<&str> = input
            .key
            .iter()
            .chain(&input.values)
            .filter(|part| part.value.is_none())
            .map(|part| part.field.as_str())
            .collect();
        let absent = absent.join(" and ");
        let what = if input.counts {
            format!("{name}: counts{}", input.under())
        } else if input.rule.holds {
            format!("{name}: matches, but does not count, for {absent} is absent")
        } else {
            format!("{name}: no match")
        };
        self.add(depth, Some(input.counts), &what);
        self.rule(depth + 1, &input.rule);
        if !input.rule.holds && !absent.is_empty() {
            let text = format!("note: it would not count either: {absent} is absent");
            self.add(depth + 1, None, &text);
        }
    }

    fn condition(&mut self, depth: usize, part: &Explanation) {
        self.add(depth, Some(part.holds), &part.line());
        if let Some(note) = &part.note {
            self.add(depth + 1, None, &format!("note: {note}"));
        }
        for part in &part.parts {
            self.condition(depth + 1, part);
        }
    }
}
