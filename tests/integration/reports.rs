//! Reports of stored runs: compared with the ones that were looked at and found good, held to the schema,
//! and searched for texts that escaped. `BENCHLET_RENEW_REPORTS=1 cargo test --test integration reports`
//! writes `tests/fixtures/reports` anew; read the difference, and look at the pages in a browser, before
//! you commit it.

use std::path::Path;

use benchlet::report::csv::Rows;
use benchlet::report::{format, gather};
use benchlet::request::report_files::ReportFormat;
use serde_json::Value;

use crate::cli_state::{Place, Said};
use crate::stored_runs::Stored;

fn render(stored: &Stored, run: uuid::Uuid, format: ReportFormat, rows: Rows) -> String {
    format::render(&gather::report(&stored.store, run).unwrap(), format, rows).unwrap()
}

/// Compares with the file that was found good.
#[track_caller]
fn same_as_file(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/reports").join(name);
    if std::env::var_os("BENCHLET_RENEW_REPORTS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let good = std::fs::read_to_string(&path).unwrap_or_default();
    let line = good.lines().zip(text.lines()).position(|(good, text)| good != text);
    let line = line.unwrap_or_else(|| good.lines().count().min(text.lines().count()));
    let at = |text: &str| text.lines().nth(line).unwrap_or("(the end)").to_owned();
    assert!(
        good == text,
        "{name}, line {}:\n  was: {}\n  is:  {}\nthe head of this test says how to renew it",
        line + 1,
        at(&good),
        at(text)
    );
}

fn validator() -> jsonschema::Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/schema/report.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

#[track_caller]
fn fits_the_schema(text: &str) -> Value {
    let report: Value = serde_json::from_str(text).unwrap();
    let problems: Vec<String> = validator()
        .iter_errors(&report)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .take(5)
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    report
}

#[test]
fn a_matrix_of_llama_bench_is_reported_as_it_was_found_good() {
    let stored = Stored::new();
    stored.bench(1);
    stored.failed(2);
    let run = stored.bench(3);
    same_as_file("bench.md", &render(&stored, run, ReportFormat::Markdown, Rows::Cases));
    same_as_file("bench.html", &render(&stored, run, ReportFormat::Html, Rows::Cases));
    same_as_file("bench.csv", &render(&stored, run, ReportFormat::Csv, Rows::Cases));
    same_as_file("bench-repetitions.csv", &render(&stored, run, ReportFormat::Csv, Rows::Requests));
    same_as_file("system.json", &render(&stored, run, ReportFormat::System, Rows::Cases));
}

#[test]
fn a_load_test_is_reported_as_it_was_found_good() {
    let stored = Stored::new();
    stored.load(1);
    let run = stored.load(2);
    same_as_file("load.md", &render(&stored, run, ReportFormat::Markdown, Rows::Cases));
    same_as_file("load.html", &render(&stored, run, ReportFormat::Html, Rows::Cases));
    same_as_file("load.csv", &render(&stored, run, ReportFormat::Csv, Rows::Cases));
    same_as_file("load-requests.csv", &render(&stored, run, ReportFormat::Csv, Rows::Requests));
}

#[test]
fn conversations_are_reported_as_they_were_found_good() {
    let stored = Stored::new();
    stored.conversation(1);
    let run = stored.conversation(2);
    same_as_file("conversation.md", &render(&stored, run, ReportFormat::Markdown, Rows::Cases));
    same_as_file("conversation.html", &render(&stored, run, ReportFormat::Html, Rows::Cases));
    same_as_file("conversation.csv", &render(&stored, run, ReportFormat::Csv, Rows::Cases));
    same_as_file("conversation-turns.csv", &render(&stored, run, ReportFormat::Csv, Rows::Requests));
}

#[test]
fn the_history_of_an_old_run_ends_with_it_however_many_came_after() {
    let stored = Stored::new();
    let runs: Vec<_> = (1..=31).map(|number| stored.bench(number)).collect();
    let history = |at: usize| gather::report(&stored.store, runs[at]).unwrap().history;
    let told = history(1).into_iter().map(|past| (past.id, past.current));
    assert_eq!(told.collect::<Vec<_>>(), [(runs[0].to_string(), false), (runs[1].to_string(), true)]);
    let newest = history(30);
    assert_eq!((newest.len(), newest[29].current), (30, true));
    assert_eq!(newest[0].id, runs[1].to_string(), "the oldest one is left out");
}

#[test]
fn the_parameters_of_the_last_run_are_those_of_llama_bench_and_of_no_load_test() {
    let stored = Stored::new();
    let bench = stored.bench(1);
    stored.load(2);
    let last = |service: &str| stored.store.last_planned_run(service).unwrap().map(|run| run.id);
    assert_eq!(last("qwen"), Some(bench));
    assert_eq!(last("simulated"), None, "the load test's service has no parameters of llama-bench");
}

#[test]
fn the_json_of_every_kind_and_ending_fits_the_schema() {
    let stored = Stored::new();
    for run in [stored.bench(1), stored.failed(2), stored.load(3), stored.conversation(4)] {
        let report = fits_the_schema(&render(&stored, run, ReportFormat::Json, Rows::Cases));
        assert_eq!(report["run"]["id"], run.to_string());
    }
    let mut wrong: Value =
        serde_json::from_str(&render(&stored, crate::stored_runs::id(1), ReportFormat::Json, Rows::Cases))
            .unwrap();
    wrong["surprise"] = Value::Null;
    assert!(!validator().is_valid(&wrong), "a field that nobody described is found");
}

#[test]
fn what_a_model_or_a_user_wrote_stays_text_in_every_format() {
    let stored = Stored::new();
    for run in [stored.load(1), stored.failed(2)] {
        let page = render(&stored, run, ReportFormat::Html, Rows::Cases);
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
        let markdown = render(&stored, run, ReportFormat::Markdown, Rows::Cases);
        assert_markdown_is_whole(&markdown);
        for format in ReportFormat::NAMES.map(|(_, format)| format) {
            for rows in [Rows::Cases, Rows::Requests] {
                let text = render(&stored, run, format, rows);
                assert!(
                    !text.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'),
                    "{format:?}"
                );
            }
        }
    }
    let sheet = render(&stored, crate::stored_runs::id(1), ReportFormat::Csv, Rows::Requests);
    let rows = parse_csv(&sheet);
    let message = rows[0].iter().position(|name| name == "message").unwrap();
    assert_eq!(rows.len(), 1 + 2 * 41);
    assert!(rows.iter().all(|row| row.len() == rows[0].len()));
    assert!(rows.iter().flatten().all(|cell| !cell.starts_with(['=', '+', '@', '\t'])));
    assert!(rows.iter().any(|row| row[message].starts_with("HTTP 500: =cmd")));
    let cases = parse_csv(&render(&stored, crate::stored_runs::id(1), ReportFormat::Csv, Rows::Cases));
    assert!(cases[0].iter().any(|name| name == "'=mine.\"metric\"_mean"), "{:?}", cases[0]);
}

/// Every row of a table has the columns of its head, and what a model wrote stands behind fences.
#[track_caller]
fn assert_markdown_is_whole(text: &str) {
    let mut fence: Option<&str> = None;
    let mut columns = None;
    for line in text.lines() {
        match fence {
            Some(open) => {
                if line == open {
                    fence = None;
                }
                continue;
            }
            None if line.starts_with("```") => fence = Some(line.trim_end_matches("text")),
            None => {}
        }
        if fence.is_some() {
            continue;
        }
        assert!(!line.contains("<script"), "{line}");
        assert!(!line.starts_with("# ") || line.starts_with("# pipe-dream: "), "{line}");
        let cells = line.replace("\\\\", "").replace("\\|", "").matches('|').count();
        match columns {
            _ if !line.starts_with('|') => columns = None,
            None => columns = Some(cells),
            Some(known) => assert_eq!(cells, known, "{line}"),
        }
    }
    assert!(fence.is_none(), "a fence is left open");
}

/// By RFC 4180.
fn parse_csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            _ => cell.push(c),
        }
    }
    rows
}

