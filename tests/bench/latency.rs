//! From a record that is produced to the webhook that has its alert, while as many other events come as are
//! half of what the pipeline can take.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
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
    let began = Instant::now();
    let mut sent = Vec::new();
    let mut left = others.iter();
    while began.elapsed() < LASTS {
        let due = events_in(began.elapsed(), rate);
        let so_far = others.len() - left.len();
        for payload in left.by_ref().take(due.saturating_sub(so_far)) {
            send(&many, payload);
        }
        if began.elapsed() >= LASTS * u32::try_from(sent.len()).unwrap() / ALERTS {
            let event = audit::event(&format!("awaited-{}", sent.len()), "get", "pods", "a", "b");
            sent.push(Instant::now());
            send(&awaited, event.to_string().as_bytes());
        }
        thread::sleep(TICK);
    }
    many.flush(Duration::from_secs(30)).unwrap();
    let requests = eventually("every awaited alert is told", || {
        let requests = hook.requests("/alerts");
        (requests.len() >= sent.len()).then_some(requests)
    });
    let mut millis: Vec<f64> = sent
        .iter()
        .enumerate()
        .map(|(number, sent)| {
            let name = format!("awaited-{number}");
            let told = requests
                .iter()
                .find(|request| request.body.to_string().contains(&format!("\"{name}\"")));
            told.unwrap_or_else(|| panic!("{name} is told")).at.duration_since(*sent).as_secs_f64()
                * 1e3
        })
        .collect();
    millis.sort_by(f64::total_cmp);
    let share = |percent: usize| millis[(millis.len() - 1) * percent / 100];
    println!(
        "produced to webhook, at {rate:.0} events a second: p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms of {}",
        share(50),
        share(99),
        share(100),
        millis.len(),
    );
    tripline.kill();
}
