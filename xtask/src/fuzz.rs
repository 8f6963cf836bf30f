//! Feeds random input to the readers of what may be hostile, with libFuzzer, by a stable compiler: the flags are those
//! that `cargo fuzz` sets, without the sanitizers that only a nightly one has. tcproof's own readers have no `unsafe`.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// A target, and where there is input to begin with.
struct Target {
    name: &'static str,
    /// Files below this folder of the workspace, where there are any.
    seeds: Option<&'static str>,
    /// Whether the input begins with a line that names the file.
    is_named: bool,
}

const TARGETS: [Target; 8] = [
    Target { name: "settings", seeds: Some("crates/tcproof/tests/lint"), is_named: true },
    Target { name: "procfs", seeds: Some("crates/tcproof-host/fixtures"), is_named: false },
    Target { name: "scenario", seeds: Some("crates/tcproof-lab/scenarios"), is_named: false },
    Target { name: "diag", seeds: None, is_named: false },
    Target { name: "netlink", seeds: None, is_named: false },
    Target { name: "recording", seeds: Some("crates/tcproof-record/fixtures"), is_named: false },
    Target { name: "dump", seeds: Some("crates/tcproof-host/fixtures/dumps"), is_named: false },
    Target { name: "archive", seeds: Some("crates/tcproof-host/fixtures/dumps"), is_named: false },
];

/// What the compiler puts into the program, so that libFuzzer sees which ways an input takes. Dead code has to stay: a
/// linker that drops a function without its counters leaves tables of different lengths.
const FLAGS: [&str; 7] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Clink-dead-code",
];
/// What libFuzzer needs, which is written in C++.
const COMPILERS: [&str; 2] = ["c++", "g++"];
/// More bytes than any reader needs to go wrong, and few enough for many tries.
const MAX_BYTES: usize = 64 * 1024;
/// Seconds for one input, of which the readers should take thousands in that time.
const SLOW: u64 = 10;
/// Memory in MiB: many times what any input of that length may cost.
const MEMORY: u64 = 1024;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to feed: settings, procfs, scenario, diag, netlink, recording, dump or archive
    #[arg(default_value = "settings", value_parser = TARGETS.map(|target| target.name))]
    target: String,
    /// How long, such as 60s or 10m
    #[arg(long = "for", value_parser = duration, default_value = "60s", value_name = "TIME")]
    time: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    let expected = || "expected seconds or minutes, such as 60s or 10m".to_string();
    let (number, unit) = text.split_at(text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len());
    let number: u64 = number.parse().map_err(|_| expected())?;
    let seconds = match unit {
        "s" => Some(number),
        "m" => number.checked_mul(60),
        _ => None,
    };
    // For libFuzzer 0 is for ever.
    seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs).ok_or_else(expected)
}

pub(crate) fn run(workspace: &Path, built: &Path, args: &Args) -> Result<ExitCode> {
    let Some(target) = TARGETS.iter().find(|target| target.name == args.target) else {
        anyhow::bail!("there is no target {}", args.target);
    };
    let has = |compiler: &&str| {
        let mut command = Command::new(compiler);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|it| it.success())
    };
    let named = std::env::var("CXX").ok();
    if !named.as_deref().into_iter().chain(COMPILERS).any(|compiler| has(&compiler)) {
        println!("SKIP fuzz {}: there is no C++ compiler for libFuzzer (g++)", target.name);
        return Ok(ExitCode::SUCCESS);
    }
    let host = host()?;
    let built = built.join("fuzz");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--bin", target.name])
        // With a target named, the flags are not for build scripts and macros.
        .args(["--target", &host, "--target-dir"])
        .arg(&built)
        .current_dir(workspace.join("fuzz"))
        // Not separated by blanks, which paths may have.
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"))
        .env_remove("RUSTFLAGS")
        .status()
        .context("running cargo")?;
    ensure!(status.success(), "the target {} was not built", target.name);

    let corpus = built.join("corpus").join(target.name);
    fs::create_dir_all(&corpus).with_context(|| format!("making {}", corpus.display()))?;
    if let Some(seeds) = target.seeds {
        sow(&workspace.join(seeds), &corpus, target.is_named)?;
    }
    let found = built.join("found").join(target.name);
    fs::create_dir_all(&found).with_context(|| format!("making {}", found.display()))?;
    let status = Command::new(built.join(&host).join("release").join(target.name))
        .arg(format!("-max_total_time={}", args.time.as_secs()))
        .arg(format!("-max_len={MAX_BYTES}"))
        .arg(format!("-timeout={SLOW}"))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .args(["-print_funcs=0", "-report_slow_units=2", "-print_final_stats=1", "-verbosity=0"])
        .arg(&corpus)
        .status()
        .context("running the target")?;
    if !status.success() {
        println!("the input is in {}: it becomes a test beside its reader", found.display());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// The compiler's own target.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("running rustc")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_string())
}

/// Copies every file below a folder into the corpus.
fn sow(folder: &Path, corpus: &Path, is_named: bool) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    for path in paths {
        let kind = path.symlink_metadata().with_context(|| format!("looking at {}", path.display()))?.file_type();
        if kind.is_dir() {
            sow(&path, corpus, is_named)?;
        } else if kind.is_file() {
            let mut bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            if is_named {
                // The folder may say what a file is: `sysctl.d`, `nginx.service.d`.
                let parts: Vec<_> = path.iter().rev().take(2).map(|part| part.to_string_lossy()).collect();
                let name: Vec<_> = parts.iter().rev().map(|part| &**part).collect();
                bytes.splice(0..0, format!("{}\n", name.join("/")).into_bytes());
            }
            // A link may lead anywhere, and nothing is lost without it.
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            let seed = corpus.join(format!("seed-{:016x}", hasher.finish()));
            fs::write(&seed, bytes).with_context(|| format!("writing {}", seed.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(duration("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        for text in ["", "0s", "1", "s", "1h", "-1s", "99999999999999999999s", "18446744073709551615m"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_target_is_known_here_and_its_seeds_are_there() {
        let workspace = crate::workspace();
        let listed = fs::read_dir(workspace.join("fuzz/fuzz_targets")).unwrap();
        let mut files: Vec<_> = listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        let mut known = TARGETS.map(|target| format!("{}.rs", target.name));
        known.sort();
        assert_eq!(files, known);
        for folder in TARGETS.iter().filter_map(|target| target.seeds) {
            assert!(workspace.join(folder).is_dir(), "{folder}");
        }
    }
}
