use super::super::llama_bench_row::parse_rows;
use super::*;

const TIMEOUT_MS: u64 = 600_000;

fn context() -> OutcomeContext<'static> {
    OutcomeContext {
        timeout_ms: TIMEOUT_MS,
        model_path: "/m/tiny.gguf",
        stopped_by_us: None,
        executable: "llama-bench",
        executor_restarted: false,
    }
}

fn code(code: i64) -> Exit {
    Exit { cause: ExitCause::Code(code), oom_killed: false, finished_at: None }
}

fn classify_code(exit_code: i64, stderr: &str) -> Outcome {
    classify(&code(exit_code), b"", stderr.as_bytes(), 0, context())
}

fn not_started(words: &str) -> Outcome {
    let exit = Exit { cause: ExitCause::NotStarted(words.to_owned()), oom_killed: false, finished_at: None };
    classify(&exit, b"", b"", 0, context())
}

#[track_caller]
fn failure(outcome: Outcome) -> (FailureReason, String, String) {
    match outcome {
        Outcome::Failed { reason, message, hint } => (reason, message, hint.unwrap_or_default()),
        Outcome::Succeeded | Outcome::Cancelled { .. } | Outcome::InfrastructureFault { .. } => {
            panic!("no failure: {outcome:?}")
        }
    }
}

struct Transcript {
    name: &'static str,
    stdout: &'static [u8],
    stderr: &'static [u8],
    code: &'static str,
}

macro_rules! transcripts {
    ($($name:literal),+ $(,)?) => {
        [$(Transcript {
            name: $name,
            stdout: include_bytes!(concat!(
                env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/llama-cpp/bench/", $name, ".stdout"
            )),
            stderr: include_bytes!(concat!(
                env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/llama-cpp/bench/", $name, ".stderr"
            )),
            code: include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/llama-cpp/bench/", $name, ".rc"
            )),
        }),+]
    };
}

fn outcome_of(transcript: &Transcript) -> Outcome {
    let exit = code(transcript.code.trim().parse().unwrap());
    let rows = parse_rows(transcript.stdout).rows.len();
    classify(&exit, transcript.stdout, transcript.stderr, rows, context())
}

#[track_caller]
fn all_end_as(reason: FailureReason, transcripts: &[Transcript]) {
    for transcript in transcripts {
        let (found, message, hint) = failure(outcome_of(transcript));
        assert_eq!(found, reason, "{}: {message}", transcript.name);
        assert!(!message.is_empty() && !hint.is_empty(), "{}", transcript.name);
        assert!(!message.contains('\n') && !message.contains("load_backend"), "{message}");
    }
}

#[test]
fn every_transcript_with_results_succeeded() {
    for transcript in transcripts![
        "comma-n",
        "comma",
        "default-n",
        "delay",
        "depth",
        "embd-1",
        "fa--1",
        "fa-0",
        "fa-1",
        "fa-auto",
        "fa-disabled",
        "fa-off",
        "fa-on",
        "fa-true",
        "fmt-jsonl",
        "lm-none",
        "long-forms",
        "matrix",
        "mg-01",
        "nkvo-01",
        "nkvo-1",
        "no-warmup",
        "only-n",
        "only-p",
        "pg-only",
        "pg-plus0",
        "pg-twice",
        "pg",
        "progress-d",
        "range",
        "repack-0",
        "repeat-flag",
        "repeat-model",
        "underscore",
        "val-p-trailcomma",
        "val-r-1",
        "val-r-list",
    ] {
        assert_eq!(outcome_of(&transcript), Outcome::Succeeded, "{}", transcript.name);
    }
}

#[test]
fn a_flag_that_the_build_does_not_know_is_an_invalid_flag() {
    let transcripts = transcripts![
        "bad-flag-short",
        "bad-flag",
        "ctx-flag",
        "long-eq",
        "mmp",
        "no-mmap",
        "server-flag-np",
    ];
    all_end_as(FailureReason::InvalidFlag, &transcripts);
    let (_, message, _) = failure(outcome_of(&transcripts[1]));
    assert_eq!(
        message,
        "llama-bench does not take the flag --nosuchflag: \"invalid parameter for argument: --nosuchflag\""
    );
}

