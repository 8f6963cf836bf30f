//! Changes that outlive a boot: lines in one file of `sysctl.d`, each with its reason and its way back. What is not ours
//! in that file stays byte for byte.

use std::path::Path;

use tcproof_core::journal::{Entry, Persist, Undone};
use tcproof_core::knobs;
use tcproof_core::lint::{Context, Loader, Site, Tree, lint};
use tcproof_core::plan::{Change, Plan};
use tcproof_host::{initial_netns, settings};

use crate::Surroundings;
use crate::file::{self, Error as FileError};

/// Where boot looks for it.
pub const FOLDER: &str = "/etc/sysctl.d";
/// The file: behind what packages bring, before what an administrator puts at the end.
pub const NAME: &str = "60-tcproof.conf";

/// The first line of a file that tcproof made: with nothing else in it, it goes again.
const HEAD: &str = "# Made by tcproof apply --persist (tcproof journal). Other lines here are left alone.\n";
/// Stands in for the end that the last line of somebody's file did not have, so that it can be taken back.
const NO_END: &str = "\n# tcproof: the line above had no end\n";
/// A reason is a sentence. Old versions of procps read no more than 4096 bytes of a line.
const LONGEST_REASON: usize = 400;

/// Why changes can't be made to outlive a boot. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file's fault.
    #[error(transparent)]
    File(#[from] FileError),
    /// They would not do what they say.
    #[error("--persist: nothing was changed:\n  {}", .0.join("\n  "))]
    Refused(Vec<String>),
}

/// What would be written, and what is to be known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persisting {
    /// For [`Surroundings::apply`].
    pub persist: Persist,
    /// A sentence for each thing that may keep boot from setting the values.
    pub warnings: Vec<String>,
}

impl Surroundings {
    /// What a plan's changes need to outlive a boot, as lines of [`NAME`] in that folder. Changes nothing.
    ///
    /// # Errors
    /// Boot could not set them, or something later in boot would set them otherwise.
    pub fn persisting(&self, plan: &Plan, folder: &Path) -> Result<Persisting, Error> {
        let refused = |why: String| Err(Error::Refused(vec![why]));
        // Who takes it back later may run elsewhere.
        let folder = &std::path::absolute(folder).unwrap_or_else(|_| folder.into());
        let path = folder.join(NAME);
        let Some(shown) = path.to_str() else { return refused(format!("{}: not UTF-8", path.display())) };
        if !folder.is_dir() {
            return refused(format!("there is no folder {}: mkdir makes it", folder.display()));
        }
        let initial = initial_netns(&self.root).map(|id| id.0);
        let wrong: Vec<_> = plan.changes.iter().filter_map(|change| misfit(change, initial)).collect();
        if !wrong.is_empty() {
            return Err(Error::Refused(wrong));
        }
        let old = file::bytes(&path)?;
        if old.is_none() {
            let lower = ["run", "usr/local/lib", "usr/lib", "lib"].map(|parent| format!("{parent}/sysctl.d/{NAME}"));
            if let Some(masked) = lower.iter().find(|path| self.root.exists(path)) {
                return refused(format!("/{masked} would no longer be read: {shown} goes before it"));
            }
        }
        let at = (self.now)();
        let blocks = plan.changes.iter().map(|change| block(plan, change, &at)).collect();
        let persist = Persist { path: shown.into(), blocks };
        let new = with(old.as_deref(), &persist.blocks);
        let tree = settings::boot_with(&self.root, Some((NAME, &String::from_utf8_lossy(&new))));
        let keys: Vec<&str> = plan.changes.iter().map(|change| &*change.knob).collect();
        let overruled = overruled(&tree, &keys);
        match overruled.is_empty() {
            true => Ok(Persisting { persist, warnings: warnings(&tree, &keys) }),
            false => Err(Error::Refused(overruled)),
        }
    }
}

