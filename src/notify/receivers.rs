//! `receivers:` of the configuration, and what becomes of it: the dispatcher's plan, and notifiers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{BuildContext, NOTIFIERS, Notifier, NotifierConfig, SlackApp, fresh::Fresh};
use crate::engine::{
    diagnostic::{Diagnostic, Place, code},
    dispatch::{Addresses, DispatchPlan, NotifierPlan, ReceiverPlan, Route},
    yaml::{Node, SecretRef, Section},
};

/// For how long a receiver takes nothing before the others are told, if it does not say: 10 minutes.
const FAILING_AFTER_DEFAULT: Duration = Duration::from_secs(600);

/// A receiver as it is configured: a name with one or more notifiers.
pub struct ReceiverConfig {
    /// Unique among the receivers.
    pub name: String,
    /// For how long it takes nothing of what it is owed before the others are told.
    pub failing_after: Duration,
    /// Not empty unless a mistake was reported.
    pub notifiers: Vec<ReceiverNotifier>,
}

/// One notifier of a receiver.
pub struct ReceiverNotifier {
    /// What it is, by its key.
    pub kind: &'static str,
    /// What its section says.
    pub config: Arc<dyn NotifierConfig>,
    /// Whether it is told that alerts resolved.
    pub send_resolved: bool,
    /// Where its section begins, for mistakes that show when it is built.
    pub place: Place,
    /// `receivers[0].slack`.
    pub path: String,
}

/// All notifiers, built. Cheap to clone; clones see the same secrets.
#[derive(Clone, Default)]
pub struct Receivers {
    by_name: BTreeMap<String, Vec<(Fresh, Duration)>>,
}

impl Receivers {
    /// A notifier of a receiver by its index, as a notification names it, and how long one attempt of it
    /// may take.
    pub fn get(
        &self,
        receiver: &str,
        notifier_index: usize,
    ) -> Option<(Arc<dyn Notifier>, Duration)> {
        let (notifier, attempt_max) = self.by_name.get(receiver)?.get(notifier_index)?;
        Some((Arc::new(notifier.clone()), *attempt_max))
    }

    /// Where all of them send, as their files were when they were last looked at.
    pub fn addresses(&self) -> Addresses {
        let of = |notifiers: &Vec<(Fresh, Duration)>| {
            notifiers.iter().map(|(notifier, _)| notifier.address()).collect()
        };
        self.by_name.iter().map(|(name, notifiers)| (name.clone(), of(notifiers))).collect()
    }

    /// Looks whether secrets or certificates have changed, and takes them. Whether any did: what was
    /// refused is then worth another try. Blocks the thread.
    pub fn look(&self) -> bool {
        let all = self.by_name.values().flatten();
        all.fold(false, |any, (notifier, _)| notifier.look() || any)
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
        let failing_after = section.duration("failing_after").unwrap_or(FAILING_AFTER_DEFAULT);
        if failing_after.is_zero() {
            let title = format!("{} must be more than 0", section.path_of("failing_after"));
            section.invalid("failing_after", title, "leave it out for 10m");
        }
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
            receivers.push(ReceiverConfig { name, failing_after, notifiers });
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
        let list = receiver.node(key).and_then(Node::as_list);
        let sections = match list {
            Some(_) => receiver.sections(key),
            None => receiver.section(key).into_iter().collect(),
        };
        if list.is_some_and(<[_]>::is_empty) {
            let title = format!("{} is an empty list, and tells nobody", receiver.path_of(key));
            receiver.invalid(key, title, "write what it needs, or leave it out");
        }
        for section in sections {
            let config = kind.parse(&section);
            let send_resolved = section.boolean("send_resolved").unwrap_or(true);
            let (place, path) = (section.place(), section.path().to_owned());
            section.finish();
            if let Some(config) = config {
                notifiers.push(ReceiverNotifier {
                    kind: kind.name(),
                    config: config.into(),
                    send_resolved,
                    place,
                    path,
                });
            }
        }
    }
    notifiers
}

/// The apps of Slack that are to have buttons, each with its notifier.
pub fn slack_apps(
    receivers: &[ReceiverConfig],
) -> impl Iterator<Item = (&ReceiverNotifier, SlackApp)> {
    let notifiers = receivers.iter().flat_map(|receiver| &receiver.notifiers);
    notifiers.filter_map(|notifier| Some((notifier, notifier.config.slack_app()?)))
}

/// What the dispatcher works from.
pub fn plan(receivers: &[ReceiverConfig], route: Route) -> DispatchPlan {
    let notifier = |receiver: &ReceiverConfig, notifier: &ReceiverNotifier| {
        let terms = notifier.config.terms();
        NotifierPlan {
            kind: notifier.kind.to_owned(),
            grouping: terms.grouping,
            send_resolved: notifier.send_resolved,
            audience: terms.audience,
            spacing: terms.spacing,
            recipients: terms.recipients,
            attempt_max: terms.attempt_max,
            failing_after: receiver.failing_after,
        }
    };
    let receivers = receivers.iter().map(|receiver| ReceiverPlan {
        name: receiver.name.clone(),
        notifiers: receiver.notifiers.iter().map(|one| notifier(receiver, one)).collect(),
    });
    DispatchPlan { route, receivers: receivers.collect(), ..DispatchPlan::default() }
}

/// Builds all notifiers.
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn build(
    receivers: &[ReceiverConfig],
    context: BuildContext,
) -> Result<Receivers, Vec<Diagnostic>> {
    let context = Arc::new(context);
    let (mut by_name, mut problems) = (BTreeMap::new(), Vec::new());
    for receiver in receivers {
        let mut built = Vec::with_capacity(receiver.notifiers.len());
        for notifier in &receiver.notifiers {
            let (config, path) = (Arc::clone(&notifier.config), notifier.path.clone());
            match Fresh::build(config, Arc::clone(&context), path) {
                Ok(one) => built.push((one, notifier.config.terms().attempt_max)),
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

    /// Whether one of its notifiers writes a topic of Kafka.
    pub fn writes_topic(&self) -> bool {
        self.notifiers.iter().any(|notifier| notifier.config.topic().is_some())
    }

    /// Further files that decide how its notifiers are built.
    pub fn files(&self) -> Vec<String> {
        self.notifiers.iter().flat_map(|notifier| notifier.config.files()).collect()
    }
}
