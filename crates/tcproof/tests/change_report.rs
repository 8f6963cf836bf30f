//! The page of a change, as `apply` and `verify` write it: around a listener that is hurt, and a change that cures it.
//!
//! Needs root; says `SKIP` without.

mod browser;
mod place;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use browser::Browser;
use place::Place;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, listen, socket_with};
use serde_json::Value;
use tcproof_lab::kit::rtnl;

/// What the server asks for, and what it gets at first.
const BACKLOG: i32 = 1024;
const CLAMPED: &str = "8";

/// A server that accepts everything twice a second, and clients of whom far more come meanwhile than have room at first, also
/// on a machine that has little time.
struct Hurt {
    /// Once it is there the server listens again, as a reload has it.
    reload: PathBuf,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Hurt {
    fn start(place: &Place) -> Self {
        place.write("net.core.somaxconn", CLAMPED);
        let reload = place.folder.path().join("reload");
        let stop = Arc::new(AtomicBool::new(false));
        // Threads that are made inside stay there.
        let threads = place.namespace.run_in(|| {
            rtnl::up("lo").expect("loopback");
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 8080)).expect("a free port");
            listen(&listener, BACKLOG).expect("a listener");
            listener.set_nonblocking(true).expect("it");
            let (reload, ended) = (reload.clone(), [Arc::clone(&stop), Arc::clone(&stop)]);
            let [server, clients] = ended;
            vec![spawn(move || serve(&listener, &reload, &server)), spawn(move || knock(&clients))]
        });
        Self { reload, stop, threads: threads.expect("the namespace") }
    }
}

fn serve(listener: &TcpListener, reload: &Path, stop: &AtomicBool) {
    let mut is_reloaded = false;
    while !stop.load(Ordering::Relaxed) {
        if !is_reloaded && reload.exists() {
            listen(listener, BACKLOG).expect("it listens again");
            is_reloaded = true;
        }
        while listener.accept().is_ok() {}
        sleep(Duration::from_millis(500));
    }
}

fn knock(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let client =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK, None).expect("a socket");
        // It goes on in the background; whether it gets through is what is watched.
        let _ = connect(&client, &SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)));
        sleep(Duration::from_millis(4));
    }
}

impl Drop for Hurt {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn inside(page: &str, id: &str) -> Value {
    let (_, rest) = page.split_once(&format!("<script type=\"application/json\" id=\"{id}\">")).expect("JSON");
    serde_json::from_str(rest.split_once("</script>").expect("its end").0).expect("JSON")
}

#[test]
fn a_plan_and_its_before_and_after_on_one_page() {
    let Some(place) = Place::new() else { return };
    let hurt = Hurt::start(&place);
    let path = |name: &str| place.folder.path().join(name).display().to_string();
    let (page, text) = (path("page.html"), path("page.md"));
    let plan = place.plan_to("a-1", &[("net.core.somaxconn", "1024")]).display().to_string();
    // Why: as tcproof plan has it, but whatever a busy machine makes of the cause.
    let reason = "[[findings]]\nlimit = \"accept-queue\"\ncause = \"somaxconn-clamps\"\nstate = \"limiting\"\n\
                  confidence = \"proven\"\nsummary = \"dropped\"\n\
                  subject = { kind = \"listener\", netns = \"try\", local = \"127.0.0.1:8080\" }\n[[changes]]";
    let planned = fs::read_to_string(&plan).expect("a plan").replace("[[changes]]", reason);
    fs::write(&plan, planned.replace("findings = []", "findings = [1]")).expect("a plan");
    let reload = hurt.reload.display().to_string();
    let apply = |report: &str, command: &[&str]| {
        let arguments =
            ["apply", &plan, "--yes", "--no-ebpf", "--confirm", "verified", "--for", "1500ms", "--settle", "500ms"];
        place::ended(place.start(
            place::TCPROOF,
            &[&arguments[..], &["--report", report, "--journal", &path("journal")], &["--"], command].concat(),
        ))
    };
    // Where it can't be told to others afterwards, nothing is done.
    let other = path("notes.md");
    fs::write(&other, "# Notes\n").expect("a file");
    for (report, why) in [(&*other, "not overwritten"), ("/nonexistent/page.html", "/nonexistent/page.html")] {
        let (code, said) = apply(report, &["touch", &reload]);
        assert!(code == Some(1) && said.contains(why), "{code:?} {said}");
        assert!(place.read("net.core.somaxconn").trim() == CLAMPED && !hurt.reload.exists(), "{said}");
    }
    // Without the reload nothing is cured: the page says that it was taken back.
    let (code, said) = apply(&text, &["true"]);
    assert_eq!(code, Some(4), "{said}");
    let told = fs::read_to_string(&text).expect("a page");
    let is_bad = ["# NO EFFECT", "# WORSE", "# UNKNOWN"].iter().any(|word| told.starts_with(word));
    assert!(is_bad && told.contains(": accept queue of 127.0.0.1:8080\n"), "{told}");
    assert!(told.contains("- **Now** taken back") && told.contains("### LIMITING: 1. accept queue"), "{told}");
    let plan_again = fs::read_to_string(&plan).expect("a plan").replacen("id = \"", "id = \"again-", 1);
    fs::write(&plan, plan_again).expect("a plan");
    let (code, said) = apply(&page, &["touch", &reload]);
    assert_eq!(code, Some(0), "{said}");
    let told = fs::read_to_string(&page).expect("a page");
    let outcome = inside(&told, "verify")["outcome"].as_str().map(String::from).unwrap_or_default();
    assert!(told.contains(&format!("<title>tcproof: {outcome} on ")), "{said}");
    let somaxconn = place.read("net.core.somaxconn");
    for part in ["in effect", "net.core.somaxconn", &format!("<span>{}</span>", somaxconn.trim()), "touch "] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(inside(&told, "check")["verdict"], "limiting");
    assert_eq!(inside(&told, "check-after")["schema"], "tcproof/check/1");
    assert!(["cured", "better"].contains(&&*outcome), "{outcome}: {said}");
    if let Some(browser) = Browser::or_skip("the page of a change") {
        browser.judge(Path::new(&page));
    }
}

#[test]
fn verify_writes_it_too_and_whoever_confirms_by_hand_has_none() {
    let Some(place) = Place::new() else { return };
    let hurt = Hurt::start(&place);
    let page = place.folder.path().join("page.md");
    let (page, reload) = (page.display().to_string(), hurt.reload.display().to_string());
    let netns = place.namespace.inode().to_string();
    let script = format!("echo 4096 > /proc/sys/net/core/somaxconn; touch {reload}");
    let verify =
        ["verify", "--netns", &netns, "--no-ebpf", "--for", "1500ms", "--report", &page, "--", "sh", "-c", &script];
    let (code, said) = place::ended(place.start(place::TCPROOF, &verify));
    assert_eq!(code, Some(0), "{said}");
    let told = fs::read_to_string(&page).expect("a page");
    let is_good = ["# CURED: ", "# BETTER: "].iter().any(|word| told.starts_with(word));
    assert!(is_good && told.contains(": accept queue of 127.0.0.1:8080\n"), "{told}");
    for row in ["| `net.core.somaxconn`<br>", "| `backlog of 127.0.0.1:8080`<br>", "**Ran** `sh -c echo 4096"] {
        assert!(told.contains(row), "{row}: {told}");
    }
    let plan = place.plan("a-1").display().to_string();
    let (code, said) = place.run(&["apply", &plan, "--yes", "--report", &page]);
    assert!(code == Some(2) && said.contains("--confirm verified"), "{code:?} {said}");
}
