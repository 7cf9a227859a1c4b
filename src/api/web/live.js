// What happens, as the server tells it: one stream for the whole page. Whoever shows something that may change
// listens, and stops with the page that it stands on. A browser opens few connections to one server, all tabs
// together, so a page that nobody sees has none.

let leave = new AbortController();
const listeners = new Set();

/** Opens the stream; `state` is told whether it stands. */
export function connect(state) {
    leave.abort();
    leave = new AbortController();
    let opened = false;
    whileSeen(leave.signal, () => {
        let again = null;
        let source = null;
        const open = () => {
            source = new EventSource("/api/events");
            source.onopen = () => {
                state(true);
                // What happened meanwhile is not told again.
                if (opened) tell("resumed", {});
                opened = true;
            };
            source.onerror = () => {
                state(false);
                // The browser gives up where it is refused, as after a restart with another token.
                if (source.readyState === EventSource.CLOSED) again = setTimeout(open, 3_000);
            };
            for (const kind of ["event", "status", "progress"]) {
                source.addEventListener(kind, (message) => tell(kind, JSON.parse(message.data)));
            }
        };
        open();
        return () => {
            clearTimeout(again);
            source.close();
        };
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

/** Calls `work` soon after something happened that `concerns` what is shown, and never twice at once. */
export function refreshing(signal, concerns, work) {
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
}
