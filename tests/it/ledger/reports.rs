//! Reports: every number is what plain loops over the events say; a sample can be drawn again; frameworks are
//! checked like rules.

use std::{
    collections::BTreeMap, fs, num::NonZero, os::unix::fs::PermissionsExt as _, sync::Arc,
    time::Duration,
};

use rusqlite::Connection;
use tripline::{
    archive::{
        Reader,
        verify::{Asked, verify},
    },
    ask::{Params, coverage},
    engine::{
        access::SessionStep,
        diagnostic::{Problems, SourceText},
        framework::{Framework, read_frameworks},
        ledger::{Content, EntryKind, Row},
        time::EventTime,
    },
    report::{
        self, Attested, Besides, Cell, Counts, ExceptionsThen, Order, Report, Scope, Section,
        Tally, Verifies, Wanted, access_report, alerts_report, compliance_report, csv, html, json,
        permissions_section,
        sample::{SampleOf, sample},
    },
    store::{Checkpoint, Store as _, sqlite::SqliteStore},
};

use super::{
    agreement::{Seen, requests},
    archive::{rows_from, write},
};

/// A ledger on disk, asked about a day.
pub(super) struct Kept {
    pub(super) reader: Reader,
    pub(super) scope: Scope,
    directory: tempfile::TempDir,
}

impl Kept {
    pub(super) fn new(rows: &[Arc<Row>], from: &str, to: &str) -> Kept {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), rows);
        let reader = Reader::open(directory.path(), Some(directory.path())).unwrap();
        let params = Params::default().with("from", Some(from)).with("to", Some(to));
        let scope = Scope::read(&params, EventTime::parse(to).unwrap(), "1d").unwrap();
        Kept { reader, scope, directory }
    }

    pub(super) fn coverage(&self) -> coverage::Coverage {
        let (period, cluster) = (self.scope.period.clone(), self.scope.cluster.clone());
        coverage::ask(&self.reader, &coverage::Question { period, cluster, problems: false })
            .unwrap()
    }

    fn attested(&self) -> Attested {
        Attested {
            author: "auditor".to_owned(),
            made: "today".to_owned(),
            verified: verify(&self.reader, Asked::default()),
            is_of_all: true,
            problems: Vec::new(),
        }
    }

    pub(super) fn access(&self) -> Report {
        let (coverage, attested) = (self.coverage(), self.attested());
        let besides = (&self.exceptions(), self.permissions());
        let tally = self.tally(Wanted::Access.counts());
        access_report(&self.reader, &self.scope, &coverage, &attested, besides, &tally).unwrap()
    }

    fn alerts(&self) -> Report {
        let (coverage, attested, then) = (self.coverage(), self.attested(), self.exceptions());
        let tally = self.tally(Wanted::Alerts.counts());
        alerts_report(&self.reader, &self.scope, &coverage, &attested, &then, &tally).unwrap()
    }

    /// All rows of the period, one after another in the order of time.
    fn tally(&self, counts: Counts) -> Tally<'_> {
        Tally::in_order(&self.reader, &self.scope, counts, &mut |_| {}).unwrap()
    }

    /// The report of just the same as a command makes it: added up while months are verified side by side.
    pub(super) fn made(&mut self, wanted: Wanted<'_>) -> Report {
        self.made_on(None, wanted, Verifies::All).0
    }

    /// The same on so many threads, and how many rows were verified for it.
    fn made_on(
        &mut self,
        threads: Option<usize>,
        wanted: Wanted<'_>,
        verifies: Verifies,
    ) -> (Report, u64) {
        let Kept { reader, scope, .. } = self;
        let (author, now, threads) = ("auditor", scope.period.to, threads.and_then(NonZero::new));
        let order = Order { wanted, scope, author, now, verifies, check: None, threads };
        let mut rows = 0;
        let made = report::make(reader, &order, &mut |count| rows = count).unwrap();
        assert!(made.holds, "{:?}", made.report.warnings);
        (made.report, rows)
    }

    pub(super) fn compliance(&self, framework: &Framework) -> Report {
        let (coverage, attested) = (self.coverage(), self.attested());
        let exceptions = &self.exceptions();
        let besides = Besides { exceptions, permissions: self.permissions() };
        let tally = self.tally(Counts { people: true, requests: false });
        let of = (framework, besides);
        compliance_report(&self.reader, &self.scope, &coverage, &attested, of, &tally).unwrap()
    }

    fn exceptions(&self) -> ExceptionsThen {
        ExceptionsThen::of(&self.reader, &self.scope).unwrap()
    }

    fn permissions(&self) -> Section {
        permissions_section(&self.reader, &self.scope, &self.coverage()).unwrap()
    }
}

