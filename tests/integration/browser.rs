//! A real browser for one test, without a window: opens pages, and looks, clicks and types as a person does.
//! What a page has not done yet is waited for here, so that no test waits. Where nothing comes, the test
//! fails with what the page shows and what its console says.
//!
//! A selector means the first element of its kind that is displayed. Time is UTC, the language English,
//! scroll bars take no room, and the page is asked for reduced motion, so that nothing moves away from a click.
// Its errors are of the size that fantoccini gives them.
#![allow(clippy::result_large_err)]

use std::cell::RefCell;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use fantoccini::actions::{InputSource as _, KeyAction, KeyActions};
use fantoccini::elements::{Element, ElementRef};
use fantoccini::error::CmdError;
use fantoccini::key::Key;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::browser_processes::{self, Driver};
use crate::left_out::{Need, is_left_out};

/// For what a page may take its time for.
const PATIENCE: Duration = Duration::from_secs(30);
/// For one question; only what hangs reaches this.
const DEADLINE: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(20);

/// What the scripts below know: `all` that the selector means, `seen` of them on the page.
const EYES: &str = "
    const [css, more] = arguments;
    const is_seen = element => {
        const box = element.closest('select') ?? element;
        const visible = box.checkVisibility({ opacityProperty: true, visibilityProperty: true });
        return visible && box.getClientRects().length > 0;
    };
    const is_enabled = element => !element.matches(':disabled') && element.ariaDisabled !== 'true';
    const text = element => (element.innerText ?? element.textContent ?? '').trim();
    const all = [...document.querySelectorAll(css)];
    const seen = all.filter(is_seen);
";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Light,
    Dark,
}

/// What the page has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

impl Size {
    pub const WIDE: Self = Self { width: 1280, height: 900 };
    pub const NARROW: Self = Self { width: 390, height: 844 };
}

pub struct Browser {
    runtime: Runtime,
    client: Client,
    patience: Duration,
    /// Entries of the console so far; the driver tells each but once.
    console: RefCell<Vec<Value>>,
    driver: Driver,
}

