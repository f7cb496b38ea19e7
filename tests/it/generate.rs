//! The traffic generator: what it makes looks like what an API server writes, and follows from its
//! seed.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use tripline::{
    engine::time::EventTime,
    generate::{GenerateSettings, Generated, Generator, STORIES, Story, StoryPlan},
};

/// A Wednesday morning in Berlin.
const START: &str = "2026-03-04T08:00:00Z";

fn settings(seed: u64, rate: f64) -> GenerateSettings {
    let start = EventTime::parse(START).unwrap();
    GenerateSettings { seed, rate, start, ..GenerateSettings::default() }
}

fn events_of(record: &Generated) -> Vec<Value> {
    let value: Value = serde_json::from_slice(&record.payload).unwrap();
    match value.get("items") {
        Some(items) => items.as_array().unwrap().clone(),
        None => vec![value],
    }
}

fn text<'v>(event: &'v Value, pointer: &str) -> &'v str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

#[test]
fn a_seed_determines_every_byte() {
    let records = |seed| Generator::new(settings(seed, 200.0)).take(3_000).collect::<Vec<_>>();
    assert_eq!(records(1), records(1));
    assert_ne!(records(1), records(2));
}

#[test]
fn events_are_complete_and_in_order() {
    let settings = GenerateSettings {
        received_stage: true,
        event_lists_per_mille: 50,
        partitions: 3,
        ..settings(3, 100.0)
    };
    let mut before = EventTime::MIN;
    let mut lists = 0;
    for record in Generator::new(settings).take(5_000) {
        assert!(record.time >= before && record.partition < 3);
        before = record.time;
        let events = events_of(&record);
        assert_eq!(events.len(), usize::try_from(record.events).unwrap());
        lists += usize::from(events.len() > 1);
        for event in &events {
            let stage_time = EventTime::parse(text(event, "/stageTimestamp")).unwrap();
            let received = EventTime::parse(text(event, "/requestReceivedTimestamp")).unwrap();
            assert!(received <= stage_time, "{event}");
            assert!(record.time.since(stage_time) < Duration::from_secs(1), "{event}");
            assert!(stage_time <= record.time, "{event}");
            assert_eq!(text(event, "/auditID").len(), 36, "{event}");
            assert!(text(event, "/requestURI").starts_with('/'), "{event}");
            let answered = text(event, "/stage") != "RequestReceived";
            assert_eq!(event.pointer("/responseStatus/code").is_some(), answered, "{event}");
        }
    }
    assert!(lists > 100, "{lists} lists");
}

#[test]
fn batches_are_lists_of_so_many_events() {
    let settings = GenerateSettings { batch: 400, ..settings(4, 100.0) };
    let mut before = EventTime::MIN;
    for record in Generator::new(settings).take(20) {
        assert_eq!((record.events, events_of(&record).len()), (400, 400));
        assert!(record.time >= before);
        before = record.time;
    }
}

#[test]
fn sizes_are_those_of_a_real_cluster() {
    let mut sizes: Vec<usize> =
        Generator::new(GenerateSettings { event_lists_per_mille: 0, ..settings(1, 1_000.0) })
            .take(50_000)
            .map(|record| record.payload.len())
            .collect();
    sizes.sort_unstable();
    let mean = sizes.iter().sum::<usize>() / sizes.len();
    assert!((1_300..=1_500).contains(&mean), "mean {mean}");
    let median = sizes[sizes.len() / 2];
    assert!((1_000..=1_300).contains(&median), "median {median}");
    let largest = sizes[sizes.len() - 1];
    assert!((15_000..=40_000).contains(&largest), "largest {largest}");
}

#[test]
fn the_rate_is_that_of_simulated_time() {
    for received_stage in [false, true] {
        let settings = GenerateSettings { received_stage, ..settings(1, 500.0) };
        let span = Duration::from_secs(60);
        let end = settings.start.plus(span);
        let events: u32 = Generator::new(settings)
            .take_while(|record| record.time < end)
            .map(|record| record.events)
            .sum();
        assert!((27_000..=33_000).contains(&events), "{events} events in a minute");
    }
}

#[test]
fn both_stages_of_a_watch_have_one_audit_id() {
    let mut started = BTreeMap::new();
    let mut paired = 0;
    for record in Generator::new(settings(1, 20.0)).take(20_000) {
        for event in events_of(&record) {
            let id = text(&event, "/auditID").to_owned();
            match (text(&event, "/verb"), text(&event, "/stage")) {
                ("watch", "ResponseStarted") => {
                    started.insert(id, event);
                }
                ("watch", "ResponseComplete") => {
                    let Some(start) = started.remove(&id) else { continue };
                    paired += 1;
                    for field in ["/requestURI", "/user", "/requestReceivedTimestamp"] {
                        assert_eq!(start.pointer(field), event.pointer(field));
                    }
                }
                _ => {}
            }
        }
    }
    assert!(paired > 200, "{paired} pairs");
}

#[test]
fn every_story_is_played_once_and_leaves_the_bulk_as_it_is() {
    let quiet = settings(5, 50.0);
    let plan = StoryPlan::all_within(Duration::from_secs(2), Duration::from_secs(40));
    let loud = GenerateSettings { stories: plan, ..quiet.clone() };
    let end = quiet.start.plus(Duration::from_secs(90));
    let run = |settings| -> (Vec<Value>, BTreeMap<usize, u32>) {
        let (mut bulk, mut stories) = (Vec::new(), BTreeMap::new());
        let settings = GenerateSettings { event_lists_per_mille: 0, ..settings };
        for record in Generator::new(settings).take_while(|record| record.time < end) {
            match record.story {
                Some(story) => *stories.entry(story).or_default() += record.events,
                None => bulk.extend(events_of(&record)),
            }
        }
        (bulk, stories)
    };
    let (quiet, none) = run(quiet);
    let (loud, stories) = run(loud);
    assert_eq!(none, BTreeMap::new());
    assert_eq!(stories.keys().copied().collect::<Vec<_>>(), Story::all(false));
    assert_eq!(quiet, loud);
}

#[test]
fn stories_repeat_if_asked() {
    let plan = StoryPlan {
        repeat: true,
        ..StoryPlan::all_within(Duration::from_secs(1), Duration::from_secs(16))
    };
    let settings = GenerateSettings { stories: plan, ..settings(1, 20.0) };
    let end = settings.start.plus(Duration::from_secs(60));
    let mut generator = Generator::new(settings);
    while generator.next().is_some_and(|record| record.time < end) {}
    let begun = generator.stories_begun();
    let count = Story::all(false).len();
    assert!(begun.len() > 2 * count, "{} stories", begun.len());
    assert_eq!(begun[0].0, begun[count].0);
}

#[test]
fn stories_tell_what_they_are() {
    let mut ids: Vec<&str> = STORIES.iter().map(|story| story.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), STORIES.len());
    for story in STORIES {
        assert!(story.description.ends_with('.'), "{}", story.id);
        assert!(!story.expected_rules.is_empty(), "{}", story.id);
    }
}