pub(super) fn section<'a>(report: &'a Report, id: &str) -> &'a Section {
    report
        .sections
        .iter()
        .find(|section| section.id == id)
        .unwrap_or_else(|| panic!("no section {id}"))
}

pub(super) fn text(cell: &Cell) -> &str {
    match cell {
        Cell::Text(text) => text,
        other => panic!("{other:?} is no text"),
    }
}

/// What a cell counts; none, whether or not all was observed, is 0.
pub(super) fn number(cell: &Cell) -> u64 {
    match cell {
        Cell::Number(number, _) => *number,
        Cell::Nothing | Cell::NotObserved => 0,
        other => panic!("{other:?} is no number"),
    }
}

/// The rows of a table by some of their columns.
fn by<const N: usize>(
    section: &Section,
    columns: [usize; N],
    count: usize,
) -> BTreeMap<[String; N], u64> {
    let table = &section.tables[0];
    assert_eq!(table.left_out, 0);
    table
        .rows
        .iter()
        .map(|row| (columns.map(|column| text(&row[column]).to_owned()), number(&row[count])))
        .collect()
}

fn code(event: &Seen) -> i64 {
    event.json.pointer("/responseStatus/code").and_then(serde_json::Value::as_i64).unwrap_or(0)
}

/// Every number of the access report against plain loops.
pub(super) fn check(seed: u64, seen: &[Seen], rows: &[Arc<Row>]) -> usize {
    let mut kept = Kept::new(rows, "2026-03-04T00:00:00Z", "2026-03-05T00:00:00Z");
    let report = kept.made(Wanted::Access);
    assert_eq!(said(&report), said(&kept.access()), "seed {seed}: in order");
    let recorded =
        requests(seen, |event| event.is_read() || event.is_session() || event.is_change());

    let mut said: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for id in ["people", "machines"] {
        let of = section(&report, id);
        let is_people = id == "people";
        let (requests, denied) = if is_people { (2, 3) } else { (1, 2) };
        for row in &of.tables[0].rows {
            let numbers = (number(&row[requests]), number(&row[denied]));
            assert!(said.insert(text(&row[0]).to_owned(), numbers).is_none(), "seed {seed}: twice");
        }
    }
    let mut naive: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for event in &recorded {
        let (requests, denied) = naive.entry(event.actor()).or_default();
        *requests += 1;
        *denied += u64::from(matches!(code(event), 401 | 403));
    }
    assert_eq!(said, naive, "seed {seed}: requests and refusals of each actor");

    let mut naive: [BTreeMap<[String; 2], u64>; 3] = Default::default();
    for event in recorded.iter().filter(|event| event.is_read()) {
        let name = match event.text("/objectRef/name") {
            "" => "(all)",
            name => name,
        };
        let key = [event.text("/objectRef/namespace"), name].map(str::to_owned);
        let ended = match code(event) {
            401 | 403 => 1,
            400.. => 2,
            _ => 0,
        };
        for (outcome, naive) in naive.iter_mut().enumerate() {
            *naive.entry(key.clone()).or_default() += u64::from(outcome == ended);
        }
    }
    for (column, naive) in [2, 6, 7].into_iter().zip(naive) {
        let said = by(section(&report, "secrets"), [0, 1], column);
        assert_eq!(said, naive, "seed {seed}: secrets, column {column}");
    }

    let mut naive: BTreeMap<[String; 4], u64> = BTreeMap::new();
    for event in recorded.iter().filter(|event| matches!(code(event), 401 | 403)) {
        let key = [
            event.text("/verb"),
            event.text("/objectRef/resource"),
            event.text("/objectRef/namespace"),
        ];
        let [verb, resource, namespace] = key.map(str::to_owned);
        *naive.entry([event.actor(), verb, resource, namespace]).or_default() += 1;
    }
    assert_eq!(by(section(&report, "denied"), [0, 1, 2, 3], 4), naive, "seed {seed}: refused");

    let sessions = recorded.iter().filter(|event| event.is_session()).count();
    let table = &section(&report, "sessions").tables[0];
    assert_eq!(table.rows.len(), sessions, "seed {seed}: sessions");
    drop(kept.directory);
    recorded.len()
}

