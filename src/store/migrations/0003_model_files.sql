-- Model files that a request asked for, as far as they came: one row a file of a run.

CREATE TABLE model_files (
    run_id    TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    number    INTEGER NOT NULL,
    name      TEXT NOT NULL,
    bytes     INTEGER NOT NULL,
    total     INTEGER,
    sha256    TEXT,
    path      TEXT,
    commit_id TEXT,
    directory TEXT,
    PRIMARY KEY (run_id, number)
) STRICT, WITHOUT ROWID;
