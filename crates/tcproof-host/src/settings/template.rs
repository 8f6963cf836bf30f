//! Files that something fills in before they are used: Jinja, ERB, Go, autoconf.

use std::path::{Path, PathBuf};

use tcproof_core::lint::{File, Format};

/// What names end in before they are filled in.
const EXTENSIONS: &[&str] = &["ctmpl", "erb", "gotmpl", "in", "j2", "jinja", "jinja2", "template", "tmpl", "tpl"];
/// What is put in there begins so.
const MARKS: &[&str] = &["{{", "{%", "<%", "${"];

/// The path that the file has once it is filled in: `99-web.conf` for `99-web.conf.j2`.
pub(super) fn filled_in(path: &Path) -> PathBuf {
    let is_template = path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known));
    // `configure.in` and `Makefile.in` have no other extension before theirs.
    let has_another = path.file_stem().is_some_and(|stem| Path::new(stem).extension().is_some());
    if is_template && has_another { path.with_extension("") } else { path.to_path_buf() }
}

/// Leaves out what is not known before the file is filled in. Lines that one condition holds together go apart from
/// the others: only one of two branches is there in the end. Scripts and YAML see to that themselves.
pub(super) fn leave_out(file: &mut File) {
    if !matches!(file.format, Format::Sysctl | Format::Tuned | Format::Unit) {
        return;
    }
    let lines: Vec<(bool, u32)> = file
        .text
        .lines()
        .scan(0, |branch, line| {
            let line = line.trim_start();
            let is_control = line.starts_with("{%") || line.starts_with("{{-") || line.starts_with("<%");
            *branch += u32::from(is_control);
            Some((is_filled_in(line), *branch))
        })
        .collect();
    if lines.iter().all(|(is_filled_in, _)| !is_filled_in) {
        return;
    }
    let of = |number: u32| lines.get((number as usize).wrapping_sub(1)).copied().unwrap_or_default();
    file.settings.retain(|setting| !of(setting.at.line).0);
    file.strays.retain(|stray| !of(stray.at.line).0);
    let branches = lines.last().map_or(0, |(_, branch)| branch + 1);
    for setting in &mut file.settings {
        setting.group = setting.group * branches + of(setting.at.line).1;
    }
}

fn is_filled_in(line: &str) -> bool {
    MARKS.iter().any(|mark| line.contains(mark)) || has_placeholder(line)
}

/// `@NAME@`, as autoconf and CMake have it.
fn has_placeholder(line: &str) -> bool {
    let parts: Vec<&str> = line.split('@').collect();
    let between = parts.get(1..parts.len() - 1).unwrap_or_default();
    between.iter().any(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(text: &str) -> String {
        let mut file = crate::settings::parse("99-web.conf.j2", text);
        leave_out(&mut file);
        let settings = file.settings.iter().map(|setting| format!("{} {}", setting.group, setting.key));
        let strays = file.strays.iter().map(|stray| format!("stray {}", stray.at.line));
        settings.chain(strays).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn the_path_that_it_will_have() {
        for (path, filled) in [
            ("a/99-web.conf.j2", "a/99-web.conf"),
            ("nginx.service.erb", "nginx.service"),
            ("Makefile.in", "Makefile.in"),
            ("sysctl.conf", "sysctl.conf"),
            ("j2", "j2"),
        ] {
            assert_eq!(filled_in(Path::new(path)), Path::new(filled));
        }
    }

    #[test]
    fn what_is_filled_in_is_not_known() {
        let text = "net.a = {{ a }}\nnet.b = 1\nnet.c = 4096 ${MID} 1\nnet.d = @TW_MAX@\nnet.e = <%= @e %>\nnet.f\n";
        assert_eq!(left(text), "0 net.b; stray 6");
        assert_eq!(left("# someone@example.org and @me\nnet.a = 1\n"), "0 net.a");
    }

    #[test]
    fn of_two_branches_only_one_is_there() {
        let text = "net.a = 1\n{% if big %}\nnet.b = 2\n{% else %}\nnet.b = 3\n{% endif %}\n";
        assert_eq!(left(text), "0 net.a; 1 net.b; 2 net.b");
    }
}
