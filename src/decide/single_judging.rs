//! Single decisions about gates, comparisons and baselines.

use uuid::Uuid;

use super::observed::{Command, Document, Judging, Observed, OwedApply, Record, Refusal, Verb, World};
use super::simulation::requests::{control, wanted};
use super::single_decisions::look;
use super::{Action, Decision, next_action};
use crate::request::apply::ApplyOptions;
use crate::request::baseline::{Baseline, TiedTo};
use crate::request::control::{Control, DesiredState};
use crate::request::gate::{ComparedWith, Comparison, Gate, Rules, RunSource};
use crate::request::valid::{Spec, ValidRequest};
use crate::run::reason::Reason;

const RUN: Uuid = Uuid::from_u128(5);

fn due() -> Judging {
    Judging::Due { run: RUN, gate_hash: "g".to_owned() }
}

fn gated() -> Observed {
    let observed = look(&wanted());
    let record = observed.record.clone().map(|record| {
        let gate = Some(Box::new(Gate { baseline: "main".to_owned(), rules: Rules::default() }));
        Record { control: Control { gate, ..record.control.clone() }, ..record }
    });
    Observed { record, ..observed }
}

/// A request of another kind, satisfied or not.
fn of_kind(spec: Spec, satisfied: bool) -> Observed {
    let base = look(&wanted());
    let record = base.record.clone().unwrap();
    let hash = record.spec_hash.clone();
    let request = ValidRequest {
        name: "a".to_owned(),
        spec_hash: hash.clone(),
        semantic_hash: record.semantic_hash.clone(),
        control: control(),
        spec: spec.clone(),
    };
    let record = Record { spec, control: control(), satisfied_hash: satisfied.then_some(hash), ..record };
    let document =
        Document::Valid { request: request.into(), path: record.path.clone(), index: 0, startable_in_ms: 0 };
    Observed { record: Some(record), document, ..base }
}

fn comparison(judging: Judging) -> Observed {
    let spec = Comparison {
        baseline: ComparedWith::Baseline("main".to_owned()),
        candidate: RunSource::LatestOf { request: "load".to_owned() },
        rules: Rules::default(),
    };
    Observed { judging, ..of_kind(Spec::Comparison(Box::new(spec)), true) }
}

fn baseline(judging: Judging, satisfied: bool) -> Observed {
    let spec = Baseline {
        name: "main".to_owned(),
        source: RunSource::LatestOf { request: "load".to_owned() },
        tied_to: TiedTo::Request,
    };
    Observed { judging, ..of_kind(Spec::Baseline(spec), satisfied) }
}

fn no_run() -> Refusal {
    Refusal::new(Reason::RunUnknown, "load does not have a completed run yet")
}

fn judged(decision: &Decision) -> Option<(Uuid, &str)> {
    match &decision.action {
        Action::Judge(new) => Some((new.run, new.gate_hash.as_str())),
        _ => None,
    }
}

fn ordered(observed: Observed) -> Observed {
    let verb = Verb::Rerun { set: Vec::new() };
    Observed { commands: vec![Command { id: 4, verb }], ..observed }
}

#[test]
fn a_gate_judges_a_completed_run_before_anything_else_is_made_of_it() {
    let owed = vec![OwedApply { run: RUN, options: ApplyOptions::default(), refused: None }];
    let decision = next_action(&Observed { judging: due(), owed_applies: owed, ..gated() });
    assert_eq!(judged(&decision), Some((RUN, "g")));
    assert_eq!(decision.recheck_ms, Some(0));
}

#[test]
fn what_was_judged_is_left_alone_and_so_is_a_request_without_a_gate() {
    for observed in [Observed { judging: Judging::Judged { run: RUN }, ..gated() }, look(&wanted())] {
        assert_eq!(next_action(&observed).reason, Reason::AlreadyRan);
    }
}

#[test]
fn a_comparison_judges_every_new_run_however_often_it_was_satisfied() {
    let decision = next_action(&comparison(due()));
    assert_eq!(judged(&decision), Some((RUN, "g")));
    let waits = next_action(&comparison(Judging::Judged { run: RUN }));
    assert_eq!((waits.reason, waits.recheck_ms), (Reason::Judged, None));
    let nothing = next_action(&comparison(Judging::NoRun(no_run())));
    assert_eq!((nothing.reason, nothing.recheck_ms), (Reason::RunUnknown, None));
}

#[test]
fn a_comparison_judges_nothing_while_it_is_suspended_or_its_root_cannot_be_trusted() {
    let mut suspended = comparison(due());
    if let Some(record) = &mut suspended.record {
        record.control.desired = DesiredState::Suspended;
    }
    // The file says the same as the record.
    if let Document::Valid { request, .. } = &mut suspended.document {
        let mut changed = ValidRequest::clone(request);
        changed.control.desired = DesiredState::Suspended;
        *request = changed.into();
    }
    assert_eq!(next_action(&suspended).reason, Reason::Suspended);
    let world = World { degraded: Some("gone".to_owned()), ..comparison(due()).world };
    assert_eq!(next_action(&Observed { world, ..comparison(due()) }).reason, Reason::Degraded);
}

#[test]
fn an_order_judges_once_more_under_a_key_of_its_own() {
    let decision = next_action(&ordered(comparison(Judging::Judged { run: RUN })));
    assert_eq!(judged(&decision), Some((RUN, "command-4")));
    let answered = next_action(&ordered(comparison(Judging::NoRun(no_run()))));
    assert!(matches!(answered.action, Action::Answer { command: 4, .. }), "{answered:?}");
}

#[test]
fn a_baseline_pins_once_a_generation_and_does_not_move_by_itself() {
    let found = || Judging::Pinnable(Ok(RUN));
    let pinned = next_action(&baseline(found(), false));
    assert!(matches!(&pinned.action, Action::Pin(new) if new.run == RUN && new.name == "main"), "{pinned:?}");
    assert_eq!(next_action(&baseline(found(), true)).reason, Reason::AlreadyRan);
    let again = next_action(&ordered(baseline(found(), true)));
    assert!(matches!(&again.action, Action::Pin(new) if new.command == Some(4)), "{again:?}");
}

#[test]
fn a_baseline_without_a_run_waits_for_one_and_says_so() {
    let decision = next_action(&baseline(Judging::Pinnable(Err(no_run())), false));
    assert!(matches!(decision.action, Action::Wait));
    assert_eq!((decision.reason, decision.recheck_ms), (Reason::RunUnknown, None));
    assert!(decision.message.contains("load"));
}
