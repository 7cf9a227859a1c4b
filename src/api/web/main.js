// The page's frame: which address shows what, the login before it, the theme, and what stays between addresses.

import { get, onLoginNeeded, part, post } from "./api.js";
import { comparison } from "./comparison.js";
import { toast } from "./dialog.js";
import { fill, h, link, trouble } from "./dom.js";
import { ago, short, took } from "./format.js";
import { runs } from "./history.js";
import { connect, disconnect, listen } from "./live.js";
import { login } from "./login.js";
import { models } from "./models.js";
import { request } from "./request.js";
import { requests } from "./requests.js";
import { run } from "./run.js";
import { service } from "./service.js";
import { services } from "./services.js";
import { trends } from "./trend.js";

const PAGES = [
    [/^\/$|^\/services$/, services, "Services"],
    [/^\/services\/(.+)$/, service, "Service"],
    [/^\/runs$/, runs, "Runs"],
    [/^\/runs\/([^/]+)$/, run, "Run"],
    [/^\/compare$/, comparison, "Compare"],
    [/^\/trends$/, trends, "Trends"],
    [/^\/models$/, models, "Models"],
    [/^\/requests$/, requests, "Requests"],
    [/^\/requests\/(.+)$/, request, "Request"],
    [/^\/login$/, login, "Log in"],
];
const NAVIGATION = [["/", "Services"], ["/runs", "Runs"], ["/requests", "Requests"], ["/models", "Models"]];
const THEMES = ["light dark", "light", "dark"];

const main = document.getElementById("main");
let shown = new AbortController();
let connected = false;

/** Goes to an address of the page, as a link does. */
function go(address, replace = false) {
    if (replace) history.replaceState(null, "", address);
    else history.pushState(null, "", address);
    show();
}

async function show() {
    shown.abort();
    shown = new AbortController();
    const { signal } = shown;
    document.querySelectorAll("dialog").forEach((box) => box.close());
    const { pathname, search } = location;
    const query = new URLSearchParams(search);
    const [pattern, page, title] = PAGES.find(([known]) => known.test(pathname) && decoded(known.exec(pathname)[1]) !== null) ?? [null, nowhere, "Nothing here"];
    const named = pattern?.exec(pathname)[1];
    const name = decoded(named);
    document.title = `${name ?? title} · benchlet`;
    const atLogin = page === login;
    document.getElementById("top").hidden = atLogin;
    if (atLogin) disconnect();
    else if (!connected) connect(tellConnection);
    connected = !atLogin;
    navigation(pathname);
    fill(main, h("p", { class: "soft" }, "Loading …"));
    main.setAttribute("aria-busy", "true");
    window.scrollTo(0, 0);
    try {
        await page(main, { name, query, signal, go });
    } catch (error) {
        if (signal.aborted || error.status === 401) return;
        fill(main, h("h1", {}, title), trouble(error), h("p", {}, h("button", { type: "button", onclick: show }, "Try again")));
        listen(signal, (kind) => { if (kind === "resumed") show(); });
    }
    if (signal.aborted) return;
    main.removeAttribute("aria-busy");
    if (!atLogin) main.focus({ preventScroll: true });
}

/** A name out of an address; null where it is none. */
function decoded(text) {
    try {
        return text === undefined ? undefined : decodeURIComponent(text);
    } catch {
        return null;
    }
}

function nowhere(place) {
    fill(place, h("h1", {}, "Nothing here"), h("p", {}, "The page has no such address. ", link("/", "To the services")));
}

function navigation(path) {
    const current = (href) => (href === "/" ? path === "/" || path.startsWith("/services") : path.startsWith(href));
    fill(document.getElementById("nav"), NAVIGATION.map(([href, name]) =>
        h("a", { href, "aria-current": current(href) && "page" }, name)));
}

function tellConnection(stands) {
    fill(document.getElementById("link"), stands ? null : h("span", { class: "badge bad" }, "no connection"));
}

/** Says how runs end, wherever one looks just now: those that were seen to go on. */
function announce(kind, { name, run: newest }) {
    if (kind !== "status" || !newest) return;
    if (!ENDS[newest.status]) {
        open.add(newest.id);
        return;
    }
    if (open.delete(newest.id)) toast(`${name}: ${newest.status}.`, ENDS[newest.status], link(`/runs/${newest.id}`, short(newest.id)));
}

const open = new Set();
const ENDS = { completed: "good", failed: "bad", cancelled: "bad" };

function theme(next) {
    const index = Number(localStorage.getItem("theme") ?? 0) % THEMES.length;
    const at = next ? (index + 1) % THEMES.length : index;
    localStorage.setItem("theme", String(at));
    document.documentElement.style.colorScheme = THEMES[at];
    const words = ["as the system", "light", "dark"][at];
    const button = document.getElementById("theme");
    fill(button, ["◐", "☀", "☾"][at]);
    button.setAttribute("aria-label", `Colours: ${words}; change`);
    button.title = `Colours: ${words}`;
}

onLoginNeeded(() => {
    if (location.pathname === "/login") return;
    go(`/login?next=${part(location.pathname + location.search)}`, true);
});
document.addEventListener("click", (event) => {
    const anchor = event.target.closest("a[href^='/']");
    const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey;
    if (!anchor || !plain || anchor.target || anchor.hasAttribute("download")) return;
    event.preventDefault();
    go(anchor.getAttribute("href"));
});
window.addEventListener("popstate", show);
document.getElementById("theme").addEventListener("click", () => theme(true));
document.getElementById("logout").addEventListener("click", async () => {
    await post("/api/logout");
    go("/login");
});
listen(new AbortController().signal, announce);
theme(false);
setInterval(() => {
    for (const time of document.querySelectorAll("time[datetime]")) time.textContent = ago(time.dateTime);
    for (const span of document.querySelectorAll("[data-since]")) span.textContent = took(span.dataset.since);
}, 1_000);
// Without a login every call is refused: asked once, before anything is shown.
if (location.pathname === "/login") show();
else get("/api/requests?limit=1").then(show, (error) => { if (error.status !== 401) show(); });
