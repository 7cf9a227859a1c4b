// Runs, newest first: a table with paging and filters, of a service, of a request or of all.

import { get, part, query } from "./api.js";
import { empty, field, fill, h, link, table } from "./dom.js";
import { badge, failure, flag, flags, simulated, time } from "./figures.js";
import { number, short, spread, took } from "./format.js";
import { listen, refreshing } from "./live.js";
import { words } from "./progress.js";
import { apply, canApply, canRerun, drop, isOpen, rerunPath } from "./run_actions.js";

const PAGE = 20;
const STATUSES = ["pending", "running", "completed", "failed", "cancelled"];
const KINDS = ["LlamaBench", "LoadTest", "Conversation", "Model", "Imported"];

/** The page of all runs. */
export async function runs(main, { query: asked, signal, go }) {
    const service = h("select", { id: "filter-service" }, h("option", { value: "" }, "any"));
    const kind = h("select", { id: "filter-kind" }, h("option", { value: "" }, "any"), KINDS.map((name) => h("option", {}, name)));
    const filters = {
        service_name: asked.get("service") ?? "", kind: asked.get("kind") ?? "", status: asked.get("status") ?? "",
        offset: asked.get("offset") ?? 0,
    };
    const moved = (now) => {
        history.replaceState(null, "", query("/runs", { service: now.service_name, kind: now.kind, status: now.status, offset: now.offset || "" }));
    };
    const shown = runTable({ filters, signal, go, withRequest: true, moved });
    service.addEventListener("change", () => shown.filter({ service_name: service.value }));
    kind.addEventListener("change", () => shown.filter({ kind: kind.value }));
    const [{ services }] = await Promise.all([get("/api/services", signal), shown.load()]);
    const names = new Set([...services.map(({ name }) => name), filters.service_name].filter(Boolean));
    service.append(...[...names].map((name) => h("option", {}, name)));
    service.value = filters.service_name;
    kind.value = filters.kind;
    shown.filters.prepend(
        field("Service", service), field("Kind", kind));
    fill(main, h("h1", {}, "Runs"), shown.element);
}

/**
 * A table of runs that keeps itself up to date. `filters` are those of the API's list; `moved` is told what is
 * shown, `changed` that runs came, went or ended.
 */
