//! Finds audit events inside of whatever shippers put around them, by content.
//!
//! An event is an object with an audit id, or a text with one, under any key. What stands on the way to it
//! may say when it happened and in which cluster. A few envelopes are known by their shape
//! ([`super::envelope`]); for all others it does not matter who made them.

use std::borrow::Cow;

use hashbrown::HashSet;

use super::{
    bytes, clients, clock, foreign, json::Json, open_envelope, promise::is_promising,
    renamed::renamed,
};
use crate::engine::{dead_letter::ControlMessage, limits, time::EventTime};

/// Something that was found.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) content: Content<'a>,
    pub(super) around: Around<'a>,
    /// The keys that lead to it, for people; empty unless asked for.
    pub(super) place: String,
}

/// What it is.
#[derive(Debug)]
pub(super) enum Content<'a> {
    /// JSON, or text with JSON in it: an event, a list, another envelope, or lines of these.
    Text(Cow<'a, str>),
    /// What Base64 stood for.
    Bytes(Vec<u8>),
    /// A message that is known to hold no events.
    Control(ControlMessage),
    /// An entry of a list of log entries that holds none.
    Nothing(&'a str),
    /// A line of standard error that may hold one all the same.
    OfErrorStream(&'a str),
    /// A document of which not all was looked at, since there is too much in it.
    TooMuch(&'a str),
}

/// What is known of an event from what surrounds it; what is nearer to it wins.
#[derive(Clone, Debug, Default)]
pub(super) struct Around<'a> {
    /// The cluster.
    pub cluster: Option<Cow<'a, str>>,
    /// When it was logged.
    pub time: Option<EventTime>,
    /// It is a part of a line that a container runtime split.
    pub is_part: bool,
}

impl<'a> Around<'a> {
    /// What is nearer, filled up with what is further away.
    fn or(self, further: &Around<'a>) -> Around<'a> {
        Around {
            cluster: self.cluster.or_else(|| further.cluster.clone()),
            time: self.time.or(further.time),
            is_part: self.is_part || further.is_part,
        }
    }

    /// What the members of one object say.
    pub(super) fn of(members: &Members<'a>) -> Around<'a> {
        let time = TIME_KEYS.iter().find_map(|key| clock::read_json_time(members.get(key)?));
        let is_part = PART_KEYS.iter().any(|key| members.get(key).is_some_and(is_part));
        Around { cluster: cluster_of(members), time, is_part }
    }
}

/// Keys of the time at which something was logged, the most exact first.
const TIME_KEYS: [&str; 28] = [
    "timeUnixNano",
    "time_unix_nano",
    "observedTimeUnixNano",
    "observed_time_unix_nano",
    "timestamp",
    "@timestamp",
    "time",
    "eventTime",
    "TimeGenerated",
    "ts",
    "ts_ms",
    "approximateArrivalTimestamp",
    "publishTime",
    "date",
    "_time",
    "_SOURCE_REALTIME_TIMESTAMP",
    "__REALTIME_TIMESTAMP",
    "Timestamp",
    "Time",
    "timereported",
    "timegenerated",
    "ISODATE",
    "datetime",
    "event_time",
    "log_time",
    "receiveTimestamp",
    "ingestionTime",
    "created",
];

/// Keys under which shippers have the mark of a container runtime: of a part of a line it is `P`.
const PART_KEYS: [&str; 2] = ["logtag", "_p"];

fn is_part(tag: Json<'_>) -> bool {
    tag.text().is_some_and(|tag| tag == "P" || tag.starts_with("P:"))
}

/// Keys of the name of a cluster.
const CLUSTER_KEYS: [&str; 12] = [
    "cluster",
    "cluster_name",
    "clusterName",
    "orchestrator.cluster.name",
    "k8s.cluster.name",
    "kubernetes.cluster_name",
    "kube_cluster_name",
    "k8s_cluster_name",
    "k8s_cluster",
    "Cluster",
    "ClusterName",
    "clustername",
];

/// Paths to the name of a cluster.
const CLUSTER_PATHS: [&[&str]; 16] = [
    &["orchestrator", "cluster", "name"],
    &["fields", "cluster"],
    &["fields", "cluster_name"],
    &["kubernetes", "cluster"],
    &["kubernetes", "cluster_name"],
    &["labels", "cluster"],
    &["stream", "cluster"],
    &["stream", "cluster_name"],
    &["resource", "labels", "cluster_name"],
    &["openshift", "cluster_id"],
    &["labels", "cluster_name"],
    &["tags", "cluster"],
    &["metadata", "cluster"],
    &["attributes", "k8s.cluster.name"],
    &["resource", "attributes", "k8s.cluster.name"],
    &["resource", "k8s.cluster.name"],
];

fn cluster_of<'a>(members: &Members<'a>) -> Option<Cow<'a, str>> {
    let text = |json: Json<'a>| json.text().filter(|text| !text.is_empty());
    let by_key = CLUSTER_KEYS.iter().find_map(|key| text(members.get(key)?));
    let by_path = || {
        CLUSTER_PATHS.iter().find_map(|path| {
            let (first, rest) = path.split_first()?;
            text(members.get(first)?.at(rest)?)
        })
    };
    by_key.or_else(by_path).or_else(|| super::cluster_of(members))
}

/// The members of an object, looked at together.
#[derive(Debug)]
pub(super) struct Members<'a>(Vec<(&'a str, Json<'a>)>);

impl<'a> Members<'a> {
    /// Those of an object, up to [`limits::SEARCH_MEMBERS_MAX`].
    pub(super) fn of(object: Json<'a>) -> Members<'a> {
        Members(object.members().take(limits::SEARCH_MEMBERS_MAX).collect())
    }

    /// All of them, in their order.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'a str, Json<'a>)> {
        self.0.iter().copied()
    }

    /// The first under a key.
    pub(super) fn get(&self, key: &str) -> Option<Json<'a>> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, member)| *member)
    }

    /// The text of the first under a key.
    pub(super) fn text(&self, key: &str) -> Option<Cow<'a, str>> {
        self.get(key)?.text()
    }

    /// The first key with such an end.
    pub(super) fn ends_with(&self, end: &str) -> Option<&'a str> {
        self.0.iter().find(|(key, _)| key.ends_with(end)).map(|(key, _)| *key)
    }

    /// Whether there is one.
    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Whether the object is an audit event, even if a part of it is missing.
    fn is_event(&self) -> bool {
        let more = ["stage", "verb", "requestURI", "requestReceivedTimestamp", "objectRef"];
        self.has("auditID") && more.iter().any(|key| self.has(key))
    }

    /// Whether the object is a list of audit events.
    fn is_event_list(&self) -> bool {
        self.get("items").is_some_and(Json::is_array)
            && self.text("apiVersion").is_some_and(|version| version.starts_with("audit.k8s.io/"))
    }
}

