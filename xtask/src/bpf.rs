//! Makes the eBPF programs' light skeletons again and compares, by a tool outside the workspace (`tools/skeletons`) that
//! alone needs libbpf and libelf, and by one release of clang, so that equal sources make equal bytes.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

/// What the committed files were made by. Another release makes other instructions.
const CLANG: &str = "clang-14";
/// Little-endian: one blob is for x86-64 and for ARM. No path of a machine gets into the file, which has the names of its
/// sources in it: they are named from their own folder.
const FLAGS: [&str; 9] = [
    "-target",
    "bpfel",
    "-mcpu=v3",
    "-O2",
    "-g",
    "-fdebug-compilation-dir=.",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",
];
const FOLDER: &str = "crates/tcproof-bpf/programs";
const TABLE: &str = "crates/tcproof-bpf/src/programs.rs";
const SUMS: &str = "SHA256SUMS";
/// Also libc's headers for libbpf's own build.
const PACKAGES: &str = "clang-14 gcc make pkg-config libelf-dev zlib1g-dev";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Change nothing; exit with 1 when what is committed is not what the sources make
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(workspace: &Path, built: &Path, args: &Args) -> Result<ExitCode> {
    if let Some(missing) = missing() {
        let need = format!("there is no {missing} (apt-get install {PACKAGES})");
        ensure!(args.check, "{need}");
        println!("SKIP bpf: {need}");
        return Ok(ExitCode::SUCCESS);
    }
    let out = built.join("bpf");
    fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
    let made = make(&workspace.join(FOLDER), &generator(workspace, built)?, &out)?;
    let mut differing = Vec::new();
    for (file, bytes) in made {
        let path = workspace.join(&file);
        if fs::read(&path).is_ok_and(|old| old == bytes) {
            continue;
        }
        if !args.check {
            fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
            println!("wrote {}", file.display());
        }
        differing.push(file);
    }
    if args.check && !differing.is_empty() {
        for file in differing {
            println!("{} is not what its sources make: run `cargo xtask bpf`", file.display());
        }
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// What this machine lacks to make skeletons.
fn missing() -> Option<&'static str> {
    let runs = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|it| it.success())
    };
    let tools = [CLANG, "cc", "make", "pkg-config"];
    let tool = tools.into_iter().find(|tool| !runs(tool, &["--version"]));
    tool.or_else(|| ["libelf", "zlib"].into_iter().find(|library| !runs("pkg-config", &["--exists", library])))
}

fn generator(workspace: &Path, built: &Path) -> Result<PathBuf> {
    let built = built.join("skeletons");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--locked", "--quiet", "--target-dir"])
        .arg(&built)
        .current_dir(workspace.join("tools/skeletons"))
        .status()
        .context("running cargo")?;
    ensure!(status.success(), "the generator was not built");
    Ok(built.join("release/tcproof-skeletons"))
}

