//! YAML as a tree that knows where each key and value stands in its file.
//!
//! Both rule files and the configuration are read through this module, so that every mistake can
//! be shown with file, line and column. It is the only module that names the YAML library.
//! Duplicate keys, tabs in indentation and alias bombs are errors; plain `no` is a string and only
//! `true` and `false` are booleans (YAML 1.2 core schema).

mod mistake;
mod older;
mod section;
mod write;

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

use super::diagnostic::{Diagnostic, Place, Problems, SourceText, code};
use super::limits;

pub(in crate::engine) use older::other_reading;
pub use section::{CONFIG_CODES, SecretRef, Section, SectionCodes};
pub(in crate::engine) use write::scalar;

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Where it stands, in bytes. For collections this is where they begin.
    pub span: Range<usize>,
}

/// The six kinds of YAML values that we read.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer that fits.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Str(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file. Keys are unique.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its text; scalars other than strings are taken as they are written.
    pub text: String,
    /// Where it stands, in bytes.
    pub span: Range<usize>,
}

impl Node {
    /// The same as JSON, without places.
    pub fn json(&self) -> Value {
        match &self.kind {
            NodeKind::Null => Value::Null,
            NodeKind::Bool(value) => Value::Bool(*value),
            NodeKind::Int(value) => Value::from(*value),
            NodeKind::Float(value) => Value::from(*value),
            NodeKind::Str(text) => Value::String(text.clone()),
            NodeKind::List(items) => items.iter().map(Node::json).collect(),
            NodeKind::Map(entries) => {
                entries.iter().map(|(key, value)| (key.text.clone(), value.json())).collect()
            }
        }
    }

    /// What people call this kind of value, with its article.
    pub const fn kind_name(&self) -> &'static str {
        match &self.kind {
            NodeKind::Null => "nothing",
            NodeKind::Bool(_) => "a boolean",
            NodeKind::Int(_) => "an integer",
            NodeKind::Float(_) => "a number",
            NodeKind::Str(_) => "text",
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a mapping",
        }
    }

    /// The entries, if this is a mapping.
    pub fn as_map(&self) -> Option<&[(Key, Node)]> {
        match &self.kind {
            NodeKind::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items, if this is a list.
    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.kind {
            NodeKind::List(items) => Some(items),
            _ => None,
        }
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a key, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.iter().find(|(known, _)| known.text == key).map(|(_, value)| value)
    }

    /// A scalar as it would be written: numbers and booleans too. `None` for collections and null.
    pub fn scalar_text(&self) -> Option<String> {
        match &self.kind {
            NodeKind::Bool(value) => Some(value.to_string()),
            NodeKind::Int(value) => Some(value.to_string()),
            NodeKind::Float(value) => Some(value.to_string()),
            NodeKind::Str(text) => Some(text.clone()),
            NodeKind::Null | NodeKind::List(_) | NodeKind::Map(_) => None,
        }
    }
}

/// Parses all documents of a file. Empty documents are left out.
///
/// # Errors
/// The first thing that is not YAML, or that passes a bound (size, depth, nodes, alias expansion),
/// as a diagnostic with its place.
pub fn parse(source: &Arc<SourceText>) -> Result<Vec<Node>, Box<Diagnostic>> {
    parse_bounded(source, limits::YAML_FILE_BYTES_MAX)
}

/// [`parse`] for files with a bound of their own on their bytes.
///
/// # Errors
/// Like [`parse`].
pub fn parse_bounded(
    source: &Arc<SourceText>,
    bytes_max: usize,
) -> Result<Vec<Node>, Box<Diagnostic>> {
    within(source, bytes_max)?;
    read(source, DuplicateKeyPolicy::Error)
        .map_err(|error| Box::new(mistake::not_yaml(source, &error)))
}

