//! Which values of an event are extracted: the field paths of a rule set, compiled to a trie.
//!
//! A path is taken apart at its dots in every possible way, because keys of annotations and
//! `user.extra` hold dots themselves: `annotations.authorization.k8s.io/decision` is found under the
//! keys `annotations` → `authorization.k8s.io/decision`. If a document has a path in several ways
//! (`{"a.b": 1, "a": {"b": 2}}`), or a key twice, all of its values count, as with the members of an
//! array: whoever may write part of an event must not be able to hide one value behind another. In a body
//! the API server takes the last value of a key, and knows no key with dots but where people choose keys:
//! values that it does not take are marked, since they must not excuse anything either.
//! Nothing is decided here about what an event is.

mod places;
mod pointer;

use std::borrow::Cow;

use hashbrown::HashMap;

use super::{
    cut,
    order::{USUAL_ORDER, UsualKey},
    scan::{Fault, RawStr, Scanner},
};
use crate::engine::{
    event::{Event, FieldId, FieldTable, Parts, derived::is_derived, well_known},
    kubernetes::{
        fields::CLUSTER,
        resources::PARTS,
        shapes::{is_list, is_open},
        verbs::READING,
    },
    limits,
    text_table::TextTable,
    value::{Value, unescape},
};
use places::{Places, places_of, without_dots};
pub(super) use pointer::{Leads, is_index};

/// Paths that the decoder itself needs, numbered behind those of the [`FieldTable`].
const OWN_PATHS: [&str; 7] = [
    "apiVersion",
    "timestamp",
    "metadata.creationTimestamp",
    CLUSTER,
    cut::MARK,
    "requestObject",
    "responseObject",
];

/// The bodies of request and answer, which people write.
const BODIES: [&str; 2] = ["requestObject", "responseObject"];

/// Behind the name of a body: its node where the request changes something, so that the body says what an
/// object is to be, or has become. Keys of events have no such byte.
const CHANGE: char = '\0';

/// Index of a node. The root is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeId(u32);

impl NodeId {
    /// The document.
    pub(super) const ROOT: NodeId = NodeId(0);
}

/// A dotted prefix of some path.
#[derive(Debug, Default)]
struct Node {
    /// Fields whose path ends here.
    fields: Vec<FieldId>,
    children: TextTable<NodeId>,
    /// How many segments its path has.
    segments: usize,
    /// What is below it has keys of people's own, which may hold dots.
    is_open: bool,
    /// What is at it is a list wherever Kubernetes has a field of its name.
    is_list: bool,
    /// It is of a body of a change.
    is_change: bool,
    /// It says why a request was allowed, which is noted as it is written, too.
    is_reason: bool,
    /// What stands below it in the order in which an API server writes it, and the nodes behind.
    usual: Vec<(UsualKey, Option<NodeId>)>,
}

impl Node {
    /// Adds a value to the fields that end here.
    #[inline]
    fn push<'a>(&self, event: &mut Event<'a>, value: Value<'a>) {
        // One field, nearly always: then nothing is copied.
        if let Some((last, others)) = self.fields.split_last() {
            for field in others {
                event.push(*field, value.clone());
            }
            event.push(*last, value);
        }
    }

    /// Extracts a string whose opening quote stands here.
    #[inline]
    fn string<'a>(&self, scanner: &mut Scanner<'a>, event: &mut Event<'a>) -> Result<(), Fault> {
        self.text(scanner.string()?, event);
        Ok(())
    }

    /// Adds a string to the fields that end here.
    #[inline]
    fn text<'a>(&self, raw: RawStr<'a>, event: &mut Event<'a>) {
        if self.is_reason {
            event.note_reason(raw.text);
        }
        if raw.escaped {
            for field in &self.fields {
                event.push_owned(*field, |text| unescape(raw.text, text));
            }
        } else {
            self.push(event, Value::Str(Cow::Borrowed(raw.text)));
        }
    }
}

/// Where a value is.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Brackets that are open around it.
    depth: usize,
    /// It is of a body, where a key may stand twice to be read in two ways.
    in_body: bool,
}

/// The nodes of a body.
#[derive(Debug)]
struct Body {
    /// If any path leads below it.
    plain: Option<NodeId>,
    /// The same where the request changes something: with what rules ask of the object.
    change: Option<NodeId>,
}

/// Fields to extract, ready to be walked along with a document.
#[derive(Debug)]
pub(super) struct Projection {
    nodes: Vec<Node>,
    bodies: [Body; 2],
    /// The fields that say what an object is to be, or has become.
    object_fields: Vec<FieldId>,
    field_count: usize,
    places: Places,
}

