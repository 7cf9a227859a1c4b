//! From a target of the plan to a server that can be spoken to: where it is, its key, and in which words it is
//! said that it does not answer.

use std::path::Path;
use std::sync::Arc;

use crate::engine::address::Address;
use crate::engine::control::AskError;
use crate::engine::wire::Wire;
use crate::run::measure_plan::{ADDRESS_FILE, Endpoint, EngineAddress, KeySource, TargetPlan};
use crate::run::reason::{Reason, Refusal};

/// Finds the key of a service of the catalogue.
pub type ServiceKey<'a> = dyn Fn(&str) -> Result<String, String> + 'a;

/// One target, ready to be spoken to.
pub struct Reached {
    pub plan: TargetPlan,
    pub wire: Arc<Wire>,
    /// Where it runs, if benchlet started it.
    pub address: Option<EngineAddress>,
}

/// # Errors
/// An address that is none, an engine whose address is not there, or a key that cannot be had.
pub fn reach(folder: &Path, target: &TargetPlan, service_key: &ServiceKey<'_>) -> Result<Reached, Refusal> {
    let (url, address) = match &target.endpoint {
        Endpoint::Url(url) => (url.clone(), None),
        Endpoint::Started { folder: engine } => {
            let own = folder.file_name().unwrap_or_default().to_string_lossy();
            let attempt = own.split('-').next().unwrap_or_default();
            let path =
                folder.parent().unwrap_or(folder).join(format!("{attempt}-{engine}")).join(ADDRESS_FILE);
            let text = std::fs::read(&path)
                .map_err(|error| super::measure::internal(&format!("{}: {error}", path.display())))?;
            let address: EngineAddress = serde_json::from_slice(&text)
                .map_err(|error| super::measure::internal(&format!("{}: {error}", path.display())))?;
            (address.url.clone(), Some(address))
        }
    };
    let parsed = Address::parse(&url).map_err(|error| {
        Refusal::new(Reason::EngineUnreachable, error.to_string()).hint("a URL such as http://localhost:8080")
    })?;
    let key = target.key.as_ref().map(|source| key(source, &target.name, service_key)).transpose()?;
    let wire = Wire { dialect: target.dialect.clone(), api: target.api, address: parsed, key };
    Ok(Reached { plan: target.clone(), wire: Arc::new(wire), address })
}

/// The key itself, which is in no plan, record or message.
fn key(source: &KeySource, target: &str, service_key: &ServiceKey<'_>) -> Result<String, Refusal> {
    let missing = |words: String| {
        Refusal::new(Reason::KeyMissing, format!("the key for {target} cannot be had: {words}"))
            .hint("set the variable where benchlet runs, or correct [keys] in the settings")
    };
    let text = match source {
        KeySource::Env(name) => {
            std::env::var(name).map_err(|_| missing(format!("the variable {name} is not set")))?
        }
        KeySource::Service(name) => service_key(name).map_err(missing)?,
        KeySource::File(path) => {
            std::fs::read_to_string(path).map_err(|error| missing(format!("{path}: {error}")))?
        }
    };
    let key = text.trim().to_owned();
    if key.is_empty() || key.chars().any(|c| c.is_control()) {
        return Err(missing("it is empty or has more than one line".to_owned()));
    }
    Ok(key)
}

/// Why a target that is not ready ends the run.
pub fn unreachable(target: &Reached, error: &AskError) -> Refusal {
    let message = format!("{} at {} is not ready: {error}", target.plan.name, target.wire.address);
    let hint = match target.plan.endpoint {
        Endpoint::Url(_) if matches!(error, AskError::Status { status: 401 | 403, .. }) => {
            "name the key for this host in [keys] of the settings, or correct it"
        }
        Endpoint::Url(_) => {
            "start the server, or correct the target's url; `curl` on its health path tells more"
        }
        Endpoint::Started { .. } => "its log says why: `benchlet logs`",
    };
    Refusal::new(Reason::EngineUnreachable, message).hint(hint)
}
