//! What a request asks for, from its path and query: decoded as the API server decodes them, never
//! searched as text, since whoever asks can put any text into a query that nobody looks at.
//!
//! The API server is written in Go: `url.ParseQuery` splits a query at `&` alone, passes over pairs with
//! a `;` or a malformed escape, decodes names as well as values, and keeps repeated ones in their order.

use std::borrow::Cow;

use super::{Event, FieldId, Stage, shell, sources::Sources, unseen::is_truncated, well_known};
use crate::engine::{
    kubernetes::{
        parameters::PARAMETERS,
        resources::{RUNS_COMMANDS, find, subresource},
        verbs::{NAMELESS, WRITING},
    },
    value::Value,
};

/// The only value by which a request asks for a dry run; the API server refuses every other.
const ALL: &str = "All";

/// The parameter that asks for a dry run.
const DRY_RUN: &str = "dryRun";

/// The parameter that says what tables hold of each object, and all that it may say.
const INCLUDE_OBJECT: &str = "includeObject";
const INCLUDED: [&str; 4] = ["", "None", "Metadata", "Object"];

fn request_uri<'a>(event: &Event<'a>) -> Option<Cow<'a, str>> {
    match event.first(well_known::REQUEST_URI)? {
        Value::Str(uri) => Some(uri.clone()),
        _ => None,
    }
}

/// The parameters of a URI as Go reads them.
fn parameters(uri: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let query = uri.split_once('?').map_or("", |(_, query)| query);
    query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')).filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decode(name, Plus::IsSpace, None)?, decode(value, Plus::IsSpace, None)?))
    })
}

/// What a `+` stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plus {
    /// In a query.
    IsSpace,
    /// In a path.
    IsItself,
}

/// A value of a query for people: an escape that is malformed, as where a text was cut, stands as it is.
pub(in crate::engine) fn shown_parameter(text: &str) -> Cow<'_, str> {
    decode(text, Plus::IsSpace, Some(b'%')).unwrap_or(Cow::Borrowed(text))
}

/// A text without its percent-encoding. In the place of a `%` that begins no escape is `malformed`; `None` without
/// that. Bytes that are not UTF-8 become U+FFFD.
fn decode(text: &str, plus: Plus, malformed: Option<u8>) -> Option<Cow<'_, str>> {
    let is_plain = |byte: u8| byte != b'%' && (byte != b'+' || plus == Plus::IsItself);
    if text.bytes().all(is_plain) {
        return Some(Cow::Borrowed(text));
    }
    let hex = |digit: u8| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let escaped = |high: u8, low: u8| Some(hex(high)? << 4 | hex(low)?);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (*byte, tail) {
            (b'%', [high, low, after @ ..]) if escaped(*high, *low).is_some() => {
                bytes.extend(escaped(*high, *low));
                rest = after;
            }
            (b'%', _) => bytes.push(malformed?),
            (b'+', _) if plus == Plus::IsSpace => bytes.push(b' '),
            (byte, _) => bytes.push(byte),
        }
    }
    Some(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
}

/// `request.path`.
pub(super) fn path(event: &mut Event<'_>, field: FieldId) {
    let Some(uri) = request_uri(event) else { return };
    let encoded = uri.split_once('?').map_or(&*uri, |(path, _)| path);
    let path = decode(encoded, Plus::IsItself, None).unwrap_or(Cow::Borrowed(encoded));
    event.push_owned(field, |text| clean(&path, text));
}

/// Appends a path without `//`, `/./` and `/../`. A slash at its end stays.
pub(super) fn clean(path: &str, out: &mut String) {
    let is_plain = !path.contains("//") && !path.contains("/.");
    if is_plain || !path.starts_with('/') {
        out.push_str(path);
        return;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    for part in &parts {
        out.push('/');
        out.push_str(part);
    }
    let ends = ["/", "/.", "/.."].iter().any(|end| path.ends_with(end));
    if ends || parts.is_empty() {
        out.push('/');
    }
}

/// Whether a request says of the table that it may ask for what no table can be.
pub(super) fn asks_for_no_table(event: &Event<'_>) -> bool {
    let Some(uri) = request_uri(event) else { return false };
    let asked = parameters(&uri).find(|(name, _)| name == INCLUDE_OBJECT);
    asked.is_some_and(|(_, value)| !INCLUDED.contains(&&*value))
}

/// `request.query.NAME`, of every name that a rule asks for.
pub(super) fn query(event: &mut Event<'_>, sources: &Sources) {
    let Some(uri) = request_uri(event) else { return };
    for (name, value) in parameters(&uri) {
        for (_, field) in sources.parameters.iter().filter(|(known, _)| **known == *name) {
            event.push_owned(*field, |text| text.push_str(&value));
        }
    }
}

/// `label_selector` and `field_selector`: the first counts, and only where something is selected.
pub(super) fn selector(event: &mut Event<'_>, name: &str, field: FieldId) {
    if !NAMELESS.contains(&event.first_str(well_known::VERB).unwrap_or("")) {
        return;
    }
    let Some(uri) = request_uri(event) else { return };
    if let Some((_, value)) = parameters(&uri).find(|(known, _)| known == name) {
        event.push_owned(field, |text| text.push_str(&value));
    }
}

/// `request.decoys`.
pub(super) fn decoys(event: &mut Event<'_>, field: FieldId) {
    let text = |field| event.first_str(field).unwrap_or("");
    // Proxies hand on what they get, and API servers of other groups have parameters of their own.
    let (group, below) = (text(well_known::API_GROUP), text(well_known::SUBRESOURCE));
    if find(group, text(well_known::RESOURCE)).is_none() || below == "proxy" {
        return;
    }
    let Some(uri) = request_uri(event) else { return };
    let query = uri.split_once('?').map_or("", |(_, query)| query);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let is_known = !pair.contains(';') && PARAMETERS.binary_search(&name).is_ok();
        if !is_known || decode(value, Plus::IsSpace, None).is_none() {
            event.push_owned(field, |text| text.push_str(name));
        }
    }
}