#[test]
fn a_flag_of_older_builds_is_answered_with_its_successor() {
    for transcript in transcripts!["mmp", "no-mmap"] {
        assert!(failure(outcome_of(&transcript)).2.contains("--load-mode"));
    }
}

#[test]
fn a_value_that_a_known_flag_refuses_is_an_invalid_value() {
    let transcripts = transcripts![
        "fa-bare-last",
        "fa-bare-mid",
        "fa-maybe",
        "nkvo-bare",
        "nkvo-on",
        "nkvo-true",
        "no-warmup-val",
        "pg-bad",
        "positional",
        "val-ctk-bad",
        "val-dev-bad",
        "val-ngl-auto",
        "val-o-xml",
        "val-p-32x",
        "val-p-abc",
        "val-p-float",
        "val-p-neg",
        "val-p-nothing",
        "val-p-space",
        "val-r-abc",
    ];
    all_end_as(FailureReason::InvalidValue, &transcripts);
    let (_, message, hint) = failure(outcome_of(&transcripts[2]));
    assert!(message.contains("-fa"), "{message}");
    assert_eq!(hint, "-fa takes on, off, auto");
    let (_, message, hint) = failure(outcome_of(&transcripts[14]));
    assert!(message.contains("invalid range format; invalid parameter for argument: -p"), "{message}");
    assert!(hint.starts_with("-p takes whole numbers"), "{hint}");
}

#[test]
fn a_model_that_is_not_there_is_named() {
    all_end_as(
        FailureReason::ModelNotFound,
        &transcripts![
            "missing-model-jsonl",
            "missing-model",
            "missing-verbose",
            "no-args",
            "second-missing-jsonl",
            "second-missing",
        ],
    );
}

#[test]
fn a_file_that_is_no_model_is_not_loadable() {
    let transcripts = transcripts!["not-a-model"];
    all_end_as(FailureReason::ModelNotLoadable, &transcripts);
    assert!(failure(outcome_of(&transcripts[0])).1.contains("invalid magic"));
}

#[test]
fn a_build_that_says_only_that_loading_failed_leaves_the_cause_open() {
    let (reason, _, hint) =
        failure(classify_code(1, "main: error: failed to load model '/m/missing.gguf'\n"));
    assert_eq!(reason, FailureReason::ModelNotLoadable);
    assert!(hint.contains("the file is there"));
}

#[test]
fn downloads_crashes_and_combinations_have_their_own_reasons() {
    all_end_as(FailureReason::DownloadRefused, &transcripts!["hf-nonet", "hf-offline"]);
    all_end_as(FailureReason::UnsupportedCombination, &transcripts!["val-ctv-q8-fa-off"]);
    let crashes = transcripts!["val-b0", "val-t0"];
    all_end_as(FailureReason::Crashed, &crashes);
    let (_, message, _) = failure(outcome_of(&crashes[1]));
    assert!(message.contains("SIGSEGV (exit code 139)"), "{message}");
    assert!(message.contains("GGML_ASSERT(cplan->n_threads > 0) failed"), "{message}");
}

#[test]
fn an_end_without_tests_has_no_results() {
    all_end_as(FailureReason::NoResults, &transcripts!["fmt-none", "version", "zero-tests-jsonl"]);
    let empty = br#"{"n_prompt": 32, "n_gen": 0, "avg_ts": 0.000000, "samples_ns": [  ],"samples_ts": [  ]}"#;
    let (reason, _, hint) = failure(classify(&code(0), empty, b"", 0, context()));
    assert_eq!((reason, hint.as_str()), (FailureReason::NoResults, "set -r to 1 or more"));
}

