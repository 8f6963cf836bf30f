//! What `tcproof lint` costs on many lines.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{ExitCode, Stdio};

use anyhow::{Result, ensure};

use super::measure::Cost;
use super::{release_binary, spread, this_program};

/// Lines of one file: a large one, as people have them.
const LINES_OF_A_FILE: u32 = 200;
/// What the lines are made of: comments, keys of the table and others, patterns, mistakes.
const LINES: [&str; 10] = [
    "# why the next line is here, and who asked for it",
    "net.core.somaxconn = 8192",
    "net.ipv4.tcp_rmem = 4096 131072 67108864",
    "net/ipv4/tcp_keepalive_time = 600",
    "net.ipv4.conf.*.rp_filter = 2",
    "-net.ipv4.tcp_tw_recycle = 1",
    "net.ipv4.tcp_max_syn_backlog = 8192",
    "vm.swappiness = 10",
    "net.ipv4.tcp_max_tw_bucket = 1",
    "net.ipv4.ip_local_port_range = 1024 65535",
];

#[derive(clap::Args)]
pub(crate) struct LintArgs {
    /// Numbers of lines
    #[arg(long, value_delimiter = ',', default_values_t = [100, 10_000, 100_000])]
    lines: Vec<u32>,
    /// How often each is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

pub(crate) fn run(workspace: &Path, args: &LintArgs) -> Result<ExitCode> {
    let binary = release_binary(workspace)?;
    println!("tcproof lint --root TREE, {} runs each: min / median / max", args.runs);
    println!("{:>10}   {:>24}   {:>24}", "lines", "CPU ms", "peak MiB");
    for lines in &args.lines {
        let tree = tempfile::tempdir()?;
        write_tree(tree.path(), *lines)?;
        let root = tree.path().display().to_string();
        let mut costs: Vec<Cost> = Vec::new();
        for _ in 0..args.runs {
            let mut one = this_program("bench-one")?;
            one.args(["--", &binary, "lint", "--root", &root, "--kernel", "6.18", "--memory", "16G", "--json"]);
            let output = one.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
            ensure!(output.status.success(), "the measured command failed");
            costs.push(serde_json::from_slice(&output.stdout)?);
        }
        let cpu = spread(costs.iter().map(|cost| cost.cpu_ms).collect());
        let peak = spread(costs.iter().map(|cost| cost.peak_kib as f64 / 1024.0).collect());
        println!("{lines:>10}   {cpu:>24}   {peak:>24}");
    }
    Ok(ExitCode::SUCCESS)
}

fn write_tree(root: &Path, lines: u32) -> Result<()> {
    let folder = root.join("etc/sysctl.d");
    std::fs::create_dir_all(&folder)?;
    for file in 0..lines.div_ceil(LINES_OF_A_FILE) {
        let of_file = LINES_OF_A_FILE.min(lines - file * LINES_OF_A_FILE);
        let mut text = String::new();
        for line in (0..of_file).zip(LINES.iter().cycle()) {
            writeln!(text, "{}", line.1)?;
        }
        std::fs::write(folder.join(format!("{file:04}.conf")), text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tree_has_as_many_lines_as_asked_for() {
        let tree = tempfile::tempdir().unwrap();
        super::write_tree(tree.path(), 450).unwrap();
        let files = std::fs::read_dir(tree.path().join("etc/sysctl.d")).unwrap().map(|file| file.unwrap().path());
        let lines: Vec<_> = files.map(|file| std::fs::read_to_string(file).unwrap().lines().count()).collect();
        assert_eq!((lines.len(), lines.iter().sum::<usize>()), (3, 450));
    }
}
