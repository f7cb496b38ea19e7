//! `cargo bench --bench ledger`: what the ledger costs. Rows per second into month files, bytes of an access with
//! its indexes, the first page of each question, how long verifying and reports take, and the memory of each.
//!
//! `TRIPLINE_BENCH_ROWS` says how many accesses (1,000,000); they are spread over 13 months. A directory in
//! `TRIPLINE_BENCH_DIRECTORY` keeps the ledger, and the next run asks it. Each part runs in a process of its own, so
//! that the memory is that of the part. A benchmark for people, not a test.

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
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use tripline::{
    archive::{
        Archive, Limits, MonthStatus, Reader,
        verify::{Asked, verify},
    },
    ask::{
        Format, Params, QuestionKind, coverage, permissions, sessions, timeline, visits, who_did,
    },
    engine::{
        access::{Access, Outcome, Permission, Usage},
        detector::Detector,
        diagnostic::{Problems, SourceText},
        framework::read_frameworks,
        ledger::{Chain, Content, Entry, EntryKind, Row, hex_of},
        permissions::{import, snapshot_entries},
        record::{PartitionName, RecordBatch},
        rule::{LoadOptions, RuleSet, RuleSources, load},
        settings::EngineSettings,
        time::EventTime,
    },
    generate::{GenerateSettings, Generator},
    report::{self, Order, ReportFormat, Scope, Verifies, Wanted, shipped_frameworks},
};

/// Accesses that are made of events; the others are copies of them at other times.
const DISTINCT: usize = 50_000;

/// Rows that are written at once, as a busy process hands them over.
const ROWS_AT_ONCE: usize = 2_000;

/// Each question is asked about so many names, from as many times on.
const ASKED: usize = 40;

const MONTHS: u32 = 13;

const DAYS: u32 = 394;

const START: &str = "2025-11-01T00:00:00Z";

const CLUSTER: &str = "prod";

const DAY: Duration = Duration::from_secs(86_400);

/// Uses of permissions a day at most: what 200,000 generated requests come to.
const USES_A_DAY: usize = 1_790;

/// The parts, and the names by which a process is told to be one.
const PARTS: [&str; 7] = [
    "status",
    "questions",
    "verify",
    "access",
    "access, all verified",
    "compliance",
    "permissions",
];

/// As the product has it.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let kept = std::env::var_os("TRIPLINE_BENCH_DIRECTORY").map(PathBuf::from);
    let part = std::env::var("TRIPLINE_BENCH_PART").ok();
    if let (Some(directory), Some(part)) = (&kept, &part) {
        return run(part, directory);
    }
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let directory = kept.unwrap_or_else(|| temporary.path().to_owned());
    if Reader::open(&directory, None).is_err() {
        write(&directory);
    }
    for part in PARTS {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env("TRIPLINE_BENCH_DIRECTORY", &directory).env("TRIPLINE_BENCH_PART", part);
        assert!(command.status().unwrap().success(), "{part}");
    }
}

fn run(part: &str, directory: &Path) {
    let began = Instant::now();
    let quarter = [EventTime::parse(START).unwrap().plus(DAY * 273), end().minus(DAY * 29)];
    match part {
        "questions" => questions(directory),
        "verify" => {
            let verified = verify(&Reader::open(directory, None).unwrap(), Asked::default());
            assert!(verified.is_sound(), "{:?}", verified.faults);
            println!("verify                        {} rows", verified.rows);
        }
        "status" => {
            let months = Reader::open(directory, None).unwrap().status().unwrap();
            let of = |month: &MonthStatus| month.rows.as_ref().unwrap().values().sum::<u64>();
            let counts: u64 = months.iter().map(of).sum();
            println!("status                        counts by class and kind come to {counts}");
        }
        "access" => made(directory, (Wanted::Access, Verifies::Period), quarter),
        "access, all verified" => made(directory, (Wanted::Access, Verifies::All), quarter),
        "compliance" => {
            let rules = rules();
            let problems = Problems::default();
            let read = read_frameworks(&shipped_frameworks(), &rules.classes(), &problems);
            let framework = read.iter().find(|one| one.id == "pci-dss").expect("it is shipped");
            made(directory, (Wanted::Compliance(framework), Verifies::Period), quarter);
        }
        "permissions" => permissions_of_one(directory),
        _ => unreachable!("there is no such part"),
    }
    println!(
        "    {part:<26}{:.2} s in all, memory at most {} MB",
        began.elapsed().as_secs_f64(),
        peak_megabytes()
    );
}

