//! What a knob's value looks like, which values the kernel takes, and which of those make sense.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The kind of a knob's value.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// One whole number.
    Number {
        /// What the kernel takes.
        kernel: Bounds,
        /// What makes sense: tcproof refuses the rest.
        sane: Bounds,
    },
    /// One of a few numbers, each with its meaning.
    Choice {
        /// What the kernel takes.
        kernel: Bounds,
        /// The numbers that mean something.
        meanings: &'static [(i64, &'static str)],
    },
    /// Bits that are added up, each with its meaning.
    Flags {
        /// What the kernel takes.
        kernel: Bounds,
        /// The bits that mean something.
        meanings: &'static [(i64, &'static str)],
    },
    /// Three numbers that must not descend, which the kernel does not check.
    Triple {
        /// What the kernel takes for each.
        kernel: Bounds,
        /// What makes sense for each.
        sane: Bounds,
    },
    /// The lowest and the highest port.
    PortRange,
    /// Ports and ranges of ports, parted by commas.
    PortList,
    /// A name, such as a congestion control's.
    Name,
    /// Names, parted by blanks.
    Names,
    /// A set of CPUs, as hexadecimal mask or as list.
    Cpus,
    /// One or two keys of 32 hexadecimal digits, in four groups.
    Key,
    /// Can only be read.
    ReadOnly,
}

/// Whole numbers from `min` to `max`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The least.
    pub min: i64,
    /// The greatest.
    pub max: i64,
}

impl Bounds {
    /// `int`, unchecked.
    pub const INT: Self = Self::new(i32::MIN as i64, i32::MAX as i64);
    /// `int` that must not be negative.
    pub const NOT_NEGATIVE: Self = Self::new(0, i32::MAX as i64);
    /// Seconds that the kernel keeps as jiffies in an `int`: up to 2147483647 / HZ, here with the slowest clock, HZ = 100.
    pub const SECONDS: Self = Self::new(-(i32::MAX as i64 / 100), i32::MAX as i64 / 100);
    /// A byte.
    pub const U8: Self = Self::new(0, 255);
    /// Off and on.
    pub const SWITCH: Self = Self::new(0, 1);

    /// From `min` to `max`.
    pub const fn new(min: i64, max: i64) -> Self {
        Self { min, max }
    }

    fn contain(self, number: i64) -> bool {
        (self.min..=self.max).contains(&number)
    }
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The kernel answers EINVAL, or takes only a part of it: why.
    Refused(String),
    /// The kernel takes it, though it makes no sense: why.
    Nonsense(String),
}

impl Kind {
    /// The off switch and the on switch, where the kernel checks that it is one of them.
    pub const SWITCH: Self = Self::Choice { kernel: Bounds::SWITCH, meanings: &[(0, "off"), (1, "on")] };
    /// The same, where the kernel takes any byte.
    pub const LOOSE_SWITCH: Self = Self::Choice { kernel: Bounds::U8, meanings: &[(0, "off"), (1, "on")] };

    /// How many numbers a value has; none for what is not made of a fixed count of numbers.
    fn count(&self) -> Option<usize> {
        match self {
            Self::Number { .. } | Self::Choice { .. } | Self::Flags { .. } => Some(1),
            Self::PortRange => Some(2),
            Self::Triple { .. } => Some(3),
            Self::PortList | Self::Name | Self::Names | Self::Cpus | Self::Key | Self::ReadOnly => None,
        }
    }

    /// A value's numbers, read as the kernel reads them; empty when it has none.
    pub fn numbers(&self, text: &str) -> Vec<i64> {
        self.count().map_or_else(Vec::new, |count| numbers(text, count).map(|(numbers, _)| numbers).unwrap_or_default())
    }

    /// Whether a value is made of several numbers or names, parted by blanks.
    pub fn takes_several(&self) -> bool {
        self.count().is_some_and(|count| count > 1) || matches!(self, Self::Names)
    }

