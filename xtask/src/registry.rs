//! The table of limits in `limits/mod.rs`: one line per file, sorted, as rustfmt leaves it.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::{read, write};

const START: &str = "// <limits>";
const END: &str = "// </limits>";
/// rustfmt's `max_width` here: a table that fits stays on one line.
const MAX_WIDTH: usize = 120;

pub(crate) fn run(folder: &Path, check: bool) -> Result<ExitCode> {
    let path = folder.join("mod.rs");
    let old = read(&path)?;
    let modules = modules(folder)?;
    let new = replace(&old, &block(&modules)).with_context(|| format!("{}", path.display()))?;
    if old == new {
        println!("the table has all {} limits", modules.len());
    } else if check {
        eprintln!("the table of limits differs from the files: run `cargo xtask registry`");
        return Ok(ExitCode::FAILURE);
    } else {
        write(&path, &new)?;
        println!("wrote the table: {} limits", modules.len());
    }
    Ok(ExitCode::SUCCESS)
}

/// The names of the files that hold a limit, in the order of their slugs.
pub(crate) fn modules(folder: &Path) -> Result<Vec<String>> {
    let mut modules = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        if is_rust && name != "mod" && holds_a_limit(&read(&path)?) {
            modules.push(name.to_string());
        }
    }
    modules.sort_by_key(|name| name.replace('_', "-"));
    Ok(modules)
}

fn holds_a_limit(source: &str) -> bool {
    source.lines().any(|line| line.starts_with("pub") && line.contains(" static LIMIT: Limit ="))
}

fn block(modules: &[String]) -> String {
    let mods: String = modules.iter().map(|name| format!("mod {name};\n")).collect();
    let entries: Vec<_> = modules.iter().map(|name| format!("&{name}::LIMIT")).collect();
    let head = "pub static LIMITS: &[&Limit] = &[";
    let line = format!("{head}{}];", entries.join(", "));
    let table = match line.len() {
        0..=MAX_WIDTH => line,
        _ => format!("{head}\n{}];", entries.iter().map(|entry| format!("    {entry},\n")).collect::<String>()),
    };
    format!(
        "{START} written by `cargo xtask registry`\n{mods}\n/// Every limit, in the order of their slugs.\n{table}\n{END}"
    )
}

fn replace(text: &str, block: &str) -> Result<String> {
    let start = text.find(START).with_context(|| format!("no line {START}"))?;
    let end = text[start..].find(END).with_context(|| format!("no line {END} after {START}"))? + start + END.len();
    Ok([&text[..start], block, &text[end..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_short_table_is_one_line_and_a_long_one_a_line_per_limit() {
        let short = block(&names(&["accept_queue"]));
        assert!(short.contains("\nmod accept_queue;\n\n"), "{short}");
        assert!(short.contains("= &[&accept_queue::LIMIT];\n// </limits>"), "{short}");
        let many: Vec<_> = (0..9).map(|n| format!("limit_number_{n}")).collect();
        assert!(block(&many).contains("= &[\n    &limit_number_0::LIMIT,\n"), "{}", block(&many));
    }

    #[test]
    fn only_the_block_is_replaced_and_a_second_time_nothing() {
        let text = "//! Head.\n\n// <limits> old\nmod gone;\n// </limits>\n\nfn rest() {}\n";
        let new = replace(text, &block(&names(&["a"]))).unwrap();
        assert!(new.starts_with("//! Head.\n\n// <limits> written"), "{new}");
        assert!(new.ends_with("// </limits>\n\nfn rest() {}\n"), "{new}");
        assert_eq!(replace(&new, &block(&names(&["a"]))).unwrap(), new);
        assert!(replace("nothing", "x").is_err());
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
        assert_eq!(modules(folder.path()).unwrap(), ["a_one", "b_two"]);
        assert_eq!(run(folder.path(), true).unwrap(), ExitCode::FAILURE);
        assert_eq!(run(folder.path(), false).unwrap(), ExitCode::SUCCESS);
        assert_eq!(run(folder.path(), true).unwrap(), ExitCode::SUCCESS);
    }
}
