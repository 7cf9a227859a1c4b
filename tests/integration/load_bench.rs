//! Load tests in a workbench: how they are saved, what of them is read back. Starts nothing itself.

use std::fs;
use std::process::Output;

use benchlet::run::load_case::LoadCase;
use benchlet::run::request_record::Record;
use benchlet::store::runs::RunRow;
use benchlet::store::{Access, Store};
use serde_json::Value;

use crate::workbench::Workbench;

/// A LoadTest request with this spec, in YAML's flow or block form.
pub fn request(spec: &str) -> String {
    format!("apiVersion: benchlet/v1\nkind: LoadTest\nspec: {spec}\n")
}

/// A spec of one simulated target that answers quickly, with more behind it.
pub fn simulated(more: &str) -> String {
    format!(
        "{{ target: {{ engine: simulated, simulated: {{ dialect: vllm, ttft: 5ms, itl: 1ms, jitter: 0% }} }}, \
         output: {{ maxTokens: 4 }}, warmup: {{ requests: 1 }}, {more} }}"
    )
}

/// So slow that a test has the time to do something to it, and has to.
pub const ENDLESS: &str = "load: { concurrency: 2, requests: 100000 }";

impl Workbench {
    /// Saves `requests/NAME.yaml` with this spec of a load test.
    pub fn save_load(&self, name: &str, spec: &str) {
        fs::write(self.request_path(&format!("{name}.yaml")), request(spec)).unwrap();
    }

    /// Looks into the spool until so many requests of the newest run have ended, those of the warm-up apart.
    pub fn until_requests(&mut self, name: &str, count: usize) {
        self.until(&format!("{count} requests of {name}"), |bench| {
            let run = bench.runs(name).pop()?;
            let folders = fs::read_dir(bench.spool(&run)).ok()?.flatten();
            let text: String = folders
                .filter_map(|folder| fs::read_to_string(folder.path().join("records.jsonl")).ok())
                .collect();
            (measured_requests(&text) >= count).then_some(())
        });
    }

    /// Waits until nothing runs any more but the controller.
    pub fn until_no_process_is_left(&mut self) {
        self.until("nothing of it runs any more", |bench| bench.processes().is_empty().then_some(()));
    }

    pub fn spool(&self, run: &RunRow) -> std::path::PathBuf {
        self.path("state/spool").join(run.id.to_string())
    }

    /// The one process of this installation with these words in its arguments, or in the path of its output.
    pub fn process_with(&self, words: &str) -> Option<u32> {
        self.processes().into_iter().find(|pid| {
            let told = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let told: Vec<_> = told.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
            // The shim has the words of its program behind its own.
            let output = fs::read_link(format!("/proc/{pid}/fd/1")).unwrap_or_default();
            told.get(1).is_some_and(|verb| verb != "shim")
                && (told.join(" ").contains(words) || output.to_string_lossy().contains(words))
        })
    }

    /// The records of a case as the store has them, in the order in which they ended.
    pub fn records(&self, run: &RunRow, case: u32) -> Vec<Record> {
        let store = Store::open(&self.path("state"), Access::Guest).unwrap();
        let bytes = store.request_records(run.id, case).unwrap().expect("records of the case");
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    /// The figures of a case as the store has them, which a status rounds.
    pub fn figures(&self, run: &RunRow, case: usize) -> LoadCase {
        let store = Store::open(&self.path("state"), Access::Guest).unwrap();
        serde_json::from_str(&store.cases(run.id).unwrap()[case - 1]).unwrap()
    }

    /// Runs benchlet to its end.
    #[track_caller]
    pub fn say(&self, line: &[&str]) -> Words {
        Words::of(self.command(line).output().unwrap())
    }
}

/// What a verb said.
/// How many requests that count have ended, in the text of a spool's records.
pub fn measured_requests(records: &str) -> usize {
    let ended = records.lines().filter(|line| line.starts_with("{\"request\""));
    ended.filter(|line| !line.contains("\"warmup\":true")).count()
}

#[derive(Debug)]
pub struct Words {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Words {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    pub fn good(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self
    }
}

/// Status and reason of a condition.
#[track_caller]
pub fn condition<'a>(document: &'a Value, kind: &str) -> (&'a str, &'a str) {
    let list = document["status"]["conditions"].as_array().unwrap();
    let found = list.iter().find(|condition| condition["type"] == kind);
    let found = found.unwrap_or_else(|| panic!("no condition {kind} in {list:?}"));
    (found["status"].as_str().unwrap(), found["reason"].as_str().unwrap())
}

#[track_caller]
pub fn condition_message(document: &Value, kind: &str) -> String {
    let list = document["status"]["conditions"].as_array().unwrap();
    let found = list.iter().find(|condition| condition["type"] == kind).expect(kind);
    found["message"].as_str().unwrap().to_owned()
}

/// The one case of a status.
#[track_caller]
pub fn only_case(document: &Value) -> &Value {
    let cases = document["status"]["results"]["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), 1, "{cases:?}");
    &cases[0]
}

/// That a run failed for this reason, and told people these words in its message and its hint.
#[track_caller]
pub fn failed(document: &Value, reason: &str, message: &[&str], hint: &[&str]) {
    let status = &document["status"];
    assert_eq!((&status["phase"], &status["reason"]), (&"Failed".into(), &reason.into()), "{status:#}");
    for (field, words) in [("message", message), ("hint", hint)] {
        let told = status[field].as_str().unwrap_or_default();
        for word in words {
            assert!(told.contains(word), "{word:?} in the {field} {told:?}");
        }
    }
    assert_eq!(condition(document, "Succeeded"), ("False", reason));
}
