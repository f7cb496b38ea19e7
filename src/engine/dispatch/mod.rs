//! Which receiver is told what, and when: route → group → outbox → attempts.
//!
//! Words and defaults follow Alertmanager. A group is the unit of sending: it holds the alerts that
//! one notifier of one receiver is told about together, what it was last told, and at most one
//! notification that is still owed. An alert leaves its group only after a receiver took the
//! notification that says it resolved, so nothing owed is forgotten, and nothing grows with the
//! length of an outage.
//!
//! Where we differ from Alertmanager, and why:
//! - `high` and `critical` alerts do not wait for company: the first goes out at once, later ones
//!   wait for at most `group_wait` after the last notification, not for `group_interval`.
//! - An alert that fired and ended while its receiver was away is still told. People are told once,
//!   that it fired and is over; systems that keep state of their own are told that it fires, and
//!   then that it resolved, since they ignore the end of what they never saw begin.
//! - A notifier is told of an alert in one group only, the first that it fell into, until the alert
//!   resolves: a severity that rises does not split the conversation.
//! - A newer notification replaces one that is owed but could not be delivered yet.
//! - What a receiver refuses is owed like anything else, alert by alert: tried again after growing
//!   pauses, in smaller companies, while the group's other alerts go on. So one alert that a receiver
//!   will not take keeps no other from it.
//! - A notifier is known by where it sends, so what was told to one address is never taken as told to another.
//! - Who was told that an alert fires is told of its end, also if no route leads it there any more.
//! - Recipients of one notifier (mailboxes, peers of a cluster) are told each by himself.

mod address;
mod counts;
mod due;
mod evaluate;
mod group;
mod grouped_alert;
mod handling;
mod inhibit;
mod matcher;
mod members;
mod plan;
mod refusal;
mod set_back;
mod state;
mod state_key;
mod times;
mod trouble;
mod whom;

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{alert::Alert, digest::hex, time::WallTime, words::words};

pub use address::{Address, Addresses};
pub use counts::{DispatchCounts, LedgerEntry, LedgerKind, LedgerSubject, NotifierCounts};
pub use evaluate::{Tally, notify_reason};
pub use handling::{HANDLING, Handling};
pub use inhibit::InhibitRule;
pub use matcher::MatcherError;
pub use times::{RouteTimes, TimeInterval, TimeIntervals};

pub use trouble::ReceiverState;

pub(in crate::engine) use group::{Group, Owed, Phase, Progress, backoff, ledger_detail};
pub(in crate::engine) use grouped_alert::{GroupedAlert, News};
pub(in crate::engine) use inhibit::Inhibitor;
pub(in crate::engine) use matcher::hide;
pub(in crate::engine) use members::Members;
pub(in crate::engine) use plan::{CompiledPlan, GroupKey, LEFT, Policy, RouteId, Slot, Target};
pub(in crate::engine) use refusal::Refusal;
pub(in crate::engine) use set_back::SetBack;
pub(in crate::engine) use state::{read_entries, value_of};
pub(in crate::engine) use state_key::GroupStateKey;
pub(in crate::engine) use trouble::{about, in_trouble};
pub(in crate::engine) use whom::{Whom, successors};

/// What the dispatcher works from; the configuration in resolved form.
#[derive(Clone, Debug, Default)]
pub struct DispatchPlan {
    /// The root route: it matches everything.
    pub route: Route,
    /// All receivers, by the index that routes use.
    pub receivers: Vec<ReceiverPlan>,
    /// Where they send.
    pub addresses: Addresses,
    /// Which alerts hide which.
    pub inhibit: Vec<InhibitRule>,
}

/// One node of the routing tree.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// Index into [`DispatchPlan::receivers`].
    pub receiver_index: usize,
    /// All must match; none matches everything.
    pub matchers: Vec<Matcher>,
    /// Go on with the siblings after a match.
    pub continue_matching: bool,
    /// What this route, or a route above it, says about grouping; otherwise the notifier's default.
    pub grouping: GroupingOverride,
    /// When it tells nothing; of this route alone, not of those below it.
    pub times: RouteTimes,
    /// Nested routes, tried in order; the first that matches takes the alert.
    pub routes: Vec<Route>,
}