/// Writes the ledger.
fn write(directory: &Path) {
    let rows = std::env::var("TRIPLINE_BENCH_ROWS").ok().and_then(|text| text.parse().ok());
    let rows: usize = rows.unwrap_or(1_000_000);
    let accesses = accesses(&rules());
    let limits = Limits { free_min: 0, size_max: u64::MAX, months: MONTHS };
    let mut writer = Writer {
        archive: Archive::new(directory, limits),
        chain: Chain::default(),
        batch: Vec::new(),
        writing: Duration::ZERO,
    };
    let start = EventTime::parse(START).unwrap();
    let step = DAY * DAYS / u32::try_from(rows).unwrap();
    let uses = uses(&accesses);
    let uses_a_day = uses.len().min(USES_A_DAY).min(rows / DAYS as usize * 7 / 100);
    for entry in snapshot(&accesses, start) {
        writer.push(start, Content::Entry(Box::new(entry)));
    }
    let (mut hour, mut day) = (0, 0);
    for written in 0..rows {
        let at = start.plus(step * u32::try_from(written).unwrap());
        while at.since(start) >= Duration::from_secs(3_600) * (hour + 1) {
            let seen = Entry::new(EntryKind::Coverage, CLUSTER, "complete")
                .at(start.plus(Duration::from_secs(3_600) * hour))
                .count("events", 10_000);
            writer.push(at, Content::Entry(Box::new(seen)));
            hour += 1;
        }
        if at.since(start) >= DAY * day {
            for one in uses.iter().take(uses_a_day) {
                writer.push(at, Content::Usage(Box::new(Usage { at, ..one.clone() })));
            }
            day += 1;
        }
        // Which access it is has no pattern that pages could follow.
        let mut access = accesses[written.wrapping_mul(7_919) % accesses.len()].clone();
        access.at = at;
        writer.push(at, Content::Access(Box::new(access)));
    }
    writer.flush(end());
    let (bytes, all) = (writer.archive.bytes(), writer.chain.id);
    assert_eq!(writer.archive.last(), writer.chain);
    println!("rows                          {rows} accesses over {MONTHS} months, {all} rows");
    println!(
        "into month files              {:.0} rows/s, one fsync per {ROWS_AT_ONCE}",
        all as f64 / writer.writing.as_secs_f64()
    );
    println!(
        "bytes of a row                {:.0}, indexes included; {:.2} GB in all",
        bytes as f64 / all as f64,
        bytes as f64 / 1e9
    );
    println!("    {:<26}memory at most {} MB", "writing", peak_megabytes());
}

/// Hands rows over as a busy process does, with a seal behind each batch.
struct Writer {
    archive: Archive,
    chain: Chain,
    batch: Vec<Arc<Row>>,
    writing: Duration,
}

impl Writer {
    fn push(&mut self, now: EventTime, content: Content) {
        let row = Row { id: self.chain.id + 1, recorded: now.as_wall(), content };
        self.chain.push(&row.line());
        self.batch.push(Arc::new(row));
        if self.batch.len() >= ROWS_AT_ONCE {
            self.flush(now);
        }
    }

    fn flush(&mut self, now: EventTime) {
        let seal = Entry::new(EntryKind::Seal, &hex_of(&self.chain.head), "sealed");
        let content = Content::Entry(Box::new(seal));
        let row = Row { id: self.chain.id + 1, recorded: now.as_wall(), content };
        self.chain.push(&row.line());
        self.batch.push(Arc::new(row));
        let began = Instant::now();
        self.archive.append(&std::mem::take(&mut self.batch)).expect("rows are written");
        self.writing += began.elapsed();
    }
}

fn end() -> EventTime {
    EventTime::parse(START).unwrap().plus(DAY * DAYS)
}

/// The rules that record, as they are shipped.
fn rules() -> Arc<RuleSet> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/access");
    let mut paths: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| !path.to_string_lossy().ends_with(".test.yaml"));
    paths.sort();
    let source = |path: &PathBuf| {
        SourceText::new(path.to_string_lossy().into_owned(), fs::read_to_string(path).unwrap())
    };
    let rules = paths.iter().map(source).collect();
    let loaded = load(&RuleSources { rules, ..RuleSources::default() }, &LoadOptions::default());
    Arc::new(loaded.rules.expect("the rules are sound"))
}

