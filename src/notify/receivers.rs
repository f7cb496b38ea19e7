//! `receivers:` of the configuration, and what becomes of it: the dispatcher's plan, and notifiers.

use std::{collections::BTreeMap, sync::Arc};

use super::{BuildContext, NOTIFIERS, Notifier, NotifierConfig, NotifierKind};
use crate::engine::{
    diagnostic::{Diagnostic, Place, code},
    dispatch::{DispatchPlan, NotifierPlan, ReceiverPlan, Route},
    yaml::{SecretRef, Section},
};

/// A receiver as it is configured: a name with one or more notifiers.
pub struct ReceiverConfig {
    /// Unique among the receivers.
    pub name: String,
    /// Not empty unless a mistake was reported.
    pub notifiers: Vec<ReceiverNotifier>,
}

/// One notifier of a receiver.
pub struct ReceiverNotifier {
    /// What it is.
    pub kind: &'static dyn NotifierKind,
    /// What its section says.
    pub config: Box<dyn NotifierConfig>,
    /// Whether it is told that alerts resolved.
    pub send_resolved: bool,
    /// Where its section begins, for mistakes that show when it is built.
    pub place: Place,
    /// `receivers[0].slack`.
    pub path: String,
}

/// All notifiers, built.
#[derive(Clone, Default)]
pub struct Receivers {
    by_name: BTreeMap<String, Vec<Arc<dyn Notifier>>>,
}

impl Receivers {
    /// A notifier of a receiver by its index, as a notification names it.
    pub fn get(&self, receiver: &str, notifier_index: usize) -> Option<&Arc<dyn Notifier>> {
        self.by_name.get(receiver)?.get(notifier_index)
    }
}

/// Reads `receivers:`. Every mistake is reported; what is returned is of use only if there is none.
pub fn parse_receivers(root: &Section<'_>) -> Vec<ReceiverConfig> {
    if !root.has("receivers") {
        root.missing("receivers", "name at least one: `receivers: [{name: console, stdout: {}}]`");
    }
    let mut receivers: Vec<ReceiverConfig> = Vec::new();
    let mut places: Vec<Place> = Vec::new();
    for section in root.sections("receivers") {
        let name = section.required_string("name", "routes refer to a receiver by its name");
        let place = section.place_of("name");
        let notifiers = parse_notifiers(&section);
        if !NOTIFIERS.iter().any(|kind| section.has(kind.name())) {
            let kinds: Vec<&str> = NOTIFIERS.iter().map(|kind| kind.name()).collect();
            let title = format!("{} tells nobody", section.path());
            let help = format!("add one of: {}", kinds.join(", "));
            section.report(
                Diagnostic::error(code::MISSING_SETTING, section.place(), title).help(help),
            );
        }
        section.finish();
        let Some(name) = name else { continue };
        if let Some(first) = receivers.iter().position(|known| known.name == name) {
            let title = format!("there are two receivers with the name `{name}`");
            let mut problem = Diagnostic::error(code::SETTING_TWICE, place, title);
            if let Some(place) = places.get(first) {
                problem = problem.related(place.clone(), "the first one");
            }
            root.report(problem);
        } else {
            receivers.push(ReceiverConfig { name, notifiers });
            places.push(place);
        }
    }
    receivers
}

fn parse_notifiers(receiver: &Section<'_>) -> Vec<ReceiverNotifier> {
    let mut notifiers = Vec::new();
    for kind in NOTIFIERS {
        let key = kind.name();
        if !receiver.has(key) {
            continue;
        }
        let is_list = receiver.node(key).is_some_and(|node| node.as_list().is_some());
        let sections = if is_list {
            receiver.sections(key)
        } else {
            receiver.section(key).into_iter().collect()
        };
        for section in sections {
            let config = kind.parse(&section);
            let send_resolved = section.boolean("send_resolved").unwrap_or(true);
            let (place, path) = (section.place(), section.path().to_owned());
            section.finish();
            if let Some(config) = config {
                notifiers.push(ReceiverNotifier {
                    kind: *kind,
                    config,
                    send_resolved,
                    place,
                    path,
                });
            }
        }
    }
    notifiers
}

/// What the dispatcher works from.
pub fn plan(receivers: &[ReceiverConfig], route: Route) -> DispatchPlan {
    let notifier = |notifier: &ReceiverNotifier| {
        let terms = notifier.config.terms();
        NotifierPlan {
            kind: notifier.kind.name().to_owned(),
            grouping: terms.grouping,
            send_resolved: notifier.send_resolved,
            audience: terms.audience,
            spacing: terms.spacing,
        }
    };
    let receivers = receivers.iter().map(|receiver| ReceiverPlan {
        name: receiver.name.clone(),
        notifiers: receiver.notifiers.iter().map(notifier).collect(),
    });
    DispatchPlan { route, receivers: receivers.collect() }
}

/// Builds all notifiers.
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn build(
    receivers: &[ReceiverConfig],
    context: &BuildContext,
) -> Result<Receivers, Vec<Diagnostic>> {
    let (mut by_name, mut problems) = (BTreeMap::new(), Vec::new());
    for receiver in receivers {
        let mut built = Vec::with_capacity(receiver.notifiers.len());
        for notifier in &receiver.notifiers {
            match notifier.config.build(context) {
                Ok(one) => built.push(one),
                Err(problem) => problems.push(Diagnostic {
                    title: format!("{}.{}", notifier.path, problem.title),
                    place: Some(notifier.place.clone()),
                    ..*problem
                }),
            }
        }
        by_name.insert(receiver.name.clone(), built);
    }
    if problems.is_empty() { Ok(Receivers { by_name }) } else { Err(problems) }
}

impl ReceiverConfig {
    /// The secrets that building it will ask for.
    pub fn secrets(&self) -> Vec<SecretRef> {
        self.notifiers.iter().flat_map(|notifier| notifier.config.secrets()).collect()
    }
}
