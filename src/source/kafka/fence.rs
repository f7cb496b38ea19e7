//! Who owns the stream: one member of a group that has no other.
//!
//! Partitions are assigned by hand, so the group whose offsets tools look at decides nothing, and a
//! consumer that joins it takes nothing away. What keeps a second Tripline out is a group beside it,
//! which only Tripline joins, always as the same static member: whoever joins last is the member, and
//! Kafka tells the one before so with its next heartbeat. Nothing is ever read through this member.

use std::{
    collections::VecDeque,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, RebalanceProtocol},
    error::{KafkaError, RDKafkaErrorCode},
    groups::{GroupInfo, GroupList, GroupMemberInfo},
    types::RDKafkaRespErr,
};

use super::{KafkaSettings, assignment::Consumer, refused};
use crate::{
    kafka::{Callbacks, OpenConnection},
    source::SourceError,
};

/// Suffix of the group's name that makes the name of the fence's group, and of its only member.
const OWNER_SUFFIX: &str = "-tripline-owner";

/// Errors kept until somebody looks at them: 32. Further ones are in the log only.
const TROUBLES_MAX: usize = 32;

/// Properties of the member that are not for users to change.
const FIXED: [(&str, &str); 4] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    // Nobody looks at them.
    ("statistics.interval.ms", "0"),
    // The newer protocol would fence the new process of a static pair instead of the old one.
    ("group.protocol", "classic"),
];

/// How long the brokers may take to say who the member is: 5 s.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// What members of this process call themselves, and those of no other one.
static CLIENT_ID: LazyLock<String> = LazyLock::new(|| {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros();
    format!("tripline-{}-{since}", std::process::id())
});

/// The group that keeps others out, and its only member.
pub(super) fn owner_of(settings: &KafkaSettings) -> String {
    format!("{}{OWNER_SUFFIX}", settings.group)
}

/// What the member's callbacks note.
#[derive(Debug)]
pub(super) struct FenceContext {
    callbacks: Callbacks,
    /// How often Kafka made this process the member: each time it may be called otherwise.
    joined: AtomicUsize,
    troubles: Mutex<VecDeque<(RDKafkaErrorCode, String)>>,
}

/// The membership. While it lives, and Kafka has not given it to another process, the stream is ours.
pub(super) struct Fence {
    member: Arc<BaseConsumer<FenceContext>>,
    instance: String,
    /// What asks for [`Fence::confirm`]. It may outlast the question.
    asking: Option<JoinHandle<()>>,
    /// What Kafka calls this member, if it tells, since it was made the member for the so-manieth time.
    membership: (usize, Option<String>),
}

/// What an answer to [`Fence::confirm`] says.
struct Answer {
    is_ours: bool,
    /// What Kafka called the member right before that.
    member_id: Option<String>,
}

impl Fence {
    /// Asks Kafka through another consumer whether another process is the member by now.
    ///
    /// # Errors
    /// If it is, or if nobody answers.
    pub(super) fn is_left_to_us(
        &self,
        consumer: &Consumer,
    ) -> Result<Result<(), SourceError>, KafkaError> {
        let list = consumer.fetch_group_list(Some(&self.instance), ASK_TIMEOUT)?;
        let (_, known) = &self.membership;
        let is_ours = members_of(&list, &self.instance).all(|one| match known {
            // It is called so until it joins anew, and mostly after that.
            Some(known) if one.id() == known => true,
            Some(_) if self.is_known() => false,
            // pitfall: of a static member that took another one's place, within its session's time, Kafka
            // goes on telling the client id and host of that one (KAFKA-15704).
            _ => one.client_id() == *CLIENT_ID,
        });
        let instance = self.instance.clone();
        Ok(if is_ours { Ok(()) } else { Err(SourceError::Fenced { instance }) })
    }