/// What a report says, but for who made it and when.
pub(super) fn said(report: &Report) -> String {
    let mut report = report.clone();
    report.facts.retain(|(name, _)| *name != "Made");
    format!("{report:#?}")
}

/// Rows over three months, many of them late, of more addresses, sessions and entries than a report has room for.
fn many_rows() -> Vec<Arc<Row>> {
    let mut number = 1_u64;
    let mut next = |below: u64| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (number >> 33) % below
    };
    let month = Duration::from_secs(31 * 86_400);
    let rows = (1..).zip(rows_from("2026-03-04T10:00:00Z", 6_000));
    rows.map(|(id, row)| {
        let mut row = (*row).clone();
        row.id = id;
        row.recorded = row.recorded.plus(month * u32::try_from(id / 2_500).unwrap());
        let late =
            row.recorded.as_event().minus(month * 2).plus(Duration::from_secs(next(5_000_000)));
        match &mut row.content {
            Content::Access(access) => {
                access.at = late;
                access.source_ip = Some(Arc::from(format!("10.0.{}.{}", next(256), next(256))));
                access.credential_id = Some(Arc::from(format!("X509SHA256={}", next(1 << 30))));
                access.actor.id = Some(Arc::from(format!("user-{}", next(2))));
                let team = next(9);
                access.actor.team = (next(2) == 1).then(|| Arc::from(format!("team-{team}")));
                access.session = match next(3) {
                    0 => None,
                    1 => Some(SessionStep::Start),
                    _ => Some(SessionStep::End),
                };
                access.duration = Some(next(1_000_000));
                access.request = [u8::try_from(next(250)).unwrap(); 16];
                access.classes.push(Arc::from("permission_change"));
            }
            Content::Entry(entry) => {
                entry.at = Some(late);
                // Those that were made with these rows do not fit what is made of them.
                entry.kind = if next(2) == 0 { EntryKind::Gap } else { EntryKind::Comment };
            }
            Content::Usage(_) => {}
        }
        Arc::new(row)
    })
    .collect()
}

#[test]
fn months_added_up_side_by_side_are_what_all_rows_are_one_after_another() {
    let mut kept = Kept::new(&many_rows(), "2026-02-01T00:00:00Z", "2026-05-20T00:00:00Z");
    assert_eq!(kept.reader.heads().len(), 3);
    let report = kept.access();
    let left_out = |id: &str| section(&report, id).tables[0].left_out;
    assert!(left_out("sessions") > 0 && left_out("permission-changes") > 0);
    assert!(said(&report).contains("1,000+"), "more credentials than are told apart");
    assert_eq!(said(&kept.made(Wanted::Access)), said(&report));
    assert_eq!(said(&kept.made(Wanted::Alerts)), said(&kept.alerts()));
}

#[test]
fn a_report_is_the_same_on_however_many_threads_it_is_made() {
    let mut kept = Kept::new(&many_rows(), "2026-02-01T00:00:00Z", "2026-05-20T00:00:00Z");
    let wanted = said(&kept.made(Wanted::Access));
    for threads in [1, 2, 3, 7] {
        let (report, rows) = kept.made_on(Some(threads), Wanted::Access, Verifies::All);
        assert_eq!((rows, said(&report)), (6_000, wanted.clone()), "{threads} threads");
    }
}

