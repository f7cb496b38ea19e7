//! Warnings about paths below bodies that lead nowhere: a field that the objects of these resources do
//! not have, a list with numbers, a value that a field never has.
//!
//! What a body is follows from what the condition asks of resource, subresource and verb. Where it asks
//! nothing, the body may be that of a custom resource: then only what is plainly a slip is warned about.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    require::values_of,
    values::{items, warn_of_values},
};
use crate::engine::{
    diagnostic::{Diagnostic, Place, Problems, nearest},
    event::{
        FieldId,
        derived::{OBJECT, POD_SPEC},
    },
    kubernetes::{
        resources,
        shapes::{
            self, Content, DELETE_OPTIONS, POD_SPEC_TYPE, STATUS, Stop, TABLE, Way, all_bodies,
            body_of, follow,
        },
    },
    rule::{
        plan::{build::Builder, expression::Expression},
        read::{document::DetectionSyntax, modifier::Operand, selection::Item},
    },
    syntax::{code, read::Context},
    text::first_of,
};

const REQUEST: &str = "requestObject";
const RESPONSE: &str = "responseObject";

/// Fields of one step of a JSON Patch, which is a list of them.
const JSON_PATCH: [&str; 4] = ["from", "op", "path", "value"];

/// Fields of the metadata of a list that those of an object do not have.
const LIST_METADATA: [&str; 2] = ["continue", "remainingItemCount"];

/// Paths of one document that are warned about: 20. More say nothing new.
const WARNED_MAX: usize = 20;

/// Fields of an object that are named in a hint.
const NAMES_SHOWN: usize = 6;

/// What a body may be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Bodies {
    /// Anything: also that of a custom resource.
    Any,
    /// An object of one of these types.
    OneOf(BTreeSet<&'static str>),
}

impl Bodies {
    fn and(&mut self, other: &Bodies) {
        match (&mut *self, other) {
            (Bodies::OneOf(types), Bodies::OneOf(more)) => types.extend(more),
            _ => *self = Bodies::Any,
        }
    }
}

/// A path below a body: the body, and the rest.
#[derive(Clone, Copy)]
struct Below<'p> {
    root: &'static str,
    rest: &'p str,
}

impl<'p> Below<'p> {
    fn of(path: &'p str) -> Option<Below<'p>> {
        [REQUEST, RESPONSE, OBJECT, POD_SPEC].into_iter().find_map(|root| {
            let rest = path.strip_prefix(root)?.strip_prefix('.')?;
            (!rest.is_empty()).then_some(Below { root, rest })
        })
    }

    /// Whether it leads somewhere in one of these types.
    fn leads(self, types: &BTreeSet<&'static str>) -> bool {
        let (first, after) = self.rest.split_once('.').unwrap_or((self.rest, ""));
        match (self.root, first) {
            (REQUEST, word) if JSON_PATCH.contains(&word) => return true,
            (RESPONSE | OBJECT, "items") => {
                return after.is_empty() || Below { rest: after, ..self }.leads(types);
            }
            (RESPONSE, "metadata") if LIST_METADATA.contains(&after) => return true,
            _ => {}
        }
        types.iter().any(|of| !matches!(follow(of, self.rest), Way::Nowhere(_)))
    }
}

/// What a condition asks of the request, as far as its body follows from it: folded values.
#[derive(Clone, Debug, Default)]
struct Subject {
    asked: BTreeMap<&'static str, BTreeSet<String>>,
}

const ASKED: [&str; 4] =
    ["objectRef.apiGroup", "objectRef.resource", "objectRef.subresource", "verb"];

impl Subject {
    fn narrowed(&self, parts: &[Expression], builder: &Builder) -> Subject {
        let mut narrowed = self.clone();
        for (field, values) in parts.iter().filter_map(|part| values_of(part, builder)) {
            let path = builder.fields.path(field);
            let Some(path) = ASKED.iter().find(|known| **known == path) else { continue };
            let asked = narrowed.asked.entry(path).or_insert_with(|| values.clone());
            asked.retain(|value| values.contains(value));
        }
        narrowed
    }

