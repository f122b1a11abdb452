//! Schedules as cron writes them: five fields, in local time of a time zone.
//!
//! The rules are those of the schedules of Kubernetes' CronJobs, and `7` is Sunday as well. A crate for this would bring its own types of
//! times; the rules themselves are few.

use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, TimeZone},
};

/// Names of the months, from 1.
const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
/// Names of the days of the week, from 0.
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
/// Days that a search looks at. 29 February comes after eight years at the latest, as from 2096 to 2104, and on a certain day of the week
/// after forty years at the latest.
const SEARCHED_DAYS: u32 = 40 * 366;
const ALL_HOURS: u64 = (1 << 24) - 1;

/// Schedule of five fields. Each is a set of numbers, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether a day of the month or a day of the week suffices: both fields name days.
    either_day: bool,
}

/// Field of a schedule.
struct Field {
    name: &'static str,
    low: u8,
    high: u8,
    /// Names of the numbers, beginning with `low`.
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", low: 0, high: 59, names: &[] },
    Field { name: "hour", low: 0, high: 23, names: &[] },
    Field { name: "day of the month", low: 1, high: 31, names: &[] },
    Field { name: "month", low: 1, high: 12, names: &MONTHS },
    Field { name: "day of the week", low: 0, high: 7, names: &DAYS },
];

impl Schedule {
    /// Reads a schedule.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = parts[..] else {
            return Err(format!(
                "`{text}` is no schedule: write five fields (minute, hour, day of the month, month, day of the week), such as `0 16 * * FRI`"
            ));
        };
        let mut sets = [0; 5];
        for ((set, field), part) in sets.iter_mut().zip(&FIELDS).zip([minute, hour, day, month, weekday]) {
            *set = field.parse(part).map_err(|error| format!("`{text}` is no schedule: {error}"))?;
        }
        let [minutes, hours, days, months, weekdays] = sets;
        let is_any = |part: &str| matches!(part, "*" | "?");
        let sunday = (weekdays >> 7) & 1;
        let schedule = Self {
            minutes,
            hours,
            days,
            months,
            weekdays: (weekdays | sunday) & 0x7f,
            either_day: !is_any(day) && !is_any(weekday),
        };
        match schedule.has_a_day() {
            true => Ok(schedule),
            false => Err(format!("`{text}` never comes: no month that it names has such a day")),
        }
    }

    /// Returns the last time that is not after `now`.
    pub(crate) fn last(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut day = zone.to_datetime(now).date();
        for _ in 0..SEARCHED_DAYS {
            if let Some(last) = self.times(day, zone).into_iter().rfind(|time| *time <= now) {
                return Some(last);
            }
            day = day.yesterday().ok()?;
        }
        None
    }

    /// Returns the times after `now`, in their order, of this and the next `days` days.
    pub(crate) fn after(&self, now: Timestamp, zone: &TimeZone, days: usize) -> impl Iterator<Item = Timestamp> {
        let first = zone.to_datetime(now).date();
        let days = std::iter::successors(Some(first), |day| day.tomorrow().ok()).take(days.saturating_add(1));
        days.flat_map(|day| self.times(day, zone)).filter(move |time| *time > now)
    }

    /// Returns the times of a day, in their order.
    fn times(&self, day: Date, zone: &TimeZone) -> Vec<Timestamp> {
        if !self.is_on(day) {
            return Vec::new();
        }
        let mut times = Vec::new();
        for hour in numbers(self.hours) {
            for minute in numbers(self.minutes) {
                times.extend(self.real_times(day.at(hour, minute, 0, 0), zone));
            }
        }
        times.sort_unstable();
        times
    }

    /// Returns the times at which clocks show a local time: none, one or two.
    ///
    /// As in cron, a schedule of every hour follows the real hours when clocks change. A time of certain hours comes once: the first of two,
    /// and where the clocks skip it, as much later as they skip.
    fn real_times(&self, local: DateTime, zone: &TimeZone) -> impl Iterator<Item = Timestamp> {
        let offsets = match (zone.to_ambiguous_timestamp(local).offset(), self.hours == ALL_HOURS) {
            (AmbiguousOffset::Unambiguous { offset }, _) => [Some(offset), None],
            (AmbiguousOffset::Gap { .. }, true) => [None, None],
            (AmbiguousOffset::Gap { before, .. } | AmbiguousOffset::Fold { before, .. }, false) => [Some(before), None],
            (AmbiguousOffset::Fold { before, after }, true) => [Some(before), Some(after)],
        };
        offsets.into_iter().flatten().filter_map(move |offset| offset.to_timestamp(local).ok())
    }

    fn is_on(&self, day: Date) -> bool {
        let is_day = has(self.days, day.day());
        let is_weekday = has(self.weekdays, day.weekday().to_sunday_zero_offset());
        has(self.months, day.month()) && if self.either_day { is_day || is_weekday } else { is_day && is_weekday }
    }

    /// Returns whether a month that the schedule names has a day that it names. In some year each day falls on each day of the week.
    fn has_a_day(&self) -> bool {
        let longest = |month: i8| match month {
            2 => 29,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let has_day = |month: i8| numbers(self.days).any(|day| day <= longest(month));
        self.either_day || numbers(self.months).any(has_day)
    }
}

