//! What commands set: `sysctl -w`, `echo … > /proc/sys/…`, lines for sysctl.d, `docker run --sysctl`.

use tcproof_core::lint::{Command, File, Place, Setting, Span};

use super::pattern::is_pattern;
use super::shell::{self, Dialect, Letter, Redirect, Simple, Word};
use super::sysctl::canonical;

/// Scripts in words of scripts (`sh -c "su -c '…'"`), at most.
const MAX_DEPTH: u32 = 8;

/// Commands that are kept whole: rules know their words.
const KEPT: &[&str] = &["sysctl", "ethtool", "ip"];

/// Programs that make containers, all with Docker's options.
const CONTAINERS: &[&str] = &["docker", "podman", "nerdctl"];

const SHELLS: &[&str] = &["sh", "bash", "dash", "ash", "ksh", "zsh", "busybox"];

/// Programs that run what stands behind them, and those of their options that take a value.
const WRAPPERS: &[(&str, &[&str])] = &[
    ("chroot", &["--userspec"]),
    ("chrt", &[]),
    ("command", &[]),
    ("doas", &["-u", "-C"]),
    ("env", &["-u", "-C", "-S"]),
    ("exec", &["-a"]),
    ("ionice", &["-c", "-n", "-p"]),
    ("nice", &["-n"]),
    ("nohup", &[]),
    ("nsenter", &["-t", "--target", "-S", "-G"]),
    ("setsid", &[]),
    ("stdbuf", &["-i", "-o", "-e"]),
    ("sudo", &["-u", "-g", "-h", "-p", "-C", "-T", "-U", "-D", "-R", "-r", "-t"]),
    ("time", &["-f", "-o"]),
    ("timeout", &["-s", "-k"]),
    ("unshare", &[]),
];

/// What the settings of commands belong to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    pub(super) place: Place,
    pub(super) group: u32,
}

/// Reads commands into a file.
pub(super) struct Reader<'a> {
    pub(super) file: &'a mut File,
    /// How many groups there are.
    pub(super) groups: u32,
    /// Where prose may stand between commands: only what can be nothing else is one.
    pub(super) is_prose: bool,
}

