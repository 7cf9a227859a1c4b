//! The parameters of a LlamaBench run: the request's own over those of the service or of an earlier run,
//! with what the preset adds.

use super::flag_map;
use super::service::Service;
use crate::request::flags::Param;
use crate::request::llama_bench::{LlamaBench, ParamsFrom, Preset};
use crate::run::reason::{Reason, Refusal};

#[derive(Default)]
pub struct Parameters {
    pub params: Vec<Param>,
    /// The service's flags that llama-bench does not take, with the reason.
    pub dropped: Vec<String>,
}

/// # Errors
/// `paramsFrom` names a run that has none.
pub fn parameters(
    spec: &LlamaBench,
    service: &Service,
    earlier: &Result<Vec<Param>, String>,
) -> Result<Parameters, Refusal> {
    let from = match (&spec.params, &spec.params_from) {
        (Some(_), None) => None,
        (None, None) => Some(&ParamsFrom::Service),
        (_, Some(from)) => Some(from),
    };
    let mut resolved = match from {
        None => Parameters::default(),
        Some(ParamsFrom::Service) => from_service(service),
        Some(ParamsFrom::LastRun | ParamsFrom::Run(_)) => match earlier {
            Ok(params) => Parameters { params: params.clone(), ..Parameters::default() },
            Err(reason) => {
                return Err(Refusal::new(Reason::ParamsUnavailable, reason.clone())
                    .hint("name the parameters in spec.params, or take them from the service"));
            }
        },
    };
    for param in spec.params.iter().flatten() {
        resolved.params.retain(|known| !flag_map::same_flag(&known.flag, &param.flag));
    }
    resolved.params.extend(spec.params.iter().flatten().cloned());
    let repetitions = match spec.preset {
        None => None,
        Some(Preset::Quick) => Some("2"),
        Some(Preset::Thorough) => Some("5"),
    };
    let asked = spec.params.iter().flatten().any(|param| flag_map::same_flag(&param.flag, "-r"));
    if let (Some(repetitions), false) = (repetitions, asked) {
        resolved.params.retain(|known| !flag_map::same_flag(&known.flag, "-r"));
        resolved.params.push(Param { flag: "-r".to_owned(), value: repetitions.to_owned() });
    }
    Ok(resolved)
}

/// Those that the service's own flags stand for, with the defaults of what is measured.
pub fn from_service(service: &Service) -> Parameters {
    let (taken, dropped) = flag_map::from_server(&service.flags);
    let mut params: Vec<Param> = taken.into_iter().map(|(flag, value)| Param { flag, value }).collect();
    for (flag, value) in flag_map::DEFAULT_PARAMS {
        params.push(Param { flag: flag.to_owned(), value: value.to_owned() });
    }
    let dropped = dropped.into_iter().map(|flag| format!("{}: {}", flag.flag, flag.reason)).collect();
    Parameters { params, dropped }
}
