//! The hidden verb `measure`: the process that makes the load. It reads its plan from its task's folder,
//! writes what it saw there, and ends; the controller judges. Wires the generator to the look at the
//! machine.

use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use super::Places;
use crate::collect::engine_metrics::{engine_values, prefix_cache_counters};
use crate::collect::prometheus::collector_values;
use crate::collect::sampler::Sampler;
use crate::controller::surroundings::environment;
use crate::load::measure::{StopMeasuring, measure};
use crate::load::{Look, Looked, Reached};
use crate::run::measure_plan::Dialect;
use crate::service::catalogue::Catalogue;

/// Makes the load that a frozen plan describes.
#[derive(Debug, clap::Args)]
pub struct Measure {
    /// The task's folder, with its plan; records and series go there
    #[arg(long, value_name = "DIR", env = "BENCHLET_TASK_FOLDER")]
    pub folder: PathBuf,
}

/// 0 once everything was measured or it was asked to stop, 1 with the reason in a file and on stderr.
pub fn run(verb: &Measure, places: &Places) -> ExitCode {
    let stop = StopMeasuring::default();
    if let Err(error) = stop_on_signal(stop.clone()) {
        tracing::error!(%error, "signals cannot be heard");
        return ExitCode::FAILURE;
    }
    let key = |service: &str| service_key(places, service);
    match measure(&verb.folder, &stop, key, look, &prefix_cache_counters) {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => {
            tracing::error!("{}: {}", refusal.reason, refusal.message);
            ExitCode::FAILURE
        }
    }
}

/// The key that a service has in its own command or environment, from the files as they are now.
fn service_key(places: &Places, name: &str) -> Result<String, String> {
    let settings = places.settings().map_err(|error| error.to_string())?;
    let catalogue = Catalogue::load(&settings.compose, &settings.services, &environment());
    let service = catalogue.find(name).map_err(|error| error.to_string())?;
    service.api_key.clone().ok_or_else(|| format!("the service {name} has no key any more"))
}

/// SIGTERM and SIGINT end the load; what is in flight is recorded as cancelled.
fn stop_on_signal(stop: StopMeasuring) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (terminate, interrupt) = {
        let _within = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async move {
            let (mut terminate, mut interrupt) = (terminate, interrupt);
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            stop.stop();
        });
    })?;
    Ok(())
}

/// Host, engine and GPUs by the machine, the engine's own metrics and the collectors' by what they say.
fn look(targets: &[Reached]) -> Look {
    let dialects: Vec<Dialect> = targets.iter().map(|target| target.plan.dialect.clone()).collect();
    let watched: Vec<(Option<u32>, Option<String>)> = targets
        .iter()
        .map(|target| {
            let started = target.address.clone();
            let container = started.as_ref().and_then(|address| address.container.clone());
            (started.and_then(|address| address.pid), container.or_else(|| target.plan.container.clone()))
        })
        .collect();
    let mut sampler = Sampler::new("/".into());
    let mut target = None;
    Box::new(move |looked: &Looked<'_>| {
        if target.replace(looked.target) != Some(looked.target) {
            let (pid, container) = watched.get(looked.target).cloned().unwrap_or_default();
            sampler.watch(pid, container);
        }
        let mut sample = sampler.look(looked.unix_ms, looked.elapsed);
        if let (Some(text), Some(dialect)) = (looked.engine, dialects.get(looked.target)) {
            sample.values.extend(engine_values(text, dialect));
        }
        for (plan, text) in looked.collectors {
            if let Some(text) = text {
                sample.values.extend(collector_values(text, plan));
            }
        }
        sample
    })
}
