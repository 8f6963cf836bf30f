//! What is in a recording, and which part of it was judged.

use std::time::Duration;

use serde::Serialize;

use crate::json::to_text;
pub use crate::layout::Style;
use crate::layout::{Cell, Role, Screen, bind, count};
use crate::sanitize;

/// The JSON Schema of [`json()`].
pub const SCHEMA: &str = include_str!("../schema/record-1.schema.json");

/// Columns in front of every text.
const MARGIN: usize = 10;

/// Which part of a recording was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The host that recorded it.
    pub host: String,
    /// Whether names and addresses were replaced.
    pub redacted: bool,
    /// When the window ended, in milliseconds since 1970.
    pub ended_ms: i64,
    /// Records that were joined.
    pub records: u64,
    /// Whether it is shorter than was asked for.
    pub is_cut: bool,
}

/// The same, for programs.
#[derive(Serialize)]
pub(crate) struct PlaceView<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    host: &'a str,
    redacted: bool,
    ended_ms: i64,
    records: u64,
    cut: bool,
}

impl<'a> PlaceView<'a> {
    pub(crate) fn new(place: &'a Place) -> Self {
        let Place { host, redacted, ended_ms, records, is_cut } = place;
        Self { host, redacted: *redacted, ended_ms: *ended_ms, records: *records, cut: *is_cut }
    }
}

/// A part that can't be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// Where it begins in the file.
    pub at: u64,
    /// Damaged bytes.
    pub bytes: u64,
    /// Records that are lost with them.
    pub records: u64,
    /// When what came before it ended, in milliseconds since 1970; none at the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_ms: Option<i64>,
    /// When what came after it ended; none at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_ms: Option<i64>,
}

/// What is in a recording.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Listing<'a> {
    /// Whose it is.
    pub host: &'a str,
    /// Its kernel.
    pub kernel: &'a str,
    /// Whether names and addresses were replaced.
    pub redacted: bool,
    /// Whole records.
    pub records: u64,
    /// When it begins, in milliseconds since 1970.
    pub first_ms: i64,
    /// When it ends.
    pub last_ms: i64,
    /// Its size.
    pub bytes: u64,
    /// Times in which nothing was recorded.
    pub gaps: u64,
    /// How long those are together.
    pub gap_seconds: f64,
    /// Times that the clock was set.
    pub clock_steps: u64,
    /// Parts that can't be read.
    pub lost: u64,
    /// The first of them.
    pub losses: Vec<Loss>,
}

/// `tcproof/record/1`.
#[derive(Serialize)]
struct View<'a> {
    schema: &'static str,
    #[serde(flatten)]
    listing: &'a Listing<'a>,
}

/// For programs.
pub fn json(listing: &Listing<'_>) -> String {
    to_text(&View { schema: "tcproof/record/1", listing })
}

/// For people.
pub fn text(listing: &Listing<'_>, style: &Style) -> String {
    let mut screen = Screen::new(style);
    let mut row =
        |title: &str, text: String| screen.row(&[Cell::new(Role::Heading, title, MARGIN)], Role::Plain, &text);
    let redacted = if listing.redacted { ", redacted" } else { "" };
    row("host", format!("{}, Linux {}{redacted}", listing.host, listing.kernel));
    row("time", span(listing.first_ms, listing.last_ms));
    let each = listing.bytes.checked_div(listing.records).map(|each| format!(", {each} a record")).unwrap_or_default();
    row("records", format!("{} in {}{each}", listing.records, bind(&count(listing.bytes, "byte"))));
    if listing.gaps > 0 {
        let gaps = plain(listing.gaps, "time");
        row("gaps", format!("nothing was recorded {gaps}, for {:.1} s together", listing.gap_seconds));
    }
    if listing.clock_steps > 0 {
        row("clock", format!("set {} meanwhile", count(listing.clock_steps, "time")));
    }
    for lost in &listing.losses {
        row("lost", loss(lost));
    }
    let left = listing.lost.saturating_sub(listing.losses.len() as u64);
    if left > 0 {
        row("lost", plain(left, "more part"));
    }
    screen.finish()
}