    fn bodies(&self, root: &str) -> Bodies {
        let types = if root == POD_SPEC {
            Some(BTreeSet::from([POD_SPEC_TYPE]))
        } else {
            self.types(root == RESPONSE)
        };
        // What asks for a deletion is not what is deleted.
        let types = types.map(|mut types| {
            if root == OBJECT {
                types.remove(DELETE_OPTIONS);
            }
            types
        });
        types.filter(|types| !types.is_empty()).map_or(Bodies::Any, Bodies::OneOf)
    }

    /// The types of the bodies; `None` if some are not known.
    fn types(&self, of_responses: bool) -> Option<BTreeSet<&'static str>> {
        let verbs = self.asked.get("verb");
        let deletes = |verb: &String| matches!(verb.as_str(), "delete" | "deletecollection");
        let mut types = BTreeSet::new();
        if of_responses {
            types.extend([STATUS, TABLE]);
        } else if verbs.is_none_or(|verbs| verbs.iter().any(deletes)) {
            types.insert(DELETE_OPTIONS);
            if verbs.is_some_and(|verbs| verbs.iter().all(deletes)) {
                return Some(types);
            }
        }
        let (groups, below) =
            (self.asked.get("objectRef.apiGroup"), self.asked.get("objectRef.subresource"));
        for name in self.asked.get("objectRef.resource")? {
            let is_meant = |known: &&resources::Resource| {
                groups.is_none_or(|groups| groups.contains(known.group))
            };
            let mut found = resources::named(name).filter(is_meant).peekable();
            found.peek()?;
            for known in found {
                if let Some(below) = below {
                    for name in below {
                        types.insert(body_of(known, Some(name))?);
                    }
                } else {
                    types.insert(body_of(known, None)?);
                    let below = known.subresources.iter();
                    types.extend(below.filter_map(|name| body_of(known, Some(name))));
                }
            }
        }
        Some(types)
    }
}

/// What the bodies may be of which a condition tests each field.
struct Tested<'b> {
    builder: &'b Builder,
    bodies: BTreeMap<FieldId, Bodies>,
}

impl Tested<'_> {
    /// Recursion is bounded by the depth of conditions.
    fn visit(&mut self, expression: &Expression, subject: &Subject) {
        match expression {
            Expression::All(parts) => {
                let subject = subject.narrowed(parts, self.builder);
                for part in parts.iter() {
                    self.visit(part, &subject);
                }
            }
            Expression::Any(parts) => {
                for part in parts.iter() {
                    self.visit(part, subject);
                }
            }
            Expression::Not(inner) => self.visit(inner, subject),
            Expression::SameElement(same) => {
                self.add(same.of, subject);
                self.visit(&same.condition, subject);
            }
            Expression::Predicate(id) => {
                let predicate = self.builder.predicates.get(id.0 as usize);
                if let Some(predicate) = predicate {
                    self.add(predicate.field, subject);
                }
            }
            Expression::Constant(_) | Expression::Inside(_) | Expression::Before(_) => {}
        }
    }

    fn add(&mut self, field: FieldId, subject: &Subject) {
        let Some(below) = Below::of(self.builder.fields.path(field)) else { return };
        let bodies = subject.bodies(below.root);
        match self.bodies.get_mut(&field) {
            Some(known) => known.and(&bodies),
            None => {
                self.bodies.insert(field, bodies);
            }
        }
    }
}

/// Warns about the fields of a document that lie below bodies, as its whole condition uses them.
pub(in crate::engine) fn check_bodies(
    detection: &DetectionSyntax,
    condition: &Expression,
    builder: &Builder,
    problems: &Problems,
) {
    let context = Context { source: &detection.source, problems };
    let mut tested = Tested { builder, bodies: BTreeMap::new() };
    tested.visit(condition, &Subject::default());
    let mut left = WARNED_MAX;
    for item in items(detection) {
        let others = item.values.iter().filter_map(|(operand, span)| match operand {
            Operand::Field { path, .. } => Some((path.as_str(), span)),
            _ => None,
        });
        let own = item.field.as_deref().map(|path| (path, &item.at));
        for (path, span) in own.into_iter().chain(others) {
            // What is wrong with brackets was said where the field was read.
            let Some(below) = Below::of(path).filter(|_| !path.contains(['[', ']'])) else {
                continue;
            };
            let bodies = builder.fields.get(path).and_then(|field| tested.bodies.get(&field));
            let by_root = Subject::default().bodies(below.root);
            let bodies = bodies.unwrap_or(&by_root);
            match diagnose(path, below, bodies, &context.place(span)) {
                Some(diagnostic) => {
                    problems.push(diagnostic);
                    left -= 1;
                    if left == 0 {
                        return;
                    }
                }
                None => check_values(path, below, bodies, item, &context),
            }
        }
    }
}

