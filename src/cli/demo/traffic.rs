//! Feeds the embedded Kafka: generated events at their time, and a status line while at it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::{
    screen::Screen,
    stage::{Stage, TOPIC, now},
    time_of_day,
};
use crate::{
    cli::output,
    engine::{
        text::paint::{NOTE, paint},
        time::EventTime,
    },
    generate::{GenerateSettings, Generator, STORIES, Story, StoryPlan},
    kafka::{Producer, Record},
};

/// How much faster than live `--fast` plays. The embedded Kafka keeps a few megabytes only, so its
/// reader must not fall behind.
const FAST_FACTOR: f64 = 10.0;

/// How long a story takes at most, until its last event: 6 s.
pub(super) const STORY_SPAN: Duration = Duration::from_secs(6);

/// When stories begin: the first after two seconds, the last before this.
const STORIES_WITHIN: Duration = Duration::from_secs(46);

/// Longest sleep between two looks at the stop flag.
const NAP: Duration = Duration::from_millis(50);

/// What traffic is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct TrafficSettings {
    /// Ends after so much time of the events; at the stop flag if `None`.
    pub(super) span: Option<Duration>,
    pub(super) seed: u64,
    pub(super) rate: f64,
    pub(super) is_fast: bool,
    pub(super) partitions: u32,
}

/// What was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) events: u64,
    pub(super) begun: Vec<(usize, EventTime)>,
    /// Event time of the end.
    pub(super) end: EventTime,
    /// How long it took.
    pub(super) took: Duration,
}

/// Sends until the end of the span or until `stop`.
///
/// # Errors
/// If Kafka takes no more records.
pub(super) fn send(
    settings: &TrafficSettings,
    stage: &Stage,
    screen: &Screen,
    stop: &AtomicBool,
) -> anyhow::Result<Sent> {
    let producer = Producer::new(stage.kafka.connection(), TOPIC)
        .map_err(anyhow::Error::msg)
        .context("no producer for the embedded Kafka")?;
    let factor = if settings.is_fast { FAST_FACTOR } else { 1.0 };
    // Played fast, events would soon lie in the future; so they end about now instead.
    let past =
        if settings.is_fast { settings.span.unwrap_or(STORIES_WITHIN) } else { Duration::ZERO };
    let start = now().minus(past);
    let end = settings.span.map_or(EventTime::MAX, |span| start.plus(span));
    let within = settings.span.map_or(STORIES_WITHIN, |span| {
        // The last story needs its time, too.
        let room = span.saturating_sub(STORY_SPAN + Duration::from_secs(1));
        room.max(span / 3).min(STORIES_WITHIN)
    });
    let first_after = Duration::from_secs(2).min(within / 8);
    let mut generator = Generator::new(GenerateSettings {
        seed: settings.seed,
        start,
        rate: settings.rate,
        partitions: settings.partitions,
        stories: StoryPlan::all_within(first_after, within.saturating_sub(first_after)),
        ..GenerateSettings::default()
    });
    let began = Instant::now();
    let mut sent = Sent { events: 0, begun: Vec::new(), end: start, took: Duration::ZERO };
    let mut told = 0;
    while let Some(record) = generator.next().filter(|record| record.time < end) {
        let due = record.time.since(start).div_f64(factor);
        while let Some(left) = due.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            if screen.wants_status() {
                screen.set_status(status(stage, began.elapsed(), told));
            }
            std::thread::sleep(left.min(NAP));
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
        for (story, begun) in generator.stories_begun().iter().skip(told) {
            told += 1;
            screen.tell(&announcement(*story, *begun, told));
        }
        producer.produce(&Record {
            payload: Some(&record.payload),
            partition: i32::try_from(record.partition).ok(),
            ..Record::default()
        })?;
        sent.events += u64::from(record.events);
        sent.end = record.time;
    }
    producer
        .flush(Duration::from_secs(10))
        .context("the embedded Kafka did not take everything")?;
    sent.begun = generator.stories_begun().to_vec();
    sent.took = began.elapsed();
    Ok(sent)
}

fn status(stage: &Stage, elapsed: Duration, told: usize) -> String {
    let numbers = stage.numbers();
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let rate = numbers.events as f64 / elapsed.as_secs_f64().max(0.1);
    let all = Story::all(false).len();
    let next = if told == all { "Ctrl-C ends" } else { "more to come" };
    format!(
        "{:.0} s · {rate:.0} events/s · lag {} · {} alerts firing · {told} of {all} attacks, {next}",
        elapsed.as_secs_f64(),
        numbers.lag,
        numbers.firing,
    )
}

/// What begins now, for people: `10:04:08  Attack 2: …`, and below it what happens.
fn announcement(story: usize, begun: EventTime, number: usize) -> String {
    let Some(story) = STORIES.get(story) else { return String::new() };
    let title = format!("Attack {number}: {}", story.title);
    let title = paint(&title, NOTE.bold(), output::stderr_colours());
    let mut text = format!("\n{}  {title}", time_of_day(begun));
    for line in wrapped(story.description, 68) {
        text.push_str("\n          ");
        text.push_str(&line);
    }
    text
}

/// Lines of at most so many characters, if no word is longer.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped("one two three four", 9), ["one two", "three", "four"]);
        assert_eq!(wrapped("incomprehensible x", 4), ["incomprehensible", "x"]);
    }

    #[test]
    fn an_attack_is_announced_with_its_time() {
        let time = EventTime::parse("2026-03-04T10:04:08.5Z").unwrap();
        let text = announcement(0, time, 1);
        assert!(text.starts_with("\n10:04:08  "), "{text}");
        assert!(text.contains("Attack 1: A laptop reads every secret it can"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
