//! Puts one value into a tree of YAML, at a path.
//!
//! Pure: what environment and command line have in common once a path is known. It does not decide
//! which variable means which path.

use std::ops::Range;

use crate::engine::{
    diagnostic::SourceText,
    yaml::{Key, Node, NodeKind, parse},
};

/// One step of a path: `receivers`, `[0]`, `webhook`, `url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A key of a mapping.
    Key(String),
    /// A place in a list, from 0.
    Index(usize),
}

/// Reads `receivers[0].webhook.url`. `None` if it is not a path.
pub(super) fn parse_path(text: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    for part in text.split('.') {
        let (key, indexes) = part.split_once('[').map_or((part, ""), |(key, rest)| (key, rest));
        if key.is_empty() || key.contains(|c: char| c.is_whitespace() || c == ']') {
            return None;
        }
        steps.push(Step::Key(key.to_owned()));
        if part.contains('[') {
            for index in indexes.strip_suffix(']')?.split("][") {
                steps.push(Step::Index(index.parse().ok()?));
            }
        }
    }
    Some(steps)
}

/// The path as people write it.
pub(super) fn show_path(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text.push_str(&format!(".{key}")),
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

/// Sets the value at a path; mappings that are not there yet are made. A secret that is given in one
/// form (`password`, `password_file`, `password_env`) replaces its other forms. `written` is where
/// the path stands; keys that are made or replaced point there.
///
/// # Errors
/// What stands in the way, for people: a list that has no such item, text where a mapping must be.
pub(super) fn set(
    root: &mut Node,
    path: &[Step],
    value: Node,
    written: &Range<usize>,
) -> Result<(), String> {
    let Some((step, rest)) = path.split_first() else {
        *root = value;
        return Ok(());
    };
    match step {
        Step::Key(name) => {
            if root.kind == NodeKind::Null {
                root.kind = NodeKind::Map(Vec::new());
                root.span = value.span.clone();
            }
            let found = root.kind_name();
            let NodeKind::Map(entries) = &mut root.kind else {
                return Err(format!("`{name}` cannot be set there: it is {found}, not a mapping"));
            };
            if rest.is_empty() {
                let base = base_of_secret(name);
                entries.retain(|(key, _)| key.text == *name || base_of_secret(&key.text) != base);
            }
            if !entries.iter().any(|(key, _)| key.text == *name) {
                let key = Key { text: name.clone(), span: written.clone() };
                entries.push((key, Node { kind: NodeKind::Null, span: value.span.clone() }));
            }
            let entry = entries.iter_mut().find(|(key, _)| key.text == *name);
            let (key, node) = entry.expect("the key was added if it was missing");
            if rest.is_empty() {
                key.span = written.clone();
            }
            set(node, rest, value, written)
        }
        Step::Index(index) => {
            let found = root.kind_name();
            let NodeKind::List(items) = &mut root.kind else {
                return Err(format!("`[{index}]` cannot be set there: it is {found}, not a list"));
            };
            let count = items.len();
            match items.get_mut(*index) {
                Some(item) => set(item, rest, value, written),
                None => Err(format!("the list has {count} items, so there is no `[{index}]`")),
            }
        }
    }
}

fn base_of_secret(key: &str) -> &str {
    key.strip_suffix("_file").or_else(|| key.strip_suffix("_env")).unwrap_or(key)
}

/// Reads the value of an override: `[…]` and `{…}` as YAML, `true`, `false` and numbers as such if
/// they are written the usual way, and everything else as text, as it stands. `start` is where the
/// value stands in the text that its places point into.
pub(super) fn parse_value(text: &str, start: usize) -> Node {
    let span = start..start + text.len();
    let as_text = || Node { kind: NodeKind::Str(text.to_owned()), span: span.clone() };
    let collection = text.starts_with(['[', '{']);
    let parsed = match parse(&SourceText::new("value", text)) {
        Ok(mut documents) if documents.len() == 1 => documents.swap_remove(0),
        _ => return as_text(),
    };
    match &parsed.kind {
        NodeKind::List(_) | NodeKind::Map(_) if collection => shift(parsed, start),
        // Only what reads back as it was written: a password of digits keeps its zeros.
        NodeKind::Bool(_) | NodeKind::Int(_) | NodeKind::Float(_)
            if parsed.scalar_text().as_deref() == Some(text) =>
        {
            Node { kind: parsed.kind, span }
        }
        _ => as_text(),
    }
}

fn shift(node: Node, by: usize) -> Node {
    let moved = |span: Range<usize>| span.start + by..span.end + by;
    let kind = match node.kind {
        NodeKind::List(items) => {
            NodeKind::List(items.into_iter().map(|item| shift(item, by)).collect())
        }
        NodeKind::Map(entries) => NodeKind::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    (Key { text: key.text, span: moved(key.span) }, shift(value, by))
                })
                .collect(),
        ),
        scalar => scalar,
    };
    Node { kind, span: moved(node.span) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        parse(&SourceText::new("t.yaml", text)).unwrap().remove(0)
    }

    #[test]
    fn paths_are_read_and_shown_alike() {
        for path in ["http", "http.listen", "receivers[0].webhook.url", "a[1][2].b"] {
            assert_eq!(show_path(&parse_path(path).unwrap()), path);
        }
        for bad in ["", ".", "a.", "a[", "a[x]", "a[1", "[0]", "a b"] {
            assert_eq!(parse_path(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_value_replaces_or_adds_and_what_is_in_the_way_is_said() {
        let mut root = tree("http: {listen: a}\nlist: [{x: 1}]\n");
        let mut put = |path: &str, value: &str| {
            set(&mut root, &parse_path(path).unwrap(), parse_value(value, 0), &(0..0))
        };
        assert_eq!(put("http.listen", "b"), Ok(()));
        assert_eq!(put("log.level", "debug"), Ok(()));
        assert_eq!(put("list[0].x", "2"), Ok(()));
        assert!(put("list[3].x", "2").unwrap_err().contains("1 items"));
        assert!(put("http.listen.port", "2").unwrap_err().contains("not a mapping"));
        let text = |path: [&str; 2]| root.get(path[0])?.get(path[1])?.scalar_text();
        assert_eq!(text(["http", "listen"]).as_deref(), Some("b"));
        assert_eq!(text(["log", "level"]).as_deref(), Some("debug"));
    }

    #[test]
    fn a_secret_replaces_its_other_forms() {
        let mut root = tree("kafka: {password_file: a, user: b}\n");
        set(&mut root, &parse_path("kafka.password").unwrap(), parse_value("c", 0), &(0..0))
            .unwrap();
        let keys: Vec<&str> = root
            .get("kafka")
            .unwrap()
            .as_map()
            .unwrap()
            .iter()
            .map(|(key, _)| key.text.as_str())
            .collect();
        assert_eq!(keys, ["user", "password"]);
    }

    #[test]
    fn values_keep_their_text_unless_they_are_plainly_something_else() {
        let kind = |text: &str| parse_value(text, 0).kind;
        for text in ["007", "1e5", "1.50", "~", "null", "a: b", "{abc", "- x", "", "0x10", "\"q\""]
        {
            assert_eq!(kind(text), NodeKind::Str(text.to_owned()), "{text}");
        }
        assert_eq!(kind("12"), NodeKind::Int(12));
        assert_eq!(kind("true"), NodeKind::Bool(true));
        assert_eq!(kind("0.5"), NodeKind::Float(0.5));
        let list = parse_value("[a, b]", 10);
        assert_eq!(list.as_list().unwrap()[1].span, 14..15);
    }
}
