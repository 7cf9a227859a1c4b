//! Single decisions about a request: what an edit, a token, a command, a removal does.

use std::path::PathBuf;

use super::observed::{Command, Document, Observed, Record, Run, Verb, World};
use super::simulation::requests::{Wanted, control, param, wanted};
use super::single_decisions::{at, later, leads_to, look, preparing, record, run};
use super::{Action, Decision, next_action};
use crate::request::control::{Control, DesiredState, OnChange, OnDelete};
use crate::request::valid::{Spec, ValidRequest};
use crate::run::phase::{Ending, RunState, TaskProgress};
use crate::run::reason::Reason;

fn steered(change: impl FnOnce(&mut Control)) -> Wanted {
    let mut control = control();
    change(&mut control);
    Wanted { control, ..wanted() }
}

/// Every state in which a run goes on by itself, but for Pending.
fn under_way() -> [RunState; 2] {
    [preparing(), at(0, TaskProgress::Started, None)]
}

/// The record knows the edited file, but only the spec before it was given a run, which is in `state`.
fn edited(on_change: OnChange, state: RunState) -> Decision {
    let before = steered(|control| control.on_change = on_change);
    let after = Wanted { variant: 1, ..before.clone() };
    let record = Record { satisfied_hash: record(&before).satisfied_hash, ..record(&after) };
    next_action(&Observed { record: Some(record), run: Some(run(&before, state)), ..look(&after) })
}

/// The token of the file is new; a run of the same spec is in `state`.
fn token_given(on_change: OnChange, state: RunState) -> Decision {
    let wanted = steered(|control| {
        control.on_change = on_change;
        control.rerun = Some("1".to_owned());
    });
    next_action(&Observed { run: Some(run(&wanted, state)), ..look(&wanted) })
}

/// Why a decision leads its run to an end; `None` where it does not.
fn ends_by(decision: &Decision) -> Option<Reason> {
    match &decision.action {
        Action::EndRun { ending, .. } => Some(ending.reason),
        Action::Advance { state, .. } => match &**state {
            RunState::Running { ending, .. } => ending.as_ref().map(|ending| ending.reason),
            _ => None,
        },
        _ => None,
    }
}

fn satisfies(decision: &Decision) -> bool {
    matches!(decision.action, Action::Satisfy { .. })
}

fn ordered(verb: Verb, observed: Observed) -> Decision {
    next_action(&Observed { commands: vec![Command { id: 4, verb }], ..observed })
}

fn rerun() -> Verb {
    Verb::Rerun { set: Vec::new() }
}

fn answer(decision: &Decision) -> &str {
    match &decision.action {
        Action::Answer { outcome, .. } => outcome,
        other => panic!("no answer: {other:?}"),
    }
}

fn registers(observed: &Observed) -> Record {
    match next_action(observed).action {
        Action::Register(record) => *record,
        other => panic!("nothing is registered: {other:?}"),
    }
}

#[test]
fn an_edit_takes_the_place_of_a_run_that_waits_whatever_on_change_says() {
    for on_change in [OnChange::Queue, OnChange::Replace, OnChange::Ignore] {
        assert_eq!(ends_by(&edited(on_change, RunState::Pending)), Some(Reason::Superseded));
    }
}

#[test]
fn an_edit_of_what_is_under_way_queues_replaces_or_is_ignored() {
    for state in under_way() {
        let queued = edited(OnChange::Queue, state.clone());
        assert_eq!((ends_by(&queued), satisfies(&queued)), (None, false));
        assert_eq!(ends_by(&edited(OnChange::Replace, state.clone())), Some(Reason::Superseded));
        let ignored = edited(OnChange::Ignore, state);
        assert_eq!((satisfies(&ignored), ignored.reason), (true, Reason::ChangeIgnored));
    }
}

#[test]
fn an_edit_does_not_touch_what_is_ending_already() {
    let ending = Ending::cancelled(Reason::Cancelled, "");
    let collecting = RunState::Collecting { deadline: later(9_000), ending: ending.clone() };
    for state in [at(0, TaskProgress::Started, Some(ending)), collecting] {
        let decision = edited(OnChange::Replace, state);
        assert_ne!(ends_by(&decision), Some(Reason::Superseded));
    }
}

#[test]
fn a_token_joins_a_run_that_waits_and_follows_on_change_after() {
    assert!(satisfies(&token_given(OnChange::Replace, RunState::Pending)));
    for state in under_way() {
        assert!(!satisfies(&token_given(OnChange::Queue, state.clone())));
        assert_eq!(ends_by(&token_given(OnChange::Replace, state.clone())), Some(Reason::Superseded));
        assert!(satisfies(&token_given(OnChange::Ignore, state)));
    }
}

