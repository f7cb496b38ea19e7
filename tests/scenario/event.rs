//! One line of `feed`: from `10:00:00 user=eve verb=list resource=secrets` to an audit event.
//!
//! What a line does not say is filled in: Alice gets something and is answered with 200.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tripline::engine::time::{EventTime, WallTime};

use crate::script::{duration, time};

/// Short names of fields.
const SHORT: [(&str, &str); 12] = [
    ("code", "responseStatus.code"),
    ("decision", "annotations.authorization.k8s.io/decision"),
    ("group", "objectRef.apiGroup"),
    ("id", "auditID"),
    ("ip", "sourceIPs"),
    ("name", "objectRef.name"),
    ("namespace", "objectRef.namespace"),
    ("received", "requestReceivedTimestamp"),
    ("resource", "objectRef.resource"),
    ("subresource", "objectRef.subresource"),
    ("uri", "requestURI"),
    ("user", "user.username"),
];

/// Objects whose keys hold dots and slashes: what follows is one key.
const OPEN_KEYED: [&str; 2] = ["annotations", "user.extra"];

/// One line, or a series.
pub(crate) struct Line {
    /// In the script, from 1; also makes audit ids unique.
    pub(crate) number: usize,
    pub(crate) time: EventTime,
    /// The operator's clock when it arrives, if the script says so.
    pub(crate) wall: Option<WallTime>,
    pub(crate) partition: i32,
    /// When its record was written, if the script says so.
    written: Option<EventTime>,
    fields: Vec<(String, String)>,
    times: u32,
    every: Duration,
}

/// A record, with what the ways of playing need to know of it.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) time: EventTime,
    pub(crate) wall: Option<WallTime>,
    pub(crate) partition: i32,
    pub(crate) written: Option<EventTime>,
    /// Who acted: scripts correlate by it, so records of others are independent.
    pub(crate) user: String,
    pub(crate) payload: Vec<u8>,
}

impl Line {
    pub(crate) fn parse(text: &str, number: usize) -> Result<Line, String> {
        let mut words = words(text)?.into_iter().peekable();
        let first = words.next().ok_or("an event begins with its time")?;
        let mut line = Line {
            number,
            time: time(&first)?,
            wall: None,
            partition: 0,
            written: None,
            fields: Vec::new(),
            times: 1,
            every: Duration::ZERO,
        };
        if let Some(wall) = words.next_if(|word| word.starts_with('@')) {
            line.wall = Some(time(&wall[1..])?.as_wall());
        }
        for word in words {
            let (key, value) = word
                .split_once('=')
                .ok_or_else(|| format!("line {number}: `{word}` is not `key=value`"))?;
            let no_number = |_| format!("line {number}: `{value}` is no number");
            match key {
                "written" => line.written = Some(time(value)?),
                "partition" => line.partition = value.parse().map_err(no_number)?,
                "times" => line.times = value.parse().map_err(no_number)?,
                "every" => line.every = duration(value)?,
                _ => line.fields.push((key.to_owned(), value.to_owned())),
            }
        }
        Ok(line)
    }

    /// The records of the line, in order of time.
    pub(crate) fn records(&self) -> Vec<Record> {
        (0..self.times)
            .map(|step| {
                let time = self.time.plus(self.every * step);
                let event = self.event(time, step + 1);
                let user = event.pointer("/user/username").and_then(Value::as_str).unwrap_or("");
                Record {
                    time,
                    wall: self.wall.map(|wall| wall.plus(self.every * step)),
                    partition: self.partition,
                    written: self.written,
                    user: user.to_owned(),
                    payload: serde_json::to_vec(&event).unwrap(),
                }
            })
            .collect()
    }

    fn event(&self, at: EventTime, step: u32) -> Value {
        let mut event = json!({
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "auditID": format!("line-{}-{step}", self.number),
            "stage": "ResponseComplete",
            "requestURI": "/",
            "verb": "get",
            "user": {"username": "alice"},
            "sourceIPs": ["10.0.0.1"],
            "userAgent": "kubectl/v1.33.1",
            "responseStatus": {"code": 200},
            "requestReceivedTimestamp": at.minus(Duration::from_millis(5)).rfc3339(),
            "stageTimestamp": at.rfc3339(),
        });
        for (key, value) in &self.fields {
            let path = SHORT.iter().find(|(short, _)| short == key).map_or(key.as_str(), |s| s.1);
            let value = value.replace("{n}", &step.to_string());
            let value = match path {
                "sourceIPs" => Some(value.split(',').map(Value::from).collect()),
                "requestReceivedTimestamp" => Some(json!(time(&value).unwrap().rfc3339())),
                _ if value == "null" => None,
                _ => Some(serde_json::from_str(&value).unwrap_or(Value::String(value))),
            };
            set(&mut event, &segments(path), value);
        }
        event
    }
}

/// Words between spaces; double quotes hold spaces together.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in text.trim().chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    if quoted { Err(format!("a quote is not closed: {text}")) } else { Ok(words) }
}

fn segments(path: &str) -> Vec<&str> {
    for prefix in OPEN_KEYED {
        if let Some(key) = path.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')) {
            return prefix.split('.').chain([key]).collect();
        }
    }
    path.split('.').collect()
}

fn set(event: &mut Value, path: &[&str], value: Option<Value>) {
    let (first, rest) = path.split_first().unwrap();
    if !event.is_object() {
        *event = Value::Object(Map::new());
    }
    let members = event.as_object_mut().unwrap();
    match (rest, value) {
        ([], None) => {
            members.remove(*first);
        }
        ([], Some(value)) => {
            members.insert((*first).to_owned(), value);
        }
        (rest, value) => set(members.entry(*first).or_insert(Value::Null), rest, value),
    }
}
