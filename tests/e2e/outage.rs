//! The world around Tripline goes away and comes back.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer as _},
};

use crate::{
    harness::{
        Service, alertmanager::Alertmanager, audit, available, eventually, get_any, hook::Hook,
        kafka::Kafka, never, tripline::Tripline,
    },
    rules::{READS_COUNTED, SECRET_READ, read, source, source_at, to_hook, users},
};

#[test]
fn a_broker_that_is_away_at_the_start_is_waited_for() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (mut kafka, hook) = (Kafka::stopped(), Hook::started());
    let config = source_at(&kafka.brokers(), "away") + &to_hook(&hook);
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.start();
    let reason = eventually("/readyz says that the source is not there", || {
        tripline.readiness().filter(|(status, _)| *status == 503)
    });
    assert!(reason.1.contains("source"), "{reason:?}");
    // A restart would not bring the broker back, so nobody should be told to make one.
    assert_eq!(get_any(&tripline.url("/healthz")).map(|(status, _)| status), Some(200));
    never("it ends, or says that it is ready", Duration::from_secs(3), || {
        let exited = tripline.process().exited().map(|status| format!("{status}"));
        exited.or_else(|| tripline.readiness().filter(|(status, _)| *status == 200).map(|r| r.1))
    });

    kafka.start();
    kafka.create_topic("away", 1);
    kafka.producer().send("away", read("user-a", "s"));
    tripline.wait_ready();
    eventually("the alert arrives", || users(&hook.alerts("/alerts"), "secret_read").pop());
    tripline.stop();
}

#[test]
fn a_broker_that_restarts_costs_nothing() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (mut kafka, hook) = (Kafka::started(), Hook::started());
    kafka.create_topic("restarts", 2);
    let mut tripline =
        Tripline::new(&(source(&kafka, "restarts") + &to_hook(&hook)), &[READS_COUNTED]);
    tripline.start_ready();
    let reads = |kafka: &Kafka, count: u32| {
        let producer = kafka.producer();
        for number in 0..count {
            producer.send("restarts", read("user-a", &format!("s{number}")));
        }
    };
    reads(&kafka, 3);
    eventually("the first records are worked off", || {
        (tripline.metric("tripline_records_total", &[])? >= 3.0).then_some(())
    });
    kafka.stop();
    eventually("/readyz says that the broker is away", || {
        tripline.readiness().filter(|(status, _)| *status == 503)
    });
    kafka.start();
    reads(&kafka, 2);
    eventually("reads before and after count together", || {
        users(&hook.alerts("/alerts"), "five_reads").pop()
    });
    never("a read is counted twice", Duration::from_secs(2), || {
        users(&hook.alerts("/alerts"), "six_reads").pop()
    });
    tripline.wait_ready();
    tripline.stop();
}

#[test]
fn a_receiver_that_is_down_gets_everything_later_and_holds_up_no_other() {
    if !available(&[Service::Kafka, Service::Alertmanager]) {
        return;
    }
    let kafka = Kafka::shared();
    let (mut down, healthy, mut late) = (Hook::stopped(), Hook::started(), Alertmanager::stopped());
    let alertmanager = Alertmanager::started();
    kafka.create_topic("down", 1);
    let config = format!(
        "{}receivers:
  - {{name: down, webhook: {{url: '{}'}}}}
  - {{name: healthy, webhook: {{url: '{}'}}}}
  - {{name: pager, alertmanager: {{urls: ['{}', '{}'], resend_interval: 1s}}}}
route:
  receiver: pager
  group_by: ['...']
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 1h
  routes:
    - {{receiver: down, continue: true}}
    - {{receiver: healthy, continue: true}}
    - {{receiver: pager}}
",
        source(kafka, "down"),
        down.url("/alerts"),
        healthy.url("/alerts"),
        alertmanager.url(),
        late.url(),
    );
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.start_ready();
    let producer = kafka.producer();
    producer.send("down", read("user-a", "s"));
    eventually("the healthy receiver has it", || {
        users(&healthy.alerts("/alerts"), "secret_read").pop()
    });
    eventually("Alertmanager has it, though its other member is down", || {
        alertmanager.alerts().pop()
    });
    eventually("failed attempts are counted by reason", || {
        tripline.metric(
            "tripline_delivery_attempts_total",
            &["receiver=\"down\"", "outcome=\"retry\"", "reason=\"connection\""],
        )
    });

    // What is owed survives a restart, too.
    tripline.stop();
    tripline.start_ready();
    down.refuse_with(Some((StatusCode::TOO_MANY_REQUESTS, "1")));
    down.start();
    late.start();
    eventually("it tries, and is told to wait", || (!down.refused().is_empty()).then_some(()));
    down.refuse_with(None);
    eventually("the receiver that was down has it", || {
        users(&down.alerts("/alerts"), "secret_read").pop()
    });
    eventually("the member that was down has it", || late.alerts().pop());
    assert_eq!(users(&healthy.alerts("/alerts"), "secret_read"), ["user-a"], "told once");
    tripline.stop();
}