/// What a route may set of a [`Grouping`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupingOverride {
    /// `group_by`
    pub by: Option<GroupBy>,
    /// `group_wait`
    pub wait: Option<Duration>,
    /// `group_interval`
    pub interval: Option<Duration>,
    /// `repeat_interval`
    pub repeat: Option<Duration>,
}

/// How alerts become notifications.
#[derive(Clone, Debug, PartialEq)]
pub struct Grouping {
    /// Which alerts belong together.
    pub by: GroupBy,
    /// How long the first notification of a group waits for company.
    pub wait: Duration,
    /// How long after a notification the next one about changes may go out.
    pub interval: Duration,
    /// How long after a notification the same is said again while it still fires.
    pub repeat: Duration,
}

/// Which alerts are told together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupBy {
    /// Those that agree in these labels; none: all in one group.
    Labels(Vec<String>),
    /// Each alert alone (`group_by: ['...']`).
    Each,
}

/// `label = value` and its three sisters.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// Name of the label; a missing label is the empty text.
    pub label: String,
    /// The test.
    pub test: MatchTest,
}

/// How a label's value is tested. Regular expressions are anchored at both ends.
#[derive(Clone, Debug)]
pub enum MatchTest {
    /// `=`
    Equal(String),
    /// `!=`
    NotEqual(String),
    /// `=~`
    Regex(regex::Regex),
    /// `!~`
    NotRegex(regex::Regex),
}

/// A receiver: a name with one or more notifiers.
#[derive(Clone, Debug)]
pub struct ReceiverPlan {
    /// Its name in the configuration.
    pub name: String,
    /// Its notifiers, in the order of the configuration.
    pub notifiers: Vec<NotifierPlan>,
}

/// What the dispatcher must know of one notifier of a receiver.
#[derive(Clone, Debug)]
pub struct NotifierPlan {
    /// `slack`, `email` …
    pub kind: String,
    /// Its own default grouping, before the route's words.
    pub grouping: Grouping,
    /// Whether it is told that alerts resolved.
    pub send_resolved: bool,
    /// Who is told, and so what a notification holds.
    pub audience: Audience,
    /// Least time between two notifications that start, for receivers that limit rates.
    pub spacing: Duration,
    /// Who takes notifications each for himself: the mailboxes of an email, the peers of a cluster.
    /// Each is told, and owed, by himself. Empty: the notifier is one.
    pub recipients: Vec<String>,
    /// How long one attempt may take. The shell cuts it off then.
    pub attempt_max: Duration,
    /// For how long it may take nothing of what it is owed before the other receivers are told.
    pub failing_after: Duration,
}

/// Who reads the notifications, which decides what they hold and what is worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// People, who read each message: it shows the whole group. Growing evidence is not worth another
    /// message; new, ended and graver alerts are.
    People,
    /// People, with a message that can be edited: like [`Audience::People`], but told of growing
    /// evidence too; and the message shows what people do about its alerts, without telling anybody anew.
    Editable,
    /// A machine that handles each change: a notification holds only what changed, at once, and that
    /// an alert fires always comes before that it resolved.
    Machine,
    /// A machine that forgets what is not repeated (Alertmanager): all firing alerts again on every
    /// repeat, resolved ones for 15 more minutes. What routes say about grouping does not apply.
    Resend,
}

/// Identity of one notification: 128 bits of BLAKE3 over receiver, group and content, not of the
/// attempt. It is the `Idempotency-Key` of webhooks and the `Message-ID` of emails.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NotificationId(pub [u8; 16]);

