//! llama-bench's flags as its stand-in takes them, refused in the real tool's words.

use crate::plan::bench_matrix::{Given, Matrix};

/// In the layout of the real tool's help, so that whatever reads one reads the other.
pub const USAGE: &str = "\
usage: benchlet sim llama-bench [options]

Stands in for llama-bench. It loads no model; every figure it prints is made up and marked simulated.

options:
  -h, --help                          print this and exit
  --version                           print the version and exit
  --numa <mode>                       ignored
  -r, --repetitions <n>               repetitions of each test (default: 5)
  --prio <n>                          ignored
  --delay <seconds>                   pause after each test (default: 0)
  -o, --output <jsonl>                rows are always printed as jsonl
  -oe, --output-err <none>            ignored
  -v, --verbose                       ignored
  --progress                          say on stderr what is being done
  --no-warmup                         leave the warm-up out
  -fitt, --fit-target <n>             (default: 0)
  -fitc, --fit-ctx <n>                (default: 0)

test parameters:
  -m, --model <name>                  only printed in the rows (default: simulated)
  -p, --n-prompt <n>                  (default: 512)
  -n, --n-gen <n>                     (default: 128)
  -pg <pp,tg>                         (default: none)
  -d, --n-depth <n>                   (default: 0)
  -b, --batch-size <n>                (default: 2048)
  -ub, --ubatch-size <n>              (default: 512)
  -ctk, --cache-type-k <t>            (default: f16)
  -ctv, --cache-type-v <t>            (default: f16)
  -t, --threads <n>                   (default: the machine's)
  -C, --cpu-mask <hex>                (default: 0x0)
  --cpu-strict <0|1>                  (default: 0)
  --poll <n>                          (default: 50)
  -ngl, --n-gpu-layers <n>            (default: -1)
  -ncmoe, --n-cpu-moe <n>             (default: 0)
  -sm, --split-mode <none|layer|row|tensor>  (default: layer)
  -mg, --main-gpu <i>                 (default: 0)
  -nkvo, --no-kv-offload <0|1>        (default: 0)
  -fa, --flash-attn <on|off|auto>     (default: auto)
  -dev, --device <name/name/...>      (default: auto)
  -lm, --load-mode <auto|none|mmap|mlock|mmap+mlock|dio>  (default: auto)
  -lzm, --lazy-mode <on|auto|off>     (default: auto)
  -embd, --embeddings <0|1>           (default: 0)
  -ts, --tensor-split <a/b/...>       (default: 0)
  -ot, --override-tensor <name=type>  (default: none)
  -nopo, --no-op-offload <0|1>        (default: 0)
  --no-host <0|1>                     (default: 0)
  --repack <0|1>                      (default: 1)

Lists are written with commas; ranges as a-b, a-b+step or a-b*factor.
";

/// What the command line asks for.
#[derive(Debug)]
pub enum Asked {
    Tests(Box<Arguments>),
    Help,
    Version,
}

#[derive(Debug)]
pub struct Arguments {
    pub model: String,
    pub matrix: Matrix,
    pub repetitions: u32,
    pub delay_seconds: u64,
    pub progress: bool,
    pub warmup: bool,
}

/// An argument that is refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    pub argument: String,
    pub detail: Option<String>,
}

impl Arguments {
    pub fn parse(given: &[String], threads: u64) -> Result<Asked, Refused> {
        let mut arguments = Self {
            model: "simulated".to_owned(),
            matrix: Matrix::new(threads),
            repetitions: 5,
            delay_seconds: 0,
            progress: false,
            warmup: true,
        };
        let mut rest = given.iter();
        while let Some(argument) = rest.next() {
            let refused = |detail: Option<String>| Refused { argument: argument.clone(), detail };
            let mut value = || rest.next().cloned().ok_or_else(|| refused(None));
            let flag = match argument.strip_prefix("--") {
                Some(long) => format!("--{}", long.replace('_', "-")),
                None => argument.clone(),
            };
            match flag.as_str() {
                "-h" | "--help" => return Ok(Asked::Help),
                "--version" => return Ok(Asked::Version),
                "-v" | "--verbose" => {}
                "--progress" => arguments.progress = true,
                "--no-warmup" => arguments.warmup = false,
                "-m" | "--model" => arguments.model = value()?,
                "-o" | "--output" => match value()?.as_str() {
                    "jsonl" => {}
                    other => return Err(refused(Some(format!("the simulation prints jsonl, not {other}")))),
                },
                "-oe" | "--output-err" | "--numa" | "--prio" => drop(value()?),
                "-r" | "--repetitions" => {
                    arguments.repetitions =
                        leading_number(&value()?).ok_or_else(|| refused(Some("stoi".to_owned())))?
                }
                "--delay" => {
                    arguments.delay_seconds =
                        leading_number(&value()?).ok_or_else(|| refused(Some("stoi".to_owned())))?.into();
                }
                _ if !argument.starts_with('-') => return Err(refused(None)),
                _ => {
                    // Only a flag that is known has a value to take.
                    if arguments.matrix.clone().give(argument, "") == Ok(Given::Other) {
                        return Err(refused(None));
                    }
                    let text = value()?;
                    arguments.matrix.give(argument, &text).map_err(|bad| refused(bad.detail))?;
                }
            }
        }
        Ok(Asked::Tests(Box::new(arguments)))
    }
}

/// The number that a text begins with, as C reads it: `1,2` is 1.
fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::bench_help::BenchHelp;

    fn parse(line: &str) -> Result<Asked, Refused> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        Arguments::parse(&words, 4)
    }

    fn refused(line: &str) -> (String, Option<String>) {
        let refused = parse(line).unwrap_err();
        (refused.argument, refused.detail)
    }

    #[test]
    fn the_usage_lists_every_flag_of_the_real_help_that_makes_tests() {
        let (own, real) = (
            BenchHelp::parse(USAGE),
            BenchHelp::parse(include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/fixtures/llama-cpp/llama-bench-help.txt"
            ))),
        );
        assert!(own.knows_progress);
        for flag in &real.flags {
            let known = flag.spellings.iter().all(|spelling| {
                crate::request::flags::reserved(spelling).is_some()
                    || own.find(spelling).is_some_and(|own| own.takes_value == flag.takes_value)
            });
            assert!(known, "{:?}", flag.spellings);
        }
    }

    #[test]
    fn mistakes_are_refused_in_the_real_words() {
        assert_eq!(refused("-m x --nosuchflag"), ("--nosuchflag".to_owned(), None));
        assert_eq!(refused("-p abc"), ("-p".to_owned(), Some("invalid range format".to_owned())));
        assert_eq!(refused("-nkvo -m"), ("-nkvo".to_owned(), Some("invalid value: \"-m\"".to_owned())));
        assert_eq!(refused("-r abc"), ("-r".to_owned(), Some("stoi".to_owned())));
        assert_eq!(refused("-p 32 -fa"), ("-fa".to_owned(), None));
        assert_eq!(refused("-pg 32"), ("-pg".to_owned(), None));
        assert_eq!(refused("--model=x"), ("--model=x".to_owned(), None));
    }

    #[test]
    fn underscores_and_lists_are_taken() {
        let Ok(Asked::Tests(arguments)) = parse("--n_prompt 32,64 -n 0 -r 1,2 -o jsonl --progress") else {
            panic!("refused");
        };
        assert_eq!((arguments.repetitions, arguments.progress, arguments.matrix.count()), (1, true, 2));
    }
}