impl Reader<'_> {
    /// A group that nothing belongs to yet.
    pub(super) fn new_group(&mut self) -> u32 {
        self.groups += 1;
        self.groups
    }

    /// Reads a text of commands. Answers the quote or bracket that nothing closes.
    pub(super) fn text(&mut self, letters: &[Letter], dialect: Dialect, scope: Scope) -> Option<Letter> {
        self.text_within(letters, dialect, scope, 0)
    }

    /// Reads one command that is given as words.
    pub(super) fn words(&mut self, words: Vec<Word>, scope: Scope) {
        let simple = Simple { words, ..Simple::default() };
        self.simple(&[simple], &[], 0, scope, 0);
    }

    fn text_within(&mut self, letters: &[Letter], dialect: Dialect, scope: Scope, depth: u32) -> Option<Letter> {
        if depth > MAX_DEPTH {
            return None;
        }
        let found = shell::commands(letters, dialect);
        let before = self.groups;
        self.groups += found.branches;
        for (index, simple) in found.commands.iter().enumerate() {
            // What may run instead of something else, or not at all, neither shadows nor goes with the rest.
            let group = if simple.branch == 0 { scope.group } else { before + simple.branch };
            self.simple(&found.commands, &found.bodies, index, Scope { group, ..scope }, depth);
        }
        found.unclosed
    }

    fn simple(&mut self, all: &[Simple], bodies: &[shell::Body], index: usize, scope: Scope, depth: u32) {
        let simple = &all[index];
        let body = simple.redirects.iter().find_map(|redirect| match redirect {
            Redirect::Here(number) => bodies.get(*number),
            Redirect::To(_) => None,
        });
        let (words, is_inside) = program(&simple.words);
        let namespace = Place::Process { host_network: false, is_privileged: true };
        let scope = if is_inside { Scope { place: namespace, ..scope } } else { scope };
        let name = words.first().filter(|word| word.is_literal).map(Word::text).unwrap_or_default();
        let name = name.rsplit('/').next().unwrap_or_default();
        match name {
            _ if KEPT.contains(&name) && (is_meant(name, words) || !self.is_prose) => {
                self.file.commands.push(command(words));
                if name == "sysctl" {
                    self.sysctl(&words[1..], scope);
                }
            }
            _ if CONTAINERS.contains(&name) => self.container(words),
            _ if SHELLS.contains(&name) || name == "su" || name == "eval" || words.is_empty() => {
                let script = script(name, words).map(|word| &word.letters);
                if let Some(script) = script.or(body.map(|body| &body.letters)) {
                    self.text_within(script, Dialect::Shell, scope, depth + 1);
                }
            }
            "ssh" => {
                if let Some(body) = body {
                    self.text_within(&body.letters, Dialect::Shell, scope, depth + 1);
                }
                // The last words are the remote command; a quoted one is a whole script.
                if let Some(last) = words.get(2..).and_then(<[Word]>::last).filter(|last| has_blank(last)) {
                    self.text_within(&last.letters, Dialect::Shell, scope, depth + 1);
                }
            }
            "tee" => {
                let fed = simple.fed_by.and_then(|feeder| all.get(feeder));
                let content = match body {
                    Some(body) => Some((body.letters.clone(), body.is_literal)),
                    None => fed.and_then(|feeder| content(feeder, bodies)),
                };
                let files = words[1..].iter().filter(|word| !word.starts_with("-"));
                self.write(content, files.chain(targets(simple)), scope);
            }
            "echo" | "printf" | "cat" => self.write(content(simple, bodies), targets(simple), scope),
            _ => {}
        }
    }

    /// `sysctl` with its words.
    fn sysctl(&mut self, words: &[Word], scope: Scope) {
        let loads = |word: &Word| {
            ["-p", "-f", "-a", "-A", "-X", "--system", "--load", "--all"].iter().any(|it| word.starts_with(it))
        };
        if words.iter().any(loads) {
            return;
        }
        for word in words.iter().filter(|word| word.is_literal && !word.starts_with("-")) {
            self.assignment(&word.letters, scope);
        }
    }

    /// `key = value`. Where that is not what stands there, nothing is set.
    pub(super) fn assignment(&mut self, letters: &[Letter], scope: Scope) {
        let Some(equals) = letters.iter().position(|letter| letter.c == '=') else { return };
        let (key, value) = (shell::trim(&letters[..equals]), shell::trim(&letters[equals + 1..]));
        self.file.settings.extend(setting(key, value, scope));
    }

    /// `docker run` and `docker create` with their words.
    fn container(&mut self, words: &[Word]) {
        let mut rest = words.iter().enumerate().skip(1).filter(|(_, word)| !word.starts_with("-"));
        let verb = match rest.next() {
            Some((_, word)) if word.is("container") => rest.next(),
            verb => verb,
        };
        let Some((start, _)) = verb.filter(|(_, word)| word.is("run") || word.is("create")) else { return };
        self.file.commands.push(command(words));
        let options = &words[start + 1..];
        let is_host = |value: &[Letter]| shell::text(value) == "host";
        let host_network = ["--network", "--net"].iter().any(|name| values(options, name).any(is_host));
        let group = self.new_group();
        let inside = Scope { place: Place::Container { host_network }, group };
        for value in values(options, "--sysctl") {
            self.assignment(value, inside);
        }
        for value in values(options, "--ulimit") {
            let Some(equals) = value.iter().position(|letter| letter.c == '=') else { continue };
            let (name, limit) = (&value[..equals], &value[equals + 1..]);
            if shell::text(name) == "nofile" {
                self.file.settings.extend(limit_setting(name, limit, group));
            }
        }
        // A command in it that sets sysctls: `docker run --privileged alpine sysctl -w …`.
        if let Some(inner) = options.iter().position(|word| word.is("sysctl")) {
            self.file.commands.push(command(&options[inner..]));
            let is_privileged = options[..inner].iter().any(|word| word.is("--privileged"));
            let place = Place::Process { host_network, is_privileged };
            self.sysctl(&options[inner + 1..], Scope { group, place });
        }
    }

    /// What a command writes into files: values below `/proc/sys`, lines for sysctl.
    fn write<'w>(
        &mut self,
        content: Option<(Vec<Letter>, bool)>,
        targets: impl Iterator<Item = &'w Word>,
        scope: Scope,
    ) {
        let Some((letters, is_literal)) = content else { return };
        for target in targets.filter(|target| target.is_literal) {
            let path = target.text();
            if path.starts_with("/proc/sys/") {
                let key = target.letters.get("/proc/sys/".len()..).unwrap_or_default();
                if is_literal {
                    self.file.settings.extend(setting(key, shell::trim(&letters), scope));
                }
            } else if path.ends_with("/sysctl.conf") || path.contains("/sysctl.d/") {
                self.lines(&letters, is_literal, scope);
            }
        }
    }

    /// Lines as sysctl.conf has them.
    fn lines(&mut self, letters: &[Letter], is_literal: bool, scope: Scope) {
        for line in letters.split(|letter| letter.c == '\n').map(shell::trim) {
            let is_known = is_literal || !line.iter().any(|letter| matches!(letter.c, '$' | '`'));
            match line.first().map(|letter| letter.c) {
                None | Some('#' | ';') => {}
                Some('-') if is_known => {
                    let before = self.file.settings.len();
                    self.assignment(&line[1..], scope);
                    for setting in &mut self.file.settings[before..] {
                        setting.is_lenient = true;
                    }
                }
                Some(_) if is_known => self.assignment(line, scope),
                Some(_) => {}
            }
        }
    }
}