impl Projection {
    /// Cost: nodes × their segments. Paths are cut at [`limits::PATH_SEGMENTS_MAX`] segments: the
    /// rest of a longer one is a single key.
    pub(super) fn new(table: &FieldTable) -> Projection {
        let mut builder = Builder::default();
        builder.node("");
        let mut object_fields = Vec::new();
        for (index, path) in table.paths().iter().enumerate() {
            let Ok(index) = u16::try_from(index) else { break };
            let field = FieldId(index);
            let places = places_of(path);
            if !places.is_empty() {
                object_fields.push(field);
                for place in places {
                    builder.add(&place, field);
                }
            } else if !is_derived(path) {
                builder.add(path, field);
                if let Some(other) = without_dots(path) {
                    builder.add(&other, field);
                }
                for body in BODIES {
                    let below = path.strip_prefix(body);
                    if let Some(rest) =
                        below.filter(|rest| rest.is_empty() || rest.starts_with('.'))
                    {
                        builder.add(&format!("{body}{CHANGE}{rest}"), field);
                    }
                }
            }
        }
        let own = table.len();
        for (offset, path) in OWN_PATHS.iter().enumerate() {
            let Ok(index) = u16::try_from(own + offset) else { continue };
            builder.add(path, FieldId(index));
            if BODIES.contains(path) {
                builder.add(&format!("{path}{CHANGE}"), FieldId(index));
            }
        }
        let bodies = BODIES.map(|body| {
            let change = builder.find(&format!("{body}{CHANGE}"));
            // Its key must be found before it is known which of the two is meant.
            let plain = change.and_then(|_| builder.link(body));
            Body { plain, change }
        });
        let field_count = own + OWN_PATHS.len();
        let places = Places::new(table, |path| builder.find(path));
        let mut nodes = builder.finish();
        for node in &mut nodes {
            node.is_reason =
                node.fields.iter().any(|field| table.path(*field) == Parts::REASON_PATH);
        }
        Projection { nodes, bodies, object_fields, field_count, places }
    }

    /// How many fields an [`Event`] of this projection has room for.
    pub(super) const fn field_count(&self) -> usize {
        self.field_count
    }

    fn own(&self, offset: usize) -> FieldId {
        let index = self.field_count - OWN_PATHS.len() + offset;
        FieldId(u16::try_from(index).unwrap_or(u16::MAX))
    }

    /// `apiVersion`.
    pub(super) fn api_version(&self) -> FieldId {
        self.own(0)
    }

    /// Times of events older than `audit.k8s.io/v1`.
    pub(super) fn legacy_times(&self) -> [FieldId; 2] {
        [self.own(1), self.own(2)]
    }

    /// A field `cluster` beside those of the event, added by a shipper.
    pub(super) fn cluster(&self) -> FieldId {
        self.own(3)
    }

    /// The mark of an event that was cut.
    pub(super) fn cut(&self) -> FieldId {
        self.own(4)
    }

    /// The bodies of request and answer.
    pub(super) fn bodies(&self) -> [FieldId; 2] {
        [self.own(5), self.own(6)]
    }

    /// What a straight line comes by.
    #[inline]
    pub(super) const fn places(&self) -> &Places {
        &self.places
    }

    /// Whether a value of one node is a value of a field of another, too.
    pub(super) fn shares(&self, one: NodeId, other: NodeId) -> bool {
        let fields = |id| self.node(id).map_or(&[][..], |node| &node.fields);
        fields(one).iter().any(|field| fields(other).contains(field))
    }

    /// The nodes of the bodies of request and answer.
    pub(super) fn body_nodes(&self) -> [Option<NodeId>; 2] {
        self.bodies.each_ref().map(|body| body.plain)
    }

