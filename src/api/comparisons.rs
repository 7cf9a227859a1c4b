//! `/api/comparisons`: two runs against each other, as `benchlet compare A B` does it. Judges by the candidate's
//! own gate; the words of every figure come along.

use axum::extract::State;
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::extract::Query;
use super::operation::{Operation, schema};
use super::runs::find;
use super::state::Api;
use crate::plan::comparison::compare;
use crate::report::comparands::{self, ComparandError};
use crate::report::{comparison_document, judged_by};
use crate::run::comparand::Comparand;
use crate::store::Store;
use crate::store::runs::RunRow;

pub fn operations() -> Vec<Operation> {
    let (text, maybe) = (schema::text, schema::maybe);
    let side = schema::object(&[
        ("run", text()),
        ("request", text()),
        ("service_name", text()),
        ("measured_at", maybe("string")),
        ("simulated", schema::of("boolean")),
    ]);
    let row = schema::object(&[
        ("case", text()),
        ("measure", text()),
        ("baseline", maybe("number")),
        ("candidate", maybe("number")),
        ("change", maybe("number")),
        ("interval", maybe("array")),
        ("policy", maybe("string")),
        (
            "text",
            schema::object(&[
                ("baseline", text()),
                ("candidate", text()),
                ("change", text()),
                ("evidence", text()),
            ]),
        ),
    ]);
    let fact = schema::object(&[
        ("fact", text()),
        ("baseline", maybe("string")),
        ("candidate", maybe("string")),
        ("differs", schema::of("boolean")),
        ("declared", schema::of("boolean")),
    ]);
    let document = schema::object(&[
        ("schema", text()),
        ("outcome", json!({ "enum": ["no regression", "regression", "not comparable"] })),
        ("exitCode", schema::of("integer")),
        ("rules", schema::of("object")),
        ("moreRuns", maybe("integer")),
        ("simulated", schema::of("boolean")),
        ("policy", maybe("string")),
        ("evidence", text()),
        ("reasons", schema::list(&text())),
        ("comparability", schema::of("object")),
        ("judged", schema::of("integer")),
        ("notJudged", schema::of("integer")),
        ("rows", schema::list(&row)),
        ("sides", schema::object(&[("baseline", side.clone()), ("candidate", side)])),
        ("facts", schema::list(&fact)),
    ]);
    vec![
        Operation::new("get", "/api/comparisons", "judging", "Two runs against each other", get(answer))
            .required_query("baseline", "A run's id, or its first eight characters or more", schema::text())
            .required_query("candidate", "The run that is judged, by its request's gate", schema::text())
            .query(
                "varies",
                "Facts that differ on purpose, with commas; as the answer's `facts` name them",
                schema::text(),
            )
            .query("strict", "Warnings and what stays open count as a regression", schema::of("boolean"))
            .json(
                200,
                "Everything that was computed; not comparable is an answer too, with its reasons",
                document,
            )
            .refuses(404, "There is no such run."),
    ]
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    baseline: String,
    candidate: String,
    #[serde(default)]
    varies: String,
    #[serde(default)]
    strict: bool,
}

async fn answer(State(api): State<Api>, Query(asked): Query<Asked>) -> Result<axum::Json<Value>, ApiError> {
    let baseline = find(&api, asked.baseline).await?;
    let candidate = find(&api, asked.candidate).await?;
    let varies: Vec<String> =
        asked.varies.split(',').map(str::trim).filter(|fact| !fact.is_empty()).map(str::to_owned).collect();
    let found = api.work(move |store| compared(store, [&baseline, &candidate], varies, asked.strict)).await?;
    Ok(axum::Json(found))
}

fn compared(store: &Store, rows: [&RunRow; 2], varies: Vec<String>, strict: bool) -> Result<Value, ApiError> {
    let [baseline, candidate] = rows;
    let before = comparands::of_run(store, baseline, &comparands::label_of(baseline))?;
    let after = comparands::of_run(store, candidate, &comparands::label_of(candidate))?;
    let (_, mut rules) = judged_by::gate_of(store, candidate)?;
    rules.strict |= strict;
    rules.varies.extend(varies);
    let found = compare(&before, &after, &rules, &judged_by::noise_of(store, candidate)?, true);
    let mut document = comparison_document::shown(&found, &rules, [&before, &after]);
    document["sides"] = json!({ "baseline": side(baseline, &before), "candidate": side(candidate, &after) });
    Ok(document)
}

fn side(row: &RunRow, found: &Comparand) -> Value {
    json!({
        "run": row.id,
        "request": row.request,
        "service_name": row.service,
        "measured_at": found.measured_at,
        "simulated": found.simulated,
    })
}

impl From<ComparandError> for ApiError {
    fn from(error: ComparandError) -> Self {
        match error {
            ComparandError::Store(error) => error.into(),
            ComparandError::NotCompleted { .. } | ComparandError::NothingMeasured { .. } => {
                Self::invalid("not_comparable", error.to_string())
            }
            ComparandError::Unfit { .. } => Self::invalid("unfit", error.to_string()),
            ComparandError::Decode { .. } => Self::internal(&error),
        }
    }
}
