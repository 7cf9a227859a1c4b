-- Planning: which rows of benchmark_results answer how long a workload takes, and the newest of them a
-- model. Kept by triggers, because rows come from users' own SQL as well.

-- What the machine costs an hour, where the request says it.
ALTER TABLE benchmark_results ADD COLUMN cost_per_hour REAL;
UPDATE benchmark_results SET cost_per_hour =
    (SELECT json_extract(case_json, '$.cost.per_hour') FROM cases
     WHERE cases.run_id = benchmark_results.run_id AND number = case_number)
WHERE run_id IS NOT NULL;

-- A row of a finished run answers. A conversation does not: its turns are no requests of a batch.
ALTER TABLE benchmark_results ADD COLUMN answers INTEGER GENERATED ALWAYS AS
    (valid = 1 AND requests_per_second > 0 AND coalesce(benchmark_type, '') <> 'conversation') VIRTUAL;
-- Rows that were measured together: those of a run, and those from elsewhere of one day (UTC).
ALTER TABLE benchmark_results ADD COLUMN sweep TEXT GENERATED ALWAYS AS
    (coalesce(run_id, 'day:' || (created_at / 86400))) VIRTUAL;

DROP INDEX benchmark_results_model;
DROP INDEX benchmark_results_answering;
CREATE INDEX benchmark_results_model ON benchmark_results (model_name, simulated, created_at);
CREATE INDEX benchmark_results_sweep ON benchmark_results (model_name, simulated, sweep, num_workers)
    WHERE answers = 1;
CREATE INDEX benchmark_results_workers ON benchmark_results (model_name, simulated, num_workers, created_at)
    WHERE answers = 1;
CREATE INDEX benchmark_results_fastest ON benchmark_results (model_name, simulated, requests_per_second)
    WHERE answers = 1;

CREATE TABLE model_sweeps (
    model_name TEXT NOT NULL,
    simulated  INTEGER NOT NULL,
    sweep      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    newest_row INTEGER NOT NULL,
    PRIMARY KEY (model_name, simulated, sweep)
) STRICT, WITHOUT ROWID;
CREATE INDEX model_sweeps_newest ON model_sweeps (model_name, simulated, created_at, newest_row);

CREATE TABLE measured_models (
    model_name TEXT NOT NULL,
    simulated  INTEGER NOT NULL,
    sweeps     INTEGER NOT NULL,
    PRIMARY KEY (model_name, simulated)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER measured_models_more AFTER INSERT ON model_sweeps BEGIN
    INSERT INTO measured_models VALUES (NEW.model_name, NEW.simulated, 1)
    ON CONFLICT DO UPDATE SET sweeps = sweeps + 1;
END;
CREATE TRIGGER measured_models_fewer AFTER DELETE ON model_sweeps BEGIN
    UPDATE measured_models SET sweeps = sweeps - 1
    WHERE model_name = OLD.model_name AND simulated = OLD.simulated;
    DELETE FROM measured_models
    WHERE model_name = OLD.model_name AND simulated = OLD.simulated AND sweeps = 0;
END;

INSERT INTO model_sweeps
    SELECT model_name, simulated, sweep, max(created_at), max(id) FROM benchmark_results
    WHERE answers = 1 AND (run_id IS NULL
        OR EXISTS (SELECT 1 FROM runs WHERE runs.id = run_id AND phase = 'Completed'))
    GROUP BY model_name, simulated, sweep;

CREATE TRIGGER benchmark_results_added AFTER INSERT ON benchmark_results WHEN NEW.answers = 1 BEGIN
    INSERT INTO model_sweeps
        SELECT NEW.model_name, NEW.simulated, NEW.sweep, NEW.created_at, NEW.id
        WHERE NEW.run_id IS NULL
            OR EXISTS (SELECT 1 FROM runs WHERE runs.id = NEW.run_id AND phase = 'Completed')
    ON CONFLICT DO UPDATE SET
        created_at = max(created_at, excluded.created_at), newest_row = max(newest_row, excluded.newest_row);
END;
CREATE TRIGGER benchmark_results_removed AFTER DELETE ON benchmark_results WHEN OLD.answers = 1 BEGIN
    DELETE FROM model_sweeps
    WHERE model_name = OLD.model_name AND simulated = OLD.simulated AND sweep = OLD.sweep AND NOT EXISTS
        (SELECT 1 FROM benchmark_results AS r WHERE r.model_name = OLD.model_name
            AND r.simulated = OLD.simulated AND r.sweep = OLD.sweep AND r.answers = 1);
END;
CREATE TRIGGER benchmark_results_changed AFTER UPDATE OF model_name, simulated, valid, requests_per_second,
    benchmark_type, run_id, created_at ON benchmark_results BEGIN
    DELETE FROM model_sweeps
    WHERE model_name = OLD.model_name AND simulated = OLD.simulated AND sweep = OLD.sweep AND NOT EXISTS
        (SELECT 1 FROM benchmark_results AS r WHERE r.model_name = OLD.model_name
            AND r.simulated = OLD.simulated AND r.sweep = OLD.sweep AND r.answers = 1);
    INSERT INTO model_sweeps
        SELECT NEW.model_name, NEW.simulated, NEW.sweep, NEW.created_at, NEW.id
        WHERE NEW.answers = 1 AND (NEW.run_id IS NULL
            OR EXISTS (SELECT 1 FROM runs WHERE runs.id = NEW.run_id AND phase = 'Completed'))
    ON CONFLICT DO UPDATE SET
        created_at = max(created_at, excluded.created_at), newest_row = max(newest_row, excluded.newest_row);
END;
-- Rows are written before their run is finished.
CREATE TRIGGER runs_completed AFTER UPDATE OF phase ON runs
    WHEN NEW.phase = 'Completed' AND OLD.phase <> 'Completed' BEGIN
    INSERT INTO model_sweeps
        SELECT model_name, simulated, sweep, max(created_at), max(id) FROM benchmark_results
        WHERE run_id = NEW.id AND answers = 1 GROUP BY model_name, simulated, sweep
    ON CONFLICT DO UPDATE SET
        created_at = max(created_at, excluded.created_at), newest_row = max(newest_row, excluded.newest_row);
END;
