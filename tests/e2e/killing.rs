//! `kill -9` again and again, while everything around is in trouble too: receivers that refuse, break off
//! and hang by turns, a token that is rotated, a stranger in the consumer group, a broker that restarts.
//!
//! `TRIPLINE_KILLS=1000` kills more often than the 50 times that are usual.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    time::{Duration, Instant},
};

use crate::{
    harness::{
        Service, available, eventually, kafka::Kafka, moody::MoodyHook, never, tripline::Tripline,
    },
    rules::{READS_COUNTED, read, source_at, users},
};

const KILLS: usize = 50;
/// Users who begin to read secrets between two kills; each reads one more between each two until five.
const USERS_PER_KILL: usize = 3;
/// Users at most: of more than 1,000 alerts of a rule the further ones are told together.
const USERS_MAX: usize = 900;
const READS: usize = 5;
/// The broker restarts once in so many kills.
const RESTART_EVERY: usize = 30;

/// What is left to chance, the same in every run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// The numbers of the users who begin at a kill.
fn beginners(kill: usize, kills: usize) -> impl Iterator<Item = usize> {
    let users = (kills * USERS_PER_KILL).min(USERS_MAX);
    let first = |kill: usize| (kill * users).div_ceil(kills);
    first(kill)..first(kill + 1)
}

fn user(number: usize) -> String {
    format!("user-{number}")
}

#[test]
fn whatever_is_killed_and_broken_nothing_is_lost_and_nothing_counted_twice() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let kills = env::var("TRIPLINE_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let (mut kafka, hook) = (Kafka::started(), MoodyHook::started("token-0"));
    kafka.create_topic("killing", 4);
    let config = source_at(&kafka.brokers(), "killing")
        + &format!(
            "receivers: [{{name: hook, webhook: {{url: '{}', bearer_token_file: ./token, timeout: 1s}}}}]
route: {{receiver: hook, group_by: ['...'], group_wait: 0s, group_interval: 1s}}
",
            hook.url()
        );
    let mut tripline = Tripline::new(&config, &[READS_COUNTED]);
    tripline.write("token", "token-0");
    let mut dice = Dice(0x5eed);
    let mut stranger = None;
    for kill in 0..kills + READS {
        tripline.start();
        let producer = kafka.producer();
        for begun in kill.saturating_sub(READS - 1)..=kill.min(kills - 1) {
            for number in beginners(begun, kills) {
                producer.send("killing", read(&user(number), &format!("s{}", kill - begun)));
            }
        }
        match kill % 10 {
            3 => {
                let token = format!("token-{kill}");
                hook.rotate(&token);
                tripline.write("token", &token);
            }
            5 => stranger = Some(kafka.stranger("killing", "killing")),
            7 => stranger = None,
            _ => {}
        }
        if kill % RESTART_EVERY == RESTART_EVERY / 2 {
            kafka.stop();
            kafka.start();
        }
        // Sometimes it dies before it is ready, sometimes in the midst of work.
        if dice.throw(3) > 0 {
            tripline.wait_answering();
        }
        let moment = Instant::now() + Duration::from_millis(dice.throw(900));
        eventually("its moment has come", || (Instant::now() >= moment).then_some(()));
        tripline.kill();
    }
    drop(stranger);
    hook.be_kind();
    tripline.start_ready();
    let expected: BTreeSet<String> =
        (0..kills).flat_map(|kill| beginners(kill, kills)).map(user).collect();
    let told = || users(&hook.alerts(), "five_reads").into_iter().collect::<BTreeSet<String>>();
    eventually("everybody's fifth read is an alert that was taken", || {
        let told = told();
        println!("{} of {} told", told.len(), expected.len());
        (told == expected).then_some(())
    });
    never("somebody's reads are counted twice", Duration::from_secs(2), || {
        users(&hook.alerts(), "six_reads").first().cloned()
    });
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    // What was refused was told to nobody: it is owed anew, by a notification of its own.
    let mut refused: BTreeSet<String> = BTreeSet::new();
    let mut taken_ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let (mut offers, mut taken) = (0, 0);
    for offered in hook.offered() {
        offers += 1;
        taken += usize::from(offered.is_taken);
        for alert in offered.body["alerts"].as_array().unwrap() {
            // What Tripline says about itself may begin and end several times. An episode that nobody could be
            // told of before the next one began is told with it, as one that began with the first: only
            // the whole of it tells one from another.
            let what = if alert["rule"]["id"].as_str().unwrap().starts_with("tripline.") {
                alert.to_string()
            } else {
                let parts = ["fingerprint", "starts_at", "state", "revision"];
                let what = parts.map(|part| alert[part].to_string()).join(" ");
                format!("{} {what}", alert["rule"]["title"])
            };
            if offered.is_refused {
                refused.insert(what.clone());
            }
            if offered.is_taken {
                taken_ids.entry(what.clone()).or_default().insert(offered.id.clone());
            }
            ids.entry(what).or_default().insert(offered.id.clone());
        }
    }
    let several: Vec<_> =
        ids.iter().filter(|(what, ids)| ids.len() > 1 && !refused.contains(*what)).collect();
    assert!(several.is_empty(), "the same told under several ids: {several:?}");
    let twice: Vec<_> = taken_ids.iter().filter(|(_, ids)| ids.len() > 1).collect();
    assert!(twice.is_empty(), "the same taken under several ids: {twice:?}");
    assert!(taken >= expected.len() && offers > taken, "{offers} offered, {taken} taken");
    println!(
        "{kills} kills, {} alerts, {offers} offers, {taken} taken, {} with an old token",
        expected.len(),
        hook.strangers()
    );
    tripline.stop();
}
