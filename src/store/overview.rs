//! What lists show: requests with their newest run, runs with their figures, each in one query. Reads
//! only.

use rusqlite::{Connection, Row};
use uuid::Uuid;

use super::applies::ApplyState;
use super::conditions::ConditionRow;
use super::runs::Filter;
use super::{StoreError, all, decode, encode, first};
use crate::request::control::Control;
use crate::request::valid::Spec;
use crate::run::phase::RunState;

/// A run in a list.
#[derive(Debug, Clone)]
pub struct RunSummary {
    pub id: Uuid,
    pub request: String,
    pub kind: String,
    pub service: String,
    pub generation: u64,
    pub state: RunState,
    pub simulated: bool,
    /// Known once its parameters were resolved.
    pub launches: Option<u32>,
    pub params: Vec<(String, String)>,
    pub pp_avg_ts: Option<f64>,
    pub pp_stddev_ts: Option<f64>,
    pub tg_avg_ts: Option<f64>,
    pub tg_stddev_ts: Option<f64>,
    /// What stands for a load test's figures.
    pub headline: Option<String>,
    /// UTC, RFC 3339.
    pub created_at: String,
    pub started_at: Option<String>,
    pub completed_at: Option<String>,
}

/// A live request with what became of it last.
#[derive(Debug, Clone)]
pub struct RequestSummary {
    pub name: String,
    pub uid: String,
    pub kind: String,
    pub path: String,
    pub generation: u64,
    pub spec_hash: String,
    pub control: Control,
    pub spec: Spec,
    /// What the file asks for was not dealt with yet.
    pub waiting: bool,
    pub created_at: String,
    pub run: Option<RunSummary>,
    pub apply: Option<AppliedLast>,
    pub accepted: Option<ConditionRow>,
    /// Of the condition `Succeeded`.
    pub succeeded: Option<ConditionRow>,
    /// What else is not so of the newest run, by type: its type and reason.
    pub untrue: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
pub struct AppliedLast {
    pub state: ApplyState,
    pub created_at: String,
    pub ended_at: Option<String>,
}

pub(super) const RUN_COLUMNS: &str = "r.id AS run_id, r.request_name, r.kind AS run_kind, r.service, \
    r.generation AS run_generation, r.state_json, r.simulated, \
    json_extract(r.blueprint_json, '$.launches') AS launches, b.params_json, b.pp_avg_ts, b.pp_stddev_ts, \
    b.tg_avg_ts, b.tg_stddev_ts, r.headline, r.created_at AS run_created_at, r.started_at, r.completed_at";

impl super::Store {
    /// Runs with their figures, newest first.
    ///
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn run_summaries(&self, filter: &Filter) -> Result<Vec<RunSummary>, StoreError> {
        let (condition, values) = filter.condition("r.");
        let sql = format!(
            "SELECT {RUN_COLUMNS} FROM runs r LEFT JOIN benchmark_runs b ON b.id = r.id WHERE {condition}"
        );
        self.read(|connection| all(connection, &sql, rusqlite::params_from_iter(&values), run))
    }

    /// One run with its figures.
    ///
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn run_summary(&self, id: Uuid) -> Result<Option<RunSummary>, StoreError> {
        let sql = format!(
            "SELECT {RUN_COLUMNS} FROM runs r LEFT JOIN benchmark_runs b ON b.id = r.id WHERE r.id = ?1"
        );
        self.read(|connection| first(connection, &sql, [id.to_string()], run))
    }

    /// The live requests by name, or the one of that name.
    ///
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn request_summaries(&self, name: Option<&str>) -> Result<Vec<RequestSummary>, StoreError> {
        let condition = if name.is_some() { "AND q.name = ?1" } else { "" };
        self.read(|connection| requests(connection, condition, rusqlite::params_from_iter(name)))
    }

    /// Names that were ever requests, for what somebody may have meant.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn known_names(&self) -> Result<Vec<String>, StoreError> {
        self.read(|connection: &Connection| {
            let sql = "SELECT DISTINCT name FROM requests ORDER BY name LIMIT 10000";
            all(connection, sql, [], |row| Ok(row.get(0)?))
        })
    }
}

/// The live requests of these names, by name.
pub(super) fn named_requests(
    connection: &Connection,
    names: &[String],
) -> Result<Vec<RequestSummary>, StoreError> {
    requests(connection, "AND q.name IN (SELECT value FROM json_each(?1))", [encode(&names)?])
}