/// [`parse`] for whoever looks for all mistakes at once: of a key that stands in a mapping twice the first one
/// is taken, and each further one is reported. Anything else that is no YAML is all that is said of a file.
pub(in crate::engine) fn parse_all(source: &Arc<SourceText>, problems: &Problems) -> Vec<Node> {
    let strict = match parse(source) {
        Ok(nodes) => return nodes,
        Err(problem) => problem,
    };
    let mut nodes = within(source, limits::YAML_FILE_BYTES_MAX)
        .ok()
        .and_then(|()| read(source, DuplicateKeyPolicy::PassThrough).ok())
        .unwrap_or_default();
    let mut repeats = Vec::new();
    for node in &mut nodes {
        take_repeats(node, &mut repeats);
    }
    if repeats.is_empty() {
        problems.push(*strict);
        return Vec::new();
    }
    for key in repeats {
        let place = Place { source: Arc::clone(source), span: key.span };
        problems.push(mistake::repeated(place, &key.text));
    }
    nodes
}

/// Takes keys out of mappings that have them already.
fn take_repeats(node: &mut Node, repeats: &mut Vec<Key>) {
    match &mut node.kind {
        NodeKind::Map(entries) => {
            let mut known = BTreeSet::new();
            entries.retain(|(key, _)| {
                let is_new = known.insert(key.text.clone());
                if !is_new {
                    repeats.push(key.clone());
                }
                is_new
            });
            for (_, value) in entries {
                take_repeats(value, repeats);
            }
        }
        NodeKind::List(items) => items.iter_mut().for_each(|item| take_repeats(item, repeats)),
        _ => {}
    }
}

/// Refuses a file that is too long.
fn within(source: &Arc<SourceText>, bytes_max: usize) -> Result<(), Box<Diagnostic>> {
    if source.text.len() > bytes_max {
        let place = Place { source: Arc::clone(source), span: 0..0 };
        let length = source.text.len();
        let title = format!("the file has {length} bytes; at most {bytes_max} are read");
        return Err(Box::new(Diagnostic::error(code::FILE_TOO_LARGE, place, title)));
    }
    Ok(())
}

fn read(
    source: &SourceText,
    duplicate_keys: DuplicateKeyPolicy,
) -> Result<Vec<Node>, serde_saphyr::Error> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        duplicate_keys: duplicate_keys,
        leading_zero_numbers_as_strings: true,
        with_snippet: false,
        // Comments mean nothing to us, and the library refuses more than 32 in a row otherwise.
        emit_comments: false,
        budget: serde_saphyr::budget! {
            max_documents: limits::RULES_MAX,
            max_nodes: limits::YAML_NODES_MAX,
            // Each node is one event or two, each document two more.
            max_events: 3 * limits::YAML_NODES_MAX,
        },
    };
    let nodes: Vec<Node> = serde_saphyr::from_multiple_with_options(&source.text, options)?;
    Ok(nodes.into_iter().filter(|node| node.kind != NodeKind::Null).collect())
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        let spanned = Spanned::<NodeKind>::deserialize(deserializer)?;
        Ok(Node { span: span_of(spanned.referenced), kind: spanned.value })
    }
}

fn span_of(location: serde_saphyr::Location) -> Range<usize> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset().unwrap_or(0)).unwrap_or(0);
    let length = usize::try_from(span.byte_len().unwrap_or(0)).unwrap_or(0);
    start..start + length
}

