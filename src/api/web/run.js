// One run: how it stands, what it measured, with which parameters, its output, and what can be done with it.

import { get, query } from "./api.js";
import { facts, fill, h, link, notice, table } from "./dom.js";
import { badge, cellName, plot, simulated, time } from "./figures.js";
import { bytes, count, milliseconds, number, short, spread, took, when } from "./format.js";
import { refreshing } from "./live.js";
import { output } from "./output.js";
import { apply, canApply, canPin, canRerun, drop, isOpen, pin, rerunPath } from "./run_actions.js";

const LATENCIES = [
    ["ttft", "Time to the first token"], ["ttfo", "To the first token that is no reasoning"], ["tpot", "Time per output token"],
    ["itl", "Between tokens"], ["icl", "Between chunks"], ["e2e", "To the last token"],
    ["response_time", "From when it was due"], ["client_delay", "Lateness of the client"],
];
const REPORTS = [["html", "HTML"], ["md", "Markdown"], ["csv", "CSV"], ["json", "JSON"]];

export async function run(main, { name: id, signal, go }) {
    const head = h("div");
    const body = h("div");
    let known = await get(`/api/benchmarks/${id}`, signal);
    const lines = isOpen(known) || known.kind === "LlamaBench" || known.kind === "Model"
        ? output(known.id, signal) : null;
    const look = async () => {
        try {
            known = await get(`/api/benchmarks/${id}`, signal);
        } catch (error) {
            if (error.status !== 404) throw error;
            fill(head, h("h1", {}, `Run ${short(id)}`), notice("This run was deleted. "), link("/runs", "All runs"));
            fill(body);
            return;
        }
        draw();
    };
    const draw = () => {
        fill(head, title(known, go, look));
        fill(body, results(known), known.status === "completed" && h("div", { id: "plots" }), details(known));
        if (known.status === "completed") plots(known, body, signal);
    };
    draw();
    fill(main, head, body, lines, known.raw_output && raw(known));
    if (isOpen(known)) refreshing(signal, (data) => (data.run?.id ?? data.run) === known.id, look);
}

function title(known, go, look) {
    const gone = () => go(known.service_name ? `/runs?service=${encodeURIComponent(known.service_name)}` : "/runs");
    const done = () => { look(); };
    const error = known.error_message ?? (known.status === "failed" ? known.message : null);
    return [
        h("div", { class: "head" }, h("h1", {}, `Run ${short(known.id)}`), simulated(known.simulated),
            known.pinned && h("span", { class: "badge good", title: "It cannot be deleted as long as a baseline names it" }, "baseline"),
            badge(known.status, known.message)),
        h("p", { class: "soft" }, known.kind, " of ", known.service_name && link(`/services/${encodeURIComponent(known.service_name)}`, known.service_name),
            known.service_name && ", request ", link(`/requests/${encodeURIComponent(known.request)}`, known.request),
            ", ", time(known.created_at)),
        error && h("div", { class: "notice bad", role: "note" }, error, known.hint && h("div", {}, known.hint)),
        (known.warnings ?? []).map((warning) => notice(warning)),
        h("div", { class: "buttons" },
            canRerun(known) && h("a", { class: "button main", href: rerunPath(known) }, "Re-run"),
            canApply(known) && h("button", { type: "button", onclick: () => apply(known, done) }, "Apply to the service"),
            canPin(known) && h("button", { type: "button", onclick: () => pin(known, done) }, "Pin as baseline"),
            known.status === "completed" && compareButton(known, go),
            h("button", { type: "button", class: "danger", onclick: () => drop(known, isOpen(known) ? done : gone) }, isOpen(known) ? "Cancel" : "Delete")),
    ];
}

function compareButton(known, go) {
    const before = async () => {
        const list = await get(query("/api/benchmarks", { request: known.request, status: "completed", limit: 100 }));
        const others = await get(query("/api/benchmarks", { service_name: known.service_name, kind: known.kind, status: "completed", limit: 100 }));
        const older = (runs) => runs.find((each) => each.created_at < known.created_at && each.id !== known.id);
        const found = older(list.runs) ?? older(others.runs);
        if (found) go(query("/compare", { baseline: found.id, candidate: known.id }));
        else go(query("/compare", { candidate: known.id }));
    };
    return h("button", { type: "button", onclick: before }, "Compare with the run before");
}

