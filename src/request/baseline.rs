//! `kind: Baseline`: a run that is pinned under a name, for later runs to be compared with.

use serde::{Deserialize, Serialize};

use super::fields::Fields;
use super::gate::{RunSource, baseline_name, run_source};
use super::schema;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    pub name: String,
    /// The newest run is resolved once a generation, so that the baseline does not move by itself.
    pub source: RunSource,
    pub tied_to: TiedTo,
}

/// Whose runs are compared with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TiedTo {
    /// Those of the run's request.
    #[default]
    Request,
    /// All those of the run's service.
    Service,
}

pub fn decode(fields: &Fields<'_>) -> Option<Baseline> {
    let name = fields.required("name").and_then(|node| baseline_name(node, "name", fields));
    let source = fields
        .required("from")
        .and_then(|node| run_source(&Fields::new(node, "spec.from", schema::RUN_SOURCE, fields.problems)?));
    let tied_to = fields
        .choice("for", &[("Request", TiedTo::Request), ("Service", TiedTo::Service)])
        .unwrap_or_default();
    Some(Baseline { name: name?, source: source?, tied_to })
}
