// Questions and short messages. A question is a dialog of the browser's own: it keeps the focus, and Escape is no.

import { fill, h, present } from "./dom.js";

const STAYS = { good: 6_000, bad: 15_000 };

/** Says what happened, at the edge of the page. */
export function toast(message, kind = "good", link = null) {
    const place = document.getElementById("toasts");
    const close = h("button", { class: "quiet", type: "button", "aria-label": "Dismiss", onclick: () => box.remove() }, "×");
    const box = h("div", { class: `toast ${kind}` }, h("span", {}, message, link && [" ", link]), close);
    place.append(box);
    while (place.children.length > 4) place.firstElementChild.remove();
    setTimeout(() => box.remove(), STAYS[kind]);
}

/**
 * Shows a dialog with a title, a body and buttons `{label, kind?, act}`. A button's `act` may answer with a
 * further dialog's `{title, body, buttons}`; what it throws is shown in the dialog, which stays.
 */
export function dialog(first) {
    const box = h("dialog", { "aria-labelledby": "dialog-title" });
    const close = () => box.close();
    box.addEventListener("close", () => box.remove());
    const show = ({ title, body, buttons }) => {
        const said = h("div", { role: "alert" });
        const controls = buttons.map(({ label, kind, act }) => {
            const control = h("button", { class: kind, type: "button" }, label);
            control.addEventListener("click", async () => {
                const all = box.querySelectorAll("button");
                all.forEach((each) => { each.disabled = true; });
                control.setAttribute("aria-busy", "true");
                try {
                    const next = await act();
                    if (next) show(next);
                    else close();
                } catch (error) {
                    fill(said, h("p", { class: "notice bad" }, error.message));
                    all.forEach((each) => { each.disabled = false; });
                    control.removeAttribute("aria-busy");
                }
            });
            return control;
        });
        fill(box, h("h2", { id: "dialog-title" }, title), present([body]), said,
            h("div", { class: "buttons" }, h("button", { class: "quiet", type: "button", onclick: close }, "Close"), controls));
        // What cannot be taken back takes more than one key.
        const careful = buttons.at(-1)?.kind === "danger" ? box.querySelector(".buttons button") : controls.at(-1);
        (careful ?? box).focus();
    };
    document.body.append(box);
    box.showModal();
    show(first);
    return box;
}

/** Asks before something that cannot be taken back. */
export function ask(title, body, label, act) {
    return dialog({ title, body, buttons: [{ label, kind: "danger", act }] });
}