    #[inline]
    fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0 as usize)
    }

    /// The node below `parent` for a key.
    #[inline]
    pub(super) fn child(&self, parent: NodeId, key: RawStr<'_>) -> Option<NodeId> {
        let children = &self.node(parent)?.children;
        if !key.escaped {
            return children.get(key.text.as_bytes()).copied();
        }
        let mut plain = String::new();
        unescape(key.text, &mut plain);
        children.get(plain.as_bytes()).copied()
    }

    /// Reads the key that stands here, if it is one that usually comes after the one before, of which
    /// `next` keeps the place; the node behind it. `None`: read it as any key.
    #[expect(clippy::option_option, reason = "no usual key, or one that nothing is needed below")]
    #[inline]
    pub(super) fn usual_key(
        &self,
        parent: NodeId,
        next: &mut usize,
        scanner: &mut Scanner<'_>,
    ) -> Option<Option<NodeId>> {
        let usual = &self.node(parent)?.usual;
        let words = scanner.words()?;
        for (index, (key, child)) in usual.iter().enumerate().skip(*next) {
            if key.read(&words, scanner) {
                *next = index + 1;
                return Some(*child);
            }
        }
        None
    }

    /// Extracts one value: adds it, or what lies below it, to the fields of `node`.
    ///
    /// Recursion is bounded by the depth of nodes, which is [`limits::PATH_SEGMENTS_MAX`]: each object that
    /// is entered is further down a path, and arrays within arrays are no recursion.
    #[inline]
    pub(super) fn value<'a>(
        &self,
        scanner: &mut Scanner<'a>,
        event: &mut Event<'a>,
        id: NodeId,
        depth: usize,
    ) -> Result<(), Fault> {
        let id = match self.bodies.iter().find(|body| body.plain == Some(id)) {
            Some(Body { change: Some(change), .. }) if may_change(event) => {
                event.is_object_assumed |=
                    !event.has(well_known::VERB) || !event.has(well_known::RESOURCE);
                *change
            }
            _ => {
                // A shipper wrote all of the path into one key.
                event.is_object_assumed |= self.node(id).is_some_and(|node| node.is_change);
                id
            }
        };
        self.value_at(scanner, event, id, Place { depth, in_body: false })
    }

    /// Forgets what was taken for an object that is changed, if the verb came later and says otherwise.
    #[inline]
    pub(super) fn settle(&self, event: &mut Event<'_>) {
        if event.is_object_assumed && !may_change(event) {
            for field in &self.object_fields {
                event.unset(*field);
            }
        }
    }

    /// The node of the object that a request changes, if its body has this node.
    #[inline]
    pub(super) fn changed_by(&self, id: NodeId, event: &Event<'_>) -> Option<NodeId> {
        let [request, _] = &self.bodies;
        if request.plain == Some(id) && may_change(event) { request.change } else { None }
    }

    /// Extracts a value that is put somewhere into a body, and was checked.
    pub(super) fn put<'a>(&self, text: &'a str, event: &mut Event<'a>, id: NodeId) {
        let place = Place { depth: 1, in_body: true };
        let checked = self.value_at(&mut Scanner::new(text), event, id, place);
        debug_assert!(checked.is_ok(), "the whole was checked");
    }

    /// Extracts a value below the root that is of no body, as [`Projection::value`] does one at the root.
    #[inline]
    pub(super) fn value_below<'a>(
        &self,
        scanner: &mut Scanner<'a>,
        event: &mut Event<'a>,
        id: NodeId,
        depth: usize,
    ) -> Result<(), Fault> {
        self.value_at(scanner, event, id, Place { depth, in_body: false })
    }

    /// Extracts a string that was read.
    #[inline]
    pub(super) fn put_text<'a>(&self, text: RawStr<'a>, event: &mut Event<'a>, id: NodeId) {
        if let Some(node) = self.node(id) {
            node.text(text, event);
        }
    }

    /// Extracts a value of the event itself that was passed over, and was checked.
    pub(super) fn put_own<'a>(&self, scanner: &mut Scanner<'a>, event: &mut Event<'a>, id: NodeId) {
        let checked = self.value(scanner, event, id, 1);
        debug_assert!(checked.is_ok(), "the whole was checked");
    }

    /// Says that an element of the list of this node begins.
    pub(super) fn begin_element(&self, event: &mut Event<'_>, id: NodeId) {
        for field in self.node(id).map_or(&[][..], |node| &node.fields) {
            event.push(*field, Value::Composite);
        }
    }

    #[inline]
    fn value_at<'a>(
        &self,
        scanner: &mut Scanner<'a>,
        event: &mut Event<'a>,
        id: NodeId,
        place: Place,
    ) -> Result<(), Fault> {
        let Some(node) = self.node(id) else { return scanner.skip_value(place.depth) };
        match scanner.token() {
            // Most values are strings, and need little of what the others do.
            b'"' => node.string(scanner, event),
            byte => self.other_value(byte, scanner, event, (id, node), place),
        }
    }

    /// Extracts a value, of which the first byte stands here, that is no string.
    fn other_value<'a>(
        &self,
        byte: u8,
        scanner: &mut Scanner<'a>,
        event: &mut Event<'a>,
        (id, node): (NodeId, &Node),
        place: Place,
    ) -> Result<(), Fault> {
        let depth = place.depth;
        let value = match byte {
            b'{' => {
                for field in &node.fields {
                    event.push(*field, Value::Composite);
                }
                if node.children.is_empty() {
                    return scanner.skip_value(depth);
                }
                scanner.open_bracket(depth);
                return self.object(scanner, event, id, self.inside(id, place));
            }
            b'[' => {
                scanner.open_bracket(depth);
                return self.array(scanner, event, id, self.inside(id, place));
            }
            b'-' | b'0'..=b'9' => {
                let number = scanner.number()?;
                let integer = if number.integer { number.text.parse().ok() } else { None };
                match integer {
                    Some(integer) => Value::Int(integer),
                    None => Value::Float(number.text.parse().unwrap_or(f64::INFINITY)),
                }
            }
            b't' => {
                scanner.word("true")?;
                Value::Bool(true)
            }
            b'f' => {
                scanner.word("false")?;
                Value::Bool(false)
            }
            b'n' => {
                scanner.word("null")?;
                Value::Null
            }
            _ => return Err(scanner.fault(Fault::Token)),
        };
        node.push(event, value);
        Ok(())
    }

    /// The place of what is inside of a value.
    #[inline]
    fn inside(&self, id: NodeId, place: Place) -> Place {
        let mut bodies = self.bodies.iter();
        let is_body = |body: &Body| body.plain == Some(id) || body.change == Some(id);
        let in_body = place.in_body || bodies.any(is_body);
        Place { depth: place.depth + 1, in_body }
    }

    /// Whether a key of a body that leads from one node to another holds dots where no object of Kubernetes
    /// has such keys.
    #[inline]
    fn is_unknown_key(&self, parent: NodeId, child: NodeId) -> bool {
        let (Some(parent), Some(child)) = (self.node(parent), self.node(child)) else {
            return false;
        };
        child.segments > parent.segments + 1 && !parent.is_open
    }

    /// The rest of an object whose `{` was read.
    fn object<'a>(
        &self,
        scanner: &mut Scanner<'a>,
        event: &mut Event<'a>,
        node: NodeId,
        place: Place,
    ) -> Result<(), Fault> {
        let mut more = scanner.token() != b'}';
        let mut next = 0;
        let keys = event.key_count();
        while more {
            let child = match self.usual_key(node, &mut next, scanner) {
                Some(child) => child,
                None => self.child(node, scanner.key()?),
            };
            match child {
                Some(child) => {
                    let mark = event.mark();
                    self.value_at(scanner, event, child, place)?;
                    if place.in_body {
                        event.note_key(keys, child.0, mark);
                        if self.is_unknown_key(node, child) {
                            event.disregard(mark);
                        }
                    }
                }
                None => scanner.skip_value(place.depth)?,
            }
            more = next_member(scanner)?;
        }
        event.forget_keys(keys);
        scanner.bump();
        Ok(())
    }

    /// The rest of an array whose `[` was read. Its members, and those of arrays within it, belong to the
    /// same node: any-member meaning. An empty one exists and equals nothing.
    fn array<'a>(
        &self,
        scanner: &mut Scanner<'a>,
        event: &mut Event<'a>,
        node: NodeId,
        mut place: Place,
    ) -> Result<(), Fault> {
        let outermost = place.depth;
        let mut is_empty = true;
        loop {
            match scanner.token() {
                b'[' => {
                    scanner.open_bracket(place.depth);
                    place.depth += 1;
                    is_empty = true;
                    continue;
                }
                b']' if is_empty => {
                    for field in self.node(node).map_or(&[][..], |node| &node.fields) {
                        event.push(*field, Value::Composite);
                    }
                }
                _ => self.value_at(scanner, event, node, place)?,
            }
            is_empty = false;
            while !next_item(scanner)? {
                scanner.bump();
                if place.depth == outermost {
                    return Ok(());
                }
                place.depth -= 1;
            }
        }
    }
}

