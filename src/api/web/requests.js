// The requests of the watched directory and how each stands.

import { get, part, query } from "./api.js";
import { empty, field, fill, h, link, table } from "./dom.js";
import { badge, simulated, time } from "./figures.js";
import { number, spread } from "./format.js";
import { refreshing } from "./live.js";

const PAGE = 50;
const KINDS = ["LlamaBench", "LoadTest", "Conversation", "Comparison", "Baseline", "Apply", "Model"];
const PHASES = ["Pending", "Preparing", "Running", "Collecting", "Completed", "Failed", "Cancelled", "Suspended", "Invalid"];

export async function requests(main, { query: asked, signal }) {
    const now = { kind: asked.get("kind") ?? "", phase: asked.get("phase") ?? "", offset: Number(asked.get("offset") ?? 0) };
    const place = h("div");
    const pager = h("div", { class: "pager" });
    const load = async () => {
        const found = await get(query("/api/requests", { ...now, limit: PAGE }), signal);
        draw(found);
    };
    const move = (change) => {
        Object.assign(now, { offset: 0 }, change);
        history.replaceState(null, "", query("/requests", { ...now, offset: now.offset || "" }));
        return load();
    };
    const choice = (key, words, values) => {
        const list = h("select", { id: `filter-${key}` }, h("option", { value: "" }, "any"), values.map((value) => h("option", {}, value)));
        list.value = now[key];
        list.addEventListener("change", () => move({ [key]: list.value }));
        return field(words, list);
    };
    const draw = ({ requests: list, total, offset }) => {
        if (list.length === 0) {
            fill(pager);
            fill(place, now.kind || now.phase
                ? empty("No request is like that.", "Choose other filters.")
                : empty("No requests yet.", "Save a YAML file into the watched directory: ", h("code", {}, "benchlet new LlamaBench --service NAME > requests/first.yaml"), " prints one."));
            return;
        }
        const last = offset + list.length;
        fill(place, table("Requests", [
            { name: "Request" }, { name: "Kind" }, { name: "State" }, { name: "Newest run" }, { name: "Figures" }, { name: "File", minor: true },
        ], list.map(line), { class: "requests" }));
        fill(pager, `${number(offset + 1)}–${number(last)} of ${number(total)}`,
            h("button", { type: "button", class: "tight", disabled: offset === 0, onclick: () => move({ offset: Math.max(0, offset - PAGE) }) }, "Before"),
            h("button", { type: "button", class: "tight", disabled: last >= total, onclick: () => move({ offset: offset + PAGE }) }, "Next"));
    };
    await load();
    fill(main, h("h1", {}, "Requests"), h("div", { class: "fields" }, choice("kind", "Kind", KINDS), choice("phase", "State", PHASES)), place, pager);
    refreshing(signal, (_, kind) => kind === "status" || kind === "event", load, 4_000);
}

function line(request) {
    const { run } = request;
    const bench = run && (run.pp_avg_ts !== null || run.tg_avg_ts !== null);
    return {
        "data-request": request.name,
        row: [
            link(`/requests/${part(request.name)}`, request.name), request.kind ?? "–",
            [badge(request.phase), request.message && h("div", { class: "soft small wrap" }, request.message)],
            run ? [link(`/runs/${run.id}`, badge(run.status)), " ", simulated(run.simulated), h("div", { class: "soft small" }, time(run.completed_at ?? run.created_at))] : "–",
            bench ? `pp ${spread(run.pp_avg_ts)} · tg ${spread(run.tg_avg_ts)}` : run?.headline ?? "–",
            h("span", { class: "small mono wrap" }, request.path ?? ""),
        ],
    };
}