#[test]
fn another_format_than_the_one_asked_for_is_invalid_output() {
    all_end_as(
        FailureReason::InvalidOutput,
        &transcripts![
            "depth-md",
            "fmt-csv",
            "fmt-default",
            "fmt-json",
            "fmt-md",
            "fmt-sql",
            "help",
            "list-devices",
            "matrix-md",
            "oe-json",
            "pg-md",
            "progress",
            "too-long",
            "val-ctv-q8-fa-auto",
            "val-ngl-99",
            "val-p-empty",
            "val-r-0-csv",
            "val-r-0",
            "val-r-neg",
            "verbose",
            "zero-tests-md",
            "zero-tests",
        ],
    );
    let (reason, ..) = failure(classify(&code(0), b"{\"n_prompt\": 3", b"", 0, context()));
    assert_eq!(reason, FailureReason::InvalidOutput);
}

#[test]
fn memory_running_out_is_told_by_the_kernel_or_by_the_tool() {
    let killed = Exit { oom_killed: true, ..code(137) };
    assert_eq!(failure(classify(&killed, b"", b"", 0, context())).0, FailureReason::OutOfMemory);
    for stderr in [
        "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9000 MiB on device 0: cudaMalloc failed: out of memory",
        "llama_kv_cache: failed to allocate buffer for kv cache",
        "terminate called after throwing an instance of 'std::bad_alloc'",
    ] {
        let stderr = format!("{stderr}\nllama_bench: error: failed to load model '/m/tiny.gguf'\n");
        assert_eq!(failure(classify_code(1, &stderr)).0, FailureReason::OutOfMemory, "{stderr}");
        assert_eq!(failure(classify_code(134, &stderr)).0, FailureReason::OutOfMemory, "{stderr}");
    }
}

#[test]
fn a_child_killed_for_memory_does_not_spoil_a_run_that_ended_well() {
    let exit = Exit { oom_killed: true, ..code(0) };
    assert_eq!(classify(&exit, b"", b"", 2, context()), Outcome::Succeeded);
}

#[test]
fn the_words_of_a_failed_start_are_understood() {
    for (words, expected) in [
        (
            "could not select device driver \"nvidia\" with capabilities: [[gpu]]",
            FailureReason::GpuUnavailable,
        ),
        ("unknown or invalid runtime name: nvidia", FailureReason::GpuUnavailable),
        (
            "failed to create task: OCI runtime create failed: nvidia-container-cli: initialization error: nvml \
             error: driver not loaded",
            FailureReason::GpuUnavailable,
        ),
        (
            "error gathering device information while adding custom device \"/dev/kfd\": no such file or directory",
            FailureReason::GpuUnavailable,
        ),
        (
            "runc create failed: unable to start container process: exec: \"llama-bench\": executable file not \
             found in $PATH: unknown",
            FailureReason::LlamaBenchMissing,
        ),
        (
            "exec: \"/app/llama-bench\": stat /app/llama-bench: no such file or directory: unknown",
            FailureReason::LlamaBenchMissing,
        ),
        ("No such file or directory (os error 2)", FailureReason::LlamaBenchMissing),
        (
            "invalid mount config for type \"bind\": bind source path does not exist: /srv/models",
            FailureReason::MountMissing,
        ),
        ("driver failed programming external connectivity", FailureReason::StartFailed),
    ] {
        let (reason, message, hint) = failure(not_started(words));
        assert_eq!(reason, expected, "{words}");
        assert!(message.contains(words) && !hint.is_empty(), "{message}");
    }
}

#[test]
fn a_missing_llama_bench_is_answered_with_the_image_to_use() {
    let (_, message, hint) =
        failure(not_started("exec: \"llama-bench\": executable file not found in $PATH"));
    assert!(message.starts_with("llama-bench was not found"), "{message}");
    assert!(hint.contains("`full`") && hint.contains("`server`"), "{hint}");
    let (reason, ..) = failure(classify_code(127, "sh: llama-bench: not found\n"));
    assert_eq!(reason, FailureReason::LlamaBenchMissing);
}

#[test]
fn a_missing_library_is_told_from_a_missing_program() {
    let words = "llama-bench: error while loading shared libraries: libcuda.so.1: cannot open shared object file: \
                 No such file or directory";
    let (reason, _, hint) = failure(classify_code(127, words));
    assert_eq!(reason, FailureReason::SharedLibraryMissing);
    assert!(hint.contains("GPU"), "{hint}");
}