/// In front of what a window of a recording shows.
pub fn header(place: &Place, window: Duration) -> String {
    let Place { host, redacted, ended_ms, records, is_cut } = place;
    let begun_ms = ended_ms.saturating_sub(i64::try_from(window.as_millis()).unwrap_or(i64::MAX));
    let redacted = if *redacted { "redacted " } else { "" };
    let cut = if *is_cut { "; shorter than asked for: nothing is recorded before it" } else { "" };
    format!(
        "{redacted}recording of {}: {}, {}{cut}",
        sanitize(host),
        span(begun_ms, *ended_ms),
        plain(*records, "record")
    )
}

/// Also for lines that are not wrapped.
fn plain(n: u64, what: &str) -> String {
    count(n, what).replace('\u{a0}', " ")
}

/// A line of its own.
pub fn line(text: &str, style: &Style) -> String {
    let mut screen = Screen::new(style);
    screen.text(Role::Heading, text);
    screen.finish()
}

/// `2026-12-01 00:10:00 to 00:15:00 UTC`
pub fn span(first_ms: i64, last_ms: i64) -> String {
    let (first, last) = (utc(first_ms), utc(last_ms));
    match (first.split_once(' '), last.split_once(' ')) {
        (Some((day, _)), Some((same, time))) if day == same => format!("{first} to {time} UTC"),
        _ => format!("{first} to {last} UTC"),
    }
}

/// What is lost, and from when to when.
pub fn loss(loss: &Loss) -> String {
    let what = match (loss.bytes, loss.records) {
        (0, records) => format!("{} missing", plain(records, "record")),
        (bytes, records) => {
            let at = loss.at;
            format!("{} damaged at byte {at}, {} lost", plain(bytes, "byte"), plain(records, "record"))
        }
    };
    match (loss.from_ms, loss.to_ms) {
        (Some(from), Some(to)) => format!("{what}, {}", span(from, to)),
        (None, Some(to)) => format!("{what}, before {} UTC", utc(to)),
        (Some(from), None) => format!("{what} at its end, after {} UTC", utc(from)),
        (None, None) => what,
    }
}

/// `2026-12-01 00:10:00`; a hostile recording's number where it is no time.
pub fn utc(ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => format!("{ms} ms since 1970"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(text: &str) -> Vec<String> {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
        assert!(jsonschema::meta::is_valid(&schema));
        let validator = jsonschema::validator_for(&schema).unwrap();
        let value = serde_json::from_str(text).unwrap();
        validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    #[test]
    fn what_is_rendered_is_what_the_schema_says() {
        let nothing = json(&Listing::default());
        assert_eq!(complaints(&nothing), Vec::<String>::new());
        for (from, to) in [
            ("record/1", "record/2"),
            ("\"records\": 0", "\"records\": -1"),
            ("\"losses\": []", "\"losses\": [{\"at\": 1}]"),
            ("\"gaps\": 0,", ""),
            ("\"redacted\": false", "\"redacted\": 0"),
        ] {
            assert_ne!(nothing.replace(from, to), nothing, "{from}");
            assert_ne!(complaints(&nothing.replace(from, to)), Vec::<String>::new(), "{to}");
        }
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01 00:00:00");
        assert_eq!(utc(951_782_400_000), "2000-02-29 00:00:00");
        assert_eq!(utc(-1), "1969-12-31 23:59:59");
        assert_eq!(utc(i64::MAX), "9223372036854775807 ms since 1970");
    }

    #[test]
    fn a_listing_says_what_is_missing() {
        let listing = Listing {
            host: "web\x1b[31m",
            kernel: "6.18",
            records: 3600,
            first_ms: 1_796_000_000_000,
            last_ms: 1_796_003_700_000,
            bytes: 1_000_000,
            gaps: 1,
            gap_seconds: 100.0,
            clock_steps: 1,
            lost: 3,
            losses: vec![
                Loss {
                    at: 5000,
                    bytes: 1,
                    records: 7,
                    from_ms: Some(1_796_000_010_000),
                    to_ms: Some(1_796_000_018_000),
                },
                Loss { at: 999_990, bytes: 10, records: 1, from_ms: Some(1_796_003_700_000), to_ms: None },
            ],
            ..Listing::default()
        };
        insta::assert_snapshot!(text(&listing, &Style::default()));
        insta::assert_snapshot!(json(&listing));
        assert_eq!(complaints(&json(&listing)), Vec::<String>::new());
        let place = Place { host: "web".into(), redacted: true, ended_ms: 1_796_000_005_000, records: 3, is_cut: true };
        insta::assert_snapshot!(header(&place, Duration::from_secs(3)));
    }
}
