//! A line that was not written to its end, since it was too long, the disk was full or the power was gone, hides no line
//! behind it, wherever it ends and whatever is left between them.

use tripline::engine::{decode::take_apart, time::EventTime};

use super::intake::{EXEC, outcome_at, quoted};

/// What may be left between what was torn and the next line.
const BETWEEN: [&str; 8] =
    ["\n", "\r\n", "\n\u{feff}", "\n\0\0", "\0", "\0\0\0\n", "\0\0\0\u{feff}", "\0\n\0"];

/// A request whose body has lists, objects, texts and numbers in it.
fn with_body() -> String {
    let at = EXEC.find("\"requestReceivedTimestamp\"").unwrap();
    let body = r#""requestObject":{"kind":"Pod","spec":{"a":[{"b":"x\"y\\","c":["{\"d\":[","ö"],"e":[]}],"f":{},"g":null,"h":-1.5e3,"i":[[1,{"j":[{}]}]]}},"#;
    [&EXEC[..at], body, &EXEC[at..]].concat()
}

/// What is left of an event of which so much was written, for every place.
fn cuts(event: &str) -> impl Iterator<Item = &str> {
    (1..event.len()).filter_map(|end| event.get(..end))
}

#[test]
fn the_lines_behind_a_torn_one_are_read_wherever_it_ends() {
    let event = with_body();
    let nexts =
        [format!("{EXEC}\n{EXEC}"), format!("{EXEC}\n{event}\n"), format!("{event}\n{EXEC}\nx\n")];
    let beginning = event.find("\"level\"").unwrap();
    for cut in cuts(&event).filter(|cut| cut.len() > beginning) {
        for (between, next) in BETWEEN.iter().flat_map(|b| nexts.iter().map(move |n| (b, n))) {
            let record = format!("{EXEC}\n{cut}{between}{next}");
            let taken = take_apart(record.as_bytes());
            assert!(taken.events >= 3, "{between:?} behind {cut}: {taken:#?}");
        }
    }
}

#[test]
fn what_was_torn_is_an_event_itself() {
    let event = with_body();
    let known = event.find("\"sourceIPs\"").unwrap();
    let time = EventTime::parse("2026-03-02T10:00:00Z");
    for (cut, between) in cuts(&event).skip(known).step_by(5).zip(BETWEEN.into_iter().cycle()) {
        let record = format!("{cut}{between}{EXEC}\n{EXEC}\n");
        let expected = "3 events allowed cut exec metadata switched !truncated";
        assert_eq!(outcome_at(record.as_bytes(), time), expected, "{between:?} behind {cut}");
    }
}

#[test]
fn a_torn_line_of_an_envelope_hides_nothing_either() {
    let docker = format!(
        r#"{{"stream":"stdout","attrs":{{"a":["b"]}},"log":{},"time":"2026-03-02T10:00:00Z"}}"#,
        quoted(EXEC)
    );
    let sorted = EXEC.replacen(r#""level":"Metadata","#, "", 1);
    let sorted = sorted.replacen('{', r#"{"level":"Metadata","#, 1);
    for line in [docker, sorted] {
        for cut in cuts(&line) {
            for between in BETWEEN {
                let record = format!("{line}\n{cut}{between}{line}\n{line}\n");
                let taken = take_apart(record.as_bytes());
                assert!(taken.events >= 3, "{between:?} behind {cut}: {taken:#?}");
            }
        }
    }
}
