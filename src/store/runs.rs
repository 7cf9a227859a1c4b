//! Runs: the state machine's row, with the row of `benchmark_runs` kept in step in the same
//! transaction.

use rusqlite::{Connection, Row, params};
use serde_json::Value;
use uuid::Uuid;

use super::{
    StoreError, all, benchmarks, commands, decode, encode, events, first, load_results, requests, uuid_of,
};
use crate::decide::action::NewRun;
use crate::request::apply::InlineApply;
use crate::request::valid::Spec;
use crate::run::phase::{Phase, RunState};
use crate::run::plan::{Blueprint, Plan};

/// Version of `state_json`, so that a newer binary can finish an older one's runs.
pub(super) const STATE_VERSION: u32 = 1;

/// A run as it is stored.
#[derive(Debug, Clone)]
pub struct RunRow {
    pub seq: u64,
    pub id: Uuid,
    pub request_uid: Uuid,
    pub request: String,
    pub request_path: String,
    pub generation: u64,
    pub service: String,
    pub spec: Spec,
    pub spec_hash: String,
    pub timeout_ms: u64,
    pub backoff_limit: u32,
    pub attempt: u32,
    pub faults: u32,
    pub failures: u32,
    pub state: RunState,
    pub blueprint: Option<Blueprint>,
    pub plan: Option<Plan>,
    pub fingerprint: Option<Value>,
    /// Last lines of output of an ended run.
    pub tail: Option<String>,
    /// What stands for its figures in lists, where they are not two rates.
    pub headline: Option<String>,
    pub simulated: bool,
    pub pinned: bool,
    /// UTC, RFC 3339.
    pub created_at: String,
    pub started_at: Option<String>,
    pub completed_at: Option<String>,
}

/// What collecting made of a run's output.
#[derive(Debug, Clone, Default)]
pub struct Results {
    /// One JSON text a case, in the order of their numbers from 1.
    pub cases: Vec<String>,
    pub figures: benchmarks::Figures,
    /// What the cases of a load test leave beside their figures.
    pub load: Vec<load_results::CaseData>,
    pub headline: Option<String>,
    pub tail: Option<String>,
    /// Every server turned out to be benchlet's mock one; the plan may have known.
    pub simulated: bool,
}

/// Which runs a list shows; everything given has to hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub request: Option<String>,
    pub service: Option<String>,
    pub spec_hash: Option<String>,
    pub phase: Option<Phase>,
    pub kind: Option<&'static str>,
    pub simulated: Option<bool>,
    /// Runs that have ended, as whatever.
    pub ended: bool,
    /// Made, or of what was imported measured, at that time or later: UTC, RFC 3339.
    pub since: Option<String>,
    /// No run that was made after the one with this number.
    pub up_to: Option<u64>,
    pub limit: u32,
    pub offset: u32,
}

impl Filter {
    /// The condition with order and limits, and its values. `table` is the runs' alias with its dot, or
    /// nothing.
    pub(super) fn condition(&self, table: &str) -> (String, Vec<String>) {
        let phase = self.phase.map(|phase| phase.as_str().to_owned());
        let (mut clauses, mut values) = (Vec::new(), Vec::new());
        let kind = self.kind.map(str::to_owned);
        for (column, value) in [
            ("request_name", &self.request),
            ("service", &self.service),
            ("spec_hash", &self.spec_hash),
            ("phase", &phase),
            ("kind", &kind),
        ] {
            if let Some(value) = value {
                values.push(value.clone());
                clauses.push(format!("{table}{column} = ?{}", values.len()));
            }
        }
        if let Some(since) = &self.since {
            values.push(since.clone());
            clauses.push(format!("{table}created_at >= ?{}", values.len()));
        }
        clauses.extend(self.simulated.map(|simulated| format!("{table}simulated = {}", u8::from(simulated))));
        clauses.extend(self.ended.then(|| format!("{table}phase NOT IN {OPEN}")));
        clauses.extend(self.up_to.map(|seq| format!("{table}seq <= {seq}")));
        let condition = if clauses.is_empty() { "1".to_owned() } else { clauses.join(" AND ") };
        let limit = if self.limit == 0 { 20 } else { self.limit };
        let sql = format!("{condition} ORDER BY {table}seq DESC LIMIT {limit} OFFSET {}", self.offset);
        (sql, values)
    }
}

/// Phases of runs that have not ended, word for word as in the condition of the index `runs_open`.
const OPEN: &str = "('Pending', 'Preparing', 'Running', 'Collecting')";

const COLUMNS: &str = "seq, id, request_uid, request_name, request_path, generation, service, spec_json, \
    spec_hash, timeout_ms, backoff_limit, attempt, faults, failures, state_json, blueprint_json, plan_json, \
    fingerprint_json, tail, headline, simulated, pinned, created_at, started_at, completed_at";

