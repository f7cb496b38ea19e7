//! The plan in the form that the dispatcher runs on: routes with identities, notifiers in one list.
//!
//! Identities do not depend on positions in the configuration, so that what is owed survives an edit
//! of it: a route is known by the matchers on the way to it, a notifier by receiver, kind and address
//! (`whom.rs`), and each of its recipients by his name.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Address, Addresses, Audience, DispatchPlan, GroupBy, Grouping, GroupingOverride, Matcher,
    Route, RouteTimes,
};
use crate::engine::{
    alert::{Alert, Fingerprint},
    digest::Digest,
};

/// What decides how a group is told.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::engine) struct Policy {
    pub(in crate::engine) grouping: Grouping,
    pub(in crate::engine) audience: Audience,
    pub(in crate::engine) send_resolved: bool,
    pub(in crate::engine) times: RouteTimes,
}

/// One notifier of one receiver, or one recipient of it.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Slot {
    /// The notifier, and behind a slash the recipient.
    pub(in crate::engine) identity: String,
    /// `receiver/kind`, with `#2` and so on for further ones of the same kind.
    pub(in crate::engine) notifier: String,
    pub(in crate::engine) recipient: Option<String>,
    /// Where the notifier sends, if that is known.
    pub(in crate::engine) address: Option<Address>,
    pub(in crate::engine) receiver: String,
    pub(in crate::engine) kind: String,
    pub(in crate::engine) notifier_index: usize,
    pub(in crate::engine) spacing: Duration,
    pub(in crate::engine) attempt_max: Duration,
    pub(in crate::engine) failing_after: Duration,
    grouping: Grouping,
    audience: Audience,
    send_resolved: bool,
}

/// Identity of a route: a hash of the matchers on the way to it.
pub(in crate::engine) type RouteId = [u8; 16];

/// In place of the route of alerts that no route leads to a notifier any more, which was told that they fire.
pub(in crate::engine) const LEFT: RouteId = *b"no route anymore";

/// Identity of a group: a hash of notifier, route and group labels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(in crate::engine) struct GroupKey(pub(in crate::engine) [u8; 16]);

/// The compiled plan.
#[derive(Clone, Debug)]
pub(in crate::engine) struct CompiledPlan {
    root: Node,
    pub(in crate::engine) slots: Vec<Slot>,
    /// First slot and number of slots of each receiver.
    receivers: Vec<(usize, usize)>,
    /// What each route says about grouping, and when it tells nothing.
    routes: BTreeMap<RouteId, (GroupingOverride, RouteTimes)>,
}

#[derive(Clone, Debug)]
struct Node {
    id: RouteId,
    receiver_index: usize,
    matchers: Vec<Matcher>,
    continue_matching: bool,
    children: Vec<Node>,
}

/// Where an alert goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Target {
    pub(in crate::engine) slot: usize,
    pub(in crate::engine) route: RouteId,
}

impl CompiledPlan {
    pub(in crate::engine) fn new(plan: &DispatchPlan) -> CompiledPlan {
        let (mut slots, mut receivers) = (Vec::new(), Vec::new());
        for receiver in &plan.receivers {
            let first = slots.len();
            let mut ordinals: BTreeMap<&str, usize> = BTreeMap::new();
            for (notifier_index, notifier) in receiver.notifiers.iter().enumerate() {
                let ordinal = ordinals.entry(&notifier.kind).or_default();
                *ordinal += 1;
                let further = if *ordinal > 1 { format!("#{ordinal}") } else { String::new() };
                let name = format!("{}/{}{further}", receiver.name, notifier.kind);
                let slot = |recipient: Option<&String>| Slot {
                    identity: match recipient {
                        Some(recipient) => format!("{name}/{recipient}"),
                        None => name.clone(),
                    },
                    notifier: name.clone(),
                    recipient: recipient.cloned(),
                    address: None,
                    receiver: receiver.name.clone(),
                    kind: notifier.kind.clone(),
                    notifier_index,
                    spacing: notifier.spacing,
                    attempt_max: notifier.attempt_max,
                    failing_after: notifier.failing_after,
                    grouping: notifier.grouping.clone(),
                    audience: notifier.audience,
                    send_resolved: notifier.send_resolved,
                };
                if notifier.recipients.is_empty() {
                    slots.push(slot(None));
                } else {
                    slots.extend(notifier.recipients.iter().map(|recipient| slot(Some(recipient))));
                }
            }
            receivers.push((first, slots.len() - first));
        }
        let mut routes = BTreeMap::new();
        let root = Node::new(&plan.route, "", &mut routes);
        routes.insert(LEFT, (GroupingOverride::default(), RouteTimes::default()));
        let mut compiled = CompiledPlan { root, slots, receivers, routes };
        compiled.send_to(&plan.addresses);
        compiled
    }

    /// Notes where notifiers send; whether any sent elsewhere before, or nobody knew.
    pub(in crate::engine) fn send_to(&mut self, addresses: &Addresses) -> bool {
        let mut has_moved = false;
        for slot in &mut self.slots {
            let of_receiver = addresses.get(&slot.receiver);
            let address = of_receiver.and_then(|all| all.get(slot.notifier_index)).copied();
            if address.is_some() && address != slot.address {
                slot.address = address;
                has_moved = true;
            }
        }
        has_moved
    }

    pub(in crate::engine) fn slot(&self, index: usize) -> &Slot {
        self.slots.get(index).expect("slot indexes are made anew with each plan")
    }

