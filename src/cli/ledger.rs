//! `tripline ledger`: is it as it was written, what is in it, and all of it in another form.

use std::{
    fs::File,
    io::{BufReader, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};

use super::{ask::leave_note, exit, output};
use crate::{
    archive::{
        Reader,
        sign::PublicKey,
        verify::{Asked, CheckSignature, Verified, verify, verify_lines},
    },
    ask::{Params, csv_head, csv_row, zone_of},
    engine::{
        ledger::{Hash, Row, hex_of, parse_hex},
        text::{counted, printable, thousands},
    },
};

/// Check the ledger, show what it has, or export it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tripline ledger verify
  tripline ledger verify --seal 9f2c… --public-key ledger.pub
  tripline ledger export --month 2026-11 > 2026-11.jsonl
  tripline ledger export --format parquet --output ledger.parquet
  tripline ledger status")]
pub(super) struct LedgerArgs {
    #[command(subcommand)]
    command: LedgerCommand,
}

#[derive(Subcommand, Debug)]
enum LedgerCommand {
    Verify(VerifyArgs),
    Export(ExportArgs),
    Status(PlaceArgs),
}

/// Show which months there are, how many rows of which class, and where the chain has come to.
#[derive(Args, Debug)]
struct PlaceArgs {
    /// State directory of `tripline run`; it may run meanwhile.
    #[arg(long, value_name = "DIR", env = "TRIPLINE_STATE", default_value = "state")]
    state: PathBuf,
    /// Directory with month files, if it is not in the state directory: a copy, say.
    #[arg(long, value_name = "DIR")]
    ledger: Option<PathBuf>,
}

/// Check that nobody has changed the ledger.
///
/// Every row's line is made again, and the chain of hashes with it; what lies between two seals that hold is
/// sound. What nothing proves is not: a file or, with --public-key, a ledger without a seal, rows before the
/// first seal whose beginning is not known, months that are missing and that no entry says were deleted. The
/// newest rows have no seal behind them yet; it says how many. It finds changed files. Who owns the process or
/// its key can write anything: write hashes of seals down elsewhere, and ask for them by --seal.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes:
  0  all is as it was written
  1  something is not, or nothing proves it; standard output says where, and what is sound
  2  an argument is wrong, or there is no such month")]
struct VerifyArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// One month alone: 2026-11.
    #[arg(long, value_name = "MONTH", conflicts_with = "file")]
    month: Option<String>,
    /// An exported file (JSON Lines) instead of a ledger; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The hash before the first row, if that is not row 1: of a part of a ledger or of its export.
    #[arg(long, value_name = "HASH")]
    previous: Option<String>,
    /// A hash that the chain must have: of a seal that was written down elsewhere.
    #[arg(long, value_name = "HASH")]
    seal: Option<String>,
    /// The key that seals must be signed by, as `openssl pkey -pubout` writes it.
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
}

/// Print all rows, in the order of the chain, or write them to a file.
#[derive(Args, Debug)]
struct ExportArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// One month alone: 2026-11.
    #[arg(long, value_name = "MONTH")]
    month: Option<String>,
    /// jsonl, whose lines are those of the chain, csv, or parquet (in builds that have it).
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "jsonl")]
    format: ExportFormat,
    /// A file instead of standard output; it is there when it is whole.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    /// One row a line, exactly as it is in the chain.
    Jsonl,
    /// A table.
    Csv,
    /// The same table with types, for warehouses; into a file.
    Parquet,
}

pub(super) fn execute(args: &LedgerArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        LedgerCommand::Verify(args) => verify_ledger(args),
        LedgerCommand::Export(args) => export(args),
        LedgerCommand::Status(args) => status(args),
    }
}

fn open(place: &PlaceArgs) -> anyhow::Result<Reader> {
    Ok(Reader::open(&place.state, place.ledger.as_deref())?)
}

fn hash(text: Option<&str>, what: &str) -> Result<Option<Hash>, String> {
    let parse = |text: &str| {
        parse_hex(text).ok_or_else(|| format!("{what} is 64 hexadecimal digits, not `{text}`"))
    };
    text.map(parse).transpose()
}