/// Rows of a period that are in no month yet go on behind the newest month, which is verified for them.
#[test]
fn a_report_of_rows_that_wait_verifies_the_newest_month_and_no_other() {
    // They pass midnight of a month.
    let rows = rows_from("2026-03-31T23:58:30Z", 900);
    let (archived, waiting) = rows.split_at(800);
    let state = tempfile::tempdir().unwrap();
    let months = state.path().join("ledger");
    write(&months, archived);
    let waits = Checkpoint { rows: waiting.to_vec(), ..Checkpoint::default() };
    SqliteStore::open(state.path()).unwrap().commit(&waits).unwrap();
    let last = archived.iter().map(|row| row.at()).max().unwrap();
    let (from, to) = (last.plus(Duration::from_micros(1)), last.plus(Duration::from_secs(3_600)));
    let naive = waiting.iter().filter(|row| row.at() >= from && row.at() < to).count();
    let naive_accesses = waiting
        .iter()
        .filter(|row| row.at() >= from && row.access().is_some())
        .filter(|row| row.access().unwrap().session != Some(SessionStep::End))
        .count();
    assert!(naive >= naive_accesses && naive_accesses > 30, "{naive_accesses}");
    let kept = || {
        let mut kept = Kept::new(&rows[..1], &from.rfc3339(), &to.rfc3339());
        kept.reader = Reader::open(state.path(), None).unwrap();
        kept
    };
    let in_newest = kept().reader.heads()[1].rows.as_ref().unwrap().values().sum::<u64>();
    let (report, verified) = kept().made_on(None, Wanted::Access, Verifies::Period);
    assert_eq!(verified, in_newest, "rows of the newest month");
    let told: u64 = [("people", 2), ("machines", 1)]
        .iter()
        .flat_map(|(id, column)| {
            section(&report, id).tables[0].rows.iter().map(|row| number(&row[*column]))
        })
        .sum();
    assert_eq!(told, naive_accesses as u64);
    let holds = |month: &str| {
        let path = months.join(month);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let file = Connection::open(path).unwrap();
        file.execute("UPDATE row SET recorded = recorded + 1 WHERE id % 10 = 7", []).unwrap();
        let Kept { mut reader, scope, .. } = kept();
        let (author, now, verifies) = ("auditor", scope.period.to, Verifies::Period);
        let (wanted, scope) = (Wanted::Access, &scope);
        let order = Order { wanted, scope, author, now, verifies, check: None, threads: None };
        report::make(&mut reader, &order, &mut |_| {}).unwrap().holds
    };
    assert!(holds("2026-03.db"), "no row of the period is in it");
    assert!(!holds("2026-04.db"));
}

