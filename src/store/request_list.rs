//! Requests as the API lists them: a page at a time, by kind and phase, and how many there are in all. Reads only.

use rusqlite::{Connection, params_from_iter};

use super::conditions::{self, REFUSED, RefusedName};
use super::overview::{self, RequestSummary};
use super::{StoreError, all};

/// Which requests; everything given has to hold.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub kind: Option<String>,
    /// As `report::phase_summary` says it.
    pub phase: Option<String>,
    pub limit: u32,
    pub offset: u32,
}

/// A page of requests by name; names that no valid document holds come after all others.
#[derive(Debug, Clone, Default)]
pub struct RequestPage {
    pub requests: Vec<RequestSummary>,
    pub refused: Vec<RefusedName>,
    /// On all pages.
    pub total: u64,
}

/// The phase of names that no valid document holds.
pub const INVALID: &str = "Invalid";

/// The phase of a request, as `report::phase_summary` has it; a test there holds the two together.
const PHASE: &str = "CASE
    WHEN r.phase IN ('Pending', 'Preparing', 'Running', 'Collecting') THEN r.phase
    WHEN c.status = 'False' THEN 'Invalid'
    WHEN q.satisfied_hash IS NOT q.spec_hash THEN
        CASE json_extract(q.control_json, '$.desired') WHEN 'Active' THEN 'Pending'
            ELSE json_extract(q.control_json, '$.desired') END
    WHEN r.phase IS NOT NULL THEN r.phase
    WHEN a.state IS NOT NULL THEN
        CASE a.state WHEN 'Planned' THEN 'Pending' WHEN 'Writing' THEN 'Running'
            WHEN 'Restarting' THEN 'Running' WHEN 'Done' THEN 'Completed' ELSE a.state END
    WHEN s.status = 'True' THEN 'Completed'
    ELSE 'Idle' END";

impl super::Store {
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn listed_requests(&self, wanted: &Wanted) -> Result<RequestPage, StoreError> {
        self.read(|connection| page(connection, wanted))
    }
}

fn page(connection: &Connection, wanted: &Wanted) -> Result<RequestPage, StoreError> {
    let (from, values) = wanted.live();
    let count = format!("SELECT count(*) FROM {from}");
    let live: u64 =
        connection.prepare_cached(&count)?.query_row(params_from_iter(&values), |row| row.get(0))?;
    let (limit, offset) = (wanted.limit, wanted.offset);
    // Names first: what is on no page is not decoded.
    let sql = format!("SELECT q.name FROM {from} ORDER BY q.name LIMIT {limit} OFFSET {offset}");
    let names = all(connection, &sql, params_from_iter(&values), |row| Ok(row.get::<_, String>(0)?))?;
    let requests = overview::named_requests(connection, &names)?;
    let mut found = RequestPage { requests, refused: Vec::new(), total: live };
    if wanted.kind.is_none() && wanted.phase.as_deref().is_none_or(|phase| phase == INVALID) {
        let count = format!("SELECT count(*) FROM conditions c WHERE {REFUSED}");
        let refused: u64 = connection.prepare_cached(&count)?.query_row([], |row| row.get(0))?;
        found.total += refused;
        let limit = u64::from(limit).saturating_sub(names.len() as u64);
        let offset = u64::from(offset).saturating_sub(live);
        found.refused = conditions::refused(connection, limit, offset)?;
    }
    Ok(found)
}

impl Wanted {
    /// The tables and conditions by which live requests are found, with their values.
    fn live(&self) -> (String, Vec<&str>) {
        let (mut joins, mut values) = (String::new(), Vec::new());
        let mut clauses = vec!["q.deleted_at IS NULL".to_owned()];
        if let Some(kind) = &self.kind {
            values.push(kind.as_str());
            clauses.push(format!("q.kind = ?{}", values.len()));
        }
        if let Some(phase) = &self.phase {
            values.push(phase.as_str());
            clauses.push(format!("({PHASE}) = ?{}", values.len()));
            joins = format!(" {}", overview::STANDING);
        }
        (format!("requests q{joins} WHERE {}", clauses.join(" AND ")), values)
    }
}
