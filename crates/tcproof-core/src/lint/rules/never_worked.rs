//! # never-worked
//!
//! ## What it says
//! The line, or the command, was never understood by the program that reads it: blanks around the `=` of `sysctl -w`, a
//! command in a file that holds settings, three numbers without quotes, an `ethtool` word that does not exist.
//!
//! ## Why it matters
//! The error scrolls by at boot, or in the log of a deployment, and everybody believes that it is set.
//!
//! ## Bad
//! ```text
//! sysctl -w net.core.somaxconn = 8192
//! ```
//!
//! ## Good
//! ```text
//! sysctl -w net.core.somaxconn=8192
//! ```
//!
//! ## What to do
//! On a command line, key, `=` and value are one word, in quotes where the value has blanks. In a file of `sysctl.d`,
//! each line is `key = value`, without a command before it.
//!
//! ## References
//! sysctl(8), sysctl.d(5), ethtool(8)

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::knobs;
use crate::lint::{Command, Context, Correction, File, Finding, Format, Rule, Severity, Span, Word, ethtool};

pub(super) static RULE: Rule = Rule {
    slug: "never-worked",
    title: "a line that its program does not understand",
    severity: Severity::Error,
    check,
    source: include_str!("never_worked.rs"),
};

fn check(context: &Context<'_>, found: &mut Vec<Finding>) {
    for (index, file) in context.tree.files.iter().enumerate() {
        let finding = |at, message, correction: Option<Correction>| Finding {
            rule: RULE.slug,
            severity: RULE.severity,
            file: index,
            at,
            key: None,
            message,
            correction,
        };
        for stray in &file.strays {
            let message = format!("no loader understands this line: expected {}", stray.expected);
            found.push(finding(stray.at, message, None));
        }
        for command in &file.commands {
            if file.format == Format::Sysctl {
                let message = "a command in a file that holds settings: the loaders skip the line".into();
                found.push(finding(command.at, message, as_setting(command)));
            } else if let Some((at, message, correction)) = sysctl(file, command) {
                found.push(finding(at, message, correction));
            } else if let Some((word, message)) = ethtool::misunderstood(&command.words) {
                found.push(finding(word.at, message, None));
            }
        }
    }
}

/// The settings of `sysctl -w a=b`, where there is exactly one and it is whole.
fn as_setting(command: &Command) -> Option<Correction> {
    let mut words = command.words.iter().skip(1).filter(|word| !word.text.starts_with('-'));
    let setting = words.next().filter(|word| word.text.contains('='))?;
    let (key, value) = setting.text.split_once('=')?;
    let is_whole = words.next().is_none() && !value.is_empty();
    is_whole.then(|| Correction { number: command.at.line, line: format!("{key} = {value}"), is_safe: false })
}

/// What `sysctl` does not understand among its words.
fn sysctl(file: &File, command: &Command) -> Option<(Span, String, Option<Correction>)> {
    let (program, words) = command.words.split_first()?;
    if program.text.rsplit('/').next() != Some("sysctl") {
        return None;
    }
    // `-p FILE` and the like take files, not settings.
    let is_write = words.iter().any(|word| matches!(&*word.text, "-w" | "--write"));
    let words: Vec<_> = words.iter().filter(|word| !word.text.starts_with('-')).collect();
    let equals =
        words.iter().position(|word| word.text == "=" || word.text.starts_with('=') || word.text.ends_with('='));
    if let Some(at) = equals.filter(|_| words.first().is_some_and(|word| is_key(word.text.trim_end_matches('=')))) {
        let from = words[at.saturating_sub(usize::from(words[at].text.starts_with('=')))];
        let to = words.get(at + usize::from(words[at].text.ends_with('='))).copied().unwrap_or(words[at]);
        let span = Span { end: to.at.end.max(from.at.end), ..from.at };
        let joined: String = words.iter().map(|word| &*word.text).collect();
        let is_one = words.len() <= 3 && from.at.line == to.at.line && from.at.column < to.at.column;
        // A word may hold blanks, which were in quotes, and even the end of a line.
        let is_one = is_one && !joined.contains(['\n', '"']);
        let joined = if joined.contains(' ') { format!("\"{joined}\"") } else { joined };
        let correction =
            is_one.then(|| Correction { number: span.line, line: file.line_with(span, &joined), is_safe: false });
        let message = "sysctl takes KEY=VALUE as one word: with blanks around the = it sets nothing".into();
        return Some((span, message, correction));
    }
    let set = words.iter().position(|word| word.text.contains('='));
    let stranger = words.iter().skip(set.map_or(0, |at| at + 1)).find(|word| !word.text.contains('='));
    match (set, stranger) {
        (Some(at), Some(stranger)) => {
            let (key, _) = words[at].text.split_once('=')?;
            let wants_more = knobs::by_key(key).is_some_and(|knob| knob.kind.takes_several());
            let message = match wants_more {
                true => "without quotes around KEY=\"A B C\", sysctl sets the first number only".into(),
                false => format!("sysctl takes {:?} for a key of its own, and does not set it", stranger.text),
            };
            Some((stranger.at, message, None))
        }
        (None, Some(first)) if is_write && is_key(&first.text) => Some((first.at, no_value(first), None)),
        _ => None,
    }
}

fn no_value(key: &Word) -> String {
    format!("sysctl -w takes {}=VALUE as one word: this sets nothing", key.text)
}

fn is_key(word: &str) -> bool {
    let looks = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-*".contains(&b));
    word.contains(['.', '/']) && word.split(['.', '/']).all(looks) && !word.starts_with(['.', '/'])
}