/// A setting of a key and a value that stand there; `None` where they are none, or not of one line each.
pub(super) fn setting(key: &[Letter], value: &[Letter], scope: Scope) -> Option<Setting> {
    let text = shell::text(key);
    // A pattern's keys are those of the machine that runs the command.
    let is_key = text.contains(['.', '/'])
        && !is_pattern(&text)
        && !text.contains(|c: char| c.is_whitespace() || "{}".contains(c));
    let key_at = shell::span(key).filter(|_| is_key)?;
    let value_at = shell::span(value)?;
    let key = canonical(&text);
    Some(Setting {
        at: around(key_at, value_at),
        value_at,
        keys: vec![key.clone()],
        key,
        is_pattern: false,
        value: Some(shell::text(value)),
        is_lenient: false,
        place: scope.place,
        group: scope.group,
    })
}

/// A limit of open files of a service's processes.
pub(super) fn limit_setting(key: &[Letter], value: &[Letter], group: u32) -> Option<Setting> {
    let (key_at, value_at) = (shell::span(key)?, shell::span(value)?);
    Some(Setting {
        at: around(key_at, value_at),
        value_at,
        key: "LimitNOFILE".into(),
        keys: vec!["LimitNOFILE".into()],
        is_pattern: false,
        value: Some(shell::text(value)),
        is_lenient: false,
        place: Place::Service,
        group,
    })
}

/// From the one to the other; the key alone where the value stands in another line.
fn around(key: Span, value: Span) -> Span {
    if key.line == value.line {
        Span { line: key.line, column: key.column.min(value.column), end: key.end.max(value.end) }
    } else {
        key
    }
}