    /// Where an alert with these labels goes, in the order of the configuration; each notifier once,
    /// for the first route that leads to it.
    pub(in crate::engine) fn targets(&self, labels: &BTreeMap<String, String>) -> Vec<Target> {
        let mut nodes = Vec::new();
        self.root.route(labels, true, &mut nodes);
        let mut targets: Vec<Target> = Vec::new();
        for node in nodes {
            let (first, count) =
                self.receivers.get(node.receiver_index).copied().unwrap_or_default();
            for slot in first..first + count {
                if !targets.iter().any(|target| target.slot == slot) {
                    targets.push(Target { slot, route: node.id });
                }
            }
        }
        targets
    }

    /// Where an alert about one notifier goes: where its labels lead to, but not to that notifier. If
    /// nobody else is there, to everybody else.
    pub(in crate::engine) fn targets_beside(
        &self,
        labels: &BTreeMap<String, String>,
        identity: &str,
    ) -> Vec<Target> {
        let is_other = |target: &Target| self.slot(target.slot).identity != identity;
        let mut targets = self.targets(labels);
        targets.retain(is_other);
        if targets.is_empty() {
            let all = (0..self.slots.len()).map(|slot| Target { slot, route: self.root.id });
            targets.extend(all.filter(is_other));
        }
        targets
    }

    /// How a notifier is told about alerts of a route; `None` if the route is gone.
    pub(in crate::engine) fn policy(&self, slot: usize, route: RouteId) -> Option<Policy> {
        let (said, times) = self.routes.get(&route)?;
        let Slot { grouping, audience, send_resolved, .. } = self.slots.get(slot)?;
        let mut grouping = grouping.clone();
        if *audience != Audience::Resend {
            if let Some(by) = &said.by {
                grouping.by = by.clone();
            }
            grouping.wait = said.wait.unwrap_or(grouping.wait);
            grouping.interval = said.interval.unwrap_or(grouping.interval);
            grouping.repeat = said.repeat.unwrap_or(grouping.repeat);
        }
        let (audience, times) = (*audience, times.clone());
        Some(Policy { grouping, audience, send_resolved: *send_resolved, times })
    }

    /// The group that an alert falls into, the thread of it, and the labels that make the group.
    pub(in crate::engine) fn group_key(
        &self,
        target: Target,
        by: &GroupBy,
        alert: &Alert,
    ) -> (GroupKey, GroupKey, BTreeMap<String, String>) {
        let Slot { identity, notifier, .. } = self.slot(target.slot);
        let labels: BTreeMap<String, String> = match by {
            GroupBy::Each => alert.labels.clone(),
            GroupBy::Labels(names) => {
                let taken = alert.labels.iter().filter(|(name, _)| names.contains(name));
                taken.map(|(name, value)| (name.clone(), value.clone())).collect()
            }
        };
        let key = |name: &str| group_key(name, target, by, &labels, alert.fingerprint);
        (key(identity), key(notifier), labels)
    }

    /// The key of a group that these labels make.
    pub(in crate::engine) fn key_of(
        &self,
        target: Target,
        by: &GroupBy,
        labels: &BTreeMap<String, String>,
    ) -> GroupKey {
        group_key(&self.slot(target.slot).identity, target, by, labels, Fingerprint::of(labels))
    }

    /// The group for whatever finds no other at the limit, and its thread.
    pub(in crate::engine) fn overflow_key(&self, target: Target) -> (GroupKey, GroupKey) {
        let Slot { identity, notifier, .. } = self.slot(target.slot);
        let key = |name: &str| GroupKey(digest(name, target).bytes("overflow").first());
        (key(identity), key(notifier))
    }
}

/// The group below a name that these labels make, or an alert that is alone.
fn group_key(
    name: &str,
    target: Target,
    by: &GroupBy,
    labels: &BTreeMap<String, String>,
    alone: Fingerprint,
) -> GroupKey {
    let digest = digest(name, target);
    let digest = match by {
        GroupBy::Each => digest.part(alone.0),
        GroupBy::Labels(_) => {
            labels.iter().flat_map(|(name, value)| [name, value]).fold(digest, Digest::part)
        }
    };
    GroupKey(digest.first())
}

fn digest(name: &str, target: Target) -> Digest {
    Digest::default().part(name).part(target.route)
}

impl Node {
    fn new(
        route: &Route,
        above: &str,
        routes: &mut BTreeMap<RouteId, (GroupingOverride, RouteTimes)>,
    ) -> Node {
        let matchers: Vec<String> = route.matchers.iter().map(Matcher::to_string).collect();
        let mut path = format!("{above}/{{{}}}", matchers.join(","));
        let id_of = |path: &str| Digest::default().bytes(path).first();
        let mut id = id_of(&path);
        while routes.contains_key(&id) {
            path.push('#');
            id = id_of(&path);
        }
        routes.insert(id, (route.grouping.clone(), route.times.clone()));
        let children = route.routes.iter().map(|child| Node::new(child, &path, routes)).collect();
        Node {
            id,
            receiver_index: route.receiver_index,
            matchers: route.matchers.clone(),
            continue_matching: route.continue_matching,
            children,
        }
    }

    /// Adds the nodes that take the alert; whether there are any.
    fn route<'n>(
        &'n self,
        labels: &BTreeMap<String, String>,
        is_root: bool,
        taken: &mut Vec<&'n Node>,
    ) -> bool {
        if !is_root && !self.matchers.iter().all(|matcher| matcher.matches(labels)) {
            return false;
        }
        let mut child_took = false;
        for child in &self.children {
            if child.route(labels, false, taken) {
                child_took = true;
                if !child.continue_matching {
                    break;
                }
            }
        }
        if !child_took {
            taken.push(self);
        }
        true
    }
}
