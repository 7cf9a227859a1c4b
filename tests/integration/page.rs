//! The page as a person sees it, in a real browser on the real controller: the login, what each page shows, by
//! mouse and by keyboard, light, dark and narrow.

use fantoccini::key::Key;
use serde_json::{Value, json};

use crate::api_client::Client;
use crate::browser::{Browser, Scheme, Size};
use crate::workbench::Workbench;

/// A controller with a browser that has logged in.
pub struct Visit {
    pub bench: Workbench,
    pub client: Client,
    pub browser: Browser,
}

impl Visit {
    /// Before the login; `None` where this run of the tests does without a browser.
    fn at_the_door(mut bench: Workbench) -> Option<Self> {
        let browser = Browser::open(Scheme::Light, Size::WIDE)?;
        bench.serve();
        let client = Client::of(&mut bench);
        Some(Self { bench, client, browser })
    }

    /// `None` where this run of the tests does without a browser.
    pub fn begin(bench: Workbench) -> Option<Self> {
        let visit = Self::at_the_door(bench)?;
        visit.browser.go(&visit.address("/login"));
        visit.log_in();
        visit.browser.wait_for(".cards");
        Some(visit)
    }

    pub fn address(&self, path: &str) -> String {
        format!("http://{}{path}", self.client.address)
    }

    pub fn go(&self, path: &str) {
        self.browser.go(&self.address(path));
    }

    pub fn log_in(&self) {
        self.browser.type_into("#token", &self.client.token);
        self.browser.click_text("button", "Log in");
    }

    /// Adds a row to the form.
    pub fn add_parameter(&self, flag: &str, value: &str) {
        self.browser.click_text("button", "Add a parameter");
        self.browser.type_into(".parameter:last-child input:first-child", flag);
        self.browser.type_into(".parameter:last-child input:nth-child(2)", value);
    }

    /// Measures a service over the API and waits for the end.
    pub fn measured(&mut self, service: &str, params: Value) -> String {
        let answer =
            self.client.post("/api/benchmarks", &json!({ "service_name": service, "params": params }));
        assert_eq!(answer.status, 202, "{answer:?}");
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        let client = &self.client;
        self.bench.until("the run ends", |_| {
            (client.get(&format!("/api/benchmarks/{id}")).json()["completed_at"] != Value::Null).then_some(())
        });
        id
    }
}

pub const QUICK: &str = "{ service: simulated, params: { -p: 16, -n: 4, -r: 1 } }";

#[test]
fn whoever_is_not_logged_in_is_asked_for_the_token_and_led_back() {
    let Some(visit) = Visit::at_the_door(Workbench::without_docker()) else { return };
    let browser = &visit.browser;
    visit.go("/requests?phase=Invalid");
    browser.type_into("#token", "not-the-token");
    browser.click_text("button", "Log in");
    browser.wait_text("[role=alert]", "The token is wrong.");
    visit.log_in();
    browser.wait_text("h1", "Requests");
    assert_eq!(browser.value("#filter-phase"), "Invalid");
    assert!(browser.url().ends_with("/requests?phase=Invalid"), "{}", browser.url());
    browser.click_text("button", "Log out");
    browser.wait_for("#token");
    visit.go("/runs");
    browser.wait_for("#token");
    assert_eq!(browser.script("return document.cookie"), json!(""), "no script can read the login");
}

#[test]
fn a_login_leads_to_no_other_site() {
    let Some(visit) = Visit::begin(Workbench::without_docker()) else { return };
    visit.go("/login?next=//example.com/");
    visit.log_in();
    visit.browser.wait_text("h1", "Services");
    assert_eq!(visit.browser.url(), visit.address("/"));
}

#[test]
fn the_keyboard_alone_leads_from_the_login_to_a_finished_benchmark() {
    let Some(visit) = Visit::at_the_door(Workbench::without_docker()) else { return };
    let browser = &visit.browser;
    visit.go("/");
    browser.wait_for("#token");
    browser.type_into("#token", &visit.client.token);
    browser.press(Key::Enter);
    browser.wait_for("[data-service=simulated]");
    let tab_to = |what: &str| {
        for _ in 0..60 {
            browser.press(Key::Tab);
            if browser.focused().contains(what) {
                return;
            }
        }
        panic!("{what} is not reached; the focus is on {}", browser.focused());
    };
    // The last card is the stand-in's.
    tab_to("\"simulated\"");
    browser.press(Key::Enter);
    browser.wait_text("h1", "simulated");
    browser.wait_text("pre.command", "sim llama-bench");
    tab_to("Run");
    browser.press(Key::Enter);
    browser.wait_text(".runs tbody", "completed");
}

