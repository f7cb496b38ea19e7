//! `tripline evidence`: one file with all that shows an alert, for others to check.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{ConfigArgs, ask::leave_note, exit, output};
use crate::{
    app::{clock::now, configuration::Configuration},
    archive::{
        Reader,
        sign::PublicKey,
        verify::{Asked as AskedChain, CheckSignature},
    },
    ask::Params,
    backtest::Input,
    engine::{
        decode::{Again, event_by_hash},
        duration::parse_duration,
        event_ref::EventRef,
        ledger::{Hash, parse_hex},
        record::{PartitionName, RecordBatch},
        settings::EngineSettings,
        text::{counted, printable, thousands},
    },
    evidence::{
        Asked, Checked, EvidenceError, FetchEvent, Manifest, NextBatch, OpenHistory, Package,
        Period, Replayed, collect, replay, verify,
    },
    source::{RecordReader, file::expand},
};

/// Put all that shows an alert into one file, check such a file, or replay it.
///
/// The file has the alert's whole life, the rules and lists as they were, the events themselves, fetched again
/// by where they were read and checked against their hash, what those did who did it, whom it was told, and
/// the parts of the ledger's chain that prove it. What cannot be had is named in it.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "Exit codes:
  0  the file was made; with verify: nothing is wrong; with replay: the same alert came of it
  1  with verify: something is wrong, and standard output says what; with replay: another alert, or none;
     or something cannot be read or written
  2  an argument is wrong, or there is no such alert
  5  with replay: it cannot be told, since the rule compares with what came before, which is not in the file

Examples:
  tripline evidence 3f2a90c1 -o case-17.tar.zst
  tripline evidence 3f2a90c1 -o case-17.tar.zst --events audit-2026-11-29.log.gz
  tripline evidence verify case-17.tar.zst --public-key ledger.pub
  tripline evidence replay case-17.tar.zst")]
pub(super) struct EvidenceArgs {
    #[command(subcommand)]
    command: Option<EvidenceCommand>,
    #[command(flatten)]
    make: MakeArgs,
}

#[derive(Subcommand, Debug)]
enum EvidenceCommand {
    Verify(VerifyArgs),
    Replay(ReplayArgs),
}