impl Field {
    /// Reads a field: a list of numbers, names, ranges and steps.
    fn parse(&self, text: &str) -> Result<u64, String> {
        text.split(',').try_fold(0, |set, part| Ok(set | self.parse_part(part)?))
    }

    fn parse_part(&self, text: &str) -> Result<u64, String> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (text, None),
        };
        let (low, high) = match range.split_once('-') {
            Some((low, high)) => (self.number(low)?, self.last(high)?),
            None if matches!(range, "*" | "?") => (self.low, self.high),
            None if step.is_some() => (self.number(range)?, self.high),
            None => self.number(range).map(|number| (number, number))?,
        };
        if low > high {
            return Err(format!("the {} `{text}` goes backwards: write it as two ranges", self.name));
        }
        let step = match step.map(str::parse::<u8>) {
            None => 1,
            Some(Ok(step)) if step > 0 => step,
            Some(_) => return Err(format!("the step of the {} `{text}` is no number above 0", self.name)),
        };
        // Sunday must not count twice, as 0 and as 7, where the step counts from it.
        let high = if matches!(range, "*" | "?") && self.high == 7 { 6 } else { high };
        Ok((low..=high).step_by(step.into()).fold(0, |set, number| set | 1 << number))
    }

    /// Returns the last number of a range, where Sunday comes after Saturday.
    fn last(&self, text: &str) -> Result<u8, String> {
        match self.number(text)? {
            0 if self.high == 7 && !text.starts_with('0') => Ok(7),
            number => Ok(number),
        }
    }

    fn number(&self, text: &str) -> Result<u8, String> {
        let named = self.names.iter().position(|name| text.eq_ignore_ascii_case(name));
        let number = match named {
            Some(index) => u8::try_from(index).ok().map(|index| index + self.low),
            None => text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())),
        };
        number.filter(|number| (self.low..=self.high).contains(number)).ok_or_else(|| {
            let names = match self.names {
                [first, .., last] => format!(", or {first} to {last}"),
                _ => String::new(),
            };
            format!("the {} `{text}` is not within {} to {}{names}", self.name, self.low, self.high)
        })
    }
}

/// Returns the numbers of a set, from the lowest.
fn numbers(set: u64) -> impl Iterator<Item = i8> {
    (0..60).filter(move |number| has(set, *number))
}

