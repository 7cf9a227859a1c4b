//! When the measuring process sends what, how it ends, and what it leaves: closed and open loops,
//! ramp-ups, stops, limits, prompts and salts.

use std::collections::HashSet;

use benchlet::request::load_test::{Arrivals, CachePolicy, Distribution};
use benchlet::run::measure_plan::{
    CaseAmount, CaseLoad, Dialect, Endpoint, MeasurePlan, PromptPlan, RECORDS_FILE, SERIES_FILE,
};
use benchlet::run::reason::Reason;
use benchlet::run::request_record::{ErrorKind, Line, Record};
use benchlet::run::series::Sample;
use rustix::process::Signal;

use crate::measuring::{Measured, Measuring, NEVER_MS, case, failure, measure, plan, requests};
use crate::scripted_server::{After, Exchange, Gate, QUESTIONS, Server};

/// A server that answers no prompt before the gate is open.
fn gated() -> (Gate, Server) {
    let gate = Gate::default();
    let held = gate.clone();
    let server = Server::new(move |exchange| {
        held.wait();
        exchange.answer()
    });
    (gate, server)
}

fn closed(url: &str, concurrency: u32, requests: u32) -> MeasurePlan {
    let load = CaseLoad::Closed { concurrency };
    MeasurePlan { cases: vec![case(load, CaseAmount::Requests(requests))], ..plan(url, requests) }
}

fn open(url: &str, rate: f64, requests: u32) -> MeasurePlan {
    let load = CaseLoad::Open { rate, arrivals: Arrivals::Constant };
    MeasurePlan { cases: vec![case(load, CaseAmount::Requests(requests))], ..plan(url, requests) }
}