fn verify_ledger(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let hashes = hash(args.seal.as_deref(), "a seal")
        .and_then(|seal| Ok((seal, hash(args.previous.as_deref(), "the hash before")?)));
    let (seal, previous) = match hashes {
        Ok(hashes) => hashes,
        Err(mistake) => {
            output::complain(&mistake);
            return Ok(ExitCode::from(exit::USAGE));
        }
    };
    let key = args.public_key.as_deref().map(PublicKey::read).transpose()?;
    let check =
        |head: &Hash, signature: &[u8]| key.as_ref().is_some_and(|key| key.signed(head, signature));
    let asked = Asked {
        month: args.month.as_deref(),
        period: None,
        seal,
        previous,
        check: key.is_some().then_some(&check as CheckSignature<'_>),
        threads: None,
    };
    let verified = match &args.file {
        None => {
            let reader = open(&args.place)?;
            if let Some(mistake) = mistake_about_month(&reader, asked.month) {
                output::complain(&mistake);
                return Ok(ExitCode::from(exit::USAGE));
            }
            verify(&reader, asked)
        }
        Some(path) if path.as_os_str() == "-" => verify_lines(std::io::stdin().lock(), asked)?,
        Some(path) => {
            let file =
                File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
            verify_lines(BufReader::new(file), asked)?
        }
    };
    output::print_all(&report(&verified))?;
    Ok(if verified.is_sound() { exit::OK } else { ExitCode::from(exit::FAILURE) })
}

/// That there is no such month, if there is none.
fn mistake_about_month(reader: &Reader, month: Option<&str>) -> Option<String> {
    let month = printable(month.filter(|month| !reader.has_month(month))?);
    let there: Vec<String> = reader.heads().into_iter().map(|head| head.month).collect();
    let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    Some(format!("the ledger has no month `{month}`; there are: {there}"))
}

fn report(verified: &Verified) -> String {
    let mut text = String::new();
    for fault in &verified.faults {
        let place =
            if fault.place.is_empty() { String::new() } else { format!("{}: ", fault.place) };
        let rows = if fault.from == fault.to {
            format!("row {}", thousands(fault.from))
        } else {
            format!("rows {} to {}", thousands(fault.from), thousands(fault.to))
        };
        text.push_str(&format!("NOT SOUND  {place}{rows}: {}\n", fault.what));
    }
    if verified.has_seal == Some(false) {
        text.push_str("NOT SOUND  the hash that was asked for is not in the chain\n");
    }
    let signed = match verified.signed {
        0 => String::new(),
        signed => format!(", {} of them with a signature of the key", thousands(signed)),
    };
    let behind = match verified.rows_behind_seals() {
        0 => String::new(),
        rows if verified.covered.is_none() => {
            format!(", {} that no seal covers", counted(rows, "row"))
        }
        rows => format!(", {} behind what the last one covers", counted(rows, "row")),
    };
    text.push_str(&format!(
        "{}{} read, {} hold{signed}{behind}\n",
        if verified.is_sound() { "sound: " } else { "" },
        counted(verified.rows, "row"),
        counted(verified.seals, "seal"),
    ));
    if let Some(first @ 2..) = verified.first {
        text.push_str(&format!("rows 1 to {} are not here\n", thousands(first - 1)));
    }
    text.push_str(&format!("head {} at row {}\n", verified.head(), thousands(verified.last.id)));
    text
}

fn export(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    if args.format == ExportFormat::Parquet
        && let Some(mistake) = mistake_about_parquet(args)
    {
        output::complain(&mistake);
        return Ok(ExitCode::from(exit::USAGE));
    }
    let reader = open(&args.place)?;
    if let Some(mistake) = mistake_about_month(&reader, args.month.as_deref()) {
        output::complain(&mistake);
        return Ok(ExitCode::from(exit::USAGE));
    }
    for warning in reader.warnings() {
        output::tell(&format!("warning: {warning}"));
    }
    let months: Vec<String> = reader.heads().into_iter().map(|month| month.month).collect();
    if let Some(month) = args.month.as_ref().filter(|month| !months.contains(month)) {
        let list = if months.is_empty() { "none".to_owned() } else { months.join(", ") };
        output::complain(&format!(
            "the ledger has no month `{}`; there are: {list}",
            printable(month)
        ));
        return Ok(ExitCode::from(exit::USAGE));
    }
    let file = args.output.as_deref().map(output::WholeFile::begin).transpose()?;
    let out = match &file {
        Some(whole) => Box::new(whole.file.try_clone()?) as Box<dyn Write + Send>,
        None => Box::new(std::io::stdout()),
    };
    let mut out = Exported::begin(args.format, std::io::BufWriter::new(out))?;
    let (mut failure, mut count) = (None, 0);
    reader.each(args.month.as_deref(), |row| {
        count += 1;
        failure = out.push(row).err();
        failure.is_none()
    })?;
    let (place, params) = (&args.place, Params::default().with("month", args.month.clone()));
    leave_note((&place.state, reader.is_copy()), "ledger export", &params, count);
    if let Some(error) = failure {
        return Err(error);
    }
    out.finish()?;
    file.map_or(Ok(()), output::WholeFile::finish)?;
    let is_whole =
        reader.problems().is_empty() && (args.month.is_some() || reader.holes().is_empty());
    Ok(if is_whole { exit::OK } else { ExitCode::from(exit::FAILURE) })
}

/// What keeps a Parquet file from being written, if something does.
fn mistake_about_parquet(args: &ExportArgs) -> Option<String> {
    if !cfg!(feature = "parquet") {
        let how = "build it by `cargo build --release --features parquet`, or take --format csv";
        return Some(format!("this build cannot write Parquet; {how}"));
    }
    let needs_file = args.output.is_none();
    needs_file.then(|| "a Parquet file is no text: say where it goes by --output FILE".to_owned())
}

/// Where an export goes.
type Out = std::io::BufWriter<Box<dyn Write + Send>>;

/// An export that is being written.
enum Exported {
    Jsonl(Out),
    Csv(Out, jiff::tz::TimeZone),
    #[cfg(feature = "parquet")]
    Parquet(Box<crate::ask::parquet::ParquetRows<Out>>),
}

impl Exported {
    fn begin(format: ExportFormat, mut out: Out) -> anyhow::Result<Exported> {
        match format {
            ExportFormat::Jsonl => Ok(Exported::Jsonl(out)),
            ExportFormat::Csv => {
                out.write_all(csv_head().as_bytes())?;
                Ok(Exported::Csv(out, zone_of("UTC")?))
            }
            #[cfg(feature = "parquet")]
            ExportFormat::Parquet => {
                Ok(Exported::Parquet(Box::new(crate::ask::parquet::ParquetRows::new(out)?)))
            }
            #[cfg(not(feature = "parquet"))]
            ExportFormat::Parquet => anyhow::bail!("this build cannot write Parquet"),
        }
    }

    fn push(&mut self, row: &Row) -> anyhow::Result<()> {
        match self {
            Exported::Jsonl(out) => out.write_all((row.line() + "\n").as_bytes())?,
            Exported::Csv(out, zone) => out.write_all(csv_row(row, zone).as_bytes())?,
            #[cfg(feature = "parquet")]
            Exported::Parquet(rows) => rows.push(row)?,
        }
        Ok(())
    }

    fn finish(self) -> anyhow::Result<()> {
        match self {
            Exported::Jsonl(mut out) | Exported::Csv(mut out, _) => out.flush()?,
            #[cfg(feature = "parquet")]
            Exported::Parquet(rows) => rows.finish()?,
        }
        Ok(())
    }
}

fn status(args: &PlaceArgs) -> anyhow::Result<ExitCode> {
    let reader = open(args)?;
    let mut text = String::new();
    for month in reader.status()? {
        let rows = month.last.id.saturating_sub(month.previous.id);
        text.push_str(&format!(
            "{}  {}  rows {} to {}  {} bytes\n",
            month.month,
            counted(rows, "row"),
            thousands(month.previous.id + 1),
            thousands(month.last.id),
            thousands(month.bytes),
        ));
        for (class, count) in month.rows.iter().flatten() {
            text.push_str(&format!("    {class:<20} {:>12}\n", thousands(*count)));
        }
        text.push_str(&format!("    head {}\n", hex_of(&month.last.head)));
    }
    let waiting = reader.waiting().count();
    if waiting > 0 {
        text.push_str(&format!(
            "{} in the checkpoint, not in a month yet\n",
            counted(waiting, "row")
        ));
    }
    for hole in reader.holes() {
        text.push_str(&format!("HOLE  {hole}\n"));
    }
    for problem in reader.problems() {
        text.push_str(&format!("UNREADABLE  {problem}\n"));
    }
    output::print_all(&text)?;
    let is_whole = reader.problems().is_empty() && reader.holes().is_empty();
    Ok(if is_whole { exit::OK } else { ExitCode::from(exit::FAILURE) })
}
