//! YAML documents as trees whose every scalar knows its place.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, Span, options};

use crate::settings::shell::{self, Letter, Word};

/// Collections inside each other, at most.
const MAX_DEPTH: usize = 100;
/// Nodes of a file, each alias counted as often as it stands for what it stands for.
const MAX_NODES: usize = 500_000;

/// A node and where it stands: characters of the text.
#[derive(Debug)]
pub(super) struct Node {
    kind: Kind,
    start: usize,
    end: usize,
    /// With all that is in it.
    size: usize,
}

#[derive(Debug)]
enum Kind {
    Scalar(String, ScalarStyle),
    List(Vec<Rc<Node>>),
    Map(Vec<(Rc<Node>, Rc<Node>)>),
}

/// What is wrong with a text, and where.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) expected: String,
}

/// All documents of a text that can be read, and what is wrong with the first that cannot.
pub(super) fn documents(text: &str) -> (Vec<Rc<Node>>, Option<Broken>) {
    let limits = options! { flow_nesting_limit: MAX_DEPTH, block_nesting_limit: MAX_DEPTH };
    let mut parser = Parser::new_from_str_with_options(text, limits);
    let (mut found, mut broken) = (Vec::new(), None);
    let mut builder = Builder::default();
    while let Some(next) = parser.next() {
        match next {
            Ok((event, span)) => {
                if let Err(expected) = builder.event(event, span, &mut found) {
                    broken.get_or_insert(Broken::at(span.start, expected));
                    break;
                }
            }
            Err(error) => {
                broken.get_or_insert(Broken::at(*error.marker(), format!("valid YAML: {}", error.info())));
                builder.open.clear();
                if !matches!(parser.proceed_next_document(), Ok(true)) {
                    break;
                }
            }
        }
    }
    (found, broken)
}

impl Broken {
    fn at(marker: granit_parser::Marker, expected: String) -> Self {
        Self { line: marker.line(), column: marker.col() + 1, expected }
    }
}

/// A collection whose end has not come yet.
struct Open {
    start: usize,
    anchor: usize,
    nodes: Vec<Rc<Node>>,
    is_map: bool,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Rc<Node>>,
    nodes: usize,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: Span, found: &mut Vec<Rc<Node>>) -> Result<(), String> {
        let (start, end) = (span.start.index(), span.end.index());
        let is_alias = matches!(event, Event::Alias(_));
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => {
                (Rc::new(Node { kind: Kind::Scalar(text.into_owned(), style), start, end, size: 1 }), anchor)
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).ok_or("an alias to something that has ended before it")?;
                (node.clone(), 0)
            }
            Event::SequenceStart(_, anchor, _) | Event::MappingStart(_, anchor, _) => {
                let is_map = matches!(event, Event::MappingStart(..));
                self.open.push(Open { start, anchor, nodes: Vec::new(), is_map });
                return Ok(());
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let anchor = open.anchor;
                (Rc::new(open.close(end)), anchor)
            }
            Event::DocumentStart(..) => {
                self.anchors.clear();
                return Ok(());
            }
            _ => return Ok(()),
        };
        // A collection's nodes are counted when they come, an alias's all at once.
        self.nodes = self.nodes.saturating_add(if is_alias { node.size } else { 1 });
        if self.nodes > MAX_NODES {
            return Err(format!("at most {MAX_NODES} nodes, with what aliases stand for"));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            Some(open) => open.nodes.push(node),
            None => found.push(node),
        }
        Ok(())
    }
}

impl Open {
    fn close(self, end: usize) -> Node {
        let size = self.nodes.iter().fold(1_usize, |sum, node| sum.saturating_add(node.size));
        let kind = if self.is_map {
            let mut nodes = self.nodes.into_iter();
            let mut entries = Vec::new();
            while let (Some(key), Some(value)) = (nodes.next(), nodes.next()) {
                entries.push((key, value));
            }
            Kind::Map(entries)
        } else {
            Kind::List(self.nodes)
        };
        Node { kind, start: self.start, end, size }
    }
}

impl Node {
    /// A scalar's text.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// Whether it is a scalar of that text.
    pub(super) fn is(&self, text: &str) -> bool {
        self.text() == Some(text)
    }

    /// Whether it says yes, as YAML 1.1 does and Ansible and Compose do.
    pub(super) fn is_true(&self) -> bool {
        self.text().is_some_and(|text| ["true", "yes", "on"].iter().any(|yes| text.eq_ignore_ascii_case(yes)))
    }

