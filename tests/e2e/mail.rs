//! A group of alerts by mail: one thread, each recipient by itself.

use std::collections::BTreeSet;

use crate::{
    harness::{
        Service, available, eventually,
        kafka::Kafka,
        smtp::{self, Mail, Smtp},
        tripline::Tripline,
    },
    rules::{SECRET_READ, read, source},
};

#[test]
fn beginning_and_end_are_one_thread_and_nobody_gets_a_mail_twice() {
    if !available(&[Service::Kafka, Service::Smtp]) {
        return;
    }
    let (kafka, smtp) = (Kafka::shared(), Smtp::started());
    kafka.create_topic("mail", 1);
    let config = format!(
        "{source}engine: {{grace: 1s, idle_after: 1s, resolve_after: 5s}}
log: {{level: trace}}
receivers:
  - name: mail
    email:
      to: [oncall@example.org, {refused}, {deferred}]
      from: tripline@example.org
      smarthost: localhost:{port}
      ca_file: {ca}
      username: {user}
      password_env: MAIL_PASSWORD
route: {{receiver: mail, group_wait: 0s, group_interval: 1s}}
",
        source = source(kafka, "mail"),
        refused = smtp::REFUSED,
        deferred = smtp::DEFERRED,
        port = smtp.starttls_port,
        ca = smtp.ca().display(),
        user = smtp::USER,
    );
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.set_variable("MAIL_PASSWORD", smtp::PASSWORD);
    tripline.start_ready();
    kafka.producer().send("mail", read("user-a", "s"));
    let of = |recipient: &str| -> Vec<Mail> {
        let to = |mail: &Mail| mail.recipients == [recipient];
        smtp.mails().into_iter().filter(to).collect()
    };
    let is_end = |mail: &Mail| mail.header("Subject").starts_with("[resolved]");
    eventually("everybody is told of the end", || {
        let known = [of("oncall@example.org"), of(smtp::DEFERRED)];
        known.iter().all(|mails| mails.iter().any(is_end)).then_some(())
    });
    let mails = of("oncall@example.org");
    let ids: BTreeSet<&str> = mails.iter().map(|mail| mail.header("Message-ID")).collect();
    assert_eq!(ids.len(), mails.len(), "the same mail twice: {mails:?}");
    assert!(mails.len() >= 2, "{mails:?}");
    let threads: BTreeSet<(&str, &str)> = smtp_headers(&mails);
    assert_eq!(threads.len(), 1, "{mails:?}");
    let deferred = of(smtp::DEFERRED);
    assert_eq!(smtp_headers(&deferred), threads, "the thread is the same for everybody");
    assert_eq!(of(smtp::REFUSED).len(), 0);
    for (recipient, is_refused) in
        [("oncall@example.org", false), (smtp::REFUSED, true), (smtp::DEFERRED, false)]
    {
        let recipient = format!("recipient=\"{recipient}\"");
        let rejected = ["receiver=\"mail\"", &recipient, "outcome=\"rejected\""];
        let count = tripline.metric("tripline_delivery_attempts_total", &rejected);
        assert_eq!(count.map(|count| count > 0.0), Some(is_refused), "{recipient}");
    }
    assert!(!tripline.log().contains(smtp::PASSWORD), "the password is in the log");
    tripline.stop();
}

fn smtp_headers(mails: &[Mail]) -> BTreeSet<(&str, &str)> {
    mails.iter().map(|mail| (mail.header("References"), mail.header("In-Reply-To"))).collect()
}
