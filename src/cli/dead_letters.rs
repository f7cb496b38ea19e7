//! `tripline dead-letters`: what could not be decoded, to look at, and to send again.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::{ConfigArgs, exit, output};
use crate::{
    app::configuration::Configuration,
    engine::{
        decode::take_apart,
        detector::DeadLetterReason,
        event::redact_record,
        text::{counted, cut, printable},
    },
    kafka::StoredRecord,
    store::kept::KeptLetter,
};

/// Letters that are listed unless `--limit` says otherwise: the newest 50.
const LIMIT_DEFAULT: usize = 50;

/// Characters of a detail in a line of the list.
const DETAIL_CHARS: usize = 100;

/// See, and send again, what could not be decoded.
///
/// Letters are named by the record that they come from: `TOPIC/PARTITION@OFFSET`. Secrets in them are
/// redacted. The directory may be looked at while `tripline run` writes to it.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes:
  0  done
  1  there is no such letter, or some were not sent again
  2  the configuration is wrong

Examples:
  tripline dead-letters list --reason not_json
  tripline dead-letters show audit/2@1234
  tripline dead-letters replay --dry-run
  tripline dead-letters list --format json | jq -r .dead_letters[].id")]
pub(super) struct DeadLettersArgs {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// The newest letters, the latest last.
    List(ListArgs),
    /// Letters with what they hold.
    Show(ShowArgs),
    /// Send records again that can be decoded now, as after an update.
    ///
    /// The record is taken from its topic if it is still there, else as it was kept, and written to the
    /// end of that topic. Requests that were counted before do not count twice for as long as rules
    /// remember them.
    Replay(ReplayArgs),
}

#[derive(Args, Debug)]
struct ListArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    choice: Choice,
    /// So many at most.
    #[arg(long, value_name = "N", default_value_t = LIMIT_DEFAULT)]
    limit: usize,
    /// How they are shown.
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

#[derive(Args, Debug)]
struct ShowArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Letters, as the list names them.
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// How they are shown.
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

#[derive(Args, Debug)]
struct ReplayArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Letters, as the list names them; all, if left out.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    choice: Choice,
    /// Only say what would be sent.
    #[arg(long)]
    dry_run: bool,
    /// Write them here as lines instead of sending them; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How it is said what came of it.
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

#[derive(Args, Debug)]
struct Choice {
    /// Only those with this reason, as in the metric's label.
    #[arg(long, value_name = "REASON", value_parser = reason)]
    reason: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

fn reason(word: &str) -> Result<&'static str, String> {
    let words = DeadLetterReason::ALL.map(DeadLetterReason::as_str);
    DeadLetterReason::parse(word)
        .map(DeadLetterReason::as_str)
        .ok_or_else(|| format!("it is one of: {}", words.join(", ")))
}

impl Choice {
    fn takes(&self, letter: &KeptLetter) -> bool {
        self.reason.is_none_or(|reason| reason == letter.reason)
    }
}

pub(super) fn execute(args: &DeadLettersArgs) -> anyhow::Result<ExitCode> {
    let config = match &args.command {
        Action::List(list) => &list.config,
        Action::Show(show) => &show.config,
        Action::Replay(replay) => &replay.config,
    };
    let configuration = match Configuration::read(&config.input()) {
        Ok((configuration, _)) => configuration,
        Err(problems) => return Ok(output::refuse(&problems, "no dead letter was looked at")),
    };
    let letters = match configuration.kept_dead_letters() {
        Ok(letters) => letters,
        Err(problem) => return Err(anyhow!(problem.one_line())),
    };
    match &args.command {
        Action::List(args) => list(args, &letters),
        Action::Show(args) => show(args, &letters),
        Action::Replay(args) => replay(args, &configuration, &letters),
    }
}

fn list(args: &ListArgs, letters: &[KeptLetter]) -> anyhow::Result<ExitCode> {
    let chosen: Vec<&KeptLetter> =
        letters.iter().filter(|letter| args.choice.takes(letter)).collect();
    let shown = chosen.get(chosen.len().saturating_sub(args.limit)..).unwrap_or_default();
    output::print_all(&match args.format {
        Format::Json => {
            let views: Vec<Value> = shown.iter().map(|letter| view(letter)).collect();
            format!("{:#}\n", json!({ "total": chosen.len(), "dead_letters": views }))
        }
        Format::Text => {
            let width = shown.iter().map(|letter| letter.id().chars().count()).max().unwrap_or(0);
            let line = |letter: &&KeptLetter| {
                let (id, detail) = (letter.id(), cut(&letter.detail, DETAIL_CHARS));
                let KeptLetter { time, reason, payload, .. } = letter;
                let bytes = payload.len();
                let line = format!("{id:width$}  {time}  {reason:15}  {bytes:>8} B  {detail}");
                format!("{}\n", printable(line.trim_end()))
            };
            let mut text: String = shown.iter().map(line).collect();
            text.push_str(&format!(
                "{} of {}\n",
                shown.len(),
                counted(chosen.len(), "dead letter")
            ));
            text
        }
    })?;
    Ok(exit::OK)
}

