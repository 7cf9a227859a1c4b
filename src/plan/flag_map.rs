//! The one table of llama-bench's flags: their spellings, what becomes of each when a run is applied
//! to a llama-server, and the way back from a server's flags to a benchmark's. Knows flags only, not
//! files or commands. Unknown flags are let through: new builds bring new ones.

use super::service::ServerFlag;
use crate::request::flags::reserved;

/// One flag of llama-bench.
#[derive(Debug, PartialEq, Eq)]
pub struct Flag {
    /// As llama-bench has it, the canonical one first.
    pub spellings: &'static [&'static str],
    pub class: Class,
    /// The environment variable by which a server takes the same setting.
    pub env: Option<&'static str>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Class {
    /// The server takes the same spellings and a single value; `more` are spellings that it has besides.
    Same { more: &'static [&'static str] },
    /// `0|1` here, a bare flag there, perhaps with an opposite.
    Switch { on: &'static [&'static str], off: &'static [&'static str], one: Effect, zero: Effect },
    /// Parts of one value are separated by another character there.
    Separated { here: char, there: char },
    /// Says how to measure, not how to serve.
    BenchmarkOnly,
}

/// What a switch's value means for the server's command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    SetOn,
    SetOff,
    RemoveOn,
    RemoveOff,
}

/// A flag of a finished run, as a change of the server's command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Translation {
    /// The server must have the flag (the first spelling where it has none of them yet) and none of
    /// `opposites`; `None` is a bare flag.
    Set { spellings: Vec<String>, opposites: Vec<String>, value: Option<String> },
    /// The server must not have the flag in any spelling.
    RemoveFlag { spellings: Vec<String> },
    /// Not a matter of the server.
    Skipped { reason: String },
    /// Cannot be applied as it is: a list or range of which nobody chose a cell.
    Refused { reason: String },
}

/// A flag of the service that a benchmark cannot take over.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Dropped {
    pub flag: String,
    pub reason: String,
}

/// What is measured where a request names no parameters, besides the service's own.
pub const DEFAULT_PARAMS: [(&str, &str); 3] = [("-p", "512"), ("-n", "128"), ("-r", "5")];

const fn same(spellings: &'static [&'static str], env: Option<&'static str>) -> Flag {
    Flag { spellings, class: Class::Same { more: &[] }, env }
}

const fn bench_only(spellings: &'static [&'static str]) -> Flag {
    Flag { spellings, class: Class::BenchmarkOnly, env: None }
}

const fn separated(spellings: &'static [&'static str], here: char, env: &'static str) -> Flag {
    Flag { spellings, class: Class::Separated { here, there: ',' }, env: Some(env) }
}

