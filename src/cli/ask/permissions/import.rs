//! `tripline permissions import`: roles and bindings as the cluster has them, into the ledger.

use std::{io::Read as _, path::PathBuf, process::ExitCode, time::SystemTime};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use crate::{
    app::{clock::now, import::import_into_state},
    archive::Reader,
    ask::{AskError, permissions::only_cluster},
    cli::{
        exit, output,
        remote::{Remote, RemoteError, ServerUrl, server_variable},
    },
    engine::{
        ledger::Entry,
        limits::RBAC_FILE_BYTES_MAX,
        permissions::{Imported, import, snapshot_entries},
        text::{counted, printable},
        time::EventTime,
    },
    store::StoreError,
};

/// Keep roles and bindings in the ledger, as the cluster has them now.
///
/// FILE is what `kubectl get clusterroles,clusterrolebindings,roles,rolebindings -A -o json` prints (service
/// accounts may be in it, too), or the same as YAML; - is standard input. What changes afterwards is taken from
/// the log, as long as rules record changes of permissions, so once is enough; now and then it does no harm.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes:
  0  it is in the ledger
  1  the state cannot be used
  2  FILE is no list of roles and bindings, or only a part of one; nothing was kept
  4  a process has the state open

Examples:
  kubectl get clusterroles,clusterrolebindings,roles,rolebindings -A -o json > rbac.json
  tripline permissions import rbac.json --cluster prod
  kubectl get clusterroles,clusterrolebindings,roles,rolebindings,serviceaccounts -A -o json |
    tripline permissions import - --server http://127.0.0.1:9464")]
pub(super) struct ImportArgs {
    /// The list; - is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// State directory of `tripline run`.
    #[arg(long, value_name = "DIR", env = "TRIPLINE_STATE", default_value = "state")]
    state: PathBuf,
    /// Directory with month files, if it is not in the state directory.
    #[arg(long, value_name = "DIR")]
    ledger: Option<PathBuf>,
    /// Hand it to a running Tripline instead, where it serves HTTP: http://127.0.0.1:9464.
    #[arg(long, value_name = "URL", env = server_variable(), hide_env_values = true, conflicts_with = "ledger")]
    #[arg(value_parser = ServerUrl)]
    server: Option<String>,
    /// File with a bearer token for the server; or else the token is in TRIPLINE_TOKEN.
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<PathBuf>,
    /// Name of the cluster, as its events have it; the only one of which events came, if it is left out.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Who brings it.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "somebody", hide_env = true)]
    by: String,
    /// When the list was printed; when the file was written, if it is left out.
    #[arg(long, value_name = "TIME", value_parser = time)]
    taken: Option<EventTime>,
}

fn time(text: &str) -> Result<EventTime, String> {
    EventTime::parse(text).ok_or_else(|| "write it as 2026-11-29T14:00:00Z".to_owned())
}

pub(super) fn execute(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let (name, text) = read(args)?;
    let Ok(text) = String::from_utf8(text) else {
        output::complain(&format!("{}: it is no text in UTF-8", printable(&name)));
        return Ok(ExitCode::from(exit::USAGE));
    };
    let taken = args.taken.unwrap_or_else(|| written(args)).min(now().as_event());
    let cluster = match cluster_of(args) {
        Ok(cluster) => cluster,
        Err(AskError::Mistake(mistake)) => {
            output::complain(&format!("{}; {}", mistake.message, mistake.hint));
            return Ok(ExitCode::from(exit::USAGE));
        }
        Err(AskError::Archive(error)) => return Err(error.into()),
    };
    let made = import(&name, &text)
        .and_then(|found| Ok((snapshot_entries(&cluster, &args.by, taken, &found)?, found)));
    let (entries, found) = match made {
        Ok(made) => made,
        Err(mistake) => {
            output::complain(&mistake.to_string());
            return Ok(ExitCode::from(exit::USAGE));
        }
    };
    let rows = entries.len();
    let refused = match &args.server {
        Some(url) => hand_over(args, url, taken, &found)?,
        None => put_into_state(args, entries)?,
    };
    if let Some(code) = refused {
        return Ok(code);
    }
    let [roles, bindings, accounts] = found.counts();
    let mut what = vec![counted(roles, "role"), counted(bindings, "binding")];
    if accounts > 0 {
        what.push(counted(accounts, "service account"));
    }
    let rows = counted(rows, "row");
    output::print_all(&format!(
        "{} of {} are in the ledger ({rows})\n",
        what.join(", "),
        taken.for_people()
    ))?;
    Ok(exit::OK)
}

