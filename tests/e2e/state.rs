//! The state directory: full, locked, of another version, taken over.

use std::{
    fs::{self, File},
    process::Command,
    time::Duration,
};

use crate::{
    harness::{
        Service, available, eventually, free_port, get_any, hook::Hook, kafka::Kafka, never,
        process::Process, tripline::Tripline,
    },
    rules::{READS_COUNTED, SECRET_READ, read, source, to_hook, users},
};

/// Exit code of a process that cannot use the state; part of the command line's contract.
const STATE: i32 = 4;

/// No broker is needed to see that the state cannot be used.
const NOWHERE: &str = "sources: [{kafka: {brokers: ['127.0.0.1:1'], topics: [t], group: t}}]
receivers: [{name: hook, webhook: {url: 'http://127.0.0.1:1/'}}]
route: {receiver: hook}
";

/// The most that a process may write into one file; a write beyond it fails as on a full disk.
fn limit_files(process: &Process, bytes: &str) {
    // The soft limit only, which may be raised again.
    let limit = format!("--fsize={bytes}:");
    let pid = process.id().to_string();
    let status = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
    assert!(status.unwrap().success(), "prlimit {limit}");
}

#[test]
fn a_full_disk_costs_nothing_and_nothing_is_told_before_it_is_durable() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("full", 1);
    let producer = kafka.producer();
    let config = source(kafka, "full") + &to_hook(&hook);
    let mut tripline = Tripline::new(&config, &[READS_COUNTED]);
    // A write beyond the limit is then an error, and not the signal that ends the process.
    tripline.start_by_shell("trap '' XFSZ; exec \"$@\"");
    tripline.wait_ready();
    for number in 0..4 {
        producer.send("full", read("user-a", &format!("s{number}")));
    }
    let positions = |tripline: &Tripline| tripline.metric("tripline_records_total", &[]);
    eventually("the first reads are counted", || (positions(&tripline)? >= 4.0).then_some(()));

    limit_files(tripline.process(), "1");
    producer.send("full", "hello");
    producer.send("full", read("user-a", "s4"));
    let (_, reason) = eventually("/readyz says that the store is down", || {
        tripline.readiness().filter(|(status, text)| *status == 503 && text.contains("store"))
    });
    assert!(reason.contains("down"), "{reason}");
    never("an alert leaves before it is durable", Duration::from_secs(2), || {
        hook.alerts("/alerts").pop()
    });
    assert!(tripline.metric("tripline_checkpoint_failures_total", &[]) >= Some(1.0));

    limit_files(tripline.process(), "unlimited");
    eventually("the alert arrives", || users(&hook.alerts("/alerts"), "five_reads").pop());
    tripline.wait_ready();
    let letters = tripline.path().join("state/dead-letters/dead-letter-000001.jsonl");
    let letters = fs::read_to_string(letters).unwrap();
    assert_eq!(letters.lines().count(), 1, "kept once, however often it was tried: {letters}");
    assert_eq!(users(&hook.alerts("/alerts"), "six_reads"), Vec::<String>::new());
    tripline.stop();
}

/// Needs no service, so it always runs.
#[test]
fn a_full_disk_at_the_start_is_waited_for() {
    let mut tripline = Tripline::new(NOWHERE, &[SECRET_READ]);
    // Room for a log, not for a database.
    tripline.start_by_shell("trap '' XFSZ; ulimit -S -f 8; exec \"$@\"");
    let (_, said) = eventually("/readyz says what the start waits for", || {
        tripline.readiness().filter(|(_, text)| text.contains("the start waits for it"))
    });
    assert!(said.contains("store"), "{said}");
    limit_files(tripline.process(), "unlimited");
    eventually("it goes on when there is room", || {
        tripline.readiness().filter(|(_, text)| text.contains("checkpoint restored"))
    });
}

#[test]
fn state_that_is_deleted_while_it_runs_is_noticed() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("deleted", 1);
    let mut tripline = Tripline::new(&(source(kafka, "deleted") + &to_hook(&hook)), &[SECRET_READ]);
    tripline.start_ready();
    fs::remove_dir_all(tripline.path().join("state")).unwrap();
    eventually("/healthz says so, so that somebody restarts it", || {
        let (status, text) = get_any(&tripline.url("/healthz"))?;
        (status == 503 && text.contains("was deleted or replaced")).then_some(())
    });
    kafka.producer().send("deleted", read("user-a", "s"));
    never("something is told that is not durable", Duration::from_secs(2), || {
        hook.alerts("/alerts").pop()
    });
    tripline.kill();
    tripline.start_ready();
    eventually("the next one tells it", || users(&hook.alerts("/alerts"), "secret_read").pop());
    tripline.stop();
}

