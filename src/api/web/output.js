// A run's output as it comes, from its beginning. Follows the end unless paused; keeps a bounded part of it.

import { fill, h } from "./dom.js";
import { whileSeen } from "./live.js";

/** Most characters that stay in the page: the newest. */
const MOST = 400_000;

/**
 * Shows the output of a run until `signal` ends. `told` is called with each `{status, phase, reason, message}`,
 * and with `ended` true for the last of them.
 */
export function output(run, signal, told = () => {}) {
    const text = h("pre", { class: "output", tabindex: "0", role: "log", "aria-label": "Output", "aria-live": "off" });
    const pause = h("button", { type: "button", "aria-pressed": "false", class: "tight" }, "Pause");
    const cut = h("span", { class: "soft small" });
    let paused = false;
    let held = [];
    let length = 0;
    const append = (pieces) => {
        if (pieces.length === 0) return;
        // Whoever has scrolled up reads there.
        const follows = text.scrollHeight - text.scrollTop - text.clientHeight < 40;
        const whole = pieces.join("");
        text.append(whole);
        length += whole.length;
        while (length > MOST && text.childNodes.length > 1) {
            length -= text.firstChild.data.length;
            text.firstChild.remove();
            fill(cut, "The beginning is left out; `benchlet logs` has it.");
        }
        if (follows) text.scrollTop = text.scrollHeight;
    };
    pause.addEventListener("click", () => {
        paused = !paused;
        pause.setAttribute("aria-pressed", String(paused));
        fill(pause, paused ? "Go on" : "Pause");
        if (!paused) {
            append(held);
            held = [];
            text.scrollTop = text.scrollHeight;
        }
    });
    let over = false;
    whileSeen(signal, () => {
        // From the beginning: what came while nobody looked is in it.
        fill(text);
        [held, length] = [[], 0];
        const source = new EventSource(`/api/benchmarks/${run}/logs`);
        source.addEventListener("log", (event) => {
            const piece = JSON.parse(event.data).text;
            if (!paused) return append([piece]);
            held.push(piece);
            return fill(pause, `Go on (${held.length} new)`);
        });
        source.addEventListener("status", (event) => told({ ...JSON.parse(event.data), ended: false }));
        source.addEventListener("end", (event) => {
            source.close();
            if (!over) told({ ...JSON.parse(event.data), ended: true });
            over = true;
        });
        return () => source.close();
    });
    return h("div", { class: "panel" }, h("div", { class: "head" }, h("h3", {}, "Output"), cut, pause), text);
}