/// A letter without what it holds.
fn view(letter: &KeptLetter) -> Value {
    let KeptLetter { time, topic, partition, offset, reason, detail, payload } = letter;
    json!({
        "id": letter.id(), "time": time, "topic": topic, "partition": partition, "offset": offset,
        "reason": reason, "detail": detail, "bytes": payload.len(),
    })
}

/// Those that are named. Every name must be one.
fn named<'a>(letters: &'a [KeptLetter], ids: &[String]) -> Result<Vec<&'a KeptLetter>, ExitCode> {
    let unknown = ids.iter().find(|id| !letters.iter().any(|letter| letter.id() == **id));
    if let Some(id) = unknown {
        output::complain(&format!(
            "there is no dead letter `{}`; `tripline dead-letters list` names those that are kept",
            printable(id)
        ));
        return Err(ExitCode::from(exit::FAILURE));
    }
    Ok(letters.iter().filter(|letter| ids.contains(&letter.id())).collect())
}

fn show(args: &ShowArgs, letters: &[KeptLetter]) -> anyhow::Result<ExitCode> {
    let chosen = match named(letters, &args.ids) {
        Ok(chosen) => chosen,
        Err(code) => return Ok(code),
    };
    output::print_all(&match args.format {
        Format::Json => {
            let whole = |letter: &&KeptLetter| {
                let mut view = view(letter);
                let (name, payload) = if let Ok(text) = std::str::from_utf8(&letter.payload) {
                    ("payload", text.to_owned())
                } else {
                    use base64::{Engine as _, engine::general_purpose::STANDARD};
                    ("payload_base64", STANDARD.encode(&letter.payload))
                };
                if let Some(fields) = view.as_object_mut() {
                    fields.insert(name.to_owned(), payload.into());
                }
                view
            };
            let views: Vec<Value> = chosen.iter().map(whole).collect();
            format!("{:#}\n", json!({ "dead_letters": views }))
        }
        Format::Text => {
            let whole = |letter: &&KeptLetter| {
                let text = String::from_utf8_lossy(&letter.payload);
                let lines: Vec<String> =
                    text.lines().map(|line| printable(line).into_owned()).collect();
                let KeptLetter { time, reason, detail, .. } = letter;
                format!(
                    "{}  {time}\n{reason}: {}\n\n{}\n",
                    printable(&letter.id()),
                    printable(detail),
                    lines.join("\n")
                )
            };
            chosen.iter().map(whole).collect::<Vec<_>>().join("\n")
        }
    })?;
    Ok(exit::OK)
}

/// What became of the letters.
#[derive(Default)]
struct Replayed {
    /// Those that were sent, and where the record came from.
    sent: Vec<(String, &'static str)>,
    /// Those that were not, and why.
    left: Vec<(String, String)>,
}

fn replay(
    args: &ReplayArgs,
    configuration: &Configuration,
    letters: &[KeptLetter],
) -> anyhow::Result<ExitCode> {
    let chosen = if args.ids.is_empty() {
        letters.iter().collect()
    } else {
        match named(letters, &args.ids) {
            Ok(chosen) => chosen,
            Err(code) => return Ok(code),
        }
    };
    let mut out = if args.dry_run { None } else { open(args)? };
    let mut done = Replayed::default();
    for letter in chosen.into_iter().filter(|letter| args.choice.takes(letter)) {
        let original = configuration.original_of(letter);
        let (payload, from) = match original.as_ref().and_then(|record| whole(record, letter)) {
            Some(payload) => (payload, "topic"),
            None => (letter.payload.as_slice(), "kept"),
        };
        let id = letter.id();
        let taken = take_apart(payload);
        if taken.events == 0 || taken.dead_letters > 0 {
            done.left.push((id, "it can still not be decoded".to_owned()));
            continue;
        }
        let lines = args.output.as_ref().map(|_| as_lines(payload));
        let sent = match (lines, &mut out) {
            (Some(None), _) => {
                Err("its bytes do not fit into lines; send it to its topic".to_owned())
            }
            _ if args.dry_run => Ok(()),
            (Some(Some(lines)), Some(out)) => {
                let written = out.write_all(&lines).and_then(|()| out.write_all(b"\n"));
                written.map_err(|error| error.to_string())
            }
            _ => configuration.send_again(letter, payload, original.as_ref()),
        };
        match sent {
            Ok(()) => done.sent.push((id, from)),
            Err(why) => done.left.push((id, why)),
        }
    }
    if let Some(out) = &mut out {
        out.flush()?;
    }
    // Standard output may be where the records went.
    let said = said(args, &done);
    if args.output.is_some() {
        output::tell(said.trim_end());
    } else {
        output::print_all(&said)?;
    }
    Ok(if done.left.is_empty() { exit::OK } else { ExitCode::from(exit::FAILURE) })
}

fn open(args: &ReplayArgs) -> anyhow::Result<Option<Box<dyn std::io::Write>>> {
    let Some(path) = &args.output else { return Ok(None) };
    if path.as_os_str() == "-" {
        return Ok(Some(Box::new(std::io::stdout())));
    }
    let file = std::fs::File::create(path);
    Ok(Some(Box::new(file.with_context(|| format!("cannot write {}", path.display()))?)))
}

/// All that a record in its topic holds, if the letter is all of it: a part of a record is sent as it was kept.
fn whole<'a>(record: &'a StoredRecord, letter: &KeptLetter) -> Option<&'a [u8]> {
    let payload = record.payload.as_deref()?;
    redact_record(payload).starts_with(&letter.payload).then_some(payload)
}