/// The words from the program on that is run in the end, and whether it runs in a network namespace of its own.
fn program(words: &[Word]) -> (&[Word], bool) {
    let mut rest = words;
    let mut is_inside = false;
    while let Some(first) = rest.first() {
        let text = first.text();
        let name = text.rsplit('/').next().unwrap_or_default();
        if text.starts_with(['$', '-']) || is_variable(&text) {
            // A prompt in notes, `$SUDO`; options of a Dockerfile's RUN; `A=b command`.
            rest = &rest[1..];
        } else if name == "ip"
            && rest.get(1).is_some_and(|it| it.is("netns"))
            && rest.get(2).is_some_and(|it| it.is("exec"))
        {
            is_inside = true;
            rest = rest.get(4..).unwrap_or_default();
        } else if let Some((_, valued)) = WRAPPERS.iter().find(|(wrapper, _)| *wrapper == name) {
            is_inside |= matches!(name, "nsenter" | "unshare");
            rest = &rest[1..];
            while let Some(option) = rest.first().map(Word::text).filter(|text| text.starts_with('-')) {
                let takes = 1 + usize::from(valued.contains(&&*option));
                rest = rest.get(takes..).unwrap_or_default();
            }
            // `timeout 5s`, `chroot /new`, `chrt 10`: one more word before the program.
            if matches!(name, "timeout" | "chroot" | "chrt") {
                rest = rest.get(1..).unwrap_or_default();
            }
        } else {
            break;
        }
    }
    (rest, is_inside)
}

/// `NAME=…`, which sets a variable for the command behind it.
fn is_variable(text: &str) -> bool {
    let name = text.split_once('=').map_or("", |(name, _)| name);
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether it can be nothing but that command, and no sentence about it.
fn is_meant(name: &str, words: &[Word]) -> bool {
    let Some(second) = words.get(1) else { return false };
    second.starts_with("-")
        || (name == "sysctl" && second.letters.iter().any(|letter| letter.c == '='))
        || (name == "ip" && ["link", "route", "netns", "tcp_metrics"].iter().any(|object| second.is(object)))
}

/// The script that a shell is given with `-c`.
fn script<'w>(name: &str, words: &'w [Word]) -> Option<&'w Word> {
    if name == "eval" {
        return words.get(1);
    }
    let is_c = |word: &Word| {
        let text = word.text();
        text.starts_with('-') && !text.starts_with("--") && text.ends_with('c')
    };
    let option = words.iter().position(is_c)?;
    words.get(option + 1)
}

fn has_blank(word: &Word) -> bool {
    word.letters.iter().any(|letter| letter.c.is_whitespace())
}

/// The literal values of an option: `--name value` and `--name=value`.
fn values<'w>(words: &'w [Word], name: &str) -> impl Iterator<Item = &'w [Letter]> {
    let joined = format!("{name}=");
    let length = joined.chars().count();
    let name = name.to_owned();
    words.iter().enumerate().filter_map(move |(index, word)| {
        let value =
            if word.is(&name) { words.get(index + 1) } else { Some(word).filter(|word| word.starts_with(&joined)) };
        let value = value.filter(|value| value.is_literal)?;
        Some(&value.letters[if word.is(&name) { 0 } else { length }..])
    })
}

/// What a command prints, and whether that is known to the letter.
fn content(simple: &Simple, bodies: &[shell::Body]) -> Option<(Vec<Letter>, bool)> {
    let (words, _) = program(&simple.words);
    let (first, rest) = words.split_first()?;
    if first.is("cat") {
        let mut bodies = simple.redirects.iter().filter_map(|redirect| match redirect {
            Redirect::Here(number) => bodies.get(*number),
            Redirect::To(_) => None,
        });
        return bodies.next_back().map(|body| (body.letters.clone(), body.is_literal));
    }
    if !first.is("echo") && !first.is("printf") {
        return None;
    }
    let options = rest.iter().take_while(|word| ["-n", "-e", "-E", "-ne", "-en"].iter().any(|it| word.is(it))).count();
    let mut letters: Vec<Letter> = Vec::new();
    for word in &rest[options..] {
        if let Some(last) = letters.last().copied() {
            letters.push(Letter { c: ' ', column: last.column + 1, ..last });
        }
        letters.extend(&word.letters);
    }
    if first.is("printf") || options > 0 {
        // The line end that is written out at the end is the only escape that is worth knowing.
        if let [.., Letter { c: '\\', .. }, Letter { c: 'n', .. }] = letters[..] {
            letters.truncate(letters.len() - 2);
        }
        if letters.iter().any(|letter| matches!(letter.c, '\\' | '%')) {
            return None;
        }
    }
    Some((letters, rest.iter().all(|word| word.is_literal)))
}