/// Every flag of llama-bench that is known and not reserved, old builds' included. What is reserved
/// `request::flags` knows.
pub static FLAGS: &[Flag] = &[
    bench_only(&["-p", "--n-prompt"]),
    bench_only(&["-n", "--n-gen"]),
    bench_only(&["-pg"]),
    bench_only(&["-d", "--n-depth"]),
    bench_only(&["-r", "--repetitions"]),
    bench_only(&["--delay"]),
    bench_only(&["--progress"]),
    bench_only(&["--no-warmup"]),
    bench_only(&["-v", "--verbose"]),
    same(&["-b", "--batch-size"], Some("LLAMA_ARG_BATCH")),
    same(&["-ub", "--ubatch-size"], Some("LLAMA_ARG_UBATCH")),
    same(&["-ctk", "--cache-type-k"], Some("LLAMA_ARG_CACHE_TYPE_K")),
    same(&["-ctv", "--cache-type-v"], Some("LLAMA_ARG_CACHE_TYPE_V")),
    same(&["-t", "--threads"], Some("LLAMA_ARG_THREADS")),
    same(&["-C", "--cpu-mask"], None),
    same(&["--cpu-strict"], None),
    same(&["--poll"], None),
    same(&["--prio"], None),
    same(&["--numa"], Some("LLAMA_ARG_NUMA")),
    Flag {
        spellings: &["-ngl", "--n-gpu-layers"],
        class: Class::Same { more: &["--gpu-layers"] },
        env: Some("LLAMA_ARG_N_GPU_LAYERS"),
    },
    same(&["-ncmoe", "--n-cpu-moe"], Some("LLAMA_ARG_N_CPU_MOE")),
    same(&["-sm", "--split-mode"], Some("LLAMA_ARG_SPLIT_MODE")),
    same(&["-mg", "--main-gpu"], Some("LLAMA_ARG_MAIN_GPU")),
    same(&["-fa", "--flash-attn"], Some("LLAMA_ARG_FLASH_ATTN")),
    same(&["-lm", "--load-mode"], Some("LLAMA_ARG_LOAD_MODE")),
    same(&["-lzm", "--lazy-mode"], Some("LLAMA_ARG_LAZY_MODE")),
    same(&["-fitt", "--fit-target"], Some("LLAMA_ARG_FIT_TARGET")),
    same(&["-fitc", "--fit-ctx"], Some("LLAMA_ARG_FIT_CTX")),
    separated(&["-dev", "--device"], '/', "LLAMA_ARG_DEVICE"),
    separated(&["-ts", "--tensor-split"], '/', "LLAMA_ARG_TENSOR_SPLIT"),
    separated(&["-ot", "--override-tensor"], ';', "LLAMA_ARG_OVERRIDE_TENSOR"),
    Flag {
        spellings: &["-nkvo", "--no-kv-offload"],
        class: Class::Switch {
            on: &["-nkvo", "--no-kv-offload"],
            off: &["-kvo", "--kv-offload"],
            one: Effect::SetOn,
            zero: Effect::RemoveOn,
        },
        env: Some("LLAMA_ARG_KV_OFFLOAD"),
    },
    Flag {
        spellings: &["-nopo", "--no-op-offload"],
        class: Class::Switch {
            on: &["--no-op-offload"],
            off: &["--op-offload"],
            one: Effect::SetOn,
            zero: Effect::RemoveOn,
        },
        env: None,
    },
    Flag {
        spellings: &["--no-host"],
        class: Class::Switch { on: &["--no-host"], off: &[], one: Effect::SetOn, zero: Effect::RemoveOn },
        env: Some("LLAMA_ARG_NO_HOST"),
    },
    Flag {
        spellings: &["--repack"],
        class: Class::Switch {
            on: &["--repack"],
            off: &["--no-repack", "-nr"],
            one: Effect::SetOn,
            zero: Effect::SetOff,
        },
        env: Some("LLAMA_ARG_REPACK"),
    },
    Flag {
        spellings: &["-embd", "--embeddings"],
        class: Class::Switch {
            on: &["--embeddings", "--embedding"],
            off: &[],
            one: Effect::SetOn,
            zero: Effect::RemoveOn,
        },
        env: Some("LLAMA_ARG_EMBEDDINGS"),
    },
    // Older builds, before `-lm`.
    Flag {
        spellings: &["-mmp", "--mmap"],
        class: Class::Switch {
            on: &["--mmap"],
            off: &["--no-mmap"],
            one: Effect::RemoveOff,
            zero: Effect::SetOff,
        },
        env: Some("LLAMA_ARG_MMAP"),
    },
    Flag {
        spellings: &["-dio", "--direct-io"],
        class: Class::Switch {
            on: &["-dio", "--direct-io"],
            off: &["-ndio", "--no-direct-io"],
            one: Effect::SetOn,
            zero: Effect::RemoveOn,
        },
        env: Some("LLAMA_ARG_DIO"),
    },
];

/// Whether two spellings are the same flag name: both tools read `--n_gpu_layers` as `--n-gpu-layers`.
pub fn same_spelling(a: &str, b: &str) -> bool {
    a == b || (a.starts_with("--") && b.starts_with("--") && a.replace('_', "-") == b.replace('_', "-"))
}

/// Whether two names are spellings of one flag of llama-bench, such as `-b` and `--batch-size`.
pub fn same_flag(a: &str, b: &str) -> bool {
    same_spelling(a, b) || canonical(a).is_some_and(|flag| among(b, flag.spellings))
}

