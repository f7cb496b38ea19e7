//! A piece of JSON that was checked and is read only where somebody asks.
//!
//! For the wrappers of shippers, which are small around large events. Every call scans again from the
//! front; for events themselves there is the projection.

use std::borrow::Cow;

use super::{
    projection::{next_item, next_member},
    scan::Scanner,
};
use crate::engine::value::unescape;

/// One JSON value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Json<'a> {
    text: &'a str,
}

impl<'a> Json<'a> {
    /// A text that is one JSON value. Of anything else parts are missing.
    pub(super) fn new(text: &'a str) -> Json<'a> {
        Json { text: text.trim_ascii() }
    }

    /// The value as it is written.
    pub(super) fn raw(self) -> &'a str {
        self.text
    }

    /// Whether it is an object.
    pub(super) fn is_object(self) -> bool {
        self.text.starts_with('{')
    }

    /// Whether it is an array.
    pub(super) fn is_array(self) -> bool {
        self.text.starts_with('[')
    }

    /// Whether it is a string.
    pub(super) fn is_string(self) -> bool {
        self.text.starts_with('"')
    }

    /// Whether it is an array or an object with nothing in it.
    pub(super) fn is_empty(self) -> bool {
        let inner = self.text.get(1..self.text.len().saturating_sub(1)).unwrap_or("");
        (self.is_array() || self.is_object()) && inner.trim_ascii().is_empty()
    }

    /// The members of an object in their order; none of anything else. Keys are as they are written:
    /// shippers write their own without escapes.
    pub(super) fn members(self) -> impl Iterator<Item = (&'a str, Json<'a>)> {
        let mut scanner = Scanner::new(self.text);
        let mut more = scanner.token() == b'{';
        scanner.bump();
        more &= scanner.token() != b'}';
        std::iter::from_fn(move || {
            if !more {
                return None;
            }
            let name = scanner.key().ok()?;
            scanner.token();
            let start = scanner.at();
            scanner.skip_value(0).ok()?;
            let member = Json { text: scanner.since(start) };
            more = next_member(&mut scanner).unwrap_or(false);
            Some((name.text, member))
        })
    }

    /// The member of an object under a key, the first of several.
    pub(super) fn get(self, key: &str) -> Option<Json<'a>> {
        self.members().find(|(name, _)| *name == key).map(|(_, member)| member)
    }

    /// The member at the end of a path of keys.
    pub(super) fn at(self, path: &[&str]) -> Option<Json<'a>> {
        path.iter().try_fold(self, |json, key| json.get(key))
    }

    /// The members of an array; none of anything else.
    pub(super) fn items(self) -> impl Iterator<Item = Json<'a>> {
        let mut scanner = Scanner::new(self.text);
        let mut more = scanner.token() == b'[';
        scanner.bump();
        more &= scanner.token() != b']';
        std::iter::from_fn(move || {
            if !more {
                return None;
            }
            scanner.token();
            let start = scanner.at();
            scanner.skip_value(0).ok()?;
            let item = Json { text: scanner.since(start) };
            more = next_item(&mut scanner).unwrap_or(false);
            Some(item)
        })
    }

    /// The text of a string.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        let mut scanner = Scanner::new(self.text);
        if scanner.token() != b'"' {
            return None;
        }
        let raw = scanner.string().ok()?;
        if !raw.escaped {
            return Some(Cow::Borrowed(raw.text));
        }
        let mut text = String::with_capacity(raw.text.len());
        unescape(raw.text, &mut text);
        Some(Cow::Owned(text))
    }

    /// Whether it is an object or an array, and all of it is there.
    pub(super) fn is_whole_tree(self) -> bool {
        let mut scanner = Scanner::new(self.text);
        (self.is_object() || self.is_array())
            && scanner.skip_value(0).is_ok()
            && scanner.at() == self.text.len()
    }

    /// A number, or a string that is nothing but one.
    pub(super) fn number(self) -> Option<f64> {
        self.text.trim_matches('"').parse().ok().filter(|number: &f64| number.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_by_key_and_in_order() {
        let json = Json::new(r#" {"a":[1, {"b" : "c\n"} ,[]],"d":{"e":null},"a":2,"f":[]} "#);
        assert_eq!(json.get("a").map(Json::raw), Some(r#"[1, {"b" : "c\n"} ,[]]"#));
        assert_eq!(json.at(&["d", "e"]).map(Json::raw), Some("null"));
        assert!(json.get("x").is_none());
        let items: Vec<&str> = json.get("a").unwrap().items().map(Json::raw).collect();
        assert_eq!(items, ["1", r#"{"b" : "c\n"}"#, "[]"]);
        assert_eq!(json.get("f").unwrap().items().count(), 0);
        assert_eq!(json.items().count(), 0);
        let text = json.get("a").unwrap().items().nth(1).and_then(|item| item.get("b"));
        assert_eq!(text.and_then(Json::text).as_deref(), Some("c\n"));
    }
}
