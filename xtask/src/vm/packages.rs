//! Debian's kernels, from the mirror that this host's own apt is configured with.
//!
//! Other releases than the host's are read through an apt state of our own: the host's lists, sources and caches stay
//! as they are. apt checks the signatures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::modules::{Dependencies, WANTED, name};

/// A kernel of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// What its version begins with.
    pub(crate) version: &'static str,
    /// The Debian release that has it.
    release: &'static str,
}

/// The matrix. The last one is whatever the rolling release has.
pub(crate) const KERNELS: &[Kernel] = &[
    Kernel { version: "5.10", release: "bullseye" },
    Kernel { version: "6.1", release: "bookworm" },
    Kernel { version: "6.12", release: "trixie" },
    Kernel { version: "7", release: "sid" },
];

/// Debian's own keys. Where the package that brings them is missing, apt takes those that it trusts anyway.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A kernel's files.
pub(crate) struct Files {
    /// What boots.
    pub(crate) image: PathBuf,
    /// Names and contents of modules, in the order to load them.
    pub(crate) modules: Vec<(String, Vec<u8>)>,
}

/// Gives a kernel's files: from `cache`, or downloaded into it.
pub(crate) fn files(kernel: Kernel, cache: &Path, fresh: bool) -> Result<Files> {
    let folder = cache.join(kernel.version);
    // Written last: a folder without it is the rest of an attempt.
    let complete = folder.join("release");
    if fresh || !complete.exists() {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let release = download(kernel, &folder)?;
        fs::write(&complete, release)?;
    }
    let release = fs::read_to_string(&complete)?;
    Ok(Files {
        image: image(&folder.join("root"), &release)?,
        modules: modules(&folder.join(format!("root/lib/modules/{release}")))?,
    })
}

/// Since 7.2 the image lies beside the modules.
fn image(root: &Path, release: &str) -> Result<PathBuf> {
    let places = [format!("boot/vmlinuz-{release}"), format!("lib/modules/{release}/vmlinuz")];
    let found = places.iter().map(|place| root.join(place)).find(|file| file.exists());
    found.with_context(|| format!("the packages of {release} have no {}", places.join(" and no ")))
}

fn download(kernel: Kernel, folder: &Path) -> Result<String> {
    let apt = Apt::new(kernel.release, folder.join("apt"))?;
    apt.run("apt-get", &["update"])?;
    let names = apt.run("apt-cache", &["pkgnames", "linux-"])?;
    let (release, packages) = choose(kernel.version, &names)
        .with_context(|| format!("Debian {} has no kernel {} for cloud-amd64", kernel.release, kernel.version))?;
    eprintln!("vm: downloading {}", packages.join(" and "));
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    apt.run("apt-get", &[&["download"], &packages[..]].concat())?;
    let root = folder.join("root");
    for entry in fs::read_dir(&apt.folder)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            succeed(Command::new("dpkg-deb").arg("--extract").args([&file, &root]))?;
        }
    }
    fs::remove_dir_all(&apt.folder)?;
    let moved = root.join("usr/lib/modules");
    if moved.exists() {
        fs::create_dir_all(root.join("lib"))?;
        fs::rename(moved, root.join("lib/modules"))?;
    }
    // The packages leave it to the host they are installed on to say which module needs which.
    succeed(Command::new("depmod").arg("--basedir").args([root.as_os_str(), release.as_ref()]))?;
    Ok(release)
}

/// apt with lists, sources and cache of its own, and the host's settings for everything else, such as a proxy.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn new(release: &str, folder: PathBuf) -> Result<Self> {
        let format = ["indextargets", "--format", "$(LABEL) $(SITE)", "Created-By: Packages"];
        let targets = succeed(Command::new("apt-get").args(format))?;
        let site = site(&targets).context("apt is not configured with a mirror of Debian")?;
        let keys = if Path::new(KEYS).exists() { format!(" signed-by={KEYS}") } else { String::new() };
        for inner in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(inner))?;
        }
        let folder = folder.canonicalize()?;
        fs::write(folder.join("sources.list"), format!("deb [arch=amd64{keys}] {site} {release} main\n"))?;
        fs::write(folder.join("apt.conf"), configuration(&folder.display().to_string()))?;
        Ok(Self { folder })
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(program);
        // apt-get leaves what it downloads in the folder where it runs.
        command.current_dir(&self.folder).env("LC_ALL", "C.UTF-8");
        succeed(command.arg("--config-file").arg(self.folder.join("apt.conf")).args(arguments))
    }
}

/// What differs from the host's configuration, which apt reads before it.
fn configuration(folder: &str) -> String {
    format!(
        r#"Dir::State "{folder}";
Dir::State::lists "{folder}/lists";
Dir::State::status "/dev/null";
Dir::Cache "{folder}/cache";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Retries "2";
APT::Update::Error-Mode "any";
APT::Sandbox::User "root";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"#
    )
}