fn among(name: &str, spellings: &[&str]) -> bool {
    spellings.iter().any(|spelling| same_spelling(spelling, name))
}

/// The table's entry for a flag of llama-bench in any of its spellings; `None` for unknown ones.
pub fn canonical(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| among(name, flag.spellings))
}

/// The entry that a flag of the server belongs to, opposites such as `--no-repack` included.
pub fn of_server(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| match &flag.class {
        Class::Same { more } => among(name, flag.spellings) || among(name, more),
        Class::Separated { .. } => among(name, flag.spellings),
        Class::Switch { on, off, .. } => among(name, on) || among(name, off),
        Class::BenchmarkOnly => false,
    })
}

/// What applying `name value` of a finished run does to the server's command; an empty value is a
/// bare flag. Benchmark-only and reserved flags are skipped, everything else goes over, unknown flags
/// as they are.
pub fn to_server(name: &str, value: &str) -> Translation {
    let bare_or = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    if let Some(reason) = reserved(name) {
        return Translation::Skipped { reason: reason.to_owned() };
    }
    let Some(flag) = canonical(name) else {
        return match list_reason(name, value) {
            Some(reason) => Translation::Refused { reason },
            None => Translation::Set {
                spellings: vec![name.to_owned()],
                opposites: Vec::new(),
                value: bare_or(value),
            },
        };
    };
    if flag.class != Class::BenchmarkOnly
        && let Some(reason) = list_reason(name, value)
    {
        return Translation::Refused { reason };
    }
    match &flag.class {
        Class::BenchmarkOnly => Translation::Skipped { reason: "a matter of the benchmark only".to_owned() },
        Class::Same { more } => Translation::Set {
            spellings: owned(&[flag.spellings, more].concat()),
            opposites: Vec::new(),
            value: bare_or(value),
        },
        Class::Separated { here, there } if value != "auto" => Translation::Set {
            spellings: owned(flag.spellings),
            opposites: Vec::new(),
            value: bare_or(&value.replace(*here, &there.to_string())),
        },
        // The server has no word for its own choice but the flag's absence.
        Class::Separated { .. } => Translation::RemoveFlag { spellings: owned(flag.spellings) },
        Class::Switch { on, off, one, zero } => match value {
            "1" | "" => switch(on, off, *one),
            "0" => switch(on, off, *zero),
            other => {
                Translation::Refused { reason: format!("{name} takes 0 or 1, and its value is \"{other}\"") }
            }
        },
    }
}

fn switch(on: &[&str], off: &[&str], effect: Effect) -> Translation {
    let set = |these: &[&str], those: &[&str]| Translation::Set {
        spellings: owned(these),
        opposites: owned(those),
        value: None,
    };
    match effect {
        Effect::SetOn => set(on, off),
        Effect::SetOff => set(off, on),
        Effect::RemoveOn => Translation::RemoveFlag { spellings: owned(on) },
        Effect::RemoveOff => Translation::RemoveFlag { spellings: owned(off) },
    }
}

fn owned(spellings: &[&str]) -> Vec<String> {
    spellings.iter().map(|spelling| (*spelling).to_owned()).collect()
}

/// Why a value stands for several cells; the server would silently take the first of them.
fn list_reason(name: &str, value: &str) -> Option<String> {
    let what = if value.contains(',') {
        "a list"
    } else if is_range(value) {
        "a range"
    } else {
        return None;
    };
    Some(format!("{name} {value} is {what} of values; choose the case to apply"))
}

/// `first-last`, `first-last+step` or `first-last*mult` of whole numbers.
fn is_range(value: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((first, rest)) = value.split_once('-') else {
        return false;
    };
    digits(first) && rest.split(['+', '*']).all(digits)
}

/// The benchmark's parameters that a service's flags stand for (canonical names, in their order, of
/// duplicates the last), and the flags that llama-bench has no counterpart for.
pub fn from_server(flags: &[ServerFlag]) -> (Vec<(String, String)>, Vec<Dropped>) {
    let mut params: Vec<(String, String)> = Vec::new();
    let mut dropped = Vec::new();
    for flag in flags {
        match param(flag) {
            Ok((name, value)) => match params.iter_mut().find(|(known, _)| *known == name) {
                Some(known) => known.1 = value,
                None => params.push((name, value)),
            },
            Err(reason) => dropped.push(Dropped { flag: flag.name.clone(), reason }),
        }
    }
    (params, dropped)
}

