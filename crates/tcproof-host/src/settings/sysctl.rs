//! `sysctl.conf` and `sysctl.d/*.conf`, line by line as `systemd-sysctl` and procps read them.
//!
//! Where the two read a line in the same way, so does this. Where they don't (a carriage return or a NUL in the midst of
//! a line ends it for systemd only), the line is a [`Stray`]: nobody should count on either.

use tcproof_core::lint::{Command, File, Format, Place, Setting, Span, Stray, Word};

use super::allow::{self, Comments};
use super::pattern::{Pattern, is_pattern};
use super::unparsable;

/// What both loaders strip from the ends of lines, keys and values. procps also strips `\v` and `\f`.
const BLANK: [char; 3] = [' ', '\t', '\r'];
/// `LONG_LINE_MAX` of systemd: at a line of so many bytes it gives up the file, and keeps what it has read before.
const LONG_LINE: usize = 1 << 20;
/// More lines, or patterns, than anybody writes: each costs far more memory than its text.
const MAX_LINES: u32 = 100_000;
const MAX_PATTERNS: usize = 1000;

/// Reads one.
pub(super) fn parse(path: &str, text: &str) -> File {
    let allows = allow::allows(text, Comments::OwnLine);
    let mut file = File { path: path.into(), format: Format::Sysctl, text: text.into(), allows, ..File::default() };
    let mut patterns = 0;
    for (number, text) in (1..).zip(text.lines()) {
        let limit = match () {
            () if text.len() >= LONG_LINE => Some("a line of less than 1 MiB: systemd-sysctl reads no further"),
            () if number > MAX_LINES => Some("at most 100 000 lines"),
            () if patterns > MAX_PATTERNS => Some("at most 1000 patterns"),
            () => None,
        };
        if let Some(expected) = limit {
            file.unread = Some(unparsable(path, Some(number), expected));
            break;
        }
        let line = Line { number, text };
        let body = line.trimmed(0, text.len());
        if !line.part(body).is_empty() && !line.part(body).starts_with(['#', ';']) {
            read(&mut file, &line, body);
            patterns += usize::from(file.settings.last().is_some_and(|last| last.is_pattern));
        }
    }
    file
}

/// The kernel's command line: `sysctl.KEY=VALUE` is set before any program runs, since 5.8.
pub(super) fn command_line(path: &str, text: &str) -> File {
    let mut file = File { path: path.into(), format: Format::Sysctl, text: text.into(), ..File::default() };
    let line = Line { number: 1, text: text.lines().next().unwrap_or_default() };
    for (from, to) in arguments(line.text) {
        let quoted = line.part((from, to));
        // What follows is for init.
        if quoted == "--" {
            break;
        }
        let from = from + usize::from(quoted.starts_with('"'));
        let to = to - usize::from(to > from && quoted.ends_with('"'));
        let Some(rest) = line.part((from, to)).strip_prefix("sysctl") else { continue };
        if !rest.starts_with(['.', '/']) {
            continue;
        }
        let Some(equals) = rest.find('=').map(|at| to - rest.len() + at) else {
            stray(&mut file, &line, (from, to), "= and a value".into());
            continue;
        };
        let key_at = (from + "sysctl.".len(), equals);
        let value_from = equals + 1 + usize::from(line.part((equals + 1, to)).starts_with('"'));
        // The kernel turns every dot into a slash, so that it knows no device with a dot in its name.
        let key = canonical(&line.part(key_at).replace('.', "/"));
        if !key.is_empty() {
            file.settings.push(setting(&line, key_at, (value_from, to), key, Some(line.part((value_from, to)))));
        }
    }
    file
}

/// A line, and how places in it become columns.
struct Line<'a> {
    number: u32,
    text: &'a str,
}

/// A part of a line, in bytes: from the first to the one behind the last.
type Part = (usize, usize);