impl<'de> Deserialize<'de> for NodeKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NodeKind, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = NodeKind;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<NodeKind, E> {
        Ok(NodeKind::Null)
    }

    fn visit_none<E>(self) -> Result<NodeKind, E> {
        Ok(NodeKind::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<NodeKind, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }

    fn visit_bool<E>(self, value: bool) -> Result<NodeKind, E> {
        Ok(NodeKind::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<NodeKind, E> {
        Ok(NodeKind::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<NodeKind, E> {
        #[expect(clippy::cast_precision_loss, reason = "numbers past i64 keep their size only")]
        Ok(i64::try_from(value).map_or(NodeKind::Float(value as f64), NodeKind::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<NodeKind, E> {
        Ok(NodeKind::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<NodeKind, E> {
        Ok(NodeKind::Str(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<NodeKind, E> {
        Ok(NodeKind::Str(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<NodeKind, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Node>()? {
            items.push(item);
        }
        Ok(NodeKind::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NodeKind, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let key = Key { text: key.value, span: span_of(key.referenced) };
            entries.push((key, map.next_value::<Node>()?));
        }
        Ok(NodeKind::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_one(text: &str) -> Node {
        parse(&SourceText::new("t.yaml", text)).unwrap().remove(0)
    }

    #[test]
    fn places_are_those_of_the_file() {
        let text = "a: 1\n---\nb:\n  - x: é\n    y: no\n  - 0755\n";
        let nodes = parse(&SourceText::new("t.yaml", text)).unwrap();
        assert_eq!(nodes.len(), 2);
        let list = nodes[1].get("b").unwrap().as_list().unwrap();
        let y = list[0].get("y").unwrap();
        assert_eq!(y.kind, NodeKind::Str("no".to_owned()));
        assert_eq!(&text[y.span.clone()], "no");
        let (key, value) = &list[0].as_map().unwrap()[0];
        assert_eq!((&text[key.span.clone()], &text[value.span.clone()]), ("x", "é"));
        assert_eq!(list[1].kind, NodeKind::Str("0755".to_owned()));
    }

    #[test]
    fn scalars_have_their_kinds() {
        let node = parse_one("[null, ~, true, 3, -1, 2.5, '3', 9223372036854775808, 1e3]");
        let kinds: Vec<_> = node.as_list().unwrap().iter().map(Node::kind_name).collect();
        assert_eq!(
            kinds,
            [
                "nothing",
                "nothing",
                "a boolean",
                "an integer",
                "an integer",
                "a number",
                "text",
                "a number",
                "a number"
            ]
        );
    }

    #[test]
    fn mistakes_have_a_place() {
        for (text, at) in [("a: 1\na: 2\n", "2:1"), ("a: [1\nb: 2\n", "2:"), ("a:\n\t- 1\n", "2:")]
        {
            let diagnostic = parse(&SourceText::new("t.yaml", text)).unwrap_err();
            let line = diagnostic.one_line();
            assert!(line.starts_with(&format!("t.yaml:{at}")), "{line}");
        }
    }

    #[test]
    fn of_keys_that_stand_twice_all_is_said_and_the_first_is_taken() {
        let text = "a: 1\na: 2\nb: [{c: 1, d: 2, c: 3}]\n---\na: 4\na: 5\n";
        let (source, problems) = (SourceText::new("t.yaml", text), Problems::new());
        let nodes = parse_all(&source, &problems);
        assert_eq!(nodes.len(), 2);
        assert_eq!(nodes[0].get("a").unwrap().kind, NodeKind::Int(1));
        let lines: Vec<String> = problems.into_sorted().iter().map(Diagnostic::one_line).collect();
        let said = |at: &str, key: &str| {
            format!("t.yaml:{at}: error[Y001]: the key `{key}` is here a second time")
        };
        assert_eq!(lines, [said("2:1", "a"), said("3:18", "c"), said("6:1", "a")]);
        let problems = Problems::new();
        assert_eq!(parse_all(&SourceText::new("t.yaml", "a: 1\na: [\n"), &problems), []);
        assert_eq!(problems.into_sorted().len(), 1);
    }

    #[test]
    fn a_long_block_of_comments_is_no_mistake() {
        let text = format!("a:\n{}  b: 1\n", "  # why\n".repeat(1_000));
        assert_eq!(
            parse_one(&text).get("a").and_then(|a| a.get("b")).unwrap().kind,
            NodeKind::Int(1)
        );
    }

    #[test]
    fn an_alias_bomb_is_an_error_and_soon() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..20 {
            let before = n - 1;
            text += &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{before}"); 9].join(", "));
        }
        let problem = parse(&SourceText::new("bomb.yaml", text)).unwrap_err();
        assert_eq!(
            (problem.code, problem.title.as_str()),
            ("Y003", "the file has too many aliases")
        );
    }
}