/// Why boot can't set it by a file.
fn misfit(change: &Change, initial: Option<u64>) -> Option<String> {
    let Change { knob, namespace, to, .. } = change;
    match namespace.inode {
        _ if to.is_empty() => Some(format!("{knob}: not every loader of sysctl.d takes an empty value")),
        None => None,
        Some(_) if initial.is_none() => {
            Some(format!("{knob}: the host's own network namespace can't be seen from here"))
        }
        inode if inode == initial => None,
        Some(_) => Some(format!(
            "{knob}: boot sets the host's own network namespace only, and this is for {}: it belongs into the \
             configuration of that container or pod (tcproof plan --format kubernetes)",
            namespace.name
        )),
    }
}

/// Who sets one of the keys to something else, later in boot.
fn overruled(tree: &Tree, keys: &[&str]) -> Vec<String> {
    let context = Context::new(tree);
    let mut overruled = Vec::new();
    for (load, loader) in tree.loads.iter().enumerate() {
        for key in keys {
            let setters = context.setters(load, key);
            let Some(ours) = setters.iter().rev().find(|site| is_ours(site)) else {
                overruled.push(format!("{key}: {} does not read {NAME}", name(loader.loader)));
                continue;
            };
            let Some(winner) = context.winner_over(load, *ours, key) else { continue };
            let (is, wins) = (ours.setting.value.as_deref().unwrap_or_default(), winner.setting.value.as_deref());
            if wins.is_some_and(|wins| knobs::by_key(key).is_some_and(|knob| knob.kind.is_same(wins, is))) {
                continue;
            }
            let does = wins.map_or_else(|| "takes it out again".into(), |wins| format!("sets it to {wins}"));
            overruled.push(format!(
                "{key}: {}:{} {does}, and {} reads that later: change that line instead, or take it out",
                winner.file.path,
                winner.setting.at.line,
                name(loader.loader)
            ));
        }
    }
    overruled
}

fn is_ours(site: &Site<'_>) -> bool {
    site.file.path.rsplit('/').next() == Some(NAME)
}

fn name(loader: Loader) -> &'static str {
    match loader {
        Loader::Systemd => "systemd-sysctl",
        Loader::Procps => "sysctl --system",
        Loader::Named | Loader::Alone => "boot",
    }
}

/// What may keep boot from setting the keys, or set them otherwise after it.
fn warnings(tree: &Tree, keys: &[&str]) -> Vec<String> {
    let needs_module = lint(tree).findings.into_iter().filter(|finding| {
        finding.rule == "needs-module" && tree.files[finding.file].path.rsplit('/').next() == Some(NAME)
    });
    let mut warnings: Vec<_> = needs_module.map(|finding| finding.message).collect();
    for file in tree.files.iter().filter(|file| file.unread.is_some()) {
        warnings.push(format!("{} could not be read: what it sets is not known", file.path));
    }
    for writer in tree.now.iter().flat_map(|now| &now.writers) {
        let is_its = |key: &&&str| writer.keys.is_empty() || writer.keys.iter().any(|group| key.starts_with(group));
        let its: Vec<_> = keys.iter().filter(is_its).copied().collect();
        if !its.is_empty() {
            warnings.push(format!("{}: after boot it may set {}", writer.what, its.join(", ")));
        }
    }
    warnings
}

/// A knob's lines.
fn block(plan: &Plan, change: &Change, at: &str) -> String {
    let Change { knob, from, to, .. } = change;
    let reasons = change.findings.iter().filter_map(|number| plan.findings.get(number.checked_sub(1)?));
    let why: String = reasons.map(|reason| format!("# why: {}\n", one_line(&reason.summary))).collect();
    format!(
        "{}{}\n{why}# before: {from}; back by tcproof rollback {}, or without these lines and with sysctl -w \"{knob}={from}\"\n\
         {knob} = {to}\n",
        first_words(&plan.id, knob),
        one_line(at),
        plan.id
    )
}

/// How a knob's lines begin.
fn first_words(id: &str, knob: &str) -> String {
    format!("# tcproof {id}: {knob}, ")
}

