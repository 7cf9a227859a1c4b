-- Requests that came over the API: the text of each until its file is there.

CREATE TABLE submissions (
    name       TEXT PRIMARY KEY,
    path       TEXT NOT NULL,
    text       TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
