//! `kind: LlamaBench`: llama-bench with any flags for one service.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::apply::{self, InlineApply};
use super::fields::Fields;
use super::flags::{self, Param};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LlamaBench {
    pub service: String,
    /// The flags as the request gives them; `None` where it names none.
    pub params: Option<Vec<Param>>,
    pub params_from: Option<ParamsFrom>,
    pub launches: Option<u32>,
    pub preset: Option<Preset>,
    pub gpus: Option<Vec<String>>,
    pub conflict: Conflict,
    pub executor: ExecutorChoice,
    pub image_pull_policy: PullPolicy,
    pub apply: Option<InlineApply>,
}

/// Where parameters come from that the request does not give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParamsFrom {
    Service,
    LastRun,
    Run(Uuid),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Preset {
    Quick,
    Thorough,
}

/// What to do where the service itself runs on the devices that the run needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Conflict {
    #[default]
    Share,
    Fail,
    Stop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ExecutorChoice {
    #[default]
    Auto,
    Docker,
    Process,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PullPolicy {
    #[default]
    IfNotPresent,
    Always,
    Never,
}

impl ExecutorChoice {
    /// As requests spell them.
    pub const NAMES: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("docker", Self::Docker), ("process", Self::Process)];
}

impl PullPolicy {
    /// As requests spell them.
    pub const NAMES: &'static [(&'static str, Self)] =
        &[("IfNotPresent", Self::IfNotPresent), ("Always", Self::Always), ("Never", Self::Never)];
}

impl LlamaBench {
    /// Container launches: as asked, else the preset's, else one.
    pub fn launches(&self) -> u32 {
        self.launches.unwrap_or(match self.preset {
            Some(Preset::Thorough) => 5,
            Some(Preset::Quick) | None => 1,
        })
    }
}

/// `None` where the spec has errors; they are in the fields' problems.
pub fn decode(fields: &Fields<'_>) -> Option<LlamaBench> {
    let service = fields.required("service").and_then(|_| fields.text("service"));
    Some(LlamaBench {
        params: fields.get("params").map(|node| flags::decode(node, fields.problems)),
        params_from: params_from(fields),
        launches: fields.integer("launches", 1, 100),
        preset: fields.choice("preset", &[("Quick", Preset::Quick), ("Thorough", Preset::Thorough)]),
        gpus: gpus(fields),
        conflict: fields
            .choice(
                "conflict",
                &[("Share", Conflict::Share), ("Fail", Conflict::Fail), ("Stop", Conflict::Stop)],
            )
            .unwrap_or_default(),
        executor: fields.choice("executor", ExecutorChoice::NAMES).unwrap_or_default(),
        image_pull_policy: fields.choice("imagePullPolicy", PullPolicy::NAMES).unwrap_or_default(),
        apply: fields.get("apply").and_then(|node| apply::decode_inline(node, fields.problems)),
        // Last, because a missing service must not hide the other fields' problems.
        service: service?,
    })
}

fn params_from(fields: &Fields<'_>) -> Option<ParamsFrom> {
    let node = fields.get("paramsFrom")?;
    match fields.text("paramsFrom")?.as_str() {
        "Service" => Some(ParamsFrom::Service),
        "LastRun" => Some(ParamsFrom::LastRun),
        other => match other.parse() {
            Ok(run) => Some(ParamsFrom::Run(run)),
            Err(_) => {
                fields.wrong(node, "paramsFrom", other, "Service, LastRun, or the id of a run");
                None
            }
        },
    }
}

fn gpus(fields: &Fields<'_>) -> Option<Vec<String>> {
    let items = fields.list("gpus")?;
    let mut chosen = Vec::new();
    for item in items {
        match item.text() {
            Some(text) if !text.is_empty() => chosen.push(text.to_owned()),
            Some(_) | None => {
                fields.problems.error_with_hint(item, "a GPU is named by its index or UUID", "gpus: [0, 1]");
            }
        }
    }
    if chosen.is_empty() && !fields.problems.has_errors() {
        fields.problems.error_with_hint(
            fields.get("gpus")?,
            "spec.gpus is an empty list",
            "leave it out to use the service's own GPUs",
        );
    }
    Some(chosen)
}