    /// Whether two values are the same to the kernel.
    pub fn is_same(&self, one: &str, other: &str) -> bool {
        match self.count() {
            Some(_) => !self.numbers(one).is_empty() && self.numbers(one) == self.numbers(other),
            None => one.split_ascii_whitespace().eq(other.split_ascii_whitespace()),
        }
    }

    /// Whether a value makes sense.
    ///
    /// # Errors
    /// Why not, and whether the kernel says so too.
    pub fn judge(&self, text: &str) -> Result<(), Wrong> {
        let Some(count) = self.count() else { return self.judge_words(text) };
        let (numbers, rest) = numbers(text, count).map_err(Wrong::Refused)?;
        self.judge_numbers(&numbers)?;
        let s = if count == 1 { "" } else { "s" };
        // The kernel takes as many numbers as it has room for, and is silent about what is missing or left over.
        match numbers.len() {
            1 if count > 1 => {
                Err(Wrong::Nonsense(format!("sets only the first of {count} numbers: the others stay as they are")))
            }
            found if found < count => Err(Wrong::Nonsense(format!(
                "sets only the first {found} of {count} numbers: the others stay as they are"
            ))),
            _ if !rest.is_empty() => {
                Err(Wrong::Nonsense(format!("the kernel takes {count} number{s} and ignores {rest:?} behind")))
            }
            _ => Ok(()),
        }
    }

    fn judge_numbers(&self, numbers: &[i64]) -> Result<(), Wrong> {
        match self {
            Self::Number { kernel, sane } => in_bounds(numbers, *kernel, *sane),
            Self::Choice { kernel, meanings } => {
                in_bounds(numbers, *kernel, *kernel)?;
                match numbers.iter().find(|n| !meanings.iter().any(|(known, _)| known == *n)) {
                    None => Ok(()),
                    Some(n) => Err(Wrong::Nonsense(format!("{n} means nothing: {}", known(meanings)))),
                }
            }
            Self::Flags { kernel, meanings } => {
                in_bounds(numbers, *kernel, *kernel)?;
                let all = meanings.iter().fold(0, |all, (bit, _)| all | bit);
                match numbers.iter().find(|n| *n & !all != 0) {
                    None => Ok(()),
                    Some(n) => Err(Wrong::Nonsense(format!("{n} has bits that mean nothing: {}", known(meanings)))),
                }
            }
            Self::Triple { kernel, sane } => {
                in_bounds(numbers, *kernel, *sane)?;
                match numbers.is_sorted() {
                    true => Ok(()),
                    false => Err(Wrong::Nonsense("minimum, default and maximum must not descend".into())),
                }
            }
            Self::PortRange => {
                in_bounds(numbers, Bounds::new(1, 65_535), Bounds::new(1, 65_535))?;
                match numbers.is_sorted() {
                    true => Ok(()),
                    false => Err(Wrong::Refused("the lowest port comes first".into())),
                }
            }
            Self::PortList | Self::Name | Self::Names | Self::Cpus | Self::Key | Self::ReadOnly => Ok(()),
        }
    }

    fn judge_words(&self, text: &str) -> Result<(), Wrong> {
        match self {
            Self::PortList => port_list(text).map_err(Wrong::Refused),
            Self::Name if text.split_ascii_whitespace().count() != 1 => Err(Wrong::Refused("expected one name".into())),
            Self::Key => key(text).map_err(Wrong::Refused),
            Self::ReadOnly => Err(Wrong::Refused("it can only be read".into())),
            _ => Ok(()),
        }
    }
}

fn in_bounds(numbers: &[i64], kernel: Bounds, sane: Bounds) -> Result<(), Wrong> {
    if let Some(n) = numbers.iter().find(|n| !kernel.contain(**n)) {
        return Err(Wrong::Refused(format!("{n} is outside {} to {}", kernel.min, kernel.max)));
    }
    match numbers.iter().find(|n| !sane.contain(**n)) {
        None => Ok(()),
        Some(n) => Err(Wrong::Nonsense(format!("{n} makes no sense: expected {} to {}", sane.min, sane.max))),
    }
}