#[test]
fn simulated_and_measured_runs_share_no_history_and_simulated_tables_say_so() {
    let stored = Stored::new();
    stored.bench(1);
    let first = stored.load(2);
    let second = stored.load(3);
    let report = gather::report(&stored.store, second).unwrap();
    let past: Vec<&str> = report.history.iter().map(|past| past.id.as_str()).collect();
    assert_eq!(past, [first.to_string(), second.to_string()]);
    let markdown = render(&stored, second, ReportFormat::Markdown, Rows::Cases);
    let tables = markdown.lines().filter(|line| line.starts_with("| --")).count();
    assert!(tables > 5);
    assert_eq!(markdown.matches("** (simulated)\n").count(), tables);
    let page = render(&stored, second, ReportFormat::Html, Rows::Cases);
    assert_eq!(page.matches("<caption>").count(), tables);
    let marks = page.matches("<span class=\"simulated\">").count();
    assert_eq!(marks, page.matches("<caption>").count() + page.matches("<figcaption>").count());
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    let stored = Stored::new();
    let page = render(&stored, stored.load(1), ReportFormat::Html, Rows::Cases);
    for outside in ["<link", "<img", "src=", "url(", "@import", "href="] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("<svg"));
    for tag in ["div", "table", "details", "figure", "svg", "dl", "pre", "text", "main"] {
        let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

/// `benchlet run` of requests that need no Docker.
fn measured(place: &Place, request: &str) -> Said {
    place.write("requests/mine.yaml", request);
    let mut command = place.command(&["run", "requests/mine.yaml"]);
    let output = command
        .env("BENCHLET_WRITE_DIRS", "out,more")
        .env("BENCHLET_LOCK_DIR", place.path().join("locks"))
        .env("DOCKER_HOST", format!("unix://{}", place.path().join("no-docker.sock").display()))
        .output()
        .unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn a_load_test_that_was_run_is_reported_and_its_files_are_where_it_wants_them() {
    let place = Place::new();
    let said = measured(
        &place,
        "apiVersion: benchlet/v1\nkind: LoadTest\nspec:\n  target: { engine: simulated, simulated: { ttft: 5ms, itl: 1ms } }\n  \
         output: { maxTokens: 4 }\n  load: { concurrency: [1, 2], requests: 6 }\n  warmup: { requests: 1 }\n  \
         report: { formats: [html, json], dir: nightly }\n",
    );
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let report = fits_the_schema(&place.say(&["report", "mine", "--format", "json"]).out);
    assert_eq!(report["simulated"], true);
    assert_eq!(report["results"]["cases"][1]["figures"]["requests"]["ok"], 6);
    assert_eq!(report["results"]["cases"][1]["requests"].as_array().unwrap().len(), 7);
    let rows = parse_csv(&place.say(&["report", "mine", "--format", "csv", "--rows", "requests"]).out);
    assert_eq!(rows.len(), 1 + 2 * 7);
    let run = report["run"]["id"].as_str().unwrap();
    let written = place.state().join("reports/nightly").join(format!("mine-{}.json", &run[..8]));
    assert_eq!(fits_the_schema(&std::fs::read_to_string(&written).unwrap())["run"]["id"], run);
    let page = std::fs::read_to_string(written.with_extension("html")).unwrap();
    assert!(page.contains("Simulated: no model was loaded"));
    let said = place.say(&["report", &run[..8], "--format", "html", "--output", "r.html"]);
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{}", said.err);
    assert_eq!(
        std::fs::read_to_string(place.path().join("r.html")).unwrap(),
        page,
        "the same whenever it is made"
    );
    // With its run goes what benchlet wrote for it, and nothing that somebody has changed since.
    std::fs::write(written.with_extension("html"), "mine now").unwrap();
    let said = place.say(&["delete", "run", run]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(!written.exists());
    assert!(written.with_extension("html").exists() && place.path().join("r.html").exists());
    assert_eq!(said.err.lines().count(), 1, "{}", said.err);
    assert!(said.err.contains(".html stays: it was changed since benchlet wrote it"), "{}", said.err);
}

#[test]
fn a_directory_that_the_settings_allow_is_meant_as_it_stands() {
    let place = Place::new();
    let said = measured(
        &place,
        "apiVersion: benchlet/v1\nkind: LlamaBench\nspec:\n  service: simulated\n  params: { -p: 16, -n: 4, -r: 2 }\n  \
         report: { formats: [md, csv], dir: more/weekly }\n",
    );
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let mut endings: Vec<String> = std::fs::read_dir(place.path().join("more/weekly"))
        .unwrap()
        .map(|file| file.unwrap().path().extension().unwrap().to_string_lossy().into_owned())
        .collect();
    endings.sort();
    assert_eq!(endings, ["csv", "md"]);
    assert!(!place.state().join("reports").exists());
}

#[test]
fn a_report_that_cannot_be_written_is_a_warning_and_the_run_stands() {
    let place = Place::new();
    let elsewhere = place.path().join("elsewhere");
    let said = measured(
        &place,
        &format!(
            "apiVersion: benchlet/v1\nkind: LlamaBench\nspec:\n  service: simulated\n  params: {{ -p: 16, -n: 4, -r: 2 }}\n  \
             report: {{ dir: {} }}\n",
            elsewhere.display()
        ),
    );
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert!(!elsewhere.exists());
    let status = std::fs::read_to_string(place.path().join("requests/mine.status.yaml")).unwrap();
    let status: Value = serde_yaml::from_str(&status).unwrap();
    assert_eq!(status["status"]["phase"], "Completed");
    let warnings = status["status"]["warnings"].to_string();
    assert!(warnings.contains("no report was written") && warnings.contains("write_dirs"), "{warnings}");
    let markdown = place.say(&["report", "mine"]);
    assert_eq!(markdown.code, 0, "{}", markdown.err);
    assert!(
        markdown.out.starts_with("# mine: LlamaBench\n\n> **Simulated") && markdown.out.contains("| tg4 |")
    );
}

#[test]
fn what_cannot_be_reported_is_said_with_the_documented_code() {
    let place = Place::new();
    let seeded = crate::cli_state::Seeded::new(&place);
    let record = seeded.request("slow", "LlamaBench", "{ service: simulated }", true);
    let run = seeded.run(&record, crate::cli_state::running());
    let said = place.say(&["report", "slow"]);
    assert_eq!(said.code, 4, "{}", said.err);
    assert!(said.err.contains("no run of slow has ended yet"), "{}", said.err);
    assert_eq!(place.say(&["report", &run.to_string()]).code, 1);
    assert_eq!(place.say(&["report", "nobody"]).code, 4);
    let said = place.say(&["report", "slow", "--rows", "requests"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("--rows is for CSV alone"), "{}", said.err);
}
