// The services: what each is, whether it runs, its latest figures, and the way to measure it.

import { get, part } from "./api.js";
import { empty, fill, h, link, notice } from "./dom.js";
import { headline, newestRun, state } from "./figures.js";
import { refreshing } from "./live.js";
import { progress } from "./progress.js";

export async function services(main, { signal }) {
    const place = h("div");
    let bars = new AbortController();
    signal.addEventListener("abort", () => bars.abort());
    const look = async () => {
        const found = await get("/api/services", signal);
        bars.abort();
        bars = new AbortController();
        draw(place, found, bars.signal);
    };
    await look();
    fill(main, h("h1", {}, "Services"), place);
    refreshing(signal, (data) => Boolean(data.run), look, 10_000);
}

function draw(place, { services: all, problems }, signal) {
    const real = all.filter((service) => service.source !== "built in");
    fill(place,
        problems.map((problem) => notice(problem)),
        real.length === 0 && empty("No services yet",
            "Name your ", h("code", {}, "docker-compose.yml"), " as ", h("code", {}, "compose"), " (or an LLM-Dock ",
            h("code", {}, "services.json"), " as ", h("code", {}, "services"), ") in ", h("code", {}, "benchlet.toml"),
            ", or start ", h("code", {}, "benchlet serve"), " where it lies. The stand-in below needs neither."),
        h("div", { class: "cards" }, all.map((service) => card(service, signal))));
}

function card(service, signal) {
    const path = `/services/${part(service.name)}`;
    const open = service.run;
    return h("article", { class: "card", "data-service": service.name },
        h("div", { class: "head" },
            h("h3", {}, link(path, service.name)),
            h("span", { class: "badge" }, service.kind),
            state(service.state)),
        h("div", { class: "soft small wrap" }, description(service)),
        headline(service.latest),
        service.newest && service.newest.id !== service.latest?.id && h("div", { class: "small" }, newestRun(service.newest)),
        open && progress(open, signal),
        h("div", { class: "buttons" },
            service.measurable && h("a", { class: "button main", href: path }, open ? "Watch the benchmark" : "Benchmark"),
            service.newest && h("a", { class: "button", href: `/runs?service=${part(service.name)}` }, "Runs")));
}

function description(service) {
    const gpus = service.gpus && `GPUs: ${service.gpus}`;
    return [service.model ?? "No model is named", gpus, service.image].filter(Boolean).join(" · ");
}
