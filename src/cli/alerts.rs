//! `tripline alerts`: what fires in a running Tripline, and what people do about it.
#![allow(clippy::indexing_slicing, reason = "JSON answers `null` for what is not there")]

use std::{collections::BTreeMap, fmt::Write as _, process::ExitCode};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    acting::{ByArgs, ServerArgs, items, text_of},
    exit, output,
};
use crate::engine::{act::Verdict, alert::Fingerprint};

/// Show the alerts that fire in a running Tripline, take them, judge them, comment on them, end them.
///
/// Acknowledging an alert makes it yours, and stops its repetitions until its severity rises. What is done is
/// durable once the command says so, and an entry of the ledger with name, role and address.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes:
  0  shown, or done and durable
  1  no such alert is known, the id is of another act, Tripline cannot be reached, or its store fails
  2  that is no fingerprint, no verdict, or a text that is too long

Examples:
  tripline alerts list
  tripline alerts ack 3f0c7e1e57a04d0e9a7b3f6f2f3b8a01 --by ann
  tripline alerts verdict --is false_positive 3f0c7e1e57a04d0e9a7b3f6f2f3b8a01
  tripline alerts comment 3f0c7e1e57a04d0e9a7b3f6f2f3b8a01 --text 'asked bob'
  tripline alerts resolve 3f0c7e1e57a04d0e9a7b3f6f2f3b8a01 --by ann --why 'a test of ours'")]
pub(super) struct AlertsArgs {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// One line for each alert that fires, the worst first.
    List,
    /// One alert, and what people did about it.
    Show {
        /// As `list` and every notification show it.
        fingerprint: String,
    },
    /// Take alerts: they are yours, and not repeated until they are graver.
    Ack {
        /// As `list` and every notification show them.
        #[arg(required = true)]
        fingerprints: Vec<String>,
        /// What there is to say.
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        text: String,
        #[command(flatten)]
        by: ByArgs,
    },
    /// Give alerts to somebody.
    Assign {
        /// As `list` and every notification show them.
        #[arg(required = true)]
        fingerprints: Vec<String>,
        /// Whose they are to be; nobody's if empty.
        #[arg(long, value_name = "NAME")]
        to: String,
        #[command(flatten)]
        by: ByArgs,
    },
    /// Say what alerts turned out to be.
    Verdict {
        /// As `list` and every notification show them.
        #[arg(required = true)]
        fingerprints: Vec<String>,
        /// true_positive, benign or false_positive.
        #[arg(long = "is", value_name = "VERDICT")]
        verdict: String,
        /// Why.
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        text: String,
        #[command(flatten)]
        by: ByArgs,
    },
    /// Say something about alerts.
    Comment {
        /// As `list` and every notification show them.
        #[arg(required = true)]
        fingerprints: Vec<String>,
        /// What.
        #[arg(long, value_name = "TEXT")]
        text: String,
        #[command(flatten)]
        by: ByArgs,
    },
    /// End alerts, whatever their rule says; who and why goes to receivers and into the ledger.
    Resolve {
        /// As `list` and every notification show them.
        #[arg(required = true)]
        fingerprints: Vec<String>,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        why: String,
        #[command(flatten)]
        by: ByArgs,
    },
}

pub(super) fn execute(args: &AlertsArgs) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::List => list(&args.server),
        Action::Show { fingerprint } => show(&args.server, fingerprint),
        Action::Ack { fingerprints, text, by } => {
            act(&args.server, fingerprints, by, json!({ "act": "acknowledge", "text": text }))
        }
        Action::Assign { fingerprints, to, by } => {
            act(&args.server, fingerprints, by, json!({ "act": "assign", "to": to }))
        }
        Action::Verdict { fingerprints, verdict, text, by } => {
            if Verdict::parse(verdict).is_none() {
                let words = Verdict::ALL.map(Verdict::as_str).join(", ");
                output::complain(&format!("`{verdict}` is no verdict; there are: {words}"));
                return Ok(ExitCode::from(exit::USAGE));
            }
            let body = json!({ "act": "verdict", "verdict": verdict, "text": text });
            act(&args.server, fingerprints, by, body)
        }
        Action::Comment { fingerprints, text, by } => {
            act(&args.server, fingerprints, by, json!({ "act": "comment", "text": text }))
        }
        Action::Resolve { fingerprints, why, by } => {
            act(&args.server, fingerprints, by, json!({ "act": "resolve", "text": why }))
        }
    }
}

fn is_fingerprint(text: &str) -> bool {
    let is_one = text.parse::<Fingerprint>().is_ok();
    if !is_one {
        output::complain("a fingerprint has 32 hexadecimal digits");
    }
    is_one
}

fn act(
    server: &ServerArgs,
    fingerprints: &[String],
    by: &ByArgs,
    mut body: Value,
) -> anyhow::Result<ExitCode> {
    if !fingerprints.iter().all(|text| is_fingerprint(text)) {
        return Ok(ExitCode::from(exit::USAGE));
    }
    body["alerts"] = fingerprints.into();
    let id = by.put_into(&mut body);
    server.send("/api/v1/alerts/acts", &body, Some(&id), told)
}

/// What came of an act: each alert as it is now, and what others did first.
fn told(answer: &Value) -> String {
    let mut text = String::new();
    for alert in items(answer, "/alerts") {
        let _ = writeln!(text, "{}", state_line(alert));
        let before = alert.get("before_count").and_then(Value::as_u64).unwrap_or(0);
        let before = usize::try_from(before).unwrap_or(usize::MAX);
        // The newest of them are what somebody may have missed.
        for deed in items(alert, "/deeds").take(before).skip(before.saturating_sub(3)) {
            let _ = writeln!(text, "  before: {}", deed_line(deed));
        }
    }
    for unknown in items(answer, "/unknown").filter_map(Value::as_str) {
        let _ = writeln!(text, "{unknown}  not known, or over; nothing was done with it");
    }
    text
}

