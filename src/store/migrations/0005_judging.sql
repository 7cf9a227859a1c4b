-- Judging: results that are pinned under a name, the verdicts over runs, and how much a host's figures differ
-- between runs of the same thing. And where results came from that were measured elsewhere.

-- A baseline is tied to the request, or to the service, whose runs are compared with it.
CREATE TABLE baselines (
    name       TEXT NOT NULL,
    scope      TEXT NOT NULL CHECK (scope IN ('request', 'service')),
    subject    TEXT NOT NULL,
    run_id     TEXT NOT NULL REFERENCES runs (id),
    -- The request of kind Baseline that says so; null where a command did.
    set_by     TEXT,
    created_at TEXT NOT NULL,
    PRIMARY KEY (name, scope, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX baselines_run ON baselines (run_id);

CREATE TABLE judgements (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    request_uid   TEXT NOT NULL,
    request_name  TEXT NOT NULL,
    run_id        TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    gate_hash     TEXT NOT NULL,
    -- Null where there was none to compare with.
    baseline_run  TEXT,
    policy        TEXT,
    evidence      TEXT NOT NULL,
    judgement_json TEXT NOT NULL,
    created_at    TEXT NOT NULL,
    UNIQUE (request_name, run_id, gate_hash)
) STRICT;
CREATE INDEX judgements_request ON judgements (request_name, seq);
CREATE INDEX judgements_run ON judgements (run_id);

CREATE TABLE noise_floors (
    host        TEXT NOT NULL,
    request     TEXT NOT NULL,
    case_key    TEXT NOT NULL,
    metric      TEXT NOT NULL,
    -- How far two runs of the same thing lie apart, as a part of either, in 95 of 100 cases.
    relative    REAL NOT NULL,
    runs        INTEGER NOT NULL,
    measured_at TEXT NOT NULL,
    PRIMARY KEY (host, request, case_key, metric)
) STRICT, WITHOUT ROWID;

CREATE TABLE imports (
    run_id      TEXT PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
    format      TEXT NOT NULL,
    file        TEXT NOT NULL,
    imported_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
-- Names the row of another database that a row came from, so that it comes once.
ALTER TABLE benchmark_results ADD COLUMN import_key TEXT;
CREATE UNIQUE INDEX benchmark_results_import ON benchmark_results (import_key) WHERE import_key IS NOT NULL;
CREATE INDEX runs_pinned ON runs (id) WHERE pinned = 1;
CREATE INDEX judgements_without_baseline ON judgements (request_name) WHERE baseline_run IS NULL;
CREATE INDEX requests_judging ON requests (name) WHERE kind IN ('Baseline', 'Comparison');