/// The files that a command's output goes to.
fn targets(simple: &Simple) -> impl Iterator<Item = &Word> {
    simple.redirects.iter().filter_map(|redirect| match redirect {
        Redirect::To(file) => Some(file),
        Redirect::Here(_) => None,
    })
}

/// A command as rules see it: the program without its folder.
fn command(words: &[Word]) -> Command {
    let mut kept: Vec<_> =
        words.iter().map(|word| tcproof_core::lint::Word { at: word.at, text: word.text() }).collect();
    if let (Some(first), Some(word)) = (kept.first_mut(), words.first()) {
        let folder = word.letters.iter().rposition(|letter| letter.c == '/').map_or(0, |slash| slash + 1);
        first.text = shell::text(&word.letters[folder..]);
        first.at = shell::span(&word.letters[folder..]).unwrap_or(word.at);
    }
    let start = kept.first().map_or(Span::default(), |word| word.at);
    let end = kept.iter().filter(|word| word.at.line == start.line).map(|word| word.at.end).max();
    Command { at: Span { end: end.unwrap_or(start.end), ..start }, words: kept }
}

/// What a file came to, for tests; checks that every place lies in its line.
#[cfg(test)]
pub(super) fn shown(file: &File) -> String {
    use std::fmt::Write;

    let check = |at: Span| {
        let length = u32::try_from(file.line(at.line).chars().count()).unwrap();
        assert!(1 <= at.column && at.column <= at.end && at.end <= length + 1, "{at:?} of {length} columns");
        assert!(at.line as usize <= file.text.lines().count(), "{at:?}");
    };
    let mut out = String::new();
    for setting in &file.settings {
        check(setting.at);
        check(setting.value_at);
        let value = setting.value.as_deref().unwrap_or_default();
        let part = |at: Span| -> String {
            file.line(at.line).chars().skip(at.column as usize - 1).take((at.end - at.column) as usize).collect()
        };
        assert_eq!(file.line_with(setting.value_at, &part(setting.value_at)), file.line(setting.value_at.line));
        let place = match setting.place {
            Place::Host => "host",
            Place::Pod { host_network: false } => "pod",
            Place::Pod { host_network: true } => "host-pod",
            Place::Container { host_network: false } => "container",
            Place::Container { host_network: true } => "host-container",
            Place::Process { host_network: false, is_privileged: false } => "process",
            Place::Process { host_network: false, is_privileged: true } => "privileged-process",
            Place::Process { host_network: true, is_privileged: false } => "host-process",
            Place::Process { host_network: true, is_privileged: true } => "privileged-host-process",
            Place::Service => "service",
        };
        let (line, group) = (setting.at.line, setting.group);
        write!(out, "{line}: {} = {value:?} {place} {group}", setting.key).unwrap();
        let written = part(setting.value_at);
        if written != value {
            write!(out, " written {written:?}").unwrap();
        }
        if setting.value_at.line != line {
            write!(out, " in {}", setting.value_at.line).unwrap();
        }
        writeln!(out, " [{}]", part(setting.at)).unwrap();
    }
    for command in &file.commands {
        check(command.at);
        command.words.iter().for_each(|word| check(word.at));
        let words: Vec<_> = command.words.iter().map(|word| &*word.text).collect();
        writeln!(out, "{}: $ {}", command.at.line, words.join("·")).unwrap();
    }
    for stray in &file.strays {
        check(stray.at);
        writeln!(out, "{}: expected {}", stray.at.line, stray.expected).unwrap();
    }
    if let Some(why) = &file.unread {
        writeln!(out, "unread: {why}").unwrap();
    }
    out
}