#[test]
fn a_sample_is_drawn_again_whoever_draws_it_and_whatever_is_added_later() {
    let rows = rows_from("2026-03-04T10:00:00Z", 400);
    let mut kept = Kept::new(&rows, "2026-03-04T00:00:00Z", "2026-03-05T00:00:00Z");
    let of = |seed| SampleOf { class: "all".to_owned(), size: 25, seed };
    let mut drawn = |seed| {
        let sample = sample(&mut kept.reader, &kept.scope, &of(seed), &mut |_| {}).unwrap();
        assert_eq!(sample.rows.len(), 25);
        assert!(sample.holds(), "{:?}", sample.verified_words());
        sample.rows.iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(drawn(7), drawn(7));
    assert_ne!(drawn(7), drawn(8));
    // By hand: the smallest hashes of what the documentation says.
    let number = |row: &Row| {
        use sha2::{Digest as _, Sha256};
        let mut hash = Sha256::new();
        hash.update(b"tripline sample");
        hash.update(7_u64.to_be_bytes());
        hash.update(row.id.to_be_bytes());
        hash.update(row.access().unwrap().event_hash);
        hash.finalize().to_vec()
    };
    let mut population: Vec<&Arc<Row>> = rows
        .iter()
        .filter(|row| row.access().is_some_and(|access| access.session != Some(SessionStep::End)))
        .collect();
    population.sort_by_key(|row| number(row));
    let mut by_hand: Vec<u64> = population.iter().take(25).map(|row| row.id).collect();
    by_hand.sort_unstable();
    assert_eq!(drawn(7), by_hand);
    let nothing = SampleOf { class: "alll".to_owned(), size: 1, seed: 1 };
    let error = sample(&mut kept.reader, &kept.scope, &nothing, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("`alll`"), "{error}");
}

#[test]
fn a_report_says_first_what_was_not_seen_and_claims_nothing_of_it() {
    let rows = rows_from("2026-03-04T10:00:00Z", 200);
    let kept = Kept::new(&rows, "2026-03-03T00:00:00Z", "2026-03-05T00:00:00Z");
    let report = kept.access();
    assert!(!report.warnings.is_empty());
    // Nothing was changed, but not all of the time was observed.
    assert_eq!(section(&report, "permission-changes").tables[0].empty, Cell::NotObserved);
    assert!(report.limits.len() >= 8);
    let page = html::render(&report).unwrap();
    assert!(page.contains("default-src &#39;none&#39;") || page.contains("default-src 'none'"));
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
    assert!(page.contains("not observed") && page.contains("What this cannot show"));
    let document: serde_json::Value = serde_json::from_str(&json::render(&report)).unwrap();
    assert_eq!(document["report"], "access");
    assert!(csv::rows(&report).iter().all(|row| row.len() == csv::COLUMNS.len()));
    assert_eq!(section(&kept.alerts(), "rules").tables[0].empty, Cell::NotObserved);
}

#[test]
fn what_an_attacker_wrote_is_text_in_a_report() {
    let event = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a-1","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/x/secrets/y","verb":"get","user":{"username":"<script>alert(1)</script>\u202e"},"sourceIPs":["10.0.0.1"],"userAgent":"kubectl/v1","objectRef":{"resource":"secrets","namespace":"x","name":"=1+1","apiVersion":"v1"},"responseStatus":{"code":200},"requestReceivedTimestamp":"2026-03-04T10:00:00.000000Z","stageTimestamp":"2026-03-04T10:00:00.000000Z"}"#;
    let start = EventTime::parse("2026-03-04T10:00:00Z").unwrap();
    let secrets = "
title: Secrets
name: secrets
logsource: {product: kubernetes, service: audit}
detection: {reads: {objectRef.resource: secrets}, condition: reads}
tripline: {record: secret_read}
";
    let mut recording = super::Recording::new(&super::rules(secrets), start);
    recording.read(0, start, &[event.as_bytes()]);
    recording.rest(90);
    let kept = Kept::new(&recording.rows, "2026-03-04T00:00:00Z", "2026-03-05T00:00:00Z");
    let page = html::render(&kept.access()).unwrap();
    assert!(
        page.contains("&lt;script&gt;") && !page.contains("<script") && !page.contains('\u{202e}')
    );
}

const FRAMEWORK: &str = "framework: ours
title: Ours
controls:
  - id: A.1
    title: Reads are logged
    classes: [all]
    shows: [coverage, integrity]
  - {id: A.2, title: Refusals are logged, classes: [denied], limits: Not all of them.}
";

#[test]
fn evidence_for_a_framework_is_numbers_of_the_ledger() {
    let rows = rows_from("2026-03-04T10:00:00Z", 300);
    let kept = Kept::new(&rows, "2026-03-04T00:00:00Z", "2026-03-05T00:00:00Z");
    let classes = ["all", "denied"].map(str::to_owned).into();
    let problems = Problems::new();
    let frameworks =
        read_frameworks(&[SourceText::new("ours.yaml", FRAMEWORK)], &classes, &problems);
    assert!(problems.into_sorted().is_empty());
    let report = kept.compliance(&frameworks[0]);
    let accesses: u64 = rows
        .iter()
        .filter_map(|row| row.access())
        .filter(|access| access.session != Some(SessionStep::End))
        .map(tripline::engine::access::Access::count)
        .sum();
    let control = section(&report, "A.1");
    assert_eq!(number(&control.tables[0].rows[0][1]), accesses);
    assert_eq!(number(&section(&report, "A.2").tables[0].rows[0][1]), 0);
    assert!(section(&report, "A.2").notes[0].contains("Not all of them."));
    assert!(report.limits.last().unwrap().contains("the assessor's"));
}

#[test]
fn a_framework_with_mistakes_says_all_of_them_with_their_place() {
    let text = "framework: ours
title: Ours
controls:
  - {id: A.1, title: One, classes: [secret_reed], shows: [coverige]}
  - {id: A.1, title: Two, entries: [gaps], limit: x}
  - {id: A.3, title: Three}
";
    let problems = Problems::new();
    let classes = ["secret_read".to_owned()].into();
    read_frameworks(&[SourceText::new("ours.yaml", text)], &classes, &problems);
    let said: Vec<String> =
        problems.into_sorted().iter().map(|problem| format!("{problem:?}")).collect();
    for wanted in
        ["secret_reed", "coverige", "gaps", "another control", "limit", "nothing is evidence"]
    {
        assert!(said.iter().any(|one| one.contains(wanted)), "{wanted}: {said:#?}");
    }
}

/// Words of a command as a shell takes them.
pub(super) fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => is_quoted = !is_quoted,
            '\\' if !is_quoted => word.extend(chars.next()),
            ' ' if !is_quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words
}

/// Commands that a report prints: of its numbers, and between backticks in its texts.
fn commands(report: &Report) -> Vec<String> {
    let mut commands = Vec::new();
    let mut texts: Vec<&str> =
        report.limits.iter().chain(&report.warnings).map(String::as_str).collect();
    for section in &report.sections {
        texts.extend(section.notes.iter().map(String::as_str));
        for table in &section.tables {
            for cell in table.rows.iter().flatten().chain([&table.empty]) {
                match cell {
                    Cell::Number(_, query) if !query.is_empty() => commands.push(query.clone()),
                    Cell::Text(text) => texts.push(text),
                    _ => {}
                }
            }
        }
    }
    let quoted = texts.iter().flat_map(|text| text.split('`').skip(1).step_by(2));
    commands.extend(quoted.filter(|text| text.starts_with("tripline ")).map(str::to_owned));
    commands
}

