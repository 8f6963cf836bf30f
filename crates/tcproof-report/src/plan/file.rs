//! The file that `apply` takes: written as TOML or JSON, and read back with the place of whatever is wrong in it.

use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tcproof_core::plan::{Plan, SCHEMA};

use crate::json::{placed, to_text, without_controls};
use crate::sanitize;

/// The plan as TOML, which is the easier one to review.
///
/// # Errors
/// A number of the plan is beyond TOML's 63 bits, which none of a real host is.
pub fn toml(plan: &Plan) -> Result<String, Error> {
    let text = toml::to_string_pretty(plan).map_err(|error| Error { wrong: vec![error.to_string()] })?;
    // Within quotes that know escapes it is one, within others it is shown: the file is sound in both cases.
    let text = without_controls(text);
    Ok(format!("# A plan of tcproof. Read it; then `tcproof apply FILE` does exactly this.\n{text}"))
}

/// The plan as JSON: schema `tcproof/plan/1`.
pub fn json(plan: &Plan) -> String {
    to_text(plan)
}

/// Why a file is no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// One sentence for each thing that is wrong, with its place.
    pub wrong: Vec<String>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A wrong field is quoted as it stands in the file.
        f.write_str(&sanitize(&self.wrong.join("; ")))
    }
}

impl std::error::Error for Error {}

/// What tells a file's kind and version, before anything else in it is judged.
#[derive(Deserialize)]
struct Head {
    schema: String,
}

/// A plan from TOML or JSON, and nothing that `apply` could not do.
///
/// # Errors
/// What is wrong with it, by line and column, or by the number of the change.
pub fn read(text: &str) -> Result<Plan, Error> {
    let head: Head = parse(text)?;
    if head.schema != SCHEMA {
        return Err(Error { wrong: vec![unknown_schema(&head.schema)] });
    }
    let plan: Plan = parse(text)?;
    plan.validate().map_err(|wrong| Error { wrong })?;
    Ok(plan)
}

/// Whether a text is a plan of some version, however spoilt: such a file may be written anew.
pub(super) fn is_plan(text: &str) -> bool {
    parse::<Head>(text).is_ok_and(|head| head.schema.starts_with("tcproof/plan/"))
}

fn unknown_schema(schema: &str) -> String {
    let version = |schema: &str| schema.strip_prefix("tcproof/plan/").and_then(|version| version.parse::<u32>().ok());
    match (version(schema), version(SCHEMA)) {
        (Some(theirs), Some(ours)) if theirs > ours => {
            format!(
                "schema: {schema} is of a newer tcproof: this one reads {SCHEMA}; apply it with the one that made it"
            )
        }
        _ => format!("schema: expected {SCHEMA:?}, found {schema:?}"),
    }
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let wrong = match text.trim_start().starts_with('{') {
        true => match serde_json::from_str(text) {
            Ok(value) => return Ok(value),
            Err(error) => placed(&error),
        },
        false => match toml::from_str(text) {
            Ok(value) => return Ok(value),
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                format!("{}: {}", place(text, at), error.message())
            }
        },
    };
    Err(Error { wrong: vec![wrong] })
}

/// `line 3, column 5`, as TOML's errors are placed too; columns in characters.
fn place(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}")
}
