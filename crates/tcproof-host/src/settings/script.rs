//! Commands in shell scripts, Dockerfiles, notes: `sysctl`, `ethtool`, `docker run --sysctl`.

use std::path::Path;

use tcproof_core::Absent;
use tcproof_core::lint::{File, Format, Place};

use super::allow::{self, Comments};
use super::command::{Reader, Scope};
use super::shell::{self, Dialect, Letter, Word};

/// Files in which sentences stand between the commands.
pub(super) const PROSE: &[&str] = &["adoc", "htm", "html", "markdown", "md", "org", "rst", "txt"];

/// Reads one.
pub(super) fn parse(path: &str, text: &str) -> File {
    let mut file = File {
        path: path.into(),
        format: Format::Script,
        text: text.into(),
        allows: allow::over_continued_lines(allow::allows(text, Comments::Anywhere), text),
        ..File::default()
    };
    let letters = shell::letters(text);
    let extension = Path::new(path).extension().and_then(|it| it.to_str()).unwrap_or_default().to_ascii_lowercase();
    let host = Scope { place: Place::Host, group: 0 };
    let mut reader = Reader { file: &mut file, groups: 0, is_prose: PROSE.contains(&&*extension) };
    if is_dockerfile(path, &extension) {
        dockerfile(&mut reader, &letters);
    } else if reader.is_prose {
        // An apostrophe opens nothing there: each line stands for itself.
        for line in logical_lines(&letters) {
            reader.text(line, Dialect::Shell, host);
        }
    } else if let Some(open) = reader.text(&letters, Dialect::Shell, host) {
        file.unread = Some(Absent::Unparsable {
            place: format!("{path}:{}:{}", open.line, open.column),
            expected: format!("something that closes the {} there", open.c),
        });
    }
    file
}

fn is_dockerfile(path: &str, extension: &str) -> bool {
    let name = Path::new(path).file_name().and_then(|it| it.to_str()).unwrap_or_default();
    extension == "dockerfile" || ["Dockerfile", "Containerfile"].iter().any(|it| name.starts_with(it))
}

/// Lines, with those that they go on in behind a `\`.
fn logical_lines(letters: &[Letter]) -> impl Iterator<Item = &[Letter]> {
    let mut before = [None; 2];
    letters.split_inclusive(move |letter| {
        let is_continued = before == [Some('\\'), Some('\r')] || before[1] == Some('\\');
        before = [before[1], Some(letter.c)];
        letter.c == '\n' && !is_continued
    })
}

/// The commands of a Dockerfile. What is no command is left out, and comments between continued lines, too.
fn dockerfile(reader: &mut Reader<'_>, letters: &[Letter]) {
    let inside = Scope { place: Place::Process { host_network: false, is_privileged: false }, group: 0 };
    let mut lines = letters.split_inclusive(|letter| letter.c == '\n');
    while let Some(first) = lines.next() {
        let mut instruction = first.to_vec();
        while ends_with_backslash(&instruction) || instruction_is_comment(&instruction) {
            let Some(next) = lines.next() else { break };
            if instruction_is_comment(&instruction) {
                instruction.clear();
            }
            if !instruction_is_comment(next) {
                instruction.extend(next);
            }
        }
        let instruction = shell::trim(&instruction);
        let name = instruction.iter().position(|letter| letter.c.is_whitespace()).unwrap_or(instruction.len());
        let rest = shell::trim(&instruction[name..]);
        match shell::text(&instruction[..name]).to_ascii_uppercase().as_str() {
            "RUN" | "CMD" | "ENTRYPOINT" | "ONBUILD" | "HEALTHCHECK" => {}
            _ => continue,
        }
        let rest = match shell::text(rest).split_whitespace().next() {
            Some("RUN" | "CMD") => rest.get(3..).unwrap_or_default(),
            _ => rest,
        };
        let mut rest = shell::trim(rest).to_vec();
        // RUN <<EOF: its body is the script.
        if let Some(delimiter) = here_delimiter(&rest) {
            rest.push(Letter { c: '\n', line: 0, column: 0 });
            for line in lines.by_ref() {
                rest.extend(line);
                if shell::text(shell::trim(line)) == delimiter {
                    break;
                }
            }
        }
        match exec_form(&rest) {
            Some(words) => reader.words(words, inside),
            None => {
                reader.text(&rest, Dialect::Shell, inside);
            }
        }
    }
}

fn ends_with_backslash(line: &[Letter]) -> bool {
    shell::trim(line).last().is_some_and(|letter| letter.c == '\\') && line.last().is_some_and(|it| it.c == '\n')
}

fn instruction_is_comment(line: &[Letter]) -> bool {
    shell::trim(line).first().is_some_and(|letter| letter.c == '#')
}

/// The delimiter of the here-document that a line opens.
fn here_delimiter(line: &[Letter]) -> Option<String> {
    let text = shell::text(line);
    let (_, behind) = text.split_once("<<")?;
    let word = behind.trim_start_matches('-').split_whitespace().next()?;
    let word = word.trim_matches(['"', '\'']);
    word.starts_with(|c: char| c.is_alphabetic() || c == '_').then(|| word.into())
}

/// `["program", "word"]`: the words of a list of strings.
pub(super) fn exec_form(letters: &[Letter]) -> Option<Vec<Word>> {
    let mut rest = shell::trim(letters).iter().copied();
    if rest.next()?.c != '[' {
        return None;
    }
    let mut words = Vec::new();
    let mut word: Option<Vec<Letter>> = None;
    while let Some(letter) = rest.next() {
        match (letter.c, &mut word) {
            ('"', Some(_)) => words.extend(word.take().map(Word::literal)),
            ('"', None) => word = Some(Vec::new()),
            ('\\', Some(open)) => {
                let escaped = rest.next()?;
                let c = match escaped.c {
                    'n' => '\n',
                    't' => '\t',
                    c => c,
                };
                open.push(Letter { c, ..escaped });
            }
            (_, Some(open)) => open.push(letter),
            (']', None) => return rest.all(|letter| letter.c.is_whitespace()).then_some(words),
            (c, None) if c == ',' || c.is_whitespace() || c == '\\' => {}
            (_, None) => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests;