/// Fingerprint and what people did, in a line.
fn state_line(alert: &Value) -> String {
    format!("{}  {}", text_of(alert, "/fingerprint"), words_of(alert))
}

/// What people did about an alert, in words.
fn words_of(alert: &Value) -> String {
    let mut words = Vec::new();
    if alert.get("firing") == Some(&Value::Bool(false)) {
        words.push("ended".to_owned());
    }
    let count = |pointer: &str| items(alert, pointer).count();
    if count("/silenced_by") > 0 {
        words.push("silenced".to_owned());
    }
    for (word, pointer) in
        [("acknowledged by", "/acknowledged_by"), ("of", "/assignee"), ("", "/verdict")]
    {
        let text = text_of(alert, pointer);
        if !text.is_empty() {
            words.push(format!("{word} {text}").trim_start().to_owned());
        }
    }
    let is_quieted = alert.get("is_quieted") == Some(&Value::Bool(true));
    if !is_quieted && !text_of(alert, "/acknowledged_by").is_empty() {
        words.push("graver since".to_owned());
    }
    let deeds = items(alert, "/deeds");
    let comments = deeds.filter(|deed| deed.get("what") == Some(&"comment".into())).count();
    if comments > 0 {
        words.push(format!("{comments} comments"));
    }
    words.join(", ")
}

/// When, who, what and the words; further lines of these stand below the first.
fn deed_line(deed: &Value) -> String {
    let parts = ["/at", "/by/name", "/what", "/value"].map(|pointer| text_of(deed, pointer));
    let text = deed.pointer("/text").and_then(Value::as_str).unwrap_or_default();
    let mut lines = text.lines().map(crate::engine::text::printable);
    let first = format!("{} {}", parts.join(" "), lines.next().unwrap_or_default());
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    lines.fold(words(&first), |said, line| format!("{said}\n{:11}{}", "", words(&line)))
}

fn list(server: &ServerArgs) -> anyhow::Result<ExitCode> {
    let mut answer = server.get("/api/v1/alerts")?;
    let acts = server.get("/api/v1/alerts/acts")?;
    let firing = items(&acts, "/alerts").filter(|one| one.get("firing") == Some(&true.into()));
    let by_name: BTreeMap<String, &Value> =
        firing.map(|one| (text_of(one, "/fingerprint").into_owned(), one)).collect();
    if let Some(alerts) = answer.get_mut("alerts").and_then(Value::as_array_mut) {
        for alert in alerts {
            let name = text_of(alert, "/fingerprint").into_owned();
            if let Some(acts) = by_name.get(&name) {
                alert["acts"] = (*acts).clone();
            }
        }
    }
    server.show(&answer, |answer| {
        items(answer, "/alerts").fold(String::new(), |text, alert| text + &line(alert) + "\n")
    })
}

/// Fingerprint, severity, since when, what it says, and what people did.
fn line(alert: &Value) -> String {
    let text = |path: &str| text_of(alert, path);
    let words = alert.get("acts").map(words_of).filter(|words| !words.is_empty());
    format!(
        "{}  {:<13} {}  {}{}",
        text("/fingerprint"),
        text("/severity"),
        text("/starts_at"),
        text("/annotations/summary"),
        words.map_or_else(String::new, |words| format!("  [{words}]"))
    )
}

fn show(server: &ServerArgs, fingerprint: &str) -> anyhow::Result<ExitCode> {
    if !is_fingerprint(fingerprint) {
        return Ok(ExitCode::from(exit::USAGE));
    }
    let mut answer = server.get(&format!("/api/v1/alerts/{fingerprint}/acts"))?;
    let firing = server.get("/api/v1/alerts?limit=1000000")?;
    let is_meant = |alert: &&Value| alert.get("fingerprint") == Some(&fingerprint.into());
    if let Some(alert) = items(&firing, "/alerts").find(is_meant) {
        answer["alert"] = alert.clone();
    }
    server.show(&answer, |answer| {
        let part = |pointer: &str| text_of(answer, pointer);
        let mut text = format!(
            "{}  {}\n{} since {}\n",
            part("/fingerprint"),
            part("/rule_title"),
            part("/severity"),
            part("/starts_at")
        );
        let mut add = |name: &str, value: &str| {
            if !value.is_empty() {
                let _ = writeln!(text, "{name:<10} {value}");
            }
        };
        add("summary", &part("/alert/annotations/summary"));
        add("people", &words_of(answer));
        for (name, value) in answer.get("labels").and_then(Value::as_object).into_iter().flatten() {
            add(
                "label",
                &format!(
                    "{name}={}",
                    value.as_str().map(crate::engine::text::printable).unwrap_or_default()
                ),
            );
        }
        for deed in items(answer, "/deeds") {
            add("deed", &deed_line(deed));
        }
        for silence in items(answer, "/hidden_by").filter_map(Value::as_str) {
            add("hidden by", &format!("silence {silence}"));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_comment_stand_below_each_other() {
        let deed = json!({
            "at": "2026-01-05T22:14:01Z", "by": { "name": "ann" }, "what": "comment",
            "text": "one \r\ntwo\u{1b}[31m\n three",
        });
        let said =
            "2026-01-05T22:14:01Z ann comment one\n           two\\u{1b}[31m\n           three";
        assert_eq!(deed_line(&deed), said);
    }
}
