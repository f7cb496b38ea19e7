//! What the address of a page asks for: parameters with names that are known, a zone, and a range of time.

use std::{sync::Arc, time::Duration};

use axum::{extract::Query, http::Uri};
use jiff::tz::TimeZone;

use super::{super::status::now, link::Link};
use crate::{
    ask::{Mistake, PERIOD, Parameter, Params, Period, shown_time},
    engine::{
        access::shown_actor,
        text::one_line,
        time::{EventTime, WallTime},
    },
};

/// Characters of one parameter: 1,024. Nothing that is asked for is longer.
const VALUE_CHARS_MAX: usize = 1_024;

/// Parameters of one address: 64.
const PAIRS_MAX: usize = 64;

/// Ranges that are offered, the narrowest first.
const RANGES: [&str; 6] = ["1h", "6h", "24h", "7d", "30d", "90d"];

/// The widest range that a page looks through: 400 days, a year and a month.
const RANGE_MAX: Duration = Duration::from_secs(400 * 86_400);

/// What an address asks for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) pairs: Vec<(String, String)>,
    /// The same, as questions to the ledger take them.
    pub(super) params: Params,
    pub(super) zone: TimeZone,
    pub(super) zone_name: String,
    /// When the page was made.
    pub(super) now: WallTime,
    pub(super) from: EventTime,
    pub(super) to: EventTime,
    /// `24h`, or empty if the range has ends of its own.
    pub(super) since: String,
}

/// A moment, as pages show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct When {
    /// RFC 3339 in UTC.
    pub(super) iso: String,
    /// As short as can be: the time of day, and the day if it is not today.
    pub(super) text: String,
    /// All of it, with the zone.
    pub(super) full: String,
    /// `4 min ago`
    pub(super) ago: String,
}

impl Asked {
    /// Reads an address; `known` are the parameters that its page has beside those of a period, and `since` is
    /// how long that is unless it is said.
    pub(super) fn read(
        uri: &Uri,
        known: &[&[Parameter]],
        since: &'static str,
    ) -> Result<Asked, Mistake> {
        let Query(mut pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Mistake::bad("the address cannot be read", "begin at the overview"))?;
        // What a form leaves empty is not asked for; nor is the span, where a beginning says more.
        pairs.retain(|(_, value)| !value.is_empty());
        if pairs.iter().any(|(name, _)| name == "from") {
            pairs.retain(|(name, _)| name != "since");
        }
        if pairs.len() > PAIRS_MAX {
            return Err(Mistake::bad("there are too many parameters", "leave some out"));
        }
        let is_long = |(_, value): &&(String, String)| value.chars().count() > VALUE_CHARS_MAX;
        if let Some((name, _)) = pairs.iter().find(is_long) {
            let message = format!("the value of `{}` is too long", one_line(name, 60));
            return Err(Mistake::bad(message, "nothing that is recorded is so long"));
        }
        let params = Params::new(pairs.iter().cloned().collect());
        let known: Vec<&[Parameter]> = known.iter().copied().chain([PERIOD]).collect();
        params.check(&known)?;
        let now = now();
        let period = Period::read(&params, now.as_event(), since)?;
        if period.to.since(period.from) > RANGE_MAX {
            let message = format!("the range is longer than {} days", RANGE_MAX.as_secs() / 86_400);
            return Err(Mistake::bad(message, "narrow the range"));
        }
        let zone_name = params.text("zone").unwrap_or("UTC").to_owned();
        let is_open = params.text("from").is_none() && params.text("to").is_none();
        let since = params.text("since").unwrap_or(since);
        let since = if is_open { since.to_owned() } else { String::new() };
        let Period { from, to, zone, .. } = period;
        let path = uri.path().to_owned();
        Ok(Asked { path, pairs, params, zone, zone_name, now, from, to, since })
    }

    /// What cannot be read, as if nothing had been asked: for pages that say so.
    pub(super) fn nothing(path: &str) -> Asked {
        let now = now();
        let day = Duration::from_secs(86_400);
        Asked {
            path: path.to_owned(),
            pairs: Vec::new(),
            params: Params::default(),
            zone: TimeZone::UTC,
            zone_name: "UTC".to_owned(),
            now,
            from: now.as_event().minus(day),
            to: now.as_event(),
            since: "24h".to_owned(),
        }
    }