#[test]
fn reports_name_no_command_that_does_not_exist() {
    let exists = |command: &str| tripline::cli::check_arguments(words(command));
    assert!(exists("tripline timeline --rule x").is_err());
    assert!(exists("tripline timelime").is_err());
    let rows = rows_from("2026-03-04T10:00:00Z", 400);
    let mut kept = Kept::new(&rows, "2026-03-04T00:00:00Z", "2026-03-05T00:00:00Z");
    let classes = ["all", "denied"].map(str::to_owned).into();
    let shows = "framework: ours\ntitle: Ours\nversion: '1'\ncontrols:\n  - {id: A, title: All, classes: [all, denied], shows: [\
                 alerts, clocks, clusters, coverage, delay, fields, integrity, levels, machines, machines_by_hand, own_alerts, \
                 people, permissions, retention, rules]}\n";
    let problems = Problems::new();
    let frameworks = read_frameworks(&[SourceText::new("ours.yaml", shows)], &classes, &problems);
    let said = problems.into_sorted();
    assert!(said.is_empty(), "{said:?}");
    let mut count = 0;
    for cluster in [None, Some("it's one")] {
        kept.scope.cluster = cluster.map(str::to_owned);
        for report in [kept.access(), kept.alerts(), kept.compliance(&frameworks[0])] {
            for command in commands(&report) {
                count += 1;
                exists(&command).unwrap_or_else(|why| panic!("{command}: {why}"));
            }
        }
    }
    assert!(count > 50, "only {count} commands");
}

/// What rules left out, with who answers for it: used, unused, over.
#[test]
fn exceptions_are_in_reports_with_how_often_they_were_used() {
    let recording = super::exceptions::recorded();
    let kept = Kept::new(&recording.rows, "2026-03-04T00:00:00Z", "2026-03-06T00:00:00Z");
    let report = kept.alerts();
    let table = &section(&report, "exceptions").tables[0];
    let said: Vec<(&str, &str, u64, &str)> = table
        .rows
        .iter()
        .map(|row| (text(&row[0]), text(&row[1]), number(&row[4]), text(&row[8])))
        .collect();
    let mut naive: BTreeMap<&str, u64> = BTreeMap::new();
    for row in recording.rows.iter().filter_map(|row| row.entry()) {
        if row.kind == EntryKind::Exception {
            *naive.entry(&row.subject).or_default() += row.count_of("uses");
        }
    }
    let [bob, ann, nobody] =
        ["bob*", "ann", "nobody"].map(|value| format!("`{value}` in lists/readers.yaml"));
    let backup = "filter \"Not the backup\" in rules/r.yaml";
    assert_eq!(
        said,
        [
            (bob.as_str(), "ops", naive[bob.as_str()], "over"),
            (backup, "storage", naive[backup], "in force"),
            (&ann, "nobody", naive[ann.as_str()], "in force"),
            (&nobody, "ops", 0, "in force"),
        ]
    );
    assert_eq!(table.rows[3][4], Cell::NotObserved, "not all of the two days was seen");
}

#[test]
fn uses_of_exceptions_are_told_apart_by_cluster() {
    let recording = super::exceptions::recorded();
    let mut kept = Kept::new(&recording.rows, "2026-03-04T00:00:00Z", "2026-03-06T00:00:00Z");
    let report = kept.alerts();
    let of_all = &section(&report, "exceptions").tables[0].rows;
    for cluster in ["prod", "test"] {
        kept.scope.cluster = Some(cluster.to_owned());
        let report = kept.alerts();
        let of_one = section(&report, "exceptions");
        let naive = super::exceptions::naive_in(cluster);
        assert_eq!(naive.len(), 3);
        for (name, uses) in naive {
            let row = |rows: &[Vec<Cell>]| rows.iter().find(|row| text(&row[0]) == name).cloned();
            assert_eq!(number(&row(&of_one.tables[0].rows).unwrap()[4]), uses, "{name}");
            let split = row(of_all).unwrap();
            assert!(text(&split[5]).contains(&format!("{cluster} {uses}")), "{:?}", split[5]);
        }
        let unsaid = of_one.notes.iter().any(|note| note.contains("does not say in which cluster"));
        assert!(unsaid, "{:?}", of_one.notes);
    }
}
