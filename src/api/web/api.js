// Calls of the API. A refusal is thrown in the server's own words; a login that has ended leads to the login.

export class Refused extends Error {
    constructor(status, code, message) {
        super(message);
        this.status = status;
        this.code = code;
    }
}

let askLogin = () => {};

/** What is to happen where the server wants a login. */
export function onLoginNeeded(handler) {
    askLogin = handler;
}

async function call(method, path, body, signal) {
    const options = { method, signal, headers: {} };
    if (body !== undefined) {
        options.headers["Content-Type"] = "application/json";
        options.body = JSON.stringify(body);
    }
    let answer;
    try {
        // A browser drops what is on its way when a network interface comes or goes, as those of containers do.
        const again = (error) => (method === "GET" && error.name !== "AbortError" ? fetch(path, options) : Promise.reject(error));
        answer = await fetch(path, options).catch(again);
    } catch (error) {
        if (error.name === "AbortError") throw error;
        throw new Refused(0, "unreachable", "The server does not answer. Is `benchlet serve` running?");
    }
    if (answer.status === 204) return null;
    const text = await answer.text();
    let json = null;
    try {
        json = JSON.parse(text);
    } catch {
        throw new Refused(answer.status, "unreadable", `The server answered ${answer.status} without JSON.`);
    }
    if (answer.ok) return json;
    const { code, message } = json.error ?? { code: "unknown", message: `The server answered ${answer.status}.` };
    const refused = new Refused(answer.status, code, sentence(message));
    if (answer.status === 401 && path !== "/api/login") askLogin();
    throw refused;
}

export const get = (path, signal) => call("GET", path, undefined, signal);
export const post = (path, body, signal) => call("POST", path, body, signal);
export const put = (path, body) => call("PUT", path, body);
export const remove = (path) => call("DELETE", path);

/** The server's messages begin as parts of a sentence; names in them stay as they are. */
export function sentence(text) {
    const whole = /^[a-z]+[ ,:;]/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
    return /[.!?)]$/.test(whole) ? whole : `${whole}.`;
}

/** A path with a query of what is given. */
export function query(path, values) {
    const given = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
    const text = new URLSearchParams(given).toString();
    return text ? `${path}?${text}` : path;
}

/** A part of a path. */
export const part = encodeURIComponent;
