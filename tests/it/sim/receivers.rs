//! Receivers: what they were told, and a router of their own to say what they should have been told.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tripline::engine::dispatch::{
    Address, Addresses, Audience, DispatchPlan, GroupBy, Grouping, GroupingOverride, MatchTest,
    Matcher, Notification, NotifierPlan, ReceiverPlan, Route,
};

/// One notifier of one receiver, or one recipient of it.
pub(super) struct Notifier {
    pub(super) receiver: &'static str,
    /// Its place in the list that its receiver has at first.
    pub(super) index: usize,
    pub(super) address: Address,
    pub(super) recipient: Option<&'static str>,
    pub(super) kind: &'static str,
    pub(super) audience: Audience,
    pub(super) send_resolved: bool,
    pub(super) is_down: bool,
    /// What it took, in its order.
    pub(super) taken: Vec<Arc<Notification>>,
}

impl Notifier {
    /// Whether a notification is for it.
    pub(super) fn is_for(&self, notification: &Notification) -> bool {
        self.receiver == notification.receiver
            && Some(self.address) == notification.address
            && self.recipient == notification.recipient.as_deref()
    }
}

/// All receivers of the world, and the routes to them.
pub(super) struct Receivers {
    pub(super) notifiers: Vec<Notifier>,
    pub(super) plan: DispatchPlan,
    children: &'static [Child],
}

/// A route below the root: `label = value`, whether to go on, and the receiver.
type Child = (&'static str, &'static str, bool, usize);

/// What a notifier is: kind, audience, whether it is told of ends, least pause in seconds, recipients.
type Kind = (&'static str, Audience, bool, u64, &'static [&'static str]);

/// For how long a receiver takes nothing before others are told.
const FAILING_AFTER: Duration = Duration::from_secs(600);

/// The receiver whose notifiers change places.
pub(super) const REORDERED: &str = "pager";

/// The receivers and their notifiers.
const RECEIVERS: &[(&str, &[Kind])] = &[
    ("hook", &[("webhook", Audience::Machine, true, 0, &[])]),
    (
        "chat",
        &[
            ("slack", Audience::Editable, true, 1, &[]),
            ("email", Audience::People, true, 0, &["ann"]),
        ],
    ),
    ("prometheus", &[("alertmanager", Audience::Resend, true, 0, &["one", "two"])]),
    (
        REORDERED,
        &[
            ("webhook", Audience::Machine, true, 0, &[]),
            ("webhook", Audience::Machine, true, 0, &[]),
        ],
    ),
    ("list", &[("email", Audience::People, false, 0, &["ann", "bob", "tom"])]),
];

/// Root receiver, and the routes below it.
const PLANS: &[(usize, &[Child])] = &[
    (0, &[]),
    (
        1,
        &[
            ("severity", "high", true, 3),
            ("severity", "critical", true, 3),
            ("user", "eve", false, 0),
        ],
    ),
    (
        2,
        &[
            ("alertname", "exec", false, 1),
            ("severity", "high", false, 4),
            ("user", "ann", true, 0),
        ],
    ),
];

impl Receivers {
    pub(super) fn new(plan: u8) -> Receivers {
        let (root, children) = PLANS[usize::from(plan) % PLANS.len()];
        let mut notifiers = Vec::new();
        let mut receivers = Vec::new();
        let mut addresses = Addresses::new();
        for (receiver, kinds) in RECEIVERS {
            let mut plans = Vec::new();
            for (index, kind) in kinds.iter().enumerate() {
                let (kind, audience, send_resolved, spacing, recipients) = kind;
                let address = Address::of([receiver.as_bytes(), &index.to_le_bytes()]);
                addresses.entry((*receiver).to_owned()).or_default().push(address);
                let one = |recipient: Option<&'static str>| Notifier {
                    receiver,
                    index,
                    address,
                    recipient,
                    kind,
                    audience: *audience,
                    send_resolved: *send_resolved,
                    is_down: false,
                    taken: Vec::new(),
                };
                if recipients.is_empty() {
                    notifiers.push(one(None));
                }
                notifiers.extend(recipients.iter().map(|recipient| one(Some(recipient))));
                plans.push(NotifierPlan {
                    kind: (*kind).to_owned(),
                    grouping: grouping(*audience, receiver),
                    send_resolved: *send_resolved,
                    audience: *audience,
                    spacing: Duration::from_secs(*spacing),
                    recipients: recipients.iter().map(|name| (*name).to_owned()).collect(),
                    attempt_max: Duration::from_secs(60),
                    failing_after: FAILING_AFTER,
                });
            }
            receivers.push(ReceiverPlan { name: (*receiver).to_owned(), notifiers: plans });
        }
        let route = |(label, value, go_on, receiver): &Child| Route {
            receiver_index: *receiver,
            matchers: vec![Matcher {
                label: (*label).to_owned(),
                test: MatchTest::Equal((*value).to_owned()),
            }],
            continue_matching: *go_on,
            grouping: GroupingOverride::default(),
            ..Route::default()
        };
        let root = Route {
            receiver_index: root,
            routes: children.iter().map(route).collect(),
            ..Route::default()
        };
        Receivers {
            notifiers,
            plan: DispatchPlan { route: root, receivers, addresses, ..DispatchPlan::default() },
            children,
        }
    }

    /// Two notifiers change places in their list.
    pub(super) fn reorder(&mut self) {
        let addresses = self.plan.addresses.get_mut(REORDERED).expect("all have addresses");
        addresses.reverse();
    }

    /// The notifier of a notification.
    pub(super) fn find(&mut self, notification: &Notification) -> &mut Notifier {
        let ours = |notifier: &&mut Notifier| notifier.is_for(notification);
        self.notifiers.iter_mut().find(ours).expect("every notification is for a known notifier")
    }

    /// Whether alerts with these labels are for a receiver: the rules of routing, said again.
    pub(super) fn is_target(&self, receiver: &str, labels: &BTreeMap<String, String>) -> bool {
        let mut taken = Vec::new();
        for (label, value, go_on, to) in self.children {
            if labels.get(*label).is_some_and(|found| found == value) {
                taken.push(*to);
                if !go_on {
                    break;
                }
            }
        }
        if taken.is_empty() {
            taken.push(self.plan.route.receiver_index);
        }
        taken.iter().any(|to| RECEIVERS[*to].0 == receiver)
    }
}

fn grouping(audience: Audience, receiver: &str) -> Grouping {
    let labels = |names: &[&str]| GroupBy::Labels(names.iter().map(|n| (*n).to_owned()).collect());
    let (by, wait, interval, repeat) = match audience {
        Audience::People => (labels(&["alertname", "user"]), 10, 60, 3_600),
        Audience::Editable => (labels(&["alertname"]), 5, 30, 3_600),
        Audience::Machine if receiver == REORDERED => (GroupBy::Each, 0, 5, 0),
        Audience::Machine => (labels(&[]), 0, 10, 0),
        Audience::Resend => (labels(&[]), 0, 0, 60),
    };
    Grouping {
        by,
        wait: Duration::from_secs(wait),
        interval: Duration::from_secs(interval),
        repeat: Duration::from_secs(repeat),
    }
}
