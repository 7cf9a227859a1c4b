-- The first schema: requests with what is satisfied, runs with their state machine, results in the
-- two shapes that users' SQL knows, and the journal of applies and commands.

CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;

CREATE TABLE requests (
    uid             TEXT PRIMARY KEY,
    name            TEXT NOT NULL,
    kind            TEXT NOT NULL,
    path            TEXT NOT NULL,
    document        INTEGER NOT NULL,
    generation      INTEGER NOT NULL,
    spec_hash       TEXT NOT NULL,
    semantic_hash   TEXT NOT NULL,
    satisfied_hash  TEXT,
    satisfied_rerun TEXT,
    control_json    TEXT NOT NULL,
    spec_json       TEXT NOT NULL,
    created_at      TEXT NOT NULL,
    deleted_at      TEXT
) STRICT;
CREATE UNIQUE INDEX requests_live_name ON requests (name) WHERE deleted_at IS NULL;
CREATE INDEX requests_name ON requests (name, created_at);

CREATE TABLE runs (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    id              TEXT NOT NULL UNIQUE,
    request_uid     TEXT NOT NULL,
    request_name    TEXT NOT NULL,
    request_path    TEXT NOT NULL,
    kind            TEXT NOT NULL,
    generation      INTEGER NOT NULL,
    service         TEXT NOT NULL,
    spec_json       TEXT NOT NULL,
    spec_hash       TEXT NOT NULL,
    timeout_ms      INTEGER NOT NULL,
    backoff_limit   INTEGER NOT NULL,
    attempt         INTEGER NOT NULL DEFAULT 0,
    faults          INTEGER NOT NULL DEFAULT 0,
    failures        INTEGER NOT NULL DEFAULT 0,
    phase           TEXT NOT NULL,
    state_version   INTEGER NOT NULL,
    state_json      TEXT NOT NULL,
    blueprint_json  TEXT,
    plan_json       TEXT,
    fingerprint_json TEXT,
    tail            TEXT,
    simulated       INTEGER NOT NULL DEFAULT 0,
    pinned          INTEGER NOT NULL DEFAULT 0,
    owes_apply      INTEGER NOT NULL DEFAULT 0,
    created_at      TEXT NOT NULL,
    started_at      TEXT,
    completed_at    TEXT
) STRICT;
CREATE INDEX runs_open ON runs (phase) WHERE phase IN ('Pending', 'Preparing', 'Running', 'Collecting');
CREATE INDEX runs_owing ON runs (request_name) WHERE owes_apply = 1;
CREATE INDEX runs_request ON runs (request_name, seq);
CREATE INDEX runs_service ON runs (service, seq);
CREATE INDEX runs_phase_service ON runs (phase, service, seq);
CREATE INDEX runs_phase ON runs (phase, seq);

CREATE TABLE benchmark_runs (
    id             TEXT PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
    service_name   TEXT NOT NULL,
    model_path     TEXT,
    status         TEXT NOT NULL,
    params_json    TEXT,
    pp_avg_ts      REAL,
    pp_stddev_ts   REAL,
    tg_avg_ts      REAL,
    tg_stddev_ts   REAL,
    raw_output     TEXT,
    error_message  TEXT,
    created_at     TEXT NOT NULL,
    started_at     TEXT,
    completed_at   TEXT,
    build_commit   TEXT,
    model_type     TEXT,
    model_size     INTEGER,
    model_n_params INTEGER,
    gpu_info       TEXT,
    cpu_info       TEXT,
    simulated      INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX benchmark_runs_service ON benchmark_runs (service_name, created_at);
CREATE INDEX benchmark_runs_status_service ON benchmark_runs (status, service_name);

CREATE TABLE benchmark_results (
    id                      INTEGER PRIMARY KEY AUTOINCREMENT,
    model_name              TEXT NOT NULL,
    model_size_params       TEXT,
    model_size_bytes        INTEGER,
    num_workers             INTEGER,
    context_window          INTEGER,
    num_requests            INTEGER,
    avg_prompt_tokens       REAL,
    avg_completion_tokens   REAL,
    total_time_seconds      REAL,
    requests_per_second     REAL,
    time_per_request_seconds REAL,
    successful_requests     INTEGER,
    failed_requests         INTEGER,
    success_rate            REAL,
    sample_responses        TEXT,
    created_at              INTEGER NOT NULL,
    benchmark_type          TEXT,
    notes                   TEXT,
    hardware_info           TEXT
) STRICT;
CREATE INDEX benchmark_results_model ON benchmark_results (model_name, created_at);

CREATE TABLE cases (
    run_id    TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    number    INTEGER NOT NULL,
    case_json TEXT NOT NULL,
    PRIMARY KEY (run_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE applies (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT NOT NULL UNIQUE,
    request_uid  TEXT,
    request_name TEXT,
    source_json  TEXT NOT NULL,
    options_json TEXT NOT NULL,
    token        TEXT NOT NULL,
    service      TEXT,
    run_id       TEXT,
    state        TEXT NOT NULL,
    state_json   TEXT NOT NULL,
    created_at   TEXT NOT NULL,
    ended_at     TEXT
) STRICT;
CREATE INDEX applies_open ON applies (state) WHERE ended_at IS NULL;
CREATE INDEX applies_request ON applies (request_name, seq);
CREATE INDEX applies_run ON applies (run_id);

CREATE TABLE commands (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    request     TEXT NOT NULL,
    verb_json   TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    answered_at TEXT,
    outcome     TEXT,
    run_id      TEXT
) STRICT;
CREATE INDEX commands_open ON commands (request) WHERE answered_at IS NULL;

CREATE TABLE events (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      TEXT NOT NULL,
    request TEXT,
    run_id  TEXT,
    reason  TEXT NOT NULL,
    message TEXT NOT NULL
) STRICT;
CREATE INDEX events_request ON events (request, id);

CREATE TABLE tools (
    image_id   TEXT PRIMARY KEY,
    facts_json TEXT NOT NULL,
    help       TEXT
) STRICT;

CREATE TABLE model_hashes (
    device   INTEGER NOT NULL,
    inode    INTEGER NOT NULL,
    size     INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    sha256   TEXT NOT NULL,
    PRIMARY KEY (device, inode, size, mtime_ns)
) STRICT, WITHOUT ROWID;

CREATE TABLE conditions (
    request    TEXT NOT NULL,
    type       TEXT NOT NULL,
    status     TEXT NOT NULL,
    reason     TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    PRIMARY KEY (request, type)
) STRICT, WITHOUT ROWID;
