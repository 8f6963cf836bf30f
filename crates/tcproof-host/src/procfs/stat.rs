//! `/proc/stat` and `/proc/PID/stat`: CPU time. Both count in ticks of `1/USER_HZ` seconds and name no column.

use std::time::Duration;

use tcproof_core::Absent;
use tcproof_core::snapshot::{CpuTime, CpuTimes};

use super::At;

/// Ticks a second of everything that procfs shows, whatever the kernel's own HZ is: part of the ABI.
pub const USER_HZ: u64 = 100;

/// What `/proc/PID/stat` tells of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// Name as the kernel has it: at most 15 bytes of any kind.
    pub comm: String,
    /// CPU time spent in the program.
    pub user_time: Duration,
    /// CPU time spent in the kernel.
    pub kernel_time: Duration,
    /// Threads.
    pub threads: u32,
}

/// CPU time of the host from `/proc/stat`. Programs' time includes niced and guests'; idle time includes waiting for
/// disks, when the CPU was free.
///
/// # Errors
/// No line `cpu`, or one that is too short or not of numbers.
pub fn host(text: &str, place: &str, user_hz: u64) -> Result<CpuTimes, Absent> {
    let line = At::lines(text, place).find_map(|(at, line)| Some((at, line.strip_prefix("cpu ")?)));
    let (at, line) = line.ok_or_else(|| At::end(text, place).missing("a line \"cpu  …\""))?;
    let ticks = line.split_ascii_whitespace().map(|word| at.number(word)).collect::<Result<Vec<_>, _>>()?;
    // iowait, irq and softirq are there since 2.6, steal and the guests' came later.
    let [user, nice, system, idle, iowait, _irq, softirq, ..] = ticks[..] else {
        return Err(at.missing("at least 7 numbers"));
    };
    Ok(CpuTimes {
        user: time(user.saturating_add(nice), user_hz),
        system: time(system, user_hz),
        softirq: time(softirq, user_hz),
        idle: time(idle.saturating_add(iowait), user_hz),
    })
}

/// CPU time of each online CPU from `/proc/stat`; `steal` is 0 where the kernel does not count it.
///
/// # Errors
/// No line `cpu0`, `cpu1`, …, or one that is too short or not of numbers.
pub fn cpus(text: &str, place: &str, user_hz: u64) -> Result<Vec<CpuTime>, Absent> {
    let mut cpus = Vec::new();
    for (at, line) in At::lines(text, place) {
        let Some((name, values)) = line.strip_prefix("cpu").and_then(|line| line.split_once(' ')) else { continue };
        let Ok(cpu) = name.parse() else { continue };
        let ticks = values.split_ascii_whitespace().map(|word| at.number(word)).collect::<Result<Vec<_>, _>>()?;
        let [user, nice, system, idle, iowait, irq, softirq, ref more @ ..] = ticks[..] else {
            return Err(at.missing("at least 7 numbers"));
        };
        cpus.push(CpuTime {
            cpu,
            user: time(user.saturating_add(nice), user_hz),
            system: time(system, user_hz),
            irq: time(irq, user_hz),
            softirq: time(softirq, user_hz),
            idle: time(idle.saturating_add(iowait), user_hz),
            steal: time(more.first().copied().unwrap_or(0), user_hz),
        });
    }
    if cpus.is_empty() {
        return Err(At::end(text, place).missing("a line \"cpu0 …\""));
    }
    Ok(cpus)
}

/// CPU time and name of a process from `/proc/PID/stat`. Read the file with [`crate::Root::read_lossy`]: the name need
/// not be UTF-8.
///
/// # Errors
/// No name in parentheses, too few fields, or a field that is no number.
pub fn process(text: &str, place: &str, user_hz: u64) -> Result<ProcessStat, Absent> {
    let at = At { place, line: 1 };
    // A name may hold spaces, parentheses and newlines; what follows it holds none.
    let named = text.rsplit_once(')').and_then(|(head, fields)| Some((head.split_once('(')?.1, fields)));
    let (comm, fields) = named.ok_or_else(|| at.wrong("a process's name in parentheses", text))?;
    // proc(5) counts from the pid, 1, and the name, 2; so the state that follows is 3.
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let field = |number: usize| match fields.get(number - 3) {
        Some(word) => at.number(word),
        None => Err(at.missing(&format!("at least {number} fields"))),
    };
    let threads = field(20)?;
    Ok(ProcessStat {
        comm: comm.to_string(),
        user_time: time(field(14)?, user_hz),
        kernel_time: time(field(15)?, user_hz),
        threads: u32::try_from(threads).map_err(|_| at.wrong("a number of threads", &threads.to_string()))?,
    })
}