#[test]
fn windows_wait_for_a_source_that_is_away_while_another_is_read() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (mut away, there, hook) = (Kafka::started(), Kafka::shared(), Hook::started());
    away.create_topic("goes-away", 1);
    there.create_topic("stays", 1);
    let kafka = |name: &str, kafka: &Kafka, topic: &str| {
        let brokers = kafka.brokers();
        format!(
            "  - {{name: {name}, kafka: {{brokers: ['{brokers}'], topics: [{topic}], group: {topic}}}}}\n"
        )
    };
    let sources = kafka("a", &away, "goes-away") + &kafka("b", there, "stays");
    let engine = "engine: {grace: 1s, idle_after: 10s, away_max: 5m}\n";
    let config = format!("sources:\n{sources}{engine}{}", to_hook(&hook));
    let rules = READS_COUNTED.1.replace("timespan: 1h", "timespan: 8s");
    let mut tripline = Tripline::new(&config, &[("reads.yaml", &rules)]);
    tripline.start_ready();
    let began = Instant::now();
    let read_then = |kafka: &Kafka, number: u32| {
        let event = audit::event_at(
            "user-a",
            "get",
            "secrets",
            "p",
            &format!("s{number}"),
            began.elapsed(),
        );
        kafka.producer().send("goes-away", event.to_string());
    };
    (0..3).for_each(|number| read_then(&away, number));
    eventually("the first reads are counted", || {
        tripline.metric("tripline_records_total", &[]).filter(|records| *records >= 3.0)
    });
    away.stop();
    eventually("/readyz says which one is away", || {
        tripline.readiness().filter(|(status, text)| *status == 503 && text.contains("source a"))
    });
    // The other one's time goes on, beyond the end of the window and of the patience with silence. After 45 s without a
    // broker the consumer would join anew, which is another matter.
    eventually("the other source is read", || {
        let pod = audit::event("user-b", "get", "pods", "p", "x");
        there.producer().send("stays", pod.to_string());
        (began.elapsed() > Duration::from_secs(25)).then_some(())
    });
    away.start();
    (3..5).for_each(|number| read_then(&away, number));
    eventually("what piled up counts in its window", || {
        users(&hook.alerts("/alerts"), "five_reads").pop()
    });
    assert_eq!(tripline.metric("tripline_partitions_given_up_total", &[]), Some(0.0));
    tripline.stop();
}

#[test]
fn a_broker_that_hangs_is_said_soon_and_once() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (mut kafka, hook) = (Kafka::started(), Hook::started());
    kafka.create_topic("hangs", 1);
    let config = source_at(&kafka.brokers(), "hangs") + &to_hook(&hook);
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.start_ready();
    kafka.suspend();
    eventually("/readyz says that the brokers do not answer", || {
        tripline.readiness().filter(|(status, text)| *status == 503 && text.contains("not answer"))
    });
    never("it is said again and again", Duration::from_secs(8), || {
        let log = tripline.log();
        let lines = log.lines().filter(|line| line.contains("do not answer")).count();
        // The source says it, and so does the state of the component.
        (lines > 2).then_some(log)
    });
    kafka.resume();
    tripline.wait_ready();
    kafka.producer().send("hangs", read("user-a", "s"));
    eventually("what comes then is read", || users(&hook.alerts("/alerts"), "secret_read").pop());
    tripline.stop();
}

#[test]
fn a_receiver_that_is_away_fills_no_log() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("quiet", 1);
    let config = source(kafka, "quiet") + &to_hook(&hook);
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.start_ready();
    hook.refuse_with(Some((StatusCode::INTERNAL_SERVER_ERROR, "0")));
    let producer = kafka.producer();
    (0..40).for_each(|number| producer.send("quiet", read(&format!("user-{number}"), "s")));
    eventually("each of them was tried, and some again", || {
        (hook.refused().len() >= 60).then_some(())
    });
    let log = tripline.log();
    let lines = log.lines().filter(|line| line.contains("delivery will be retried")).count();
    assert_eq!(lines, 1, "{log}");
    hook.refuse_with(None);
    eventually("all arrive", || (hook.alerts("/alerts").len() >= 40).then_some(()));
    eventually("the end is said", || {
        tripline.log().contains("it takes notifications again").then_some(())
    });
    tripline.stop();
}

#[test]
fn what_an_open_transaction_holds_back_is_lag() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("open", 1);
    let mut tripline = Tripline::new(&(source(kafka, "open") + &to_hook(&hook)), &[SECRET_READ]);
    tripline.start_ready();
    let open: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka.brokers())
        .set("transactional.id", "open")
        .create()
        .unwrap();
    let wait = Duration::from_secs(30);
    open.init_transactions(wait).unwrap();
    open.begin_transaction().unwrap();
    let aborted = read("user-aborted", "s");
    open.send(BaseRecord::<[u8], str>::to("open").payload(&aborted)).unwrap();
    open.flush(wait).unwrap();
    kafka.producer().send("open", read("user-behind", "s"));
    eventually("both records are lag", || {
        tripline.metric("tripline_source_lag_records", &[]).filter(|lag| *lag == 2.0)
    });
    assert_eq!(users(&hook.alerts("/alerts"), "secret_read"), [] as [&str; 0]);
    open.abort_transaction(wait).unwrap();
    eventually("what was behind it is read", || {
        (users(&hook.alerts("/alerts"), "secret_read") == ["user-behind"]).then_some(())
    });
    eventually("nothing is left", || {
        tripline.metric("tripline_source_lag_records", &[]).filter(|lag| *lag == 0.0)
    });
    tripline.stop();
}
