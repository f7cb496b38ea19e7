//! JSON Patch (RFC 6902): a body that says step by step what is to become of an object. Each step's value
//! is read as if it stood where the step puts it.
//!
//! What stands in the object already is not known here; the answer says it, where it is recorded. A step that
//! puts it, or may put something, where rules look is one of which values were left out.

use std::borrow::Cow;

use super::{
    json::Json,
    projection::{Leads, NodeId, Projection, is_index},
};
use crate::engine::{event::Event, limits, value::unescape};

/// One step.
#[derive(Debug, Default)]
struct Step<'a> {
    op: Cow<'a, str>,
    path: Cow<'a, str>,
    from: Cow<'a, str>,
    value: Option<Json<'a>>,
}

/// What may still be looked at of steps that copy; with nothing left the rest is left out.
#[derive(Debug)]
struct Room {
    steps: usize,
    bytes: usize,
    /// Steps that copy from one another.
    chain: usize,
}

impl Room {
    fn new() -> Room {
        Room {
            steps: limits::PATCH_COPIES_MAX,
            bytes: limits::PATCH_COPIED_BYTES_MAX,
            chain: limits::PATCH_CHAIN_MAX,
        }
    }

    /// Uses a part of it; false if there is not so much.
    fn has(&mut self, steps: usize, bytes: usize) -> bool {
        match (self.steps.checked_sub(steps), self.bytes.checked_sub(bytes)) {
            (Some(steps), Some(bytes)) => (self.steps, self.bytes) = (steps, bytes),
            _ => self.steps = 0,
        }
        self.steps > 0
    }
}

/// A value, and the JSON Pointer of where it is put.
type Put<'a, 'p> = (Cow<'p, str>, Json<'a>);

/// Extracts what the steps of a patch put into an object. `text` is the array of steps, already checked;
/// `root` the node of the object. Cost: the patch twice, and for steps that copy, at most
/// [`limits::PATCH_COPIES_MAX`] steps and [`limits::PATCH_COPIED_BYTES_MAX`].
pub(super) fn extract<'a>(
    projection: &Projection,
    text: &'a str,
    event: &mut Event<'a>,
    root: NodeId,
) {
    let steps: Vec<Step<'a>> = Json::new(text).items().map(Step::new).collect();
    let mut puts: Vec<Put<'a, '_>> = Vec::with_capacity(steps.len());
    let mut room = Room::new();
    let mut is_unseen = false;
    for (index, step) in steps.iter().enumerate() {
        match &*step.op {
            "remove" | "test" => {}
            "copy" | "move" => {
                let before = steps.get(..index).unwrap_or_default();
                let is_known = copies(before, &step.from, &step.path, &mut room, &mut puts);
                is_unseen |= !is_known && walk(projection, root, &step.path) != Way::Elsewhere;
            }
            _ => puts.extend(step.value.map(|value| (Cow::Borrowed(&*step.path), value))),
        }
    }
    let mut parts_left = limits::PATCH_PARTS_MAX;
    // What is put into elements that are there already comes last, as one element: nobody knows which of
    // them are the same.
    let mut begun: Vec<NodeId> = Vec::new();
    for inside in [false, true] {
        for (pointer, value) in &puts {
            let (node, through) = match walk(projection, root, pointer) {
                Way::Asked(node, through) => (node, through),
                Way::Unclear => {
                    is_unseen = true;
                    continue;
                }
                Way::Elsewhere => continue,
            };
            if through.is_empty() == inside {
                continue;
            }
            if inside && let Some(left) = parts_left.checked_sub(1) {
                parts_left = left;
            }
            for list in through {
                if !begun.contains(&list) {
                    begun.push(list);
                    projection.begin_element(event, list);
                }
            }
            projection.put(value.raw(), event, node);
        }
    }
    if is_unseen || room.steps == 0 || parts_left == 0 {
        event.values_dropped = event.values_dropped.saturating_add(1);
    }
}

/// Where a pointer leads.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// To something that rules ask for, or that holds it, on through elements of these lists.
    Asked(NodeId, Vec<NodeId>),
    /// Below a list by something that is no index.
    Unclear,
    /// To what no rule asks for.
    Elsewhere,
}

fn walk(projection: &Projection, root: NodeId, pointer: &str) -> Way {
    let (mut node, mut through) = (root, Vec::new());
    let mut in_element = false;
    let mut segments = segments(pointer).peekable();
    while let Some(segment) = segments.next() {
        match projection.step(node, &plain(segment)) {
            Leads::ToKey(child) => (node, in_element) = (child, false),
            Leads::ToElement => {
                in_element = true;
                if segments.peek().is_some() {
                    through.push(node);
                }
            }
            Leads::BelowList if !in_element => return Way::Unclear,
            Leads::BelowList | Leads::Nowhere => return Way::Elsewhere,
        }
    }
    Way::Asked(node, through)
}

/// The segments of a pointer. The empty pointer has none: it is the whole object.
fn segments(pointer: &str) -> impl Iterator<Item = &str> {
    pointer.split('/').skip(1)
}

/// A segment without its escapes.
fn plain(segment: &str) -> Cow<'_, str> {
    if segment.contains('~') {
        Cow::Owned(segment.replace("~1", "/").replace("~0", "~"))
    } else {
        Cow::Borrowed(segment)
    }
}

/// What lies behind `start`, if `pointer` leads there or below it: as a pointer of its own. Two places of
/// elements may be the same one.
fn behind<'p>(pointer: &'p str, start: &str) -> Option<&'p str> {
    let mut rest = pointer;
    for known in segments(start) {
        let (_, after) = rest.split_once('/')?;
        let end = after.find('/').unwrap_or(after.len());
        let (segment, tail) = after.split_at(end);
        let is_same = plain(segment) == plain(known) || is_index(segment) && is_index(known);
        if !is_same {
            return None;
        }
        rest = tail;
    }
    Some(rest)
}

