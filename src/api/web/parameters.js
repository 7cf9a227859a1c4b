// The rows of parameters: flags with values, added and removed freely, none of them read as anything but text.

import { fill, h } from "./dom.js";

/** What is asked for most often; any other flag can be typed. */
const USUAL = ["-p", "-n", "-r", "-b", "-ub", "-ngl", "-fa", "-t", "-ctk", "-ctv", "-d", "-pg", "-sm", "-mg", "-ts", "-nkvo", "-mmp"];

/**
 * A form of parameters. `changed` is called after every change. `get()` is the parameters, or throws what is
 * wrong with a row; `set` fills the rows.
 */
export function parameters(changed) {
    const rows = h("div", { class: "parameters" });
    const names = h("datalist", { id: "flags" }, USUAL.map((value) => h("option", { value })));

    const add = (flag = "", value = "") => {
        const name = h("input", { list: "flags", value: flag, placeholder: "-b", "aria-label": "Flag", spellcheck: "false", autocapitalize: "off", autocomplete: "off" });
        const text = h("input", { value, placeholder: "none: a bare flag", "aria-label": "Value", spellcheck: "false", autocapitalize: "off", autocomplete: "off" });
        const drop = h("button", { type: "button", class: "quiet", "aria-label": "Remove this parameter", title: "Remove" }, "×");
        const row = h("div", { class: "parameter" }, name, text, drop);
        drop.addEventListener("click", () => {
            const next = row.nextElementSibling ?? row.previousElementSibling;
            row.remove();
            (next?.querySelector("button") ?? more).focus();
            changed();
        });
        name.addEventListener("input", changed);
        text.addEventListener("input", changed);
        rows.append(row);
        return name;
    };
    const more = h("button", { type: "button", onclick: () => add().focus() }, "Add a parameter");

    const read = () => {
        const found = Object.create(null);
        for (const row of rows.children) {
            const [name, text] = [...row.querySelectorAll("input")].map((input) => input.value.trim());
            if (name === "" && text === "") continue;
            if (name === "") throw new Error(`The value "${text}" has no flag.`);
            if (name in found) throw new Error(`${name} is there twice. Several values are one row: ${found[name] || "512"},${text || "1024"}.`);
            found[name] = text;
        }
        return found;
    };
    const write = (params) => {
        fill(rows);
        for (const [flag, value] of Object.entries(params)) add(flag, value);
        changed();
    };
    return { element: h("div", {}, names, rows), more, get: read, set: write };
}
