// What a run measured, by its kind: cells of llama-bench, cases of a load test, turns of a conversation, plots.

import { get } from "./api.js";
import { fill, h, notice, table } from "./dom.js";
import { badge, cellName, plot, rates } from "./figures.js";
import { milliseconds, number, plural } from "./format.js";

const LATENCIES = [
    ["ttft", "Time to the first token"], ["ttfo", "To the first token that is no reasoning"], ["tpot", "Time per output token"],
    ["itl", "Between tokens"], ["icl", "Between chunks"], ["e2e", "To the last token"],
    ["response_time", "From when it was due"], ["client_delay", "Lateness of the client"],
];

/** Plots that are there at once; those of all cases together come first. */
const OVERVIEW = 4;

/** The figures of a run that has any. */
export function results(known) {
    const found = known.results ?? {};
    const cells = found.cases ?? [];
    if (known.kind === "LlamaBench" || cells[0]?.avg_ts !== undefined) {
        return [rates(known, "panel"), cells.length > 0 && [h("h2", {}, "Results"), benchTable(cells)]];
    }
    const load = cells.filter((cell) => cell.metrics);
    return load.length > 0 && [
        h("h2", {}, "Results"), known.headline && h("p", {}, known.headline), loadTable(load.filter((cell) => !cell.conversation?.skipped)), load.map(invalid), load.map(turns),
        h("details", { open: load.length === 1 }, h("summary", {}, "Latencies"), load.map(latencies)),
        load.some((cell) => cell.samples?.length > 0) && h("details", {}, h("summary", {}, "Sample answers"), load.map(samples)),
    ];
}

function benchTable(cells) {
    return table("Figures of llama-bench", [
        { name: "#", number: true }, { name: "Test" }, { name: "Tokens/s", number: true }, { name: "Std. deviation", number: true },
        { name: "Median", number: true }, { name: "Samples", number: true },
    ], cells.map((cell) => [
        cell.case, cellName(cell), number(cell.avg_ts), number(cell.stddev_ts), number(cell.median_ts), (cell.samples_ts ?? []).flat().length,
    ]));
}

function caseName(cell) {
    const talk = cell.conversation;
    if (talk) return [talk.name, talk.prefix_cache !== "Kept" && `cache ${talk.prefix_cache}`, cell.model].filter(Boolean).join(" ");
    const load = cell.rate ? `${cell.rate}/s` : `c=${cell.concurrency}`;
    return [load, cell.input_tokens && `in=${cell.input_tokens}`, cell.model].filter(Boolean).join(" ");
}

/** Why a case's figures cannot be relied on. */
function invalid(cell) {
    return (cell.invalid ?? []).map((why) => notice(`${caseName(cell)} is not valid: ${why.message ?? why}`));
}

function tooLong({ needed_tokens: needed, context_window: room, counted }) {
    return `it needs ${number(needed)} tokens${counted ? "" : ", as estimated"}, and the context has ${number(room)}`;
}

/** A conversation, turn by turn. */
function turns(cell) {
    const talk = cell.conversation;
    if (!talk) return null;
    if (talk.skipped) return notice(`${talk.name} was left out: ${tooLong(talk.skipped)}`);
    const columns = ["Turn", "Prompt tokens", "Cached", "Output tokens", "Of the context", "TTFT", "Prefill tokens/s", "Decode tokens/s"];
    const rows = talk.turns.map((turn) => [
        turn.error ? h("span", { class: "error" }, `${turn.turn}: ${turn.error}`) : turn.turn, number(turn.prompt_tokens), number(turn.cached_tokens),
        number(turn.output_tokens), turn.context_percent === null ? "–" : `${number(turn.context_percent)} %`, milliseconds(turn.ttft_ms),
        number(turn.prefill_tokens_per_s), number(turn.decode_tokens_per_s),
    ]);
    return h("details", { open: true }, h("summary", {}, `Turns of ${caseName(cell)}`),
        table(`Turns of ${caseName(cell)}`, columns.map((name) => ({ name, number: true })), rows));
}

/** What was answered, as it was. */
function samples(cell) {
    const kept = cell.samples ?? [];
    return kept.length > 0 && h("details", {}, h("summary", {}, `Sample answers of ${caseName(cell)}`),
        kept.map((sample) => h("pre", { tabindex: "0" }, sample.text)));
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

function latencies(cell) {
    const rows = LATENCIES.filter(([name]) => cell.metrics[name]?.count > 0).map(([name, words]) => {
        const metric = cell.metrics[name];
        return [h("span", { title: words }, name), number(metric.count), ...["min", "mean", "p50", "p90", "p95", "p99", "max", "stddev"].map((key) => milliseconds(metric[key]))];
    });
    const columns = ["Latency", "Count", "Min", "Mean", "p50", "p90", "p95", "p99", "Max", "Std. dev."];
    return [h("h3", {}, caseName(cell)), table(`Latencies of ${caseName(cell)}`, columns.map((name, at) => ({ name, number: at > 0 })), rows)];
}

/** Draws the plots of a run into a place, once they are there. */
export async function plots(known, place, signal) {
    const found = await get(`/api/benchmarks/${known.id}/plots`, signal).catch(() => ({ plots: [] }));
    if (found.plots.length === 0) return;
    const [first, further] = [found.plots.slice(0, OVERVIEW), found.plots.slice(OVERVIEW)];
    const rest = h("div", { class: "plots" });
    const fold = further.length > 0 && h("details", {
        // Drawn where somebody looks: a sweep has dozens.
        ontoggle: () => { if (fold.open && rest.childElementCount === 0) fill(rest, further.map(plot)); },
    }, h("summary", {}, plural(further.length, "further plot")), rest);
    fill(place, h("h2", {}, "Plots"), h("div", { class: "plots" }, first.map(plot)), fold,
        found.left_out > 0 && h("p", { class: "soft small" }, `${plural(found.left_out, "plot")} more in the report as HTML.`));
}