/// Whether the request of an event, as far as it is known, changes the object that its bodies are.
fn may_change(event: &Event<'_>) -> bool {
    let text = |field| event.first_str(field).unwrap_or("");
    !READING.contains(&text(well_known::VERB)) && !PARTS.contains(&text(well_known::SUBRESOURCE))
}

/// After a member of an object: moves to the next key and says true, or peeks at `}`.
#[inline]
pub(super) fn next_member(scanner: &mut Scanner<'_>) -> Result<bool, Fault> {
    match scanner.token() {
        b',' => {
            scanner.bump();
            scanner.token();
            Ok(true)
        }
        b'}' => Ok(false),
        _ => Err(scanner.fault(Fault::Token)),
    }
}

/// After a member of an array: moves to the next and says true, or peeks at `]`.
#[inline]
pub(super) fn next_item(scanner: &mut Scanner<'_>) -> Result<bool, Fault> {
    match scanner.token() {
        b',' => {
            scanner.bump();
            Ok(true)
        }
        b']' => Ok(false),
        _ => Err(scanner.fault(Fault::Token)),
    }
}

/// Nodes by their dotted prefix: two paths share a node as long as they agree.
#[derive(Default)]
struct Builder {
    by_prefix: HashMap<String, usize>,
    /// The fields that end at each node, and its children by key.
    nodes: Vec<(Vec<FieldId>, Keys)>,
}

