// What happens, as the server tells it: one stream for the whole page, kept open by the browser. Whoever shows
// something that may change listens, and stops with the page that it stands on.

let source = null;
let again = null;
const listeners = new Set();

/** Opens the stream; `state` is told whether it stands. */
export function connect(state) {
    if (source) return;
    source = new EventSource("/api/events");
    source.onopen = () => state(true);
    source.onerror = () => {
        state(false);
        // The browser gives up where it is refused, as after a restart with another token.
        if (source?.readyState === EventSource.CLOSED) {
            disconnect();
            again = setTimeout(() => connect(state), 3_000);
        }
    };
    for (const kind of ["event", "status", "progress"]) {
        source.addEventListener(kind, (message) => {
            const data = JSON.parse(message.data);
            for (const listener of [...listeners]) listener(kind, data);
        });
    }
}

export function disconnect() {
    clearTimeout(again);
    source?.close();
    source = null;
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
        if (kind !== "progress" && concerns(data, kind)) soon();
    });
    signal.addEventListener("abort", () => clearTimeout(timer));
}