/// Warns about one path, whatever the request.
pub(super) fn check_path(path: &str, place: &Place, problems: &Problems) {
    let Some(below) = Below::of(path) else { return };
    let bodies = Subject::default().bodies(below.root);
    if let Some(diagnostic) = diagnose(path, below, &bodies, place) {
        problems.push(diagnostic);
    }
}

fn diagnose(path: &str, below: Below<'_>, bodies: &Bodies, place: &Place) -> Option<Diagnostic> {
    let unknown = |label: String, meant: Option<String>| {
        let title = format!("unknown field `{path}`");
        let mut diagnostic =
            Diagnostic::warning(code::UNKNOWN_FIELD, place.clone(), title).label(label);
        if let Some(meant) = meant {
            diagnostic = diagnostic.help(format!("did you mean `{meant}`?"));
        }
        Some(diagnostic)
    };
    let meant = |repair: &Repair| format!("{}.{}", below.root, repair.path);
    match bodies {
        Bodies::OneOf(types) => {
            if below.leads(types) {
                return None;
            }
            // The first of those in which it leads farthest.
            let whys = types.iter().filter_map(|of| why_not(of, below.rest));
            let label = whys.reduce(|best, next| if next.0 > best.0 { next } else { best });
            let repair = best_repair(types, below.rest);
            unknown(label.map(|(_, label)| label).unwrap_or_default(), repair.as_ref().map(meant))
        }
        Bodies::Any => {
            let types = all_bodies();
            if below.leads(&types) {
                return None;
            }
            let is_plain = |repair: &Repair| repair.is_slip || repair.is_typo;
            let repair = best_repair(&types, below.rest).filter(is_plain)?;
            unknown("no resource of Kubernetes has such a field".to_owned(), Some(meant(&repair)))
        }
    }
}

/// How far a path leads below a type, and what stands in its way.
fn why_not(of: &'static str, rest: &str) -> Option<(usize, String)> {
    let Way::Nowhere(Stop { at, of, in_list }) = follow(of, rest) else { return None };
    let segment = rest.get(at..)?.split('.').next()?;
    let label = match of {
        _ if is_index(segment) && in_list => {
            "lists are looked through; their elements have no numbers".to_owned()
        }
        Some(of) => format!("{} has no field `{segment}`", named(of)),
        None => "there is nothing below the field before".to_owned(),
    };
    Some((at, label))
}

/// `a PodSpec`, without the group that tells types of one name apart.
fn named(of: &str) -> String {
    let name = of.split('.').next().unwrap_or(of);
    let article = if name.starts_with(['A', 'E', 'I', 'O', 'U']) { "an" } else { "a" };
    format!("{article} {name}")
}

/// What somebody probably meant.
struct Repair {
    path: String,
    /// Whether no other letters are in it: only case, punctuation or indexes differ.
    is_slip: bool,
    /// Whether one letter of a long word is wrong, missing, too much or in another place. Not an `s` at its
    /// end: custom resources have one host where Kubernetes has hosts.
    is_typo: bool,
}

fn best_repair(types: &BTreeSet<&'static str>, rest: &str) -> Option<Repair> {
    let repairs = types.iter().filter_map(|of| repaired(of, rest).or_else(|| moved(of, rest)));
    let letters = |text: &str| {
        let letters = text.split('.').filter(|part| !is_index(part)).flat_map(str::chars);
        letters.filter(|c| c.is_alphabetic()).flat_map(char::to_lowercase).collect::<String>()
    };
    let plain = letters(&without_brackets(rest));
    let repairs = repairs.map(|path| Repair {
        is_slip: letters(&path) == plain,
        is_typo: is_typo(&without_brackets(rest), &path),
        path,
    });
    repairs.min_by_key(|repair| (!repair.is_slip, !repair.is_typo, repair.path.len()))
}

