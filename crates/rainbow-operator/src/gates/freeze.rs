//! Freeze windows of a manual gate.

use k8s_openapi::jiff::Timestamp;
use rainbow_api::FreezeWindow;

/// Returns the window that closes last of those that are open and that no reason of an approval opens the gate for, with the time at which
/// it closes.
///
/// # Errors
/// Fails with the window that cannot be read, and why.
pub(super) fn closed_until<'a>(
    windows: &'a [FreezeWindow],
    reasons: &[&str],
    now: Timestamp,
) -> Result<Option<(Timestamp, &'a FreezeWindow)>, String> {
    let mut last: Option<(Timestamp, &FreezeWindow)> = None;
    for (index, window) in windows.iter().enumerate() {
        let open = window.open_at(now).map_err(|error| format!("freeze[{index}].{error}"))?;
        let is_excepted = window.except_for.iter().any(|text| reasons.iter().any(|reason| reason.starts_with(text)));
        if let Some(until) = open.filter(|_| !is_excepted)
            && last.is_none_or(|(known, _)| known < until)
        {
            last = Some((until, window));
        }
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_window_that_closes_last_is_named() {
        let windows: Vec<FreezeWindow> = serde_json::from_value(json!([
            { "schedule": "0 12 * * *", "for": "2h" },
            { "schedule": "0 10 * * *", "for": "8h", "exceptFor": ["incident", "security"] },
            { "schedule": "0 20 * * *", "for": "1h" },
        ]))
        .unwrap();
        let until = |time: &str, reasons: &[&str]| {
            let now = format!("2026-01-02T{time}:00Z").parse().unwrap();
            let found = closed_until(&windows, reasons, now).unwrap();
            found.map(|(until, window)| (until.strftime("%H:%M").to_string(), window.schedule.clone()))
        };
        let expected = |time: &str, schedule: &str| Some((time.to_owned(), schedule.to_owned()));
        assert_eq!(until("13:00", &[]), expected("18:00", "0 10 * * *"));
        assert_eq!(until("13:00", &["security fix"]), expected("14:00", "0 12 * * *"));
        assert_eq!(until("15:00", &["a fix", "incident 1"]), None);
        assert_eq!(until("15:00", &["an incident"]), expected("18:00", "0 10 * * *"));
        assert_eq!(until("20:59", &[]), expected("21:00", "0 20 * * *"));
        assert_eq!(until("21:00", &[]), None);
    }
}
