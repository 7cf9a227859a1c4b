-- Load tests: each case's request records as one compressed blob, the system's metrics as time series,
-- and rows of benchmark_results tied to the run and case that they come from.

CREATE TABLE request_records (
    run_id  TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    number  INTEGER NOT NULL,
    version INTEGER NOT NULL,
    count   INTEGER NOT NULL,
    records BLOB NOT NULL,
    PRIMARY KEY (run_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE series (
    run_id  TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    number  INTEGER NOT NULL,
    name    TEXT NOT NULL,
    version INTEGER NOT NULL,
    points  BLOB NOT NULL,
    PRIMARY KEY (run_id, number, name)
) STRICT, WITHOUT ROWID;

-- The figure that stands for a whole run in lists, in words.
ALTER TABLE runs ADD COLUMN headline TEXT;

ALTER TABLE benchmark_results ADD COLUMN run_id TEXT REFERENCES runs (id) ON DELETE CASCADE;
ALTER TABLE benchmark_results ADD COLUMN case_number INTEGER;
ALTER TABLE benchmark_results ADD COLUMN simulated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE benchmark_results ADD COLUMN valid INTEGER NOT NULL DEFAULT 1;
CREATE INDEX benchmark_results_run ON benchmark_results (run_id);
CREATE INDEX benchmark_results_answering ON benchmark_results (model_name, created_at) WHERE valid = 1 AND simulated = 0;