/// `exec.command`.
pub(super) fn command(event: &mut Event<'_>, field: FieldId) {
    if let Some(command) = command_of(event) {
        event.push_owned(field, |text| text.push_str(&command));
    }
}

/// `exec.plain`.
pub(super) fn plain_command(event: &mut Event<'_>, field: FieldId) {
    if let Some(command) = command_of(event) {
        event.push_owned(field, |text| text.push_str(&shell::plain(&command)));
    }
}

fn command_of(event: &Event<'_>) -> Option<String> {
    let below = event.first_str(well_known::SUBRESOURCE).unwrap_or("");
    let known = subresource(below).filter(|known| RUNS_COMMANDS.contains(&known.name))?;
    // What is behind the proxy is asked in its own words.
    let proxy = known.is_general;
    let uri = request_uri(event)?;
    let arguments: Vec<Cow<'_, str>> = parameters(&uri)
        .filter(|(name, _)| name == "command" || proxy && name == "cmd")
        .map(|(_, value)| value)
        .collect();
    (!arguments.is_empty()).then(|| arguments.join(" "))
}

/// Whether a request would change something, and asks not to.
///
/// The API server looks for that in the query; of a deletion it looks in the body, and in the query only
/// if there is no body. So a query alone proves nothing where the body is not recorded.
pub(super) fn is_dry_run(event: &Event<'_>, sources: &Sources) -> bool {
    let text = |field| event.first_str(field).unwrap_or("");
    let verb = text(well_known::VERB);
    if !WRITING.contains(&verb) && !verb.starts_with("delete") || !event.has(well_known::RESOURCE) {
        return false;
    }
    let below = text(well_known::SUBRESOURCE);
    if !below.is_empty() && !subresource(below).is_some_and(|known| known.has_dry_run) {
        return false;
    }
    let in_body = || {
        let fields = sources.dry_run_options.iter();
        let mut values = fields.flat_map(|field| event.values(*field));
        values.any(|value| *value == Value::Str(Cow::Borrowed(ALL)))
    };
    let in_query = || {
        let uri = request_uri(event);
        let uri = uri.as_deref().unwrap_or("");
        parameters(uri).any(|(name, value)| name == DRY_RUN && value == ALL)
    };
    if verb.starts_with("delete") {
        // Options that are written twice are read in two ways.
        return if sources.request_body.is_some_and(|body| event.has(body)) {
            in_body() && !event.has_replaced()
        } else {
            has_no_body(event) && in_query()
        };
    }
    in_query() || below == "eviction" && in_body() && !event.has_replaced()
}

/// Whether a request without a body in its event had none.
fn has_no_body(event: &Event<'_>) -> bool {
    let level = event.first_str(well_known::LEVEL).unwrap_or("");
    let is_recorded = level == "Request" || level == "RequestResponse";
    is_recorded && event.stage != Stage::RequestReceived && !is_truncated(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_as_go_reads_them() {
        for (uri, expected) in [
            ("/p", vec![]),
            ("/p?", vec![]),
            ("/p?a=1&b=2&a=3", vec![("a", "1"), ("b", "2"), ("a", "3")]),
            ("/p?%61=1&b+c=%2B+", vec![("a", "1"), ("b c", "+ ")]),
            ("/p?a&&=x&b==", vec![("a", ""), ("", "x"), ("b", "=")]),
            ("/p?a=1;b=2&c=3", vec![("c", "3")]),
            ("/p?a=%zz&%4=1&b=%&c=%e4%bd%a0%FF", vec![("c", "你\u{fffd}")]),
            ("/p?a=1?b=2", vec![("a", "1?b=2")]),
        ] {
            let found: Vec<_> = parameters(uri).collect();
            let found: Vec<(&str, &str)> = found.iter().map(|(n, v)| (&**n, &**v)).collect();
            assert_eq!(found, expected, "{uri}");
        }
    }

    #[test]
    fn paths_have_one_form() {
        for (path, expected) in [
            ("/api/v1", "/api/v1"),
            ("/api/", "/api/"),
            ("//a/./b/../c//", "/a/c/"),
            ("/../..", "/"),
            ("/a/.hidden/..b", "/a/.hidden/..b"),
            ("*", "*"),
        ] {
            let mut out = String::new();
            clean(path, &mut out);
            assert_eq!(out, expected, "{path}");
        }
        assert_eq!(decode("/a+%2Fb", Plus::IsItself, None).as_deref(), Some("/a+/b"));
        assert_eq!(decode("app%3Da+b%3", Plus::IsSpace, None), None);
        assert_eq!(shown_parameter("app%3Da+b%3"), "app=a b%3");
        assert_eq!(shown_parameter("%+a%zz%"), "% a%zz%");
    }
}