impl fmt::Display for NotificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for NotificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What one notifier of one receiver is told at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// Same for every attempt.
    pub id: NotificationId,
    /// Name of the receiver.
    pub receiver: String,
    /// Which of its notifiers, by index.
    pub notifier_index: usize,
    /// Which of the notifier's recipients, if it has any.
    #[serde(skip)]
    pub recipient: Option<String>,
    /// Where this notifier sends, as far as the dispatcher knows: who sends elsewhere by now does not send it.
    #[serde(skip)]
    pub address: Option<Address>,
    /// Identity of the group, stable over restarts; the thread that messages belong to.
    pub group_key: String,
    /// Labels that all alerts of the group share.
    pub group_labels: BTreeMap<String, String>,
    /// Why it is sent now.
    pub reason: NotifyReason,
    /// Firing ones first; of these those that the receiver does not know of yet, everybody once before anybody
    /// twice; then by fingerprint.
    pub alerts: Vec<Alert>,
    /// Alerts of the group that did not fit into this notification.
    pub truncated_count: u64,
    /// When it was made.
    pub created_at: WallTime,
    /// When the attempt began that carries it.
    #[serde(skip, default = "WallTime::epoch")]
    pub sent_at: WallTime,
    /// What the receiver can take.
    #[serde(skip)]
    pub form: Form,
    /// Alerts under labels that they had when the receiver was told, and have no more: for receivers
    /// that know alerts by their labels. Resolved ones.
    #[serde(skip)]
    pub relabelled: Vec<Alert>,
    /// How many of the alerts, from the first one on, the receiver does not know of yet.
    #[serde(skip)]
    pub new_count: usize,
    /// How many attempts came before the one that carries it.
    pub attempts: u32,
    /// What the receiver answered to the group's earlier notification.
    pub receipt: Option<Receipt>,
}

/// How much of a notification is said. What a receiver can never take as it is (too large, blocks
/// that it does not know) is made smaller, and tried again.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Form {
    /// All of it.
    #[default]
    Full,
    /// Without evidence, and with fewer words.
    Short,
    /// What is needed to know which alerts it is about, as plain as the receiver has it.
    Plain,
}

impl Notification {
    /// How many of its alerts fire.
    pub fn firing_count(&self) -> usize {
        use super::alert::AlertState;
        self.alerts.iter().filter(|alert| alert.state == AlertState::Firing).count()
    }
}

words! {
    /// Why a group is, or is not, sent now. Logged, counted and tested by name.
    pub enum NotifyReason {
        /// The group's first notification.
        First = "first",
        /// Alerts joined the group.
        NewAlerts = "new_alerts",
        /// Alerts changed (severity, or more evidence).
        Updated = "updated",
        /// Some alerts resolved.
        NewResolved = "new_resolved",
        /// All alerts resolved.
        AllResolved = "all_resolved",
        /// Nothing changed, but it is time to say it again.
        RepeatDue = "repeat_due",
        /// Nothing to say.
        Nothing = "nothing",
        /// People did something about its alerts: a message that is there is brought up to date, and nobody is
        /// told anew. Last, as stored notifications know the others by their places.
        Handled = "handled",
    }
}

/// What a delivery attempt came to. The dispatcher, not the notifier, decides what follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The receiver took it.
    Delivered {
        /// What a later notification of the same group needs to refer to it.
        receipt: Option<Receipt>,
    },
    /// Worth another try, not before `after` when the receiver said so.
    Retry {
        /// As a bounded word.
        reason: OutcomeReason,
        /// For people and logs, without secrets.
        detail: String,
        /// `Retry-After`.
        after: Option<Duration>,
    },
    /// Not taken, and the same would not be taken soon either. It stays owed: the dispatcher makes it
    /// smaller if that may help, and tries again after growing pauses.
    Rejected {
        /// As a bounded word.
        reason: OutcomeReason,
        /// For people and logs, without secrets.
        detail: String,
    },
}

words! {
    /// Why a delivery failed. Metric label `reason`.
    pub enum OutcomeReason {
        /// Could not connect, or the connection broke.
        Connection = "connection",
        /// No answer in time.
        Timeout = "timeout",
        /// 429 and its like.
        RateLimited = "rate_limited",
        /// 5xx and its like.
        ServerError = "server_error",
        /// 4xx and its like.
        ClientError = "client_error",
        /// Credentials were refused.
        AuthError = "auth_error",
        /// It could not be put into the receiver's form.
        Unsendable = "unsendable",
        /// 413 and its like: the receiver takes nothing of this size.
        TooLarge = "too_large",
        /// The receiver does not understand its form.
        BadForm = "bad_form",
    }
}

/// What a receiver answered, for later notifications of the same group: a Slack channel and `ts`, an
/// email's `Message-ID`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Opaque to the dispatcher.
    pub values: BTreeMap<String, String>,
}