#[derive(Args, Debug)]
struct MakeArgs {
    /// Fingerprint of the alert, or its beginning.
    #[arg(value_name = "FINGERPRINT", required = true)]
    fingerprint: Option<String>,
    /// The file that is made.
    #[arg(long, short, value_name = "FILE.tar.zst", required = true)]
    output: Option<PathBuf>,
    /// State directory of `tripline run`; it may run meanwhile. That of the configuration, if not given.
    #[arg(long, value_name = "DIR", env = "TRIPLINE_STATE")]
    state: Option<PathBuf>,
    /// Directory with month files, if it is not in the state directory: a copy, say.
    #[arg(long, value_name = "DIR")]
    ledger: Option<PathBuf>,
    /// How long before and after the alert is shown.
    #[arg(long, value_name = "SPAN", default_value = "30m")]
    around: String,
    /// Files with audit events, in which they are looked for beside the sources of the configuration; may be
    /// repeated.
    #[arg(long, value_name = "FILE")]
    events: Vec<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Check such a file, on any machine.
///
/// Every part is compared with its hash, the chain is followed, and what is told must stand in it. It finds what
/// was changed. Who owns the ledger could have written all of it anew: compare a seal with one that was
/// written down elsewhere, by --seal, or its signature, by --public-key.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tripline evidence verify case-17.tar.zst
  tripline evidence verify case-17.tar.zst --seal 9f2c… --public-key ledger.pub")]
struct VerifyArgs {
    /// The file.
    #[arg(value_name = "FILE.tar.zst")]
    file: PathBuf,
    /// A hash that the chain must have: of a seal that was written down elsewhere.
    #[arg(long, value_name = "HASH")]
    seal: Option<String>,
    /// The key that seals must be signed by, as `openssl pkey -pubout` writes it.
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Run the rules over the events of such a file: the same alert must come of it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tripline evidence replay case-17.tar.zst")]
struct ReplayArgs {
    /// The file.
    #[arg(value_name = "FILE.tar.zst")]
    file: PathBuf,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(args: &EvidenceArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        Some(EvidenceCommand::Verify(args)) => verify_file(args),
        Some(EvidenceCommand::Replay(args)) => replay_file(args),
        None => make(&args.make),
    }
}

fn mistake(what: &str) -> ExitCode {
    output::complain(what);
    ExitCode::from(exit::USAGE)
}

fn make(args: &MakeArgs) -> anyhow::Result<ExitCode> {
    let (Some(fingerprint), Some(path)) = (&args.fingerprint, &args.output) else {
        return Ok(mistake("name the fingerprint of an alert, and a file by --output"));
    };
    let Some(around) = parse_duration(&args.around) else {
        let around = printable(&args.around);
        return Ok(mistake(&format!("`{around}` is not a span of time: write 30m or 2h")));
    };
    let configuration = if args.config.is_default() && !args.config.path().exists() {
        None
    } else {
        match Configuration::read(&args.config.input()) {
            Ok((configuration, _)) => Some(configuration),
            Err(problems) => return Ok(output::refuse(&problems, "nothing was made")),
        }
    };
    let of_configuration = configuration.as_ref().map(|one| one.general.state.clone());
    let state = args.state.clone().or(of_configuration).unwrap_or_else(|| "state".into());
    let reader = Reader::open(&state, args.ledger.as_deref())?;
    let files = expand(&args.events).map_err(anyhow::Error::msg)?;
    let places = Places { configuration, files };
    let fetch: FetchEvent<'_> = &|event: &EventRef| places.fetch(event);
    let history: OpenHistory<'_> = &|period: &Period| places.history(period);
    let resolve_after = places.configuration.as_ref().map_or_else(
        || EngineSettings::default().resolve_after,
        |one| one.engine_settings().resolve_after,
    );
    let asked = Asked {
        fingerprint,
        around,
        now: now().as_event(),
        resolve_after,
        fetch,
        history: places.has_any().then_some(history),
    };
    let (package, manifest) = match collect(&reader, &asked) {
        Ok(made) => made,
        Err(EvidenceError::Mistake(what)) => return Ok(mistake(&what)),
        Err(EvidenceError::Archive(error)) => return Err(error.into()),
    };
    package.write(path).map_err(anyhow::Error::msg)?;
    let said = Params::default().with("alert", Some(manifest.fingerprint.as_str()));
    leave_note((&state, reader.is_copy()), "evidence", &said, manifest.events.len());
    output::print_all(&told(&manifest, &path.display().to_string()))?;
    Ok(exit::OK)
}

fn told(manifest: &Manifest, path: &str) -> String {
    let shown = manifest.events.iter().filter(|event| event.is_shown).count();
    let there = manifest.events.iter().filter(|event| event.file.is_some()).count();
    let mut text = format!(
        "{path}: alert {} of {}\n  {}, {shown} of them shown by the alert, {there} byte for byte\n  {} of \
         rule set {}\n  {} of the chain\n",
        manifest.fingerprint,
        printable(&manifest.rule),
        counted(manifest.events.len(), "event"),
        counted(manifest.rules.len(), "file"),
        manifest.rule_set,
        counted(manifest.chain.len(), "part"),
    );
    for what in &manifest.missing {
        text.push_str(&format!("  not in it: {}\n", printable(what)));
    }
    text
}

/// Where events can be had.
struct Places {
    configuration: Option<Configuration>,
    files: Vec<PathBuf>,
}

impl Places {
    const fn has_any(&self) -> bool {
        self.configuration.is_some() || !self.files.is_empty()
    }

    /// Where it was read, and else in the files.
    fn fetch(&self, event: &EventRef) -> Again {
        let again = match &self.configuration {
            Some(configuration) => configuration.event_fetcher().fetch(event),
            None => Again::Unreadable("there is no configuration that says where".to_owned()),
        };
        if matches!(again, Again::Found(_)) || self.files.is_empty() {
            return again;
        }
        match self.in_files(event) {
            Ok(Some(json)) => Again::Found(json),
            Ok(None) => again,
            Err(why) => Again::Unreadable(why),
        }
    }

    fn in_files(&self, event: &EventRef) -> Result<Option<String>, String> {
        let mut next = self.read_files()?;
        while let Some(batch) = next()? {
            let payloads = batch.records.iter().filter_map(|record| batch.payload_of(record));
            for payload in payloads {
                if let Some(json) = event_by_hash(payload, &event.event_hash.get()) {
                    return Ok(Some(json));
                }
            }
        }
        Ok(None)
    }

    fn read_files(&self) -> Result<NextBatch<'static>, String> {
        let input = Input::open(&self.files, None).map_err(|error| error.to_string())?;
        Ok(batches(Box::new(input)))
    }

    /// What was recorded in a time: in the files, if some are named; else in the source of a topic.
    fn history(&self, period: &Period) -> Result<NextBatch<'_>, String> {
        let Some(configuration) = self.configuration.as_ref().filter(|_| self.files.is_empty())
        else {
            return self.read_files();
        };
        let names: Vec<Arc<str>> = configuration.source_names().collect();
        let topic = PartitionName::new(period.topic.clone(), 0).resolved(&names);
        if let Some(path) = configuration.file_of(topic.source.as_deref(), &topic.topic) {
            let input = Input::open(&[path], None).map_err(|error| error.to_string())?;
            return Ok(batches(Box::new(input)));
        }
        let (from, until) = (Some(period.from.as_wall()), Some(period.until.as_wall()));
        Ok(batches(configuration.history(topic.source.as_deref(), from, until)?))
    }
}

