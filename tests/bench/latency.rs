//! From a record that is produced to the webhook that has its alert, while as many other events come as are
//! half of what the pipeline can take. Beside it, how long the same records take to a consumer that only reads: broker and
//! producer are on the same machine, and stop now and then.

use std::{
    fs,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message as _,
    consumer::{BaseConsumer, Consumer as _},
    producer::{BaseRecord, Producer as _, ThreadedProducer},
};
use tripline::{
    engine::time::EventTime,
    generate::{GenerateSettings, Generator},
};

use crate::harness::{
    audit, eventually, hook::Hook, kafka::Kafka, project_file, tripline::Tripline,
};

/// How long other events come, and how many alerts are waited for meanwhile.
const LASTS: Duration = Duration::from_secs(10);
const ALERTS: u32 = 200;

/// Others are sent this often.
const TICK: Duration = Duration::from_millis(2);

const RULE: &str = "\
title: Awaited
name: awaited
logsource: {product: kubernetes, service: audit}
level: high
tripline: {group-by: [user.username]}
detection:
  who: {user.username|startswith: awaited-}
  condition: who
";

/// So many happen in a time.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some millions at most")]
fn events_in(time: Duration, rate: f64) -> usize {
    (rate * time.as_secs_f64()) as usize
}

/// Prints how long alerts take at `rate` events a second.
pub(crate) fn run(kafka: &Kafka, rate: f64) {
    kafka.create_topic("latency", 4);
    let hook = Hook::started();
    let config = format!(
        "sources: [{{kafka: {{brokers: ['{}'], topics: [latency], group: latency}}}}]\n\
         receivers: [{{name: console, stdout: {{}}}}, {{name: hook, webhook: {{url: '{}'}}}}]\n\
         route:\n  receiver: console\n  routes:\n    - {{matchers: ['alertname = \"awaited\"'], receiver: hook, \
         group_by: [user], group_wait: 0s, group_interval: 1s}}\n",
        kafka.brokers(),
        hook.url("/alerts"),
    );
    let mut tripline = Tripline::new(&config, &[]);
    fs::remove_dir(tripline.path().join("rules")).unwrap();
    let copy =
        Command::new("cp").arg("-r").arg(project_file("rules")).arg(tripline.path()).status();
    assert!(copy.unwrap().success(), "the shipped rules were not copied");
    tripline.write("rules/awaited.yaml", RULE);
    tripline.start_ready();

    let start = EventTime::parse(&audit::timestamp(Duration::ZERO)).unwrap();
    let settings = GenerateSettings { start, rate, ..GenerateSettings::default() };
    let others: Vec<_> = Generator::new(settings)
        .take(events_in(LASTS, rate))
        .map(|record| record.payload)
        .collect();
    let producer = |linger: &str| -> ThreadedProducer<_> {
        ClientConfig::new()
            .set("bootstrap.servers", kafka.brokers())
            .set("linger.ms", linger)
            .set("compression.type", "lz4")
            .set("queue.buffering.max.messages", "1000000")
            .create()
            .unwrap()
    };
    let (many, awaited) = (producer("5"), producer("0"));
    let send = |producer: &ThreadedProducer<_>, payload: &[u8]| {
        let record = BaseRecord::<[u8], [u8]>::to("latency").payload(payload);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    };
    let is_over = AtomicBool::new(false);
    let (mut sent, mut seen) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(kafka, &is_over));
        let began = Instant::now();
        let mut left = others.iter();
        while began.elapsed() < LASTS {
            let due = events_in(began.elapsed(), rate);
            let so_far = others.len() - left.len();
            for payload in left.by_ref().take(due.saturating_sub(so_far)) {
                send(&many, payload);
            }
            if began.elapsed() >= LASTS * u32::try_from(sent.len()).unwrap() / ALERTS {
                let event = audit::event(&name_of(sent.len()), "get", "pods", "a", "b");
                sent.push(Instant::now());
                send(&awaited, event.to_string().as_bytes());
            }
            thread::park_timeout(TICK);
        }
        many.flush(Duration::from_secs(30)).unwrap();
        is_over.store(true, Ordering::Release);
        seen = watcher.join().unwrap();
    });
    let requests = eventually("every awaited alert is told", || {
        let requests = hook.requests("/alerts");
        (requests.len() >= sent.len()).then_some(requests)
    });
    let told = sent.iter().enumerate().map(|(number, sent)| {
        let name = format!("\"{}\"", name_of(number));
        let told = requests.iter().find(|request| request.body.to_string().contains(&name));
        told.unwrap_or_else(|| panic!("{name} is told")).at.duration_since(*sent)
    });
    print("produced to webhook", rate, told.collect());
    let read = sent.iter().enumerate().filter_map(|(number, sent)| {
        let (_, at) = seen.iter().find(|(known, _)| *known == number)?;
        Some(at.duration_since(*sent))
    });
    print("produced to a consumer", rate, read.collect());
    tripline.kill();
}

/// Who does what is awaited.
fn name_of(number: usize) -> String {
    format!("awaited-{number}")
}

/// When each awaited record came to a consumer that only reads, until it is over.
fn watch(kafka: &Kafka, is_over: &AtomicBool) -> Vec<(usize, Instant)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka.brokers())
        .set("group.id", "watcher")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&["latency"]).unwrap();
    let mut seen = Vec::new();
    while !is_over.load(Ordering::Acquire) {
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let at = Instant::now();
        // The others are longer.
        let payload = message.payload().filter(|payload| payload.len() < 800);
        let text = payload.and_then(|payload| str::from_utf8(payload).ok()).unwrap_or("");
        let number = text.split_once("\"awaited-").and_then(|(_, rest)| rest.split_once('"'));
        seen.extend(number.and_then(|(number, _)| Some((number.parse().ok()?, at))));
    }
    seen
}

fn print(what: &str, rate: f64, mut times: Vec<Duration>) {
    times.sort();
    let share = |percent: usize| {
        times.get(times.len().saturating_sub(1) * percent / 100).map_or(0.0, Duration::as_secs_f64)
            * 1e3
    };
    println!(
        "{what}, at {rate:.0} events a second: p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms of {}",
        share(50),
        share(99),
        share(100),
        times.len(),
    );
}