/// The mirror among lines of label and site. Before the first `apt-get update` apt knows no labels.
fn site(targets: &str) -> Option<&str> {
    let lines = || targets.lines().filter_map(|line| line.rsplit_once(' '));
    let labelled = lines().find(|(label, _)| *label == "Debian");
    let site = labelled.or_else(|| lines().find(|(_, site)| site.trim_end_matches('/').ends_with("/debian")));
    site.map(|(_, site)| site)
}

/// The newest kernel of a version, and its packages. Since 7.2 the image and the modules are two.
fn choose(version: &str, names: &str) -> Option<(String, Vec<String>)> {
    let names: Vec<&str> = names.lines().map(str::trim).collect();
    let of_version = |name: &&str| {
        let release = name.strip_prefix("linux-image-")?.strip_suffix("-cloud-amd64")?;
        let rest = release.strip_prefix(version)?;
        // "6.1" is not "6.12"; and "linux-image-6.12-cloud-amd64" without a patch level is an alias.
        (rest.starts_with('.') && rest.len() > 1).then(|| release.to_string())
    };
    let newest = names.iter().filter_map(of_version).max_by_key(|release| numbers(release))?;
    let release = format!("{newest}-cloud-amd64");
    let split = [format!("linux-binary-{release}"), format!("linux-modules-{release}")];
    let packages = if split.iter().all(|name| names.contains(&name.as_str())) {
        split.to_vec()
    } else {
        vec![format!("linux-image-{release}")]
    };
    Some((release, packages))
}

/// The numbers of a release, by which releases are ordered: 6.1.0-9 comes before 6.1.0-56.
fn numbers(release: &str) -> Vec<u64> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// The wanted modules with what they need, decompressed: not every kernel can do that itself.
fn modules(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let dependencies = folder.join("modules.dep");
    let dependencies = fs::read_to_string(&dependencies).with_context(|| dependencies.display().to_string())?;
    // What has no file is built in, or not of this kernel; the scenarios that need it say so.
    let (order, _) = Dependencies::parse(&dependencies).load_order(WANTED);
    order.into_iter().map(|file| Ok((format!("{}.ko", name(file)), decompressed(&folder.join(file))?))).collect()
}

fn decompressed(file: &Path) -> Result<Vec<u8>> {
    let program = match file.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return fs::read(file).with_context(|| file.display().to_string()),
    };
    output(Command::new(program).args(["--decompress", "--stdout"]).arg(file))
}

fn succeed(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8_lossy(&output(command)?).into_owned())
}

/// Standard output of a program that succeeds; else what it said, as the reason.
fn output(command: &mut Command) -> Result<Vec<u8>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("starting {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it did not say why");
    ensure!(output.status.success(), "{program} failed: {last}");
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &str = "\
linux-image-6.1.0-9-cloud-amd64
linux-image-6.1.0-56-cloud-amd64
linux-image-6.1.0-57-cloud-amd64-dbg
linux-image-6.1.0-58-cloud-amd64-unsigned
linux-image-6.1.0-59-amd64
linux-image-6.12-cloud-amd64
linux-image-6.12.9+deb13-cloud-amd64
linux-image-6.12.107+deb13-cloud-amd64
linux-image-cloud-amd64
linux-image-7.2.13+deb14-cloud-amd64
linux-binary-7.2.13+deb14-cloud-amd64
linux-modules-7.2.13+deb14-cloud-amd64
";

    #[test]
    fn the_newest_kernel_of_a_version_is_chosen() {
        let chosen = |version| choose(version, NAMES).map(|(release, packages)| (release, packages.join(" ")));
        let one = |release: &str| Some((release.to_string(), format!("linux-image-{release}")));
        assert_eq!(chosen("6.1"), one("6.1.0-56-cloud-amd64"));
        assert_eq!(chosen("6.12"), one("6.12.107+deb13-cloud-amd64"));
        let release = "7.2.13+deb14-cloud-amd64";
        let packages = format!("linux-binary-{release} linux-modules-{release}");
        assert_eq!(chosen("7"), Some((release.to_string(), packages)));
        assert_eq!(chosen("5.10"), None);
    }

    #[test]
    fn the_mirror_is_the_one_of_debian_itself() {
        let targets = "Debian-Security http://mirror.example/debian-security\nDebian http://mirror.example/main\n";
        assert_eq!(site(targets), Some("http://mirror.example/main"));
        let without_lists = "$(LABEL) http://mirror.example/debian-security\n$(LABEL) http://mirror.example/debian\n";
        assert_eq!(site(without_lists), Some("http://mirror.example/debian"));
        assert_eq!(site("Ubuntu http://mirror.example/ubuntu\n"), None);
    }
}