/// A search in one document.
#[derive(Debug)]
pub(super) struct Search<'a> {
    /// What was found, in its order.
    pub(super) found: Vec<Found<'a>>,
    path: Vec<Segment<'a>>,
    nodes_left: usize,
    bytes_left: usize,
    /// Whether places are written down.
    traces: bool,
}

#[derive(Clone, Copy, Debug)]
enum Segment<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> Search<'a> {
    /// Looks through a document that is no audit event itself. Text that is made on the way is taken from
    /// `bytes_left`.
    pub(super) fn run(document: Json<'a>, bytes_left: usize, traces: bool) -> Search<'a> {
        let nodes_left = limits::SEARCH_NODES_MAX;
        let mut search =
            Search { found: Vec::new(), path: Vec::new(), nodes_left, bytes_left, traces };
        let found = search.value(document, &Around::default(), true);
        if search.nodes_left == 0 {
            search.push(Content::TooMuch(document.raw()), &Around::default());
        } else if !found && is_empty_envelope(document) {
            search.push(Content::Control(ControlMessage::Empty), &Around::default());
        }
        search
    }

    /// How many bytes were made of the texts that were found.
    pub(super) fn bytes_left(&self) -> usize {
        self.bytes_left
    }

    /// Adds something that was found here.
    pub(super) fn push(&mut self, content: Content<'a>, around: &Around<'a>) {
        let made = match &content {
            Content::Text(Cow::Owned(text)) => text.len(),
            Content::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        self.bytes_left = self.bytes_left.saturating_sub(made);
        let place = if self.traces { self.place() } else { String::new() };
        self.found.push(Found { content, around: around.clone(), place });
    }

    /// Notes a text, an event as it is, or a list of either; nothing of anything else.
    pub(super) fn push_content(
        &mut self,
        content: Option<Json<'a>>,
        otherwise: Json<'a>,
        around: &Around<'a>,
    ) {
        let content = match content {
            Some(json) if json.is_string() => json.text().map(Content::Text),
            Some(json) if json.is_object() || json.is_array() => {
                Some(Content::Text(json.raw().into()))
            }
            _ => None,
        };
        self.push(content.unwrap_or(Content::Nothing(otherwise.raw())), around);
    }

    fn place(&self) -> String {
        let mut place = String::new();
        for segment in &self.path {
            match segment {
                Segment::Key(key) if place.is_empty() => place.push_str(key),
                Segment::Key(key) => place.push_str(&format!(".{key}")),
                Segment::Index(index) => place.push_str(&format!("[{index}]")),
            }
        }
        place
    }

    /// Looks at one value; whether anything was found. Recursion is bounded by
    /// [`limits::SEARCH_DEPTH_MAX`].
    fn value(&mut self, json: Json<'a>, around: &Around<'a>, is_top: bool) -> bool {
        if self.path.len() > limits::SEARCH_DEPTH_MAX || self.nodes_left == 0 {
            return false;
        }
        self.nodes_left -= 1;
        if json.is_object() {
            self.object(json, around, is_top)
        } else if json.is_array() {
            self.array(json, around)
        } else if json.is_string() {
            self.string(json, around)
        } else {
            false
        }
    }

    fn at(&mut self, segment: Segment<'a>, json: Json<'a>, around: &Around<'a>) -> bool {
        self.path.push(segment);
        let found = self.value(json, around, false);
        self.path.pop();
        found
    }

    fn object(&mut self, json: Json<'a>, around: &Around<'a>, is_top: bool) -> bool {
        let members = Members::of(json);
        let around = Around::of(&members).or(around);
        if !is_top && (members.is_event() || members.is_event_list()) {
            self.push(Content::Text(Cow::Borrowed(json.raw())), &around);
            return true;
        }
        if open_envelope(json, &members, self, &around) {
            return true;
        }
        if let Some(event) = flattened(&members).or_else(|| renamed(&members.0)) {
            self.push(Content::Text(Cow::Owned(event)), &around);
            return true;
        }
        if let Some(bytes) = counted_bytes_of(&members, self.bytes_left) {
            self.push(Content::Bytes(bytes), &around);
            return true;
        }
        if is_chosen_pair(&members) {
            return false;
        }
        if is_of_error_stream(&members) && is_promising(json.raw()) {
            self.push(Content::OfErrorStream(json.raw()), &around);
            return true;
        }
        let first = self.found.len();
        let mut known = HashSet::new();
        let (mut giving, mut silent): (Vec<Json<'a>>, Vec<_>) = (Vec::new(), Vec::new());
        // Of a row of a database that was changed, what it was before is no news.
        let has_after = members.has("before")
            && members.get("after").is_some_and(|after| after.raw() != "null");
        for (key, member) in &members.0 {
            // What people sent may hold anything, also an event that never was.
            let is_body = matches!(*key, "requestObject" | "responseObject");
            if is_body || has_after && *key == "before" {
                continue;
            }
            let before = self.found.len();
            let gives = self.at(Segment::Key(key), *member, &around);
            if self.found.len() > before && clients::is_chosen(key) {
                self.found.truncate(before);
                continue;
            }
            self.drop_copies(before, &mut known);
            match (gives, member.is_object() || member.is_array()) {
                (true, true) => giving.push(*member),
                (false, true) => silent.push((self.found.len(), *key, *member)),
                _ => {}
            }
        }
        for (at, key, member) in silent.into_iter().rev() {
            // Lists or entries under keys of their own, as a Lambda function gets them by partition.
            if giving.iter().take(ALIKE_MAX).any(|other| is_alike(*other, member)) {
                self.put(at, Segment::Key(key), member, &around);
            }
        }
        self.found.len() > first
    }

    /// A list: of log entries if one of them holds something. Then every other entry is accounted for.
    fn array(&mut self, json: Json<'a>, around: &Around<'a>) -> bool {
        if let Some(bytes) = bytes_of(json, self.bytes_left) {
            self.push(Content::Bytes(bytes), around);
            return true;
        }
        let mut around = around.clone();
        let mut nothing: Vec<(usize, usize, Json<'a>)> = Vec::new();
        // Objects, lists, texts: which of them hold something here.
        let mut kinds: Vec<u8> = Vec::new();
        let kind_of = |item: Json<'a>| item.raw().bytes().next().unwrap_or(0);
        let first = self.found.len();
        for (index, item) in json.items().enumerate() {
            if index == 0
                && item.number().is_some()
                && let Some(time) = clock::read_json_time(item)
            {
                // Loki's entries: a time and a line.
                around.time = Some(time);
            } else if self.at(Segment::Index(index), item, &around) {
                if !kinds.contains(&kind_of(item)) {
                    kinds.push(kind_of(item));
                }
            } else if nothing.len() < limits::EVENTS_PER_RECORD_MAX {
                nothing.push((self.found.len(), index, item));
            }
        }
        if self.found.len() == first {
            return false;
        }
        // From the back, so that places stay right.
        // The time of an entry is no other entry.
        let is_time = |item: Json<'_>| item.is_string() && clock::read_json_time(item).is_some();
        nothing.retain(|(_, _, item)| kinds.contains(&kind_of(*item)) && !is_time(*item));
        for (at, index, item) in nothing.into_iter().rev() {
            self.put(at, Segment::Index(index), item, &around);
        }
        true
    }

    /// Puts an entry without an event among what was found.
    fn put(&mut self, at: usize, segment: Segment<'a>, entry: Json<'a>, around: &Around<'a>) {
        self.path.push(segment);
        self.push(Content::Nothing(entry.raw()), around);
        self.path.pop();
        if let Some(entry) = self.found.pop() {
            self.found.insert(at, entry);
        }
    }

    fn string(&mut self, json: Json<'a>, around: &Around<'a>) -> bool {
        let raw = json.raw().trim_matches('"');
        // `data:application/json;base64,…`
        let url = raw.strip_prefix("data:").and_then(|url| url.split_once(";base64,"));
        let raw = url.map_or(raw, |(_, value)| value);
        if raw.len() >= bytes::BASE64_BYTES_MIN && bytes::may_be_base64(raw.as_bytes()) {
            if let Some(value) = bytes::hex_value(raw.as_bytes(), &mut { self.bytes_left }) {
                return self.bytes(value, around);
            }
            if self.base64(raw, around) {
                return true;
            }
        }
        if is_promising(raw) {
            let Some(text) = json.text() else { return false };
            if bytes::begins_base64(text.trim_ascii_start().as_bytes()) {
                return self.base64(&text, around) || self.text(text, around);
            }
            return self.text(text, around);
        }
        let is_base64 = bytes::begins_base64(raw.trim_ascii_start().as_bytes());
        let is_hex = raw.starts_with("\\\\x");
        if raw.len() < bytes::BASE64_BYTES_MIN || !(is_base64 || is_hex) {
            return false;
        }
        let Some(text) = json.text() else { return false };
        if is_hex {
            let value = bytes::hex_value(text.as_bytes(), &mut { self.bytes_left });
            return value.is_some_and(|value| self.bytes(value, around));
        }
        self.base64(&text, around)
    }

    fn bytes(&mut self, bytes: Vec<u8>, around: &Around<'a>) -> bool {
        let fits = bytes.len() <= self.bytes_left;
        if fits {
            self.push(Content::Bytes(bytes), around);
        }
        fits
    }

    fn text(&mut self, text: Cow<'a, str>, around: &Around<'a>) -> bool {
        if text.len() > self.bytes_left {
            return false;
        }
        self.push(Content::Text(text), around);
        true
    }

    /// Base64 of compressed bytes, or of text with an event in it.
    fn base64(&mut self, text: &str, around: &Around<'a>) -> bool {
        let mut left = self.bytes_left;
        let Ok(values) = bytes::base64_values(text.trim_ascii().as_bytes(), &mut left) else {
            return false;
        };
        let first = self.found.len();
        for value in values {
            let value = bytes::inflated(&value, &mut left).unwrap_or(value);
            // What was cut may end within a character.
            let is_text = is_promising(&String::from_utf8_lossy(&value));
            if is_text || value.starts_with(&[0x1F, 0x8B]) || foreign::packed(&value).is_some() {
                self.push(Content::Bytes(value), around);
            }
        }
        self.found.len() > first
    }

    /// A shipper may send a line both as it was and parsed, under two keys of one object. Of what was
    /// found from `first` on, drops what is known from the keys before.
    fn drop_copies(&mut self, first: usize, known: &mut HashSet<[String; 5]>) {
        if first == self.found.len() {
            return;
        }
        let mut new = Vec::new();
        for found in self.found.split_off(first) {
            let request = request_of(&found.content);
            if request.as_ref().is_none_or(|request| !known.contains(request)) {
                new.extend(request);
                self.found.push(found);
            }
        }
        // Only now: what stands twice under one key was there twice.
        known.extend(new);
    }
}

/// A text that was written as the list of its bytes, as journald writes lines that are not UTF-8, if an event
/// may be in it; with at most so many bytes.
pub(super) fn bytes_of(json: Json<'_>, bytes_max: usize) -> Option<Vec<u8>> {
    let first = json.raw().get(1..)?.trim_ascii_start().bytes().next()?;
    if !json.is_array() || !(first.is_ascii_digit() || first == b'-') {
        return None;
    }
    listed(json.items(), bytes_max)
}

/// The same of an object whose keys count its bytes, as JavaScript writes a typed array.
fn counted_bytes_of(members: &Members<'_>, bytes_max: usize) -> Option<Vec<u8>> {
    let is_counted = |(index, (key, _)): (usize, &(&str, Json<'_>))| key.parse() == Ok(index);
    if members.0.is_empty() || !members.0.iter().enumerate().all(is_counted) {
        return None;
    }
    listed(members.0.iter().map(|(_, byte)| *byte), bytes_max)
}

fn listed<'a>(items: impl Iterator<Item = Json<'a>>, bytes_max: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for item in items {
        // Some languages have bytes below zero.
        let byte: i16 = item.raw().parse().ok()?;
        if bytes.len() == bytes_max || !(-128..=255).contains(&byte) {
            return None;
        }
        bytes.push(byte.to_le_bytes()[0]);
    }
    let is_text = is_promising(&String::from_utf8_lossy(&bytes));
    (is_text || bytes.starts_with(&[0x1F, 0x8B])).then_some(bytes)
}

/// Members that others are compared with: 4.
const ALIKE_MAX: usize = 4;

/// Whether two values are of one kind: objects that share most of the keys of the first, or lists of such.
fn is_alike(one: Json<'_>, other: Json<'_>) -> bool {
    if one.is_array() && other.is_array() {
        let firsts = one.items().next().zip(other.items().next());
        return firsts.is_some_and(|(one, other)| one.is_object() && is_alike(one, other));
    }
    let (one, other) = (Members::of(one), Members::of(other));
    let shared = one.0.iter().filter(|(key, _)| other.has(key)).count();
    shared * 2 > one.0.len()
}

/// Whether an object is a key and a value, of which clients choose the value.
fn is_chosen_pair(members: &Members<'_>) -> bool {
    let value = ["value", "Value", "v"].iter().any(|key| members.has(key));
    value
        && ["key", "Key", "name", "Name", "k"]
            .iter()
            .any(|key| members.text(key).is_some_and(|key| clients::is_chosen(&key)))
}

/// Whether a line was written to standard error: no API server writes events there, but what it tells of requests,
/// much of which clients choose.
fn is_of_error_stream(members: &Members<'_>) -> bool {
    let is_error = |json: Option<Json<'_>>| json.is_some_and(|json| json.raw() == "\"stderr\"");
    ["stream", "log.iostream"].iter().any(|key| is_error(members.get(key)))
        || ["stream", "labels", "attributes"].iter().any(|key| {
            let below = members.get(key).filter(|json| json.is_object());
            below.is_some_and(|json| is_error(json.get("stream").or(json.get("log.iostream"))))
        })
}

/// What tells an event from all others, the audit id alone being chosen by the client.
fn request_of(content: &Content<'_>) -> Option<[String; 5]> {
    let Content::Text(text) = content else { return None };
    let members = Members::of(Json::new(text.get(text.find('{')?..)?));
    members.get("auditID")?;
    let keys = ["auditID", "stage", "verb", "requestURI", "requestReceivedTimestamp"];
    Some(keys.map(|key| members.text(key).unwrap_or_default().into_owned()))
}

/// An event whose keys were all written into the object around it: `kubernetes.audit.verb`, `audit_user_username`.
fn flattened(members: &Members<'_>) -> Option<String> {
    let prefix = members.all().find_map(|(key, _)| {
        let prefix = key.strip_suffix("auditID")?;
        prefix.ends_with(SEPARATORS).then_some(prefix)
    })?;
    unflattened(members, prefix, prefix.chars().next_back()?)
}

/// What stands between the keys of a path that became one key.
const SEPARATORS: [char; 4] = ['.', '_', '/', ':'];

/// Fields of events that have others below them.
const PARENTS: [&str; 7] = [
    "annotations",
    "impersonatedUser",
    "objectRef",
    "requestObject",
    "responseObject",
    "responseStatus",
    "user",
];

/// An event at the top of a document, whose keys were joined by underscores, as `user_username`.
pub(super) fn joined_by_underscores(document: Json<'_>) -> Option<String> {
    let members = Members::of(document);
    members.get("user_username")?;
    unflattened(&members, "", '_')
}

/// The event of the keys behind a prefix, with their paths as keys.
fn unflattened(members: &Members<'_>, prefix: &str, separator: char) -> Option<String> {
    let mut event = String::from("{");
    for (key, member) in members.all() {
        let Some(path) = key.strip_prefix(prefix) else { continue };
        if event.len() > 1 {
            event.push(',');
        }
        event.push('"');
        match path.split_once(separator) {
            Some((parent, below)) if separator != '.' && PARENTS.contains(&parent) => {
                event.push_str(parent);
                event.push('.');
                // Keys of annotations have whatever they have.
                let is_own = parent != "annotations";
                event.extend(below.chars().map(|c| if is_own && c == separator { '.' } else { c }));
            }
            _ => event.push_str(path),
        }
        event.push_str("\":");
        event.push_str(member.raw());
    }
    event.push('}');
    (event.len() > 2).then_some(event)
}

/// Whether a document is an envelope with nothing in it: every list of entries is empty.
fn is_empty_envelope(document: Json<'_>) -> bool {
    let keys = ["logEvents", "records", "Records", "resourceLogs", "streams", "items", "hits"];
    let mut lists = document.members().filter(|(key, _)| keys.contains(key)).peekable();
    lists.peek().is_some() && lists.all(|(_, list)| list.is_array() && list.is_empty())
}
