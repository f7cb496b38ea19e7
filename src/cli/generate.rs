//! `tripline generate`: the traffic of a cluster, to a file, a pipe or a Kafka topic.

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal as _, Write},
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use clap::Args;

use super::{exit, output, signals};
use crate::{
    engine::{duration::parse_duration, time::EventTime},
    generate::{GenerateSettings, Generated, Generator, STORIES, Story, StoryPlan},
    kafka::{Connection, Producer, Record},
};

/// Make the audit events of a busy cluster, with attacks in them.
#[derive(Args, Debug)]
#[command(after_help = after_help())]
pub(super) struct GenerateArgs {
    /// Write to this file instead of standard output, one record a line.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write to a Kafka topic instead: some of its brokers.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', requires = "topic")]
    #[arg(conflicts_with = "output")]
    brokers: Vec<String>,
    /// The topic; its partitions are filled evenly.
    #[arg(long, value_name = "NAME", requires = "brokers")]
    topic: Option<String>,
    /// Set a property of librdkafka, for TLS and credentials among others.
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = super::assignment)]
    #[arg(requires = "brokers")]
    properties: Vec<(String, String)>,
    /// Stop after so many events.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Stop after so much time of the events: 90s, 10m, 8h.
    #[arg(long = "for", value_name = "SPAN", value_parser = span)]
    span: Option<Duration>,
    /// Events a second, by the time in the events.
    #[arg(long, value_name = "N", default_value_t = 50.0, value_parser = rate)]
    rate: f64,
    /// What is left to chance; the same seed and start make the same events.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Attacks: `none`, ids with commas between them, `all` (those that need no history), `history` (those
    /// that only rules with a memory can notice).
    #[arg(long, value_name = "WHICH", default_value = "none", value_parser = stories)]
    stories: Stories,
    /// Nothing but everyday traffic for so much time of the events first, from which rules with a memory
    /// learn what is usual: 27d.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    stories_after: Option<Duration>,
    /// Give each event a field `cluster` with this name, as shippers do.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    cluster: String,
    /// Time of the first event (RFC 3339); so that the last is now, if left out.
    #[arg(long, value_name = "TIME", value_parser = time)]
    start: Option<EventTime>,
    /// As time passes, with the time of now, rather than as fast as possible.
    #[arg(long, conflicts_with = "start")]
    live: bool,
    /// Put so many events into each record, as an EventList: API servers send up to 400 to a webhook.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: Option<u32>,
    /// Let every request leave a RequestReceived event too.
    #[arg(long)]
    received_stage: bool,
}

/// Which stories are wanted: indexes into [`STORIES`].
#[derive(Clone, Debug)]
struct Stories(Vec<usize>);

fn after_help() -> String {
    let mut help = "Examples:
  tripline generate --count 200000 --output events.jsonl
  tripline generate --live --rate 500 --stories all
  tripline generate --for 10m --stories secret-burst,night-exec | head
  tripline generate --live --stories all --brokers 127.0.0.1:9092 --topic audit
  tripline generate --for 28d --rate 0.2 --stories history --stories-after 27d -o month.jsonl

Stories (* only after days of history):"
        .to_owned();
    for story in STORIES {
        let mark = if story.needs_history { "*" } else { " " };
        help.push_str(&format!("\n {mark}{:<20} {}", story.id, story.title));
    }
    help
}

