// The services: what each is, whether it runs, its latest figures, and the way to measure it.

import { get, part } from "./api.js";
import { empty, fill, h, link, notice } from "./dom.js";
import { headline, newestRun, state } from "./figures.js";
import { listen, refreshing } from "./live.js";

export async function services(main, { signal }) {
    const place = h("div");
    const look = async () => draw(place, await get("/api/services", signal));
    await look();
    fill(main, h("h1", {}, "Services"), place);
    refreshing(signal, (data) => Boolean(data.run), look);
    listen(signal, (kind, data) => {
        if (kind === "progress") tellProgress(place, data);
    });
}

function draw(place, { services: all, problems }) {
    const real = all.filter((service) => service.source !== "built in");
    fill(place,
        problems.map((problem) => notice(problem)),
        real.length === 0 && empty("No services yet",
            "Name your ", h("code", {}, "docker-compose.yml"), " as ", h("code", {}, "compose"), " (or an LLM-Dock ",
            h("code", {}, "services.json"), " as ", h("code", {}, "services"), ") in ", h("code", {}, "benchlet.toml"),
            ", or start ", h("code", {}, "benchlet serve"), " where it lies. The stand-in below needs neither."),
        h("div", { class: "cards" }, all.map(card)));
}

function card(service) {
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
        open && h("div", { class: "small", "data-run": open }, h("span", { class: "soft progress-words" }, "A benchmark is in progress."), h("progress", {})),
        h("div", { class: "buttons" },
            service.measurable && h("a", { class: "button main", href: path }, open ? "Watch the benchmark" : "Benchmark"),
            service.newest && h("a", { class: "button", href: `/runs?service=${part(service.name)}` }, "Runs")));
}

function description(service) {
    const gpus = service.gpus && `GPUs: ${service.gpus}`;
    return [service.model ?? "No model is named", gpus, service.image].filter(Boolean).join(" · ");
}

function tellProgress(place, { run, progress }) {
    const line = place.querySelector(`[data-run="${CSS.escape(run)}"]`);
    if (!line || !progress) return;
    const bar = line.querySelector("progress");
    if (progress.total) {
        bar.max = progress.total;
        bar.value = progress.done;
    }
    const words = [progress.activity, progress.total && `${progress.done} of ${progress.total}`, progress.eta && `about ${progress.eta} left`];
    line.querySelector(".progress-words").textContent = words.filter(Boolean).join(" · ");
}
