//! Starts a limit's file.

use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::registry::Table;
use crate::write;

const SKELETON: &str = include_str!("skeleton.rs.txt");

pub(crate) fn run(table: &Table, slug: &str) -> Result<ExitCode> {
    ensure!(is_kebab_case(slug), "{slug:?}: a limit's name is words of a-z and 0-9 with - between them");
    let path = table.folder.join(format!("{}.rs", slug.replace('-', "_")));
    ensure!(!path.exists(), "{} is there already", path.display());
    write(&path, &skeleton(slug))?;
    table.run(false)?;
    println!(
        "wrote {}\nnext: its page, detect, remedy and tests; its causes in crates/tcproof-core/tests/registry.rs; \
         a scenario in crates/tcproof-lab/scenarios for each cause",
        path.display()
    );
    Ok(ExitCode::SUCCESS)
}

fn is_kebab_case(slug: &str) -> bool {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    slug.starts_with(|c: char| c.is_ascii_lowercase()) && slug.split('-').all(word)
}

fn skeleton(slug: &str) -> String {
    let (module, title) = (slug.replace('-', "_"), slug.replace('-', " "));
    SKELETON.replace("SLUG", slug).replace("MODULE", &module).replace("TITLE", &title)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    #[test]
    fn slugs_are_kebab_case() {
        assert!(["loss", "tcp-memory", "fin-wait2"].iter().all(|slug| is_kebab_case(slug)));
        assert!(
            ["", "Loss", "tcp_memory", "-a", "a-", "a--b", "2fast", "../x"].iter().all(|slug| !is_kebab_case(slug))
        );
    }

    #[test]
    fn a_new_limit_is_registered_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("mod.rs"), "// <limits>\n// </limits>\n").unwrap();
        let table = Table { thing: "limit", folder: folder.path().into() };
        run(&table, "some-limit").unwrap();
        assert_eq!(table.modules().unwrap(), ["some_limit"]);
        assert_eq!(table.run(true).unwrap(), ExitCode::SUCCESS);
        assert!(run(&table, "some-limit").is_err());
        assert!(run(&table, "Some Limit").is_err());
    }

    #[test]
    fn the_skeleton_is_as_rustfmt_leaves_it() {
        let mut command = Command::new("rustfmt");
        command.args(["--check", "--edition", "2024", "--config", "max_width=120,use_small_heuristics=Max"]);
        let Ok(mut rustfmt) = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
            println!("SKIP: there is no rustfmt");
            return;
        };
        rustfmt.stdin.take().unwrap().write_all(skeleton("some-limit").as_bytes()).unwrap();
        let output = rustfmt.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