#[test]
fn a_run_with_flags_of_its_own_is_no_edit_of_a_file_that_has_not_run_yet() {
    for on_change in [OnChange::Queue, OnChange::Replace, OnChange::Ignore] {
        for state in [RunState::Pending].into_iter().chain(under_way()) {
            let wanted = steered(|control| control.on_change = on_change);
            let Spec::LlamaBench(mut spec) = run(&wanted, state.clone()).spec else { panic!("another kind") };
            spec.params = Some(vec![param("-b", 7)]);
            let own = Run { spec: Spec::LlamaBench(spec), ..run(&wanted, state) };
            let record = Record { satisfied_hash: None, ..record(&wanted) };
            let decision = next_action(&Observed { record: Some(record), run: Some(own), ..look(&wanted) });
            assert_eq!((ends_by(&decision), satisfies(&decision)), (None, false), "{decision:?}");
        }
    }
}

#[test]
fn flags_of_an_order_replace_the_files_and_satisfy_nothing() {
    let unsatisfied = Record { satisfied_hash: None, ..record(&wanted()) };
    let set = vec![param("-p", 9), param("-b", 7)];
    let observed = Observed { record: Some(unsatisfied), ..look(&wanted()) };
    let Action::CreateRun(new) = ordered(Verb::Rerun { set: set.clone() }, observed).action else {
        panic!("no run")
    };
    let Spec::LlamaBench(spec) = new.spec else { panic!("another kind") };
    assert_eq!((spec.params, new.satisfied_hash, new.command), (Some(set), None, Some(4)));
}

#[test]
fn an_order_goes_ahead_of_suspend_and_of_nothing_else() {
    let suspended = steered(|control| control.desired = DesiredState::Suspended);
    assert!(matches!(ordered(rerun(), look(&suspended)).action, Action::CreateRun(_)));
    let waiting = |ordered| {
        let run = Run { ordered, ..run(&suspended, RunState::Pending) };
        next_action(&Observed { run: Some(run), ..look(&suspended) })
    };
    assert!(matches!(leads_to(&waiting(true)), RunState::Preparing { .. }));
    assert_eq!((waiting(false).reason, waiting(false).recheck_ms), (Reason::Suspended, None));

    let cancelled = steered(|control| control.desired = DesiredState::Cancelled);
    assert!(answer(&ordered(rerun(), look(&cancelled))).contains("state: Cancelled"));
    let gone = Observed {
        record: Some(Record { deleted: true, ..record(&wanted()) }),
        document: Document::Absent { confirmed: true },
        ..look(&wanted())
    };
    assert_eq!(answer(&ordered(rerun(), gone)), "the request's file was removed");
    let invalid = Observed { document: Document::Invalid { problems: Vec::new() }, ..look(&wanted()) };
    assert!(answer(&ordered(rerun(), invalid)).contains("mend them first"));
    let unknown = Observed { record: None, document: Document::Unreadable, ..look(&wanted()) };
    assert_eq!(answer(&ordered(rerun(), unknown)), "there is no valid request named a");
}

#[test]
fn an_order_does_not_run_a_slow_writers_beginning() {
    let mut observed = look(&wanted());
    let Document::Valid { startable_in_ms, .. } = &mut observed.document else { panic!("not valid") };
    *startable_in_ms = 700;
    let decision = ordered(rerun(), observed);
    assert!(matches!(decision.action, Action::Wait));
    assert_eq!((decision.reason, decision.recheck_ms), (Reason::StillWritten, Some(700)));
}

#[test]
fn a_cancel_ends_what_runs_and_is_answered_where_nothing_does() {
    assert_eq!(answer(&ordered(Verb::Cancel, look(&wanted()))), "nothing runs");
    for state in [RunState::Pending].into_iter().chain(under_way()) {
        let observed = Observed { run: Some(run(&wanted(), state)), ..look(&wanted()) };
        assert_eq!(ends_by(&ordered(Verb::Cancel, observed)), Some(Reason::Cancelled));
    }
    let ending = at(0, TaskProgress::Started, Some(Ending::failed(Reason::TimedOut, "")));
    let observed = Observed { run: Some(run(&wanted(), ending)), ..look(&wanted()) };
    assert_eq!(answer(&ordered(Verb::Cancel, observed)), "the run is ending already");
    let ending = at(0, TaskProgress::Started, Some(Ending::cancelled(Reason::Cancelled, "")));
    let observed = Observed { run: Some(run(&wanted(), ending)), ..look(&wanted()) };
    assert_eq!(answer(&ordered(Verb::Cancel, observed)), "cancelled; what was measured is kept");
}

