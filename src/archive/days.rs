//! Days of a month file. Its indexes of texts have a part for each of them: the rows of an hour change the same few
//! pages, whoever acted, so that writing them costs a fraction. A question looks into one part after another. An index
//! says which second of the day it was; which of the rows of a second came first, the rows themselves say.

use rusqlite::OptionalExtension as _;

use super::month::Month;

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// On which day a row was, as indexes have it.
pub(super) const DAY_OF: &str = "at / 86400000000";

/// In which second of the day, as indexes have it.
pub(super) const SECOND_OF: &str = "at % 86400000000 / 1000000";

/// The day and the second of a time.
pub(super) const fn split(at: i64) -> (i64, i64) {
    (at / DAY, at % DAY / 1_000_000)
}

/// The first time behind a day. Division is towards 0, here as in SQLite: days before 1970 end with a multiple.
pub(super) const fn behind(day: i64) -> i64 {
    if day < 0 { day.saturating_mul(DAY).saturating_add(1) } else { (day + 1).saturating_mul(DAY) }
}

/// The second of a time on a day; if it is on another one, something that is before or behind all of the day.
pub(super) const fn second_on(day: i64, at: i64, otherwise: i64) -> i64 {
    let (on, second) = split(at);
    if on == day { second } else { otherwise }
}

impl Month {
    /// The day of the first row from a time on and before another one. Cost: a look into an index.
    pub(super) fn next_day(&self, from: i64, to: i64) -> rusqlite::Result<Option<i64>> {
        let sql = "SELECT at FROM row WHERE at >= ?1 AND at < ?2 ORDER BY at LIMIT 1";
        let mut select = self.connection.prepare_cached(sql)?;
        let found: Option<i64> = select.query_row([from, to], |row| row.get(0)).optional()?;
        Ok(found.map(|at| at / DAY))
    }

    /// Whether a row of some day has a text, by its number, in a column.
    pub(super) fn has_on_some_day(&self, column: &str, number: i64) -> rusqlite::Result<bool> {
        let sql =
            format!("SELECT EXISTS (SELECT 1 FROM row WHERE {DAY_OF} = ?1 AND {column} = ?2)");
        let mut from = i64::MIN;
        while let Some(day) = self.next_day(from, i64::MAX)? {
            let mut select = self.connection.prepare_cached(&sql)?;
            if select.query_row([day, number], |row| row.get(0))? {
                return Ok(true);
            }
            from = behind(day);
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_on_one_day_and_times_of_a_day_follow_each_other() {
        for at in [
            i64::MIN,
            -3 * DAY - 1,
            -DAY - 1,
            -DAY,
            -DAY + 1,
            -1,
            0,
            1,
            DAY - 1,
            DAY,
            i64::MAX - DAY,
        ] {
            let day = at / DAY;
            let next = behind(day);
            assert!(next > at && next / DAY == day + 1, "{at}");
            assert_eq!((next - 1) / DAY, day, "{at}");
            assert!(second_on(day, next - 1, 0) >= second_on(day, at, 0), "{at}");
            assert_eq!(second_on(day + 1, at, -7), -7);
        }
        assert_eq!(behind(i64::MAX / DAY), i64::MAX);
    }
}
