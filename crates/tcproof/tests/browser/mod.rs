//! What a browser makes of a report.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// What browsers are called that take Chromium's options.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// The narrowest telephone, and a desk.
const WIDTHS: [u32; 2] = [360, 1440];

pub(crate) struct Browser {
    name: &'static str,
    /// Its profile, and the pages that it measures others by.
    folder: TempDir,
}

impl Browser {
    pub(crate) fn or_skip(what: &str) -> Option<Self> {
        let runs = |name: &&&str| Command::new(name).arg("--version").output().is_ok_and(|done| done.status.success());
        let Some(name) = BROWSERS.iter().find(runs) else {
            // Past the harness, which keeps what a test that passes prints.
            let _ = writeln!(std::io::stderr(), "SKIP a browser on {what}: there is no {}", BROWSERS.join(", "));
            return None;
        };
        Some(Self { name, folder: TempDir::new().expect("a directory") })
    }

    /// The page as it then is, and what the browser complained about.
    fn open(&self, file: &Path, dark: bool) -> (String, Vec<String>) {
        let done = Command::new("timeout")
            .args(["60", self.name, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"])
            .args(["--virtual-time-budget=2000", "--dump-dom"])
            .arg(format!("--blink-settings=preferredColorScheme={}", if dark { 0 } else { 1 }))
            .arg(format!("--user-data-dir={}", self.folder.path().join("profile").display()))
            .arg(format!("file://{}", file.display()))
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{said}");
        let complaints = said.lines().filter(|line| line.contains("CONSOLE")).map(Into::into).collect();
        (String::from_utf8(done.stdout).expect("UTF-8"), complaints)
    }

    /// It complains about nothing in either theme, and nothing is wider than the window when all is unfolded.
    pub(crate) fn judge(&self, file: &Path) {
        let page = fs::read_to_string(file).expect("a page");
        let name = file.display();
        for dark in [false, true] {
            let (_, complaints) = self.open(file, dark);
            assert_eq!(complaints, Vec::<String>::new(), "{name}");
        }
        // The policy keeps scripts out of a report. So frames of a page beside it measure a copy without it, as a window of
        // its own has a least width that is wider than a telephone.
        let start = page.find("<meta http-equiv").expect("a policy");
        let end = start + page[start..].find('>').expect("its end") + 1;
        let bare = format!("{}{}", &page[..start], &page[end..]);
        let measure = "<script>addEventListener('load', () => { \
            document.querySelectorAll('details').forEach((one) => one.open = true); \
            const root = document.documentElement; \
            parent.postMessage([innerWidth, root.scrollWidth], '*'); });</script>";
        fs::write(self.folder.path().join("bare.html"), format!("{bare}{measure}")).expect("it is written");
        let frames: String = WIDTHS
            .iter()
            .map(|width| format!("<iframe src=bare.html width={width} height=900 style=border:0></iframe>"))
            .collect();
        let listen = "<p id=measured></p><script>addEventListener('message', (event) => { \
            document.getElementById('measured').append(event.data.join(' in '), ';'); });</script>";
        let outer = self.folder.path().join("outer.html");
        fs::write(&outer, format!("<!doctype html>{listen}{frames}")).expect("it is written");
        let (dom, _) = self.open(&outer, false);
        let (_, measured) = dom.split_once("<p id=\"measured\">").expect("an answer");
        let mut measured: Vec<_> = measured.split_once("</p>").expect("its end").0.split_terminator(';').collect();
        measured.sort_unstable();
        // A page with a bar for scrolling has less than the window, never more.
        assert_eq!(measured.len(), WIDTHS.len(), "{name}: {measured:?}");
        for one in measured {
            let (window, content) = one.split_once(" in ").expect("two numbers");
            let [window, content]: [u32; 2] = [window, content].map(|number| number.parse().expect("a number"));
            assert!(WIDTHS.contains(&window) && content <= window, "{name}: {content} in a window of {window}");
        }
    }
}