fn batches(mut reader: Box<dyn RecordReader>) -> NextBatch<'static> {
    Box::new(move || -> Result<Option<RecordBatch>, String> {
        reader.next_batch().map_err(|error| error.to_string())
    })
}

fn verify_file(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let seal: Option<Hash> = match args.seal.as_deref().map(|text| (text, parse_hex(text))) {
        None => None,
        Some((_, Some(seal))) => Some(seal),
        Some((text, None)) => {
            let text = printable(text);
            return Ok(mistake(&format!("a seal is 64 hexadecimal digits, not `{text}`")));
        }
    };
    let key = args.public_key.as_deref().map(PublicKey::read).transpose()?;
    let check =
        |head: &Hash, signature: &[u8]| key.as_ref().is_some_and(|key| key.signed(head, signature));
    let check = key.is_some().then_some(&check as CheckSignature<'_>);
    let asked = AskedChain { seal, check, ..AskedChain::default() };
    let checked = Package::read(&args.file).and_then(|package| verify(&package, asked));
    let checked = match checked {
        Ok(checked) => checked,
        Err(why) => Checked { faults: vec![why], ..Checked::default() },
    };
    output::print_all(&if args.json {
        let document = json!({
            "sound": checked.is_sound(), "faults": checked.faults, "found": checked.found,
            "unproven": checked.unproven,
            "seals": checked.seals.iter().map(|(row, hash)| json!({"row": row, "hash": hash}))
                .collect::<Vec<_>>(),
        });
        format!("{document:#}\n")
    } else {
        checked_text(&checked)
    })?;
    Ok(if checked.is_sound() { exit::OK } else { ExitCode::from(exit::FAILURE) })
}

fn checked_text(checked: &Checked) -> String {
    let mut text = String::new();
    for fault in &checked.faults {
        text.push_str(&format!("NOT SOUND  {}\n", printable(fault)));
    }
    for found in &checked.found {
        text.push_str(&format!("{}\n", printable(found)));
    }
    for what in &checked.unproven {
        text.push_str(&format!("not proven: {}\n", printable(what)));
    }
    for (row, hash) in &checked.seals {
        text.push_str(&format!("seal at row {}: {}\n", thousands(*row), printable(hash)));
    }
    text.push_str(if checked.is_sound() { "sound\n" } else { "not sound\n" });
    text
}

fn replay_file(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let replayed = match Package::read(&args.file).and_then(|package| replay(&package)) {
        Ok(replayed) => replayed,
        Err(why) => {
            output::complain(&why);
            return Ok(ExitCode::from(exit::FAILURE));
        }
    };
    let Replayed { expected: (fingerprint, value), .. } = &replayed;
    output::print_all(&if args.json {
        let document = json!({
            "same": replayed.is_same(), "fingerprint": fingerprint, "value": value,
            "replayed_value": replayed.value, "events": replayed.events,
            "others": replayed.others, "doubts": replayed.doubts, "undecided": replayed.undecided,
        });
        format!("{document:#}\n")
    } else {
        replayed_text(&replayed)
    })?;
    Ok(match (replayed.is_same(), &replayed.undecided) {
        (true, _) => exit::OK,
        (false, Some(_)) => ExitCode::from(exit::UNDECIDED),
        (false, None) => ExitCode::from(exit::FAILURE),
    })
}

fn replayed_text(replayed: &Replayed) -> String {
    let (fingerprint, expected) = &replayed.expected;
    let events = counted(replayed.events, "event");
    let mut text = match replayed.value {
        _ if replayed.undecided.is_some() => {
            let why = replayed.undecided.as_deref().unwrap_or_default();
            format!("{fingerprint} cannot be replayed: {}\n", printable(why))
        }
        Some(value) if replayed.is_same() => {
            format!("the same alert: {fingerprint}, value {value}, from {events}\n")
        }
        Some(value) => {
            format!("{fingerprint} comes to {value} from {events}; the alert had {expected}\n")
        }
        None => format!("{events} do not make {fingerprint}; the alert had {expected}\n"),
    };
    for other in &replayed.others {
        text.push_str(&format!("also: {}\n", printable(other)));
    }
    for doubt in &replayed.doubts {
        text.push_str(&format!("but {}\n", printable(doubt)));
    }
    text
}
