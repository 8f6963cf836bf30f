//! What the values of arguments may be.

use std::time::Duration;

use tcproof_core::{Version, knobs};
use tcproof_host::Scope;

use super::change::Confirmation;
use super::shared::At;

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3600);

/// A window: whole or decimal number with ms, s, m or h; without a unit, seconds.
pub(super) fn window(text: &str) -> Result<Duration, String> {
    match time(text, false, "expected a time such as 500ms, 5s or 2m")? {
        window if window > LONGEST => Err("too long: at most 1h".into()),
        window => Ok(window),
    }
}

/// A window that moves on second by second.
pub(super) fn sliding_window(text: &str) -> Result<Duration, String> {
    match window(text)? {
        window if window < Duration::from_secs(1) => Err("too short: it moves on by a second".into()),
        window if window > Duration::from_secs(60) => Err("too long: at most 60s".into()),
        window => Ok(window),
    }
}

/// A time that may be days: a whole or decimal number with ms, s, m, h or d; without a unit, seconds.
pub(super) fn long_time(text: &str) -> Result<Duration, String> {
    match time(text, true, "expected a time such as 30s, 10m, 12h or 7d")? {
        time if time > LONGEST * 24 * 3_660 => Err("too long: at most ten years".into()),
        time => Ok(time),
    }
}

fn time(text: &str, may_be_days: bool, expected: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds_per = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" if may_be_days => 86_400.0,
        _ => return Err(format!("unknown unit {unit:?}: {expected}")),
    };
    let number: f64 = number.parse().map_err(|_| expected.to_string())?;
    match Duration::try_from_secs_f64(number * seconds_per).unwrap_or(Duration::MAX) {
        time if time < SHORTEST => Err("too short: nothing can be counted in less than 100ms".into()),
        time => Ok(time),
    }
}

/// The end of a window in a recording.
pub(super) fn at(text: &str) -> Result<At, String> {
    if let Some(before) = text.strip_prefix('-') {
        return match before.trim_matches(['0', 's', 'm', 'h', 'd']) {
            "" if !before.contains(|c: char| ('1'..='9').contains(&c)) && before.contains('0') => {
                Ok(At::Before(Duration::ZERO))
            }
            _ => long_time(before).map(At::Before),
        };
    }
    let time: Result<jiff::Timestamp, _> = text.parse();
    time.map(|time| At::Wall(time.as_millisecond())).map_err(|_| {
        "expected a time before the recording's end such as -3m, or one such as 2026-12-01T14:05:00Z".into()
    })
}

/// A knob of the table, by its key or its path.
pub(super) fn knob(text: &str) -> Result<String, String> {
    let key = text.trim_start_matches("/proc/sys/").replace('/', ".");
    match (knobs::by_key(&key), knobs::nearest(&key)) {
        (Some(knob), _) => Ok(knob.key.into()),
        (None, Some(near)) => Err(format!("no such knob in the table; did you mean {near}?")),
        (None, None) => Err("no such knob in the table (tcproof explain knobs)".into()),
    }
}

pub(super) fn kernel(text: &str) -> Result<Version, String> {
    Version::of_release(text).ok_or_else(|| "expected a version such as 6.12".into())
}

pub(super) fn confirmation(text: &str) -> Result<Confirmation, String> {
    match text {
        "verified" => Ok(Confirmation::Verified),
        text => window(text).map(Confirmation::Within),
    }
}

/// Bytes: a whole number with K, M, G or T, each 1024 of the one before.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "K" | "k" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(format!("unknown unit {unit:?}: expected a size such as 512M or 16G")),
    };
    let number: u64 = number.parse().map_err(|_| "expected a size such as 512M or 16G".to_string())?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or_else(|| "no machine has as much".into())
}

/// A name as a Host header has it, without a port.
pub(super) fn host_name(text: &str) -> Result<String, String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let name = text.strip_suffix('.').unwrap_or(text);
    match !name.is_empty() && name.bytes().all(is_name) {
        true => Ok(name.into()),
        false => Err("expected a name without a port, such as web-07.example".into()),
    }
}

/// One namespace, several with commas between them, or all.
pub(super) fn scope(text: &str) -> Result<Scope, String> {
    Ok(match text {
        text if text.contains(',') => Scope::Several(text.split(',').map(scope).collect::<Result<_, _>>()?),
        "" => return Err("expected a name, a pid or all".into()),
        "all" => Scope::All,
        text => match text.parse() {
            // An inode number is ten digits, beyond any pid.
            Ok(pid) if pid <= 4 << 20 => Scope::Pid(pid),
            _ => Scope::Name(text.into()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn windows_have_units_and_bounds() {
        for (text, ms) in [("5s", 5000), ("500ms", 500), ("2m", 120_000), ("1h", 3_600_000), ("2.5", 2500)] {
            assert_eq!(window(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["0", "0s", "1y", "-1s", "", "s", "1.2.3s", "2h", "99ms", "nan", "inf", "1e400s"] {
            assert!(window(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_place_in_a_recording_is_a_time_or_one_before_its_end() {
        assert_eq!(at("-3m"), Ok(At::Before(Duration::from_secs(180))));
        assert_eq!(at("-0s"), Ok(At::Before(Duration::ZERO)));
        assert_eq!(at("1970-01-01T00:00:02Z"), Ok(At::Wall(2_000)));
        assert_eq!(at("1970-01-01T01:00:02+01:00"), Ok(At::Wall(2_000)));
        for text in ["", "-", "3m", "-3y", "now", "2026-12-01", "14:05"] {
            assert!(at(text).is_err(), "{text}");
        }
        assert_eq!(long_time("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert!(long_time("11000d").is_err() && long_time("1ms").is_err());
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in
            [("1024", 1024), ("512M", 512 << 20), ("16G", 16 << 30), ("16GiB", 16 << 30), ("2T", 2 << 40)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "G", "-1G", "1.5G", "1X", "99999999999T"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_knob_is_one_of_the_table() {
        assert_eq!(knob("net.core.somaxconn").as_deref(), Ok("net.core.somaxconn"));
        assert_eq!(knob("/proc/sys/net/core/somaxconn").as_deref(), Ok("net.core.somaxconn"));
        assert!(knob("net.ipv4.somaxconn").is_err_and(|why| why.contains("net.core.somaxconn")));
        assert!(knob("").is_err());
    }

    #[test]
    fn a_namespace_is_a_pid_a_name_or_all() {
        assert_eq!(scope("all"), Ok(Scope::All));
        assert_eq!(scope("2113"), Ok(Scope::Pid(2113)));
        assert_eq!(scope("4026532200"), Ok(Scope::Name("4026532200".into())));
        assert_eq!(scope("blue"), Ok(Scope::Name("blue".into())));
        let both = vec![Scope::Name("blue".into()), Scope::Pid(7)];
        assert_eq!(scope("blue,7"), Ok(Scope::Several(both)));
        assert!(scope("blue,,7").is_err());
        assert!(scope("").is_err());
    }
}
