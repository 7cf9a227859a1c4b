//! From the store to the histories of figures: a series a case and figure, over a request's or a service's runs.

use std::collections::{BTreeMap, HashSet};

use super::comparands::{self, ComparandError};
use crate::plan::trend::{Point, Series};
use crate::request::measure::Measure;
use crate::run::phase::Phase;
use crate::store::Store;
use crate::store::runs::{Filter, RunRow};

/// Whose runs.
#[derive(Debug, Clone, Copy)]
pub enum Of<'a> {
    Request(&'a str),
    Service(&'a str),
}

/// Which of their figures.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Empty: those that thresholds speak of by default.
    pub measures: Vec<Measure>,
    /// Only cases that have this in their names.
    pub case: Option<String>,
    pub simulated: bool,
    /// Runs that are looked back.
    pub limit: u32,
}

/// The series of the completed runs, oldest point first. Runs that measured something else are no part of a
/// series, because their cases have other names.
///
/// # Errors
/// A run that cannot be read.
pub fn series(store: &Store, of: Of<'_>, wanted: &Wanted) -> Result<Vec<Series>, ComparandError> {
    let (request, service) = match of {
        Of::Request(name) => (Some(name.to_owned()), None),
        Of::Service(name) => (None, Some(name.to_owned())),
    };
    let filter = Filter {
        request,
        service,
        phase: Some(Phase::Completed),
        simulated: Some(wanted.simulated),
        limit: wanted.limit,
        ..Filter::default()
    };
    let pinned: HashSet<uuid::Uuid> = store.baselines()?.into_iter().map(|baseline| baseline.run).collect();
    let mut found: BTreeMap<(String, Measure), Vec<Point>> = BTreeMap::new();
    let mut rows: Vec<RunRow> = store.runs(&filter)?;
    rows.reverse();
    for row in &rows {
        let side = match comparands::figures_of(store, row) {
            Ok(side) => side,
            Err(ComparandError::NothingMeasured { .. }) => continue,
            Err(error) => return Err(error),
        };
        for case in &side.cases {
            let named = wanted.case.as_ref().is_none_or(|part| case.key.contains(part.as_str()));
            for (measure, figure) in case.figures.iter().filter(|_| named && case.invalid.is_empty()) {
                if is_wanted(*measure, case.open_loop, wanted) {
                    found.entry((case.key.clone(), *measure)).or_default().push(Point {
                        run: row.id.to_string(),
                        at: side.measured_at.clone(),
                        value: figure.value,
                        facts: side.facts.clone(),
                        accepted: pinned.contains(&row.id),
                    });
                }
            }
        }
    }
    Ok(found.into_iter().map(|((case, measure), points)| Series { case, measure, points }).collect())
}

fn is_wanted(measure: Measure, open_loop: bool, wanted: &Wanted) -> bool {
    if wanted.measures.is_empty() {
        let usual = crate::request::thresholds::Thresholds::default();
        return usual.of(measure, open_loop).is_some();
    }
    wanted.measures.contains(&measure)
}