    /// Joins the fence's own group in the background.
    pub(super) fn join_own(
        settings: &KafkaSettings,
        connection: OpenConnection,
    ) -> Result<Fence, SourceError> {
        Fence::join(settings, connection, &owner_of(settings), "range")
    }

    /// Joins in the background. `group` is the fence's own, but for processes of earlier versions, which
    /// were members of the group whose offsets they committed.
    pub(super) fn join(
        settings: &KafkaSettings,
        connection: OpenConnection,
        group: &str,
        strategy: &str,
    ) -> Result<Fence, SourceError> {
        let instance = owner_of(settings);
        let mut fixed = FIXED.to_vec();
        fixed.extend([("group.id", group), ("group.instance.id", &instance)]);
        fixed.push(("client.id", &CLIENT_ID));
        fixed.push(("partition.assignment.strategy", strategy));
        let (config, callbacks) = connection.into_client(&super::DEFAULTS, &fixed);
        let joined = AtomicUsize::new(0);
        let context = FenceContext { callbacks, joined, troubles: Mutex::default() };
        let member: BaseConsumer<FenceContext> =
            config.create_with_context(context).map_err(refused)?;
        let topics: Vec<&str> = settings.topics.iter().map(String::as_str).collect();
        member.subscribe(&topics).map_err(refused)?;
        Ok(Fence { member: Arc::new(member), instance, asking: None, membership: (0, None) })
    }

    /// Lets the library do its work. Nothing is read through it, so this takes no time.
    ///
    /// # Errors
    /// If the stream is another process's by now, or the library gave up.
    pub(super) fn poll(&self) -> Result<(), SourceError> {
        while let Some(event) = self.member.poll(Duration::ZERO) {
            // What errors mean was noted by the context.
            drop(event);
        }
        // pitfall: a fatal error is looked for, not waited for: its event queues up behind others, and
        // a fenced process must deliver nothing more.
        match self.member.client().fatal_error() {
            None => Ok(()),
            Some((RDKafkaErrorCode::FencedInstanceId, _)) => {
                Err(SourceError::Fenced { instance: self.instance.clone() })
            }
            Some((code, text)) => Err(SourceError::Fatal(format!("Kafka source: {text} ({code})"))),
        }
    }

    /// The group that it is the member of.
    pub(super) fn group(&self) -> &str {
        // The only member of the fence's own group is called as the group is.
        &self.instance
    }

    /// Whether the stream is ours: Kafka has made this process the member.
    pub(super) fn is_owner(&self) -> bool {
        self.joined() > 0
    }

    fn joined(&self) -> usize {
        self.member.context().joined.load(Ordering::Acquire)
    }

    /// Whether Kafka was asked what it calls this member since it made it that.
    pub(super) fn is_known(&self) -> bool {
        self.membership.0 == self.joined()
    }

    /// Asks Kafka whether the stream is still ours: only the member may commit an offset in its group.
    /// `false` if nobody answers. Blocks the thread, for 5 s at most. What Kafka calls the member is learned by
    /// the way.
    ///
    /// # Errors
    /// If it is another process's by now.
    pub(super) fn confirm(&mut self, topic: &str) -> Result<bool, SourceError> {
        // An answer to what was asked before tells nothing of now.
        let is_busy = self.asking.as_ref().is_some_and(|asking| !asking.is_finished());
        let joined = self.joined();
        let answer = if is_busy { None } else { self.ask(topic) };
        self.poll()?;
        Ok(answer.is_some_and(|answer| {
            if answer.is_ours && !self.is_known() {
                tracing::debug!(member = ?answer.member_id, "Kafka says what it calls the owner");
                self.membership = (joined, answer.member_id);
            }
            answer.is_ours
        }))
    }

