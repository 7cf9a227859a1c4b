// Elements out of data. Texts stay texts: nothing that was measured or answered becomes markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element with attributes, `on…` handlers and children. Null, false and undefined are left out, of the
 * children as well as of the attributes.
 */
export function h(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes ?? {})) {
        if (value === null || value === undefined || value === false) continue;
        if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
        else if (key === "class") element.className = value;
        else if (key === "value") element.value = value;
        else element.setAttribute(key, value === true ? "" : String(value));
    }
    element.append(...present(children));
    return element;
}

/** The children that are there, with lists laid open. */
export function present(children) {
    return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** Puts these in place of what an element has. */
export function fill(element, ...children) {
    element.replaceChildren(...present(children));
    return element;
}

/** A picture that this server drew, without anything in it that could act. */
export function picture(text) {
    const drawn = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
    if (drawn.namespaceURI !== SVG || drawn.querySelector("script, foreignObject")) return null;
    return document.importNode(drawn, true);
}

/** A link inside of the page. */
export function link(href, ...children) {
    return h("a", { href }, ...children);
}

/** A table of columns `{name, number?, hint?, minor?}` and rows of cells. Minor ones are left out on a phone. */
export function table(caption, columns, rows, attributes = {}) {
    const look = (column) => [column.number && "n", column.minor && "minor"].filter(Boolean).join(" ") || null;
    const heads = columns.map((column) => h("th", { scope: "col", class: look(column), title: column.hint }, column.name));
    const lines = rows.map((cells) => {
        const { row, ...rest } = Array.isArray(cells) ? { row: cells } : cells;
        return h("tr", rest, columns.map((column, at) => h("td", { class: look(column) }, row[at])));
    });
    return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
        h("table", attributes,
            h("caption", { class: "aside" }, caption),
            h("thead", {}, h("tr", {}, heads)),
            h("tbody", {}, lines)));
}

/** A control with its label. */
export function field(words, control) {
    return h("div", { class: "field" }, h("label", { for: control.id }, words), control);
}

/** Names with values; pairs whose value is unknown are left out. */
export function facts(pairs) {
    const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
    return h("dl", { class: "facts" }, known.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

/** What stands where nothing is: what it is that is missing, and what to do about it. */
export function empty(title, ...advice) {
    return h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), present(advice).length > 0 && h("p", {}, advice));
}

export function notice(...words) {
    return h("p", { class: "notice", role: "note" }, words);
}

/** Words for what went wrong, where it went wrong. */
export function trouble(error) {
    return h("p", { class: "notice bad", role: "alert" }, error.message);
}