/// What these rules record of generated traffic.
fn accesses(rules: &Arc<RuleSet>) -> Vec<Access> {
    let mut detector =
        Detector::new(Arc::clone(rules), 0, &EngineSettings::default()).telling_all();
    let partition = Arc::new(PartitionName::new("audit", 0));
    let settings = GenerateSettings {
        seed: 7,
        rate: 50.0,
        cluster: CLUSTER.to_owned(),
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

/// The uses of permissions among them, as those of one day.
fn uses(accesses: &[Access]) -> Vec<Usage> {
    let mut known = BTreeSet::new();
    let allowed = accesses.iter().filter(|one| one.outcome == Some(Outcome::Success));
    let mut uses = Vec::new();
    for access in allowed {
        let (Some(verb), Some(permission)) = (&access.verb, &access.permission) else { continue };
        let key = (&access.actor.id, verb, &access.object, permission.name());
        if known.insert(key) {
            uses.push(Usage {
                at: access.at,
                actor: access.actor.clone(),
                groups: access.groups.clone(),
                on_behalf_of: access.on_behalf_of.clone(),
                cluster: access.cluster.clone(),
                verb: Arc::clone(verb),
                object: access.object.clone(),
                has_more_names: false,
                path: None,
                permission: Some(permission.clone()),
                request: access.request,
                position: access.position.clone(),
                event_hash: access.event_hash,
            });
        }
    }
    uses
}

/// Roles and bindings that give what was used.
fn snapshot(accesses: &[Access], taken: EventTime) -> Vec<Entry> {
    let mut objects: BTreeMap<String, serde_json::Value> = BTreeMap::new();
    for access in accesses {
        let Some(Permission::Binding { binding, role, subject }) = &access.permission else {
            continue;
        };
        let metadata = |name: &str, namespace: Option<&str>| match namespace {
            Some(namespace) => serde_json::json!({ "name": name, "namespace": namespace }),
            None => serde_json::json!({ "name": name }),
        };
        let role_object = serde_json::json!({
            "kind": &*role.kind, "metadata": metadata(&role.name, role.namespace.as_deref()),
            "rules": [{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "create"] }],
        });
        objects.insert(role.to_string(), role_object);
        let mut who = serde_json::json!({ "kind": &*subject.kind, "name": &*subject.name });
        if let Some(namespace) = &subject.namespace {
            who["namespace"] = (&**namespace).into();
        }
        let binding_object = serde_json::json!({
            "kind": &*binding.kind, "metadata": metadata(&binding.name, binding.namespace.as_deref()),
            "roleRef": { "kind": &*role.kind, "name": &*role.name }, "subjects": [who],
        });
        objects.insert(binding.to_string(), binding_object);
    }
    let items: Vec<serde_json::Value> = objects.into_values().collect();
    let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items });
    let imported = import("rbac.json", &list.to_string());
    let imported = imported.expect("it is a list");
    snapshot_entries(CLUSTER, "ann", taken, &imported).expect("it is not too much")
}

/// What a question says of an access, if it can be asked about it.
type Of<'q> = Box<dyn Fn(&Access) -> Option<Params> + 'q>;

