//! Shell text taken apart into simple commands, each character with its place in the file. Not a shell: it knows
//! quotes, expansions, separators, redirections and here-documents, and guesses nothing that only running would tell.

use tcproof_core::lint::Span;

/// Substitutions and subshells inside each other; deeper ones are read as if they stood side by side.
const MAX_DEPTH: u32 = 32;

/// A character and where it stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) c: char,
    pub(super) line: u32,
    pub(super) column: u32,
}

/// Whose quoting it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// A shell's.
    Shell,
    /// That of a unit's `Exec…=`: words and quotes only, `$` and `%` stand for something.
    Systemd,
}

/// A word without its quotes.
#[derive(Clone, Debug, Default)]
pub(super) struct Word {
    pub(super) letters: Vec<Letter>,
    /// Nothing in it stands for something else.
    pub(super) is_literal: bool,
    /// With its quotes, as far as its first line goes.
    pub(super) at: Span,
}

/// One command: words up to a separator.
#[derive(Clone, Debug, Default)]
pub(super) struct Simple {
    pub(super) words: Vec<Word>,
    pub(super) redirects: Vec<Redirect>,
    /// The command whose output it reads.
    pub(super) fed_by: Option<usize>,
    /// Which branch it stands in, of those that may run or not; 0 outside of them.
    pub(super) branch: u32,
}

/// A redirection of standard input or output.
#[derive(Clone, Debug)]
pub(super) enum Redirect {
    /// `>`, `>>`: to a file.
    To(Word),
    /// `<<`: from the text's here-document of that number.
    Here(usize),
}

/// A here-document.
#[derive(Clone, Debug, Default)]
pub(super) struct Body {
    pub(super) letters: Vec<Letter>,
    /// Its delimiter is quoted: the shell expands nothing in it.
    pub(super) is_literal: bool,
}

/// What a text holds.
#[derive(Debug, Default)]
pub(super) struct Commands {
    pub(super) commands: Vec<Simple>,
    pub(super) bodies: Vec<Body>,
    /// How many branches there are.
    pub(super) branches: u32,
    /// A quote or bracket that nothing closes, and where it stands.
    pub(super) unclosed: Option<Letter>,
}

/// The characters of a text. `\r` and `\n` are among them.
pub(super) fn letters(text: &str) -> Vec<Letter> {
    let (mut line, mut column) = (1, 1);
    let mut letters = Vec::with_capacity(text.len());
    for c in text.chars() {
        letters.push(Letter { c, line, column });
        column += 1;
        if c == '\n' {
            (line, column) = (line + 1, 1);
        }
    }
    letters
}

/// Where letters stand; `None` for none, or for those of several lines.
pub(super) fn span(letters: &[Letter]) -> Option<Span> {
    let (first, last) = (letters.first()?, letters.last()?);
    (first.line == last.line).then_some(Span { line: first.line, column: first.column, end: last.column + 1 })
}

/// The text of letters.
pub(super) fn text(letters: &[Letter]) -> String {
    letters.iter().map(|letter| letter.c).collect()
}

/// Letters without the white space around them.
pub(super) fn trim(letters: &[Letter]) -> &[Letter] {
    let is_text = |letter: &Letter| !letter.c.is_whitespace();
    let Some(start) = letters.iter().position(is_text) else { return &[] };
    let end = letters.iter().rposition(is_text).map_or(start, |last| last + 1);
    &letters[start..end]
}

impl Word {
    /// A word of letters that stand as they are.
    pub(super) fn literal(letters: Vec<Letter>) -> Self {
        let at = span(&letters).unwrap_or_default();
        Self { letters, is_literal: true, at }
    }

    /// Its text.
    pub(super) fn text(&self) -> String {
        text(&self.letters)
    }

    /// Whether it is exactly that text.
    pub(super) fn is(&self, text: &str) -> bool {
        self.letters.iter().map(|letter| letter.c).eq(text.chars())
    }

    /// Whether it begins with that text.
    pub(super) fn starts_with(&self, text: &str) -> bool {
        let mut letters = self.letters.iter();
        text.chars().all(|c| letters.next().is_some_and(|letter| letter.c == c))
    }
}

/// Takes a text apart.
pub(super) fn commands(letters: &[Letter], dialect: Dialect) -> Commands {
    let mut lexer = Lexer { letters, next: 0, dialect, waiting: Vec::new(), nesting: 0, found: Commands::default() };
    lexer.list(None, 0);
    lexer.found
}