/// Of a plan that anybody may have edited: nothing in it ends a comment.
fn one_line(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_REASON).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A file's bytes with lines that are not yet in it.
fn with(old: Option<&[u8]>, blocks: &[String]) -> Vec<u8> {
    let mut new = old.map_or_else(|| HEAD.into(), <[u8]>::to_vec);
    for block in blocks {
        if find(&new, block).is_some() {
            continue;
        }
        if !new.is_empty() && !new.ends_with(b"\n") {
            new.extend_from_slice(NO_END.as_bytes());
        }
        new.extend_from_slice(block.as_bytes());
    }
    new
}

/// Its bytes without them; `None` when nothing is left of a file that tcproof made.
fn without(old: &[u8], blocks: &[&String]) -> Option<Vec<u8>> {
    let mut new = old.to_vec();
    for block in blocks {
        if let Some(at) = find(&new, block) {
            new.drain(at..at + block.len());
        }
    }
    if new.ends_with(NO_END.as_bytes()) {
        new.truncate(new.len() - NO_END.len());
    }
    (new != HEAD.as_bytes()).then_some(new)
}

/// Where lines stand as they were written, byte for byte.
fn find(text: &[u8], block: &str) -> Option<usize> {
    let is_line = |at: &usize| *at == 0 || text[at - 1] == b'\n';
    (0..(text.len() + 1).saturating_sub(block.len()))
        .rev()
        .filter(is_line)
        .find(|at| text[*at..].starts_with(block.as_bytes()))
}

/// Writes a change's lines into their file; when it returns, they are on the disk.
pub(crate) fn write(persist: &Persist) -> Result<(), FileError> {
    let path = Path::new(&persist.path);
    let old = file::bytes(path)?;
    let new = with(old.as_deref(), &persist.blocks);
    match old.as_ref() == Some(&new) {
        true => Ok(()),
        false => file::put(path, old.as_deref(), &new),
    }
}

/// Takes a change's lines out of their file, and says for each step how that went. Lines that somebody edited stay.
pub(crate) fn take_out(entry: &Entry, persist: &Persist) -> Vec<Undone> {
    let failed = |error: FileError| vec![Undone::Failed(error.to_string()); persist.blocks.len()];
    let path = Path::new(&persist.path);
    let old = match file::bytes(path) {
        Ok(Some(old)) => old,
        Ok(None) => return vec![Undone::Untouched; persist.blocks.len()],
        Err(error) => return failed(error),
    };
    let found: Vec<_> = persist.blocks.iter().filter(|block| find(&old, block).is_some()).collect();
    let removed = match without(&old, &found) {
        _ if found.is_empty() => Ok(()),
        Some(new) => file::put(path, Some(&old), &new),
        None => file::remove(path, &old),
    };
    let removed = removed.map_err(|error| error.to_string());
    let steps = persist.blocks.iter().zip(&entry.open.steps).enumerate();
    let result = |(number, (block, step)): (usize, (&String, &tcproof_core::journal::Step))| {
        // They were there, and nobody has taken them out by us since.
        let is_expected = entry.is_persisted && entry.unpersisted.get(&number) != Some(&Undone::Restored);
        match (find(&old, block), &removed) {
            (Some(_), Ok(())) => Undone::Restored,
            (Some(_), Err(why)) => Undone::Failed(why.clone()),
            (None, _) => match edited(&old, &first_words(&entry.open.id, &step.knob), block, is_expected) {
                Some(line) => Undone::ChangedByOthers(line),
                None => Undone::Untouched,
            },
        }
    };
    steps.map(result).collect()
}

/// What is left of lines that somebody edited: their first one, or, where it is known that they were there, the setting.
fn edited(text: &[u8], first_words: &str, block: &str, is_expected: bool) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let setting = block.lines().next_back().filter(|_| is_expected);
    let key = block.lines().next_back()?.split(' ').next()?;
    let mut lines = text.lines().skip_while(|line| !line.starts_with(first_words) && Some(*line) != setting);
    let first = lines.next()?;
    let sets = |line: &&str| line.trim_start_matches(['-', ' ', '\t']).starts_with(key);
    // Up to the next lines of ours.
    let theirs = lines.take_while(|line| !line.starts_with("# tcproof ")).find(sets);
    Some(theirs.filter(|_| Some(first) != setting).unwrap_or(first).trim().into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]
mod tests;