fn has(set: u64, number: i8) -> bool {
    u32::try_from(number).is_ok_and(|number| (set >> number) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the next three times after one, as UTC.
    fn next(schedule: &str, zone: &str, now: &str) -> Vec<String> {
        let (schedule, zone) = (Schedule::parse(schedule).unwrap(), TimeZone::get(zone).unwrap());
        let times = schedule.after(now.parse().unwrap(), &zone, SEARCHED_DAYS.try_into().unwrap()).take(3);
        times.map(|time| time.strftime("%m-%dT%H:%M").to_string()).collect()
    }

    #[test]
    fn times_follow_the_fields() {
        // 2026-01-01 is a Thursday.
        for (schedule, expected) in [
            ("0 16 * * FRI", ["01-02T16:00", "01-09T16:00", "01-16T16:00"]),
            ("0 16 * * 5", ["01-02T16:00", "01-09T16:00", "01-16T16:00"]),
            ("*/20 0 * * *", ["01-01T00:20", "01-01T00:40", "01-02T00:00"]),
            ("10/25 0 * * *", ["01-01T00:10", "01-01T00:35", "01-02T00:10"]),
            ("0 0 31 * *", ["01-31T00:00", "03-31T00:00", "05-31T00:00"]),
            ("0 0 29 FEB *", ["02-29T00:00", "02-29T00:00", "02-29T00:00"]),
            ("0 0 * * 7", ["01-04T00:00", "01-11T00:00", "01-18T00:00"]),
            ("0 0 * * SAT-SUN", ["01-03T00:00", "01-04T00:00", "01-10T00:00"]),
            ("0 0 * * sat,Sun", ["01-03T00:00", "01-04T00:00", "01-10T00:00"]),
            ("0 0 * * 0-2", ["01-04T00:00", "01-05T00:00", "01-06T00:00"]),
            ("0 0 * * */3", ["01-03T00:00", "01-04T00:00", "01-07T00:00"]),
            ("0 0 1 * MON", ["01-05T00:00", "01-12T00:00", "01-19T00:00"]),
            ("0 0 1 JAN,DEC ?", ["12-01T00:00", "01-01T00:00", "12-01T00:00"]),
            ("5,7-8 9-17/8 1 jan-mar *", ["01-01T09:05", "01-01T09:07", "01-01T09:08"]),
        ] {
            assert_eq!(next(schedule, "Etc/UTC", "2026-01-01T00:00:00Z"), expected, "{schedule}");
        }
    }

    /// In Berlin the clocks go from 02:00 to 03:00 on 2026-03-29, and from 03:00 to 02:00 on 2026-10-25.
    #[test]
    fn times_follow_the_clocks() {
        for (schedule, now, expected) in [
            ("0 16 * * *", "2026-03-28T12:00:00Z", ["03-28T15:00", "03-29T14:00", "03-30T14:00"]),
            ("30 2 * * *", "2026-03-28T12:00:00Z", ["03-29T01:30", "03-30T00:30", "03-31T00:30"]),
            ("30 2 * * *", "2026-10-24T12:00:00Z", ["10-25T00:30", "10-26T01:30", "10-27T01:30"]),
            ("0 * * * *", "2026-03-29T00:30:00Z", ["03-29T01:00", "03-29T02:00", "03-29T03:00"]),
            ("0 * * * *", "2026-10-24T23:30:00Z", ["10-25T00:00", "10-25T01:00", "10-25T02:00"]),
        ] {
            assert_eq!(next(schedule, "Europe/Berlin", now), expected, "{schedule} {now}");
        }
    }

    #[test]
    fn the_last_time_is_found_years_back() {
        let last = |schedule: &str, now: &str| {
            Schedule::parse(schedule).unwrap().last(now.parse().unwrap(), &TimeZone::UTC).unwrap().to_string()
        };
        assert_eq!(last("0 0 29 2 *", "2104-02-28T00:00:00Z"), "2096-02-29T00:00:00Z");
        assert_eq!(last("0 16 * * FRI", "2026-01-02T16:00:00Z"), "2026-01-02T16:00:00Z", "the time itself");
        assert_eq!(last("0 16 * * FRI", "2026-01-02T15:59:59Z"), "2025-12-26T16:00:00Z");
    }

    #[test]
    fn refuses_what_is_none() {
        for (schedule, expected) in [
            ("0 16 * *", "write five fields"),
            ("@daily", "write five fields"),
            ("0 0 0 16 * FRI", "write five fields"),
            ("60 0 * * *", "the minute `60` is not within 0 to 59"),
            ("0 24 * * *", "the hour `24` is not within 0 to 23"),
            ("0 0 0 * *", "the day of the month `0` is not within 1 to 31"),
            ("0 0 * FRI *", "the month `FRI` is not within 1 to 12, or JAN to DEC"),
            ("0 0 * * FRIDAY", "the day of the week `FRIDAY` is not within 0 to 7, or SUN to SAT"),
            ("0 0 * * FRI-MON", "the day of the week `FRI-MON` goes backwards: write it as two ranges"),
            ("*/0 0 * * *", "the step of the minute `*/0` is no number above 0"),
            ("*/x 0 * * *", "the step of the minute `*/x` is no number above 0"),
            (", 0 * * *", "the minute `` is not within 0 to 59"),
            ("+5 0 * * *", "the minute `+5` is not within 0 to 59"),
            ("0 0 31 FEB,APR *", "never comes: no month that it names has such a day"),
        ] {
            let error = Schedule::parse(schedule).unwrap_err();
            assert!(error.contains(expected), "{schedule}: {error}");
        }
    }
}