impl<'a> Line<'a> {
    fn part(&self, (from, to): Part) -> &'a str {
        &self.text[from..to]
    }

    /// The part without blanks at its ends.
    fn trimmed(&self, from: usize, to: usize) -> Part {
        let part = self.part((from, to));
        let start = part.trim_start_matches(BLANK);
        let from = to - start.len();
        (from, from + start.trim_end_matches(BLANK).len())
    }

    fn span(&self, (from, to): Part) -> Span {
        let column = |bytes: usize| self.text[..bytes].chars().count() as u32 + 1;
        Span { line: self.number, column: column(from), end: column(to) }
    }
}

/// Reads a line that is neither blank nor a comment.
fn read(file: &mut File, line: &Line<'_>, body: Part) {
    let text = line.part(body);
    if let Some(odd) = text.chars().find(|c| is_odd(*c)) {
        return stray(file, line, body, unexpected(odd));
    }
    let words = words(line, body);
    if words.first().is_some_and(|word| is_command(&word.text)) {
        file.commands.push(Command { at: line.span(body), words });
        return;
    }
    let assignment = text.find('=').map(|at| body.0 + at);
    let is_lenient = text.starts_with('-');
    let key_from = body.0 + usize::from(is_lenient);
    let key_at = line.trimmed(key_from, assignment.unwrap_or(body.1));
    let key = canonical(line.part(key_at));
    if key.is_empty() {
        return stray(file, line, body, "a key before =".into());
    }
    let (value_at, value) = match assignment {
        Some(at) => {
            let value = line.trimmed(at + 1, body.1);
            // Nothing: behind the blank that follows the =, where a value would stand.
            let nothing = at + 1 + usize::from(line.text[at + 1..].starts_with(' '));
            let value = if value.0 == value.1 { (nothing, nothing) } else { value };
            (value, Some(line.part(value)))
        }
        None if is_lenient => ((key_at.1, key_at.1), None),
        None => return stray(file, line, body, "key = value".into()),
    };
    let setting = Setting { is_lenient, ..setting(line, key_at, value_at, key, value) };
    file.settings.push(setting);
}

fn setting(line: &Line<'_>, key_at: Part, value_at: Part, key: String, value: Option<&str>) -> Setting {
    let is_pattern = is_pattern(&key);
    let keys = match value {
        _ if !is_pattern => vec![key.clone()],
        Some(_) => Pattern::new(&key).in_table(),
        // Both loaders compare what is taken out of patterns letter by letter: a pattern takes nothing out.
        None => Vec::new(),
    };
    Setting {
        at: line.span((key_at.0, value_at.1.max(key_at.1))),
        value_at: line.span(value_at),
        key,
        keys,
        is_pattern,
        value: value.map(Into::into),
        is_lenient: false,
        place: Place::Host,
        group: 0,
    }
}

fn stray(file: &mut File, line: &Line<'_>, at: Part, expected: String) {
    file.strays.push(Stray { at: line.span(at), expected });
}

/// A key with dots. The first separator decides: behind a slash dots belong to names, behind a dot slashes stand for
/// dots, as in `net/ipv4/conf/eth0.1/rp_filter` and `net.ipv4.conf.eth0/1.rp_filter`, which are the same.
pub(super) fn canonical(key: &str) -> String {
    let path = match key.find(['/', '.']) {
        Some(at) if key[at..].starts_with('.') => swapped(key),
        _ => key.into(),
    };
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    swapped(&parts.join("/"))
}

/// A key's path below `/proc/sys`; `None` when it would lead out of it, which both loaders refuse to follow.
pub(super) fn path_of(key: &str) -> Option<String> {
    let path = swapped(key);
    path.split('/').all(|part| !matches!(part, "" | "." | "..")).then(|| format!("proc/sys/{path}"))
}

/// With slashes for dots and dots for slashes.
pub(crate) fn swapped(key: &str) -> String {
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    key.chars().map(swap).collect()
}

/// Characters that come with text from web pages and other systems, that nobody sees, and that no loader skips.
fn is_odd(c: char) -> bool {
    matches!(c, '\0' | '\r' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}') || (c.is_whitespace() && !c.is_ascii())
}

