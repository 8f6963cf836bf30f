//! A file as it would be with its corrections.

use alloc::collections::BTreeMap;
use alloc::string::String;

use super::{Correction, Finding, Tree};

impl Tree {
    /// A file's text with corrections: all of them, or those only that change nothing of what boot sets. `None` where
    /// there is nothing to correct. Of several for one line, that of the worst finding counts.
    pub fn corrected(&self, file: usize, findings: &[Finding], only_safe: bool) -> Option<String> {
        // What was read in part can't be written back.
        let source = self.files.get(file).filter(|file| file.unread.is_none())?;
        let mut lines: BTreeMap<u32, (&Finding, &Correction)> = BTreeMap::new();
        for finding in findings.iter().filter(|finding| finding.file == file) {
            let Some(correction) = finding.correction.as_ref().filter(|it| it.is_safe || !only_safe) else { continue };
            let best = lines.entry(correction.number).or_insert((finding, correction));
            if finding.severity > best.0.severity {
                *best = (finding, correction);
            }
        }
        if lines.is_empty() {
            return None;
        }
        let text = &source.text;
        let mut corrected = String::with_capacity(text.len());
        for (number, line) in (1..).zip(text.split_inclusive('\n')) {
            match lines.get(&number) {
                Some((_, correction)) => {
                    corrected.push_str(&correction.line);
                    let end = line.trim_end_matches(['\r', '\n']).len();
                    corrected.push_str(&line[end..]);
                }
                None => corrected.push_str(line),
            }
        }
        (corrected != **text).then_some(corrected)
    }
}
