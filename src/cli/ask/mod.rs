//! Questions to the ledger: where it is, which time, and how answers are written.
//!
//! What is asked and answered is in [`crate::ask`]; here are the arguments. A question goes to files, or to a
//! running Tripline that asks the same of its own.

pub(super) mod coverage;
pub(super) mod permissions;
pub(super) mod sessions;
pub(super) mod timeline;
pub(super) mod visits;
pub(super) mod who_did;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use super::{
    exit, output,
    remote::{Remote, RemoteError, ServerUrl, server_variable},
};
use crate::{
    app::clock::now,
    archive::{
        Reader,
        notes::{self, Note},
    },
    ask::{AskError, Format, Params, QuestionKind, Written, write},
};

/// Where the ledger is, and which time is asked about.
#[derive(Args, Clone, Debug)]
struct AskArgs {
    /// State directory of `tripline run`; it may run meanwhile.
    #[arg(long, value_name = "DIR", env = "TRIPLINE_STATE", default_value = "state")]
    state: PathBuf,
    /// Directory with month files, if it is not in the state directory: a copy, say.
    #[arg(long, value_name = "DIR")]
    ledger: Option<PathBuf>,
    /// Ask a running Tripline instead, where it serves HTTP: http://127.0.0.1:9464.
    #[arg(long, value_name = "URL", env = server_variable(), hide_env_values = true, value_parser = ServerUrl)]
    server: Option<String>,
    /// File with a bearer token for the server; or else the token is in TRIPLINE_TOKEN.
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<PathBuf>,
    /// So long until now: 90m, 24h, 30d.
    #[arg(long, value_name = "SPAN", conflicts_with = "from")]
    since: Option<String>,
    /// Not before this: 2026-11-29, '2026-11-29 14:00' or 2026-11-29T14:00:00Z.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Before this; now, if it is left out.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Time zone of what is asked and answered.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    zone: String,
    /// text, json, jsonl or csv.
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = format)]
    format: Format,
    /// Only of this cluster.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
}

/// Rows of a page, and where it begins.
#[derive(Args, Clone, Debug)]
struct PageArgs {
    /// Rows at most.
    #[arg(long, value_name = "N", default_value_t = crate::ask::PAGE_ROWS)]
    limit: usize,
    /// Go on behind this place, as the page before said it.
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
}

impl PageArgs {
    fn params(&self, params: Params) -> Params {
        params.with("limit", Some(self.limit.to_string())).with("after", self.after.clone())
    }
}

fn format(word: &str) -> Result<Format, String> {
    let words: Vec<&str> = Format::ALL.iter().map(|format| format.as_str()).collect();
    Format::parse(word).ok_or_else(|| format!("it is one of: {}", words.join(", ")))
}

/// `true`, if it is.
fn flag(is_set: bool) -> Option<&'static str> {
    is_set.then_some("true")
}

/// Has it recorded that somebody looked at what people did, or says that it is not.
pub(super) fn leave_note(
    (state, is_copy): (&Path, bool),
    question: &str,
    params: &Params,
    rows: usize,
) {
    let said: Vec<String> = params.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let who = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER"));
    let note = Note {
        who: who.unwrap_or_else(|_| "somebody".to_owned()),
        at: now().micros(),
        question: question.to_owned(),
        said: said.join(" "),
        rows: rows as u64,
    };
    let left = if is_copy { Ok(false) } else { notes::leave(state, &note).map(|()| true) };
    match left {
        Ok(true) => {}
        Ok(false) => output::tell("who looks at a copy of the ledger is not recorded"),
        Err(why) => output::tell(&format!("that you looked is not recorded: {why}")),
    }
}

impl AskArgs {
    /// Asks, prints the answer, and says what else there is to say.
    fn answer(&self, kind: &QuestionKind, params: Params) -> anyhow::Result<ExitCode> {
        let params = params
            .with("since", self.since.clone())
            .with("from", self.from.clone())
            .with("to", self.to.clone())
            .with("zone", Some(self.zone.clone()))
            .with("cluster", self.cluster.clone());
        // Who names a copy means it, whatever the environment says.
        let server = self.server.as_ref().filter(|_| self.ledger.is_none());
        let mut is_copy = false;
        let answered = match server {
            None => self.ask_files(kind, &params, &mut is_copy),
            Some(url) => {
                let remote = Remote::new(url, self.token_file.as_deref())?;
                remote.ask(kind.name, &params, self.format)
            }
        };
        let (written, warnings) = match answered {
            Ok(answer) => answer,
            Err(RemoteError::Mistake(text)) => {
                output::complain(&text);
                return Ok(ExitCode::from(exit::USAGE));
            }
            Err(error) => return Err(error.into()),
        };
        for warning in warnings {
            output::tell(&format!("warning: {warning}"));
        }
        if kind.is_personal() && server.is_none() {
            leave_note((&self.state, is_copy), kind.name, &params, written.count);
        }
        if self.format == Format::Text {
            output::print_table(&written.text)?;
        } else {
            output::print_all(&written.text)?;
        }
        if let Some(next) = written.next
            && self.format != Format::Json
        {
            output::tell(&format!("there is more: --after {next}"));
        }
        Ok(exit::OK)
    }

    fn ask_files(
        &self,
        kind: &QuestionKind,
        params: &Params,
        is_copy: &mut bool,
    ) -> Result<(Written, Vec<String>), RemoteError> {
        let other = |error| RemoteError::Other(anyhow::Error::from(error));
        let reader = Reader::open(&self.state, self.ledger.as_deref()).map_err(other)?;
        *is_copy = reader.is_copy();
        match kind.answer(&reader, params, now().as_event()) {
            Ok((asked, warnings)) => Ok((write(&asked, self.format, &warnings), warnings)),
            Err(AskError::Mistake(mistake)) => Err(RemoteError::Mistake(mistake.to_string())),
            Err(AskError::Archive(error)) => Err(other(error)),
        }
    }
}