impl Browser {
    /// `None` where this run of the tests does without.
    pub fn open(scheme: Scheme, size: Size) -> Option<Self> {
        if is_left_out(Need::Browser) {
            return None;
        }
        let driver = Driver::start();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let url = driver.url();
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities(&driver));
        let client = runtime.block_on(async { tokio::time::timeout(DEADLINE, builder.connect(&url)).await });
        let client = client.unwrap_or_else(|_| panic!("no session in time\n{}", driver.log()));
        let client = client.unwrap_or_else(|error| panic!("no session: {error}\n{}", driver.log()));
        let browser = Self { runtime, client, patience: PATIENCE, console: RefCell::default(), driver };
        let scheme = match scheme {
            Scheme::Light => "light",
            Scheme::Dark => "dark",
        };
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        browser.devtools("Emulation.setEmulatedMedia", json!({ "features": features }));
        browser.resize(size.width, size.height);
        Some(browser)
    }

    /// For tests of what does not come.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    pub fn processes(&self) -> &Driver {
        &self.driver
    }

    // --- Pages ------------------------------------------------------------------------------------

    /// Opens an address, and waits until it has loaded.
    #[track_caller]
    pub fn go(&self, url: &str) {
        let went = self.ask(self.client.goto(url));
        went.unwrap_or_else(|error| self.fail(&format!("going to {url}"), Some(&error)));
        // The driver takes the browser's own page about a page that is not there for one.
        if self.script("return location.protocol") == "chrome-error:" {
            self.fail(&format!("going to {url}"), None);
        }
    }

    #[track_caller]
    pub fn url(&self) -> String {
        self.ask(self.client.current_url()).unwrap().to_string()
    }

    /// The page's own width and height, which a window could not have as small.
    #[track_caller]
    pub fn resize(&self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// One window more, to which everything goes from now on. The others stay as they are.
    #[track_caller]
    pub fn new_window(&self) {
        let opened = self.ask(self.client.new_window(false)).unwrap();
        self.ask(self.client.switch_to_window(opened.handle)).unwrap();
    }

    /// The whole page, as far down as it goes, as a PNG.
    #[track_caller]
    pub fn screenshot(&self, file: &Path) {
        let size = &self.devtools("Page.getLayoutMetrics", json!({}))["cssContentSize"];
        let clip = json!({ "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1 });
        let how = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let picture = self.devtools("Page.captureScreenshot", how);
        let picture = base64::prelude::BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        std::fs::write(file, picture).unwrap();
    }

    /// What this body of a function returns; a promise is waited for.
    #[track_caller]
    pub fn script(&self, script: &str) -> Value {
        let told = self.ask(self.client.execute(script, Vec::new()));
        told.unwrap_or_else(|error| self.fail(&format!("the script {script:?}"), Some(&error)))
    }

    /// What the console holds against the page so far: errors of scripts, and what did not load.
    #[track_caller]
    pub fn console_errors(&self) -> Vec<String> {
        self.read_console().unwrap();
        let console = self.console.borrow();
        let severe = console.iter().filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    // --- Looking ----------------------------------------------------------------------------------

    /// Waits until it is displayed.
    #[track_caller]
    pub fn wait_for(&self, css: &str) -> Seen<'_> {
        let element =
            self.until(&format!("{css} is displayed"), async || self.find("return seen[0]", css, None).await);
        Seen { browser: self, element }
    }

    /// Waits until one of them has this in its text.
    #[track_caller]
    pub fn wait_text(&self, css: &str, needle: &str) {
        self.until(&format!("{css} shows {needle:?}"), async || {
            let shows =
                self.look("return seen.some(each => text(each).includes(more))", css, Some(needle)).await?;
            Ok((shows == true).then_some(()))
        });
    }

    /// Waits until none is displayed.
    #[track_caller]
    pub fn wait_gone(&self, css: &str) {
        self.until(&format!("{css} is gone"), async || {
            Ok((self.look("return seen.length", css, None).await? == 0).then_some(()))
        });
    }

    /// Its text as it is displayed, which a style may have put in capitals.
    #[track_caller]
    pub fn text(&self, css: &str) -> String {
        self.read("text", css, "return seen.length ? text(seen[0]) : null")
    }

    /// The texts of all that are displayed now.
    #[track_caller]
    pub fn texts(&self, css: &str) -> Vec<String> {
        let texts = self.ask(self.look("return seen.map(text)", css, None));
        let texts = texts.unwrap_or_else(|error| self.fail(&format!("the texts of {css}"), Some(&error)));
        serde_json::from_value(texts).unwrap()
    }

    /// What is in a field.
    #[track_caller]
    pub fn value(&self, css: &str) -> String {
        self.read("value", css, "return seen.length ? String(seen[0].value ?? '') : null")
    }

    /// Of the first in the document, displayed or not.
    #[track_caller]
    pub fn attribute(&self, css: &str, name: &str) -> Option<String> {
        let told = self.until(&format!("{css} is there, for its {name}"), async || {
            let told =
                self.look("return all.length ? [all[0].getAttribute(more)] : null", css, Some(name)).await?;
            Ok((!told.is_null()).then_some(told))
        });
        told[0].as_str().map(str::to_owned)
    }

    #[track_caller]
    pub fn is_enabled(&self, css: &str) -> bool {
        self.read("state", css, "return seen.length ? String(is_enabled(seen[0])) : null") == "true"
    }

    /// What has the focus: `button#save "Save"`, `input "Name of the run"`, `body`.
    #[track_caller]
    pub fn focused(&self) -> String {
        self.read(
            "focus",
            "body",
            "const focus = document.activeElement ?? document.body;
            const id = focus.id ? '#' + focus.id : '';
            const name = focus.ariaLabel ?? focus.labels?.[0]?.innerText ?? focus.placeholder ?? text(focus);
            const line = name.trim().split('\\n')[0];
            const is_named = line && focus !== document.body;
            return focus.localName + id + (is_named ? ` \"${line}\"` : '');",
        )
    }

    // --- Acting -----------------------------------------------------------------------------------

    /// Once it is displayed and enabled, and nothing lies over it. Scrolls there.
    #[track_caller]
    pub fn click(&self, css: &str) {
        self.act(&format!("{css} can be clicked"), css, None, async |element| element.click().await);
    }

    /// The one with exactly this text. Chooses an option of a list, too.
    #[track_caller]
    pub fn click_text(&self, css: &str, text: &str) {
        let what = format!("{css} with the text {text:?} can be clicked");
        self.act(&what, css, Some(text), async |element| element.click().await);
    }

    /// Types into a field, over what is there.
    #[track_caller]
    pub fn type_into(&self, css: &str, text: &str) {
        let (control, delete, release) = (Key::Control, Key::Delete, Key::Null);
        let keys = format!("{control}a{release}{delete}{text}");
        self.act(&format!("{css} can be typed into"), css, None, async |element| {
            element.send_keys(&keys).await
        });
    }

    /// A key for whatever has the focus.
    #[track_caller]
    pub fn press(&self, key: Key) {
        self.press_together(&[key]);
    }

    /// Keys that are held in this order, as Shift and Tab.
    #[track_caller]
    pub fn press_together(&self, keys: &[Key]) {
        let keys = keys.iter().map(|key| char::from(*key));
        let down = keys.clone().map(|value| KeyAction::Down { value });
        let up = keys.rev().map(|value| KeyAction::Up { value });
        let actions = down.chain(up).fold(KeyActions::new("keys".to_owned()), KeyActions::then);
        let pressed = self.ask(self.client.perform_actions(actions));
        pressed.unwrap_or_else(|error| self.fail("pressing keys", Some(&error)));
    }

    // --- Underneath -------------------------------------------------------------------------------

    #[track_caller]
    fn ask<T>(&self, question: impl Future<Output = T>) -> T {
        let answer = self.runtime.block_on(async { tokio::time::timeout(DEADLINE, question).await });
        answer.unwrap_or_else(|_| panic!("the browser does not answer\n{}", self.driver.log()))
    }

    /// Looks until there is something. What goes wrong meanwhile may be the page changing.
    #[track_caller]
    fn until<T>(&self, what: &str, look: impl AsyncFn() -> Result<Option<T>, CmdError>) -> T {
        let deadline = Instant::now() + self.patience;
        loop {
            let error = match self.ask(look()) {
                Ok(Some(found)) => return found,
                Ok(None) => None,
                Err(error) => Some(error),
            };
            if Instant::now() > deadline || error.as_ref().is_some_and(is_final) {
                self.fail(what, error.as_ref());
            }
            std::thread::sleep(LOOK);
        }
    }

    async fn look(&self, script: &str, css: &str, more: Option<&str>) -> Result<Value, CmdError> {
        self.client.execute(&format!("{EYES}{script}"), vec![json!(css), json!(more)]).await
    }

    async fn find(&self, script: &str, css: &str, more: Option<&str>) -> Result<Option<Element>, CmdError> {
        let found = self.look(script, css, more).await?;
        let id = found.as_object().and_then(|object| object.values().next()).and_then(Value::as_str);
        Ok(id.map(|id| Element::from_element_id(self.client.clone(), ElementRef::from(id.to_owned()))))
    }

    /// A text about the page, once there is one.
    #[track_caller]
    fn read(&self, what: &str, css: &str, script: &str) -> String {
        self.until(&format!("{css} is displayed, for its {what}"), async || {
            Ok(self.look(script, css, None).await?.as_str().map(str::to_owned))
        })
    }

    #[track_caller]
    fn act(
        &self,
        what: &str,
        css: &str,
        text: Option<&str>,
        act: impl AsyncFn(&Element) -> Result<(), CmdError>,
    ) {
        let script = "
            const one = seen.find(each => more === null || text(each) === more);
            return one && is_enabled(one) ? one : null";
        self.until(what, async || {
            let Some(element) = self.find(script, css, text).await? else { return Ok(None) };
            act(&element).await.map(Some)
        });
    }

    /// The browser's own protocol, for what WebDriver lacks.
    #[track_caller]
    fn devtools(&self, method: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": method, "params": parameters });
        let told = self.ask(self.client.issue_cmd(Vendor { path: "goog/cdp/execute", body }));
        told.unwrap_or_else(|error| self.fail(method, Some(&error)))
    }

    fn read_console(&self) -> Result<(), CmdError> {
        let log = Vendor { path: "se/log", body: json!({ "type": "browser" }) };
        let told = self.ask(self.client.issue_cmd(log))?;
        self.console.borrow_mut().extend(told.as_array().cloned().unwrap_or_default());
        Ok(())
    }

    /// Ends the test with what there is to see.
    #[track_caller]
    fn fail(&self, what: &str, error: Option<&CmdError>) -> ! {
        let script = "return [location.href, document.title, document.body?.innerText ?? '']";
        let page = self.ask(self.client.execute(script, Vec::new()));
        let page = page.unwrap_or_else(|error| json!(["", "", format!("(not to be read: {error})")]));
        let [url, title, text] = [0, 1, 2].map(|at| page[at].as_str().unwrap_or_default());
        let text: String = text.chars().take(4000).collect();
        let unread = self.read_console().err().map(|error| format!("(not to be read: {error})\n"));
        let console = self.console.borrow();
        let console: Vec<String> =
            console.iter().map(|entry| format!("{} {}", entry["level"], entry["message"])).collect();
        panic!(
            "in vain: {what}\n{}--- {url} {title:?}\n{text}\n--- console\n{}{}\n--- chromedriver\n{}",
            error.map(|error| format!("{error}\n")).unwrap_or_default(),
            unread.unwrap_or_default(),
            console.join("\n"),
            self.driver.log(),
        );
    }
}

/// An element that was displayed when it was found.
pub struct Seen<'b> {
    browser: &'b Browser,
    element: Element,
}

impl Seen<'_> {
    /// Where it lies in the page: left, top, width and height.
    #[track_caller]
    pub fn rectangle(&self) -> (f64, f64, f64, f64) {
        self.browser.ask(self.element.rectangle()).unwrap()
    }

    #[track_caller]
    pub fn text(&self) -> String {
        self.browser.ask(self.element.text()).unwrap()
    }
}

/// What no waiting mends.
fn is_final(error: &CmdError) -> bool {
    match error {
        CmdError::Standard(error) => error.message.contains("not a valid selector"),
        _ => true,
    }
}

fn capabilities(driver: &Driver) -> serde_json::Map<String, Value> {
    let profile = format!("--user-data-dir={}", driver.home().join("profile").display());
    let options = json!({
        "binary": browser_processes::browser(),
        // Its own first page takes longer than all the rest.
        "prefs": { "session": { "restore_on_startup": 4, "startup_urls": ["about:blank"] } },
        "args": [
            profile, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic",
            "--no-first-run", "--hide-scrollbars", "--no-proxy-server", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--lang=en-US", "--window-size=1400,1100",
        ],
    });
    let wanted = json!({
        "goog:chromeOptions": options,
        "goog:loggingPrefs": { "browser": "ALL" },
        "timeouts": { "pageLoad": 60_000, "script": 30_000 },
    });
    wanted.as_object().unwrap().clone()
}

/// A command that WebDriver itself lacks.
#[derive(Debug)]
struct Vendor {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Vendor {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &url::Url) -> (hyper::Method, Option<String>) {
        (hyper::Method::POST, Some(self.body.to_string()))
    }
}
