//! The browser of the tests itself, on a page that is made for it: it sees, clicks and types, tells what is
//! wrong with a page, and leaves nothing behind.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use fantoccini::key::Key;
use rustix::process::{Pid, Signal, getpid, kill_process};
use serde_json::json;

use crate::browser::{Browser, Scheme, Size};
use crate::browser_processes::living;
use crate::file_server::FileServer;
use crate::left_out::{Need, is_left_out};
use crate::polling::until;

/// In the environment of a test run that a test starts.
const CHILD: &str = "BENCHLET_TEST_BROWSER_OF_A_KILLED_RUN";

const PAGE: &str = r#"<!doctype html><html lang="en"><title>Harness</title><link rel="icon" href="data:,">
<style>
    .capitals { text-transform: uppercase }
    #far { margin-top: 3000px }
</style>
<h1 class="capitals">Runs</h1>
<label>Name <input id="name" value="before"></label>
<textarea id="notes" aria-label="Notes"></textarea>
<select id="kind"><option value="a">Alpha</option><option value="b">Beta</option></select>
<button id="greet">Greet</button> <button id="later" disabled>Later</button>
<a href="/second">Second page</a>
<ul><li>one</li><li> two </li><li hidden>three</li></ul>
<p id="said"></p><p id="keys"></p><p id="hidden" hidden data-note="still here">hidden</p>
<button id="far">Far down</button>
<script>
    const by = id => document.getElementById(id);
    const say = text => { by("said").textContent = text };
    by("greet").onclick = () => setTimeout(() => say("Hello, " + by("name").value + "!"), 100);
    by("far").onclick = () => say("reached");
    by("later").onclick = () => say("enabled at last");
    by("kind").onchange = () => say("kind " + by("kind").value);
    document.onkeydown = event => { by("keys").textContent += event.key + " " };
    setTimeout(() => { by("later").disabled = false }, 300);
</script>"#;

const SECOND: &str = "<!doctype html><title>Second</title><link rel=icon href=data:,><h1>Second</h1>";

const BROKEN: &str = "<!doctype html><title>Broken</title><link rel=icon href=data:,><p>It is broken</p>
<script>console.log('only said'); throw new Error('the script gave up')</script>";

/// A cover that goes by itself, and a button that is replaced again and again until then.
const RESTLESS: &str = "<!doctype html><title>Restless</title><link rel=icon href=data:,>
<style>#cover { position: fixed; inset: 0; background: white }</style>
<main></main><p id=said></p><div id=cover>Loading</div>
<script>
    const draw = () => {
        document.querySelector('main').innerHTML = '<button>Go</button>';
        document.querySelector('button').onclick = () => { document.querySelector('#said').textContent += 'went' };
    };
    draw();
    const drawing = setInterval(draw, 5);
    setTimeout(() => { clearInterval(drawing); document.querySelector('#cover').remove() }, 700);
</script>";

fn server() -> FileServer {
    FileServer::new(|asked, answer| {
        let page = match asked.path.as_str() {
            "/" => PAGE,
            "/second" => SECOND,
            "/broken" => BROKEN,
            "/restless" => RESTLESS,
            _ => return answer.status("404 Not Found"),
        };
        let length = page.len().to_string();
        let headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", &length)];
        answer.send("200 OK", &headers, page.as_bytes());
    })
}

/// What a failing test says.
fn complaint(test: impl FnOnce()) -> String {
    let complaint = catch_unwind(AssertUnwindSafe(test)).expect_err("it fails");
    *complaint.downcast::<String>().expect("a text")
}

#[test]
fn a_browser_clicks_and_types() {
    let Some(browser) = Browser::open(Scheme::Light, Size::WIDE) else { return };
    let server = server();
    browser.go(&server.url());
    browser.type_into("#name", "Ada");
    browser.type_into("#notes", "first\nsecond");
    browser.type_into("#notes", "");
    browser.click("#greet");
    browser.wait_text("#said", "Hello, Ada!");
    assert_eq!(browser.value("#name"), "Ada");
    assert_eq!(browser.value("#notes"), "");
    browser.click_text("button", "Far down");
    browser.wait_text("#said", "reached");
    browser.click("#later");
    browser.wait_text("#said", "enabled at last");
    browser.click_text("#kind option", "Beta");
    browser.wait_text("#said", "kind b");
    browser.click_text("a", "Second page");
    browser.wait_text("h1", "Second");
    assert_eq!(browser.url(), format!("{}/second", server.url()));
    assert_eq!(browser.console_errors(), Vec::<String>::new());
}

