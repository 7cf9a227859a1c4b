// How far a run is that goes on: what it does, a bar, what is left.

import { fill, h } from "./dom.js";
import { listen } from "./live.js";

/** A line of words and a bar for a run, until `signal` ends; `first` is what is known already. */
export function progress(run, signal, first = null) {
    const words = h("span", { class: "soft small" }, "It waits for its turn.");
    const bar = h("progress", { "aria-label": "Progress" });
    const tell = (known) => {
        if (!known) return;
        const { done, total, eta, activity } = known;
        if (total) {
            bar.max = total;
            bar.value = done;
        }
        const parts = [activity, total && `${done} of ${total}`, eta && `about ${eta} left`].filter(Boolean);
        if (parts.length > 0) fill(words, parts.join(" · "));
    };
    tell(first);
    listen(signal, (kind, data) => {
        if (kind === "progress" && data.run === run) tell(data.progress);
    });
    return h("div", { class: "progress" }, words, bar);
}