type Keys = Vec<(Box<[u8]>, NodeId)>;

impl Builder {
    fn node(&mut self, prefix: &str) -> usize {
        if let Some(index) = self.by_prefix.get(prefix) {
            return *index;
        }
        let index = self.nodes.len();
        self.nodes.push((Vec::new(), Vec::new()));
        self.by_prefix.insert(prefix.to_owned(), index);
        index
    }

    /// The node of a prefix, if any path has it.
    fn find(&self, prefix: &str) -> Option<NodeId> {
        self.by_prefix.get(prefix).and_then(|index| u32::try_from(*index).ok()).map(NodeId)
    }

    fn add(&mut self, path: &str, field: FieldId) {
        if let Some(node) = self.link(path)
            && let Some((fields, _)) = self.nodes.get_mut(node.0 as usize)
        {
            fields.push(field);
        }
    }

    /// The node of a path, with a way to it from the root.
    fn link(&mut self, path: &str) -> Option<NodeId> {
        let mut ends: Vec<usize> =
            path.match_indices('.').map(|(at, _)| at).take(limits::PATH_SEGMENTS_MAX - 1).collect();
        ends.push(path.len());
        // Node `i` stands before segment `i`; the last one holds the field.
        let starts: Vec<usize> = std::iter::once(0).chain(ends.iter().map(|end| end + 1)).collect();
        let nodes: Vec<usize> = std::iter::once("")
            .chain(ends.iter().map(|end| path.get(..*end).unwrap_or(path)))
            .map(|prefix| self.node(prefix))
            .collect();
        for (from, start) in starts.iter().enumerate().take(ends.len()) {
            for (end, target) in ends.iter().zip(nodes.iter().skip(1)).skip(from) {
                let Some(key) = path.get(*start..*end) else { continue };
                let (Some(parent), Ok(target)) = (nodes.get(from), u32::try_from(*target)) else {
                    continue;
                };
                let Some((_, children)) = self.nodes.get_mut(*parent) else { continue };
                let known = |children: &Keys, key: &str| {
                    children.iter().position(|(known, _)| **known == *key.as_bytes())
                };
                if known(children, key).is_none() {
                    children.push((key.as_bytes().into(), NodeId(target)));
                }
                // Where a shipper writes a whole path into one key, it is not known which of the two nodes is
                // meant; that of a change has the fields of both.
                if *parent == 0 && key.contains(CHANGE) && key.contains('.') {
                    let key = key.replace(CHANGE, "");
                    let entry = (key.as_bytes().into(), NodeId(target));
                    match known(children, &key).and_then(|at| children.get_mut(at)) {
                        Some(plain) => *plain = entry,
                        None => children.push(entry),
                    }
                }
            }
        }
        nodes.last().and_then(|last| u32::try_from(*last).ok()).map(NodeId)
    }

    fn finish(self) -> Vec<Node> {
        let prefixes: Vec<(&String, &usize)> = self.by_prefix.iter().collect();
        let mut ways = vec![(0, false, false, false); self.nodes.len()];
        for (prefix, index) in prefixes {
            if let Some(way) = ways.get_mut(*index) {
                let segments = prefix.split('.').filter(|segment| !segment.is_empty());
                let count = segments.clone().count();
                let is_list = segments.clone().next_back().is_some_and(is_list);
                *way = (count, segments.into_iter().any(is_open), is_list, prefix.contains(CHANGE));
            }
        }
        let usual = USUAL_ORDER.map(|(path, keys)| (self.by_prefix.get(path).copied(), keys));
        let mut nodes: Vec<Node> = self
            .nodes
            .into_iter()
            .zip(ways)
            .map(|((fields, children), (segments, is_open, is_list, is_change))| Node {
                fields,
                children: TextTable::new(children),
                segments,
                is_open,
                is_list,
                is_change,
                is_reason: false,
                usual: Vec::new(),
            })
            .collect();
        for (index, keys) in usual {
            if let Some(node) = index.and_then(|index| nodes.get_mut(index)) {
                let children = &node.children;
                let with_node =
                    |key: &&str| (UsualKey::new(key), children.get(key.as_bytes()).copied());
                node.usual = keys.iter().map(with_node).collect();
            }
        }
        nodes
    }
}