struct Lexer<'a> {
    letters: &'a [Letter],
    next: usize,
    dialect: Dialect,
    /// Here-documents that begin behind this line: the body's number, the delimiter, whether tabs before it go.
    waiting: Vec<(usize, String, bool)>,
    /// How many `if`, loops, functions it is in.
    nesting: u32,
    found: Commands,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.ahead(0)
    }

    fn ahead(&self, by: usize) -> Option<char> {
        self.letters.get(self.next + by).map(|letter| letter.c)
    }

    fn take(&mut self) -> Option<Letter> {
        let letter = self.letters.get(self.next).copied();
        self.next += usize::from(letter.is_some());
        letter
    }

    /// Goes over a text that stands here.
    fn skip(&mut self, text: &str) -> bool {
        let is_here = text.chars().enumerate().all(|(by, c)| self.ahead(by) == Some(c));
        if is_here {
            self.next += text.chars().count();
        }
        is_here
    }

    fn is_shell(&self) -> bool {
        self.dialect == Dialect::Shell
    }

    /// Nothing closed what opened there, up to the end of the text.
    fn unclosed(&mut self, opened: Option<Letter>) {
        self.found.unclosed = self.found.unclosed.or(opened);
    }

    /// Commands up to a closing character.
    fn list(&mut self, close: Option<char>, depth: u32) {
        let opened = self.next.checked_sub(1).and_then(|before| self.letters.get(before)).copied();
        let mut current = Simple::default();
        loop {
            self.skip_blanks();
            let Some(c) = self.peek() else {
                if close.is_some() {
                    self.unclosed(opened);
                }
                self.finish(&mut current);
                return;
            };
            match c {
                _ if close == Some(c) => {
                    self.next += 1;
                    self.finish(&mut current);
                    return;
                }
                '\n' => {
                    self.next += 1;
                    self.finish(&mut current);
                    self.read_bodies();
                }
                '#' if self.is_shell() => self.skip_line(),
                '|' if self.is_shell() && self.ahead(1) != Some('|') => {
                    self.next += 1;
                    self.skip("&");
                    let fed_by = self.finish(&mut current);
                    current.fed_by = fed_by;
                }
                '&' if self.is_shell() && self.ahead(1) == Some('>') => {
                    self.next += 1;
                    self.redirect(&mut current, false, close, depth);
                }
                ';' | '&' | '|' | ')' if self.is_shell() => {
                    self.finish(&mut current);
                    if self.skip("||") || self.skip(";;") {
                        self.found.branches += 1;
                    } else {
                        self.next += 1;
                    }
                    // What follows `||` runs instead of what stands before it.
                    if c == '|' {
                        current.branch = self.found.branches;
                    }
                }
                '(' if self.is_shell() => {
                    self.next += 1;
                    self.finish(&mut current);
                    if self.skip("(") {
                        self.skip_arithmetic();
                    } else if depth < MAX_DEPTH {
                        self.list(Some(')'), depth + 1);
                    }
                }
                '<' | '>' if self.is_shell() => self.redirect(&mut current, true, close, depth),
                _ => {
                    let word = self.word(close, depth);
                    let is_number = !word.letters.is_empty() && word.letters.iter().all(|it| it.c.is_ascii_digit());
                    // A digit that stands right before it is the descriptor: only standard output matters.
                    if self.is_shell() && is_number && matches!(self.peek(), Some('<' | '>')) {
                        self.redirect(&mut current, word.is("1"), close, depth);
                    } else if self.dialect == Dialect::Systemd && word.is(";") {
                        self.finish(&mut current);
                    } else {
                        current.words.push(word);
                    }
                }
            }
        }
    }

    /// Keeps a command, if there is one, and says at which place.
    fn finish(&mut self, current: &mut Simple) -> Option<usize> {
        let mut command = std::mem::take(current);
        if self.is_shell() {
            self.drop_keywords(&mut command.words);
        } else {
            drop_prefixes(&mut command.words);
        }
        if command.words.is_empty() && command.redirects.is_empty() {
            return None;
        }
        if self.nesting > 0 {
            command.branch = self.found.branches;
        }
        self.found.commands.push(command);
        Some(self.found.commands.len() - 1)
    }

    /// Takes the words of the grammar away from before a command, and counts branches by them.
    fn drop_keywords(&mut self, words: &mut Vec<Word>) {
        let mut dropped = 0;
        for word in &*words {
            // A quoted one is no keyword; its place tells, for it is longer than its text.
            if word.at.end - word.at.column != u32::try_from(word.letters.len()).unwrap_or(u32::MAX) {
                break;
            }
            match &*word.text() {
                "if" | "while" | "until" | "{" => self.nesting += 1,
                "for" | "case" | "select" => {
                    self.nesting += 1;
                    dropped = words.len();
                    break;
                }
                "function" => {
                    dropped = words.len();
                    self.nesting += u32::from(words.last().is_some_and(|word| word.is("{")));
                    break;
                }
                "then" | "elif" | "else" | "do" | "!" | "time" => {}
                "fi" | "done" | "esac" | "}" => self.nesting = self.nesting.saturating_sub(1),
                _ => break,
            }
            self.found.branches += 1;
            dropped += 1;
        }
        words.drain(..dropped.min(words.len()));
    }

    /// White space, and line ends behind a `\`.
    fn skip_blanks(&mut self) {
        while let Some(c) = self.peek() {
            if matches!(c, ' ' | '\t' | '\r') {
                self.next += 1;
            } else if !(self.skip("\\\n") || self.skip("\\\r\n")) {
                return;
            }
        }
    }

    fn skip_line(&mut self) {
        while self.peek().is_some_and(|c| c != '\n') {
            self.next += 1;
        }
    }

    /// Up to `))`.
    fn skip_arithmetic(&mut self) {
        let mut open = 2_u32;
        while open > 0 {
            match self.take().map(|letter| letter.c) {
                Some('(') => open = open.saturating_add(1),
                Some(')') => open -= 1,
                Some('\n') | None => return,
                Some(_) => {}
            }
        }
    }

    /// `>`, `<` and what belongs to them. `is_ours`: of standard output, not of another descriptor.
    fn redirect(&mut self, current: &mut Simple, is_ours: bool, close: Option<char>, depth: u32) {
        if (self.skip("<(") || self.skip(">(")) && depth < MAX_DEPTH {
            self.list(Some(')'), depth + 1);
            current.words.push(Word::default());
            return;
        }
        let is_here = self.peek() == Some('<') && self.ahead(1) == Some('<') && self.ahead(2) != Some('<');
        let is_out = self.peek() == Some('>') && self.ahead(1) != Some('&');
        while matches!(self.peek(), Some('<' | '>')) {
            self.next += 1;
        }
        let drops_tabs = is_here && self.skip("-");
        if !is_here {
            let _ = self.skip("&") || self.skip("|");
        }
        self.skip_blanks();
        if self.peek() == close || matches!(self.peek(), None | Some('\n' | ';' | '|' | '&' | '<' | '>' | '(' | ')')) {
            return;
        }
        let start = self.next;
        let target = self.word(close, depth);
        if is_here {
            let is_quoted = self.letters[start..self.next].iter().any(|it| matches!(it.c, '\'' | '"' | '\\'));
            current.redirects.push(Redirect::Here(self.found.bodies.len()));
            self.waiting.push((self.found.bodies.len(), target.text(), drops_tabs));
            self.found.bodies.push(Body { letters: Vec::new(), is_literal: is_quoted });
        } else if is_out && is_ours {
            current.redirects.push(Redirect::To(target));
        }
    }

    /// The here-documents of the line that just ended.
    fn read_bodies(&mut self) {
        for (number, delimiter, drops_tabs) in std::mem::take(&mut self.waiting) {
            let start = self.next;
            let mut end = start;
            while self.next < self.letters.len() {
                end = self.next;
                self.skip_line();
                let mut line = &self.letters[end..self.next];
                self.next += usize::from(self.next < self.letters.len());
                if let Some((Letter { c: '\r', .. }, rest)) = line.split_last() {
                    line = rest;
                }
                while let Some((Letter { c: '\t', .. }, rest)) = line.split_first().filter(|_| drops_tabs) {
                    line = rest;
                }
                if line.iter().map(|letter| letter.c).eq(delimiter.chars()) {
                    break;
                }
                end = self.next;
            }
            self.found.bodies[number].letters = self.letters[start..end].to_vec();
        }
    }

    /// A word.
    fn word(&mut self, close: Option<char>, depth: u32) -> Word {
        let start = self.next;
        let mut word = Word { is_literal: true, ..Word::default() };
        while let Some(c) = self.peek() {
            let is_separator = self.is_shell() && matches!(c, ';' | '&' | '|' | '<' | '>' | '(' | ')');
            if c == '\n' || c == ' ' || c == '\t' || c == '\r' || is_separator || close == Some(c) {
                break;
            }
            self.part(&mut word, depth);
        }
        word.at = self.span_from(start);
        word
    }

    /// Where the text from there to here stands, up to the end of its first line.
    fn span_from(&self, start: usize) -> Span {
        let whole = &self.letters[start..self.next];
        let Some(first) = whole.first() else { return Span::default() };
        let last = whole.iter().rev().find(|letter| letter.line == first.line && !matches!(letter.c, '\n' | '\r'));
        Span { line: first.line, column: first.column, end: last.map_or(first.column, |last| last.column + 1) }
    }

    /// The next part of a word: a quoted piece, an expansion, or one character.
    fn part(&mut self, word: &mut Word, depth: u32) {
        let Some(letter) = self.take() else { return };
        match letter.c {
            '\\' => {
                if !self.skip_line_end() {
                    word.letters.push(self.take().unwrap_or(letter));
                }
            }
            '\'' => loop {
                match self.take() {
                    None => return self.unclosed(Some(letter)),
                    Some(Letter { c: '\'', .. }) => return,
                    Some(inner) => word.letters.push(inner),
                }
            },
            '"' => self.double_quoted(letter, word, depth),
            _ => self.plain(letter, word, false, depth),
        }
    }

    fn skip_line_end(&mut self) -> bool {
        self.skip("\n") || self.skip("\r\n")
    }

    fn double_quoted(&mut self, opened: Letter, word: &mut Word, depth: u32) {
        loop {
            match self.take() {
                None => return self.unclosed(Some(opened)),
                Some(Letter { c: '"', .. }) => return,
                Some(letter) if letter.c == '\\' => {
                    if matches!(self.peek(), Some('$' | '`' | '"' | '\\')) {
                        word.letters.extend(self.take());
                    } else if !self.skip_line_end() {
                        word.letters.push(letter);
                    }
                }
                Some(letter) => self.plain(letter, word, true, depth),
            }
        }
    }

    /// A character that may stand for something else.
    fn plain(&mut self, letter: Letter, word: &mut Word, is_quoted: bool, depth: u32) {
        word.letters.push(letter);
        match (letter.c, self.dialect) {
            ('%' | '$', Dialect::Systemd) => {
                // Doubled, it is itself.
                if self.peek() == Some(letter.c) {
                    self.next += 1;
                } else {
                    word.is_literal = false;
                }
            }
            ('`', Dialect::Shell) => {
                let start = self.next;
                word.is_literal = false;
                if depth < MAX_DEPTH {
                    self.list(Some('`'), depth + 1);
                }
                word.letters.extend(&self.letters[start..self.next]);
            }
            ('$', Dialect::Shell) => self.expansion(letter, word, is_quoted, depth),
            _ => {}
        }
    }

    fn expansion(&mut self, dollar: Letter, word: &mut Word, is_quoted: bool, depth: u32) {
        match self.peek() {
            Some('(') => {
                let start = self.next;
                word.is_literal = false;
                self.next += 1;
                if self.skip("(") {
                    self.skip_arithmetic();
                } else if depth < MAX_DEPTH {
                    self.list(Some(')'), depth + 1);
                }
                word.letters.extend(&self.letters[start..self.next]);
            }
            Some('{') => {
                word.is_literal = false;
                let mut open = 0_u32;
                while let Some(letter) = self.take() {
                    word.letters.push(letter);
                    match letter.c {
                        '{' => open += 1,
                        '}' => open -= 1,
                        _ => {}
                    }
                    if open == 0 {
                        return;
                    }
                }
                self.unclosed(Some(dollar));
            }
            Some('\'') if !is_quoted => {
                // `$'…'`: escapes of C. Rare, and what they make of a value is not worth knowing.
                word.is_literal = false;
                self.next += 1;
                while let Some(letter) = self.take() {
                    match letter.c {
                        '\\' => drop(self.take()),
                        '\'' => return,
                        _ => word.letters.push(letter),
                    }
                }
                self.unclosed(Some(dollar));
            }
            Some(c) if c.is_alphanumeric() || "_@*#?-$!".contains(c) => word.is_literal = false,
            _ => {}
        }
    }
}

/// Takes away what systemd knows before a program: `-` and the like, and after `@` the name that the program is given.
fn drop_prefixes(words: &mut Vec<Word>) {
    let Some(first) = words.first_mut() else { return };
    let prefixes = first.letters.iter().take_while(|letter| "-@+!:|".contains(letter.c)).count();
    let is_named = first.letters.drain(..prefixes).any(|letter| letter.c == '@');
    first.at = span(&first.letters).unwrap_or(first.at);
    if is_named && words.len() > 1 {
        words.remove(1);
    }
}

#[cfg(test)]
mod tests;