#[test]
fn every_page_fits_light_dark_and_narrow_and_no_script_fails() {
    let bench = Workbench::without_docker();
    bench.save_long_ago("quick", QUICK);
    std::fs::write(
        bench.request_path("load.yaml"),
        "apiVersion: benchlet/v1\nkind: LoadTest\nspec: { targets: [{ engine: simulated }], load: { requests: 30, \
         concurrency: [1, 2] }, output: { maxTokens: 8 } }\n",
    )
    .unwrap();
    bench.save_long_ago("broken", "{ service: simulated, parms: {} }");
    let Some(mut visit) = Visit::begin(bench) else { return };
    let load = visit.bench.until_runs_ended("load", 1)[0].id.to_string();
    let first = visit.bench.until_runs_ended("quick", 1)[0].id.to_string();
    let second = visit.measured("simulated", json!({ "-p": "32", "-n": "4", "-r": "2" }));
    let pages = [
        "/".to_owned(),
        "/services/simulated".to_owned(),
        "/services/chat".to_owned(),
        "/runs".to_owned(),
        format!("/runs/{first}"),
        format!("/runs/{load}"),
        format!("/compare?baseline={first}&candidate={second}"),
        "/compare".to_owned(),
        "/trends?request=quick".to_owned(),
        "/models".to_owned(),
        "/requests".to_owned(),
        "/requests/quick".to_owned(),
        "/requests/broken".to_owned(),
        "/login".to_owned(),
    ];
    let narrow = Browser::open(Scheme::Dark, Size::NARROW).unwrap();
    narrow.go(&visit.address("/login"));
    narrow.type_into("#token", &visit.client.token);
    narrow.click_text("button", "Log in");
    narrow.wait_for(".cards");
    for (browser, dark) in [(&visit.browser, false), (&narrow, true)] {
        for page in &pages {
            browser.go(&visit.address(page));
            browser.wait_for("main:not([aria-busy]) h1");
            let over = browser.script("return document.documentElement.scrollWidth - window.innerWidth");
            assert!(over.as_f64().unwrap() <= 0.0, "{page} scrolls sideways by {over}, dark: {dark}");
            let is_dark = "const colour = getComputedStyle(document.body).backgroundColor.match(/\\d+/g);
                return colour.slice(0, 3).every((part) => part < 64)";
            assert_eq!(browser.script(is_dark), json!(dark), "{page}");
            let nameless =
                "const named = (e) => e.textContent.trim() || e.ariaLabel || e.title || e.labels?.length;
                const controls = [...document.querySelectorAll('button, input, select, a')];
                return controls.filter((e) => !e.closest('[hidden]') && !named(e)).map((e) => e.outerHTML)";
            assert_eq!(browser.script(nameless), json!([]), "{page}: every control has a name");
        }
        assert_eq!(browser.console_errors(), Vec::<String>::new());
    }
}

#[test]
fn what_a_file_or_a_model_says_is_text_and_never_markup() {
    let bench = Workbench::without_docker();
    std::fs::write(
        bench.request_path("evil.yaml"),
        "apiVersion: benchlet/v1\nkind: LlamaBench\nspec:\n  service: \"<img src=x onerror=document.title='owned'>\"\n  \
         \"<script>document.title='owned'</script>\": 1\n",
    )
    .unwrap();
    let Some(mut visit) = Visit::begin(bench) else { return };
    visit.bench.until_reason("evil", "Invalid");
    visit.go("/requests/evil");
    visit.browser.wait_text(".source", "<script>document.title='owned'</script>");
    assert_eq!(
        visit.browser.script("return document.querySelectorAll('main img, main script').length"),
        json!(0)
    );
    assert_ne!(visit.browser.script("return document.title"), json!("owned"));
}

#[test]
fn a_page_goes_on_by_itself_when_the_controller_comes_back() {
    let bench = Workbench::without_docker();
    bench.save_long_ago("quick", QUICK);
    let Some(mut visit) = Visit::begin(bench) else { return };
    visit.bench.until_runs_ended("quick", 1);
    let listen = visit.client.address.clone();
    visit.go("/requests");
    visit.browser.wait_text("[data-request=quick]", "Completed");
    visit.bench.stop();
    visit.browser.wait_text("#link", "no connection");
    visit.bench.serve_with(&[("BENCHLET_LISTEN", &listen)]);
    visit.browser.wait_gone("#link .badge");
    visit.bench.save("later", QUICK);
    visit.browser.wait_text("[data-request=later]", "Completed");
}

#[test]
fn an_address_that_is_none_says_so() {
    let Some(visit) = Visit::begin(Workbench::without_docker()) else { return };
    for address in ["/requests/%E0%A4%A", "/services/none", "/runs/0123abcd", "/somewhere/else"] {
        visit.go(address);
        visit.browser.wait_for("main:not([aria-busy]) h1");
        let text = visit.browser.text("main");
        assert!(text.contains("here is no") || text.contains("has no such address"), "{address}: {text}");
    }
}