/// Needs no service, so it always runs.
#[test]
fn state_of_a_newer_version_is_not_touched() {
    let tripline = Tripline::new(NOWHERE, &[SECRET_READ]);
    let state = tripline.path().join("state");
    fs::create_dir(&state).unwrap();
    let database = rusqlite::Connection::open(state.join("tripline.db")).unwrap();
    // The number that marks a file as ours, and a version that does not exist yet.
    let mark = "PRAGMA application_id = 1414678864; PRAGMA user_version = 99; CREATE TABLE t (x)";
    database.execute_batch(mark).unwrap();
    drop(database);
    let before = fs::read(state.join("tripline.db")).unwrap();
    let output = tripline.command("run").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(STATE), "{said}");
    assert!(said.contains("was written by a newer version of Tripline"), "{said}");
    assert!(fs::read(state.join("tripline.db")).unwrap() == before, "it was changed");
}

/// Needs no service, so it always runs.
#[test]
fn state_that_another_process_keeps_is_waited_for_and_then_given_up() {
    let tripline = Tripline::new(NOWHERE, &[SECRET_READ]);
    is_given_up(&tripline, "state/tripline.lock", "is in use by another process");
    let letters = tripline.path().join("state/dead-letters");
    assert!(!letters.exists(), "the other process may be writing them");
}

/// Needs no service, so it always runs.
#[test]
fn a_ledger_that_another_process_writes_is_waited_for_and_then_given_up() {
    let tripline = Tripline::new(NOWHERE, &[SECRET_READ]);
    let told = "is in use by another process; each one needs";
    is_given_up(&tripline, "state/ledger/ledger.lock", told);
}

/// A run ends and says so while another process, here this one, holds a lock.
fn is_given_up(tripline: &Tripline, lock: &str, told: &str) {
    let lock = tripline.path().join(lock);
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    let held = File::create(lock).unwrap();
    held.lock().unwrap();
    let output = tripline.command("run").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(STATE), "{said}");
    assert!(said.contains(told), "{said}");
}

/// Needs no service, so it always runs.
#[test]
fn state_that_cannot_be_used_is_said() {
    for (name, text) in [("state", "a file"), ("state/tripline.db", "not a database")] {
        let tripline = Tripline::new(NOWHERE, &[SECRET_READ]);
        let path = tripline.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text.repeat(100)).unwrap();
        let output = tripline.command("run").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains("state in"), "{name}: {said}");
        let after = fs::read_to_string(&path).unwrap();
        assert!(after == text.repeat(100), "{name} was changed");
    }
}

#[test]
fn the_next_process_takes_over_the_state_of_one_that_still_runs() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("taken", 2);
    let producer = kafka.producer();
    let config = source(kafka, "taken") + &to_hook(&hook);
    let mut first = Tripline::new(&config, &[READS_COUNTED]);
    first.start_ready();
    for number in 0..3 {
        producer.send("taken", read("user-a", &format!("s{number}")));
    }
    eventually("the first process counts", || {
        (first.metric("tripline_records_total", &[])? >= 3.0).then_some(())
    });
    let listen = format!("127.0.0.1:{}", free_port());
    let mut command = first.command("run");
    command.args(["--set", &format!("http.listen={listen}")]);
    let mut second = Process::start("second", &mut command, first.path());
    assert_eq!(first.process().wait().code(), Some(3), "the first is fenced");
    second.serves(&format!("http://{listen}/readyz"));
    for number in 3..5 {
        producer.send("taken", read("user-a", &format!("s{number}")));
    }
    eventually("windows of the first go on in the second", || {
        users(&hook.alerts("/alerts"), "five_reads").pop()
    });
    never("a read is counted twice", Duration::from_secs(1), || {
        users(&hook.alerts("/alerts"), "six_reads").pop()
    });
    assert_eq!(second.terminate().code(), Some(0));
}