export function runTable({ filters, signal, go, withRequest = false, moved = () => {}, changed = () => {} }) {
    let now = { ...filters, offset: Number(filters.offset ?? 0) };
    let chosen = [];
    const status = h("select", { id: "filter-status" }, h("option", { value: "" }, "any"), STATUSES.map((word) => h("option", {}, word)));
    status.value = filters.status ?? "";
    status.addEventListener("change", () => filter({ status: status.value }));
    const both = h("button", { type: "button", disabled: true }, "Compare two runs");
    both.addEventListener("click", () => go(query("/compare", { baseline: chosen[0].id, candidate: chosen[1].id })));
    const bar = h("div", { class: "fields" },
        field("Status", status), both);
    const place = h("div");
    const pager = h("div", { class: "pager" });

    const load = async () => {
        const answer = await get(query("/api/benchmarks", { ...now, limit: PAGE }), signal);
        if (answer.runs.length === 0 && now.offset > 0) {
            now.offset = Math.max(0, Math.floor((answer.total - 1) / PAGE) * PAGE);
            return load();
        }
        draw(answer);
        changed(answer);
        return undefined;
    };
    const filter = (change) => {
        now = { ...now, ...change, offset: 0 };
        moved(now);
        return load();
    };
    const page = (offset) => {
        now = { ...now, offset };
        moved(now);
        return load();
    };

    const choose = (run, box) => {
        chosen = chosen.filter((known) => known.id !== run.id);
        if (box.checked) chosen.push(run);
        if (chosen.length > 2) {
            const first = chosen.shift();
            const other = place.querySelector(`input[data-id="${first.id}"]`);
            if (other) other.checked = false;
        }
        // The older one is what the newer one is held against.
        chosen.sort((a, b) => a.created_at.localeCompare(b.created_at));
        both.disabled = chosen.length !== 2;
    };

    const draw = ({ runs: list, total, offset }) => {
        const filtered = now.status || now.kind || (withRequest && now.service_name);
        if (list.length === 0) {
            fill(place, filtered
                ? empty("No run is like that.", "Choose other filters.")
                : empty("No runs yet.", withRequest
                    ? ["Begin with a service's ", h("b", {}, "Benchmark"), " button, or save a request into the watched directory."]
                    : "The first one appears here as soon as it is started."));
            fill(pager);
            return;
        }
        // The focus stays where it was while the table is drawn anew.
        const focused = place.contains(document.activeElement) ? document.activeElement.dataset.key : null;
        fill(place, table("Runs, newest first", columns(withRequest), list.map((run) => line(run)), { class: "runs" }));
        if (focused) place.querySelector(`[data-key="${focused}"]`)?.focus();
        const last = Math.min(offset + list.length, total);
        fill(pager,
            `${number(offset + 1)}–${number(last)} of ${number(total)}`,
            h("button", { type: "button", class: "tight", disabled: offset === 0, onclick: () => page(Math.max(0, offset - PAGE)) }, "Newer"),
            h("button", { type: "button", class: "tight", disabled: last >= total, onclick: () => page(offset + PAGE) }, "Older"));
    };

    const line = (run) => {
        const box = h("input", {
            type: "checkbox", "aria-label": `Choose run ${short(run.id)}`, "data-id": run.id, "data-key": `box-${run.id}`,
            checked: chosen.some((known) => known.id === run.id), disabled: run.status !== "completed",
        });
        box.addEventListener("change", () => choose(run, box));
        const act = (label, work, kind = "") => h("button", { type: "button", class: `tight ${kind}`, "data-key": `${label}-${run.id}`, onclick: work }, label);
        const bench = run.kind === "LlamaBench";
        const error = failure(run);
        return {
            "data-run": run.id,
            row: [
                box,
                [link(`/runs/${run.id}`, short(run.id)), h("div", { class: "soft small" }, time(run.created_at), !withRequest && !bench && ` · ${run.kind}`)],
                withRequest && [h("div", {}, run.service_name), h("div", { class: "soft small" }, link(`/requests/${part(run.request)}`, run.request), ` · ${run.kind}`)],
                [badge(run.status, run.message), " ", simulated(run.simulated), error && h("div", { class: "error" }, error),
                    isOpen(run) && h("div", { class: "soft small", "data-progress": run.id })],
                bench ? flag(run.params, "-p", "--n-prompt") ?? "–" : "",
                bench ? flag(run.params, "-n", "--n-gen") ?? "–" : "",
                bench ? breakable(flag(run.params, "-b", "--batch-size")) : "",
                bench ? flag(run.params, "-ngl", "--n-gpu-layers") ?? "–" : "",
                bench ? matrix(run) ?? h("span", { title: flags(run.params) }, spread(run.pp_avg_ts, run.pp_stddev_ts)) : "",
                bench ? (matrix(run) ? "" : spread(run.tg_avg_ts, run.tg_stddev_ts)) : run.headline && h("span", { class: "words" }, run.headline),
                isOpen(run) && run.started_at ? h("span", { "data-since": run.started_at }, took(run.started_at)) : took(run.started_at, run.completed_at),
                h("div", { class: "buttons" },
                    canRerun(run) && h("a", { class: "button tight", href: rerunPath(run), "data-key": `rerun-${run.id}` }, "Re-run"),
                    canApply(run) && act("Apply", () => apply(run, load)),
                    act(isOpen(run) ? "Cancel" : "Delete", () => drop(run, load), "danger")),
            ].filter((cell) => cell !== false),
        };
    };

    refreshing(signal, (data, kind) => kind === "status" || Boolean(data.run), load);
    listen(signal, (kind, data) => {
        if (kind !== "progress" || !data.progress) return;
        const cell = place.querySelector(`[data-progress="${CSS.escape(data.run)}"]`);
        if (cell) fill(cell, words(data.progress));
    });
    return { element: h("div", {}, bar, place, pager), filters: bar, load, filter };
}

/** Values that may break after a comma. */
function breakable(values) {
    return values === null ? "–" : h("span", { class: "list" }, values.replaceAll(",", ",\u200b"));
}

/** Several configurations have no one figure. */
function matrix(run) {
    const several = run.status === "completed" && run.pp_avg_ts === null && run.tg_avg_ts === null;
    return several ? link(`/runs/${run.id}`, "several") : null;
}

function columns(withRequest) {
    return [
        { name: h("span", { class: "aside" }, "Choose") }, { name: "Run" }, withRequest && { name: "Service and request" }, { name: "Status" },
        { name: "-p", number: true, minor: true, hint: "Prompt tokens" }, { name: "-n", number: true, minor: true, hint: "Generated tokens" },
        { name: "-b", number: true, minor: true, hint: "Batch size" }, { name: "-ngl", number: true, minor: true, hint: "Layers on the GPU" },
        { name: "pp tokens/s", number: true, hint: "Prompt processing, mean and standard deviation" },
        { name: "tg tokens/s", number: true, hint: "Generation, mean and standard deviation" },
        { name: "Took", number: true, minor: true }, { name: h("span", { class: "aside" }, "Actions") },
    ].filter(Boolean);
}
