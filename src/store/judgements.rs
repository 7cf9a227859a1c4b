//! Judgements: what came of each comparison that a request asked for, one a candidate run and gate. And the
//! noise floors that `benchlet noise` measured, which judgements go by.

use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::{StoreError, all, decode, encode, events, uuid_of};
use crate::plan::compared_figure::NoiseFloors;
use crate::plan::comparison::Comparison;
use crate::request::measure::Measure;

/// What was judged, and by what.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    pub request_uid: Uuid,
    pub request: String,
    /// The candidate.
    pub run: Uuid,
    /// Of the gate, so that another one judges anew.
    pub gate_hash: String,
    /// `None` where there was nothing to compare with.
    pub baseline_run: Option<Uuid>,
    /// As the gate names what it compares with.
    pub against: String,
    /// Warnings and what stays open count as failures.
    pub strict: bool,
    /// `None`: there was no comparison, for this reason.
    pub comparison: Result<Comparison, String>,
    /// UTC, RFC 3339.
    pub created_at: String,
}

/// The part that has no column of its own.
#[derive(serde::Serialize, serde::Deserialize)]
struct Body {
    against: String,
    strict: bool,
    comparison: Option<Comparison>,
    why_none: Option<String>,
}

/// A noise floor of one figure.
#[derive(Debug, Clone, PartialEq)]
pub struct NoiseFloor {
    pub host: String,
    pub request: String,
    pub case_key: String,
    pub measure: Measure,
    pub relative: f64,
    pub runs: u32,
    /// UTC, RFC 3339.
    pub measured_at: String,
}

const COLUMNS: &str =
    "request_uid, request_name, run_id, gate_hash, baseline_run, judgement_json, created_at";

impl super::Store {
    /// A request's judgements, newest first.
    ///
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn judgements(&self, request: &str, most: u32) -> Result<Vec<Judgement>, StoreError> {
        self.read(|connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM judgements WHERE request_name = ?1 ORDER BY seq DESC LIMIT ?2"
            );
            all(connection, &sql, params![request, most], judgement)
        })
    }

    /// What stands of a request: its newest judgement, if that is of its newest run. A comparison is about other
    /// requests' runs and has none of its own, so there it is the newest one.
    ///
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn standing_judgement(
        &self,
        request: &str,
        kind: &str,
        newest_run: Option<Uuid>,
    ) -> Result<Option<Judgement>, StoreError> {
        let newest = self.judgements(request, 1)?.pop();
        Ok(newest.filter(|judged| kind == "Comparison" || newest_run == Some(judged.run)))
    }

    /// Live requests that are about other requests' runs, and those whose gate waits for a baseline.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn judging_requests(&self) -> Result<Vec<String>, StoreError> {
        let mut names = self.without_baseline()?;
        names.extend(self.read(|connection| {
            let sql =
                "SELECT name FROM requests WHERE kind IN ('Baseline', 'Comparison') AND deleted_at IS NULL";
            all(connection, sql, [], |row| Ok(row.get::<_, String>(0)?))
        })?);
        Ok(names)
    }

    /// Requests that were judged without a baseline.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn without_baseline(&self) -> Result<Vec<String>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT DISTINCT request_name FROM judgements WHERE baseline_run IS NULL";
            all(connection, sql, [], |row| Ok(row.get(0)?))
        })
    }

    /// How much the figures of a request's cases differ between runs on a host.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn noise_floors(&self, host: &str, request: &str) -> Result<NoiseFloors, StoreError> {
        let rows: Vec<(String, String, f64)> = self.read(|connection| {
            let sql = "SELECT case_key, metric, relative FROM noise_floors WHERE host = ?1 AND request = ?2";
            all(connection, sql, [host, request], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        })?;
        let known = rows
            .into_iter()
            .filter_map(|(case, measure, relative)| Some(((case, Measure::from_name(&measure)?), relative)));
        Ok(known.collect())
    }
}

/// Writes a judgement as the newest one, in the place of an earlier one by the same gate.
///
/// # Errors
/// SQLite's own.
pub fn save(connection: &Connection, judged: &Judgement) -> Result<(), StoreError> {
    let (comparison, why_none) = match &judged.comparison {
        Ok(comparison) => (Some(comparison.clone()), None),
        Err(why) => (None, Some(why.clone())),
    };
    let policy = comparison.as_ref().and_then(|found| found.policy).map(|policy| policy.as_str());
    let evidence = comparison.as_ref().map_or("NotComparable", |found| found.evidence.as_str());
    let message = match (&why_none, &comparison) {
        (Some(why), _) => why.clone(),
        (None, Some(found)) if found.policy.is_none() => {
            format!("not comparable: {}", found.reasons.join("; "))
        }
        (None, Some(_) | None) => format!("{}, evidence {evidence}", policy.unwrap_or("not judged")),
    };
    let body = Body { against: judged.against.clone(), strict: judged.strict, comparison, why_none };
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO judgements (request_uid, request_name, run_id, gate_hash, baseline_run, policy, evidence,
                judgement_json, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            judged.request_uid.to_string(),
            judged.request,
            judged.run.to_string(),
            judged.gate_hash,
            judged.baseline_run.map(|run| run.to_string()),
            policy,
            evidence,
            encode(&body)?,
            judged.created_at,
        ])?;
    events::note(connection, Some(&judged.request), Some(judged.run), "Judged", &message, &judged.created_at)
}

/// Writes noise floors in the place of older ones.
///
/// # Errors
/// SQLite's own.
pub fn save_noise(connection: &Connection, floors: &[NoiseFloor]) -> Result<(), StoreError> {
    for floor in floors {
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO noise_floors (host, request, case_key, metric, relative, runs, measured_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                floor.host,
                floor.request,
                floor.case_key,
                floor.measure.to_string(),
                floor.relative,
                floor.runs,
                floor.measured_at,
            ])?;
    }
    Ok(())
}

fn judgement(row: &Row<'_>) -> Result<Judgement, StoreError> {
    let body: Body = decode("judgement", &row.get::<_, String>("judgement_json")?)?;
    let baseline_run: Option<String> = row.get("baseline_run")?;
    Ok(Judgement {
        request_uid: uuid_of(row, "request_uid")?,
        request: row.get("request_name")?,
        run: uuid_of(row, "run_id")?,
        gate_hash: row.get("gate_hash")?,
        baseline_run: baseline_run.and_then(|id| id.parse().ok()),
        against: body.against,
        strict: body.strict,
        comparison: body.comparison.ok_or_else(|| body.why_none.unwrap_or_default()),
        created_at: row.get("created_at")?,
    })
}