/// More layers than any model has.
const ALL_LAYERS: &str = "999";

fn param(given: &ServerFlag) -> Result<(String, String), String> {
    if among(&given.name, &["-cmoe", "--cpu-moe"]) {
        return Ok(("-ncmoe".to_owned(), ALL_LAYERS.to_owned()));
    }
    if same_spelling(&given.name, "--mlock") {
        return Err("llama-bench has no such flag; builds with -lm take -lm mlock".to_owned());
    }
    let Some(flag) = of_server(&given.name) else {
        let benchmarks_own = |flag: &Flag| flag.class == Class::BenchmarkOnly;
        let another_use =
            reserved(&given.name).is_some() || canonical(&given.name).is_some_and(benchmarks_own);
        let reason = if another_use {
            "llama-bench has another use for this flag"
        } else {
            "llama-bench has no such flag"
        };
        return Err(reason.to_owned());
    };
    let name = flag.spellings[0];
    let value = match &flag.class {
        Class::Same { .. } => single(name, given.value.as_deref())?,
        Class::Separated { here, there } => match given.value.as_deref() {
            None | Some("") => return Err("it has no value".to_owned()),
            Some(value) => value.replace(*there, &here.to_string()),
        },
        Class::Switch { on, .. } => if among(&given.name, on) { "1" } else { "0" }.to_owned(),
        Class::BenchmarkOnly => return Err("llama-bench has no such flag".to_owned()),
    };
    Ok((name.to_owned(), value))
}