/// Adds the values that steps before have put where one copies from, and tells whether that is all that
/// stands there; where the room ends, it says so itself. Recursion is bounded by [`limits::PATCH_CHAIN_MAX`].
fn copies<'a, 'p>(
    before: &'p [Step<'a>],
    from: &str,
    to: &str,
    room: &mut Room,
    puts: &mut Vec<Put<'a, 'p>>,
) -> bool {
    if from.len() > limits::POINTER_BYTES_MAX || to.len() > limits::POINTER_BYTES_MAX {
        room.steps = 0;
    }
    let (mut is_put, mut is_known) = (false, true);
    for (index, step) in before.iter().enumerate().rev() {
        if !room.has(1, 0) {
            return true;
        }
        let below = behind(from, &step.path);
        let above = behind(&step.path, from);
        let source = match (&*step.op, below, above) {
            ("copy" | "move", Some(rest), _) => {
                Some((format!("{}{rest}", step.from), to.to_owned()))
            }
            ("copy" | "move", None, Some(rest)) => {
                Some((step.from.to_string(), format!("{to}{rest}")))
            }
            _ => None,
        };
        if let Some((from, to)) = source {
            let Some(chain) = room.chain.checked_sub(1) else {
                room.steps = 0;
                return true;
            };
            room.chain = chain;
            is_known &= copies(before.get(..index).unwrap_or_default(), &from, &to, room, puts);
            room.chain += 1;
            is_put |= below.is_some() && !has_index(&step.path);
            continue;
        }
        let Some(value) = step.value.filter(|_| step.op != "test") else { continue };
        if (below.is_some() || above.is_some()) && !room.has(0, value.raw().len()) {
            return true;
        }
        if let Some(rest) = below {
            is_put |= !has_index(&step.path);
            let mut found = Vec::new();
            descend(value, rest, &mut found);
            puts.extend(found.into_iter().map(|value| (Cow::Owned(to.to_owned()), value)));
        } else if let Some(rest) = above {
            puts.push((Cow::Owned(format!("{to}{rest}")), value));
        }
    }
    is_put && is_known
}

/// Whether a pointer leads through an element, of which nobody knows which one it is.
fn has_index(pointer: &str) -> bool {
    segments(pointer).any(is_index)
}

/// Adds the values within another that a pointer leads to, of a list any element. Recursion is bounded by
/// the segments of the pointer; one of more segments than a path may have leads nowhere.
fn descend<'a>(json: Json<'a>, pointer: &str, found: &mut Vec<Json<'a>>) {
    let Some(segment) = segments(pointer).next().map(plain) else {
        found.push(json);
        return;
    };
    if segments(pointer).count() > limits::PATH_SEGMENTS_MAX {
        return;
    }
    let behind = pointer.get(1..).and_then(|rest| rest.find('/').and_then(|at| rest.get(at..)));
    let behind = behind.unwrap_or("");
    for (_, value) in json.members().filter(|(key, _)| unescaped(key) == segment) {
        descend(value, behind, found);
    }
    if is_index(&segment) {
        json.items().for_each(|item| descend(item, behind, found));
    }
}

impl<'a> Step<'a> {
    fn new(json: Json<'a>) -> Step<'a> {
        let text = |json: Json<'a>| json.text().unwrap_or_default();
        let mut step = Step::default();
        // The API server takes the last of equal keys.
        for (key, value) in json.members() {
            match &*unescaped(key) {
                "op" => step.op = text(value),
                "path" => step.path = text(value),
                "from" => step.from = text(value),
                "value" => step.value = Some(value),
                _ => {}
            }
        }
        step
    }
}

fn unescaped(key: &str) -> Cow<'_, str> {
    if !key.contains('\\') {
        return Cow::Borrowed(key);
    }
    let mut text = String::new();
    unescape(key, &mut text);
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_compared_by_their_segments() {
        for (pointer, start, rest) in [
            ("/a/b", "", Some("/a/b")),
            ("/a/b", "/a", Some("/b")),
            ("/a/b", "/a/b", Some("")),
            ("/ab", "/a", None),
            ("/a", "/a/b", None),
            ("/a/0/c", "/a/-", Some("/c")),
            ("/a~1b/c", "/a~1b", Some("/c")),
            ("/a/-1/c", "/a/+0", Some("/c")),
            ("/a/-x/c", "/a/0", None),
        ] {
            assert_eq!(behind(pointer, start), rest, "{pointer} behind {start}");
        }
    }

    #[test]
    fn what_is_copied_is_found_where_it_was_put() {
        let text = r#"[{"op":"add","path":"/x","value":{"a":[{"b":true}]}},
            {"op":"move","from":"/x","path":"/y"},
            {"op":"copy","path":"/to","from":"/y/a/0/b"}]"#;
        let steps: Vec<Step<'_>> = Json::new(text).items().map(Step::new).collect();
        let room = |steps, bytes| Room { steps, bytes, chain: 10 };
        let (mut puts, mut enough) = (Vec::new(), room(100, 100));
        copies(&steps[..2], &steps[2].from, &steps[2].path, &mut enough, &mut puts);
        let found: Vec<_> = puts.iter().map(|(to, value)| (&**to, value.raw())).collect();
        assert_eq!(found, [("/to", "true")]);
        puts.clear();
        for mut little in [room(1, 100), room(100, 10)] {
            copies(&steps[..2], &steps[2].from, &steps[2].path, &mut little, &mut puts);
            assert_eq!((little.steps, puts.len()), (0, 0));
        }
    }
}
