//! Requests as the API lists them: a page at a time, by kind and phase, and how many there are in all. Reads only.

use rusqlite::{Connection, params};

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

/// The phase of a request, as `report::phase_summary` has it; a test there holds the two together. What only a few
/// requests need is looked up for those alone.
const PHASE: &str = "CASE
    WHEN r.phase IN ('Pending', 'Preparing', 'Running', 'Collecting') THEN r.phase
    WHEN EXISTS (SELECT 1 FROM conditions c
        WHERE c.request = q.name AND c.type = 'Accepted' AND c.status = 'False') THEN 'Invalid'
    WHEN q.satisfied_hash IS NOT q.spec_hash THEN
        CASE json_extract(q.control_json, '$.desired') WHEN 'Active' THEN 'Pending'
            ELSE json_extract(q.control_json, '$.desired') END
    WHEN r.phase IS NOT NULL THEN r.phase
    ELSE coalesce(
        (SELECT CASE a.state WHEN 'Planned' THEN 'Pending' WHEN 'Writing' THEN 'Running'
                WHEN 'Restarting' THEN 'Running' WHEN 'Done' THEN 'Completed' ELSE a.state END
            FROM applies a WHERE a.request_name = q.name ORDER BY a.seq DESC LIMIT 1),
        (SELECT 'Completed' FROM conditions s
            WHERE s.request = q.name AND s.type = 'Succeeded' AND s.status = 'True'),
        'Idle') END";

impl super::Store {
    /// # Errors
    /// SQLite's own, or a row that cannot be decoded.
    pub fn listed_requests(&self, wanted: &Wanted) -> Result<RequestPage, StoreError> {
        self.read(|connection| page(connection, wanted))
    }
}

fn page(connection: &Connection, wanted: &Wanted) -> Result<RequestPage, StoreError> {
    let (names, live) = match &wanted.phase {
        None => names(connection, wanted)?,
        Some(phase) => names_in(connection, wanted, phase)?,
    };
    let (limit, offset) = (u64::from(wanted.limit), u64::from(wanted.offset));
    let requests = overview::named_requests(connection, &names)?;
    let mut found = RequestPage { requests, refused: Vec::new(), total: live };
    if wanted.kind.is_none() && wanted.phase.as_deref().is_none_or(|phase| phase == INVALID) {
        let count = format!("SELECT count(*) FROM conditions c WHERE {REFUSED}");
        let refused: u64 = connection.prepare_cached(&count)?.query_row([], |row| row.get(0))?;
        found.total += refused;
        let (limit, offset) = (limit.saturating_sub(names.len() as u64), offset.saturating_sub(live));
        found.refused = conditions::refused(connection, limit, offset)?;
    }
    Ok(found)
}

/// The names of live requests on the page, and how many there are on all. What is on no page is not decoded.
fn names(connection: &Connection, wanted: &Wanted) -> Result<(Vec<String>, u64), StoreError> {
    let condition = "deleted_at IS NULL AND (?1 IS NULL OR kind = ?1)";
    let count = format!("SELECT count(*) FROM requests WHERE {condition}");
    let total = connection.prepare_cached(&count)?.query_row([&wanted.kind], |row| row.get(0))?;
    let page = format!("SELECT name FROM requests WHERE {condition} ORDER BY name LIMIT ?2 OFFSET ?3");
    let params = params![wanted.kind, wanted.limit, wanted.offset];
    Ok((all(connection, &page, params, |row| Ok(row.get(0)?))?, total))
}

/// The same of one phase, which takes a look at every request, and one is enough for page and count.
fn names_in(connection: &Connection, wanted: &Wanted, phase: &str) -> Result<(Vec<String>, u64), StoreError> {
    let sql = format!(
        "SELECT q.name FROM requests q
         LEFT JOIN runs r ON r.seq = (SELECT max(seq) FROM runs WHERE request_name = q.name)
         WHERE q.deleted_at IS NULL AND (?1 IS NULL OR q.kind = ?1) AND ({PHASE}) = ?2 ORDER BY q.name"
    );
    let found: Vec<String> = all(connection, &sql, params![wanted.kind, phase], |row| Ok(row.get(0)?))?;
    let total = found.len() as u64;
    Ok((found.into_iter().skip(wanted.offset as usize).take(wanted.limit as usize).collect(), total))
}
