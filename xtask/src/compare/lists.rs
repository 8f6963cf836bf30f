//! What others would set: the articles' list, and the network part of tuned's profiles, as scripts of `sysctl -w`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// The articles' list, as a sysctl.d file.
const ARTICLES: &str = include_str!("articles.conf");
/// A profile that includes more than this many others includes itself.
const DEEPEST: usize = 10;

/// One line of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    value: String,
    /// tuned's `=>`: only where the present value is smaller; and `=<`.
    only: Option<Only>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Only {
    Raises,
    Lowers,
}

/// Settings by their keys.
pub(crate) type List = BTreeMap<String, Setting>;

/// What the articles say.
pub(crate) fn articles() -> Result<List> {
    let mut list = List::new();
    let mut lines = ARTICLES.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.try_for_each(|line| add(&mut list, line))?;
    Ok(list)
}

/// The `net.` sysctls of a profile of tuned and of those that it includes. Sections with a condition on the machine's
/// processor are left out, as is all that is no sysctl of the network.
pub(crate) fn tuned(folder: &Path, profile: &str) -> Result<List> {
    let mut list = List::new();
    include(folder, profile, DEEPEST, &mut list)?;
    Ok(list)
}

fn include(folder: &Path, profile: &str, depth: usize, list: &mut List) -> Result<()> {
    ensure!(depth > 0, "tuned's profile {profile} includes itself");
    let file = file(folder, profile)?;
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let (mut section, mut own) = ("", Vec::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
        match line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(name) => section = name,
            None if section == "main" => {
                let included = line.split_once('=').filter(|(key, _)| key.trim() == "include");
                for parent in included.iter().flat_map(|(_, parents)| parents.split([',', ';'])) {
                    include(folder, parent.trim(), depth - 1, list)?;
                }
            }
            None if section == "sysctl" && line.starts_with("net.") => own.push(line),
            None => {}
        }
    }
    own.into_iter().try_for_each(|line| add(list, line))
}

/// Since 2.23 the profiles have a folder of their own.
fn file(folder: &Path, profile: &str) -> Result<PathBuf> {
    let names = [format!("{profile}/tuned.conf"), format!("profiles/{profile}/tuned.conf")];
    let found = names.iter().map(|name| folder.join(name)).find(|file| file.exists());
    found.with_context(|| format!("{} has no profile {profile}", folder.display()))
}

fn add(list: &mut List, line: &str) -> Result<()> {
    let (key, value) = line.split_once('=').with_context(|| format!("{line:?} sets nothing"))?;
    let (value, only) = match value.trim() {
        value if value.starts_with('>') => (&value[1..], Some(Only::Raises)),
        value if value.starts_with('<') => (&value[1..], Some(Only::Lowers)),
        value => (value, None),
    };
    let (key, value) = (key.trim(), value.trim().trim_matches('"'));
    // Both go into a script.
    let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || " ._-\t".contains(c));
    if !is_plain(key) || !is_plain(value) || value.is_empty() {
        bail!("{line:?} is no plain setting");
    }
    list.insert(key.to_string(), Setting { value: value.to_string(), only });
    Ok(())
}

/// A script for the shell that sets them in the namespace where it runs. What the kernel has not, or lets nobody change
/// there, is passed over, as people pass over what `sysctl -w` says.
pub(crate) fn script(list: &List) -> String {
    let mut script = String::new();
    for (key, Setting { value, only }) in list {
        let condition = match only {
            Some(Only::Raises) => format!(r#"[ "$(sysctl -n {key})" -lt "{value}" ] && "#),
            Some(Only::Lowers) => format!(r#"[ "$(sysctl -n {key})" -gt "{value}" ] && "#),
            None => String::new(),
        };
        writeln!(script, r#"{condition}sysctl -q -w {key}="{value}" 2>/dev/null"#).ok();
    }
    script + "true\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_articles_list_is_a_script() {
        let script = script(&articles().unwrap());
        assert!(script.contains("\nsysctl -q -w net.ipv4.tcp_rmem=\"4096 87380 33554432\" 2>/dev/null\n"), "{script}");
        assert!(!script.lines().any(|line| line.contains("fs.") || line.contains("nf_conntrack_max")), "{script}");
    }

    #[test]
    fn a_profile_has_what_it_includes_and_its_own_comes_last() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("base", "[main]\nsummary=x\n[sysctl]\nvm.swappiness=10\nnet.core.somaxconn=>2048\nnet.ipv4.a=1\n"),
            (
                "profiles/own",
                "[main]\ninclude=base\n[sysctl]\n# why\nnet.ipv4.a = \"1 2\"\n[sysctl.arm]\nnet.ipv4.b=2\n",
            ),
            ("circle", "[main]\ninclude=circle\n"),
            ("hostile", "[sysctl]\nnet.ipv4.a=$(reboot)\n"),
        ] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("tuned.conf"), text).unwrap();
        }
        let script = script(&tuned(folder.path(), "own").unwrap());
        let expected = "[ \"$(sysctl -n net.core.somaxconn)\" -lt \"2048\" ] && \
                        sysctl -q -w net.core.somaxconn=\"2048\" 2>/dev/null\n\
                        sysctl -q -w net.ipv4.a=\"1 2\" 2>/dev/null\ntrue\n";
        assert_eq!(script, expected);
        for wrong in ["circle", "hostile", "missing"] {
            assert!(tuned(folder.path(), wrong).is_err(), "{wrong}");
        }
    }
}