    /// A list's nodes; none of anything else.
    pub(super) fn items(&self) -> &[Rc<Self>] {
        match &self.kind {
            Kind::List(items) => items,
            _ => &[],
        }
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.kind, Kind::List(_))
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.kind, Kind::Map(_))
    }

    /// A mapping's entries, with those that `<<` merges into it.
    pub(super) fn entries(&self) -> Vec<(&Self, &Self)> {
        let mut entries = Vec::new();
        self.merge_into(&mut entries, &mut BTreeSet::new());
        entries
    }

    fn merge_into<'n>(&'n self, entries: &mut Vec<(&'n Self, &'n Self)>, seen: &mut BTreeSet<&'n str>) {
        let Kind::Map(own) = &self.kind else { return };
        let mut merged = Vec::new();
        for (key, value) in own {
            match key.text() {
                Some("<<") => merged.push(value),
                Some(text) if !seen.insert(text) => {}
                _ => entries.push((key, value)),
            }
        }
        for value in merged {
            value.merge_into(entries, seen);
            for item in value.items() {
                item.merge_into(entries, seen);
            }
        }
    }

    /// What a mapping has under a key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Kind::Map(own) = &self.kind else { return None };
        // Of keys that stand twice the last one counts, in all readers that do not refuse them.
        if let Some((_, value)) = own.iter().rev().find(|(name, _)| name.is(key)) {
            return Some(value);
        }
        let merged = own.iter().filter(|(name, _)| name.is("<<"));
        merged.flat_map(|(_, value)| std::iter::once(value).chain(value.items())).find_map(|value| value.get(key))
    }

    /// Everything right inside of it.
    pub(super) fn children(&self) -> Vec<&Self> {
        match &self.kind {
            Kind::Scalar(..) => Vec::new(),
            Kind::List(items) => items.iter().map(|item| &**item).collect(),
            Kind::Map(entries) => entries.iter().map(|(_, value)| &**value).collect(),
        }
    }

    /// A scalar's characters with their places, without quotes. `all` are those of the whole text.
    pub(super) fn letters(&self, all: &[Letter]) -> Vec<Letter> {
        let Kind::Scalar(text, style) = &self.kind else { return Vec::new() };
        let raw = all.get(self.start..self.end).unwrap_or_default();
        match style {
            // A block keeps its indentation here: to a shell that is white space like any other.
            ScalarStyle::Literal => raw.to_vec(),
            ScalarStyle::Folded => folded(raw),
            ScalarStyle::Plain if text == "~" && raw.is_empty() => Vec::new(),
            ScalarStyle::Plain => folded(raw),
            ScalarStyle::SingleQuoted => folded(&single_quoted(inside(raw))),
            ScalarStyle::DoubleQuoted => double_quoted(inside(raw)),
        }
    }

    /// A scalar as a word of a command.
    pub(super) fn word(&self, all: &[Letter]) -> Word {
        Word::literal(self.letters(all))
    }
}

fn inside(raw: &[Letter]) -> &[Letter] {
    raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default()
}

/// Line ends become blanks.
fn folded(raw: &[Letter]) -> Vec<Letter> {
    let raw = shell::trim(raw);
    raw.iter().map(|letter| if letter.c == '\n' { Letter { c: ' ', ..*letter } } else { *letter }).collect()
}

/// A quote is written twice.
fn single_quoted(raw: &[Letter]) -> Vec<Letter> {
    let mut letters = Vec::with_capacity(raw.len());
    let mut rest = raw.iter();
    while let Some(letter) = rest.next() {
        letters.push(*letter);
        if letter.c == '\'' {
            rest.next();
        }
    }
    letters
}

fn double_quoted(raw: &[Letter]) -> Vec<Letter> {
    let mut letters = Vec::with_capacity(raw.len());
    let mut rest = raw.iter();
    while let Some(letter) = rest.next() {
        let c = match letter.c {
            '\\' => match rest.next().map(|escaped| escaped.c) {
                Some('n') => '\n',
                Some('t' | '\t') => '\t',
                Some('\n') => continue,
                // The others are beyond what commands and values hold.
                Some(c) => c,
                None => continue,
            },
            '\n' => ' ',
            c => c,
        };
        letters.push(Letter { c, ..*letter });
    }
    letters
}