/// The first page of each question, about names that rows have, from times all over the ledger.
fn questions(directory: &Path) {
    let accesses = accesses(&rules());
    let one =
        |name: &str, text: Option<&Arc<str>>| Some(Params::default().with(name, Some(&**text?)));
    let object = |access: &Access, named: bool| {
        let object = access.object.as_ref()?;
        let name = object.name.as_deref().filter(|_| named);
        Some(
            Params::default()
                .with("resource", Some(&*object.resource))
                .with("namespace", Some(object.namespace.as_deref()?))
                .with("name", name),
        )
    };
    let verb = |params: Params| params.with("verb", Some("get"));
    let none = |_: &Access| Some(Params::default());
    let page: &QuestionKind = &timeline::QUESTION;
    let kinds: [(&str, &QuestionKind, bool, Of<'_>); 13] = [
        ("timeline", page, false, Box::new(none)),
        ("timeline by actor", page, false, Box::new(|of| one("actor", of.actor.id.as_ref()))),
        ("timeline by source", page, false, Box::new(|of| one("source", of.source_ip.as_ref()))),
        (
            "timeline by namespace",
            page,
            false,
            Box::new(|of| one("namespace", of.object.as_ref()?.namespace.as_ref())),
        ),
        (
            "timeline by resource",
            page,
            false,
            Box::new(|of| one("resource", of.object.as_ref().map(|object| &object.resource))),
        ),
        ("timeline by object", page, false, Box::new(|of| object(of, true))),
        (
            "timeline by permission",
            page,
            false,
            Box::new(|of| {
                let name: Arc<str> = of.permission.as_ref()?.name().into();
                one("permission", Some(&name))
            }),
        ),
        (
            "timeline by credential",
            page,
            false,
            Box::new(|of| one("credential", of.credential_id.as_ref())),
        ),
        ("who-did get", &who_did::QUESTION, false, Box::new(|of| object(of, true).map(verb))),
        ("visits of a day", &visits::QUESTION, true, Box::new(none)),
        (
            "visits of an actor's day",
            &visits::QUESTION,
            true,
            Box::new(|of| one("actor", of.actor.id.as_ref())),
        ),
        ("sessions of a day", &sessions::QUESTION, true, Box::new(none)),
        ("coverage of a day", &coverage::QUESTION, true, Box::new(none)),
    ];
    for (name, question, is_of_a_day, of) in kinds {
        let wanted: Vec<Params> =
            accesses.iter().step_by(accesses.len() / ASKED).filter_map(&of).collect();
        let mut times: Vec<Duration> = (0..)
            .zip(wanted)
            .map(|(index, params)| ask(directory, question, is_of_a_day, (index, params)))
            .collect();
        times.sort_unstable();
        if times.is_empty() {
            continue;
        }
        let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
        println!("{name:<30}{:.1} ms, p95 {:.1} ms, at most {:.1} ms", at(50), at(95), at(100));
    }
}

/// How long one question takes, the opening of the ledger and the writing of the answer included.
fn ask(
    directory: &Path,
    question: &QuestionKind,
    is_of_a_day: bool,
    (index, params): (u32, Params),
) -> Duration {
    let from = EventTime::parse(START).unwrap().plus(DAY * (index * 9));
    let to = if is_of_a_day { from.plus(DAY) } else { end() };
    let params = params.with("from", Some(from.rfc3339())).with("to", Some(to.rfc3339()));
    let began = Instant::now();
    let reader = Reader::open(directory, None).unwrap();
    let (asked, _) = question.answer(&reader, &params, end()).expect("it is answered");
    let written = tripline::ask::write(&asked, Format::Json, &[]);
    let took = began.elapsed();
    let is_found = written.count > 0 || is_of_a_day || question.name == "who-did";
    assert!(is_found, "a name that rows have is found");
    took
}

/// A report of a quarter, written as a page.
fn made(directory: &Path, (wanted, verifies): (Wanted<'_>, Verifies), [from, to]: [EventTime; 2]) {
    let params =
        Params::default().with("from", Some(from.rfc3339())).with("to", Some(to.rfc3339()));
    let scope = Scope::read(&params, end(), "30d").unwrap();
    let mut reader = Reader::open(directory, None).unwrap();
    let (scope, author, now) = (&scope, "ann", end());
    let order = Order { wanted, scope, author, now, verifies, check: None, threads: None };
    let mut rows = 0;
    let made = report::make(&mut reader, &order, &mut |count| rows = count).unwrap();
    assert!(made.holds, "{:?}", made.report.warnings);
    let text = report::write(&made.report, ReportFormat::Html).unwrap();
    println!("report of a quarter           {rows} rows verified, {} kB", text.len() / 1_000);
}

/// What one subject is given and used in 30 days, and the role that would do.
fn permissions_of_one(directory: &Path) {
    let accesses = accesses(&rules());
    let subjects: BTreeSet<&str> =
        accesses.iter().filter_map(|access| access.actor.id.as_deref()).collect();
    for (name, question) in [
        ("permissions", &permissions::grants::QUESTION),
        ("suggested role", &permissions::role::QUESTION),
    ] {
        let mut times: Vec<Duration> = subjects
            .iter()
            .step_by(subjects.len().div_ceil(ASKED))
            .filter_map(|subject| {
                let params = Params::default().with("subject", Some(*subject));
                let began = Instant::now();
                let reader = Reader::open(directory, None).unwrap();
                let (asked, _) = question.answer(&reader, &params, end()).ok()?;
                tripline::ask::write(&asked, Format::Json, &[]);
                Some(began.elapsed())
            })
            .collect();
        times.sort_unstable();
        let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
        println!(
            "{name:<30}{:.1} ms, p95 {:.1} ms, at most {:.1} ms, of {} subjects",
            at(50),
            at(95),
            at(100),
            times.len()
        );
    }
}

/// The most memory that this process had.
fn peak_megabytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) / 1_024
}