fn requests(
    connection: &Connection,
    condition: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<RequestSummary>, StoreError> {
    let sql = format!(
        "SELECT q.uid, q.name, q.kind, q.path, q.generation, q.spec_hash, q.satisfied_hash,
            q.control_json, q.spec_json, q.created_at, {RUN_COLUMNS},
            a.state_json AS apply_json, a.created_at AS applied_at, a.ended_at AS apply_ended_at,
            c.status AS accepted, c.reason AS accepted_reason, c.message AS accepted_message,
            c.changed_at AS accepted_at, s.status AS succeeded, s.reason AS succeeded_reason,
            s.message AS succeeded_message, s.changed_at AS succeeded_at,
            (SELECT json_group_array(json_array(type, reason)) FROM
                (SELECT type, reason FROM conditions u WHERE u.request = q.name AND u.status = 'False'
                    AND u.type NOT IN ('Accepted', 'Succeeded', 'Applied') AND u.run_id IS r.id
                 ORDER BY type)) AS untrue
         FROM requests q
         LEFT JOIN runs r ON r.seq = (SELECT max(seq) FROM runs WHERE request_name = q.name)
         LEFT JOIN benchmark_runs b ON b.id = r.id
         LEFT JOIN applies a ON a.seq = (SELECT max(seq) FROM applies WHERE request_name = q.name)
         LEFT JOIN conditions c ON c.request = q.name AND c.type = 'Accepted'
         LEFT JOIN conditions s ON s.request = q.name AND s.type = 'Succeeded'
         WHERE q.deleted_at IS NULL {condition} ORDER BY q.name"
    );
    all(connection, &sql, params, request)
}

pub(super) fn run(row: &Row<'_>) -> Result<RunSummary, StoreError> {
    let params: Option<String> = row.get("params_json")?;
    let params: Option<serde_json::Map<String, serde_json::Value>> =
        params.map(|text| decode("parameters", &text)).transpose()?;
    let text =
        |value: serde_json::Value| value.as_str().map(str::to_owned).unwrap_or_else(|| value.to_string());
    Ok(RunSummary {
        id: super::uuid_of(row, "run_id")?,
        request: row.get("request_name")?,
        kind: row.get("run_kind")?,
        service: row.get("service")?,
        generation: row.get("run_generation")?,
        state: decode("state", &row.get::<_, String>("state_json")?)?,
        simulated: row.get("simulated")?,
        launches: row.get("launches")?,
        params: params.unwrap_or_default().into_iter().map(|(flag, value)| (flag, text(value))).collect(),
        pp_avg_ts: row.get("pp_avg_ts")?,
        pp_stddev_ts: row.get("pp_stddev_ts")?,
        tg_avg_ts: row.get("tg_avg_ts")?,
        headline: row.get("headline")?,
        tg_stddev_ts: row.get("tg_stddev_ts")?,
        created_at: row.get("run_created_at")?,
        started_at: row.get("started_at")?,
        completed_at: row.get("completed_at")?,
    })
}

fn request(row: &Row<'_>) -> Result<RequestSummary, StoreError> {
    let (spec_hash, satisfied): (String, Option<String>) =
        (row.get("spec_hash")?, row.get("satisfied_hash")?);
    let has_run = row.get::<_, Option<String>>("run_id")?.is_some();
    let apply = match row.get::<_, Option<String>>("apply_json")? {
        None => None,
        Some(state) => Some(AppliedLast {
            state: decode("apply's state", &state)?,
            created_at: row.get("applied_at")?,
            ended_at: row.get("apply_ended_at")?,
        }),
    };
    Ok(RequestSummary {
        name: row.get("name")?,
        uid: row.get("uid")?,
        kind: row.get("kind")?,
        path: row.get("path")?,
        generation: row.get("generation")?,
        waiting: satisfied.as_deref() != Some(spec_hash.as_str()),
        spec_hash,
        control: decode("control", &row.get::<_, String>("control_json")?)?,
        spec: decode("spec", &row.get::<_, String>("spec_json")?)?,
        created_at: row.get("created_at")?,
        run: has_run.then(|| run(row)).transpose()?,
        apply,
        accepted: condition(row, ["accepted", "accepted_reason", "accepted_message", "accepted_at"])?,
        succeeded: condition(row, ["succeeded", "succeeded_reason", "succeeded_message", "succeeded_at"])?,
        untrue: decode("list of conditions", &row.get::<_, String>("untrue")?)?,
    })
}

fn condition(row: &Row<'_>, columns: [&str; 4]) -> Result<Option<ConditionRow>, StoreError> {
    let Some(status) = row.get::<_, Option<String>>(columns[0])? else {
        return Ok(None);
    };
    Ok(Some(ConditionRow {
        status,
        reason: row.get(columns[1])?,
        message: row.get(columns[2])?,
        problems: Vec::new(),
        run: None,
        changed_at: row.get(columns[3])?,
    }))
}
