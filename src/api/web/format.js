// Numbers and times as people read them. Unknown is a dash.

export const UNKNOWN = "–";

const known = (value) => value !== null && value !== undefined && Number.isFinite(Number(value));

/** Four significant digits at most, without an exponent. */
export function number(value) {
    if (!known(value)) return UNKNOWN;
    const size = Math.abs(value);
    const digits = size >= 1000 || size === 0 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : 3;
    return Number(value).toLocaleString("en", { maximumFractionDigits: digits, useGrouping: true });
}

/** A figure with its spread. */
export function spread(mean, deviation) {
    if (!known(mean)) return UNKNOWN;
    return known(deviation) ? `${number(mean)} ± ${number(deviation)}` : number(mean);
}

/** Milliseconds in the unit that suits them. */
export function milliseconds(value) {
    if (!known(value)) return UNKNOWN;
    return value >= 10_000 ? `${number(value / 1000)} s` : `${number(value)} ms`;
}

/** Seconds as people plan with them. */
export function duration(seconds) {
    if (!known(seconds)) return UNKNOWN;
    if (seconds < 60) return `${number(seconds)} s`;
    const units = [[86_400, "d"], [3_600, "h"], [60, "min"], [1, "s"]];
    const first = units.findIndex(([size]) => seconds >= size);
    const [[large, name], next] = [units[first], units[first + 1]];
    const rest = next ? Math.floor((seconds % large) / next[0]) : 0;
    const whole = `${Math.floor(seconds / large)} ${name}`;
    return rest > 0 ? `${whole} ${rest} ${next[1]}` : whole;
}

/** How long ago, roughly. */
export function ago(time) {
    if (!time) return UNKNOWN;
    const seconds = (Date.now() - Date.parse(time)) / 1000;
    if (seconds < 5) return "now";
    for (const [size, unit] of [[86_400, "d"], [3_600, "h"], [60, "min"], [1, "s"]]) {
        if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
    }
    return UNKNOWN;
}

/** The time in full, by the reader's own clock. */
export function when(time) {
    if (!time) return UNKNOWN;
    // Swedish has the order of ISO 8601, in the reader's own time zone.
    return new Date(time).toLocaleString("sv");
}

/** From the start to the end, or to now. */
export function took(from, to) {
    if (!from) return UNKNOWN;
    return duration(Math.max(0, (to ? Date.parse(to) : Date.now()) - Date.parse(from)) / 1000);
}

export function bytes(value) {
    if (!known(value)) return null;
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    const power = value > 0 ? Math.min(4, Math.floor(Math.log2(value) / 10)) : 0;
    return `${number(value / 1024 ** power)} ${units[power]}`;
}

/** A count of things as model cards have it: 30.5 B. */
export function count(value) {
    if (!known(value)) return null;
    for (const [size, unit] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "K"]]) {
        if (value >= size) return `${number(value / size)} ${unit}`;
    }
    return String(value);
}

/** The beginning of an id, by which the command line knows a run as well. */
export function short(id) {
    return String(id).slice(0, 8);
}

/** `1 run`, `2 runs`. */
export function plural(value, one, many = `${one}s`) {
    return `${value.toLocaleString("en")} ${value === 1 ? one : many}`;
}