    /// `None` if there is no answer within [`ASK_TIMEOUT`].
    fn ask(&mut self, topic: &str) -> Option<Answer> {
        let (member, topic, instance) =
            (Arc::clone(&self.member), topic.to_owned(), self.instance.clone());
        let known = self.is_known().then(|| self.membership.1.clone());
        let (tell, answer) = mpsc::channel();
        // pitfall: a commit returns when the library gives up, which a broker that hangs puts off by up to a
        // minute; and one that is not waited for tells nobody of its end.
        let body = move || {
            // First who it is, and then whether that is us: whose place was taken meanwhile may not commit.
            let member_id = known.unwrap_or_else(|| only_member(&member, &instance));
            let mut list = TopicPartitionList::new();
            let added = list.add_partition_offset(&topic, 0, Offset::Offset(0));
            let done = added.and_then(|()| member.commit(&list, CommitMode::Sync));
            // Whoever asked may have left.
            drop(tell.send(Answer { is_ours: done.is_ok(), member_id }));
        };
        let asking = thread::Builder::new().name("kafka-ask".to_owned()).spawn(body);
        if let Err(error) = &asking {
            tracing::warn!(%error, "no thread to ask Kafka whether the stream is still ours");
        }
        self.asking = asking.ok();
        answer.recv_timeout(ASK_TIMEOUT).ok()
    }

    /// Waits until the stream is ours, or it is another's, or `timeout` is over: then there was nobody to
    /// be fenced, or the broker is away.
    pub(super) fn wait(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        while !self.is_owner() && self.poll().is_ok() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Errors since the last call, oldest first.
    pub(super) fn take_troubles(&self) -> VecDeque<(RDKafkaErrorCode, String)> {
        let mut troubles =
            self.member.context().troubles.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut troubles)
    }
}

/// Who is in a group.
pub(super) fn members_of<'l>(
    list: &'l GroupList,
    group: &'l str,
) -> impl Iterator<Item = &'l GroupMemberInfo> {
    let groups = list.groups().iter().filter(move |one| one.name() == group);
    groups.flat_map(GroupInfo::members)
}

/// What Kafka calls the only member of a group; `None` if there are others, or it does not tell.
fn only_member(member: &BaseConsumer<FenceContext>, group: &str) -> Option<String> {
    let list = member.fetch_group_list(Some(group), ASK_TIMEOUT).ok()?;
    let mut ids = members_of(&list, group).map(|one| one.id().to_owned());
    let id = ids.next()?;
    ids.next().is_none().then_some(id)
}

/// Whether a member of the group is a Tripline of an earlier version, by the id that Kafka makes of the
/// static member's.
pub(super) fn is_earlier_version(settings: &KafkaSettings, member_id: &str) -> bool {
    let rest = member_id.strip_prefix(owner_of(settings).as_str());
    rest.is_some_and(|rest| rest.starts_with('-'))
}

impl ClientContext for FenceContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        Callbacks::forward_log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        tracing::debug!(target: "tripline::kafka::library", %code, "{reason}");
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        if troubles.len() < TROUBLES_MAX {
            troubles.push_back((code, reason.to_owned()));
        }
    }

    fn generate_oauth_token(
        &self,
        _config: Option<&str>,
    ) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.callbacks.token()
    }
}

impl ConsumerContext for FenceContext {
    // pitfall: callbacks run inside `poll`, and what they do not finish there is too late.
    fn rebalance(
        &self,
        member: &BaseConsumer<Self>,
        code: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let assigns = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        tracing::debug!(assigns, partitions = list.count(), "the fence's group was balanced");
        // The answer to either: none of them is read here.
        let none = TopicPartitionList::new();
        let cooperates = matches!(member.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let done = match (assigns, cooperates) {
            (true, false) => member.assign(&none),
            (true, true) => member.incremental_assign(&none),
            (false, false) => member.unassign(),
            (false, true) => member.incremental_unassign(&none),
        };
        if let Err(error) = done {
            tracing::error!(%error, "cannot answer the fence's group");
        }
        // What is taken away comes back, or goes to another process, of which a fatal error tells.
        if assigns {
            self.joined.fetch_add(1, Ordering::AcqRel);
        }
    }
}
