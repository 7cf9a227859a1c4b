-- Reports that were written for a run, each with what it was then: a file that is still so goes with its run.

CREATE TABLE reports (
    run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    -- Absolute.
    path   TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (run_id, path)
) STRICT, WITHOUT ROWID;
