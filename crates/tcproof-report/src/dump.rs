//! Which dump of others was judged.

use std::time::Duration;

use crate::record::utc;
use crate::sanitize;

/// One dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    /// Whether it is a sosreport.
    pub is_sos: bool,
    /// When it was taken, in seconds since 1970, and the zone where that is not UTC.
    pub at: Option<(i64, String)>,
    /// How long the host was up.
    pub up: Option<Duration>,
}

/// What was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Whose; empty where it does not say.
    pub host: &'a str,
    /// Its kernel; empty where it does not say.
    pub kernel: &'a str,
    /// One, or two with the earlier first.
    pub dumps: &'a [Dump],
    /// The time between them.
    pub window: Duration,
    /// Why two give no interval.
    pub why_alone: Option<&'a str>,
    /// Whether only the times of their files tell how far apart they are.
    pub is_by_files: bool,
}

/// In front of what a dump shows.
pub fn header(place: &Place<'_>) -> String {
    let interval = match (place.dumps.len(), place.why_alone) {
        (2.., None) if place.is_by_files => format!(
            "two of them, {} apart by when their files were written: a copy that does not keep those times makes all rates wrong",
            long(place.window)
        ),
        (2.., None) => format!("two of them, {} apart", long(place.window)),
        (2.., Some(why)) => format!("judged like one: {}", sanitize(why)),
        _ => "one alone has no interval: of what was counted since boot it can't say when".into(),
    };
    format!("{}; {interval}", taken(place))
}

/// The same where only the later one is shown.
pub fn taken(place: &Place<'_>) -> String {
    let last = place.dumps.last();
    let what = if place.dumps.iter().all(|dump| dump.is_sos) { "sosreport" } else { "dump" };
    let host = match place.host {
        "" => "a host that it does not name".into(),
        host => sanitize(host),
    };
    let kernel = if place.kernel.is_empty() { String::new() } else { format!(", Linux {}", sanitize(place.kernel)) };
    let at = last.and_then(|dump| dump.at.as_ref()).map(|(seconds, zone)| {
        let zone = if zone.is_empty() { "UTC".into() } else { sanitize(zone) };
        format!(", {} {zone}", utc(seconds.saturating_mul(1000)))
    });
    let up = last.and_then(|dump| dump.up).map(|up| format!(", up {}", long(up)));
    format!("{what} of {host}{kernel}{}{}", at.unwrap_or_default(), up.unwrap_or_default())
}

/// `12 d 3 h`, `10 h 55 min`, `4 min 10 s`, `5.2 s`.
fn long(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match seconds {
        86_400.. => format!("{days} d {hours} h"),
        3600.. => format!("{hours} h {minutes} min"),
        60.. => format!("{minutes} min {} s", seconds % 60),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(at: i64) -> Dump {
        Dump { is_sos: true, at: Some((at, String::new())), up: Some(Duration::from_secs(12 * 86_400 + 7_300)) }
    }

    #[test]
    fn one_line_says_whose_it_is_when_and_what_it_can_say() {
        let place = |dumps, window, why_alone| {
            header(&Place {
                host: "web\x1b[31m",
                kernel: "6.1.0",
                dumps,
                window: Duration::from_secs(window),
                why_alone,
                is_by_files: false,
            })
        };
        let of = |host, dumps, window, is_by_files| {
            header(&Place {
                host,
                kernel: "",
                dumps,
                window: Duration::from_secs(window),
                why_alone: None,
                is_by_files,
            })
        };
        let unknown = Dump { is_sos: false, at: None, up: None };
        let zoned = Dump { at: Some((1_796_096_115, "CET".into())), ..unknown.clone() };
        insta::assert_snapshot!([
            place(&[dump(1_796_096_115)], 0, None),
            place(&[dump(1_796_096_115), dump(1_796_096_365)], 250, None),
            place(&[dump(1), unknown.clone()], 0, Some("they were taken at the same time, as far as they say")),
            place(&[zoned], 0, None),
            of("", std::slice::from_ref(&unknown), 0, false),
            of("a", &[unknown.clone(), unknown.clone()], 9, true),
        ].join("\n"), @r"
        sosreport of web\x1b[31m, Linux 6.1.0, 2026-12-01 03:35:15 UTC, up 12 d 2 h; one alone has no interval: of what was counted since boot it can't say when
        sosreport of web\x1b[31m, Linux 6.1.0, 2026-12-01 03:39:25 UTC, up 12 d 2 h; two of them, 4 min 10 s apart
        dump of web\x1b[31m, Linux 6.1.0; judged like one: they were taken at the same time, as far as they say
        dump of web\x1b[31m, Linux 6.1.0, 2026-12-01 03:35:15 CET; one alone has no interval: of what was counted since boot it can't say when
        dump of a host that it does not name; one alone has no interval: of what was counted since boot it can't say when
        dump of a; two of them, 9.0 s apart by when their files were written: a copy that does not keep those times makes all rates wrong
        ");
    }

    #[test]
    fn times_are_as_long_as_they_need_to_be() {
        let all = [5_200, 250_000, 39_300_000, 1_050_000_000].map(|ms| long(Duration::from_millis(ms)));
        assert_eq!(all, ["5.2 s", "4 min 10 s", "10 h 55 min", "12 d 3 h"]);
    }
}