/// Letters of the shortest word in which a wrong one is plainly that: 6.
const TYPO_LETTERS_MIN: usize = 6;

/// Whether the words of two paths are the same but for one letter of one long word.
fn is_typo(written: &str, meant: &str) -> bool {
    fn words(path: &str) -> Vec<&str> {
        path.split('.').filter(|word| !is_index(word)).collect()
    }
    let (written, meant) = (words(written), words(meant));
    let mut wrong = written.iter().zip(&meant).filter(|(a, b)| a != b);
    let (Some((a, b)), None) = (wrong.next(), wrong.next()) else { return false };
    written.len() == meant.len()
        && a.len().min(b.len()) >= TYPO_LETTERS_MIN
        && a.trim_end_matches('s') != b.trim_end_matches('s')
        && strsim::osa_distance(a, b) == 1
}

/// The path with the nearest name for each that is not there, and without indexes.
fn repaired(of: &'static str, rest: &str) -> Option<String> {
    let mut here = Some(of);
    let mut path: Vec<&str> = Vec::new();
    let mut segments = rest.split('.');
    while let Some(segment) = segments.next() {
        let name = segment.split('[').next().unwrap_or(segment);
        if is_index(segment) && !path.is_empty() {
            continue;
        }
        let of = here?;
        let field = shapes::step(of, name)
            .or_else(|| shapes::step(of, nearest(name, shapes::names(of))?))?;
        path.push(field.name);
        match field.content {
            Content::Object(inner) => here = Some(inner),
            Content::Scalar(_) => here = None,
            Content::Open => {
                path.extend(segments);
                break;
            }
        }
    }
    Some(path.join("."))
}

/// The path with what is not there taken from where it is: `hostPID` of a deployment is further below.
fn moved(of: &'static str, rest: &str) -> Option<String> {
    let Way::Nowhere(Stop { at, of: Some(here), .. }) = follow(of, rest) else { return None };
    let (head, tail) = rest.split_at_checked(at)?;
    let (name, after) =
        tail.split_once('.').map_or((tail, None), |(name, rest)| (name, Some(rest)));
    let mut path = format!("{head}{}", shapes::path_to(here, name)?);
    if let Some(after) = after {
        path.push('.');
        path.push_str(after);
    }
    (!matches!(follow(of, &path), Way::Nowhere(_))).then_some(path)
}

/// `0`, `*`, `[]`, `[0]`, `[*]`.
fn is_index(segment: &str) -> bool {
    let inside = segment.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inside {
        Some(_) => true,
        None => {
            segment == "*" || !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_digit())
        }
    }
}

/// The path without everything in brackets.
pub(super) fn without_brackets(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut depth = 0_usize;
    for c in path.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

/// Warns about values that a field below a body never has.
fn check_values(path: &str, below: Below<'_>, bodies: &Bodies, item: &Item, context: &Context<'_>) {
    let Bodies::OneOf(types) = bodies else { return };
    if item.field.as_deref() != Some(path) {
        return;
    }
    let mut ways = types.iter().map(|of| follow(of, below.rest)).filter(|way| {
        // What is nowhere in one of the types is looked for in the others.
        !matches!(way, Way::Nowhere(_))
    });
    let Some(way) = ways.next().filter(|first| ways.all(|way| way == *first)) else { return };
    match way {
        Way::Scalar(Some(kind)) => warn_of_values(path, kind, item, context),
        Way::Object(of) => {
            let Some((_, span)) = item.values.iter().find(|(operand, _)| is_value(operand)) else {
                return;
            };
            let title = format!("`{path}` is {}, not a value", named(of));
            context.problems.push(
                Diagnostic::warning(code::CANNOT_MATCH, context.place(span), title)
                    .help(format!("name a field in it: {}", some_names(of))),
            );
        }
        _ => {}
    }
}

fn is_value(operand: &Operand) -> bool {
    match operand {
        Operand::Text { .. } => operand.plain_text().is_some(),
        Operand::Number(..) | Operand::Bool(_) | Operand::Compare(..) => true,
        _ => false,
    }
}

fn some_names(of: &str) -> String {
    let names: Vec<&str> = shapes::names(of).collect();
    first_of(&names, NAMES_SHOWN)
}
