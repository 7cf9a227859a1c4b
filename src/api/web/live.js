// What happens, as the server tells it: one stream for the whole page. Whoever shows something that may change
// listens, and stops with the page that it stands on. A browser opens few connections to one server, all tabs
// together, so a page that nobody sees has none.

import { get } from "./api.js";

let leave = new AbortController();
const listeners = new Set();

/** Opens the stream; `state` is told whether it stands. */
export function connect(state) {
    leave.abort();
    leave = new AbortController();
    let missed = false;
    const stands = (is) => {
        state(is);
        // What happened meanwhile is not told again.
        if (is && missed) tell("resumed", {});
        missed = true;
    };
    whileSeen(leave.signal, () => {
        const end = new AbortController();
        asOne(end.signal, stands);
        return () => end.abort();
    });
}

/** Of the windows that are seen, one has the stream and tells the others. */
function asOne(signal, stands) {
    // Only pages of this machine or over TLS have locks; others have a stream each.
    if (!navigator.locks) return stream(signal, stands, () => {});
    const others = new BroadcastChannel("benchlet-events");
    others.onmessage = ({ data: [kind, data] }) => (kind === "stands" ? stands(data) : tell(kind, data));
    signal.addEventListener("abort", () => others.close());
    const hold = () => new Promise((release) => {
        stream(signal, (is) => {
            stands(is);
            others.postMessage(["stands", is]);
        }, (kind, data) => others.postMessage([kind, data]));
        signal.addEventListener("abort", release);
    });
    return navigator.locks.request("benchlet-events", { signal }, hold).catch(() => {});
}

function stream(signal, stands, pass) {
    let again = null;
    let source = null;
    const open = () => {
        source = new EventSource("/api/events");
        source.onopen = () => stands(true);
        source.onerror = () => {
            stands(false);
            if (source.readyState !== EventSource.CLOSED) return;
            // The browser gives up where it is refused: after a logout elsewhere, this asks for the login.
            again = setTimeout(open, 3_000);
            get("/api/requests?limit=1").catch(() => {});
        };
        for (const kind of ["event", "status", "progress"]) {
            source.addEventListener(kind, (message) => {
                const data = JSON.parse(message.data);
                tell(kind, data);
                pass(kind, data);
            });
        }
    };
    open();
    signal.addEventListener("abort", () => {
        clearTimeout(again);
        source.close();
    });
}

export function disconnect() {
    leave.abort();
}

function tell(kind, data) {
    for (const listener of [...listeners]) listener(kind, data);
}

/** Has `begin` at work while the page is seen, until `signal` ends. It answers with how it ends. */
export function whileSeen(signal, begin) {
    let end = null;
    const look = () => {
        const seen = document.visibilityState === "visible" && !signal.aborted;
        if (seen && !end) end = begin();
        if (!seen && end) {
            end();
            end = null;
        }
    };
    document.addEventListener("visibilitychange", look, { signal });
    signal.addEventListener("abort", look);
    look();
}

/** Calls `listener(kind, data)` until `signal` ends. */
export function listen(signal, listener) {
    if (signal.aborted) return;
    listeners.add(listener);
    signal.addEventListener("abort", () => listeners.delete(listener));
}

/**
 * Calls `work` soon after something happened that `concerns` what is shown, and never twice at once. What files say
 * may change without a run, so with `every` it looks by the clock as well, in milliseconds, while it is seen.
 */
export function refreshing(signal, concerns, work, every = null) {
    let timer = null;
    let busy = false;
    let again = false;
    const run = async () => {
        timer = null;
        if (signal.aborted) return;
        if (busy) {
            again = true;
            return;
        }
        busy = true;
        try {
            await work();
        } catch (error) {
            // Said by the connection's mark already; what is shown stays.
            if (error.name !== "AbortError" && error.code !== "unreachable") throw error;
        } finally {
            busy = false;
            if (again) {
                again = false;
                soon();
            }
        }
    };
    const soon = () => { timer ??= setTimeout(run, 250); };
    listen(signal, (kind, data) => {
        if (kind === "resumed" || (kind !== "progress" && concerns(data, kind))) soon();
    });
    signal.addEventListener("abort", () => clearTimeout(timer));
    if (!every) return;
    whileSeen(signal, () => {
        const clock = setInterval(soon, every);
        return () => clearInterval(clock);
    });
}
