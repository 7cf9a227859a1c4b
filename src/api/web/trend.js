// How figures went from run to run, and where they changed.

import { get, query } from "./api.js";
import { empty, fill, h, link, trouble } from "./dom.js";
import { plot } from "./figures.js";
import { short } from "./format.js";

/** A page of its own, for links: `?service_name=` or `?request=`. */
export async function trends(main, { query: asked, signal }) {
    const of = asked.get("request") ? { request: asked.get("request") } : { service_name: asked.get("service_name") ?? "" };
    const found = trendOf(of, signal);
    await found.load();
    fill(main, h("h1", {}, `Trend of ${of.request ?? of.service_name}`), found.element);
}

/** The trends of a request or a service. */
export function trendOf(of, signal) {
    const place = h("div");
    const made = h("input", { type: "checkbox", id: "trend-simulated" });
    made.addEventListener("change", () => load());
    let chosen = false;
    const load = async () => {
        try {
            await look();
        } catch (error) {
            if (error.name !== "AbortError") fill(place, trouble(error));
        }
    };
    const look = async () => {
        let found = await get(query("/api/trends", { ...of, simulated: made.checked || "" }), signal);
        // Where nothing was measured, what was simulated is better than nothing, and says what it is.
        if (found.series.length === 0 && !made.checked && !chosen) {
            found = await get(query("/api/trends", { ...of, simulated: true }), signal);
            made.checked = found.series.length > 0;
        }
        chosen = true;
        draw(found);
    };
    const draw = ({ series }) => {
        const drawn = series.filter((each) => each.plot);
        const first = drawn.slice(0, 8);
        fill(place,
            drawn.length === 0 && empty("No trend yet.", "It takes two completed runs of the same thing, and some more to find a step in."),
            h("div", { class: "plots" }, first.map(one)),
            drawn.length > first.length && h("details", {}, h("summary", {}, `${drawn.length - first.length} further figures`),
                h("div", { class: "plots" }, drawn.slice(8).map(one))));
    };
    return {
        element: h("div", {}, place, h("p", { class: "small" }, made, " ", h("label", { for: "trend-simulated" }, "Simulated runs instead of measured ones"))),
        load,
    };
}

/** What the two lines of a series with a step are. */
const LEVELS = [{ colour: 0, name: "runs" }, { colour: 1, name: "level" }];

function one(series) {
    const steps = series.changes.map((change) =>
        h("li", {}, link(`/runs/${change.run}`, short(change.run)), ": ", change.text,
            change.differs.length > 0 && h("div", { class: "soft" }, "with it ", change.differs.join(", "))));
    const figure = plot({ title: `${series.case} ${series.figure}`, svg: series.plot, legend: series.found ? LEVELS : [], simulated: false });
    if (!figure) return null;
    figure.append(h("div", { class: "small soft" }, `${series.points.length} runs, newest ${series.text?.newest ?? ""}`),
        ...(steps.length > 0 ? [h("ul", { class: "steps" }, steps)] : []));
    return figure;
}