#[test]
fn a_file_that_may_not_be_read_is_unreadable() {
    let stderr = "gguf_init_from_file: failed to open GGUF file '/m/tiny.gguf' (Permission denied)\n\
                  llama_bench: error: failed to load model '/m/tiny.gguf'\n";
    let (reason, _, hint) = failure(classify_code(1, stderr));
    assert_eq!(reason, FailureReason::ModelUnreadable);
    assert!(hint.contains("0600"), "{hint}");
}

#[test]
fn an_unknown_architecture_is_not_loadable() {
    let stderr = "llama_model_load: error loading model: error loading model architecture: unknown model \
                  architecture: 'novel'\nllama_bench: error: failed to load model '/m/tiny.gguf'\n";
    let (reason, message, _) = failure(classify_code(1, stderr));
    assert_eq!(reason, FailureReason::ModelNotLoadable);
    assert!(message.contains("'novel'"), "{message}");
}

#[test]
fn a_kill_is_the_daemons_where_it_restarted_and_else_of_unknown_cause() {
    for exit_code in [137, 143] {
        let restarted = OutcomeContext { executor_restarted: true, ..context() };
        let outcome = classify(&code(exit_code), b"", b"", 1, restarted);
        assert!(
            matches!(outcome, Outcome::InfrastructureFault { reason: InfrastructureReason::Interrupted, .. }),
            "{outcome:?}"
        );
        let (reason, message, _) = failure(classify_code(exit_code, ""));
        assert_eq!(reason, FailureReason::Killed);
        assert!(message.contains("cause unknown"), "{message}");
    }
}

#[test]
fn a_task_that_is_gone_is_lost() {
    let exit = Exit { cause: ExitCause::Lost, oom_killed: false, finished_at: None };
    let outcome = classify(&exit, b"", b"", 0, context());
    assert!(matches!(outcome, Outcome::InfrastructureFault { reason: InfrastructureReason::Lost, .. }));
}

#[test]
fn what_we_stopped_is_told_by_why_we_did() {
    let stopped = |by| OutcomeContext { stopped_by_us: Some(by), ..context() };
    let end = |exit_code, by| classify(&code(exit_code), b"", b"", 1, stopped(by));
    assert!(matches!(end(137, StoppedBy::Cancel), Outcome::Cancelled { .. }));
    assert_eq!(failure(end(143, StoppedBy::OutputLimit)).0, FailureReason::OutputTooLarge);
    let (reason, message, _) = failure(end(143, StoppedBy::Deadline));
    assert_eq!(reason, FailureReason::TimedOut);
    assert_eq!(message, "llama-bench did not end within 10m, after 1 result, which is kept");
    assert_eq!(end(0, StoppedBy::Deadline), Outcome::Succeeded, "it ended before the signal came");
}

#[test]
fn the_executors_own_limits_are_told() {
    let exit = |cause| Exit { cause, oom_killed: false, finished_at: None };
    let deadline = classify(&exit(ExitCause::DeadlineExceeded), b"", b"", 0, context());
    assert_eq!(failure(deadline).0, FailureReason::TimedOut);
    let output = classify(&exit(ExitCause::OutputTooLarge), b"", b"", 0, context());
    assert_eq!(failure(output).0, FailureReason::OutputTooLarge);
}

#[test]
fn any_other_exit_quotes_the_last_words() {
    let stderr = "load_backend: loaded CPU backend\nfirst\n\x1b[31mlast words\x1b[0m\n\nload_backend: more\n";
    let (reason, message, _) = failure(classify_code(3, stderr));
    assert_eq!(reason, FailureReason::ToolFailed);
    assert_eq!(message, "llama-bench ended with exit code 3: [31mlast words[0m");
    let (_, message, _) = failure(classify_code(3, "load_backend: loaded CPU backend\n"));
    assert_eq!(message, "llama-bench ended with exit code 3, and wrote nothing to stderr");
}