fn unexpected(odd: char) -> String {
    match odd {
        '\0' => "a line without NUL bytes: systemd-sysctl ends it there, and procps skips the rest".into(),
        '\r' => "a line without a carriage return in it: systemd-sysctl ends it there, procps does not".into(),
        '\u{feff}' => "a file without byte order mark: it becomes part of the first key".into(),
        odd => format!("plain blanks: U+{:04X} looks like one, and is part of the key or value", odd as u32),
    }
}

fn is_command(word: &str) -> bool {
    matches!(word.rsplit('/').next(), Some("sysctl" | "ethtool" | "sudo"))
}

/// Words parted by blanks, without quotes around them.
fn words(line: &Line<'_>, body: Part) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = body;
    while rest.0 < rest.1 {
        let text = line.part(rest);
        let end = rest.0 + text.find(BLANK).unwrap_or(text.len());
        let word = line.part((rest.0, end));
        words.push(Word { at: line.span((rest.0, end)), text: word.trim_matches(['"', '\'']).into() });
        rest = line.trimmed(end, rest.1);
    }
    words
}

/// The arguments of a kernel's command line: parted by blanks that are not in double quotes.
fn arguments(text: &str) -> Vec<Part> {
    let mut arguments = Vec::new();
    let (mut start, mut is_quoted) = (None, false);
    for (at, c) in text.char_indices() {
        is_quoted ^= c == '"';
        match start {
            None if !c.is_ascii_whitespace() => start = Some(at),
            Some(from) if c.is_ascii_whitespace() && !is_quoted => {
                arguments.push((from, at));
                start = None;
            }
            _ => {}
        }
    }
    arguments.extend(start.map(|from| (from, text.len())));
    arguments
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Key, value and what stands before it, for each setting.
    fn read(text: &str) -> Vec<(String, Option<String>, bool)> {
        let setting = |setting: Setting| (setting.key, setting.value, setting.is_lenient);
        parse("x.conf", text).settings.into_iter().map(setting).collect()
    }

    fn set(key: &str, value: &str) -> (String, Option<String>, bool) {
        (key.into(), Some(value.into()), false)
    }

    #[test]
    fn assignments() {
        assert_eq!(read("net.core.somaxconn=1\n"), [set("net.core.somaxconn", "1")]);
        assert_eq!(read("\t net.core.somaxconn \t=\t 1 \t\n"), [set("net.core.somaxconn", "1")]);
        assert_eq!(read("net.core.somaxconn = 1"), [set("net.core.somaxconn", "1")], "no newline at the end");
        assert_eq!(read("a.b = 4096 87380  6291456\n"), [set("a.b", "4096 87380  6291456")]);
        assert_eq!(read("kernel.core_pattern=|/bin/x --a=b\n"), [set("kernel.core_pattern", "|/bin/x --a=b")]);
        assert_eq!(read("a.b =\n"), [set("a.b", "")]);
        assert_eq!(read("a.b = 1 # no comment\n"), [set("a.b", "1 # no comment")], "which the kernel is given, too");
        assert_eq!(read("a.b = \"1\"\n"), [set("a.b", "\"1\"")]);
        assert_eq!(read("a.b = 1\r\na.c = 2\r\r\n"), [set("a.b", "1"), set("a.c", "2")]);
        assert_eq!(read("# a.b = 1\n ; a.b = 1\n#\n\n \t\n"), []);
    }

    #[test]
    fn a_dash_before_the_key() {
        assert_eq!(read("-a.b = 1\n"), [("a.b".into(), Some("1".into()), true)]);
        assert_eq!(read("- a.b = 1\n"), [("a.b".into(), Some("1".into()), true)]);
        assert_eq!(read("-a.b\n"), [("a.b".into(), None, true)]);
        assert_eq!(read("a-b.c = -1\n"), [set("a-b.c", "-1")]);
    }

    #[test]
    fn the_first_separator_decides() {
        for (key, as_dots) in [
            ("net.ipv4.tcp_rmem", "net.ipv4.tcp_rmem"),
            ("net/ipv4/tcp_rmem", "net.ipv4.tcp_rmem"),
            ("net/ipv4/conf/eth0.1/rp_filter", "net.ipv4.conf.eth0/1.rp_filter"),
            ("net.ipv4.conf.eth0/1.rp_filter", "net.ipv4.conf.eth0/1.rp_filter"),
            ("/net/ipv4//tcp_rmem/", "net.ipv4.tcp_rmem"),
            (".net..ipv4.tcp_rmem", "net.ipv4.tcp_rmem"),
            ("/proc/sys/net/ipv4/tcp_rmem", "proc.sys.net.ipv4.tcp_rmem"),
            ("somaxconn", "somaxconn"),
            ("//", ""),
        ] {
            assert_eq!(canonical(key), as_dots, "{key}");
        }
        assert_eq!(path_of("net.ipv4.conf.eth0/1.rp_filter").unwrap(), "proc/sys/net/ipv4/conf/eth0.1/rp_filter");
        for key in ["net/../../../etc/shadow", "net.//.//.etc", ""] {
            assert_eq!(path_of(&canonical(key)), None, "{key}");
        }
    }

    #[test]
    fn patterns() {
        let text = "net.core.somaxcon? = 1\nnet/core/somaxcon[no]=2\n-net.core.*\n-net.core.somaxconn\n*.somaxconn=3\n";
        let file = parse("x.conf", text);
        let keys: Vec<Vec<&str>> =
            file.settings.iter().map(|setting| setting.keys.iter().map(String::as_str).collect()).collect();
        assert_eq!(keys[0], ["net.core.somaxconn"]);
        assert_eq!(keys[1], keys[0]);
        assert_eq!(keys[2], [""; 0], "a pattern takes nothing out of patterns");
        assert_eq!(keys[3], keys[0]);
        assert_eq!(keys[4], [""; 0], "a sign stands for nothing beyond its component");
        let is_pattern: Vec<bool> = file.settings.iter().map(|setting| setting.is_pattern).collect();
        assert_eq!(is_pattern, [true, true, true, false, true]);
    }

    #[test]
    fn lines_that_are_no_assignments() {
        let text = "net.core.somaxconn 1024\n= 1\nulimit -n 65535\na.b\u{a0}= 1\na.b = 1\rc.d = 2\na\0b = 1\n\u{200b}a.b = 1\n";
        let file = parse("x.conf", text);
        assert_eq!(file.settings, []);
        let strays: Vec<String> =
            file.strays.iter().map(|stray| format!("{} {}", stray.at.line, stray.expected)).collect();
        insta::assert_snapshot!(strays.join("\n"), @r"
        1 key = value
        2 a key before =
        3 key = value
        4 plain blanks: U+00A0 looks like one, and is part of the key or value
        5 a line without a carriage return in it: systemd-sysctl ends it there, procps does not
        6 a line without NUL bytes: systemd-sysctl ends it there, and procps skips the rest
        7 plain blanks: U+200B looks like one, and is part of the key or value
        ");
        let file = parse("x.conf", "\u{feff}# made on Windows\r\nnet.core.somaxconn = 1\r\n");
        assert_eq!((file.strays.len(), file.settings.len()), (1, 1));
    }

    #[test]
    fn commands() {
        let file =
            parse("x.conf", "sysctl -w net.core.somaxconn=1024\n sudo /sbin/sysctl -w \"a.b=1 2\"\nsysctl.a = 1\n");
        let words: Vec<Vec<&str>> =
            file.commands.iter().map(|command| command.words.iter().map(|word| &*word.text).collect()).collect();
        assert_eq!(
            words,
            [vec!["sysctl", "-w", "net.core.somaxconn=1024"], vec!["sudo", "/sbin/sysctl", "-w", "a.b=1", "2"],]
        );
        assert_eq!(file.commands[0].words[2].at, Span { line: 1, column: 11, end: 34 });
        assert_eq!(file.settings.len(), 1);
    }

    #[test]
    fn spans_count_characters() {
        let file = parse("x.conf", "\t-äö.b =\tüß x \n");
        let setting = &file.settings[0];
        assert_eq!(setting.at, Span { line: 1, column: 3, end: 14 });
        assert_eq!(setting.value_at, Span { line: 1, column: 10, end: 14 });
        assert_eq!(file.line_with(setting.value_at, "1"), "\t-äö.b =\t1 ");
        for (text, expected) in [("a.b =\n", "a.b =1"), ("a.b = \n", "a.b = 1"), ("a.b =  \n", "a.b = 1 ")] {
            let file = parse("x.conf", text);
            assert_eq!(file.line_with(file.settings[0].value_at, "1"), expected);
        }
    }

    #[test]
    fn comments_allow_the_line_below() {
        let text = "# tcproof: allow placebo — wanted\n; tcproof: allow dangerous - too\n# more\na.b = 1\n\n\
                    # tcproof: allow shadowed\n";
        let allows: Vec<String> = parse("x.conf", text)
            .allows
            .iter()
            .map(|allow| format!("{} about {}: {:?} {:?}", allow.at.line, allow.line, allow.slug, allow.reason))
            .collect();
        insta::assert_snapshot!(allows.join("\n"), @r#"
        1 about 4: "placebo" "wanted"
        2 about 4: "dangerous" "too"
        6 about 6: "shadowed" ""
        "#);
    }

    #[test]
    fn a_line_that_systemd_gives_up_at() {
        let long = "x".repeat(LONG_LINE);
        let file = parse("x.conf", &format!("a.b = 1\n# {long}\na.c = 2\n"));
        assert_eq!(file.settings.len(), 1);
        insta::assert_snapshot!(file.unread.unwrap(), @"x.conf:2: expected a line of less than 1 MiB: systemd-sysctl reads no further");
        let file = parse("x.conf", &"*.a = 1\n".repeat(2000));
        assert!(file.unread.is_some() && file.settings.len() < 1100);
        let file = parse("x.conf", &"\n".repeat(100_001));
        assert!(file.unread.is_some());
    }

    #[test]
    fn the_kernels_command_line() {
        let text = "quiet sysctl.net.core.somaxconn=9 sysctl.net.ipv4.tcp_rmem=\"4096 1 2\" \"sysctl.a/b.c=x y\" sysctl.d \
                    sysctl.e= notsysctl.f=1 sysctl=1 -- sysctl.g=1";
        let file = command_line("kernel command line", text);
        let settings: Vec<_> = file.settings.iter().map(|s| (&*s.key, s.value.as_deref())).collect();
        assert_eq!(
            settings,
            [
                ("net.core.somaxconn", Some("9")),
                ("net.ipv4.tcp_rmem", Some("4096 1 2")),
                ("a.b.c", Some("x y")),
                ("e", Some("")),
            ]
        );
        assert_eq!(file.strays.len(), 1);
        for setting in &file.settings {
            assert_eq!(file.line_with(setting.value_at, setting.value.as_ref().unwrap()), text);
        }
    }

    /// Spans that lie within their line, and values that stand where they are said to.
    fn check(file: &File) {
        let lies = |at: Span| {
            let length = file.line(at.line).chars().count() as u32;
            assert!(at.column >= 1 && at.column <= at.end && at.end <= length + 1, "{at:?} of {length}");
        };
        for setting in &file.settings {
            lies(setting.at);
            lies(setting.value_at);
            assert!(!setting.key.is_empty());
            let value = setting.value.as_deref().unwrap_or_default();
            assert_eq!(file.line_with(setting.value_at, value), file.line(setting.value_at.line));
        }
        for command in &file.commands {
            lies(command.at);
            command.words.iter().for_each(|word| lies(word.at));
        }
        file.strays.iter().for_each(|stray| lies(stray.at));
        file.allows.iter().for_each(|allow| lies(allow.at));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn any_text(text in "\\PC{0,200}") {
            check(&parse("x.conf", &text));
            check(&command_line("x", &text));
        }

        #[test]
        fn text_like_it(text in "([-#; \t\r\n\"=*\\[/.]|a|é|\u{a0}|net\\.|tcproof: allow |sysctl[ .]|1){0,40}") {
            check(&parse("x.conf", &text));
            check(&command_line("x", text.lines().next().unwrap_or_default()));
        }
    }
}