#[test]
fn as_many_windows_as_one_likes_share_one_stream() {
    let Some(visit) = Visit::begin(Workbench::without_docker()) else { return };
    // More than a browser has connections to one server.
    for _ in 0..8 {
        visit.browser.new_window();
        visit.go("/requests");
        visit.browser.wait_text("main:not([aria-busy])", "No requests yet.");
    }
    visit.bench.save("told", QUICK);
    visit.browser.wait_text("[data-request=told]", "Completed");
}

#[test]
fn models_are_ranked_and_an_estimate_answers_how_long_a_workload_takes() {
    let bench = Workbench::without_docker();
    std::fs::write(
        bench.request_path("load.yaml"),
        "apiVersion: benchlet/v1\nkind: LoadTest\nspec: { targets: [{ engine: simulated, model: big }], load: { requests: 40 }, \
         output: { maxTokens: 8 } }\n",
    )
    .unwrap();
    let Some(mut visit) = Visit::begin(bench) else { return };
    visit.bench.until_runs_ended("load", 1);
    visit.go("/models");
    let browser = &visit.browser;
    // Nothing was measured for real, which the page says.
    browser.wait_text("main", "big");
    browser.wait_text("main", "its figures are made up");
    let told = |requests: &str| {
        let path = format!("/v1/benchmarks/estimate?model=big&num_requests={requests}&simulated=true");
        visit.client.get(&path).json()["estimate"]["total_time_hours"].as_f64().unwrap()
    };
    browser.type_into("#num-requests", "200000");
    browser.wait_text(".big", "for 200,000 requests");
    let hours = told("200000");
    let shown = browser.text(".panel .facts");
    let first = shown.lines().find(|line| line.contains(" h, ")).unwrap_or_else(|| panic!("{shown}"));
    let shown: f64 = first.split(' ').next().unwrap().replace(',', "").parse().unwrap();
    assert!((shown - hours).abs() <= hours * 0.01, "{shown} for {hours}");
    browser.type_into("#num-requests", "0");
    browser.wait_text("main", "num_requests is a whole number from 1");
}

#[test]
fn ten_thousand_runs_come_a_page_at_a_time() {
    let Some(visit) = Visit::begin(with_many_runs()) else { return };
    visit.go("/runs");
    let browser = &visit.browser;
    browser.wait_text(".pager", "1–20 of 10,000");
    assert_eq!(browser.texts(".runs tbody tr").len(), 20);
    browser.click_text("button", "Older");
    browser.wait_text(".pager", "21–40 of 10,000");
    browser.script(
        "document.querySelector('#filter-status').value = 'failed'; \
        document.querySelector('#filter-status').dispatchEvent(new Event('change'))",
    );
    browser.wait_text(".pager", "1–20 of 100");
    let first = &browser.texts(".runs tbody tr")[0];
    assert!(first.contains("failed") && first.contains("it melted"), "{first}");
}

#[test]
fn a_step_in_the_history_is_drawn_and_told_with_the_run_that_made_it() {
    let Some(visit) = Visit::begin(with_many_runs()) else { return };
    visit.go("/trends?service_name=old");
    let browser = &visit.browser;
    browser.wait_text(".steps li", "regression");
    // The first run of the lower level is number 9901.
    browser.wait_text(".steps li a", "000026ad");
    browser.wait_text(".steps li", "tok/s (-");
    assert_eq!(browser.texts(".keys .key"), ["runs", "level"]);
    browser.click_text(".steps a", "000026ad");
    browser.wait_text("h1", "Run 000026ad");
}

/// A history of another tool that was imported: one run in a hundred failed, and the last hundred are slower.
fn with_many_runs() -> Workbench {
    let bench = Workbench::without_docker();
    let file = bench.path("history.db");
    let other = rusqlite::Connection::open(&file).unwrap();
    other
        .execute_batch(
            "CREATE TABLE benchmark_runs (id TEXT PRIMARY KEY, service_name TEXT, model_path TEXT, status TEXT,
               params_json TEXT, pp_avg_ts REAL, pp_stddev_ts REAL, tg_avg_ts REAL, tg_stddev_ts REAL, raw_output TEXT,
               error_message TEXT, created_at TEXT, started_at TEXT, completed_at TEXT);
             WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 10000)
             INSERT INTO benchmark_runs
             SELECT printf('%08x-0000-4000-8000-000000000000', n), 'old', '/models/a.gguf',
               iif(n % 100 = 0, 'failed', 'completed'), '{\"-p\":\"512\",\"-n\":\"128\"}',
               iif(n % 100 = 0, NULL, iif(n > 9900, 900.0, 1000.0) + n % 7), 2.0, iif(n % 100 = 0, NULL, 80.0), 0.5, NULL,
               iif(n % 100 = 0, 'it melted', NULL), datetime(1770000000 + n * 60, 'unixepoch'),
               datetime(1770000000 + n * 60, 'unixepoch'), datetime(1770000030 + n * 60, 'unixepoch')
             FROM numbers;",
        )
        .unwrap();
    drop(other);
    let output = bench.command(&["import", file.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    bench
}
