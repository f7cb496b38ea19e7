//! `route:` of the configuration: the tree that says which receiver an alert goes to.
//!
//! Keys and meaning are Alertmanager's: the root takes every alert; of the routes below, the first
//! whose matchers all match takes it, and further ones if it says `continue`; what a route does not
//! say of grouping it has from the route above.

use std::{sync::Arc, time::Duration};

use super::{
    ReceiverConfig,
    matchers::matchers,
    quiet::{parse_time_intervals, route_times},
};
use crate::engine::{
    diagnostic::{Diagnostic, code},
    dispatch::{GroupBy, GroupingOverride, Route, TimeIntervals},
    yaml::Section,
};

/// Routes nested deeper are an error; nobody can read them.
const DEPTH_MAX: usize = 16;

/// Shortest interval that may be asked for, but for 0.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Reads `route:`. Every mistake is reported, those of all routes at once.
pub fn parse_route(root: &Section<'_>, receivers: &[ReceiverConfig]) -> Option<Route> {
    if !root.has("route") {
        let name = receivers.first().map_or("NAME", |receiver| receiver.name.as_str());
        root.missing("route", format!("say who is told: `route: {{receiver: {name}}}`"));
        return None;
    }
    let times = parse_time_intervals(root);
    let section = root.section("route")?;
    for key in ["matchers", "continue", "mute_time_intervals", "active_time_intervals"] {
        if section.has(key) {
            let title = format!("the root route takes every alert; it can have no `{key}`");
            section.invalid(key, title, "move it to a route below, in `routes`");
        }
    }
    let above = Route { receiver_index: usize::MAX, ..Route::default() };
    if !section.has("receiver") {
        section.missing("receiver", "the root route must name the receiver of all other alerts");
    }
    Some(parse(section, &above, (receivers, &times), 0))
}

fn parse(
    section: Section<'_>,
    above: &Route,
    (receivers, times): (&[ReceiverConfig], &[Arc<TimeIntervals>]),
    depth: usize,
) -> Route {
    let mut route = Route {
        receiver_index: receiver_index(&section, receivers).unwrap_or(above.receiver_index),
        matchers: matchers(&section, "matchers"),
        continue_matching: section.boolean("continue").unwrap_or(false),
        grouping: grouping(&section, &above.grouping),
        times: route_times(&section, times),
        routes: Vec::new(),
    };
    let children = section.sections("routes");
    if depth >= DEPTH_MAX && !children.is_empty() {
        let title = format!("{} is nested too deep", section.path_of("routes"));
        section.invalid("routes", title, format!("at most {DEPTH_MAX} levels are read"));
    } else {
        let child = |child| parse(child, &route, (receivers, times), depth + 1);
        route.routes = children.into_iter().map(child).collect();
    }
    section.finish();
    route
}

fn receiver_index(section: &Section<'_>, receivers: &[ReceiverConfig]) -> Option<usize> {
    let name = section.string("receiver")?;
    let found = receivers.iter().position(|receiver| receiver.name == name);
    if found.is_none() {
        let names = || receivers.iter().map(|receiver| receiver.name.as_str());
        let title = format!("there is no receiver `{name}`");
        let mut problem =
            Diagnostic::error(code::INVALID_SETTING, section.place_of("receiver"), title)
                .suggest(&name, names());
        if problem.help.is_empty() && !receivers.is_empty() {
            let known: Vec<&str> = names().collect();
            problem = problem.help(format!("receivers are: {}", known.join(", ")));
        }
        section.report(problem);
    }
    found
}

fn grouping(section: &Section<'_>, above: &GroupingOverride) -> GroupingOverride {
    let interval = |key: &str| {
        let span = section.duration(key)?;
        if !span.is_zero() && span < INTERVAL_MIN {
            let title = format!("{} is less than a second", section.path_of(key));
            section.invalid(key, title, "write `0` or at least `1s`");
        }
        Some(span)
    };
    let by = section.strings("group_by").map(|names| {
        if names.iter().any(|name| name == "...") {
            if names.len() > 1 {
                let title = "`...` stands for all labels, so it stands alone in group_by";
                section.invalid("group_by", title, "write `group_by: ['...']`");
            }
            GroupBy::Each
        } else {
            GroupBy::Labels(names)
        }
    });
    GroupingOverride {
        by: by.or_else(|| above.by.clone()),
        wait: interval("group_wait").or(above.wait),
        interval: interval("group_interval").or(above.interval),
        repeat: interval("repeat_interval").or(above.repeat),
    }
}