fn span(text: &str) -> Result<Duration, String> {
    let parsed = parse_duration(text).filter(|span| !span.is_zero());
    parsed.ok_or_else(|| "write a number and a unit, such as 90s, 10m or 8h".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let parsed = text.parse().ok().filter(|rate: &f64| (0.1..=10_000_000.0).contains(rate));
    parsed.ok_or_else(|| "write a number from 0.1 to 10000000".to_owned())
}

fn time(text: &str) -> Result<EventTime, String> {
    EventTime::parse(text).ok_or_else(|| "write a time such as 2026-03-04T08:00:00Z".to_owned())
}

fn stories(text: &str) -> Result<Stories, String> {
    let mut stories = Vec::new();
    for word in text.split(',').filter(|word| *word != "none") {
        match word {
            "all" => stories.extend(Story::all(false)),
            "history" => stories.extend(Story::all(true)),
            id => stories.push(
                Story::find(id).ok_or_else(|| format!("there is no story `{id}`; see --help"))?,
            ),
        }
    }
    Ok(Stories(stories))
}

/// The operator's clock, as the time of an event.
fn now() -> EventTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EventTime::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

impl GenerateArgs {
    /// How much time of the events there will be, if that is known.
    fn whole_span(&self) -> Option<Duration> {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let by_count = self.count.map(|count| count as f64 / self.rate).and_then(seconds);
        match (by_count, self.span) {
            (Some(by_count), Some(span)) => Some(by_count.min(span)),
            (by_count, span) => by_count.or(span),
        }
    }

    fn settings(&self, now: EventTime) -> GenerateSettings {
        let whole = self.whole_span();
        let start = match self.start {
            Some(start) => start,
            None if self.live => now,
            // Without an end: enough past for a day of events that were made in advance.
            None => now.minus(whole.unwrap_or(Duration::from_secs(86_400))),
        };
        let wanted = u32::try_from(self.stories.0.len()).unwrap_or(u32::MAX).max(1);
        let after = self.stories_after.unwrap_or_default();
        let plan = match whole {
            // The last story needs some time to its end.
            Some(whole) => {
                let gap = whole.saturating_sub(after).mul_f64(0.9) / wanted;
                StoryPlan { first_after: after + gap / 2, gap, ..StoryPlan::default() }
            }
            None => StoryPlan {
                first_after: after + Duration::from_secs(10),
                gap: Duration::from_secs(60),
                repeat: true,
                ..StoryPlan::default()
            },
        };
        GenerateSettings {
            seed: self.seed,
            start,
            rate: self.rate,
            partitions: 1,
            received_stage: self.received_stage,
            cluster: self.cluster.clone(),
            batch: self.batch.unwrap_or(0),
            stories: StoryPlan { stories: self.stories.0.clone(), ..plan },
            ..GenerateSettings::default()
        }
    }
}

fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

pub(super) fn execute(args: &GenerateArgs) -> anyhow::Result<ExitCode> {
    let stop = signals::stop_flag()?;
    let mut sink = Sink::open(args)?;
    let settings = args.settings(now());
    let start = settings.start;
    let end = args.span.map_or(EventTime::MAX, |span| start.plus(span));
    let mut generator = Generator::new(settings);
    let mut progress = Progress::new();
    while !stop.load(Ordering::Relaxed) && args.count.is_none_or(|count| progress.events < count) {
        let Some(record) = generator.next().filter(|record| record.time < end) else { break };
        if args.live && !wait(start, record.time, &progress, &mut sink, &stop)? {
            break;
        }
        sink.put(&record).context("cannot write events")?;
        progress.count(&record);
    }
    sink.finish().context("cannot write all events")?;
    progress.finish(start, generator.stories_begun());
    // What has no end of its own is always ended by a signal.
    let is_cut_short = stop.load(Ordering::Relaxed) && args.whole_span().is_some();
    Ok(if is_cut_short { ExitCode::from(exit::INTERRUPTED) } else { exit::OK })
}

/// Waits until an event of this time is due. False if it was interrupted.
fn wait(
    start: EventTime,
    due: EventTime,
    progress: &Progress,
    sink: &mut Sink,
    stop: &AtomicBool,
) -> anyhow::Result<bool> {
    let due = due.since(start);
    let mut flushed = false;
    while let Some(left) =
        due.checked_sub(progress.started.elapsed()).filter(|left| !left.is_zero())
    {
        // What was made so far is worth reading now, not when a buffer is full.
        if !flushed && left > Duration::from_millis(5) {
            sink.flush()?;
            flushed = true;
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
    Ok(true)
}

/// How long the last records may take to be acknowledged: 30 s.
const FLUSH_WAIT: Duration = Duration::from_secs(30);

/// Where events go.
enum Sink {
    Lines(BufWriter<Box<dyn Write>>),
    Topic(Box<Producer>),
}

impl Sink {
    fn open(args: &GenerateArgs) -> anyhow::Result<Sink> {
        if let Some(topic) = &args.topic {
            let mut connection = Connection::new(args.brokers.clone());
            connection.properties.extend(args.properties.iter().cloned());
            let no_secret = |_: &_| Err("no secret is configured".to_owned());
            let connection = connection.open(&no_secret).map_err(anyhow::Error::msg)?;
            let producer = Producer::new(connection, topic.as_str()).map_err(anyhow::Error::msg)?;
            return Ok(Sink::Topic(Box::new(producer)));
        }
        let out: Box<dyn Write> = match &args.output {
            Some(path) => {
                let file = File::create(path);
                Box::new(file.with_context(|| format!("cannot write {}", path.display()))?)
            }
            None if io::stdout().is_terminal() && args.whole_span().is_none() && !args.live => {
                bail!("an endless stream to a terminal: give --count, --for or --live")
            }
            None => Box::new(io::stdout()),
        };
        Ok(Sink::Lines(BufWriter::with_capacity(1 << 16, out)))
    }

    fn put(&mut self, record: &Generated) -> anyhow::Result<()> {
        match self {
            Sink::Lines(out) => {
                out.write_all(&record.payload)?;
                out.write_all(b"\n")?;
            }
            Sink::Topic(producer) => {
                let record = Record { payload: Some(&record.payload), ..Record::default() };
                producer.produce(&record)?;
            }
        }
        Ok(())
    }

    /// Lets readers see what was made so far; Kafka does so by itself.
    fn flush(&mut self) -> anyhow::Result<()> {
        if let Sink::Lines(out) = self {
            out.flush()?;
        }
        Ok(())
    }

    fn finish(mut self) -> anyhow::Result<()> {
        self.flush()?;
        if let Sink::Topic(producer) = &self {
            producer.flush(FLUSH_WAIT).context("not every record was acknowledged")?;
        }
        Ok(())
    }
}

/// What was done so far, for people: a line that is written over, on terminals only.
struct Progress {
    started: Instant,
    events: u64,
    bytes: u64,
    shown: Option<Instant>,
}

impl Progress {
    fn new() -> Progress {
        let shown = io::stderr().is_terminal().then(Instant::now);
        Progress { started: Instant::now(), events: 0, bytes: 0, shown }
    }

    fn count(&mut self, record: &Generated) {
        self.events += u64::from(record.events);
        self.bytes += record.payload.len() as u64;
        if let Some(shown) = self.shown
            && (self.events.is_multiple_of(256) || shown.elapsed() > Duration::from_secs(5))
            && shown.elapsed() > Duration::from_millis(250)
        {
            self.shown = Some(Instant::now());
            let line = format!("\r\x1b[K{}", self.summary());
            let outcome = io::stderr().lock().write_all(line.as_bytes());
            drop(outcome);
        }
    }

    fn summary(&self) -> String {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let (events, megabytes) = (self.events as f64, self.bytes as f64 / 1e6);
        let took = self.started.elapsed().as_secs_f64().max(0.001);
        let rate = events / took;
        format!("{} events, {megabytes:.1} MB in {took:.1} s, {rate:.0} events/s", self.events)
    }

    fn finish(&self, start: EventTime, stories: &[(usize, EventTime)]) {
        let clear = if self.shown.is_some() { "\r\x1b[K" } else { "" };
        output::tell(&format!("{clear}{}", self.summary()));
        for (index, time) in stories.iter().take(100) {
            if let Some(story) = STORIES.get(*index) {
                let offset = time.since(start).as_secs_f64();
                output::tell(&format!(
                    "  {time}  +{offset:>6.1} s  {:<20} {}",
                    story.id, story.title
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser, Debug)]
    struct Line {
        #[command(flatten)]
        args: GenerateArgs,
    }

    fn settings(line: &str) -> GenerateSettings {
        let line = Line::parse_from(std::iter::once("generate").chain(line.split_whitespace()));
        line.args.settings(EventTime::parse("2026-03-04T10:00:00Z").unwrap())
    }

    #[test]
    fn events_that_are_made_at_once_end_now() {
        let start = settings("--count 3000 --rate 50").start;
        assert_eq!(start, EventTime::parse("2026-03-04T09:59:00Z").unwrap());
        let start = settings("--count 3000 --rate 50 --for 30s").start;
        assert_eq!(start, EventTime::parse("2026-03-04T09:59:30Z").unwrap());
        let start = settings("--live").start;
        assert_eq!(start, EventTime::parse("2026-03-04T10:00:00Z").unwrap());
    }

    #[test]
    fn stories_fit_into_the_run() {
        let plan = settings("--for 160s --stories all").stories;
        let count = Story::all(false).len();
        assert_eq!(plan.stories.len(), count);
        let last = plan.first_after + plan.gap * u32::try_from(count - 1).unwrap();
        assert!(last < Duration::from_secs(150) && !plan.repeat);
        let plan = settings("--for 28d --stories all,history --stories-after 27d").stories;
        assert_eq!(plan.stories.len(), STORIES.len());
        let (day, count) = (Duration::from_secs(86_400), u32::try_from(STORIES.len()).unwrap());
        let last = plan.first_after + plan.gap * (count - 1);
        assert!(plan.first_after > 27 * day && last < 28 * day, "{plan:?}");
        let plan = settings("--stories night-exec,secret-burst --live").stories;
        assert_eq!(plan.stories, [2, 0]);
        assert!(plan.repeat);
    }

    #[test]
    fn mistakes_are_refused() {
        for line in [
            "--topic x",
            "--rate 0",
            "--rate nan",
            "--for 0s",
            "--for 5",
            "--stories x",
            "--start yesterday",
        ] {
            let words = std::iter::once("generate").chain(line.split_whitespace());
            assert!(Line::try_parse_from(words).is_err(), "{line}");
        }
    }
}
