//! The tables of limits and of lint's rules in their folders' `mod.rs`: one line per file, sorted, as rustfmt leaves it.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::{read, write};

/// A folder with one thing per file, and what it is called there.
pub(crate) struct Table {
    /// "limit": the block is marked `<limits>`, each file holds `LIMIT: Limit`, the table is `LIMITS`.
    pub(crate) thing: &'static str,
    pub(crate) folder: PathBuf,
}

/// A file that holds one of them.
pub(crate) struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// What somebody makes of it; what keeps them from it names the file.
    pub(crate) fn read<'a, T>(&'a self, by: impl FnOnce(&'a str) -> Result<T>) -> Result<T> {
        by(&self.text).with_context(|| format!("{}", self.path.display()))
    }
}

/// rustfmt's `max_width` here: a table that fits stays on one line.
const MAX_WIDTH: usize = 120;

impl Table {
    /// Writes the table, or says whether it differs.
    pub(crate) fn run(&self, check: bool) -> Result<ExitCode> {
        let thing = self.thing;
        let path = self.folder.join("mod.rs");
        let old = read(&path)?;
        let modules = self.modules()?;
        let new = self.replace(&old, &modules).with_context(|| format!("{}", path.display()))?;
        if old == new {
            println!("the table has all {} {thing}s", modules.len());
        } else if check {
            eprintln!("the table of {thing}s differs from the files: run `cargo xtask registry`");
            return Ok(ExitCode::FAILURE);
        } else {
            write(&path, &new)?;
            println!("wrote the table: {} {thing}s", modules.len());
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The names of the files that hold one, in the order of their slugs.
    pub(crate) fn modules(&self) -> Result<Vec<String>> {
        let mut modules = Vec::new();
        for entry in fs::read_dir(&self.folder).with_context(|| format!("reading {}", self.folder.display()))? {
            let path = entry?.path();
            let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
            let is_rust = path.extension().is_some_and(|extension| extension == "rs");
            if is_rust && name != "mod" && self.is_in(&read(&path)?) {
                modules.push(name.to_string());
            }
        }
        modules.sort_by_key(|name| name.replace('_', "-"));
        Ok(modules)
    }

    /// Those files.
    pub(crate) fn sources(&self) -> Result<Vec<Source>> {
        let paths = self.modules()?.into_iter().map(|name| self.folder.join(format!("{name}.rs")));
        paths.map(|path| Ok(Source { text: read(&path)?, path })).collect()
    }

    /// `LIMIT`.
    fn constant(&self) -> String {
        self.thing.to_ascii_uppercase()
    }

    /// `Limit`.
    fn type_name(&self) -> String {
        let (first, rest) = self.thing.split_at(1);
        first.to_ascii_uppercase() + rest
    }

    fn is_in(&self, source: &str) -> bool {
        let declaration = format!(" static {}: {} =", self.constant(), self.type_name());
        source.lines().any(|line| line.starts_with("pub") && line.contains(&declaration))
    }

    fn block(&self, modules: &[String]) -> String {
        let (thing, constant, type_name) = (self.thing, self.constant(), self.type_name());
        let mods: String = modules.iter().map(|name| format!("mod {name};\n")).collect();
        let entries: Vec<_> = modules.iter().map(|name| format!("&{name}::{constant}")).collect();
        let head = format!("pub static {constant}S: &[&{type_name}] = &[");
        let line = format!("{head}{}];", entries.join(", "));
        let table = match line.len() {
            0..=MAX_WIDTH => line,
            _ => format!("{head}\n{}];", entries.iter().map(|entry| format!("    {entry},\n")).collect::<String>()),
        };
        format!(
            "// <{thing}s> written by `cargo xtask registry`\n{mods}\n/// Every {thing}, in the order of their slugs.\n\
             {table}\n// </{thing}s>"
        )
    }

    fn replace(&self, text: &str, modules: &[String]) -> Result<String> {
        let (from, to) = (format!("// <{}s>", self.thing), format!("// </{}s>", self.thing));
        let start = text.find(&from).with_context(|| format!("no line {from}"))?;
        let end = text[start..].find(&to).with_context(|| format!("no line {to} after {from}"))? + start + to.len();
        Ok([&text[..start], &self.block(modules), &text[end..]].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(folder: &std::path::Path) -> Table {
        Table { thing: "limit", folder: folder.into() }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_short_table_is_one_line_and_a_long_one_a_line_per_limit() {
        let table = table("".as_ref());
        let short = table.block(&names(&["accept_queue"]));
        assert!(short.contains("\nmod accept_queue;\n\n"), "{short}");
        assert!(short.contains("= &[&accept_queue::LIMIT];\n// </limits>"), "{short}");
        let many: Vec<_> = (0..9).map(|n| format!("limit_number_{n}")).collect();
        assert!(table.block(&many).contains("= &[\n    &limit_number_0::LIMIT,\n"), "{}", table.block(&many));
        let rules = Table { thing: "rule", folder: PathBuf::new() }.block(&names(&["placebo"]));
        assert!(rules.contains("pub static RULES: &[&Rule] = &[&placebo::RULE];\n// </rules>"), "{rules}");
    }

    #[test]
    fn only_the_block_is_replaced_and_a_second_time_nothing() {
        let table = table("".as_ref());
        let text = "//! Head.\n\n// <limits> old\nmod gone;\n// </limits>\n\nfn rest() {}\n";
        let new = table.replace(text, &names(&["a"])).unwrap();
        assert!(new.starts_with("//! Head.\n\n// <limits> written"), "{new}");
        assert!(new.ends_with("// </limits>\n\nfn rest() {}\n"), "{new}");
        assert_eq!(table.replace(&new, &names(&["a"])).unwrap(), new);
        assert!(table.replace("nothing", &[]).is_err());
    }

    #[test]
    fn files_without_a_limit_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| write(&folder.path().join(name), text).unwrap();
        file("mod.rs", "// <limits>\nmod gone;\n// </limits>\n");
        file("testing.rs", "pub(crate) fn helper() {}\n");
        file("notes.md", "pub(super) static LIMIT: Limit = ");
        file("b_two.rs", "pub(super) static LIMIT: Limit = Limit {};\n");
        file("a_one.rs", "pub(super) static LIMIT: Limit = Limit {};\n");
        let table = table(folder.path());
        assert_eq!(table.modules().unwrap(), ["a_one", "b_two"]);
        assert_eq!(table.run(true).unwrap(), ExitCode::FAILURE);
        assert_eq!(table.run(false).unwrap(), ExitCode::SUCCESS);
        assert_eq!(table.run(true).unwrap(), ExitCode::SUCCESS);
    }
}