fn single(name: &str, value: Option<&str>) -> Result<String, String> {
    match (name, value.filter(|value| !value.is_empty())) {
        // Servers that take it bare come with a llama-bench that takes 0 or 1; newer ones take that too.
        ("-fa", None) => Ok("1".to_owned()),
        (_, None) => Err("it has no value".to_owned()),
        ("-ngl", Some("all")) => Ok(ALL_LAYERS.to_owned()),
        ("-ngl", Some("auto")) => Err("llama-bench chooses by itself where the flag is absent".to_owned()),
        ("-t", Some(value)) if value.starts_with('-') => {
            Err("llama-bench chooses by itself where the flag is absent".to_owned())
        }
        (_, Some(value)) if value.contains(',') => {
            Err(format!("llama-bench would read {value} as several values to measure"))
        }
        (_, Some(value)) => Ok(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> (Vec<String>, Vec<String>, Option<String>) {
        match to_server(name, value) {
            Translation::Set { spellings, opposites, value } => (spellings, opposites, value),
            other => panic!("{name} {value} became {other:?}"),
        }
    }

    fn bench(flags: &[(&str, Option<&str>)]) -> (Vec<(String, String)>, Vec<String>) {
        let flags: Vec<_> = flags
            .iter()
            .map(|(name, value)| ServerFlag { name: (*name).into(), value: value.map(Into::into) })
            .collect();
        let (params, dropped) = from_server(&flags);
        (params, dropped.into_iter().map(|flag| flag.flag).collect())
    }

    #[test]
    fn no_spelling_is_in_two_rows() {
        let all: Vec<_> = FLAGS.iter().flat_map(|flag| flag.spellings).collect();
        let unique: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(all.len(), unique.len());
    }

    #[test]
    fn a_plain_flag_goes_over_with_its_value_and_all_spellings() {
        assert_eq!(set("-b", "512"), (vec!["-b".into(), "--batch-size".into()], vec![], Some("512".into())));
        assert!(set("--n_gpu_layers", "99").0.contains(&"--gpu-layers".to_owned()));
    }

    #[test]
    fn a_switch_becomes_bare_or_goes_away() {
        assert_eq!(set("-nkvo", "1").2, None);
        assert_eq!(set("-nkvo", "1").1, ["-kvo", "--kv-offload"]);
        assert_eq!(set("-nopo", "1").0, ["--no-op-offload"]);
        assert_eq!(set("-embd", "1").0[0], "--embeddings");
        assert_eq!(set("--repack", "0").0, ["--no-repack", "-nr"]);
        assert_eq!(set("--repack", "1").1, ["--no-repack", "-nr"]);
        let gone = Translation::RemoveFlag { spellings: vec!["-nkvo".into(), "--no-kv-offload".into()] };
        assert_eq!(to_server("--no-kv-offload", "0"), gone);
        assert_eq!(to_server("-mmp", "1"), Translation::RemoveFlag { spellings: vec!["--no-mmap".into()] });
        assert!(matches!(to_server("-nkvo", "2"), Translation::Refused { .. }));
    }

    #[test]
    fn separators_are_the_servers() {
        assert_eq!(set("-dev", "CUDA0/CUDA1").2.as_deref(), Some("CUDA0,CUDA1"));
        assert_eq!(set("-ts", "3/1").2.as_deref(), Some("3,1"));
        assert_eq!(set("-ot", "a=CPU;b=CPU").2.as_deref(), Some("a=CPU,b=CPU"));
        assert!(matches!(to_server("-dev", "auto"), Translation::RemoveFlag { .. }));
    }

    #[test]
    fn benchmark_only_and_reserved_flags_are_skipped_and_unknown_ones_go_over() {
        for name in [
            "-p",
            "--n-gen",
            "-pg",
            "-d",
            "-r",
            "--progress",
            "-m",
            "-mu",
            "--docker_repo",
            "-o",
            "-h",
            "--hf_repo",
            "-hfnew",
        ] {
            assert!(matches!(to_server(name, "1,2"), Translation::Skipped { .. }), "{name}");
        }
        assert_eq!(set("--brand-new", "x"), (vec!["--brand-new".into()], vec![], Some("x".into())));
        assert_eq!(set("--brand-new", "").2, None);
    }

    #[test]
    fn lists_and_ranges_are_refused() {
        for value in ["512,1024", "1-4", "1-8+2", "128-2048*2"] {
            assert!(matches!(to_server("-b", value), Translation::Refused { .. }), "{value}");
        }
        assert_eq!(set("-fa", "-1").2.as_deref(), Some("-1"));
        assert_eq!(set("-lm", "mmap+mlock").2.as_deref(), Some("mmap+mlock"));
    }

    #[test]
    fn no_row_is_of_a_flag_that_requests_cannot_use() {
        let reserved: Vec<_> =
            FLAGS.iter().flat_map(|flag| flag.spellings).filter(|name| reserved(name).is_some()).collect();
        assert_eq!(reserved, Vec::<&&str>::new());
    }

    #[test]
    fn a_services_flags_become_a_benchmarks() {
        let (params, dropped) = bench(&[
            ("--threads", Some("8")),
            ("-fa", None),
            ("--no-kv-offload", None),
            ("-dev", Some("CUDA0,CUDA1")),
            ("-ts", Some("3,1")),
            ("--no-mmap", None),
            ("-c", Some("4096")),
            ("--port", Some("8080")),
            ("-n", Some("256")),
            ("-np", Some("2")),
            ("--mlock", None),
            ("--n_gpu_layers", Some("all")),
            ("-b", Some("512")),
            ("-b", Some("1024")),
        ]);
        let expected = [
            ("-t", "8"),
            ("-fa", "1"),
            ("-nkvo", "1"),
            ("-dev", "CUDA0/CUDA1"),
            ("-ts", "3/1"),
            ("-mmp", "0"),
            ("-ngl", "999"),
            ("-b", "1024"),
        ];
        assert_eq!(params, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(dropped, ["-c", "--port", "-n", "-np", "--mlock"]);
    }

    #[test]
    fn a_value_that_would_become_a_matrix_is_dropped() {
        let (params, dropped) = bench(&[("-fitt", Some("512,1024")), ("-fa", Some("on"))]);
        assert_eq!(params, [("-fa".to_owned(), "on".to_owned())]);
        assert_eq!(dropped, ["-fitt"]);
    }
}
