// What can be done with a run: apply it to its service, delete or cancel it, pin it. Each asks first, and says
// afterwards what came of it.

import { get, part, post, put, query, remove, sentence } from "./api.js";
import { ask, dialog, toast } from "./dialog.js";
import { empty, facts, field, h, link, table } from "./dom.js";
import { cellName } from "./figures.js";
import { short, spread } from "./format.js";

const MEASURED = ["LlamaBench", "LoadTest", "Conversation"];

export const canApply = (run) => run.kind === "LlamaBench" && run.status === "completed" && !run.simulated;
export const canRerun = (run) => run.kind === "LlamaBench";
export const canPin = (run) => MEASURED.includes(run.kind) && run.status === "completed" && !run.simulated;
export const isOpen = (run) => run.status === "pending" || run.status === "running";

/** Where a run's parameters are loaded into the form. */
export const rerunPath = (run) => `/services/${part(run.service_name)}?from=${run.id}`;

/** Cancels a run that goes on, deletes one that has ended. */
export function drop(run, done) {
    const words = isOpen(run)
        ? ["Cancel this run?", "What it has measured whole is kept.", "Cancel the run"]
        : ["Delete this run?", "Its figures, output and records are gone then. The request's file stays as it is.", "Delete"];
    const which = h("p", {}, h("code", {}, short(run.id)), ` of ${run.request}. ${words[1]}`);
    ask(words[0], which, words[2], async () => {
        const { message } = await remove(`/api/benchmarks/${run.id}`);
        toast(sentence(message));
        done();
    });
}

/** Makes a run the baseline that later ones are compared with. */
export function pin(run, done) {
    const name = h("input", { value: "main", id: "baseline-name", required: true, spellcheck: "false" });
    const scope = h("select", { id: "baseline-for" },
        h("option", { value: "request" }, `the request ${run.request}`),
        run.service_name && h("option", { value: "service" }, `all of the service ${run.service_name}`));
    const body = h("div", {},
        h("p", {}, "Later runs are compared with a baseline. A run cannot be deleted as long as it is one."),
        h("div", { class: "fields" },
            field("Name", name),
            field("For runs of", scope)));
    dialog({
        title: `Pin run ${short(run.id)} as a baseline`, body, buttons: [{
            label: "Pin", kind: "main", act: async () => {
                const { message } = await put(`/api/baselines/${part(name.value.trim())}`, { run: run.id, for: scope.value });
                toast(sentence(message));
                done();
            },
        }],
    });
}

/** Shows what would change, applies it, then offers the restart that it takes. */
export async function apply(run, done) {
    try {
        dialog(await changes(run, {}, done));
    } catch (error) {
        if (error.code !== "case_needed") return toast(error.message, "bad");
        dialog(await choice(run, done));
    }
}

/** Which cell of a matrix is to be applied. */
async function choice(run, done) {
    const { results } = await get(`/api/benchmarks/${run.id}`);
    const cells = results.cases ?? [];
    const best = (kind) => cells.filter((cell) => cell.kind === kind).sort((a, b) => b.avg_ts - a.avg_ts)[0];
    const first = (best("tg") ?? best("pp") ?? cells[0])?.case;
    const options = cells.map((cell) =>
        h("option", { value: cell.case, selected: cell.case === first },
            `${cellName(cell)}: ${spread(cell.avg_ts, cell.stddev_ts)} tokens/s`));
    const which = h("select", { id: "apply-case" }, options);
    return {
        title: `Apply run ${short(run.id)}`,
        body: h("div", {},
            h("p", {}, "The run measured several configurations. Which one is the service to have?"),
            field("Configuration", which)),
        buttons: [{ label: "Show the changes", kind: "main", act: () => changes(run, { case: Number(which.value) }, done) }],
    };
}

async function changes(run, cell, done) {
    const path = `/api/benchmarks/${run.id}/apply`;
    const planned = await put(path, { ...cell, dry_run: true });
    const applied = async () => restart(run, cell, await put(path, cell), done);
    const nothing = planned.changes.length === 0;
    return {
        title: `Apply run ${short(run.id)} to ${run.service_name}`,
        body: h("div", {},
            nothing
                ? empty("The service has this configuration already.", "A container that is older than it takes it up with a restart.")
                : [h("p", {}, "These flags of the service's definition change; everything else stays as it is."), changeTable(planned.changes)],
            skippedList(planned.skipped),
            planned.diff && h("details", {}, h("summary", {}, "The files' differences"), h("pre", { tabindex: "0" }, planned.diff))),
        buttons: [nothing
            ? { label: "Restart the service", act: () => restarted(run, cell, done) }
            : { label: "Apply", kind: "main", act: applied }],
    };
}

function changeTable(list) {
    const value = (text) => (text === null ? "not set" : text === "" ? "set" : text);
    return table("What changes", [{ name: "Flag" }, { name: "Now" }, { name: "Then" }],
        list.map((change) => [h("code", {}, change.flag), h("del", {}, value(change.old)), h("ins", {}, value(change.new))]),
        { class: "changes" });
}

function skippedList(skipped) {
    const all = Object.entries(skipped ?? {});
    return all.length > 0 && h("details", {},
        h("summary", {}, `Left out: ${all.map(([flag]) => flag).join(" ")}`),
        facts(all.map(([flag, why]) => [flag, why])));
}

function restart(run, cell, outcome, done) {
    toast(sentence(outcome.message.split(";")[0]));
    done();
    if (!outcome.restart_needed) return null;
    return {
        title: "A restart is needed",
        body: h("div", {},
            h("p", {}, `The definition of ${run.service_name} has the new flags. Its running container has the old ones until it is made anew.`),
            outcome.restart_command && h("pre", { tabindex: "0" }, outcome.restart_command)),
        buttons: [{ label: "Restart now", kind: "main", act: () => restarted(run, cell, done) }],
    };
}

async function restarted(run, cell, done) {
    const { restart_needed: needed, message } = await put(`/api/benchmarks/${run.id}/apply`, { ...cell, restart: true });
    toast(needed ? sentence(message) : `The container of ${run.service_name} has the new configuration.`, needed ? "bad" : "good");
    done();
}

/** Takes away the baselines that a run is. */
export function unpin(run, done) {
    ask("Unpin this run?", h("p", {}, "It is no baseline then, and can be deleted."), "Unpin", async () => {
        const { baselines } = await get("/api/baselines");
        for (const { name, request, service } of baselines.filter((each) => each.run === run.id)) {
            await remove(query(`/api/baselines/${part(name)}`, { request, service }));
        }
        toast(`Run ${short(run.id)} is no baseline any more.`);
        done();
    });
}

/** Runs a request once more, for kinds whose settings are in its file alone. */
export async function repeat(run) {
    try {
        toast(sentence((await post(`/api/requests/${part(run.request)}/rerun`, {})).message), "good", link(`/requests/${part(run.request)}`, "Watch it"));
    } catch (error) {
        toast(error.message, "bad");
    }
}
