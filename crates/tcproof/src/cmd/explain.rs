//! `tcproof explain`: a limit's page, or the list of limits.

use std::process::ExitCode;

use tcproof_core::limits::{LIMITS, Limit};
use tcproof_report::page;

use super::{Exit, print, style};
use crate::cli::{ExplainArgs, OutputArgs};

/// Runs it.
pub(crate) fn run(args: &ExplainArgs, output: &OutputArgs) -> anyhow::Result<ExitCode> {
    let style = style(output, false, false);
    let text = match &args.limit {
        None if output.json() => page::list_json(),
        None => page::list(&style),
        Some(slug) => match Limit::by_slug(slug) {
            Some(limit) if output.json() => page::explain_json(limit),
            Some(limit) => page::explain(limit, &style),
            None => anyhow::bail!("{slug:?} is not a limit; {}", suggestion(slug)),
        },
    };
    print(&text)?;
    Ok(Exit::Done.into())
}

/// The slug that shares the most words with what was typed, or where the list is.
fn suggestion(typed: &str) -> String {
    let typed = typed.to_ascii_lowercase();
    let words: Vec<&str> = typed.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.len() > 2).collect();
    let shared = |limit: &&&Limit| words.iter().filter(|word| limit.slug.contains(**word)).count();
    match LIMITS.iter().max_by_key(shared).filter(|limit| shared(limit) > 0) {
        Some(limit) => format!("did you mean {}? (tcproof explain lists all)", limit.slug),
        None => "tcproof explain lists all".into(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_near_miss_is_answered_with_the_slug() {
        assert!(super::suggestion("accept_queue").contains("accept-queue"));
        assert!(super::suggestion("listen queue").contains("queue"));
        assert!(!super::suggestion("zzz").contains("did you mean"));
    }
}
