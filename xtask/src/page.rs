//! What a limit's file says of itself.

use anyhow::{Context, Result, ensure};

/// Its page is its header.
pub(crate) struct Page<'a> {
    pub(crate) slug: &'a str,
    pub(crate) title: &'a str,
    source: &'a str,
}

impl<'a> Page<'a> {
    pub(crate) fn of(source: &'a str) -> Result<Self> {
        let field = |name: &str| {
            let mut lines = source.lines().filter_map(|line| line.trim().strip_prefix(name));
            let value = lines.find_map(|rest| rest.strip_prefix(": \"")?.strip_suffix("\","));
            value.with_context(|| format!("expected a line {name}: \"…\","))
        };
        Ok(Self { slug: field("slug")?, title: field("title")?, source })
    }

    /// A section without its heading, as Markdown.
    pub(crate) fn section(&self, name: &str) -> Result<String> {
        let heading = format!("## {name}");
        let lines = self.source.lines().map_while(|line| line.strip_prefix("//!"));
        let lines = lines.map(|line| line.strip_prefix(' ').unwrap_or(line));
        let body = lines.skip_while(|line| *line != heading).skip(1);
        let lines: Vec<_> = body.take_while(|line| !line.starts_with("## ")).collect();
        let text = lines.join("\n").trim().to_string();
        ensure!(!text.is_empty(), "expected a section {heading}");
        Ok(text)
    }

    /// The first sentence of a section: until a full stop that a capital follows.
    pub(crate) fn first(&self, section: &str) -> Result<String> {
        let section = self.section(section)?;
        let words: Vec<_> = section.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        let text = words.join(" ");
        let is_end = |at: usize| text[at + 2..].starts_with(|c: char| c.is_uppercase());
        let end = text.match_indices(". ").map(|(at, _)| at).find(|at| is_end(*at));
        Ok(text.get(..end.map_or(text.len(), |at| at + 1)).unwrap_or_default().to_string())
    }
}

pub(crate) fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}
