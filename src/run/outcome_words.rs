//! The words of llama-bench itself and what each of them means; what keeps it from starting is
//! `outcome_start`'s. Matches text only; which exit leads here is `outcome`'s. Every text is one that a real build,
//! daemon or kernel writes; what matches nothing is quoted as it stands.

use super::bench_help::{BenchHelp, HelpFlag};
use super::llama_bench_row::parse_rows;
use super::outcome::{FailureReason, OutcomeContext};
use super::outcome_start;

/// The end of stderr that is searched, in bytes: a verbose build writes megabytes before.
const SEARCHED: usize = 256 << 10;
/// Characters of the tool's own words in a message.
const QUOTED: usize = 300;

/// What was found: a reason, one sentence, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub reason: FailureReason,
    pub message: String,
    pub hint: Option<String>,
}

impl Finding {
    pub fn new(reason: FailureReason, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { reason, message: message.into(), hint: Some(hint.into()) }
    }
}

/// The end of stderr, as lines without what says nothing about a failure.
pub(super) struct Stderr {
    lines: Vec<String>,
}

impl Stderr {
    pub fn new(stderr: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&stderr[stderr.len().saturating_sub(SEARCHED)..]);
        let lines = text.lines().map(quotable).filter(|line| {
            !line.is_empty()
                && !line.starts_with("load_backend:")
                && !line.starts_with("llama-bench: benchmark ")
        });
        Self { lines: lines.collect() }
    }

    /// The first line that has one of the words, whatever their case.
    pub fn find(&self, words: &[&str]) -> Option<&str> {
        let has = |line: &str| contains(line, words);
        self.lines.iter().map(String::as_str).find(|line| has(line))
    }

    pub fn last(&self) -> Option<&str> {
        self.lines.last().map(String::as_str)
    }

    /// What follows the prefix on the last line that begins with it.
    fn after(&self, prefix: &str) -> Option<&str> {
        self.lines.iter().rev().find_map(|line| line.strip_prefix(prefix)).map(str::trim)
    }
}

pub(super) fn contains(text: &str, words: &[&str]) -> bool {
    let text = text.to_lowercase();
    words.iter().any(|word| text.contains(&word.to_lowercase()))
}

/// A line fit for a message: no control characters, not too long.
fn quotable(line: &str) -> String {
    let clean = line.trim().chars().filter(|letter| !letter.is_control());
    let mut text: String = clean.clone().take(QUOTED).collect();
    if clean.count() > QUOTED {
        text.push('…');
    }
    text
}

/// All lines of the daemon's words as one.
pub(super) fn one_line(words: &str) -> String {
    quotable(&words.split_whitespace().collect::<Vec<_>>().join(" "))
}

pub(super) const GPU_HINT: &str = "check that the machine has a working GPU driver and that the container runtime can \
     hand out GPUs (NVIDIA Container Toolkit, or /dev/kfd and /dev/dri for AMD)";
const MEMORY_HINT: &str = "use a smaller model, context or batch (-b, -ub), fewer layers on the GPU (-ngl), or free the memory \
     that other programs hold";

/// It ended with 0 and there is no result.
pub(super) fn of_no_rows(stdout: &[u8], context: &OutcomeContext<'_>) -> Finding {
    let name = context.executable;
    let out = parse_rows(stdout);
    if !out.unmeasured.is_empty() {
        return Finding::new(
            FailureReason::NoResults,
            format!("{name} ended well but ran no repetition"),
            "set -r to 1 or more",
        );
    }
    let first = out.unparsed.first().map(|line| quotable(&line.text));
    match (first, out.truncated_tail) {
        (Some(line), _) => Finding::new(
            FailureReason::InvalidOutput,
            format!("{name} ended well but its output is no list of results: \"{line}\""),
            "the raw output is kept; leave out flags that make it print something else (-h, --list-devices)",
        ),
        (None, true) => Finding::new(
            FailureReason::InvalidOutput,
            format!("{name} ended well but its output ends within its first result"),
            "the raw output is kept; run it again",
        ),
        (None, false) => Finding::new(
            FailureReason::NoResults,
            format!("{name} ended well but ran no test"),
            "give a prompt (-p) or a number of tokens to generate (-n) above 0",
        ),
    }
}

