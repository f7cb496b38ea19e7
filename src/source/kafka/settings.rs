//! What `sources: - kafka:` may say.

use std::sync::Arc;

use crate::{
    engine::{words::words, yaml::Section},
    kafka::{Connection, TOPIC_RULE, is_topic},
};

/// Properties that the source decides, and why.
const OWNED: [(&str, &str); 12] = [
    ("auto.offset.reset", "write `start: earliest` or `start: latest`"),
    ("enable.auto.commit", "offsets are committed after the checkpoint that covers them"),
    ("auto.commit.enable", "offsets are committed after the checkpoint that covers them"),
    ("enable.auto.offset.store", "offsets are committed after the checkpoint that covers them"),
    ("enable.partition.eof", "nothing reads to the end of a partition here"),
    ("group.id", "write `group`"),
    ("group.instance.id", "it is made from `group`, so that a second process fences the first"),
    ("group.protocol", "one process owns the whole stream, which needs the classic protocol"),
    ("group.remote.assignor", "one process owns the whole stream"),
    ("partition.assignment.strategy", "one process owns the whole stream"),
    ("isolation.level", "aborted transactions are never read"),
    ("statistics.interval.ms", "the lag is taken from statistics every 2 s"),
];

words! {
    /// Where to begin in a partition that the checkpoint does not know.
    #[derive(Default)]
    pub enum Start {
        /// At its first record. Nothing is missed; old events may still alert.
        #[default]
        Earliest = "earliest",
        /// At its end as of the first look. Topics that are made later, and partitions that are added to a known
        /// one, are read from their first record even so.
        Latest = "latest",
        /// Where the group has committed, whoever did; else at its first record.
        Group = "group",
    }
}

/// A Kafka source as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSettings {
    /// How to reach the cluster.
    pub connection: Connection,
    /// Names of topics, and patterns that begin with `^`.
    pub topics: Vec<String>,
    /// Topics that no pattern matches: those that Tripline itself writes.
    pub left_out: Vec<String>,
    /// The consumer group.
    pub group: String,
    /// Where to begin in a partition that nobody knows.
    pub start: Start,
    /// Name of the cluster that all records come from.
    pub cluster: Option<Arc<str>>,
    /// Name of a record header that holds the cluster's name; it wins over `cluster`.
    pub cluster_header: Option<String>,
}

impl KafkaSettings {
    /// Settings with defaults for the rest.
    pub fn new(brokers: Vec<String>, topics: Vec<String>, group: impl Into<String>) -> Self {
        KafkaSettings {
            connection: Connection::new(brokers),
            topics,
            left_out: Vec::new(),
            group: group.into(),
            start: Start::default(),
            cluster: None,
            cluster_header: None,
        }
    }

    /// Reads a section; every mistake is reported.
    pub fn parse(section: &Section<'_>) -> Option<KafkaSettings> {
        let connection = Connection::parse(section, &OWNED);
        let topics = parse_topics(section);
        let group = section.required_string("group", "name the consumer group, such as `tripline`");
        let start = section.one_of("start", &Start::WORDS).unwrap_or_default();
        let cluster = section.string("cluster").map(Arc::from);
        let cluster_header = section.string("cluster_header");
        Some(KafkaSettings {
            connection: connection?,
            topics: topics?,
            left_out: Vec::new(),
            group: group?,
            start,
            cluster,
            cluster_header,
        })
    }

    /// Whether a topic is read because it is named.
    pub fn names(&self, topic: &str) -> bool {
        self.topics.iter().any(|name| name == topic)
    }

    /// Whether a topic is read because a pattern matches it. Compiles the patterns.
    pub fn matches(&self, topic: &str) -> bool {
        self.is_matched(&self.patterns(), topic)
    }

    /// The patterns among `topics`.
    pub(super) fn patterns(&self) -> Vec<regex::Regex> {
        let patterns = self.topics.iter().filter(|topic| is_pattern(topic));
        patterns.filter_map(|topic| regex::Regex::new(topic).ok()).collect()
    }

    /// [`KafkaSettings::matches`] with the patterns of these settings.
    pub(super) fn is_matched(&self, patterns: &[regex::Regex], topic: &str) -> bool {
        patterns.iter().any(|pattern| pattern.is_match(topic))
            && !self.left_out.iter().any(|own| own == topic)
    }
}

/// Whether an entry of `topics` is a pattern rather than a name.
pub(super) fn is_pattern(topic: &str) -> bool {
    topic.starts_with('^')
}

fn parse_topics(section: &Section<'_>) -> Option<Vec<String>> {
    const HELP: &str = "write `topics: [audit]`, or a pattern such as `^audit-.*`";
    if section.node("topics").is_none() {
        section.missing("topics", HELP);
        return None;
    }
    let topics = section.strings("topics")?;
    if topics.is_empty() {
        section.invalid("topics", format!("{} is empty", section.path_of("topics")), HELP);
        return None;
    }
    let mut good = true;
    for topic in &topics {
        let problem = if is_pattern(topic) {
            regex::Regex::new(topic).err().map(|error| {
                let text = error.to_string();
                text.lines().last().unwrap_or_default().trim().to_owned()
            })
        } else {
            (!is_topic(topic)).then(|| TOPIC_RULE.to_owned())
        };
        if let Some(problem) = problem {
            let what = if is_pattern(topic) { "pattern" } else { "topic" };
            let title = format!("`{topic}` is not a {what}: {problem}");
            section.invalid("topics", title, "patterns begin with `^`; everything else is a name");
            good = false;
        }
    }
    good.then_some(topics)
}