    /// The value of a parameter, the last one if it is given twice.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().rfind(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// To a page, in the same zone.
    pub(super) fn link(&self, path: &str) -> Link {
        let link = Link::to(path);
        if self.zone_name == "UTC" { link } else { link.with("zone", &self.zone_name) }
    }

    /// To an episode of an alert, in the same zone.
    pub(super) fn alert_link(&self, fingerprint: &str, start: EventTime) -> Link {
        let link = Link::to_alert(fingerprint, &start.rfc3339());
        if self.zone_name == "UTC" { link } else { link.with("zone", &self.zone_name) }
    }

    /// Who acted, as pages show it, with the page of whoever really did.
    pub(super) fn who(
        &self,
        actor: Option<&Arc<str>>,
        caller: Option<&Arc<str>>,
    ) -> Option<(String, Link)> {
        let really = caller.or(actor)?;
        let shown = shown_actor(actor.map(|actor| &**actor), caller.map(|caller| &**caller));
        Some((shown, self.link("/actor").with("id", really)))
    }

    /// This page again.
    pub(super) fn here(&self) -> Link {
        Link::to(&self.path).with_all(&self.pairs)
    }

    /// This page from its beginning, with another value of a parameter.
    pub(super) fn here_with(&self, name: &str, value: &str) -> Link {
        self.here().without("after").set(name, value)
    }

    /// This page with another range.
    pub(super) fn here_in(&self, range: &str) -> Link {
        self.here().without("after").without("from").without("to").set("since", range)
    }

    /// The ranges that are offered.
    pub(super) const fn ranges() -> &'static [&'static str] {
        &RANGES
    }

    /// Whether the range is one of those.
    pub(super) fn is_since(&self, range: &str) -> bool {
        self.since == *range
    }

    /// What a form of this page says again beside its fields: range and zone.
    pub(super) fn kept(&self) -> Vec<(String, String)> {
        let is_kept = |name: &str| matches!(name, "since" | "from" | "to" | "zone");
        self.pairs.iter().filter(|(name, _)| is_kept(name)).cloned().collect()
    }

    /// The range, as people say it.
    pub(super) fn range_words(&self) -> String {
        if self.since.is_empty() {
            format!("{} to {}", self.full(self.from), self.full(self.to))
        } else {
            format!("the last {}", self.since)
        }
    }

    /// A moment, as pages show it.
    pub(super) fn when(&self, time: EventTime) -> When {
        let full = self.full(time);
        let today = self.full(self.now.as_event());
        let is_today = full.get(..10) == today.get(..10);
        let is_year = full.get(..4) == today.get(..4);
        let text = match (is_today, is_year) {
            (true, _) => full.get(11..19),
            (false, true) => full.get(5..16),
            (false, false) => full.get(..16),
        };
        let text = text.unwrap_or(&full).to_owned();
        let ago = ago(time, self.now);
        When { iso: time.rfc3339(), text, full: format!("{full} {}", self.zone_name), ago }
    }

    /// `2026-11-29 14:00:12`, in the zone of the page.
    pub(super) fn full(&self, time: EventTime) -> String {
        shown_time(time, &self.zone)
    }

    /// The hour of the day in the zone of the page, 0 to 23.
    pub(super) fn hour_of(&self, time: EventTime) -> usize {
        let timestamp = jiff::Timestamp::from_microsecond(time.micros()).unwrap_or_default();
        usize::try_from(self.zone.to_datetime(timestamp).hour()).unwrap_or(0)
    }
}

/// How long ago, in the largest unit.
fn ago(time: EventTime, now: WallTime) -> String {
    let (past, ahead) = (now.since(time.as_wall()), time.as_wall().since(now));
    let words = |span: Duration| match span.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..86_400 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    };
    if ahead.as_secs() > 4 {
        format!("in {}", words(ahead))
    } else if past.as_secs() < 5 {
        "just now".to_owned()
    } else {
        format!("{} ago", words(past))
    }
}
