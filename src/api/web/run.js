// One run: how it stands, what it measured, with which parameters, its output, and what can be done with it.

import { get, part, query } from "./api.js";
import { facts, fill, h, link, notice, table } from "./dom.js";
import { badge, failure, simulated, time } from "./figures.js";
import { bytes, count, short, took, when } from "./format.js";
import { refreshing } from "./live.js";
import { output } from "./output.js";
import { progress } from "./progress.js";
import { plots, results } from "./results.js";
import { apply, canApply, canPin, canRerun, drop, isOpen, pin, repeat, rerunPath, unpin } from "./run_actions.js";

const REPEATED = ["LoadTest", "Conversation"];
const REPORTS = [["html", "HTML"], ["md", "Markdown"], ["csv", "CSV"], ["json", "JSON"]];

export async function run(main, { name: id, signal, go }) {
    const head = h("div");
    const body = h("div");
    let known = await get(`/api/benchmarks/${id}`, signal);
    const lines = isOpen(known) || known.kind === "LlamaBench" || known.kind === "Model"
        ? output(known.id, signal) : null;
    const bar = isOpen(known) && progress(known.id, signal, known.progress);
    const look = async () => {
        try {
            known = await get(`/api/benchmarks/${id}`, signal);
        } catch (error) {
            if (error.status !== 404) throw error;
            fill(head, h("h1", {}, `Run ${short(id)}`), notice("This run was deleted. "), link("/runs", "All runs"));
            fill(body);
            return;
        }
        await draw();
    };
    const draw = async () => {
        fill(head, title(known, go, look), isOpen(known) && bar);
        const drawn = h("div", { id: "plots" });
        fill(body, results(known), drawn, details(known));
        if (known.status === "completed") await plots(known, drawn, signal);
    };
    const drawn = draw();
    fill(main, head, body, lines, known.raw_output && raw(known));
    await drawn;
    if (isOpen(known)) refreshing(signal, (data) => (data.run?.id ?? data.run) === known.id, look);
}

function title(known, go, look) {
    const gone = () => go(known.service_name ? `/runs?service=${part(known.service_name)}` : "/runs");
    const done = () => { look(); };
    const error = failure(known);
    return [
        h("div", { class: "head" }, h("h1", {}, `Run ${short(known.id)}`), simulated(known.simulated),
            known.pinned && h("span", { class: "badge good", title: "It cannot be deleted as long as a baseline names it" }, "baseline"),
            badge(known.status, known.message)),
        h("p", { class: "soft" }, known.kind, " of ", known.service_name && link(`/services/${part(known.service_name)}`, known.service_name),
            known.service_name && ", request ", link(`/requests/${part(known.request)}`, known.request),
            ", ", time(known.created_at)),
        error && h("div", { class: "notice bad", role: "note" }, error, known.hint && h("div", {}, known.hint)),
        (known.warnings ?? []).map((warning) => notice(warning)),
        h("div", { class: "buttons" },
            canRerun(known) && h("a", { class: "button main", href: rerunPath(known) }, "Re-run"),
            canApply(known) && h("button", { type: "button", onclick: () => apply(known, done) }, "Apply to the service"),
            REPEATED.includes(known.kind) && !isOpen(known) && h("button", { type: "button", class: "main", onclick: () => repeat(known) }, "Run once more"),
            known.pinned && h("button", { type: "button", onclick: () => unpin(known, done) }, "Unpin"),
            !known.pinned && canPin(known) && h("button", { type: "button", onclick: () => pin(known, done) }, "Pin as baseline"),
            known.status === "completed" && compareButton(known, go),
            h("button", { type: "button", class: "danger", onclick: () => drop(known, isOpen(known) ? done : gone) }, isOpen(known) ? "Cancel" : "Delete")),
    ];
}

function compareButton(known, go) {
    const before = async () => {
        const older = async (of) => {
            const { runs } = await get(query("/api/benchmarks", { ...of, status: "completed", limit: 100 }));
            return runs.find((each) => each.created_at < known.created_at && each.id !== known.id);
        };
        const found = await older({ request: known.request }) ?? await older({ service_name: known.service_name, kind: known.kind });
        go(query("/compare", { baseline: found?.id, candidate: known.id }));
    };
    return h("button", { type: "button", onclick: before }, "Compare with the run before");
}

function details(known) {
    const { metadata } = known;
    const params = Object.entries(known.params ?? {});
    return [
        params.length > 0 && [h("h2", {}, "Parameters"), table("Parameters", [{ name: "Flag" }, { name: "Value" }],
            params.map(([flag, value]) => [h("code", {}, flag), value === "" ? h("span", { class: "soft" }, "set") : value]))],
        h("h2", {}, "About this run"),
        facts([
            ["Command", known.command && h("pre", { class: "command", tabindex: "0" }, known.command)],
            ["Started", known.started_at && when(known.started_at)], ["Ended", known.completed_at && when(known.completed_at)],
            ["Took", known.started_at && took(known.started_at, known.completed_at)],
            ["Model file", known.model_path], ["Model", metadata.model_type], ["Model size", metadata.model_size > 0 ? bytes(metadata.model_size) : null],
            ["Model parameters", metadata.model_n_params > 0 ? count(metadata.model_n_params) : null], ["llama.cpp build", metadata.build_commit],
            ["GPU", metadata.gpu_info], ["CPU", metadata.cpu_info], ["Id", h("code", {}, known.id)],
        ]),
        known.status === "completed" && h("p", { class: "small" }, "Report: ",
            REPORTS.map(([format, name], at) => [at > 0 && " · ", h("a", { href: `/api/benchmarks/${known.id}/report?format=${format}`, target: "_blank" }, name)])),
    ];
}

function raw(known) {
    const text = pretty(known.raw_output);
    return h("details", {}, h("summary", {}, "Raw output"),
        known.raw_output_cut && notice("Only the beginning is shown; the report in JSON has all of it."), h("pre", { tabindex: "0" }, text));
}

function pretty(text) {
    try {
        return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
        return text;
    }
}