fn time(ticks: u64, user_hz: u64) -> Duration {
    let hz = user_hz.max(1);
    let nanos = u128::from(ticks % hz) * 1_000_000_000 / u128::from(hz);
    Duration::from_secs(ticks / hz) + Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::tests::{each_kernel, error};

    #[test]
    fn host_of_every_kernel() {
        let shown = each_kernel("proc/stat", |text, place| Ok(format!(" {:?}", host(text, place, USER_HZ)?)));
        insta::assert_snapshot!(shown, @"
        4.19: CpuTimes { user: 166.7s, system: 52.16s, softirq: 480ms, idle: 2878.44s }
        5.10: CpuTimes { user: 7.55s, system: 37.78s, softirq: 8.7s, idle: 356.21s }
        6.1: CpuTimes { user: 4.41s, system: 22.64s, softirq: 10.48s, idle: 238.7s }
        6.12: CpuTimes { user: 12.39s, system: 56.21s, softirq: 22.28s, idle: 401.96s }
        6.18: CpuTimes { user: 166.63s, system: 52.16s, softirq: 480ms, idle: 2878.44s }
        7.2: CpuTimes { user: 6.1s, system: 27.47s, softirq: 12.22s, idle: 277.89s }
        ");
    }

    #[test]
    fn cpus_of_every_kernel() {
        let shown = each_kernel("proc/stat", |text, place| {
            let cpus = cpus(text, place, USER_HZ)?;
            Ok(cpus.iter().map(|cpu| format!(" cpu{} {:?} {:?}", cpu.cpu, cpu.softirq, cpu.idle)).collect())
        });
        insta::assert_snapshot!(shown, @"
        4.19: cpu0 120ms 1444.32s cpu1 360ms 1434.12s
        5.10: cpu0 2.68s 110.48s cpu2 4.28s 119.79s
        6.1: cpu0 940ms 72.52s cpu2 240ms 85.28s
        6.12: cpu0 4.98s 123.66s cpu2 4.15s 138.83s
        6.18: cpu0 120ms 1444.32s cpu1 350ms 1434.11s
        7.2: cpu0 480ms 89.36s cpu2 11.37s 88.76s
        ");
    }

    #[test]
    fn process_of_every_kernel() {
        let shown = each_kernel("proc/4242/stat", |text, place| Ok(format!(" {:?}", process(text, place, USER_HZ)?)));
        insta::assert_snapshot!(shown, @r#"
        4.19: ProcessStat { comm: "api (worker) 1", user_time: 2.5s, kernel_time: 1.25s, threads: 17 }
        5.10: ProcessStat { comm: "api (worker) 1", user_time: 2.5s, kernel_time: 1.25s, threads: 17 }
        6.1: ProcessStat { comm: "api (worker) 1", user_time: 2.5s, kernel_time: 1.25s, threads: 17 }
        6.12: ProcessStat { comm: "load", user_time: 0ns, kernel_time: 20ms, threads: 1 }
        6.18: ProcessStat { comm: "sleep", user_time: 0ns, kernel_time: 0ns, threads: 1 }
        7.2: ProcessStat { comm: "load", user_time: 0ns, kernel_time: 10ms, threads: 1 }
        "#);
    }

    #[test]
    fn a_name_can_not_pose_as_fields() {
        let text = "7 (x) S 1 1\n(y) S 1 1 1 0 -1 0 0 0 0 0 300 50 0 0 20 0 9 0 0\n";
        let stat = process(text, "f", USER_HZ).unwrap();
        assert_eq!((stat.comm.as_str(), stat.threads), ("x) S 1 1\n(y", 9));
        assert_eq!((stat.user_time, stat.kernel_time), (Duration::from_secs(3), Duration::from_millis(500)));
    }

    #[test]
    fn no_number_of_ticks_overflows() {
        assert_eq!(time(u64::MAX, 0), Duration::from_secs(u64::MAX));
        assert_eq!(time(u64::MAX, u64::MAX), Duration::from_secs(1));
        assert_eq!(time(u64::MAX - 1, u64::MAX).as_secs(), 0);
    }

    #[test]
    fn hostile_text_is_named_by_its_line() {
        insta::assert_snapshot!([
            error(host("", "/proc/stat", USER_HZ)),
            error(host("intr 1\ncpu0 1 2 3 4 5 6 7\n", "/proc/stat", USER_HZ)),
            error(host("intr 1\ncpu  1 2 3 4\n", "/proc/stat", USER_HZ)),
            error(host("cpu  1 2 3 4 5 6 x\n", "/proc/stat", USER_HZ)),
            error(cpus("cpu  1 2 3 4 5 6 7\n", "/proc/stat", USER_HZ)),
            error(cpus("cpu0 1 2 3\n", "/proc/stat", USER_HZ)),
            error(process("", "/proc/7/stat", USER_HZ)),
            error(process("7 (x", "/proc/7/stat", USER_HZ)),
            error(process("7 x)", "/proc/7/stat", USER_HZ)),
            error(process("7 (x) S 1 2 3", "/proc/7/stat", USER_HZ)),
            error(process("7 (x) S 1 1 1 0 -1 0 0 0 0 0 -5 50 0 0 20 0 9 0 0\n", "/proc/7/stat", USER_HZ)),
        ].join("\n"), @r#"
        /proc/stat:1: expected a line "cpu  …"
        /proc/stat:3: expected a line "cpu  …"
        /proc/stat:2: expected at least 7 numbers
        /proc/stat:1: expected a whole number, found "x"
        /proc/stat:2: expected a line "cpu0 …"
        /proc/stat:1: expected at least 7 numbers
        /proc/7/stat:1: expected a process's name in parentheses, found ""
        /proc/7/stat:1: expected a process's name in parentheses, found "7 (x"
        /proc/7/stat:1: expected a process's name in parentheses, found "7 x)"
        /proc/7/stat:1: expected at least 20 fields
        /proc/7/stat:1: expected a whole number, found "-5"
        "#);
    }
}
