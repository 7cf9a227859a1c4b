// The benchmark page of a service: its parameters with the command that they make, the run that goes on with its
// output, and everything that was measured before.

import { get, part, post, sentence } from "./api.js";
import { toast } from "./dialog.js";
import { facts as pairs, fill, h, link, notice, trouble } from "./dom.js";
import { badge, headline, state } from "./figures.js";
import { short } from "./format.js";
import { runTable } from "./history.js";
import { listen, refreshing } from "./live.js";
import { output } from "./output.js";
import { parameters } from "./parameters.js";
import { progress } from "./progress.js";
import { trendOf } from "./trend.js";

/** From the last key to the preview, in milliseconds. */
const PAUSE = 250;
const OWN_FLAGS = "These are the service's own flags, as far as llama-bench takes them.";

export async function service(main, { name, query, signal, go }) {
    const { services } = await get("/api/services", signal);
    const known = services.find((each) => each.name === name);
    if (!known) {
        const error = new Error(`There is no service ${name}. The compose files of the settings define the services.`);
        fill(main, h("h1", {}, name), trouble(error), h("p", {}, link("/", "All services")));
        return;
    }
    const status = h("span", { id: "status" });
    const latest = h("div", {}, headline(known.latest));
    const facts = h("div", {}, about(known));
    const trend = trendOf({ service_name: name }, signal);
    const history = runTable({
        filters: { service_name: name }, signal, go,
        changed: ({ runs }) => { if (runs[0]) fill(status, badge(runs[0].status, runs[0].message)); },
    });
    const form = known.measurable ? await benchmark(known, query.get("from"), signal) : null;
    fill(main,
        h("div", { class: "head" }, h("h1", {}, name), h("span", { class: "badge" }, known.kind), state(known.state), status),
        h("div", { class: "columns" },
            form?.element ?? notice("llama-bench measures llama.cpp services. This one is measured by a load test: save a request of kind ",
                h("code", {}, "LoadTest"), " that names it, as ", h("code", {}, `benchlet new LoadTest --service ${name}`), " prints one."),
            h("div", { class: "panel" }, h("h2", {}, "Latest"), latest, h("h2", {}, "Service"), facts)),
        form?.live,
        h("h2", {}, "History"), history.element,
        h("h2", {}, "Trend"), trend.element);
    await Promise.all([history.load(), trend.load()]);
    // An apply changes the service, a run its figures.
    refreshing(signal, (data, kind) => kind === "status", async () => {
        const now = (await get("/api/services", signal)).services.find((each) => each.name === name);
        if (!now) return;
        fill(latest, headline(now.latest));
        fill(facts, about(now));
        if (!now.run) await trend.load();
    });
}

function about(known) {
    return pairs([
        ["Model", known.model], ["Image", known.image], ["GPUs", known.gpus],
        ["Flags", known.flags && h("code", {}, known.flags)], ["Defined in", known.source],
    ]);
}

/** The form, with the output of the run that goes on below it. */
async function benchmark(known, from, signal) {
    const path = `/api/services/${part(known.name)}`;
    const [defaults, earlier] = await Promise.all([
        get(`${path}/defaults`, signal),
        from ? get(`/api/benchmarks/${part(from)}`, signal).catch(() => null) : null,
    ]);
    let running = known.run;
    let watch = null;
    const said = h("div", { role: "alert" });
    const preview = h("pre", { class: "command", tabindex: "0", "aria-label": "The exact command" });
    const remarks = h("div", { class: "small" });
    const origin = h("p", { class: "soft small" });
    const start = h("button", { type: "button", class: "main" }, "Run");
    const live = h("div", { class: "live" });
    let valid = true;
    const state = () => {
        start.disabled = Boolean(running) || !valid;
        fill(start, running ? "A benchmark is in progress" : "Run");
    };

    let timer = null;
    let asked = null;
    const look = async () => {
        asked?.abort();
        asked = new AbortController();
        try {
            const told = await post(`${path}/preview`, { params: rows.get() }, asked.signal);
            fill(preview, told.command);
            fill(remarks, told.executor === "docker" && h("p", { class: "soft" }, "Where the image has llama-bench is looked up when it runs."), told.cases > 1 && h("p", { class: "soft" }, `${told.cases} figures in one run.`),
                told.warnings.map((warning) => notice(sentence(warning))));
            fill(said);
            valid = true;
        } catch (error) {
            if (error.name === "AbortError") return;
            valid = false;
            fill(preview);
            fill(remarks);
            fill(said, h("p", { class: "notice bad" }, error.message));
        }
        state();
    };
    const rows = parameters(() => {
        clearTimeout(timer);
        timer = setTimeout(look, PAUSE);
    });
    signal.addEventListener("abort", () => {
        clearTimeout(timer);
        watch?.abort();
    });

    const follow = (run) => {
        running = run;
        watch?.abort();
        watch = new AbortController();
        fill(live, watched(run, watch.signal, () => {
            running = null;
            state();
        }));
        state();
    };
    start.addEventListener("click", async () => {
        start.disabled = true;
        try {
            const { id } = await post("/api/benchmarks", { service_name: known.name, params: rows.get() });
            fill(said);
            follow(id);
            toast(`The benchmark of ${known.name} is started.`, "good", link(`/runs/${id}`, short(id)));
            live.scrollIntoView({ block: "nearest" });
        } catch (error) {
            fill(said, h("p", { class: "notice bad" }, error.message));
            state();
        }
    });
    const reset = h("button", { type: "button" }, "Reset to service defaults");
    reset.addEventListener("click", () => {
        rows.set(defaults.service_params);
        fill(origin, OWN_FLAGS);
    });

    if (earlier) {
        rows.set(earlier.params);
        fill(origin, "These are the parameters of run ", link(`/runs/${earlier.id}`, short(earlier.id)), ".");
    } else {
        rows.set(defaults.params);
        fill(origin, defaults.source === "run"
            ? ["These are the parameters of the newest run, ", link(`/runs/${defaults.run}`, short(defaults.run)), "."]
            : OWN_FLAGS);
    }
    // A run may also begin elsewhere: by a file, by the command line, on another page.
    listen(signal, (kind, data) => {
        const run = kind === "status" ? data.run : null;
        if (run?.service_name === known.name && run.status === "running" && running !== run.id && data.kind !== "Apply") follow(run.id);
    });
    if (running) follow(running);
    state();
    const element = h("div", { class: "panel" },
        h("h2", {}, "Parameters"), origin, rows.element, h("div", { class: "buttons" }, rows.more, reset),
        h("h3", {}, "Command"), preview, remarks,
        defaults.dropped.length > 0 && h("details", { class: "small" }, h("summary", {}, "Flags of the service that llama-bench does not have"),
            h("ul", {}, defaults.dropped.map((line) => h("li", {}, line)))),
        said, h("div", { class: "buttons" }, start));
    return { element, live };
}

/** A run that goes on. */
function watched(run, signal, ended) {
    const status = h("span", {}, badge("pending"));
    const state = h("div", {}, progress(run, signal));
    const lines = output(run, signal, (told) => {
        fill(status, badge(told.status, told.message));
        if (!told.ended) return;
        fill(state, h("span", { class: "soft small" }, told.message));
        ended();
    });
    return h("div", {}, h("div", { class: "head" }, h("h2", {}, "Run ", link(`/runs/${run}`, short(run))), status), state, lines);
}
