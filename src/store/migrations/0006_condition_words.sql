-- A condition with what explains it: its message, the problems of a document that is not accepted, and the run
-- that it tells of, by which a reader knows whether it is of the newest one.

ALTER TABLE conditions ADD COLUMN message TEXT NOT NULL DEFAULT '';
ALTER TABLE conditions ADD COLUMN problems_json TEXT;
ALTER TABLE conditions ADD COLUMN run_id TEXT;