fn known(meanings: &[(i64, &str)]) -> String {
    let known: Vec<_> = meanings.iter().map(|(n, means)| format!("{n} {means}")).collect();
    known.join(", ")
}

/// At most `count` numbers as `proc_get_long` reads them: decimal, `0x` hexadecimal, and octal after a zero; and what
/// is left behind them.
fn numbers(text: &str, count: usize) -> Result<(Vec<i64>, &str), String> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while found.len() < count && !rest.is_empty() {
        let (word, behind) = rest.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((rest, ""));
        found.push(number(word)?);
        rest = behind.trim_start();
    }
    if found.is_empty() { Err("there is no number".into()) } else { Ok((found, rest)) }
}

fn number(word: &str) -> Result<i64, String> {
    let (minus, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.strip_prefix("0x") {
        Some(digits) => (16, digits),
        None if lower.len() > 1 && lower.starts_with('0') => (8, &*lower),
        None => (10, &*lower),
    };
    // `from_str_radix` takes a sign of its own.
    let value = if digits.starts_with(['+', '-']) { None } else { i64::from_str_radix(digits, radix).ok() };
    match value {
        Some(value) if minus => Ok(-value),
        Some(value) => Ok(value),
        None => Err(format!("{word:?} is no whole number")),
    }
}

fn port_list(text: &str) -> Result<(), String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(());
    }
    for part in text.split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        match (low.parse::<u16>(), high.parse::<u16>()) {
            (Ok(low), Ok(high)) if low <= high => {}
            _ => return Err(format!("{part:?} is neither a port nor a range of ports")),
        }
    }
    Ok(())
}

fn key(text: &str) -> Result<(), String> {
    let is_key = |key: &str| {
        let groups: Vec<_> = key.trim().split('-').collect();
        groups.len() == 4
            && groups.iter().all(|g| (1..=8).contains(&g.len()) && g.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    match text.split(',').count() <= 2 && text.split(',').all(is_key) {
        true => Ok(()),
        false => Err("expected one or two keys such as 00000000-00000000-00000000-00000000".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: Kind = Kind::Number { kernel: Bounds::INT, sane: Bounds::new(1, 1000) };
    const TRIPLE: Kind =
        Kind::Triple { kernel: Bounds::new(1, i32::MAX as i64), sane: Bounds::new(1, i32::MAX as i64) };

    #[test]
    fn what_the_kernel_refuses_and_what_only_we_do() {
        let refused = |kind: &Kind, text: &str| matches!(kind.judge(text), Err(Wrong::Refused(_)));
        let nonsense = |kind: &Kind, text: &str| matches!(kind.judge(text), Err(Wrong::Nonsense(_)));
        for text in ["", "x", "16M", "4294967296", "0x", "1.5", "+1", "--1", "09", "1,2"] {
            assert!(refused(&COUNT, text), "{text:?}");
        }
        for text in ["0", "-5", "1001", "1 2", "1 # on"] {
            assert!(nonsense(&COUNT, text), "{text:?}");
        }
        for text in ["1", "1000", "0x10", "010", " 7 "] {
            assert_eq!(COUNT.judge(text), Ok(()), "{text:?}");
        }
        assert!(nonsense(&TRIPLE, "8192 4096 2048") && nonsense(&TRIPLE, "4096 87380") && refused(&TRIPLE, "0 1 2"));
        assert!(refused(&Kind::SWITCH, "2") && nonsense(&Kind::LOOSE_SWITCH, "2"));
        assert!(refused(&Kind::PortRange, "65535 1024") && refused(&Kind::PortRange, "0 65535"));
        assert!(
            refused(&Kind::PortList, "80-70") && refused(&Kind::PortList, "80, 90") && refused(&Kind::ReadOnly, "1")
        );
        assert_eq!(Kind::PortList.judge("8080,9000-9100"), Ok(()));
        assert_eq!(COUNT.numbers("010"), [8], "a leading zero makes it octal");
    }
}
