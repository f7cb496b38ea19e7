//! `cargo bench --bench ledger`: what the ledger costs. Rows per second into month files, bytes of an access
//! with its indexes, the first page of each question, and how long verifying takes. `TRIPLINE_BENCH_ROWS` says how
//! many accesses (1,000,000). They are spread over 13 months. A benchmark for people, not a test.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs,
    reason = "a benchmark measures and prints"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tripline::{
    archive::{
        Archive, Filter, Limits, Query, Reader,
        verify::{Asked, verify},
    },
    engine::{
        access::Access,
        detector::Detector,
        diagnostic::SourceText,
        ledger::{Content, Entry, EntryKind, Row, hex_of},
        record::{PartitionName, RecordBatch},
        rule::{LoadOptions, RuleSources, load},
        settings::EngineSettings,
        time::EventTime,
    },
    generate::{GenerateSettings, Generator},
};

/// Accesses that are made of events; the others are copies of them at other times.
const DISTINCT: usize = 50_000;

/// Rows that are written at once, as a busy process hands them over.
const ROWS_AT_ONCE: usize = 2_000;

/// Rows of a page.
const PAGE: usize = 200;

/// Each question is asked about so many names.
const ASKED: usize = 40;

const MONTHS: u32 = 13;

const RULES: &str = "
title: All
name: all
logsource: {product: kubernetes, service: audit}
detection: {any: {objectRef.resource|exists: true}, condition: any}
tripline: {record: all}
";

fn main() {
    let rows = std::env::var("TRIPLINE_BENCH_ROWS").ok().and_then(|text| text.parse().ok());
    let rows: usize = rows.unwrap_or(1_000_000);
    let accesses = accesses();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let limits = Limits { free_min: 0, size_max: u64::MAX, months: MONTHS };
    let mut archive = Archive::new(directory.path(), limits);
    let start = EventTime::parse("2025-11-01T00:00:00Z").unwrap();
    let step = Duration::from_secs(394 * 86_400) / u32::try_from(rows).unwrap();
    let (mut writing, mut chain) = (Duration::ZERO, tripline::engine::ledger::Chain::default());
    let (mut written, mut id) = (0, 0);
    while written < rows {
        let mut batch = Vec::with_capacity(ROWS_AT_ONCE + 1);
        for _ in 0..ROWS_AT_ONCE.min(rows - written) {
            let at = start.plus(step * u32::try_from(written).unwrap());
            // Which access it is has no pattern that pages could follow.
            let mut access = accesses[written.wrapping_mul(7_919) % accesses.len()].clone();
            access.at = at;
            id += 1;
            written += 1;
            let content = Content::Access(Box::new(access));
            batch.push(Arc::new(Row { id, recorded: at.as_wall(), content }));
        }
        for row in &batch {
            chain.push(&row.line());
        }
        id += 1;
        let recorded = batch.last().unwrap().recorded;
        let seal = Entry::new(EntryKind::Seal, &hex_of(&chain.head), "sealed");
        let seal = Row { id, recorded, content: Content::Entry(Box::new(seal)) };
        chain.push(&seal.line());
        batch.push(Arc::new(seal));
        let began = Instant::now();
        archive.append(&batch).expect("rows are written");
        writing += began.elapsed();
    }
    let bytes = archive.bytes();
    assert_eq!(archive.last(), chain);
    drop(archive);
    println!("rows                          {rows} accesses over {MONTHS} months");
    println!(
        "into month files              {:.0} rows/s, one fsync per {ROWS_AT_ONCE}",
        rows as f64 / writing.as_secs_f64()
    );
    println!(
        "bytes of an access            {:.0}, indexes included; {:.2} GB in all",
        bytes as f64 / rows as f64,
        bytes as f64 / 1e9
    );
    let end = start.plus(Duration::from_secs(400 * 86_400));
    questions(directory.path(), &accesses, (start, end));
    let began = Instant::now();
    let verified = verify(&Reader::open(directory.path(), None).unwrap(), Asked::default());
    assert!(verified.is_sound(), "{:?}", verified.faults);
    println!(
        "verify                        {:.1} s for {} rows",
        began.elapsed().as_secs_f64(),
        verified.rows
    );
    println!("memory at most                {} MB", peak_megabytes());
}

/// Accesses of generated traffic.
fn accesses() -> Vec<Access> {
    let sources = vec![SourceText::new("rules.yaml", RULES)];
    let loaded =
        load(&RuleSources { rules: sources, ..RuleSources::default() }, &LoadOptions::default());
    let rules = Arc::new(loaded.rules.expect("the rule is sound"));
    let mut detector = Detector::new(rules, 0, &EngineSettings::default());
    let partition = Arc::new(PartitionName::new("audit", 0));
    let settings = GenerateSettings {
        seed: 7,
        rate: 50.0,
        event_lists_per_mille: 0,
        ..GenerateSettings::default()
    };
    let mut accesses = Vec::new();
    for (offset, record) in (0..).zip(Generator::new(settings)) {
        let mut batch = RecordBatch::default();
        batch.push(&partition, offset, None, Some(&record.payload));
        let found = detector.detect(record.time.as_wall(), &batch);
        accesses.extend(found.accesses.into_iter().map(|observed| observed.access().into_owned()));
        if accesses.len() >= DISTINCT {
            break;
        }
    }
    accesses
}

/// What is asked about, as an access names it.
type Of<'q> = Box<dyn Fn(&Access) -> Option<Filter> + 'q>;

/// The first page of each question, of names that rows have.
fn questions(directory: &std::path::Path, accesses: &[Access], (from, to): (EventTime, EventTime)) {
    let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
    let object = |access: &Access, named: bool| {
        let object = access.object.as_ref()?;
        let name = object.name.as_deref().filter(|_| named).map(str::to_owned);
        let namespace = object.namespace.as_deref().map(str::to_owned);
        Some(Filter::Object { resource: object.resource.to_string(), namespace, name })
    };
    let kinds: [(&str, Of<'_>); 8] = [
        ("everything", Box::new(|_| Some(Filter::Accesses))),
        ("actor", Box::new(|one| text(&one.actor.id).map(Filter::Actor))),
        ("source", Box::new(|one| text(&one.source_ip).map(Filter::Source))),
        ("namespace", Box::new(|one| text(&one.object.as_ref()?.namespace).map(Filter::Namespace))),
        ("resource", Box::new(|one| object(one, false))),
        ("object", Box::new(|one| object(one, true))),
        ("permission", Box::new(|one| Some(Filter::Permission(one.permission.as_ref()?.name())))),
        ("credential", Box::new(|one| text(&one.credential_id).map(Filter::Credential))),
    ];
    for (name, filter) in kinds {
        let wanted: Vec<Filter> =
            accesses.iter().step_by(accesses.len() / ASKED).filter_map(&filter).collect();
        let mut times: Vec<Duration> = wanted
            .into_iter()
            .map(|filter| {
                let began = Instant::now();
                let reader = Reader::open(directory, None).unwrap();
                let query = Query { filters: vec![filter], from, to, after: None, limit: PAGE };
                let page = reader.page(&query).unwrap();
                let took = began.elapsed();
                assert!(!page.rows.is_empty(), "a name that rows have is found");
                took
            })
            .collect();
        times.sort_unstable();
        if times.is_empty() {
            continue;
        }
        let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
        println!("first page by {name:<15} {:.1} ms, p95 {:.1} ms", at(50), at(95));
    }
}

/// The most memory that this process had.
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) / 1_024
}
