//! The steps of a load test, frozen once the images of its engines are here: which targets are measured
//! together, and between which steps an engine that is started for the run lives. Pure.

use super::docker_command::command_line;
use crate::run::measure_plan::{CasePlan, Endpoint, MeasurePlan, PLAN_FILE, TargetPlan};
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
        steps.push(load_step(blueprint, load, &together, None));
    }
    let mut commands = Vec::new();
    let mut images = prepared.images.iter();
    for engine in &load.engines {
        let step = u32::try_from(steps.len()).unwrap_or(u32::MAX);
        let mut engine = engine.clone();
        engine.task.id.step = step;
        commands.push(command_line(&engine.task, None));
        // The id, because a tag can move meanwhile.
        if let (Some(container), Some(image)) = (
            &mut engine.task.container,
            (engine.executor == ExecutorKind::Docker).then(|| images.next()).flatten(),
        ) {
            container.image.clone_from(&image.id);
        }
        let (target, folder) = (engine.target, engine.task.id.folder_of_any_attempt());
        steps.push(Step::StartEngine { engine: Box::new(engine) });
        steps.push(load_step(blueprint, load, &[target], Some(&folder)));
        steps.push(Step::StopEngine { step });
    }
    if !blueprint.stop.is_empty() {
        steps.push(Step::StartService { containers: blueprint.stop.clone() });
    }
    Plan { version: PLAN_VERSION, steps, command: commands.join("\n"), warnings: Vec::new() }
}

fn load_step(blueprint: &Blueprint, load: &LoadBlueprint, targets: &[usize], engine: Option<&str>) -> Step {
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
    let plan = MeasurePlan { targets: of_targets, cases, ..load.measure.clone() };
    let mut task = blueprint.template.clone();
    let text = serde_json::to_string(&plan).unwrap_or_default();
    task.inputs.insert(PLAN_FILE.to_owned(), text);
    Step::Load { task: Box::new(task), plan: Box::new(plan) }
}