impl super::Store {
    /// Runs that have not ended, oldest first.
    ///
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn open_runs(&self) -> Result<Vec<RunRow>, StoreError> {
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM runs WHERE phase IN {OPEN} ORDER BY seq");
            all(connection, &sql, [], run)
        })
    }

    /// A run by its id, or by the beginning of it where only one run has that.
    ///
    /// # Errors
    /// An ambiguous beginning, or SQLite's own.
    pub fn find_run(&self, id: &str) -> Result<Option<RunRow>, StoreError> {
        let plain = id.to_lowercase();
        if plain.is_empty() || !plain.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
            return Ok(None);
        }
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM runs WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 2");
            let mut found = all(connection, &sql, [plain.clone(), format!("{plain}g")], run)?;
            if found.len() > 1 {
                return Err(StoreError::Refused(format!(
                    "several runs begin with {plain}; give more of the id"
                )));
            }
            Ok(found.pop())
        })
    }

    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn run(&self, id: Uuid) -> Result<Option<RunRow>, StoreError> {
        self.read(|connection| by_id(connection, id))
    }

    /// Runs, newest first.
    ///
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn runs(&self, filter: &Filter) -> Result<Vec<RunRow>, StoreError> {
        let (condition, values) = filter.condition("");
        let sql = format!("SELECT {COLUMNS} FROM runs WHERE {condition}");
        self.read(|connection| all(connection, &sql, rusqlite::params_from_iter(&values), run))
    }

    /// Completed runs of a request whose spec asks for an apply that was not recorded yet, oldest first.
    ///
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn owed_applies(&self, request: &str) -> Result<Vec<(Uuid, InlineApply)>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT id, spec_json FROM runs
                 WHERE owes_apply = 1 AND phase = 'Completed' AND request_name = ?1 ORDER BY seq";
            let owed = all(connection, sql, [request], |row| {
                let spec: Spec = decode("spec", &row.get::<_, String>("spec_json")?)?;
                Ok((uuid_of(row, "id")?, inline_apply(&spec).cloned()))
            })?;
            Ok(owed.into_iter().filter_map(|(id, inline)| Some((id, inline?))).collect())
        })
    }

    /// The newest llama-bench run of a service whose parameters were resolved, whatever became of it.
    ///
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn last_planned_run(&self, service: &str) -> Result<Option<RunRow>, StoreError> {
        self.read(|connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM runs WHERE service = ?1 AND kind = 'LlamaBench'
                 AND blueprint_json IS NOT NULL ORDER BY seq DESC LIMIT 1"
            );
            first(connection, &sql, [service], run)
        })
    }
}

pub(super) fn by_id(connection: &Connection, id: Uuid) -> Result<Option<RunRow>, StoreError> {
    first(connection, &format!("SELECT {COLUMNS} FROM runs WHERE id = ?1"), [id.to_string()], run)
}

/// Records a run with what its request counts as satisfied from now on, and answers its command: one
/// transaction, so that no crash can leave one without the other.
pub fn create(connection: &Connection, new: &NewRun, now: &str) -> Result<(), StoreError> {
    let state = RunState::Pending;
    connection
        .prepare_cached(
            "INSERT INTO runs (id, request_uid, request_name, request_path, kind, generation, service,
                spec_json, spec_hash, timeout_ms, backoff_limit, phase, state_version, state_json, created_at,
                owes_apply)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )?
        .execute(params![
            new.id.to_string(),
            new.request_uid.to_string(),
            new.request,
            new.path.to_string_lossy(),
            new.spec.kind(),
            new.generation,
            new.service,
            encode(&new.spec)?,
            new.spec_hash,
            new.timeout_ms,
            new.backoff_limit,
            state.phase().as_str(),
            STATE_VERSION,
            encode(&state)?,
            now,
            inline_apply(&new.spec).is_some(),
        ])?;
    benchmarks::create(connection, new, now)?;
    let (hash, rerun) = (new.satisfied_hash.as_deref(), new.satisfied_rerun.as_deref());
    requests::satisfy(connection, &new.request_uid, hash, rerun)?;
    if let Some(command) = new.command {
        commands::answer(connection, command, "run created", Some(new.id), now)?;
    }
    events::note(connection, Some(&new.request), Some(new.id), "RunCreated", "", now)
}

/// Sets a run's state, and with it its phase and times. A run that has ended is left alone.
pub fn advance(connection: &Connection, id: Uuid, state: &RunState, now: &str) -> Result<(), StoreError> {
    let phase = state.phase();
    let (running, ended) = (phase == Phase::Running, phase.is_terminal());
    let changed = connection
        .prepare_cached(
            "UPDATE runs SET phase = ?2, state_version = ?3, state_json = ?4,
                started_at = CASE WHEN ?5 THEN coalesce(started_at, ?7) ELSE started_at END,
                completed_at = CASE WHEN ?6 THEN ?7 ELSE completed_at END
             WHERE id = ?1 AND phase NOT IN ('Completed', 'Failed', 'Cancelled')",
        )?
        .execute(params![
            id.to_string(),
            phase.as_str(),
            STATE_VERSION,
            encode(state)?,
            running,
            ended,
            now
        ])?;
    if changed == 1 {
        benchmarks::follow(connection, id, state, now)?;
    }
    Ok(())
}

