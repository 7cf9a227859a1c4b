//! Devices that this controller's runs hold, as locks that every controller of the machine sees. The
//! rows of open runs say the same within one controller; these are for the others.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::decide::overlap;
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
    /// Kept for their drop.
    _locks: Vec<LockFile>,
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
            if other.service == service {
                return Err((format!("the service {service}"), other.request.clone()));
            }
            if let Some(device) = overlap(&other.devices, devices) {
                return Err((device.to_owned(), other.request.clone()));
            }
        }
        let mut locks = Vec::new();
        for device in devices {
            locks.push(self.lock(device, request).map_err(|holder| (device.clone(), holder))?);
        }
        let (request, service, devices) = (request.to_owned(), service.to_owned(), devices.to_vec());
        held.insert(run, Held { request, service, devices, _locks: locks });
        Ok(())
    }

    pub fn release(&self, run: Uuid) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
    }

    /// Devices of the list that another controller holds now. Those of our own runs are no matter of
    /// locks: admission knows them.
    pub fn foreign(&self, devices: &[String]) -> Vec<(String, String)> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = |device: &String| held.values().any(|own| own.devices.contains(device));
        devices
            .iter()
            .filter(|device| !ours(device))
            .filter_map(|device| {
                let holder = lock::try_read_holder(&self.path(device)).ok()??;
                Some((device.clone(), format!("another controller ({holder})")))
            })
            .collect()
    }

    fn lock(&self, device: &str, request: &str) -> Result<LockFile, String> {
        std::fs::create_dir_all(&self.directory)
            .map_err(|error| format!("the lock directory {} ({error})", self.directory.display()))?;
        let holder = Holder { pid: std::process::id(), what: format!("the request {request}") };
        LockFile::acquire(&self.path(device), &holder).map_err(|error| match error {
            LockError::HeldBy { .. } => format!("another controller ({error})"),
            other => other.to_string(),
        })
    }

    fn path(&self, device: &str) -> PathBuf {
        self.directory.join(format!("{}.lock", device.replace([':', '/'], "-")))
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
}
