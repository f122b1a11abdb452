//! Freeze windows: times in which a manual gate does not pass.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::{FreezeWindow, schedule::Schedule};

/// Time zone of a window that names none.
const DEFAULT_ZONE: &str = "Etc/UTC";
/// Days for which windows that follow each other without a gap are added up.
const ADDED_DAYS: usize = 31;

impl FreezeWindow {
    /// Returns the time at which the window closes, if it is open at `now`. Windows that overlap or touch are one. The time of `for` is
    /// real time, also on days on which clocks change.
    ///
    /// # Errors
    /// Fails with the field that is wrong, and why.
    pub fn open_at(&self, now: Timestamp) -> Result<Option<Timestamp>, String> {
        let named = |(field, error): (&str, String)| format!("{field}: {error}");
        let (schedule, zone) = (self.read_schedule().map_err(named)?, self.read_zone().map_err(named)?);
        let duration = self.read_duration().map_err(named)?;
        let closes = |opened: Timestamp| opened.saturating_add(duration).unwrap_or(Timestamp::MAX);
        let Some(mut closed) = schedule.last(now, &zone).map(closes).filter(|closed| *closed > now) else {
            return Ok(None);
        };
        for opened in schedule.after(now, &zone, ADDED_DAYS) {
            if opened > closed {
                break;
            }
            closed = closes(opened);
        }
        Ok(Some(closed))
    }

    /// Returns what is wrong with the window: the field, and a sentence.
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let checks = [self.read_schedule().err(), self.read_duration().err(), self.read_zone().err()];
        checks.into_iter().flatten().collect()
    }

    fn read_schedule(&self) -> Result<Schedule, (&'static str, String)> {
        Schedule::parse(&self.schedule).map_err(|error| ("schedule", error))
    }

    fn read_duration(&self) -> Result<SignedDuration, (&'static str, String)> {
        match SignedDuration::try_from(self.duration.0) {
            Ok(duration) if duration.is_positive() => Ok(duration),
            Ok(_) => Err(("for", format!("the window is never open: `{}` is no time", self.duration))),
            Err(_) => Err(("for", format!("`{}` is too long", self.duration))),
        }
    }

    fn read_zone(&self) -> Result<TimeZone, (&'static str, String)> {
        let name = self.time_zone.as_deref().unwrap_or(DEFAULT_ZONE);
        TimeZone::get(name).map_err(|_| {
            (
                "timeZone",
                format!("`{name}` is no time zone: write a name of the IANA database, such as `Europe/Berlin`"),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HumanDuration;

    fn window(schedule: &str, duration: &str, zone: Option<&str>) -> FreezeWindow {
        FreezeWindow {
            schedule: schedule.to_owned(),
            duration: duration.parse().unwrap(),
            time_zone: zone.map(str::to_owned),
            except_for: Vec::new(),
        }
    }

    #[test]
    fn windows_open_and_close() {
        const BERLIN: Option<&str> = Some("Europe/Berlin");
        // 2026-01-02 is a Friday. In Berlin the clocks change on Sunday 2026-03-29 and on Sunday 2026-10-25.
        for (schedule, duration, zone, now, closed) in [
            ("0 16 * * FRI", "64h", None, "2026-01-02T15:59:59Z", None),
            ("0 16 * * FRI", "64h", None, "2026-01-02T16:00:00Z", Some("2026-01-05T08:00:00Z")),
            ("0 16 * * FRI", "64h", None, "2026-01-05T07:59:59Z", Some("2026-01-05T08:00:00Z")),
            ("0 16 * * FRI", "64h", None, "2026-01-05T08:00:00Z", None),
            ("0 16 * * FRI", "64h", BERLIN, "2026-01-02T14:59:59Z", None),
            ("0 16 * * FRI", "64h", BERLIN, "2026-01-02T15:00:00Z", Some("2026-01-05T07:00:00Z")),
            // The time is real: the window closes at 09:00 in summer time, and at 07:00 in winter time.
            ("0 16 * * FRI", "64h", BERLIN, "2026-03-29T12:00:00Z", Some("2026-03-30T07:00:00Z")),
            ("0 16 * * FRI", "64h", BERLIN, "2026-10-25T12:00:00Z", Some("2026-10-26T06:00:00Z")),
            // An hour that clocks skip, and one that they show twice.
            ("30 2 * * *", "10m", BERLIN, "2026-03-29T01:35:00Z", Some("2026-03-29T01:40:00Z")),
            ("30 2 * * *", "10m", BERLIN, "2026-10-25T00:35:00Z", Some("2026-10-25T00:40:00Z")),
            ("30 2 * * *", "10m", BERLIN, "2026-10-25T01:35:00Z", None),
            // Ends of months and years.
            ("0 0 31 * *", "24h", None, "2026-02-28T12:00:00Z", None),
            ("0 0 31 * *", "48h", None, "2026-02-01T12:00:00Z", Some("2026-02-02T00:00:00Z")),
            ("0 0 20 DEC *", "336h", None, "2027-01-02T12:00:00Z", Some("2027-01-03T00:00:00Z")),
            ("0 0 29 FEB *", "24h", None, "2028-02-29T12:00:00Z", Some("2028-03-01T00:00:00Z")),
            ("0 0 29 FEB *", "24h", None, "2026-02-28T12:00:00Z", None),
            // Windows that are as long as the time between two, or longer, are one.
            ("0 18 * * MON-FRI", "24h", None, "2026-01-06T12:00:00Z", Some("2026-01-10T18:00:00Z")),
            ("0 18 * * MON-FRI", "30h", None, "2026-01-06T12:00:00Z", Some("2026-01-11T00:00:00Z")),
            ("0 0 * * *", "36h", None, "2026-01-01T12:00:00Z", Some("2026-02-02T12:00:00Z")),
        ] {
            let found = window(schedule, duration, zone).open_at(now.parse().unwrap()).unwrap();
            assert_eq!(found.map(|time| time.to_string()).as_deref(), closed, "{schedule} {duration} {zone:?} {now}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let now = Timestamp::UNIX_EPOCH;
        let endless = window("0 16 * * FRI", "1h", None);
        for (window, field, expected) in [
            (window("0 16 * * FRX", "1h", None), "schedule", "`0 16 * * FRX` is no schedule: the day of the week"),
            (window("0 16 * * FRI", "0", None), "for", "the window is never open"),
            (window("0 16 * * FRI", "1h", Some("Europe/Bärlin")), "timeZone", "`Europe/Bärlin` is no time zone"),
            (FreezeWindow { duration: HumanDuration(std::time::Duration::MAX), ..endless }, "for", "is too long"),
        ] {
            let mistakes = window.mistakes();
            let [(found, sentence)] = &mistakes[..] else { panic!("{mistakes:?}") };
            assert!(*found == field && sentence.contains(expected), "{mistakes:?}");
            let error = window.open_at(now).unwrap_err();
            assert!(error.starts_with(&format!("{field}: ")), "{error}");
        }
        assert_eq!(window("0 16 * * FRI", "64h", Some("Europe/Berlin")).mistakes(), []);
    }
}