/// The cluster that it is of. A server knows its own.
fn cluster_of(args: &ImportArgs) -> Result<String, AskError> {
    if let Some(cluster) = &args.cluster {
        return Ok(cluster.clone());
    }
    if args.server.is_some() || !args.state.exists() {
        return Ok(String::new());
    }
    // Where there is no ledger yet no cluster is known; what else is wrong is said by what writes into it.
    let Ok(reader) = Reader::open(&args.state, args.ledger.as_deref()) else {
        return Ok(String::new());
    };
    only_cluster(&reader, now().as_event())
}

/// Into the files of a process that does not run. `None`: it is done.
fn put_into_state(args: &ImportArgs, entries: Vec<Entry>) -> anyhow::Result<Option<ExitCode>> {
    match import_into_state(&args.state, args.ledger.as_deref(), entries) {
        Ok(()) => Ok(None),
        Err(error @ StoreError::Locked { .. }) => {
            let hint = "it runs, so hand it over: `--server http://127.0.0.1:9464`";
            output::complain(&format!("{error}; {hint}"));
            Ok(Some(ExitCode::from(exit::STATE)))
        }
        Err(error @ StoreError::Newer { .. }) => {
            output::complain(&error.to_string());
            Ok(Some(ExitCode::from(exit::STATE)))
        }
        Err(error) => Err(error.into()),
    }
}

/// To a process that runs; it answers once all of it is durable. `None`: it is done.
fn hand_over(
    args: &ImportArgs,
    url: &str,
    taken: EventTime,
    found: &Imported,
) -> anyhow::Result<Option<ExitCode>> {
    let remote = Remote::new(url, args.token_file.as_deref())?;
    let mut body = json!({ "taken": taken.rfc3339(), "by": args.by, "list": found.list() });
    if let (Some(cluster), Some(body)) = (&args.cluster, body.as_object_mut()) {
        body.insert("cluster".to_owned(), cluster.as_str().into());
    }
    match remote.json("/api/v1/permissions/import", Some(&body)) {
        Ok(_) => Ok(None),
        Err(RemoteError::Mistake(text)) => {
            output::complain(&text);
            Ok(Some(ExitCode::from(exit::USAGE)))
        }
        Err(error) => Err(error.into()),
    }
}

/// The file, or what comes on standard input; a little more than may be at most.
fn read(args: &ImportArgs) -> anyhow::Result<(String, Vec<u8>)> {
    let most = RBAC_FILE_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    if args.file.as_os_str() == "-" {
        std::io::stdin().lock().take(most).read_to_end(&mut bytes)?;
        return Ok(("stdin".to_owned(), bytes));
    }
    let name = args.file.display().to_string();
    let file = std::fs::File::open(&args.file).with_context(|| format!("cannot read {name}"))?;
    file.take(most).read_to_end(&mut bytes).with_context(|| format!("cannot read {name}"))?;
    Ok((name, bytes))
}

/// When the file was written, or now.
fn written(args: &ImportArgs) -> EventTime {
    let written = std::fs::metadata(&args.file).ok().filter(std::fs::Metadata::is_file);
    let written = written.and_then(|file| file.modified().ok());
    let since = written.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    let micros = since.and_then(|since| i64::try_from(since.as_micros()).ok());
    micros.map_or_else(|| now().as_event(), EventTime::from_micros)
}
