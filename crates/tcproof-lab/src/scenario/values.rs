//! The values of scenario files: each with its bounds, so that nothing else has to check them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Connections a second that one load may start, at most.
pub const MAX_RATE: u32 = 20_000;
/// Connections that one load may start or hold, at most.
pub const MAX_COUNT: u32 = 200_000;
/// The longest duration a scenario may name.
pub const MAX_DURATION: Duration = Duration::from_secs(60);
/// Bytes that one field may name, at most.
pub const MAX_BYTES: u64 = 1 << 30;
/// Bits a second that a link may carry: what a process of this lab could forward on a very good day.
pub const BITS_PER_SECOND: std::ops::RangeInclusive<u64> = 1_000..=10_000_000_000;

/// A duration such as `5s`, `200ms` or `50us`, at most [`MAX_DURATION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Time(pub Duration);

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let time = match (number.parse::<u64>(), unit) {
            (Ok(n), "s") => Duration::from_secs(n),
            (Ok(n), "ms") => Duration::from_millis(n),
            (Ok(n), "us") => Duration::from_micros(n),
            _ => return Err(format!("expected a duration such as \"5s\" or \"200ms\", found {text:?}")),
        };
        if time > MAX_DURATION {
            return Err(format!("{text} is longer than the {} s that a scenario may take", MAX_DURATION.as_secs()));
        }
        Ok(Self(time))
    }
}

impl From<Time> for String {
    fn from(time: Time) -> Self {
        format!("{}us", time.0.as_micros())
    }
}

/// Connections a second: 1 to [`MAX_RATE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Rate(pub u32);

/// A number of connections: 1 to [`MAX_COUNT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Count(pub u32);

/// A number of bytes, or of bytes a second: 1 to [`MAX_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Bytes(pub u32);

/// Bits a second: within [`BITS_PER_SECOND`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Bits(pub u64);

/// A share of all packets: 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Share(pub f64);

/// Mbit/s of goodput: above 0, at most 1 000 000.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Mbit(pub f64);

fn bounded(number: u64, max: u32, what: &str) -> Result<u32, String> {
    match u32::try_from(number) {
        Ok(n) if (1..=max).contains(&n) => Ok(n),
        _ => Err(format!("expected 1 to {max} {what}, found {number}")),
    }
}

impl TryFrom<u64> for Rate {
    type Error = String;

    fn try_from(number: u64) -> Result<Self, String> {
        bounded(number, MAX_RATE, "a second").map(Self)
    }
}

impl From<Rate> for u64 {
    fn from(rate: Rate) -> Self {
        Self::from(rate.0)
    }
}

impl TryFrom<u64> for Count {
    type Error = String;

    fn try_from(number: u64) -> Result<Self, String> {
        bounded(number, MAX_COUNT, "connections").map(Self)
    }
}

impl From<Count> for u64 {
    fn from(count: Count) -> Self {
        Self::from(count.0)
    }
}

impl TryFrom<u64> for Bytes {
    type Error = String;

    fn try_from(number: u64) -> Result<Self, String> {
        bounded(number, MAX_BYTES as u32, "bytes").map(Self)
    }
}

impl From<Bytes> for u64 {
    fn from(bytes: Bytes) -> Self {
        Self::from(bytes.0)
    }
}

impl TryFrom<u64> for Bits {
    type Error = String;

    fn try_from(number: u64) -> Result<Self, String> {
        let (least, most) = (BITS_PER_SECOND.start(), BITS_PER_SECOND.end());
        match BITS_PER_SECOND.contains(&number) {
            true => Ok(Self(number)),
            false => Err(format!("expected {least} to {most} bits a second, found {number}")),
        }
    }
}

impl From<Bits> for u64 {
    fn from(bits: Bits) -> Self {
        bits.0
    }
}

impl TryFrom<f64> for Share {
    type Error = String;

    fn try_from(share: f64) -> Result<Self, String> {
        match (0.0..=1.0).contains(&share) {
            true => Ok(Self(share)),
            false => Err(format!("expected a share from 0 to 1 (1 % is 0.01), found {share}")),
        }
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> Self {
        share.0
    }
}

impl TryFrom<f64> for Mbit {
    type Error = String;

    fn try_from(mbit: f64) -> Result<Self, String> {
        match mbit > 0.0 && mbit <= 1e6 {
            true => Ok(Self(mbit)),
            false => Err(format!("expected more than 0 and at most 1000000 Mbit/s, found {mbit}")),
        }
    }
}

impl From<Mbit> for f64 {
    fn from(mbit: Mbit) -> Self {
        mbit.0
    }
}