/// What the tool itself says of its failure, `None` where it says nothing that is known.
pub(super) fn of_output(
    code: i64,
    stdout: &[u8],
    stderr: &Stderr,
    context: &OutcomeContext<'_>,
) -> Option<Finding> {
    outcome_start::of_loader(code, stderr, context)
        .or_else(|| of_flags(stdout, stderr))
        .or_else(|| of_memory_and_gpu(stderr))
        .or_else(|| of_model(stderr, context))
        .or_else(|| of_crash(code, stderr, context))
}

/// A flag or value that was refused. llama-bench names the flag in both cases; its usage, printed to
/// stdout, tells whether it knows it.
fn of_flags(stdout: &[u8], stderr: &Stderr) -> Option<Finding> {
    let flag = stderr.after("error: invalid parameter for argument:")?;
    let usage = BenchHelp::parse(&String::from_utf8_lossy(&stdout[..stdout.len().min(SEARCHED)]));
    let known = usage.find(flag);
    let detail =
        ["error: invalid value:", "error: invalid device:", "error: invalid range format", "error: sto"]
            .iter()
            .find_map(|words| stderr.find(&[words]))
            .map(|line| line.trim_start_matches("error: "));
    if !flag.starts_with('-') {
        return Some(Finding::new(
            FailureReason::InvalidValue,
            format!("llama-bench refused the value \"{flag}\", which no flag before it takes"),
            "leave the value of a bare flag empty",
        ));
    }
    if known.is_none() && detail.is_none() {
        let hint = unknown_flag_hint(&usage, flag);
        return Some(Finding::new(
            FailureReason::InvalidFlag,
            format!("llama-bench does not take the flag {flag}: \"invalid parameter for argument: {flag}\""),
            hint,
        ));
    }
    let words = match detail {
        Some(detail) => format!("{detail}; invalid parameter for argument: {flag}"),
        None => format!("invalid parameter for argument: {flag}"),
    };
    let hint = match known {
        Some(known) if !known.choices.is_empty() => format!("{flag} takes {}", known.choices.join(", ")),
        _ if words.contains("range format") => format!(
            "{flag} takes whole numbers: one, a list (512,1024) or a range (512-2048*2), without blanks"
        ),
        Some(HelpFlag { placeholder: Some(placeholder), .. }) => format!("{flag} takes <{placeholder}>"),
        Some(_) => format!("{flag} takes no value"),
        None => format!("see what {flag} takes with `llama-bench --help`"),
    };
    Some(Finding::new(
        FailureReason::InvalidValue,
        format!("llama-bench refused the value of {flag}, or misses one: \"{words}\""),
        hint,
    ))
}

fn unknown_flag_hint(usage: &BenchHelp, flag: &str) -> String {
    // Builds since these two were merged into one.
    if MAPPING_FLAGS.contains(&flag) && usage.find("--load-mode").is_some() {
        return "this build takes --load-mode (none, mmap, mlock, dio) in its place".to_owned();
    }
    usage.suggestion(flag).unwrap_or_else(|| {
        "see which flags the image's build takes with `llama-bench --help`; not all of llama-server's are \
         among them"
            .to_owned()
    })
}

const MAPPING_FLAGS: [&str; 6] = ["-mmp", "--mmap", "--no-mmap", "-dio", "--direct-io", "--mlock"];

fn of_memory_and_gpu(stderr: &Stderr) -> Option<Finding> {
    if let Some(said) = stderr.find(&[
        "out of memory",
        "failed to allocate",
        "unable to allocate",
        "cudamalloc failed",
        "bad_alloc",
        "outofdevicememory",
        "outofhostmemory",
        "cannot allocate memory",
    ]) {
        return Some(Finding::new(
            FailureReason::OutOfMemory,
            format!("llama-bench ran out of memory: {said}"),
            MEMORY_HINT,
        ));
    }
    if let Some(said) = stderr.find(&[
        "no cuda-capable device",
        "cuda driver version is insufficient",
        "nvidia driver on your system is too old",
        "no rocm-capable device",
        "could not select device driver",
    ]) {
        return Some(Finding::new(
            FailureReason::GpuUnavailable,
            format!("the GPU is not available: {said}"),
            GPU_HINT,
        ));
    }
    let said = stderr.find(&["requires flash_attn", "requires flash attention"])?;
    Some(Finding::new(
        FailureReason::UnsupportedCombination,
        format!("llama-bench cannot combine these settings: {said}"),
        "set -fa on, or leave -ctv at f16",
    ))
}