#[track_caller]
fn all_good(requests: &[Record], count: usize) {
    let errors: Vec<_> = requests.iter().filter_map(|request| request.error.as_ref()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let numbers: Vec<u64> = requests.iter().map(|request| request.n).collect();
    assert_eq!(numbers, (0..count as u64).collect::<Vec<_>>());
}

#[test]
fn a_closed_loop_has_as_many_requests_in_flight_as_it_was_told() {
    let (gate, server) = gated();
    let measuring = Measuring::start(&closed(&server.url(), 2, 7));
    server.until("two prompts", |sight| sight.prompts.len() == 2);
    // While time goes by for the client, no third one comes.
    let seen = measuring.until_progress("a first look", |_| true).elapsed_ms;
    measuring.until_progress("a later look", |progress| progress.elapsed_ms > seen);
    assert_eq!(server.sight().prompts.len(), 2);
    gate.open();
    all_good(&measuring.wait().requests(), 7);
    assert_eq!(server.sight().most_in_flight, 2);
}

#[test]
fn a_closed_loop_sends_the_next_request_when_the_last_one_has_ended() {
    let server = Server::new(Exchange::answer);
    let requests = requests(&closed(&server.url(), 1, 5));
    all_good(&requests, 5);
    for pair in requests.windows(2) {
        assert_eq!(pair[1].scheduled_us, pair[0].sent_us + pair[0].end_us);
        assert!(pair[1].sent_us >= pair[1].scheduled_us);
    }
}

#[test]
fn an_open_loop_sends_what_is_due_while_nothing_is_answered() {
    for threads in [1, 3] {
        let (gate, server) = gated();
        let plan = MeasurePlan { threads: Some(threads), ..open(&server.url(), 50.0, 10) };
        let measuring = Measuring::start(&plan);
        server.until("all ten prompts", |sight| sight.in_flight == 10);
        gate.open();
        let requests = measuring.wait().requests();
        all_good(&requests, 10);
        let scheduled: Vec<u64> = requests.iter().map(|request| request.scheduled_us).collect();
        assert_eq!(scheduled, (0..10).map(|n| n * 20_000).collect::<Vec<u64>>());
        let last_sent = requests[9].sent_us;
        for request in &requests {
            assert!(request.sent_us >= request.scheduled_us);
            assert!(request.sent_us + request.end_us >= last_sent, "answered after the stall: {request:?}");
        }
    }
}

#[test]
fn every_thread_of_an_open_loop_sends_its_share_however_low_the_rate() {
    let server = Server::new(Exchange::answer);
    let plan = MeasurePlan { threads: Some(4), ..open(&server.url(), 2.0, 3) };
    all_good(&requests(&plan), 3);
}

#[test]
fn workers_join_one_after_the_other_while_the_load_ramps_up() {
    let (gate, server) = gated();
    let mut plan = closed(&server.url(), 4, 4);
    plan.cases[0].ramp_up_ms = 400;
    let measuring = Measuring::start(&plan);
    server.until("four prompts", |sight| sight.in_flight == 4);
    gate.open();
    let requests = measuring.wait().requests();
    let scheduled: Vec<u64> = requests.iter().map(|request| request.scheduled_us).collect();
    assert_eq!(scheduled, [0, 100_000, 200_000, 300_000]);
    assert!(requests.iter().all(|request| request.sent_us >= request.scheduled_us));
}

#[test]
fn an_open_loops_rate_grows_while_it_ramps_up() {
    let server = Server::new(Exchange::answer);
    let mut plan = open(&server.url(), 20.0, 8);
    plan.cases[0].ramp_up_ms = 400;
    let scheduled: Vec<u64> = requests(&plan).iter().map(|request| request.scheduled_us).collect();
    // n = r·t²/(2·ramp) within the ramp, r·(t − ramp/2) after it.
    let expected =
        |n: u64| if n < 4 { ((n * 40_000) as f64 * 1e6).sqrt() as u64 } else { 200_000 + n * 50_000 };
    assert_eq!(scheduled, (0..8).map(expected).collect::<Vec<_>>());
}

#[test]
fn a_ramp_up_ends_with_the_last_request_and_not_later() {
    let server = Server::new(Exchange::answer);
    let mut plan = closed(&server.url(), 4, 3);
    plan.cases[0].ramp_up_ms = NEVER_MS;
    let measured = measure(&plan);
    all_good(&measured.requests(), 3);
    let last = measured.requests().iter().map(|request| request.sent_us + request.end_us).max();
    assert_eq!(Some(measured.ended().wall_us), last);
}

#[test]
fn warm_up_requests_are_marked_and_go_before_the_others() {
    let server = Server::new(Exchange::answer);
    let plan = MeasurePlan { warmup: 3, cache: CachePolicy::Salt, samples: 1, ..closed(&server.url(), 2, 4) };
    let measured = measure(&plan);
    let warm: Vec<bool> = measured
        .lines()
        .iter()
        .filter_map(|line| match line {
            Line::Request(request) => Some(request.warmup),
            Line::Target(_)
            | Line::Started(_)
            | Line::Turn(_)
            | Line::Skipped(_)
            | Line::Counted(_)
            | Line::Ended(_) => None,
        })
        .collect();
    assert_eq!(warm, [true, true, true, false, false, false, false]);
    all_good(&measured.requests(), 4);
    assert_eq!((measured.progress().done, measured.progress().of), (4, Some(4)), "they do not count");
    let kept: Vec<bool> = measured.requests().iter().map(|request| request.text.is_some()).collect();
    assert_eq!(kept, [true, false, false, false], "samples are of those that count");
    assert_eq!(distinct_salts(&server), 7);
}

#[test]
fn a_duration_ends_the_starts_and_awaits_those_in_flight() {
    let (gate, server) = gated();
    let mut plan = closed(&server.url(), 2, 1);
    plan.cases[0].amount = CaseAmount::DurationMs(300);
    let measuring = Measuring::start(&plan);
    server.until("two prompts", |sight| sight.prompts.len() == 2);
    // The second look from here on is one at a time when both had been sent.
    let mut shown = measuring.until_progress("a look", |_| true).elapsed_ms;
    for more in [1, 1, 300] {
        shown = measuring
            .until_progress("a later look", |progress| progress.elapsed_ms >= shown + more)
            .elapsed_ms;
    }
    gate.open();
    let measured = measuring.wait();
    all_good(&measured.requests(), 2);
    assert!(measured.requests().iter().all(|request| request.sent_us + request.end_us > 300_000));
    assert!(!measured.ended().cut_short);
    let progress = measured.progress();
    assert_eq!((progress.done, progress.of, progress.by_time), (2, None, Some(1_000)));
}

#[test]
fn an_open_loop_of_a_duration_sends_what_is_due_within_it() {
    let server = Server::new(Exchange::answer);
    let mut plan = open(&server.url(), 50.0, 1);
    plan.cases[0].amount = CaseAmount::DurationMs(200);
    all_good(&requests(&plan), 10);
}

#[test]
fn requests_are_as_many_as_asked_for_whatever_the_workers() {
    for (concurrency, threads) in [(8, 1), (8, 3), (2, 5), (40, 2)] {
        let server = Server::new(Exchange::answer);
        let plan = MeasurePlan { threads: Some(threads), ..closed(&server.url(), concurrency, 5) };
        let measured = measure(&plan);
        all_good(&measured.requests(), 5);
        assert_eq!(server.sight().prompts.len(), 5);
        assert_eq!((measured.progress().done, measured.progress().failed), (5, 0));
        assert_eq!(measured.code, Some(0));
    }
}

#[test]
fn connections_are_opened_before_they_are_needed() {
    let (gate, server) = gated();
    let measuring = Measuring::start(&closed(&server.url(), 5, 1));
    let sight = server.until("five connections", |sight| sight.connections == QUESTIONS + 5);
    assert!(sight.prompts.len() <= 1);
    gate.open();
    let requests = measuring.wait().requests();
    all_good(&requests, 1);
    assert!(!requests[0].reconnected);
    assert_eq!(server.sight().connections, QUESTIONS + 5);
}

#[test]
fn cases_follow_each_other_each_with_its_own_requests() {
    let server = Server::new(Exchange::answer);
    let mut plan = closed(&server.url(), 1, 2);
    plan.cases.push(case(CaseLoad::Closed { concurrency: 3 }, CaseAmount::Requests(4)));
    let measured = measure(&plan);
    let shown = measured.lines().into_iter().map(|line| match line {
        Line::Target(target) => format!("target {}", target.models.join(" ")),
        Line::Started(started) => format!("started {}", started.index),
        Line::Request(request) => format!("request of {}", request.index),
        Line::Turn(turn) => format!("turn of {}", turn.index),
        Line::Skipped(skipped) => format!("skipped {}", skipped.index),
        Line::Ended(ended) => format!("ended {}", ended.index),
        Line::Counted(tokens) => format!("counted {}", tokens.index),
    });
    let first = ["target scripted", "started 0", "request of 0", "request of 0", "ended 0", "started 1"];
    let second = ["request of 1"; 4];
    assert_eq!(shown.collect::<Vec<_>>(), [&first[..], &second, &["ended 1"]].concat());
    let progress = measured.progress();
    assert_eq!((progress.case, progress.cases, progress.done, progress.of), (2, 2, 4, Some(4)));
}

/// Asks the process to end and waits until it has.
#[track_caller]
fn stopped(measuring: Measuring) -> Measured {
    measuring.signal(Signal::TERM);
    let measured = measuring.wait();
    assert_eq!((measured.code, measured.signal), (Some(0), None));
    assert_eq!(measured.refusal(), None);
    measured
}

#[track_caller]
fn assert_cancelled(requests: &[Record], count: usize) {
    assert_eq!(requests.len(), count);
    for request in requests {
        let (kind, message) = failure(request);
        assert_eq!((kind, message), (ErrorKind::Cancelled, "the run was stopped"));
    }
}

#[test]
fn a_stop_cancels_what_is_in_flight_and_ends_well() {
    let (_gate, server) = gated();
    for plan in [closed(&server.url(), 2, 9), open(&server.url(), 100.0, 2), open(&server.url(), 0.001, 9)] {
        let before = server.sight().prompts.len();
        let measuring = Measuring::start(&plan);
        let wanted =
            if matches!(plan.cases[0].load, CaseLoad::Open { rate, .. } if rate < 1.0) { 1 } else { 2 };
        server.until("the prompts", |sight| sight.prompts.len() == before + wanted);
        let measured = stopped(measuring);
        assert_cancelled(&measured.requests(), wanted);
        assert!(measured.ended().cut_short);
    }
}

#[test]
fn an_interrupt_in_the_middle_of_an_answer_is_a_stop_as_well() {
    let gate = Gate::default();
    let held = gate.clone();
    let server = Server::new(move |exchange| {
        exchange.head();
        exchange.content("one");
        held.wait();
        After::Close
    });
    let measuring = Measuring::start(&closed(&server.url(), 1, 2));
    server.until("the prompt", |sight| sight.prompts.len() == 1);
    measuring.signal(Signal::INT);
    let measured = measuring.wait();
    gate.open();
    assert_eq!(measured.code, Some(0));
    assert_cancelled(&measured.requests(), 1);
}

#[test]
fn a_stop_is_heard_while_workers_wait_for_their_turn() {
    let (_gate, server) = gated();
    let mut plan = closed(&server.url(), 2, 9);
    plan.cases[0].ramp_up_ms = NEVER_MS;
    let measuring = Measuring::start(&plan);
    server.until("the first prompt", |sight| sight.prompts.len() == 1);
    assert_cancelled(&stopped(measuring).requests(), 1);
}

#[test]
fn a_stop_is_heard_while_warming_up() {
    let (_gate, server) = gated();
    let measuring = Measuring::start(&MeasurePlan { warmup: 3, ..closed(&server.url(), 1, 9) });
    server.until("the first prompt", |sight| sight.prompts.len() == 1);
    let measured = stopped(measuring);
    assert_cancelled(&measured.requests(), 0);
    assert!(measured.ended().cut_short);
}

#[test]
fn a_stop_is_heard_between_cases() {
    let server = Server::new(Exchange::answer);
    let mut plan = MeasurePlan { pause_ms: NEVER_MS, ..closed(&server.url(), 1, 1) };
    plan.cases.push(plan.cases[0].clone());
    let measuring = Measuring::start(&plan);
    measuring.until_requests("the first case's", |requests| requests.len() == 1);
    let measured = stopped(measuring);
    all_good(&measured.requests(), 1);
}

#[test]
fn a_stop_is_heard_while_the_server_says_nothing_of_its_health() {
    let gate = Gate::default();
    let held = gate.clone();
    let server = Server::with_questions(Exchange::answer, move |_| held.wait());
    let measuring = Measuring::start(&closed(&server.url(), 1, 1));
    server.until("the question", |sight| sight.asked == 1);
    assert_cancelled(&stopped(measuring).requests(), 0);
    gate.open();
}

#[test]
fn a_killed_process_leaves_every_request_that_had_ended() {
    let gate = Gate::default();
    let held = gate.clone();
    let server = Server::new(move |exchange| {
        if exchange.number >= 5 {
            held.wait();
        }
        exchange.answer()
    });
    let measuring = Measuring::start(&closed(&server.url(), 1, 9));
    server.until("the sixth prompt", |sight| sight.prompts.len() == 6);
    measuring.until_requests("the five that ended", |requests| requests.len() == 5);
    measuring.signal(Signal::KILL);
    let measured = measuring.wait();
    gate.open();
    assert_eq!(measured.signal, Some(9));
    all_good(&measured.requests(), 5);
    assert_eq!(measured.torn(), 0, "nothing was being written");
}

#[track_caller]
fn refused(measured: &Measured, reason: Reason, words: &[&str]) {
    assert_eq!(measured.code, Some(1));
    let refusal = measured.refusal().expect("a refusal");
    assert_eq!(refusal.reason, reason, "{}", refusal.message);
    let said = format!("{} {}", refusal.message, refusal.hint.unwrap_or_default());
    for word in words {
        assert!(said.contains(word), "{said:?} lacks {word:?}");
    }
}

#[test]
fn more_connections_than_descriptors_are_refused_before_anything_is_sent() {
    let server = Server::new(Exchange::answer);
    for plan in [closed(&server.url(), 40, 40), open(&server.url(), 40.0, 40)] {
        let measured = Measuring::start_in(&plan, Some(80), |_| {}).wait();
        refused(&measured, Reason::LimitReached, &["40 connections", "may have 80", "ulimit -n 1"]);
    }
    assert_eq!(server.sight().prompts.len(), 0);
    let fewer = Measuring::start_in(&closed(&server.url(), 4, 4), Some(80), |_| {}).wait();
    assert_eq!(fewer.code, Some(0), "as many as there are descriptors for are made");
    all_good(&fewer.requests(), 4);
}

#[test]
fn a_server_that_is_not_there_is_refused_with_what_to_do() {
    let gone = Server::gone_after(1, |_| After::Close);
    // Takes the one connection, so that the next is refused.
    drop(std::net::TcpStream::connect(gone.url().trim_start_matches("http://")).unwrap());
    gone.until("its end", |sight| sight.connections == 1);
    let url = gone.url();
    refused(&measure(&plan(&url, 1)), Reason::EngineUnreachable, &[&url, "refused", "start the server"]);
    // A name that no resolver looks up, because it is too long for one.
    let host = format!("{}.invalid", "a".repeat(64));
    let url = format!("http://{host}:1");
    refused(&measure(&plan(&url, 1)), Reason::EngineUnreachable, &[&host, "is not known"]);
    let mut ftp = plan("ftp://localhost/", 1);
    refused(&measure(&ftp), Reason::EngineUnreachable, &["ftp", "http"]);
    ftp.targets[0].endpoint = Endpoint::Started { folder: "nowhere".to_owned() };
    refused(&measure(&ftp), Reason::MeasuringFailed, &["nowhere/address.json"]);
}

#[test]
fn prompts_come_from_a_file_in_its_order_and_over_again() {
    let server = Server::new(Exchange::answer);
    let mut plan = closed(&server.url(), 1, 3);
    plan.prompts = PromptPlan::File("prompts.jsonl".to_owned());
    let prompts = "{\"prompt\":\"first\"}\n{\"messages\":[{\"role\":\"user\",\"content\":\"second\"}]}\n";
    let write = |folder: &std::path::Path| std::fs::write(folder.join("prompts.jsonl"), prompts).unwrap();
    all_good(&Measuring::start_in(&plan, None, write).wait().requests(), 3);
    assert_eq!(texts(&server), ["first", "second", "first"]);
}

#[test]
fn a_bad_line_in_the_prompts_is_named() {
    let server = Server::new(Exchange::answer);
    let mut plan = closed(&server.url(), 1, 1);
    plan.prompts = PromptPlan::File("prompts.jsonl".to_owned());
    let write = |folder: &std::path::Path| {
        std::fs::write(folder.join("prompts.jsonl"), "{\"prompt\":\"a\"}\n{\"promt\":\"b\"}\n").unwrap();
    };
    let measured = Measuring::start_in(&plan, None, write).wait();
    refused(&measured, Reason::PromptsUnusable, &["line 2", "promt", "{\"prompt\": \"…\"}"]);
    refused(&measure(&plan), Reason::PromptsUnusable, &["cannot be read"]);
    plan.prompts = PromptPlan::Inline(Vec::new());
    refused(&measure(&plan), Reason::PromptsUnusable, &["no prompt"]);
    assert_eq!(server.sight().prompts.len(), 0);
}

fn texts(server: &Server) -> Vec<String> {
    server.sight().prompts.iter().map(|prompt| prompt.text()).collect()
}

/// `[salt] ` and the rest.
#[track_caller]
fn salted(text: &str) -> (&str, &str) {
    let (salt, rest) = text.split_once(' ').unwrap_or_default();
    assert!(salt.len() == 14 && salt.starts_with('[') && salt.ends_with(']'), "no salt: {text:?}");
    (salt, rest)
}

fn distinct_salts(server: &Server) -> usize {
    let texts = texts(server);
    texts.iter().map(|text| salted(text).0).collect::<HashSet<_>>().len()
}

#[test]
fn every_request_has_a_salt_of_its_own_in_every_case_and_run() {
    let server = Server::new(Exchange::answer);
    let mut plan = MeasurePlan { cache: CachePolicy::Salt, warmup: 2, ..closed(&server.url(), 2, 6) };
    plan.cases.push(plan.cases[0].clone());
    measure(&plan);
    assert_eq!(distinct_salts(&server), 16, "no two of a run are alike");
    plan.salt += 1;
    measure(&plan);
    assert_eq!(distinct_salts(&server), 32, "nor two of different runs");
    assert!(texts(&server).iter().all(|text| salted(text).1 == "count to two"));
}

#[test]
fn a_cache_that_is_to_be_kept_gets_the_prompts_as_they_are() {
    let server = Server::new(Exchange::answer);
    measure(&MeasurePlan { cache: CachePolicy::Keep, ..closed(&server.url(), 1, 3) });
    assert_eq!(texts(&server), ["count to two"; 3]);
}

#[test]
fn made_up_prompts_have_their_length_and_share_no_beginning() {
    let server = Server::new(Exchange::answer);
    let mut plan = MeasurePlan { cache: CachePolicy::Salt, ..closed(&server.url(), 1, 4) };
    plan.prompts = PromptPlan::Synthetic { distribution: Distribution::Fixed, shared_prefix_tokens: 0 };
    plan.cases[0].input_tokens = Some(50);
    measure(&plan);
    let texts = texts(&server);
    let unsalted: HashSet<&str> = texts.iter().map(|text| salted(text).1).collect();
    assert_eq!(unsalted.len(), 4);
    assert!(unsalted.iter().all(|text| text.split_whitespace().count() == 50));
    assert_eq!(distinct_salts(&server), 4);
}

#[test]
fn made_up_prompts_share_the_prefix_that_they_are_to_share() {
    let server = Server::new(Exchange::answer);
    let mut plan = MeasurePlan { cache: CachePolicy::Salt, warmup: 1, ..closed(&server.url(), 1, 4) };
    plan.prompts = PromptPlan::Synthetic { distribution: Distribution::Fixed, shared_prefix_tokens: 20 };
    plan.cases[0].input_tokens = Some(30);
    plan.cases.push(plan.cases[0].clone());
    measure(&plan);
    let texts = texts(&server);
    let split: Vec<(&str, &str)> = texts.iter().map(|text| text.split_once("\n\n").unwrap()).collect();
    assert!(split.iter().all(|(_, own)| own.split_whitespace().count() == 30));
    for case in split.chunks(5) {
        assert!(case.iter().all(|(prefix, _)| *prefix == case[0].0), "salt included");
        assert_eq!(salted(case[0].0).1.split_whitespace().count(), 20);
        let own: HashSet<&str> = case.iter().map(|(_, own)| *own).collect();
        assert_eq!(own.len(), 5, "and nothing else, not even with the warm-up");
    }
    assert_ne!(split[0].0, split[5].0, "another case finds nothing of this one");
}

#[test]
fn a_server_is_asked_once_how_it_counts_however_many_cases_there_are() {
    let questions = |cases: usize| {
        // It tells its tokens, so that no answer has to be counted.
        let server = Server::new(|exchange| {
            exchange.head();
            exchange.content("one");
            exchange.event(r#"{"choices":[],"usage":{"completion_tokens":1}}"#);
            exchange.finish();
            After::Keep
        });
        let mut plan = closed(&server.url(), 1, 1);
        plan.targets[0].dialect = Dialect::Vllm;
        plan.prompts = PromptPlan::Synthetic { distribution: Distribution::Fixed, shared_prefix_tokens: 0 };
        plan.cases[0].input_tokens = Some(50);
        plan.cases = vec![plan.cases[0].clone(); cases];
        measure(&plan);
        // The scripted server takes whatever is posted for a prompt.
        server.sight().prompts.len() - cases
    };
    assert_eq!(questions(1), 4);
    assert_eq!(questions(3), questions(1));
}

#[test]
fn the_machine_is_looked_at_while_a_case_runs() {
    let (gate, server) = gated();
    let measuring = Measuring::start(&closed(&server.url(), 1, 1));
    let first = measuring.until_progress("a first look", |_| true).elapsed_ms;
    measuring.until_progress("a later look", |progress| progress.elapsed_ms > first + 200);
    gate.open();
    let measured = measuring.wait();
    let samples: Vec<Sample> =
        measured.read(SERIES_FILE).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(samples.len() >= 2, "{samples:?}");
    assert!(samples.iter().all(|sample| sample.values["host_memory_bytes"] > 0.0));
    assert!(samples.windows(2).all(|pair| pair[0].unix_ms <= pair[1].unix_ms));
    assert!(!measured.read(RECORDS_FILE).contains("host_memory_bytes"));
}
