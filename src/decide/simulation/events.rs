//! What may happen to the simulated world from outside, and random sequences of it.

use proptest::prelude::*;

use super::requests::{NAMES, Wanted, param};
use super::{FileState, Sim};
use crate::decide::observed::Verb;
use crate::request::control::{Control, DesiredState, OnChange, OnDelete};
use crate::request::valid::Spec;

#[derive(Debug, Clone)]
pub enum Event {
    Wait(u64),
    Write { name: usize, wanted: Wanted, still_writing: bool, moved: bool },
    Break { name: usize, unreadable: bool },
    Remove(usize),
    Rerun { name: usize, set: bool },
    Cancel(usize),
    DeleteRuns(usize),
    RestartController,
    Reboot,
    KillTasks,
    Reachable(bool),
    DiskFull(bool),
    Degraded(bool),
    ServicesBroken(bool),
    Foreign(Option<&'static str>),
}

impl Sim {
    pub fn happen(&mut self, event: &Event) {
        let now = self.machine.now;
        match event {
            Event::Wait(ms) => self.run_for(*ms),
            Event::Write { name, wanted, still_writing, moved } => {
                let startable_at = if *still_writing { now + 2_000 } else { now };
                let state = FileState::Valid { wanted: wanted.clone(), startable_at, moved: *moved };
                self.set_file(NAMES[*name], state);
            }
            Event::Break { name, unreadable: true } => self.set_file(NAMES[*name], FileState::Unreadable),
            Event::Break { name, unreadable: false } => self.set_file(NAMES[*name], FileState::Invalid),
            Event::Remove(name) => self.set_file(NAMES[*name], FileState::Absent { since: now }),
            Event::Rerun { name, set } => {
                let loads =
                    self.rows.record(NAMES[*name]).map(|record| matches!(record.spec, Spec::LoadTest(_)));
                let flag = if loads == Some(true) { "seed" } else { "-b" };
                let set = if *set { vec![param(flag, 7)] } else { Vec::new() };
                self.order(NAMES[*name], Verb::Rerun { set });
            }
            Event::Cancel(name) => self.order(NAMES[*name], Verb::Cancel),
            Event::DeleteRuns(name) => self.rows.delete_ended(NAMES[*name]),
            Event::RestartController => self.restart(),
            Event::Reboot => {
                self.machine.kill_all();
                self.boot += 1;
                self.booted_at = now;
                self.unhindered_since = now;
                self.restart();
            }
            Event::KillTasks => self.machine.kill_all(),
            Event::Reachable(reachable) => {
                self.machine.reachable = *reachable;
                self.unhindered_since = now;
            }
            Event::DiskFull(full) => self.machine.disk_full = *full,
            Event::Degraded(degraded) => {
                self.degraded = *degraded;
                self.wake_all();
            }
            Event::ServicesBroken(broken) => self.broken_services = *broken,
            Event::Foreign(device) => self.foreign = *device,
        }
    }

    fn set_file(&mut self, name: &'static str, state: FileState) {
        self.files.insert(name, state);
        self.wake(name);
    }
}

fn control() -> impl Strategy<Value = Control> {
    let desired = prop_oneof![
        6 => Just(DesiredState::Active),
        1 => Just(DesiredState::Suspended),
        1 => Just(DesiredState::Cancelled)
    ];
    let on_change = prop_oneof![Just(OnChange::Queue), Just(OnChange::Replace), Just(OnChange::Ignore)];
    let on_delete = prop_oneof![Just(OnDelete::Finish), Just(OnDelete::Cancel)];
    let rerun = proptest::option::weighted(0.3, prop_oneof![Just("1".to_owned()), Just("2".to_owned())]);
    let timeout = prop_oneof![Just(20_000u64), Just(6_000)];
    (desired, on_change, on_delete, rerun, timeout, 0u32..3).prop_map(
        |(desired, on_change, on_delete, rerun, timeout_ms, backoff_limit)| Control {
            desired,
            on_change,
            on_delete,
            rerun,
            timeout_ms,
            backoff_limit,
            report: None,
            gate: None,
        },
    )
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let engines = proptest::option::of(0u8..3);
    (Sim::services(), 0u8..3, any::<bool>(), 1u32..3, engines, control()).prop_map(
        |(service, variant, stop, launches, engines, control)| Wanted {
            service,
            variant,
            stop,
            launches,
            engines,
            control,
        },
    )
}

pub fn event() -> impl Strategy<Value = Event> {
    let name = || 0..NAMES.len();
    prop_oneof![
        10 => prop_oneof![Just(0u64), 1u64..900, 500u64..6_000, 5_000u64..50_000].prop_map(Event::Wait),
        10 => (name(), wanted(), proptest::bool::weighted(0.2), proptest::bool::weighted(0.1)).prop_map(
            |(name, wanted, still_writing, moved)| Event::Write { name, wanted, still_writing, moved }
        ),
        1 => (name(), any::<bool>()).prop_map(|(name, unreadable)| Event::Break { name, unreadable }),
        2 => name().prop_map(Event::Remove),
        2 => (name(), any::<bool>()).prop_map(|(name, set)| Event::Rerun { name, set }),
        2 => name().prop_map(Event::Cancel),
        1 => name().prop_map(Event::DeleteRuns),
        2 => Just(Event::RestartController),
        1 => Just(Event::Reboot),
        1 => Just(Event::KillTasks),
        2 => any::<bool>().prop_map(Event::Reachable),
        1 => any::<bool>().prop_map(Event::DiskFull),
        1 => any::<bool>().prop_map(Event::Degraded),
        1 => proptest::bool::weighted(0.3).prop_map(Event::ServicesBroken),
        1 => proptest::option::of(prop_oneof![Just("gpu:0"), Just("gpu:all")]).prop_map(Event::Foreign),
    ]
}

/// Mostly nothing goes wrong; the small numbers are the faults.
pub fn fates() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![2 => Just(0u8), 2 => 0u8..10, 3 => 10u8..20], 1..40)
}