fn of_model(stderr: &Stderr, context: &OutcomeContext<'_>) -> Option<Finding> {
    let path = context.model_path;
    if let Some(said) = stderr.find(&["failed to download model"]) {
        return Some(Finding::new(
            FailureReason::DownloadRefused,
            format!("llama-bench was to download a model, which a benchmark does not allow: {said}"),
            "name a model file that the service mounts",
        ));
    }
    let load = stderr.find(&["failed to load model"])?;
    let opening =
        stderr.find(&["failed to open", "failed to fopen", "no such file or directory", "permission denied"]);
    match opening {
        Some(said) if contains(said, &["no such file or directory"]) => Some(Finding::new(
            FailureReason::ModelNotFound,
            format!("llama-bench did not find the model {path}: {said}"),
            "check the file's name, and that the service mounts its directory at this path",
        )),
        Some(said) if contains(said, &["permission denied", "operation not permitted"]) => {
            Some(Finding::new(
                FailureReason::ModelUnreadable,
                format!("llama-bench may not read the model {path}: {said}"),
                "make the file readable to the user in the container (chmod a+r): a benchmark runs without \
             capabilities, so even root cannot read another user's 0600 file",
            ))
        }
        Some(_) | None => {
            let said = stderr
                .find(&[
                    "invalid magic",
                    "unknown model architecture",
                    "unsupported",
                    "corrupt",
                    "not within the file bounds",
                    "error loading model:",
                ])
                .unwrap_or(load);
            Some(Finding::new(
                FailureReason::ModelNotLoadable,
                format!("llama-bench could not load the model {path}: {said}"),
                "check that the file is there, a whole GGUF, and of an architecture that the image's build \
                 knows",
            ))
        }
    }
}

fn of_crash(code: i64, stderr: &Stderr, context: &OutcomeContext<'_>) -> Option<Finding> {
    let signal = match code {
        132 => "SIGILL",
        134 => "SIGABRT",
        135 => "SIGBUS",
        136 => "SIGFPE",
        139 => "SIGSEGV",
        _ => return None,
    };
    let said = stderr
        .find(&["ggml_assert(", "ggml_abort", "cuda error", "rocm error", "what():"])
        .or_else(|| stderr.last())
        .map(|line| format!(": {line}"))
        .unwrap_or_default();
    let hint = match code {
        132 => "the image's build uses instructions that this CPU lacks: use a build for this CPU",
        135 => "the model file was cut short while it was read, or /dev/shm is too small",
        _ => {
            "check the values (-b, -ub and -t must be above 0), and report it to llama.cpp if they are right"
        }
    };
    Some(Finding::new(
        FailureReason::Crashed,
        format!("{} crashed with {signal} (exit code {code}){said}", context.executable),
        hint,
    ))
}

/// The signal from outside that an exit code tells of.
pub(super) fn ending_signal(code: i64) -> Option<&'static str> {
    match code {
        129 => Some("SIGHUP"),
        130 => Some("SIGINT"),
        137 => Some("SIGKILL"),
        143 => Some("SIGTERM"),
        _ => None,
    }
}

/// Any other exit code.
pub(super) fn of_code(code: i64, stderr: &Stderr, context: &OutcomeContext<'_>) -> Finding {
    let name = context.executable;
    let said = match stderr.last() {
        Some(line) => format!(": {line}"),
        None => ", and wrote nothing to stderr".to_owned(),
    };
    let message = format!("{name} ended with exit code {code}{said}");
    if code == 126 {
        let hint = "the file is there but cannot be executed: check its permissions and its architecture";
        return Finding::new(FailureReason::StartFailed, message, hint);
    }
    Finding::new(FailureReason::ToolFailed, message, "the whole output is in the run's logs")
}
