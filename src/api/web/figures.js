// States and figures of runs as every page shows them.

import { h, link, picture } from "./dom.js";
import { ago, short, spread, when } from "./format.js";

const KINDS = {
    completed: "good", Completed: "good", True: "good", running: "busy", Running: "busy", Preparing: "busy", Collecting: "busy",
    pending: "", Pending: "", failed: "bad", Failed: "bad", Invalid: "bad", False: "bad", cancelled: "", Cancelled: "",
};

/** A word for a state, coloured. */
export function badge(word, title = null) {
    return h("span", { class: `badge ${KINDS[word] ?? ""}`, title, "data-status": word }, word);
}

/** The mark of what is made up. */
export function simulated(is) {
    return is ? h("span", { class: "badge", title: "Made up by the simulation, not measured" }, "simulated") : null;
}

/** Whether a service's own container runs. */
export function state(word) {
    const words = { running: ["good", "running"], stopped: ["", "stopped"], absent: ["", "not created"] };
    const known = words[word];
    return known ? h("span", { class: `badge ${known[0]}`, title: "The service's own container" }, known[1]) : null;
}

/** A time as its age, the time itself at hand. */
export function time(at) {
    return h("time", { datetime: at, title: when(at) }, ago(at));
}

/** Both rates of llama-bench, large; null where a run has not one of each. */
export function rates(run, more = "") {
    if (run.pp_avg_ts === null && run.tg_avg_ts === null) return null;
    const figure = (mean, deviation, name) => mean !== null && h("div", {}, h("b", {}, spread(mean, deviation)), h("span", {}, name));
    return h("div", { class: `big ${more}` },
        figure(run.pp_avg_ts, run.pp_stddev_ts, "prompt tokens/s"), figure(run.tg_avg_ts, run.tg_stddev_ts, "generated tokens/s"));
}

/** Why a run failed. */
export function failure(run) {
    return run.error_message ?? (run.status === "failed" ? run.message : null);
}

/** The figures that stand for a run. */
export function headline(run) {
    if (!run) return h("div", { class: "soft small" }, "Not measured yet.");
    return h("div", {},
        rates(run) ?? h("div", {}, run.headline ?? "A matrix of figures."),
        h("div", { class: "soft small" }, link(`/runs/${run.id}`, `run ${short(run.id)}`), ", ", time(run.completed_at), " ", simulated(run.simulated)));
}

/** How the newest run stands. */
export function newestRun(run) {
    return ["Newest run: ", badge(run.status), " ", link(`/runs/${run.id}`, short(run.id)), ", ", time(run.created_at)];
}

/** Flags as a line. */
export function flags(params) {
    return Object.entries(params).map(([flag, value]) => (value === "" ? flag : `${flag} ${value}`)).join(" ");
}

/** One flag by any of its spellings. */
export function flag(params, ...names) {
    const name = names.find((known) => known in params);
    return name === undefined ? null : params[name];
}

/** A cell of a matrix in words: its test, and what differs between the cells. */
export function cellName(cell) {
    const varied = Object.entries(cell.varied ?? {}).map(([name, value]) => `${name}=${value}`);
    return [cell.test, ...varied].join(" ");
}

/** A drawn figure with its caption. */
export function plot({ title, svg, legend, simulated: made }) {
    const drawn = svg && picture(svg);
    return drawn && h("figure", {},
        h("figcaption", {}, title, " ", simulated(made),
            (legend ?? []).length > 0 && h("div", { class: "keys" }, legend.map(({ colour, name }) => h("span", { class: `key s${colour}` }, name)))),
        drawn);
}
