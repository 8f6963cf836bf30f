//! When a dump was taken, as `date` and `uptime` print it in English.

use std::time::Duration;

use jiff::civil;
use jiff::tz::TimeZone;

/// What `date` printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Date {
    /// Seconds since 1970, were its zone UTC.
    pub(super) seconds: i64,
    /// The zone's name. Two dates of one zone can be compared, whatever it is.
    pub(super) zone: String,
}

impl Date {
    /// Whether the seconds are those of UTC.
    pub(super) fn is_utc(&self) -> bool {
        matches!(&*self.zone, "UTC" | "GMT" | "UCT" | "Z")
    }
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `Tue Dec  1 03:35:15 UTC 2026`, or with `AM` and `PM` as some languages have it.
pub(super) fn date(text: &str) -> Option<Date> {
    let mut words = text.lines().find(|line| !line.trim().is_empty())?.split_ascii_whitespace();
    let _weekday = words.next().filter(|day| day.len() == 3)?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)?;
    let day: i8 = words.next()?.parse().ok()?;
    let mut time = words.next()?.splitn(3, ':').map(str::parse::<i8>);
    let (hour, minute, second) = (time.next()?.ok()?, time.next()?.ok()?, time.next()?.ok()?);
    let mut zone = words.next()?;
    let hour = match zone {
        "AM" | "PM" => {
            let afternoon = zone == "PM";
            zone = words.next()?;
            hour % 12 + if afternoon { 12 } else { 0 }
        }
        _ => hour,
    };
    let year: i16 = words.next()?.parse().ok()?;
    // A leap second is no time of its own.
    let at = civil::DateTime::new(year, month as i8 + 1, day, hour, minute, second.min(59), 0).ok()?;
    let seconds = at.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
    Some(Date { seconds, zone: zone.chars().take(16).collect() })
}

/// The first number of `/proc/uptime`.
pub(super) fn seconds_up(text: &str) -> Option<Duration> {
    let seconds: f64 = text.split_ascii_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// `03:35:15 up 12 days,  3:04, 1 user, …`, which knows minutes only.
pub(super) fn up(text: &str) -> Option<Duration> {
    let (_, rest) = text.split_once(" up ")?;
    let mut seconds = 0_u64;
    let mut is_any = false;
    for part in rest.split(',').map(str::trim) {
        let words: Vec<_> = part.split_ascii_whitespace().collect();
        let add = match words[..] {
            [days, "day" | "days"] => days.parse::<u64>().ok()?.checked_mul(86_400)?,
            [minutes, "min" | "mins"] => minutes.parse::<u64>().ok()?.checked_mul(60)?,
            [time] if time.contains(':') => {
                let (hours, minutes) = time.split_once(':')?;
                let minutes = minutes.parse::<u64>().ok()?;
                hours.parse::<u64>().ok()?.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?
            }
            // Users and load follow.
            _ => break,
        };
        seconds = seconds.checked_add(add)?;
        is_any = true;
    }
    is_any.then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates() {
        let utc = date("Tue Dec  1 03:35:15 UTC 2026\n").unwrap();
        assert!(utc.is_utc() && utc.seconds == 1_796_096_115, "{utc:?}");
        let pm = date("Tue 01 Dec 2026 03:35:15 PM CET");
        assert_eq!(pm, None, "another language's order is not guessed at");
        let pm = date("Tue Dec  1 03:35:15 PM CET 2026").unwrap();
        assert_eq!((pm.seconds - utc.seconds, &*pm.zone), (12 * 3600, "CET"));
        for text in [
            "",
            "Tue Dec",
            "Tue Foo 1 03:35:15 UTC 2026",
            "Tue Dec 99 03:35:15 UTC 2026",
            "Tue Dec 1 99:99:99 UTC 2026",
        ] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn uptimes() {
        let minutes = |text: &str| up(text).map(|up| up.as_secs() / 60);
        assert_eq!(minutes(" 03:35:15 up 10:55,  0 user,  load average: 5.23, 2.60, 1.61"), Some(655));
        assert_eq!(minutes(" 03:35:15 up 12 days,  3:04,  1 user,  load average: 0"), Some(12 * 1440 + 184));
        assert_eq!(minutes(" 03:35:15 up 1 day, 2 min,  1 user,  load average: 0"), Some(1442));
        assert_eq!(minutes(" 03:35:15 up 5 min,  1 user"), Some(5));
        assert_eq!(minutes("nothing"), None);
        assert_eq!(seconds_up("39319.17 72021.90\n"), Some(Duration::from_millis(39_319_170)));
        assert_eq!(seconds_up("-1 2"), None);
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "\\PC*") {
            let _ = (date(&text), up(&text), seconds_up(&text));
        }
    }
}