function results(known) {
    const found = known.results ?? {};
    const cells = found.cases ?? [];
    if (known.kind === "LlamaBench" || cells[0]?.avg_ts !== undefined) {
        return [known.pp_avg_ts === null && known.tg_avg_ts === null ? null : h("div", { class: "big panel" },
            figure(known.pp_avg_ts, known.pp_stddev_ts, "prompt tokens/s"), figure(known.tg_avg_ts, known.tg_stddev_ts, "generated tokens/s")),
            cells.length > 0 && [h("h2", {}, "Results"), benchTable(cells)]];
    }
    const load = cells.filter((cell) => cell.metrics);
    return load.length > 0 && [h("h2", {}, "Results"), known.headline && h("p", {}, known.headline), loadTable(load), load.map(latencies)];
}

const figure = (mean, deviation, name) => mean !== null && h("div", {}, h("b", {}, spread(mean, deviation)), h("span", {}, name));

function benchTable(cells) {
    return table("Figures of llama-bench", [
        { name: "#", number: true }, { name: "Test" }, { name: "Tokens/s", number: true }, { name: "Std. deviation", number: true },
        { name: "Median", number: true }, { name: "Samples", number: true },
    ], cells.map((cell) => [
        cell.case, cellName(cell), number(cell.avg_ts), number(cell.stddev_ts), number(cell.median_ts), (cell.samples_ts ?? []).flat().length,
    ]));
}

function caseName(cell) {
    const load = cell.rate ? `${cell.rate}/s` : cell.concurrency ? `c=${cell.concurrency}` : "";
    return [load, cell.model, cell.conversation].filter(Boolean).join(" ");
}

function loadTable(cells) {
    return table("Load", [
        { name: "Case" }, { name: "Requests", number: true }, { name: "Failed", number: true }, { name: "Requests/s", number: true },
        { name: "Output tokens/s", number: true }, { name: "TTFT p50", number: true }, { name: "TTFT p95", number: true },
        { name: "End to end p95", number: true }, { name: "Goodput/s", number: true }, { name: "Valid" },
    ], cells.map((cell) => [
        caseName(cell), number(cell.requests?.total), number(cell.requests?.failed), number(cell.throughput?.requests_per_s),
        number(cell.throughput?.output_tokens_per_s), milliseconds(cell.metrics.ttft?.p50), milliseconds(cell.metrics.ttft?.p95),
        milliseconds(cell.metrics.e2e?.p95), number(cell.goodput?.requests_per_s ?? cell.goodput),
        cell.valid === false ? badge("False") : "yes",
    ]));
}

function latencies(cell, _, all) {
    const rows = LATENCIES.filter(([name]) => cell.metrics[name]?.count > 0).map(([name, words]) => {
        const metric = cell.metrics[name];
        return [h("span", { title: words }, name), number(metric.count), ...["min", "mean", "p50", "p90", "p95", "p99", "max", "stddev"].map((key) => milliseconds(metric[key]))];
    });
    const columns = ["Latency", "Count", "Min", "Mean", "p50", "p90", "p95", "p99", "Max", "Std. dev."];
    return h("details", { open: all.length === 1 }, h("summary", {}, `Latencies of ${caseName(cell)}`),
        table(`Latencies of ${caseName(cell)}`, columns.map((name, at) => ({ name, number: at > 0 })), rows));
}

async function plots(known, body, signal) {
    const found = await get(`/api/benchmarks/${known.id}/plots`, signal).catch(() => ({ plots: [] }));
    const place = body.querySelector("#plots");
    if (place && found.plots.length > 0) fill(place, h("h2", {}, "Plots"), h("div", { class: "plots" }, found.plots.map(plot)));
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
