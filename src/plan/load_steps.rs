//! The steps of a load test, frozen once the images of its engines are here: which targets are measured
//! together, and between which steps an engine that is started for the run lives. Pure.

use super::docker_command::command_line;
use crate::request::conversation::Isolation;
use crate::run::measure_plan::{CasePlan, Endpoint, MeasurePlan, PLAN_FILE, PromptPlan, TargetPlan};
use crate::run::plan::{Blueprint, ExecutorKind, LoadBlueprint, PLAN_VERSION, Plan, Prepared, Step};

/// Freezes the steps: servers that run are measured together, an engine that is started for the run
/// alone, so that two of them never share a device.
pub fn freeze(blueprint: &Blueprint, load: &LoadBlueprint, prepared: &Prepared) -> Plan {
    let mut steps = Vec::new();
    if !blueprint.stop.is_empty() {
        steps.push(Step::StopService { containers: blueprint.stop.clone() });
    }
    let managed = |target: usize| load.engines.iter().any(|engine| engine.target == target);
    let together: Vec<usize> = (0..load.measure.targets.len()).filter(|target| !managed(*target)).collect();
    if !together.is_empty() {
        steps.push(load_step(blueprint, load, &together, None, Part::Whole));
    }
    let mut commands = Vec::new();
    let mut images = prepared.images.iter();
    for engine in &load.engines {
        let mut engine = engine.clone();
        engine.task.id.step = u32::try_from(steps.len()).unwrap_or(u32::MAX);
        commands.push(command_line(&engine.task, None));
        // The id, because a tag can move meanwhile.
        if let (Some(container), Some(image)) = (
            &mut engine.task.container,
            (engine.executor == ExecutorKind::Docker).then(|| images.next()).flatten(),
        ) {
            container.image.clone_from(&image.id);
        }
        let target = engine.target;
        for part in parts(load, target) {
            let step = u32::try_from(steps.len()).unwrap_or(u32::MAX);
            engine.task.id.step = step;
            let folder = engine.task.id.folder_of_any_attempt();
            steps.push(Step::StartEngine { engine: Box::new(engine.clone()) });
            steps.push(load_step(blueprint, load, &[target], Some(&folder), part));
            steps.push(Step::StopEngine { step });
        }
    }
    if !blueprint.stop.is_empty() {
        steps.push(Step::StartService { containers: blueprint.stop.clone() });
    }
    Plan { version: PLAN_VERSION, steps, command: commands.join("\n"), warnings: Vec::new() }
}

/// What one engine measures of its target's cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    /// The case at this place of the target's.
    One(usize),
}

/// A fresh engine for each conversation where that is asked for, else one for all.
fn parts(load: &LoadBlueprint, target: usize) -> Vec<Part> {
    let isolated = match &load.measure.prompts {
        PromptPlan::Conversations(plan) => plan.isolation == Isolation::PerConversation,
        PromptPlan::Builtin | PromptPlan::Inline(_) | PromptPlan::File(_) | PromptPlan::Synthetic { .. } => {
            false
        }
    };
    if !isolated {
        return vec![Part::Whole];
    }
    let of_target = load.measure.cases.iter().filter(|case| case.target == target).count();
    (0..of_target).map(Part::One).collect()
}

fn load_step(
    blueprint: &Blueprint,
    load: &LoadBlueprint,
    targets: &[usize],
    engine: Option<&str>,
    part: Part,
) -> Step {
    let of_targets: Vec<TargetPlan> = targets
        .iter()
        .filter_map(|target| load.measure.targets.get(*target))
        .map(|target| match engine {
            Some(folder) => {
                TargetPlan { endpoint: Endpoint::Started { folder: folder.to_owned() }, ..target.clone() }
            }
            None => target.clone(),
        })
        .collect();
    let cases: Vec<CasePlan> = load
        .measure
        .cases
        .iter()
        .filter_map(|case| {
            let target = targets.iter().position(|target| *target == case.target)?;
            Some(CasePlan { target, ..case.clone() })
        })
        .collect();
    let mut plan = MeasurePlan { targets: of_targets, cases, ..load.measure.clone() };
    match part {
        Part::Whole => {}
        Part::One(at) => only(&mut plan, at),
    }
    let mut task = blueprint.template.clone();
    let text = serde_json::to_string(&plan).unwrap_or_default();
    task.inputs.insert(PLAN_FILE.to_owned(), text);
    Step::Load { task: Box::new(task), plan: Box::new(plan) }
}

/// Leaves one case with its own conversation; it keeps its place, so that records of the same cell can be told
/// apart.
fn only(plan: &mut MeasurePlan, at: usize) {
    plan.index_from = at;
    plan.cases = plan.cases.drain(..).skip(at).take(1).collect();
    let PromptPlan::Conversations(all) = &mut plan.prompts else { return };
    all.most = None;
    let Some(held) = plan.cases.first_mut().and_then(|case| case.conversation.as_mut()) else { return };
    all.conversations = all.conversations.drain(..).skip(held.index).take(1).collect();
    held.index = 0;
}
