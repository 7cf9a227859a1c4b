// How far a run is that goes on: what it does, a bar, what is left.

import { fill, h } from "./dom.js";
import { listen } from "./live.js";

/** What it does, how much of it is done, and what is left. */
export function words({ activity, done, total, eta }) {
    return [activity, total && `${done} of ${total}`, eta && `about ${eta} left`].filter(Boolean).join(" · ");
}

/** A line of words and a bar for a run, until `signal` ends; `first` is what is known already. */
export function progress(run, signal, first = null) {
    const line = h("span", { class: "soft small" }, "It waits for its turn.");
    const bar = h("progress", { "aria-label": "Progress" });
    const tell = (known) => {
        if (!known) return;
        if (known.total) {
            bar.max = known.total;
            bar.value = known.done;
        }
        const told = words(known);
        if (told) fill(line, told);
    };
    tell(first);
    listen(signal, (kind, data) => {
        if (kind === "progress" && data.run === run) tell(data.progress);
    });
    return h("div", { class: "progress" }, line, bar);
}
