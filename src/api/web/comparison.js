// Two runs side by side: the verdicts, every figure, and what else differs between them.

import { get, part, query } from "./api.js";
import { empty, facts, field, fill, h, link, notice, table, trouble } from "./dom.js";
import { badge, simulated, time } from "./figures.js";
import { short } from "./format.js";

const OUTCOMES = { "no regression": "good", regression: "bad", "not comparable": "" };
const POLICY = { Pass: "good", Warn: "busy", Fail: "bad" };

export async function comparison(main, { query: asked, signal, go }) {
    const ids = { baseline: asked.get("baseline"), candidate: asked.get("candidate"), varies: asked.get("varies") };
    const sides = await choosers(ids, signal, go);
    if (!ids.baseline || !ids.candidate) {
        fill(main, h("h1", {}, "Compare two runs"), sides, empty("Choose two runs.", "The first is what the second is held against."));
        return;
    }
    const [before, after] = await Promise.all([ids.baseline, ids.candidate].map((id) => get(`/api/benchmarks/${id}`, signal)));
    let found = null;
    let refused = null;
    try {
        found = await get(query("/api/comparisons", ids), signal);
    } catch (error) {
        refused = error;
    }
    const swap = h("button", { type: "button", onclick: () => go(query("/compare", { baseline: ids.candidate, candidate: ids.baseline })) }, "Swap");
    fill(main,
        h("div", { class: "head" }, h("h1", {}, "Compare two runs"), swap),
        sides,
        h("div", { class: "columns" }, side("Baseline", before), side("Candidate", after)),
        refused && trouble(refused),
        found && [verdict(found, ids, go), figures(found)],
        h("h2", {}, "Parameters"), parameters(before.params, after.params),
        found && [h("h2", {}, "Everything else that was recorded"), known(found.facts)]);
}

/** Two lists of completed runs to choose from; what is chosen already stays chosen. */
async function choosers(ids, signal, go) {
    const { runs } = await get(query("/api/benchmarks", { status: "completed", limit: 100 }), signal);
    const one = (key, words) => {
        const list = h("select", { id: `choose-${key}` }, h("option", { value: "" }, "…"),
            ids[key] && !runs.some((run) => run.id === ids[key]) && h("option", { value: ids[key] }, short(ids[key])),
            runs.map((run) => h("option", { value: run.id }, `${short(run.id)} ${run.request}, ${run.completed_at?.slice(0, 16).replace("T", " ")}`)));
        list.value = ids[key] ?? "";
        list.addEventListener("change", () => go(query("/compare", { ...ids, [key]: list.value })));
        return field(words, list);
    };
    return h("div", { class: "fields" }, one("baseline", "Baseline"), one("candidate", "Candidate"));
}

function side(name, run) {
    return h("div", { class: "panel" },
        h("div", { class: "head" }, h("h3", {}, name, " ", link(`/runs/${run.id}`, short(run.id))), simulated(run.simulated), badge(run.status)),
        facts([["Request", link(`/requests/${part(run.request)}`, run.request)], ["Service", run.service_name], ["Ended", time(run.completed_at)]]));
}

function verdict(found, ids, go) {
    const differing = found.facts.filter((fact) => fact.differs && !fact.declared).map((fact) => fact.fact);
    const allTheSame = found.outcome === "not comparable" && differing.length > 0;
    return h("div", { class: "panel", id: "verdict" },
        h("div", { class: "head" }, h("h2", {}, "Verdict"), h("span", { class: `badge ${OUTCOMES[found.outcome] ?? ""}` }, found.outcome)),
        facts([["Policy", found.policy ?? "not judged"], ["Evidence", found.evidence], ["Runs it would take", found.moreRuns && String(found.moreRuns)]]),
        (found.reasons ?? []).map((reason) => notice(reason)),
        allTheSame && h("div", { class: "buttons" },
            h("button", { type: "button", class: "main", onclick: () => go(query("/compare", { ...ids, varies: differing.join(",") })) }, "Compare all the same"),
            h("span", { class: "soft small" }, `as if ${differing.join(", ")} differed on purpose`)));
}

function figures(found) {
    const comparable = found.outcome !== "not comparable";
    const rows = (found.rows ?? []).filter((row) => row.text).map((row) => (comparable ? row : { ...row, policy: null }));
    if (rows.length === 0) return null;
    const lines = rows.map((row) => ({
        class: row.policy === "Fail" || row.policy === "Warn" ? "differs" : null,
        row: [row.case, row.measure ?? row.figure, row.text.baseline, row.text.candidate, row.text.change, row.text.evidence,
            row.policy ? h("span", { class: `badge ${POLICY[row.policy] ?? ""}` }, row.policy) : ""],
    }));
    const judged = lines.filter((_, at) => rows[at].policy);
    const columns = [{ name: "Case" }, { name: "Figure" }, { name: "Baseline", number: true }, { name: "Candidate", number: true },
        { name: "Change", number: true }, { name: "Evidence" }, { name: "Policy" }];
    return [
        h("h2", {}, "Figures"),
        table("Figures under a threshold", columns, judged.length > 0 ? judged : lines),
        judged.length > 0 && judged.length < lines.length && h("details", {}, h("summary", {}, `All ${lines.length} figures`), table("All figures", columns, lines)),
    ];
}

function parameters(before, after) {
    const flags = [...new Set([...Object.keys(before), ...Object.keys(after)])];
    if (flags.length === 0) return h("p", { class: "soft" }, "These runs have no flags.");
    const value = (params, flag) => (flag in params ? params[flag] || "set" : "–");
    return table("Parameters", [{ name: "Flag" }, { name: "Baseline" }, { name: "Candidate" }],
        flags.map((flag) => {
            const [old, now] = [value(before, flag), value(after, flag)];
            return { class: old === now ? null : "differs", row: [h("code", {}, flag), old, now] };
        }));
}

function known(list) {
    const differing = list.filter((fact) => fact.differs);
    const line = (fact) => ({ class: fact.differs ? "differs" : null, row: [[fact.fact, fact.declared && h("span", { class: "soft" }, " (on purpose)")], fact.baseline ?? "–", fact.candidate ?? "–"] });
    const columns = [{ name: "Fact" }, { name: "Baseline" }, { name: "Candidate" }];
    return [
        differing.length > 0 ? table("What differs", columns, differing.map(line)) : h("p", {}, "Nothing else differs."),
        h("details", {}, h("summary", {}, `All ${list.length} facts`), table("All facts", columns, list.map(line))),
    ];
}