/// A payload as lines that a source of files reads as the same events; `None` if there are none: what is compressed, or
/// encoded otherwise, may have a line break as one of its bytes.
fn as_lines(payload: &[u8]) -> Option<Vec<u8>> {
    if serde_json::from_slice::<IgnoredAny>(payload).is_ok() {
        // Between parts of JSON a line break says nothing, and within a text there is none.
        return Some(payload.iter().copied().filter(|byte| *byte != b'\n').collect());
    }
    let payload = payload.strip_suffix(b"\n").unwrap_or(payload);
    let taken = payload.split(|byte| *byte == b'\n').map(take_apart);
    let events = taken.map(|taken| (taken.dead_letters == 0).then_some(taken.events));
    let events: usize = events.sum::<Option<usize>>()?;
    (events == take_apart(payload).events).then(|| payload.to_vec())
}

fn said(args: &ReplayArgs, done: &Replayed) -> String {
    if args.format == Format::Json {
        let sent: Vec<Value> =
            done.sent.iter().map(|(id, from)| json!({ "id": id, "from": from })).collect();
        let left: Vec<Value> =
            done.left.iter().map(|(id, why)| json!({ "id": id, "why": why })).collect();
        return format!("{:#}\n", json!({ "dry_run": args.dry_run, "sent": sent, "left": left }));
    }
    let mut text = String::new();
    for (id, why) in &done.left {
        text.push_str(&format!("{}: not sent: {}\n", printable(id), printable(why)));
    }
    let kept = done.sent.iter().filter(|(_, from)| *from == "kept").count();
    let verb = if args.dry_run { "would be sent again" } else { "sent again" };
    text.push_str(&format!(
        "{} {verb}, {kept} of them as kept, with secrets redacted; {} left\n",
        counted(done.sent.len(), "dead letter"),
        done.left.len()
    ));
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_payload_goes_into_lines_or_is_left() {
        let event = |name: &str| {
            format!(
                r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{name}","stage":"ResponseComplete","requestURI":"/","verb":"get","user":{{"username":"{name}"}},"requestReceivedTimestamp":"2026-01-05T22:14:01.000000Z","stageTimestamp":"2026-01-05T22:14:01.000000Z"}}"#
            )
        };
        let (ann, bob) = (event("ann"), event("bob"));
        let written_out = ann.replace(',', ",\n ");
        let lines = as_lines(written_out.as_bytes()).unwrap();
        assert!(!lines.contains(&b'\n') && take_apart(&lines).events == 1);
        // Lines of a container's log stay lines.
        let log = |event: &str| format!("2026-01-05T22:14:01.000000000Z stdout F {event}");
        let logs = format!("{}\n{}\n", log(&ann), log(&bob));
        assert_eq!(take_apart(logs.as_bytes()).events, 2);
        assert_eq!(as_lines(logs.as_bytes()).unwrap(), logs.trim_end().as_bytes());
        // Bytes that only look like line breaks.
        let packed = (0..64).map(|number| {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(event(&number.to_string().repeat(40)).as_bytes()).unwrap();
            encoder.finish().unwrap()
        });
        let (whole, broken): (Vec<_>, Vec<_>) = packed.partition(|packed| !packed.contains(&b'\n'));
        assert!(!whole.is_empty() && !broken.is_empty());
        assert!(whole.iter().all(|packed| as_lines(packed).as_ref() == Some(packed)));
        assert!(broken.iter().all(|packed| as_lines(packed).is_none()));
    }
}
