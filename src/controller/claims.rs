//! Devices that this controller's runs hold, as locks that every controller of the machine sees. The
//! rows of open runs say the same within one controller; these are for the others.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::files::lock::{self, Holder, LockError, LockFile};

#[derive(Clone)]
pub struct Claims {
    directory: PathBuf,
    held: Arc<Mutex<HashMap<Uuid, Vec<(String, LockFile)>>>>,
}

impl Claims {
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, held: Arc::default() }
    }

    /// Takes all of the devices for a run, or none.
    ///
    /// # Errors
    /// The device that is held, with who holds it.
    pub fn take(&self, run: Uuid, request: &str, devices: &[String]) -> Result<(), (String, String)> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.contains_key(&run) {
            return Ok(());
        }
        let mut locks = Vec::new();
        for device in devices {
            locks.push((
                device.clone(),
                self.lock(device, request).map_err(|holder| (device.clone(), holder))?,
            ));
        }
        held.insert(run, locks);
        Ok(())
    }

    pub fn release(&self, run: Uuid) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
    }

    /// Devices of the list that another controller holds now. Those of our own runs are no matter of
    /// locks: admission knows them.
    pub fn foreign(&self, devices: &[String]) -> Vec<(String, String)> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = |device: &String| held.values().flatten().any(|(name, _)| name == device);
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
