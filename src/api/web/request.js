// One request: its conditions, its file with what is wrong marked in it, its runs, and the two orders it takes.

import { get, part, post, query, sentence } from "./api.js";
import { ask, toast } from "./dialog.js";
import { empty, facts, fill, h, link, notice, table } from "./dom.js";
import { badge, time } from "./figures.js";
import { short } from "./format.js";
import { runTable } from "./history.js";
import { refreshing } from "./live.js";
import { trendOf } from "./trend.js";

const MEASURING = ["LlamaBench", "LoadTest", "Conversation"];
const RUNLESS = ["Apply", "Baseline", "Comparison"];

export async function request(main, { name, signal, go }) {
    const path = `/api/requests/${part(name)}`;
    const place = h("div");
    const source = h("div");
    let known = null;
    const look = async () => {
        try {
            known = await get(path, signal);
        } catch (error) {
            if (!known || error.status !== 404) throw error;
            fill(place, h("h1", {}, name), notice("This request is not there any more: its file is gone. ", link("/requests", "All requests")));
            fill(source);
            return;
        }
        draw();
        await lines();
    };
    const draw = () => {
        const { status, metadata } = known;
        fill(place,
            h("div", { class: "head" }, h("h1", {}, name), known.kind && h("span", { class: "badge" }, known.kind), badge(status.phase, status.message)),
            status.message && h("p", {}, status.message),
            status.hint && notice(status.hint),
            orders(path, known, name),
            verdict(status.verdict),
            h("h2", {}, "Conditions"), conditions(status.conditions ?? []),
            facts([["Generation", metadata?.generation], ["Newest run", status.run && link(`/runs/${status.run.id}`, short(status.run.id))], ["Spec hash", metadata?.specHash && h("code", {}, metadata.specHash)]]));
    };
    const lines = async () => {
        try {
            fill(source, listing(await get(`${path}/source`, signal)));
        } catch (error) {
            if (error.name !== "AbortError") fill(source, notice(error.message));
        }
    };
    await look();
    const runs = RUNLESS.includes(known.kind) ? null : runTable({ filters: { request: name }, signal, go });
    const trend = MEASURING.includes(known.kind) ? trendOf({ request: name }, signal) : null;
    fill(main, place, h("h2", {}, "File"), source, runs && [h("h2", {}, "Runs"), runs.element], trend && [h("h2", {}, "Trend"), trend.element]);
    await Promise.all([runs?.load(), trend?.load()]);
    refreshing(signal, (data) => data.request === name || data.name === name, look, 4_000);
}

function orders(path, known, name) {
    const order = async (verb) => {
        try {
            toast(sentence((await post(`${path}/${verb}`, {})).message));
        } catch (error) {
            toast(error.message, "bad");
        }
    };
    const open = ["Pending", "Preparing", "Running", "Collecting"].includes(known.status.phase);
    const valid = known.status.phase !== "Invalid";
    const held = known.status.phase === "Suspended";
    return h("div", { class: "buttons" },
        valid && h("button", { type: "button", class: "main", disabled: open || held, title: held && "Its file says suspend: true", onclick: () => order("rerun") }, "Run once more"),
        open && h("button", { type: "button", class: "danger", onclick: () => ask("Cancel the run?", h("p", {}, `The run of ${name} ends; what it has measured whole is kept.`), "Cancel the run", () => order("cancel")) }, "Cancel"));
}

function verdict(judged) {
    if (!judged) return null;
    const kind = { Pass: "good", Warn: "busy", Fail: "bad" }[judged.policy] ?? "";
    return h("div", { class: "panel" },
        h("div", { class: "head" }, h("h2", {}, `Against ${judged.against}`), h("span", { class: `badge ${kind}` }, judged.policy ?? "not judged")),
        facts([
            ["Evidence", judged.evidence], ["Runs it would take", judged.moreRuns],
            ["Side by side", judged.run && judged.baselineRun && link(query("/compare", { baseline: judged.baselineRun, candidate: judged.run }),
                `${short(judged.baselineRun)} and ${short(judged.run)}`)],
        ]),
        (judged.reasons ?? []).map((reason) => notice(reason)));
}

function conditions(list) {
    if (list.length === 0) return empty("No conditions yet.");
    return table("Conditions", [{ name: "Condition" }, { name: "Status" }, { name: "Reason" }, { name: "Message" }, { name: "Since" }],
        list.map((each) => [each.type, badge(each.status), each.reason, h("span", { class: "wrap" }, each.message), time(each.lastTransitionTime)]));
}

/** The file, with every problem below the line that it is in. */
function listing({ path, text, problems }) {
    const rows = text.replace(/\n$/, "").split("\n").flatMap((line, at) => {
        const here = problems.filter((problem) => problem.line === at + 1);
        return [
            h("li", { class: here.length > 0 ? "code wrong" : "code" }, marked(line, here[0])),
            ...here.map((problem) => h("li", { class: `said ${problem.severity === "Warning" ? "warning" : ""}` }, problem.message, problem.hint && ` (${problem.hint})`)),
        ];
    });
    const nowhere = problems.filter((problem) => !problem.line);
    return [
        h("p", { class: "small mono" }, path),
        nowhere.map((problem) => notice(problem.message, problem.hint && ` (${problem.hint})`)),
        h("pre", { class: "source", tabindex: "0" }, h("ol", {}, rows)),
    ];
}

/** The line with the place of its problem underlined. Columns count characters, from 1. */
function marked(line, problem) {
    const characters = [...line];
    const from = problem ? problem.column - 1 : -1;
    if (!problem || from < 0 || from >= characters.length) return line === "" ? "\u200b" : line;
    const same = problem.end_line === undefined || problem.end_line === problem.line;
    const length = problem.text && same ? [...problem.text.split("\n")[0]].length : 1;
    const to = Math.min(characters.length, same && problem.end_column > problem.column ? problem.end_column - 1 : from + Math.max(1, length));
    const slice = (a, b) => characters.slice(a, b).join("");
    return [slice(0, from), h("mark", {}, slice(from, to)), slice(to)];
}
