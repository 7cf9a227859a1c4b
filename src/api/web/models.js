// Models: which is the fastest for a workload, and how long one takes for it.

import { get, part, query } from "./api.js";
import { empty, facts, field, fill, h, link, notice, table } from "./dom.js";
import { simulated } from "./figures.js";
import { duration, milliseconds, number, short, when } from "./format.js";

export async function models(main, { query: asked, signal }) {
    const requests = h("input", { id: "num-requests", type: "number", min: "1", step: "1", required: true, value: asked.get("num_requests") ?? "50000" });
    const price = h("input", { id: "per-hour", type: "number", min: "0", step: "any", placeholder: "unknown" });
    const made = h("input", { id: "simulated", type: "checkbox" });
    const ranking = h("div");
    const single = h("div");
    const model = h("select", { id: "model" });
    const workload = () => ({ num_requests: requests.value, per_hour: price.value, simulated: made.checked || "" });

    const rank = async () => {
        if (requests.value === "") return fill(ranking, empty("How many requests?"));
        await told(ranking, async () => {
            const found = await get(query("/v1/benchmarks/compare", workload()), signal);
            return found.models.length > 0 ? ranked(found, choose) : empty("No model can be ranked yet.",
                "A load test of a service or URL measures one: save a request of kind ", h("code", {}, "LoadTest"), ".");
        });
    };
    const estimate = async () => {
        if (!model.value || requests.value === "") return fill(single);
        return told(single, async () => {
            const [found, measured] = await Promise.all([
                get(query("/v1/benchmarks/estimate", { ...workload(), model: model.value }), signal),
                get(query(`/v1/benchmarks/models/${part(model.value)}`, { simulated: made.checked || "" }), signal),
            ]);
            return [estimated(found), h("h2", {}, "Benchmarks of this model"), benchmarks(measured)];
        });
    };
    const choose = (name) => {
        model.value = name;
        estimate();
        single.scrollIntoView({ block: "nearest" });
    };
    const list = async () => {
        const found = await get(query("/v1/benchmarks/models", { simulated: made.checked || "" }), signal);
        fill(model, found.models.map((each) => h("option", {}, each.model)));
        return found.models.length;
    };
    const all = async () => {
        await list();
        await Promise.all([rank(), estimate()]);
    };
    if (await list() === 0) {
        // Where nothing was measured, what was simulated shows how this works, and says what it is.
        made.checked = true;
        if (await list() === 0) made.checked = false;
    }
    let timer = null;
    const later = () => {
        clearTimeout(timer);
        timer = setTimeout(() => Promise.all([rank(), estimate()]), 300);
    };
    requests.addEventListener("input", later);
    price.addEventListener("input", later);
    made.addEventListener("change", all);
    model.addEventListener("change", estimate);
    fill(main, h("h1", {}, "Models"),
        h("form", { class: "fields", onsubmit: (event) => event.preventDefault() },
            field("Requests", requests), field("Price of an hour", price),
            h("div", {}, made, " ", h("label", { for: "simulated" }, "Simulated ones instead"))),
        h("h2", {}, "Ranking"), ranking,
        h("h2", {}, "Estimate"), field("Model", model), single);
    await Promise.all([rank(), estimate()]);
}

async function told(place, work) {
    try {
        fill(place, await work());
    } catch (error) {
        if (error.name !== "AbortError") fill(place, h("p", { class: "notice bad", role: "alert" }, error.message));
    }
}

function ranked(found, choose) {
    const cost = found.models.some((each) => each.cost);
    return [
        table("Models, the fastest first", [
            { name: "Model" }, { name: "Requests/s", number: true }, { name: "Takes", number: true }, { name: "95 % interval", number: true },
            cost && { name: "Cost", number: true }, { name: "Success", number: true }, { name: "Workers", number: true },
            { name: "Faster than the slowest", number: true }, { name: "Saves", number: true }, { name: h("span", { class: "aside" }, "Actions") },
        ].filter(Boolean), found.models.map((each) => [
            [h("span", { class: "wrap" }, each.model), " ", simulated(each.simulated), each.model_size_params && h("div", { class: "soft small" }, each.model_size_params)],
            number(each.rate_req_per_sec), duration(seconds(each)), interval(each.interval), cost && money(each.cost),
            each.success_rate_pct === null ? "–" : `${number(each.success_rate_pct)} %`, number(each.workers),
            `${number(each.speedup_vs_slowest)} ×`, duration(each.time_saved_hours * 3600),
            h("button", { type: "button", class: "tight", onclick: () => choose(each.model) }, "Estimate"),
        ].filter((cell) => cell !== false))),
        (found.refused ?? []).map((each) => notice(each.message ?? `${each.model}: ${each.reason ?? each.why ?? "cannot answer"}`)),
    ];
}

const seconds = (each) => each.estimated_time_seconds ?? each.estimated_time_hours * 3600;

function interval(known) {
    const range = known?.total_time_seconds;
    return Array.isArray(range) ? `${duration(range[0])} to ${duration(range[1])}` : h("span", { class: "soft", title: known?.why }, "–");
}

function money(cost) {
    return cost ? number(cost.amount) : "–";
}

function estimated(found) {
    const { estimate, based_on_benchmark: base } = found;
    return h("div", { class: "panel" },
        h("div", { class: "big" },
            h("div", {}, h("b", {}, duration(estimate.total_time_seconds)), h("span", {}, `for ${number(found.num_requests)} requests`)),
            h("div", {}, h("b", {}, number(estimate.rate_req_per_sec)), h("span", {}, "requests/s")),
            found.cost && h("div", {}, h("b", {}, money(found.cost)), h("span", {}, "cost"))),
        facts([
            ["95 % interval", Array.isArray(found.interval?.total_time_seconds) ? interval(found.interval) : found.interval?.why],
            ["In hours and days", `${number(estimate.total_time_hours)} h, ${number(estimate.total_time_days)} d`],
            ["By the benchmark", [base.run ? link(`/runs/${base.run}`, short(base.run)) : "an imported one", `, ${when(base.date * 1000)}, ${number(base.test_size)} requests with ${number(base.workers)} workers`]],
            ["Success", base.success_rate_pct === null ? null : `${number(base.success_rate_pct)} %`],
        ]),
        (found.remarks ?? []).map((remark) => notice(remark)));
}

function benchmarks(found) {
    return table("Benchmarks, newest first", [
        { name: "When" }, { name: "Requests", number: true }, { name: "Workers", number: true }, { name: "Requests/s", number: true },
        { name: "Time ÷ requests", number: true, hint: "The whole time, divided by the requests" }, { name: "Success", number: true }, { name: "Prompt tokens", number: true },
        { name: "Answer tokens", number: true }, { name: "Kind" },
    ], found.benchmarks.map((each) => [
        when(each.created_at * 1000), number(each.num_requests), number(each.num_workers), number(each.rate_req_per_sec),
        each.time_per_request_sec === null ? "–" : milliseconds(each.time_per_request_sec * 1000),
        each.success_rate_pct === null ? "–" : `${number(each.success_rate_pct)} %`,
        number(each.avg_prompt_tokens), number(each.avg_completion_tokens), each.benchmark_type,
    ]));
}
