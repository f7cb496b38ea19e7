//! Why it fired: its words, its value against the threshold, and how that rose over time.

use super::{
    super::{
        asked::{Asked, When},
        chart::{place, share},
        link::Link,
    },
    load::Loaded,
};
use crate::engine::{
    text::{number, thousands},
    time::EventTime,
};

/// Height of the picture.
const HEIGHT: f64 = 70.0;

/// A line of the picture; places along the width are shares of it.
pub(super) struct Stroke {
    pub(super) x1: String,
    pub(super) x2: String,
    pub(super) y1: String,
    pub(super) y2: String,
}

/// How the value rose.
pub(super) struct Rise {
    pub(super) strokes: Vec<Stroke>,
    /// Where the threshold lies, with its number.
    pub(super) limit: Option<(String, String)>,
    /// When each event that is shown happened.
    pub(super) events: Vec<(String, String)>,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) label: String,
    pub(super) steps: Vec<(When, String)>,
}

/// Why it fired.
pub(super) struct Why {
    pub(super) summary: Vec<String>,
    pub(super) description: Vec<String>,
    pub(super) value: String,
    pub(super) threshold: String,
    pub(super) key: Vec<(String, String, Option<Link>)>,
    pub(super) first: When,
    pub(super) last: When,
    pub(super) findings: String,
    pub(super) held_back: u64,
    pub(super) rise: Option<Rise>,
}

impl Why {
    /// Of an episode.
    pub(super) fn new(asked: &Asked, loaded: &Loaded) -> Why {
        let (episode, alert) = (&loaded.episode, loaded.alert.as_ref());
        let annotation = |name: &str| -> Vec<String> {
            let text = alert.and_then(|alert| alert.annotations.get(name));
            text.map(|text| text.lines().map(str::to_owned).collect()).unwrap_or_default()
        };
        let key = episode
            .key
            .iter()
            .map(|(name, value)| (name.clone(), value.clone(), link_of(asked, name, value)))
            .collect();
        let findings = alert.map_or(episode.findings, |alert| alert.finding_count);
        Why {
            summary: annotation("summary"),
            description: annotation("description"),
            value: number(episode.value),
            threshold: episode.threshold.clone(),
            key,
            first: asked.when(loaded.first),
            last: asked.when(episode.last_seen),
            findings: thousands(findings),
            held_back: alert.map_or(0, |alert| alert.suppressed_count),
            rise: Rise::new(asked, loaded),
        }
    }
}

/// The page about a value of a key.
fn link_of(asked: &Asked, name: &str, value: &str) -> Option<Link> {
    match name {
        "user.username" | "actor.id" | "user" => Some(asked.link("/actor").with("id", value)),
        "objectRef.namespace" | "namespace" => {
            Some(asked.link("/timeline").with("namespace", value))
        }
        "source.ip" => Some(asked.link("/timeline").with("source", value)),
        _ => None,
    }
}

impl Rise {
    fn new(asked: &Asked, loaded: &Loaded) -> Option<Rise> {
        let of_entry = |row: &crate::engine::ledger::Row| -> Option<(EventTime, f64)> {
            let value = row.entry()?.fact_of("value")?.parse().ok()?;
            Some((row.at(), value))
        };
        let mut steps: Vec<(EventTime, f64)> = loaded.changes.iter().filter_map(of_entry).collect();
        steps.sort_by_key(|(at, _)| *at);
        let evidence = loaded.alert.iter().flat_map(|alert| &alert.evidence);
        let times: Vec<EventTime> = evidence.map(|one| one.time).collect();
        let end = loaded.episode.last_seen;
        let limit = threshold_number(&loaded.episode.threshold);
        if limit.is_none() && steps.len() < 2 && times.len() < 2 {
            return None;
        }
        let whole = end.since(loaded.first);
        // A moment has room on both sides.
        let margin = (whole / 20).max(std::time::Duration::from_secs(1));
        let range = (loaded.first.minus(margin), end.plus(margin));
        let values = steps.iter().map(|(_, value)| *value).chain(limit);
        let top = values.fold(loaded.episode.value, f64::max).max(1.0) * 1.12;
        let y = |value: f64| format!("{:.1}", HEIGHT - (value / top) * HEIGHT);
        let mut strokes = Vec::new();
        let (mut at, mut level) = (range.0, 0.0);
        for (time, value) in steps.iter().copied().chain([(range.1, f64::NAN)]) {
            let (x1, x2) = (share(place(at, range)), share(place(time, range)));
            strokes.push(Stroke { x1, x2: x2.clone(), y1: y(level), y2: y(level) });
            if value.is_nan() {
                break;
            }
            strokes.push(Stroke { x1: x2.clone(), x2, y1: y(level), y2: y(value) });
            (at, level) = (time, value);
        }
        let is_known = !steps.is_empty();
        Some(Rise {
            strokes: if is_known { strokes } else { Vec::new() },
            limit: limit.map(|limit| (y(limit), number(limit))),
            events: times
                .iter()
                .map(|time| (share(place(*time, range)), asked.full(*time)))
                .collect(),
            from: asked.when(range.0).text,
            to: asked.when(range.1).text,
            label: format!(
                "the value rose to {} between {} and {}",
                number(loaded.episode.value),
                asked.full(loaded.first),
                asked.full(end)
            ),
            steps: steps.iter().map(|(time, value)| (asked.when(*time), number(*value))).collect(),
        })
    }
}

/// The number in `≥ 5 events in 5m`.
pub(super) fn threshold_number(threshold: &str) -> Option<f64> {
    let begin = threshold.find(|c: char| c.is_ascii_digit())?;
    let digits = threshold.get(begin..)?;
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(digits.len());
    digits.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::threshold_number;

    #[test]
    fn the_number_of_a_threshold_is_found() {
        assert_eq!(threshold_number("≥ 5 events in 5m"), Some(5.0));
        assert_eq!(threshold_number("> 2.5 times the usual"), Some(2.5));
        assert_eq!(threshold_number("never before"), None);
    }
}
