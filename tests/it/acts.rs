//! What people do by command line and API: shown, counted, refused with a reason, and durable once it is answered.

use std::process::Output;

use serde_json::{Value, json};

use crate::{
    binary::tripline,
    http_server::write_rule,
    running::{Running, event},
};

struct Console {
    running: Running,
    directory: tempfile::TempDir,
    fingerprint: String,
}

impl Console {
    /// With one alert that fires.
    async fn open() -> Console {
        let directory = tempfile::tempdir().unwrap();
        write_rule(directory.path());
        let mut running = Running::start(directory.path(), "");
        running.wait("/healthz", |code, _| code == 200).await;
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S").to_string();
        running.write(&event("create", "eve", &now));
        let shown = running.wait("/api/v1/alerts", |_, text| text.contains("fingerprint")).await;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let fingerprint = shown["alerts"][0]["fingerprint"].as_str().unwrap().to_owned();
        Console { running, directory, fingerprint }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let server = format!("http://{}", self.running.address());
        let mut command = tripline(self.directory.path());
        command.args(arguments).args(["--server", &server]).output().unwrap()
    }

    /// What a command prints that is told by the environment where the server is.
    fn say_to(&self, variable: &str, arguments: &[&str]) -> String {
        let server = format!("http://{}", self.running.address());
        let mut command = tripline(self.directory.path());
        let output = command.args(arguments).env(variable, server).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command prints that works.
    fn say(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The code and what a command complains of that does not.
    fn fail(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.run(arguments);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.say(&[arguments, &["--format", "json"]].concat())).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_taken_judged_and_commented_on() {
    let console = Console::open().await;
    let it = console.fingerprint.as_str();
    assert!(console.say(&["alerts", "list"]).contains(it));
    for variable in ["TRIPLINE_SERVER", "TRIPLINE_URL"] {
        assert!(console.say_to(variable, &["alerts", "list"]).contains(it), "{variable}");
        let asked = console.say_to(variable, &["timeline", "--since", "1h"]);
        assert!(!asked.is_empty(), "{variable}");
    }
    let taken = console.say(&["alerts", "ack", it, "--by", "ann"]);
    assert!(taken.contains("acknowledged by ann, of ann"), "{taken}");
    // The second sees the first's act.
    let taken = console.say(&["alerts", "ack", it, "--by", "bob"]);
    assert!(taken.contains("of bob") && taken.contains("ann acknowledge"), "{taken}");
    let given = console.say(&["alerts", "assign", it, "--to", "kim", "--by", "bob"]);
    assert!(given.contains("of kim"), "{given}");
    let text = "asked \u{1b}[31mbob\u{202e}";
    console.say(&["alerts", "comment", it, "--text", text, "--by", "ann"]);
    let judged = ["alerts", "verdict", it, "--is", "benign", "--by", "ann", "--id", "1"];
    assert_eq!(console.json(&judged)["again"], false);
    let again = console.json(&judged);
    assert_eq!(again["again"], true);
    assert_eq!(again["alerts"][0]["deeds"].as_array().unwrap().len(), 5, "{again}");
    let shown = console.say(&["alerts", "show", it]);
    for part in ["exec", "benign", "asked ", "acknowledged by bob", "1 comments"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown}");
    assert!(console.say(&["alerts", "list"]).contains("[acknowledged by bob, of kim, benign"));

    // It is told, unless a program asks.
    let told = console.run(&judged);
    assert!(String::from_utf8_lossy(&told.stderr).starts_with("done before: "), "{told:?}");
    let told = console.run(&[judged.as_slice(), &["--format", "json"]].concat());
    assert_eq!((told.status.code(), told.stderr.as_slice()), (Some(0), b"".as_slice()));
    // Another act is not taken for it, and does nothing.
    let other = ["alerts", "resolve", it, "--why", "gone", "--by", "ann", "--id", "1"];
    let silence = ["silence", "add", "--for", "1h", "--reason", "r", "--by", "ann", "--id", "1"];
    for other in [other.to_vec(), [silence.as_slice(), &["alertname=zz"]].concat()] {
        let (code, said) = console.fail(&other);
        assert!(code == Some(1) && said.contains("another act was done"), "{other:?}: {said}");
        assert!(!said.contains("sends the same act"), "{said}");
    }
    assert!(console.say(&["alerts", "list"]).contains(it), "it fires on");
    assert_eq!(console.say(&["silence", "list"]), "");

    let nobody = "0".repeat(32);
    let (long, fits) = ("ü".repeat(4_097), "ü".repeat(4_096));
    console.say(&["alerts", "comment", it, "--text", &fits]);
    let kept = console.json(&["alerts", "show", it]);
    assert_eq!(kept["deeds"].as_array().unwrap().last().unwrap()["text"], fits);
    let name = "n".repeat(254);
    let both = console.json(&["alerts", "ack", &nobody, it]);
    assert_eq!(both["unknown"], json!([nobody]));
    for (arguments, code, part) in [
        (vec!["alerts", "ack", &nobody], 1, "no such alert is known"),
        (vec!["alerts", "ack", "x"], 2, "32 hexadecimal digits"),
        (vec!["alerts", "verdict", it, "--is", "fine"], 2, "true_positive"),
        (vec!["alerts", "comment", it, "--text", " "], 2, "`text` is empty"),
        (vec!["alerts", "show", &nobody], 1, "no such alert is known"),
        (vec!["alerts", "comment", it, "--text", &long], 2, "at most 8,192 bytes"),
        (vec!["alerts", "resolve", it, "--why", &long], 2, "at most 8,192 bytes"),
        (vec!["alerts", "assign", it, "--to", &name], 2, "a name 253"),
        (vec!["alerts", "ack", it, "--by", &name], 2, "a name 253"),
        (vec!["silence", "add", "--for", "2h", "--reason", &long, "a=b"], 2, "at most 8,192"),
    ] {
        let (found, said) = console.fail(&arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
    console.say(&["alerts", "resolve", it, "--why", "a test"]);
    let over = |_: u16, text: &str| text.contains("\"total\":0");
    console.running.wait("/api/v1/alerts", over).await;
    let (code, said) = console.fail(&["alerts", "resolve", it, "--why", "a test"]);
    assert!(code == Some(1) && said.contains("over already"), "{said}");
    let metric = console.running.metric("tripline_acts_total{act=\"acknowledge\"}").await;
    assert!(metric >= Some(2.0), "{metric:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_is_previewed_made_shown_and_ended() {
    let console = Console::open().await;
    let preview = console.say(&["silence", "preview", "alertname=~ex.*", "severity!=high"]);
    assert!(preview.starts_with("1 of 1 alerts that fire would be hidden; 1 in the"), "{preview}");
    let preview = console.say(&["silence", "preview", "alertname=other"]);
    assert!(preview.starts_with("0 of 1 alerts"), "{preview}");
    let add = ["silence", "add", "--for", "2h", "--reason", "a test", "--by", "ann", "--id", "s"];
    let add = [add.as_slice(), &["alertname=exec"]].concat();
    let made = console.json(&add);
    assert_eq!(made["silence"]["hiding_count"], 1, "{made}");
    assert_eq!(made["silence"]["matchers"], json!(["alertname=\"exec\""]));
    assert_eq!(console.json(&add)["again"], true);
    let other = |span, matcher| {
        let add = ["silence", "add", "--reason", "a test", "--by", "ann", "--id", "s", "--for"];
        [add.as_slice(), &[span, matcher]].concat()
    };
    // A span is the same, however it is written and whenever it is sent.
    assert_eq!(console.json(&other("120m", "alertname=exec"))["again"], true);
    for other in [other("8h", "alertname=exec"), other("2h", "alertname=bb")] {
        let (code, said) = console.fail(&other);
        assert!(code == Some(1) && said.contains("another act was done"), "{other:?}: {said}");
    }
    let body = json!({
        "matchers": ["alertname=exec"], "reason": "other", "for": "2h", "by": "ann", "id": "s",
    });
    let sent = ("application/json", body.to_string());
    let (code, text) = console.running.post("/api/v1/silences", (sent.0, &sent.1), &[]).await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &answer["code"]), (409, &json!("another_act")), "{text}");
    assert!(answer["hint"].as_str().unwrap().contains("an `id` of its own"), "{text}");
    let id = made["silence"]["id"].as_str().unwrap();
    assert!(console.say(&["alerts", "list"]).contains("[silenced]"));
    let listed = console.say(&["silence", "list"]);
    assert!(listed.contains("active") && listed.contains("ann: a test; hides 1"), "{listed}");
    let ended = console.say(&["silence", "end", id, "--by", "bob", "--why", "done"]);
    assert!(ended.contains("expired") && ended.contains("ended by bob: done"), "{ended}");
    let shown = console.say(&["alerts", "show", &console.fingerprint]);
    assert!(shown.contains(&format!("silence {id}")), "expired ones are shown: {shown}");
    for (arguments, code, part) in [
        (vec!["silence", "end", id], 1, "over already"),
        (vec!["silence", "end", &console.fingerprint], 1, "no such silence"),
        (vec!["silence", "end", "x"], 2, "no id of a silence"),
        (vec!["silence", "add", "--for", "2h", "--reason", "r", "a=~("], 2, "not a regular"),
        (vec!["silence", "add", "--for", "2h", "--reason", "r", "a=~.*"], 2, "every alert"),
        (vec!["silence", "add", "--for", "400d", "--reason", "r", "a=b"], 2, "366 days"),
        (vec!["silence", "add", "--for", "soon", "--reason", "r", "a=b"], 2, "no duration"),
        (vec!["silence", "add", "--for", "2h", "--reason", " ", "a=b"], 2, "`reason` is empty"),
    ] {
        let (found, said) = console.fail(&arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_is_not_said_to_be_done() {
    let console = Console::open().await;
    let it = console.fingerprint.as_str();
    let state = console.directory.path().join("state/tripline.db");
    std::fs::rename(&state, state.with_extension("away")).unwrap();
    let comment = ["alerts", "comment", it, "--text", "lost?", "--by", "ann", "--id", "c"];
    let (code, said) = console.fail(&comment);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--id c"), "{said}");
    let (code, said) = console.fail(&comment);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("nothing was done"), "{said}");
}