/// Every file that is made, from the workspace's folder, with its content.
fn make(folder: &Path, generator: &Path, out: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let (mut sources, mut headers) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let name = entry?.file_name();
        let name = name.to_str().context("a program's name")?;
        sources.extend(name.strip_suffix(".bpf.c").map(str::to_owned));
        headers.extend(name.ends_with(".h").then(|| name.to_owned()));
    }
    sources.sort();
    headers.sort();
    let mut made = Vec::new();
    let mut skeletons = Vec::new();
    // As `sha256sum --check` reads it. The sources are in it too: what was changed without making the blobs again is
    // noticed where there is no clang.
    let mut sums = Vec::new();
    for header in headers {
        let text = fs::read(folder.join(&header)).with_context(|| format!("reading {header}"))?;
        sums.push((header, text));
    }
    for name in &sources {
        let (source, object) = (format!("{name}.bpf.c"), out.join(format!("{name}.bpf.o")));
        let status = Command::new(CLANG)
            .args(FLAGS)
            .args(["-Werror", "-c", &source, "-o"])
            .arg(&object)
            .current_dir(folder)
            .status()
            .with_context(|| format!("running {CLANG}"))?;
        ensure!(status.success(), "{source} was not compiled");
        let blob = out.join(name);
        let output = Command::new(generator).arg(&object).arg(&blob).output().context("running the generator")?;
        if !output.status.success() {
            bail!("no skeleton of {source}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let said = String::from_utf8(output.stdout).context("what the generator says")?;
        skeletons.push(Skeleton::new(name, &said));
        sums.push((source.clone(), fs::read(folder.join(&source)).with_context(|| format!("reading {source}"))?));
        for extension in ["data", "insns"] {
            let file = format!("{name}.{extension}");
            let bytes = fs::read(out.join(&file)).with_context(|| format!("reading {file}"))?;
            made.push((Path::new(FOLDER).join(&file), bytes.clone()));
            sums.push((file, bytes));
        }
    }
    made.push((Path::new(FOLDER).join(SUMS), checksums(&sums).into_bytes()));
    made.push((TABLE.into(), table(&skeletons).into_bytes()));
    Ok(made)
}

fn checksums(files: &[(String, Vec<u8>)]) -> String {
    let mut text = String::new();
    for (name, bytes) in files {
        for byte in Sha256::digest(bytes) {
            let _ = write!(text, "{byte:02x}");
        }
        let _ = writeln!(text, "  {name}");
    }
    text
}

struct Skeleton {
    name: String,
    maps: Vec<String>,
    programs: Vec<String>,
}

impl Skeleton {
    /// From what the generator says: a line for each map and program.
    fn new(name: &str, said: &str) -> Self {
        let named = |kind: &str| said.lines().filter_map(|line| line.strip_prefix(kind)).map(str::to_owned).collect();
        Self { name: name.to_owned(), maps: named("map "), programs: named("program ") }
    }
}

/// The Rust side, as `cargo fmt` leaves it.
fn table(skeletons: &[Skeleton]) -> String {
    let mut text =
        "//! Written by `cargo xtask bpf` from `programs/*.bpf.c`.\n\nuse crate::skeleton::Skeleton;\n".to_owned();
    for Skeleton { name, maps, programs } in skeletons {
        let _ = write!(
            text,
            "\n/// `programs/{name}.bpf.c`\npub static {}: Skeleton = Skeleton {{\n    name: \"{name}\",\n    \
             data: include_bytes!(\"../programs/{name}.data\"),\n    \
             insns: include_bytes!(\"../programs/{name}.insns\"),\n    maps: &{maps:?},\n    programs: &{programs:?},\n}};\n",
            name.to_uppercase()
        );
    }
    let names: Vec<_> = skeletons.iter().map(|skeleton| format!("&{}", skeleton.name.to_uppercase())).collect();
    let _ =
        writeln!(text, "\n/// All of them.\npub static ALL: [&Skeleton; {}] = [{}];", names.len(), names.join(", "));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_rust() {
        let skeleton = Skeleton::new("walk", "map buffers\nprogram walk\nprogram tables\n");
        insta::assert_snapshot!(table(&[skeleton]), @r#"
        //! Written by `cargo xtask bpf` from `programs/*.bpf.c`.

        use crate::skeleton::Skeleton;

        /// `programs/walk.bpf.c`
        pub static WALK: Skeleton = Skeleton {
            name: "walk",
            data: include_bytes!("../programs/walk.data"),
            insns: include_bytes!("../programs/walk.insns"),
            maps: &["buffers"],
            programs: &["walk", "tables"],
        };

        /// All of them.
        pub static ALL: [&Skeleton; 1] = [&WALK];
        "#);
    }

    #[test]
    fn sums_are_those_of_sha256sum() {
        assert_eq!(
            checksums(&[("empty".into(), Vec::new())]),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  empty\n"
        );
    }
}