#[test]
fn a_browser_sees_what_a_person_sees() {
    let Some(browser) = Browser::open(Scheme::Light, Size::WIDE) else { return };
    let server = server();
    browser.go(&server.url());
    assert_eq!(browser.text("h1"), "RUNS");
    assert_eq!(browser.wait_for("h1").text(), "RUNS");
    assert_eq!(browser.texts("li"), ["one", "two"]);
    assert!(browser.texts("table").is_empty());
    browser.wait_gone("#hidden");
    assert_eq!(browser.attribute("#hidden", "data-note").as_deref(), Some("still here"));
    assert_eq!(browser.attribute("#hidden", "title"), None);
    assert!(browser.is_enabled("#greet"));
    browser.script("document.querySelector('#greet').disabled = true");
    assert!(!browser.is_enabled("#greet"));
    assert_eq!(browser.script("return Promise.resolve({ a: [1, null] })"), json!({ "a": [1, null] }));
    assert_eq!(browser.script("return new Date(0).getTimezoneOffset() + navigator.language"), "0en-US");
}

#[test]
fn a_browser_presses_keys_where_the_focus_is() {
    let Some(browser) = Browser::open(Scheme::Light, Size::WIDE) else { return };
    let server = server();
    browser.go(&server.url());
    assert_eq!(browser.focused(), "body");
    browser.press(Key::Tab);
    assert_eq!(browser.focused(), "input#name \"Name\"");
    browser.press(Key::Tab);
    assert_eq!(browser.focused(), "textarea#notes \"Notes\"");
    browser.press_together(&[Key::Shift, Key::Tab]);
    assert_eq!(browser.focused(), "input#name \"Name\"");
    browser.press(Key::Escape);
    browser.press(Key::Down);
    browser.wait_text("#keys", "Tab Tab Shift Tab Escape ArrowDown");
    browser.click("#greet");
    browser.wait_text("#said", "Hello");
    browser.script("document.querySelector('#said').textContent = ''");
    browser.press(Key::Enter);
    browser.wait_text("#said", "Hello");
}

#[test]
fn a_browser_clicks_what_is_covered_and_replaced_meanwhile() {
    let Some(browser) = Browser::open(Scheme::Light, Size::WIDE) else { return };
    let server = server();
    browser.go(&format!("{}/restless", server.url()));
    browser.click("button");
    browser.wait_gone("#cover");
    browser.wait_text("#said", "went");
}