/// Sets the blueprint that admission resolved.
pub fn set_blueprint(connection: &Connection, id: Uuid, blueprint: &Blueprint) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE runs SET blueprint_json = ?2, simulated = ?3, service = ?4 WHERE id = ?1")?
        .execute(params![id.to_string(), encode(blueprint)?, blueprint.simulated, blueprint.service])?;
    benchmarks::set_blueprint(connection, id, blueprint)
}

pub fn set_plan(connection: &Connection, id: Uuid, plan: &Plan) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE runs SET plan_json = ?2 WHERE id = ?1")?
        .execute(params![id.to_string(), encode(plan)?])?;
    Ok(())
}

pub fn set_fingerprint(connection: &Connection, id: Uuid, fingerprint: &Value) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE runs SET fingerprint_json = ?2 WHERE id = ?1")?
        .execute(params![id.to_string(), encode(fingerprint)?])?;
    Ok(())
}

pub fn set_attempt(
    connection: &Connection,
    id: Uuid,
    attempt: u32,
    faults: u32,
    failures: u32,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE runs SET attempt = ?2, faults = ?3, failures = ?4 WHERE id = ?1")?
        .execute(params![id.to_string(), attempt, faults, failures])?;
    Ok(())
}

/// Writes what collecting made of the output, at a Unix time in seconds. Safe to repeat.
pub fn set_results(
    connection: &Connection,
    id: Uuid,
    results: &Results,
    unix: i64,
) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM cases WHERE run_id = ?1")?.execute([id.to_string()])?;
    let mut insert =
        connection.prepare_cached("INSERT INTO cases (run_id, number, case_json) VALUES (?1, ?2, ?3)")?;
    for (number, case) in (1i64..).zip(&results.cases) {
        insert.execute(params![id.to_string(), number, case])?;
    }
    connection
        .prepare_cached(
            "UPDATE runs SET tail = ?2, headline = ?3, simulated = simulated OR ?4 WHERE id = ?1",
        )?
        .execute(params![id.to_string(), results.tail, results.headline, results.simulated])?;
    load_results::set(connection, id, &results.load, unix)?;
    benchmarks::set_figures(connection, id, &results.figures)
}

/// Deletes an ended run that nothing is pinned to. What its request counts as satisfied stays.
pub fn delete(connection: &Connection, id: Uuid, now: &str) -> Result<(), StoreError> {
    let Some(run) = by_id(connection, id)? else {
        return Err(StoreError::Refused(format!("there is no run {id}")));
    };
    if !run.state.phase().is_terminal() {
        return Err(StoreError::Refused(format!("the run {id} has not ended; cancel it first")));
    }
    if run.pinned {
        return Err(StoreError::Refused(format!("the run {id} is pinned as a baseline")));
    }
    connection.execute("DELETE FROM runs WHERE id = ?1", [id.to_string()])?;
    events::note(connection, Some(&run.request), Some(id), "RunDeleted", "", now)
}

fn inline_apply(spec: &Spec) -> Option<&InlineApply> {
    match spec {
        Spec::LlamaBench(spec) => spec.apply.as_ref(),
        Spec::LoadTest(_)
        | Spec::Apply(_)
        | Spec::Model(_)
        | Spec::Baseline(_)
        | Spec::Comparison(_)
        | Spec::Imported(_) => None,
    }
}

fn run(row: &Row<'_>) -> Result<RunRow, StoreError> {
    let blueprint: Option<String> = row.get("blueprint_json")?;
    let plan: Option<String> = row.get("plan_json")?;
    let fingerprint: Option<String> = row.get("fingerprint_json")?;
    Ok(RunRow {
        seq: row.get("seq")?,
        id: uuid_of(row, "id")?,
        request_uid: uuid_of(row, "request_uid")?,
        request: row.get("request_name")?,
        request_path: row.get("request_path")?,
        generation: row.get("generation")?,
        service: row.get("service")?,
        spec: decode("spec", &row.get::<_, String>("spec_json")?)?,
        spec_hash: row.get("spec_hash")?,
        timeout_ms: row.get("timeout_ms")?,
        backoff_limit: row.get("backoff_limit")?,
        attempt: row.get("attempt")?,
        faults: row.get("faults")?,
        failures: row.get("failures")?,
        state: decode("state", &row.get::<_, String>("state_json")?)?,
        blueprint: blueprint.map(|text| decode("blueprint", &text)).transpose()?,
        plan: plan.map(|text| decode("plan", &text)).transpose()?,
        fingerprint: fingerprint.map(|text| decode("fingerprint", &text)).transpose()?,
        tail: row.get("tail")?,
        headline: row.get("headline")?,
        simulated: row.get("simulated")?,
        pinned: row.get("pinned")?,
        created_at: row.get("created_at")?,
        started_at: row.get("started_at")?,
        completed_at: row.get("completed_at")?,
    })
}