#[test]
fn a_cancel_takes_the_rerun_that_was_ordered_before_it_with_it() {
    let commands = vec![Command { id: 1, verb: rerun() }, Command { id: 2, verb: Verb::Cancel }];
    let observed = Observed { commands, ..look(&wanted()) };
    let decision = next_action(&observed);
    assert!(matches!(decision.action, Action::Answer { command: 1, .. }), "{decision:?}");
    assert_eq!(answer(&decision), "cancelled before it began");
    let commands = vec![Command { id: 2, verb: Verb::Cancel }, Command { id: 3, verb: rerun() }];
    let observed = Observed { commands, ..look(&wanted()) };
    assert!(matches!(next_action(&observed).action, Action::Answer { command: 2, .. }));
}

#[test]
fn a_first_look_registers_and_a_second_one_runs() {
    let first = registers(&Observed { record: None, ..look(&wanted()) });
    assert_eq!((first.generation, first.satisfied_hash.as_ref()), (1, None));
    let second = next_action(&Observed { record: Some(first), ..look(&wanted()) });
    assert!(matches!(second.action, Action::CreateRun(_)));
    assert_eq!(second.reason, Reason::NewSpec);
}

#[test]
fn a_control_edit_grows_the_generation_and_runs_nothing() {
    let longer = steered(|control| control.timeout_ms = 99_000);
    let next = registers(&Observed { record: Some(record(&wanted())), ..look(&longer) });
    assert_eq!((next.generation, next.uid), (4, record(&wanted()).uid));
    assert_eq!(next.satisfied_hash.as_ref(), Some(&next.spec_hash));
    let after = next_action(&Observed { record: Some(next), ..look(&longer) });
    assert_eq!((after.reason, after.recheck_ms), (Reason::AlreadyRan, None));
}

#[test]
fn a_moved_file_keeps_uid_and_generation() {
    let mut observed = look(&wanted());
    let Document::Valid { path, .. } = &mut observed.document else { panic!("not valid") };
    *path = PathBuf::from("below/y.yaml");
    let expected = Record { path: PathBuf::from("below/y.yaml"), ..record(&wanted()) };
    assert_eq!(registers(&observed), expected);
}

#[test]
fn another_version_of_the_hash_is_no_change() {
    let renewed = |text: &str| text.replace("v1:", "v2:");
    let old = look(&wanted());
    let request = wanted().request("a");
    let new = ValidRequest {
        spec_hash: renewed(&request.spec_hash),
        semantic_hash: renewed(&request.semantic_hash),
        ..(*request).clone()
    };
    let document =
        Document::Valid { request: new.into(), path: PathBuf::from("x.yaml"), index: 0, startable_in_ms: 0 };
    let next = registers(&Observed { document: document.clone(), ..old.clone() });
    assert_eq!((next.generation, next.satisfied_hash.as_ref()), (3, Some(&next.spec_hash)));
    assert!(next.spec_hash.starts_with("v2:"));
    let after = next_action(&Observed { record: Some(next), document: document.clone(), ..old.clone() });
    assert_eq!(after.reason, Reason::AlreadyRan);

    let unsatisfied = Record { satisfied_hash: Some("v1:other".to_owned()), ..record(&wanted()) };
    let next = registers(&Observed { record: Some(unsatisfied), document: document.clone(), ..old.clone() });
    let decision = next_action(&Observed { record: Some(next), document, ..old });
    assert!(matches!(decision.action, Action::CreateRun(_)), "what had not run yet still does");
}

#[test]
fn an_order_waits_until_its_file_was_read() {
    let order = Command { id: 7, verb: Verb::Rerun { set: Vec::new() } };
    let decided = |confirmed| {
        let document = Document::Absent { confirmed };
        next_action(&Observed { record: None, document, commands: vec![order.clone()], ..look(&wanted()) })
    };
    assert!(matches!(decided(false).action, Action::Wait));
    assert!(matches!(decided(true).action, Action::Answer { command: 7, .. }));
}

#[test]
fn where_only_orders_count_the_files_own_wish_starts_nothing() {
    let unsatisfied = Record { satisfied_hash: None, ..record(&wanted()) };
    let world = World { listed: true, orders_only: true, ..World::default() };
    let observed = Observed { record: Some(unsatisfied), world, ..look(&wanted()) };
    assert!(matches!(next_action(&observed).action, Action::Wait));
    let order = Command { id: 7, verb: Verb::Rerun { set: Vec::new() } };
    let ordered = next_action(&Observed { commands: vec![order], ..observed });
    assert!(matches!(ordered.action, Action::CreateRun(_)), "{:?}", ordered.reason);
}