#[test]
fn a_browser_that_waits_in_vain_shows_the_page() {
    let Some(browser) = Browser::open(Scheme::Light, Size::WIDE) else { return };
    let browser = browser.with_patience(Duration::from_millis(200));
    let server = server();
    browser.go(&format!("{}/broken", server.url()));
    let said = complaint(|| drop(browser.wait_for("#missing")));
    for part in
        ["#missing is displayed", "/broken", "Broken", "It is broken", "the script gave up", "only said"]
    {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    let said = complaint(|| browser.click_text("p", "It is whole"));
    assert!(said.contains("p with the text \"It is whole\" can be clicked"), "{said}");
    let said = complaint(|| browser.click("p["));
    assert!(said.contains("not a valid selector"), "{said}");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = complaint(|| browser.go(&format!("http://{nobody}/")));
    assert!(
        said.contains(&format!("going to http://{nobody}/")) && said.contains("ERR_CONNECTION_REFUSED"),
        "{said}"
    );
}

#[test]
fn a_browser_tells_the_errors_of_a_page() {
    let Some(browser) = Browser::open(Scheme::Light, Size::WIDE) else { return };
    let server = server();
    browser.go(&format!("{}/broken", server.url()));
    let errors = browser.console_errors();
    assert!(errors.len() == 1 && errors[0].contains("the script gave up"), "{errors:?}");
    // Those before stay.
    browser.script("return fetch('/nowhere').then(answer => answer.status)");
    let errors = browser.console_errors();
    assert!(errors.len() == 2 && errors[1].contains("404"), "{errors:?}");
}

#[test]
fn a_browser_has_the_scheme_and_size_that_are_asked_for() {
    let server = server();
    let is_dark = "return [matchMedia('(prefers-color-scheme: dark)').matches, innerWidth, innerHeight]";
    for (scheme, size) in [(Scheme::Light, Size::WIDE), (Scheme::Dark, Size::NARROW)] {
        let Some(browser) = Browser::open(scheme, size) else { return };
        for path in ["/", "/second"] {
            browser.go(&format!("{}{path}", server.url()));
            assert_eq!(browser.script(is_dark), json!([scheme == Scheme::Dark, size.width, size.height]));
        }
        browser.resize(1700, 1300);
        assert_eq!(browser.script(is_dark), json!([scheme == Scheme::Dark, 1700, 1300]));
        // In the corner that the window itself does not have.
        browser.script(
            "document.body.innerHTML = '<button style=\"position:fixed;right:0;bottom:0\">Corner</button>';
            document.querySelector('button').onclick = event => { event.target.textContent = 'hit' };",
        );
        browser.click("button");
        browser.wait_text("button", "hit");
        let (left, top, width, height) = browser.wait_for("button").rectangle();
        assert!(left + width > 1699.0 && top + height > 1299.0, "{left} {top} {width} {height}");
    }
}

#[test]
fn a_browser_takes_pictures_of_whole_pages() {
    let Some(browser) = Browser::open(Scheme::Light, Size::NARROW) else { return };
    let server = server();
    browser.go(&server.url());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.png");
    browser.screenshot(&file);
    let picture = std::fs::read(file).unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
    let number = |at: usize| u32::from_be_bytes(picture[at..at + 4].try_into().unwrap());
    assert_eq!(number(16), 390);
    assert!(number(20) > 3000, "{} high", number(20));
    assert_eq!(browser.script("return [innerWidth, innerHeight]"), json!([390, 844]));
}

#[test]
fn a_browser_leaves_nothing_behind() {
    let Some(browser) = Browser::open(Scheme::Light, Size::WIDE) else { return };
    let (group, home) = (browser.processes().pid(), browser.processes().home().to_owned());
    assert!(living(group, &home).len() > 3, "chromedriver, a browser, and what that starts");
    let server = server();
    browser.go(&server.url());
    drop(browser);
    assert_eq!(living(group, &home), []);
    assert!(!home.exists());
}

#[test]
fn a_browser_leaves_nothing_behind_where_its_test_fails() {
    let Some(browser) = Browser::open(Scheme::Light, Size::WIDE) else { return };
    let (group, home) = (browser.processes().pid(), browser.processes().home().to_owned());
    let said = complaint(move || {
        browser.script("document.title = 'about to fail'");
        panic!("{} fails", browser.url());
    });
    assert_eq!(said, "about:blank fails");
    assert_eq!(living(group, &home), []);
    assert!(!home.exists());
}

#[test]
fn a_browser_leaves_nothing_behind_where_its_run_is_killed() {
    if std::env::var_os(CHILD).is_some() {
        let browser = Browser::open(Scheme::Light, Size::WIDE).unwrap();
        println!("\nleft: {} {}", browser.processes().pid(), browser.processes().home().display());
        kill_process(getpid(), Signal::KILL).unwrap();
    }
    if is_left_out(Need::Browser) {
        return;
    }
    let name = "browser_alone::a_browser_leaves_nothing_behind_where_its_run_is_killed";
    let mut run = Command::new(std::env::current_exe().unwrap());
    let output = run.args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let (group, home) = said.lines().find_map(|line| line.strip_prefix("left: ")?.split_once(' ')).unwrap();
    let (group, home) = (Pid::from_raw(group.parse().unwrap()).unwrap(), PathBuf::from(home));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(until("nothing is left", || async {
        (living(group, &home).is_empty() && !home.exists()).then_some(())
    }));
}
