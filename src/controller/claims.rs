//! Devices that this controller's runs hold, as locks that every controller of the machine sees. The
//! rows of open runs say the same within one controller; these are for the others.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::decide::{overlap, share_service};
use crate::files::lock::{self, Holder, LockError, LockFile};

#[derive(Clone)]
pub struct Claims {
    directory: PathBuf,
    held: Arc<Mutex<HashMap<Uuid, Held>>>,
}

struct Held {
    request: String,
    service: String,
    devices: Vec<String>,
    /// By the name of the lock; two of our own runs may share one.
    locks: Vec<(String, Arc<LockFile>)>,
}

/// GPUs that a claim without an index stands for, as far as locks go.
const MOST_GPUS: usize = 16;

/// The locks of a device. `gpu:all`, and a GPU named by its UUID, of which nobody knows the index here,
/// take those of every index, so that they exclude another controller's `gpu:1`.
fn locks_of(device: &str) -> Vec<String> {
    match device.strip_prefix("gpu:") {
        Some(index) if index.parse::<usize>().is_err() => {
            (0..MOST_GPUS).map(|index| format!("gpu-{index}")).collect()
        }
        Some(_) | None => vec![device.replace([':', '/'], "-")],
    }
}

impl Claims {
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, held: Arc::default() }
    }

    /// Takes the service and all of the devices for a run, or none. Two requests are decided at the
    /// same time, each before the other's order is carried out, so what both may have seen as free is
    /// given to one of them here.
    ///
    /// # Errors
    /// What is held, with who holds it.
    pub fn take(
        &self,
        run: Uuid,
        request: &str,
        service: &str,
        devices: &[String],
    ) -> Result<(), (String, String)> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.contains_key(&run) {
            return Ok(());
        }
        for other in held.values() {
            if share_service(&other.service, service) {
                return Err((format!("the service {service}"), other.request.clone()));
            }
            if let Some(device) = overlap(&other.devices, devices) {
                return Err((device.to_owned(), other.request.clone()));
            }
        }
        let mut locks: Vec<(String, Arc<LockFile>)> = Vec::new();
        for device in devices {
            for name in locks_of(device) {
                let ours = held.values().flat_map(|own| &own.locks).find(|(own, _)| *own == name);
                let lock = match ours {
                    Some((_, lock)) => Arc::clone(lock),
                    None => Arc::new(self.lock(&name, request).map_err(|holder| (device.clone(), holder))?),
                };
                locks.push((name, lock));
            }
        }
        let (request, service, devices) = (request.to_owned(), service.to_owned(), devices.to_vec());
        held.insert(run, Held { request, service, devices, locks });
        Ok(())
    }

    pub fn release(&self, run: Uuid) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
    }

    /// Devices of the list that another controller holds now. Those of our own runs are no matter of
    /// locks: admission knows them.
    pub fn foreign(&self, devices: &[String]) -> Vec<(String, String)> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = |name: &String| held.values().flat_map(|own| &own.locks).any(|(own, _)| own == name);
        let holder = |device: &String| {
            let names = locks_of(device).into_iter().filter(|name| !ours(name));
            names.filter_map(|name| lock::try_read_holder(&self.path(&name)).ok()?).next()
        };
        devices
            .iter()
            .filter_map(|device| Some((device.clone(), format!("another controller ({})", holder(device)?))))
            .collect()
    }

    fn lock(&self, name: &str, request: &str) -> Result<LockFile, String> {
        std::fs::create_dir_all(&self.directory)
            .map_err(|error| format!("the lock directory {} ({error})", self.directory.display()))?;
        let holder = Holder { pid: std::process::id(), what: format!("the request {request}") };
        LockFile::acquire(&self.path(name), &holder).map_err(|error| match error {
            LockError::HeldBy { .. } => format!("another controller ({error})"),
            other => other.to_string(),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.lock"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_runs_that_both_saw_it_free_one_gets_the_service_and_the_devices() {
        let directory = tempfile::tempdir().unwrap();
        let claims = Claims::new(directory.path().to_owned());
        let [one, other] = [1, 2].map(Uuid::from_u128);
        let devices = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        claims.take(one, "a", "x", &devices(&["gpu:1"])).unwrap();
        let refused =
            |service: &str, names: &[&str]| claims.take(other, "b", service, &devices(names)).unwrap_err();
        assert_eq!(refused("y", &["gpu:all"]), ("gpu:1".to_owned(), "a".to_owned()));
        assert_eq!(refused("x", &["cpu"]), ("the service x".to_owned(), "a".to_owned()));
        claims.release(one);
        claims.take(other, "b", "x", &devices(&["gpu:all"])).unwrap();
    }

    #[test]
    fn all_gpus_of_one_controller_exclude_one_gpu_of_another() {
        let directory = tempfile::tempdir().unwrap();
        let [ours, theirs] = [1, 2].map(|_| Claims::new(directory.path().to_owned()));
        let [one, other, third] = [1, 2, 3].map(Uuid::from_u128);
        let all = vec!["gpu:all".to_owned()];
        let second = vec!["gpu:1".to_owned()];
        ours.take(one, "a", "x", &all).unwrap();
        assert_eq!(theirs.foreign(&second).len(), 1);
        assert_eq!(theirs.take(other, "b", "y", &second).unwrap_err().0, "gpu:1");
        ours.release(one);
        theirs.take(other, "b", "y", &second).unwrap();
        assert_eq!(ours.take(third, "c", "x", &all).unwrap_err().0, "gpu:all");
        assert_eq!(ours.foreign(&["gpu:2".to_owned()]), []);
    }
}