#[test]
fn an_absence_counts_once_it_is_confirmed_and_the_root_is_whole() {
    let absent = |confirmed, degraded: Option<&str>| {
        let world = World { listed: true, degraded: degraded.map(str::to_owned), ..World::default() };
        next_action(&Observed { document: Document::Absent { confirmed }, world, ..look(&wanted()) })
    };
    assert!(matches!(absent(true, None).action, Action::Register(record) if record.deleted));
    for waiting in [absent(false, None), absent(true, Some("unmounted"))] {
        assert!(matches!(waiting.action, Action::Wait));
        assert!(waiting.recheck_ms.is_some());
    }
}

#[test]
fn of_what_is_removed_the_waiting_ends_and_the_running_finishes_unless_told_otherwise() {
    let removed = |on_delete, state| {
        let wanted = steered(|control| control.on_delete = on_delete);
        let record = Record { deleted: true, ..record(&wanted) };
        let document = Document::Absent { confirmed: true };
        let run = Some(run(&wanted, state));
        ends_by(&next_action(&Observed { record: Some(record), document, run, ..look(&wanted) }))
    };
    assert_eq!(removed(OnDelete::Finish, RunState::Pending), Some(Reason::Deleted));
    for state in under_way() {
        assert_eq!(removed(OnDelete::Finish, state.clone()), None);
        assert_eq!(removed(OnDelete::Cancel, state), Some(Reason::Deleted));
    }
}

#[test]
fn what_comes_back_as_it_was_has_another_uid_and_does_not_run() {
    let wanted = steered(|control| control.rerun = Some("1".to_owned()));
    let satisfied_rerun = Some("1".to_owned());
    let tombstone = Record { deleted: true, satisfied_rerun, ..record(&wanted) };
    let back = registers(&Observed { record: Some(tombstone), ..look(&wanted) });
    assert_ne!(back.uid, record(&wanted).uid);
    assert_eq!((back.generation, back.deleted), (1, false));
    let after = next_action(&Observed { record: Some(back), ..look(&wanted) });
    assert_eq!(after.reason, Reason::AlreadyRan);
}

#[test]
fn a_document_with_problems_changes_nothing_about_what_runs() {
    for document in [Document::Invalid { problems: Vec::new() }, Document::Unreadable] {
        for state in [RunState::Pending].into_iter().chain(under_way()) {
            let good = Observed { run: Some(run(&wanted(), state)), ..look(&wanted()) };
            let bad = Observed { document: document.clone(), ..good.clone() };
            let (bad, good) = (next_action(&bad), next_action(&good));
            assert_eq!(format!("{bad:?}"), format!("{good:?}"));
        }
    }
}

#[test]
fn a_degraded_root_and_a_file_still_written_hold_new_runs_back() {
    let new = Record { satisfied_hash: None, ..record(&wanted()) };
    let world = World { listed: true, degraded: Some("unmounted".to_owned()), ..World::default() };
    let degraded = next_action(&Observed { record: Some(new.clone()), world, ..look(&wanted()) });
    assert_eq!((degraded.reason, degraded.message.as_str()), (Reason::Degraded, "unmounted"));
    assert!(degraded.recheck_ms.is_some());
    let mut observed = Observed { record: Some(new), ..look(&wanted()) };
    let Document::Valid { startable_in_ms, .. } = &mut observed.document else { panic!("not valid") };
    *startable_in_ms = 1_500;
    let writing = next_action(&observed);
    assert_eq!((writing.reason, writing.recheck_ms), (Reason::StillWritten, Some(1_500)));
}

#[test]
fn what_is_suspended_or_cancelled_creates_no_run_and_cancelled_ends_one() {
    for (desired, reason) in
        [(DesiredState::Suspended, Reason::Suspended), (DesiredState::Cancelled, Reason::Cancelled)]
    {
        let wanted = steered(|control| control.desired = desired);
        let new = Record { satisfied_hash: None, ..record(&wanted) };
        let decision = next_action(&Observed { record: Some(new), ..look(&wanted) });
        assert_eq!((decision.reason, decision.recheck_ms), (reason, None));
        for state in under_way() {
            let decision = next_action(&Observed { run: Some(run(&wanted, state)), ..look(&wanted) });
            let expected = (desired == DesiredState::Cancelled).then_some(Reason::Cancelled);
            assert_eq!(ends_by(&decision), expected, "{desired:?}");
        }
    }
}
