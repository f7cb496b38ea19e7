//! Which time is asked about, and the zone in which it is meant and shown.

use jiff::{
    civil::{Date, DateTime, Time},
    tz::{AmbiguousOffset, TimeZone},
};

use super::{
    Mistake,
    params::{Parameter, ParameterKind, Params, span_of},
};
use crate::engine::{diagnostic::nearest, limits::ROLL_UP_MAX, text::printable, time::EventTime};

/// `since`, or `from`; `to`; `zone`.
pub const PERIOD: &[Parameter] = &[
    Parameter::of(ParameterKind::Span, "since", "So long until now, or until `to`: 90m, 24h, 30d."),
    Parameter::of(
        ParameterKind::Time,
        "from",
        "Not before this: 2026-11-29, 2026-11-29 14:00 or 2026-11-29T14:00:00Z.",
    ),
    Parameter::of(ParameterKind::Time, "to", "Before this; now, if it is left out."),
    Parameter::text("zone", "Time zone of what is asked, and of tables; UTC, if it is left out."),
];

/// A time from its beginning to before its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Period {
    /// Not before this.
    pub from: EventTime,
    /// Before this.
    pub to: EventTime,
    /// In which zone it was meant, and is shown.
    pub zone: TimeZone,
    /// When it was asked.
    pub now: EventTime,
}

impl Period {
    /// Reads `since`, `from`, `to` and `zone`. `span_default` is how long it is if nothing says.
    ///
    /// # Errors
    /// A zone that there is not, a time or a span that is none, an end before the beginning.
    pub fn read(params: &Params, now: EventTime, span_default: &str) -> Result<Period, Mistake> {
        let zone = zone_of(params.text("zone").unwrap_or("UTC"))?;
        let to = match params.text("to") {
            Some(text) => time_of(text, &zone)?,
            None => now,
        };
        let from = match (params.text("from"), params.text("since")) {
            (Some(_), Some(_)) => {
                return Err(Mistake::bad(
                    "`from` and `since` both say where the time begins",
                    "leave one of them out",
                ));
            }
            (Some(text), None) => time_of(text, &zone)?,
            (None, since) => to.minus(span_of(since.unwrap_or(span_default))?),
        };
        if from >= to {
            let (from, to) = (shown_time(from, &zone), shown_time(to, &zone));
            return Err(Mistake::bad(
                format!("the time begins at {from} and ends at {to}"),
                "nothing lies between",
            ));
        }
        Ok(Period { from, to, zone, now })
    }

    /// Whether requests of it may wait to be told as one, at the latest when a day is over.
    pub fn is_recent(&self) -> bool {
        self.to.plus(ROLL_UP_MAX) > self.now
    }
}

/// A time zone by its name.
///
/// # Errors
/// There is none of that name; says which may have been meant.
pub fn zone_of(name: &str) -> Result<TimeZone, Mistake> {
    TimeZone::get(name).map_err(|_| {
        let known: Vec<String> =
            jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
        let near = nearest(name, known.iter().map(String::as_str));
        let hint = near.map_or_else(
            || "write one such as UTC or Europe/Berlin".to_owned(),
            |near| format!("did you mean {near}?"),
        );
        Mistake::bad(format!("there is no time zone `{}`", printable(name)), hint)
    })
}

/// RFC 3339, or a date with or without a time of that zone.
fn time_of(text: &str, zone: &TimeZone) -> Result<EventTime, Mistake> {
    if let Some(time) = EventTime::parse(text) {
        return Ok(time);
    }
    let civil = text
        .parse::<DateTime>()
        .or_else(|_| format!("{text}:00").parse::<DateTime>())
        .or_else(|_| text.parse::<Date>().map(|date| date.to_datetime(Time::MIN)));
    let zoned = civil.ok().and_then(|civil| civil.to_zoned_datetime(zone.clone()).ok());
    let zoned = zoned.ok_or_else(|| {
        let hint = "write 2026-11-29, '2026-11-29 14:00' or 2026-11-29T14:00:00Z";
        Mistake::bad(format!("`{}` is not a time", printable(text)), hint)
    })?;
    Ok(EventTime::from_micros(zoned.timestamp().as_microsecond()))
}

/// `2026-11-29 14:00:12`, in a zone; with its offset (`2026-10-25 02:00:12+01:00`) in the hour that comes twice when
/// clocks are set back.
pub fn shown_time(time: EventTime, zone: &TimeZone) -> String {
    let Ok(timestamp) = jiff::Timestamp::from_microsecond(time.micros()) else {
        return time.rfc3339();
    };
    let local = zone.to_datetime(timestamp);
    let (hour, minute, second) = (local.hour(), local.minute(), local.second());
    let shown = format!("{} {hour:02}:{minute:02}:{second:02}", local.date());
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Fold { .. } => {
            format!("{shown}{}", timestamp.to_zoned_datetime(zone.clone()).strftime("%:z"))
        }
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Gap { .. } => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hour_that_comes_twice_is_told_apart() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let shown = |text: &str| shown_time(EventTime::parse(text).unwrap(), &zone);
        assert_eq!(shown("2026-10-24T23:59:59Z"), "2026-10-25 01:59:59");
        assert_eq!(shown("2026-10-25T00:00:00Z"), "2026-10-25 02:00:00+02:00");
        assert_eq!(shown("2026-10-25T01:00:00Z"), "2026-10-25 02:00:00+01:00");
        assert_eq!(shown("2026-10-25T02:00:00Z"), "2026-10-25 03:00:00");
        let read = |text: &str| time_of(text, &zone).unwrap().rfc3339();
        assert_eq!(
            read("2026-10-25 02:00:00+01:00"),
            "2026-10-25T01:00:00.000000Z",
            "and read again"
        );
    }
}
