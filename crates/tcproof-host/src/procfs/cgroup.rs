//! `/proc/PID/cgroup`: the control groups of a process, `HIERARCHY:CONTROLLERS:PATH` on each line.

use tcproof_core::Absent;

use super::At;

/// The control group's path, as the kernel writes it: with ` (deleted)` behind it when the group was removed.
///
/// Version 2's (`0::/…`), else that of version 1's hierarchy which systemd keeps, else of the memory controller's,
/// which container runtimes always use: the first that is not `/`. Where version 2 is only mounted beside version 1,
/// every process is in version 2's `/`.
///
/// # Errors
/// A line that has not three fields; no line of those, as where no hierarchy is mounted.
pub fn parse(text: &str, place: &str) -> Result<String, Absent> {
    let (mut unified, mut systemd, mut memory) = (None, None, None);
    for (at, line) in At::lines(text, place) {
        // The path may hold colons.
        let mut fields = line.splitn(3, ':');
        let (Some(hierarchy), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(at.wrong("HIERARCHY:CONTROLLERS:PATH", line));
        };
        if hierarchy == "0" && controllers.is_empty() {
            unified = Some(path);
        }
        for controller in controllers.split(',') {
            match controller {
                "name=systemd" => systemd = Some(path),
                "memory" => memory = Some(path),
                _ => {}
            }
        }
    }
    let paths = [unified, systemd, memory];
    let path = paths.into_iter().flatten().find(|path| *path != "/").or(paths.into_iter().flatten().next());
    let none = || At::end(text, place).missing("a control group of version 2, of systemd or of memory");
    path.map(str::to_string).ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::tests::{each_kernel, error};

    #[test]
    fn every_kernel() {
        let shown = each_kernel("proc/4242/cgroup", |text, place| Ok(format!(" {}", parse(text, place)?)));
        insta::assert_snapshot!(shown, @"
        4.19: /system.slice/api.service
        5.10: /docker/3f2a90c1d5e4
        6.1: /system.slice/a:b.service
        6.12: /
        6.18: /batch/job-1
        7.2: /
        ");
    }

    #[test]
    fn the_first_path_that_says_something() {
        let of = |text| parse(text, "f").unwrap();
        assert_eq!(of("0::/\n"), "/");
        assert_eq!(of("0::/a.service (deleted)\n"), "/a.service (deleted)");
        assert_eq!(of("3:memory:/m\n1:name=systemd:/s\n0::/\n"), "/s");
        assert_eq!(of("3:cpu,memory:/m\n1:name=systemd:/\n"), "/m");
        assert_eq!(of("3:memory:/\n"), "/");
    }

    #[test]
    fn hostile_text_is_named_by_its_line() {
        insta::assert_snapshot!([
            error(parse("", "/proc/7/cgroup")),
            error(parse("4:cpu:/a\n", "/proc/7/cgroup")),
            error(parse("0::/a\n3:memory", "/proc/7/cgroup")),
        ].join("\n"), @r#"
        /proc/7/cgroup:1: expected a control group of version 2, of systemd or of memory
        /proc/7/cgroup:2: expected a control group of version 2, of systemd or of memory
        /proc/7/cgroup:2: expected HIERARCHY:CONTROLLERS:PATH, found "3:memory"
        "#);
    }
}
