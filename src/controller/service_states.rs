//! Whether the services' own containers run, as one look at Docker shows it. Never waits long, and starts and
//! stops nothing.

use std::time::Duration;

use super::context::Context;
use crate::executor::ServiceState;
use crate::plan::service::Service;

/// Who asks for a list of services waits no longer than this for a daemon.
const PATIENCE: Duration = Duration::from_secs(2);

/// A state for each service, in their order; `None` where it cannot be said: no Docker answers in time, or the
/// service is in no compose file.
pub async fn states(context: &Context, services: &[&Service]) -> Vec<Option<ServiceState>> {
    let looked = tokio::time::timeout(PATIENCE, async {
        let docker = context.docker.get().await?;
        docker.service_states(services).await.map_err(|error| error.to_string())
    });
    match looked.await {
        Ok(Ok(states)) => states,
        Ok(Err(reason)) => {
            tracing::debug!(reason, "nobody can say which services run");
            vec![None; services.len()]
        }
        Err(_) => {
            tracing::debug!("Docker takes too long to say which services run");
            vec![None; services.len()]
        }
    }
}
