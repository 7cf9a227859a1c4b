use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::run::case::pool;
use crate::run::llama_bench_row::parse_rows;

fn params(given: &[(&str, &str)]) -> Vec<Param> {
    given.iter().map(|(flag, value)| Param { flag: (*flag).into(), value: (*value).into() }).collect()
}

/// A prompt and a generation case for each object of columns; rates grow from cell to cell for
/// prompts and shrink for generation.
fn matrix(cells: &[Value]) -> Vec<Case> {
    let mut text = String::new();
    for (at, columns) in cells.iter().enumerate() {
        for (n_prompt, n_gen, rate) in [(512, 0, 1000 + at * 100), (0, 128, 80 - at * 10)] {
            let mut row = columns.as_object().unwrap().clone();
            row.insert("n_prompt".into(), json!(n_prompt));
            row.insert("n_gen".into(), json!(n_gen));
            row.insert("avg_ts".into(), json!(rate));
            row.insert("stddev_ts".into(), json!(0.1));
            row.insert("samples_ts".into(), json!([rate]));
            text.push_str(&Value::Object(row).to_string());
            text.push('\n');
        }
    }
    pool(&[parse_rows(text.as_bytes()).rows])
}

fn two_batches() -> Vec<Case> {
    matrix(&[json!({"n_batch": 512, "n_threads": 4}), json!({"n_batch": 1024, "n_threads": 4})])
}

fn case(number: u32) -> ApplyOptions {
    ApplyOptions { case: Some(CaseSelector::Number(number)), ..ApplyOptions::default() }
}

fn columns(given: &[(&str, &str)]) -> ApplyOptions {
    let columns: BTreeMap<_, _> =
        given.iter().map(|(column, value)| ((*column).to_owned(), (*value).to_owned())).collect();
    ApplyOptions { case: Some(CaseSelector::Columns(columns)), ..ApplyOptions::default() }
}

fn metric(metric: Metric) -> ApplyOptions {
    ApplyOptions { metric: Some(metric), ..ApplyOptions::default() }
}

fn value<'a>(chosen: &'a Chosen, flag: &str) -> &'a str {
    &chosen.params.iter().find(|param| param.flag == flag).unwrap().value
}

/// The text that a flag gets from the second of two cells.
fn second(flag: &str, list: &str, cells: [Value; 2]) -> Result<String, Refusal> {
    let chosen = choose_params(&params(&[(flag, list)]), &matrix(&cells), &case(3))?;
    Ok(value(&chosen, flag).to_owned())
}

#[test]
fn a_run_of_one_cell_has_its_own_parameters() {
    let given = params(&[("-p", "512,1024"), ("-b", "512"), ("-fa", "on")]);
    let chosen =
        choose_params(&given, &matrix(&[json!({"n_batch": 512})]), &ApplyOptions::default()).unwrap();
    assert_eq!(chosen, Chosen { params: given, case: None, cell: String::new() });
}

#[test]
fn prompt_lengths_alone_are_no_choice() {
    let rows =
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/llama-cpp/bench/comma.stdout"));
    let cases = pool(&[parse_rows(rows).rows]);
    assert_eq!(cases.len(), 3);
    let given = params(&[("-p", "32,64"), ("-n", "16"), ("-b", "512")]);
    assert_eq!(choose_params(&given, &cases, &ApplyOptions::default()).unwrap().params, given);
}

#[test]
fn a_matrix_without_a_choice_is_refused_with_its_cells_named() {
    let refusal = choose_params(&params(&[("-b", "512,1024")]), &two_batches(), &ApplyOptions::default());
    let refusal = refusal.unwrap_err();
    assert_eq!(refusal.reason, Reason::CaseNeeded);
    assert_eq!(
        refusal.message,
        "the run is a matrix of 2 cells, and none is chosen: 1/2 (n_batch=512), 3/4 (n_batch=1024)"
    );
}

#[test]
fn a_number_chooses_a_cell_by_either_of_its_cases() {
    for number in [3, 4] {
        let chosen = choose_params(&params(&[("-b", "512,1024")]), &two_batches(), &case(number)).unwrap();
        assert_eq!((value(&chosen, "-b"), chosen.case), ("1024", Some(number)));
        assert_eq!(chosen.cell, "n_batch=1024");
    }
    let refusal = choose_params(&params(&[("-b", "512,1024")]), &two_batches(), &case(5)).unwrap_err();
    assert_eq!(refusal.reason, Reason::CaseNeeded);
    assert_eq!(refusal.message, "the run has 4 cases, and none of number 5");
}

#[test]
fn columns_and_flags_choose_a_cell() {
    for name in ["n_batch", "-b", "--batch-size"] {
        let options = columns(&[(name, "512")]);
        let chosen = choose_params(&params(&[("-b", "512,1024")]), &two_batches(), &options).unwrap();
        assert_eq!((value(&chosen, "-b"), chosen.case), ("512", Some(1)));
    }
    let cells = [
        json!({"n_batch": 1, "flash_attn": 0}),
        json!({"n_batch": 1, "flash_attn": 1}),
        json!({"n_batch": 2, "flash_attn": 0}),
        json!({"n_batch": 2, "flash_attn": 1}),
    ];
    let given = params(&[("-b", "1,2"), ("-fa", "off,on")]);
    let chosen = choose_params(&given, &matrix(&cells), &columns(&[("-b", "2"), ("flash_attn", "on")]));
    assert_eq!(chosen.unwrap().params, params(&[("-b", "2"), ("-fa", "on")]));
    let refusal = choose_params(&given, &matrix(&cells), &columns(&[("-b", "2")])).unwrap_err();
    assert_eq!(refusal.message, "2 cells of the run have -b=2; name more columns");
    let refusal = choose_params(&given, &matrix(&cells), &columns(&[("n_ubatch", "2")])).unwrap_err();
    assert_eq!(refusal.message, "no cell of the run has n_ubatch=2");
}

#[test]
fn a_metric_chooses_the_cell_of_the_highest_rate() {
    let given = params(&[("-b", "512,1024")]);
    let prompt = choose_params(&given, &two_batches(), &metric(Metric::PromptRate)).unwrap();
    assert_eq!((value(&prompt, "-b"), prompt.case), ("1024", Some(3)));
    let generation = choose_params(&given, &two_batches(), &metric(Metric::GenerationRate)).unwrap();
    assert_eq!((value(&generation, "-b"), generation.case), ("512", Some(2)));
    let prompts_only: Vec<Case> =
        two_batches().into_iter().filter(|case| case.kind == TestKind::Pp).collect();
    let refusal = choose_params(&given, &prompts_only, &metric(Metric::GenerationRate)).unwrap_err();
    assert_eq!(refusal.reason, Reason::CaseNeeded);
}

#[test]
fn the_requests_own_text_is_kept() {
    let flash = |value| json!({"flash_attn": value});
    assert_eq!(second("-fa", "off,on", [flash(0), flash(1)]).unwrap(), "on");
    assert_eq!(second("-fa", "off,auto", [flash(0), flash(-1)]).unwrap(), "auto");
    let old = [json!({"flash_attn": false}), json!({"flash_attn": true})];
    assert_eq!(second("--flash-attn", "0,1", old).unwrap(), "1");
    assert_eq!(second("-t", "04,08", [json!({"n_threads": 4}), json!({"n_threads": 8})]).unwrap(), "08");
    let split = |text| json!({"tensor_split": text});
    assert_eq!(second("-ts", "1,3/1", [split("1.00"), split("3.00/1.00")]).unwrap(), "3/1");
    let mask = |text| json!({"cpu_mask": text});
    assert_eq!(second("-C", "0x01,0x0f", [mask("0x1"), mask("0xF")]).unwrap(), "0x0f");
    let switch = |value| json!({"no_kv_offload": value});
    assert_eq!(second("-nkvo", "0,1", [switch(false), switch(true)]).unwrap(), "1");
    let overrides = |text| json!({"tensor_buft_overrides": text});
    let cells = [overrides("x=CPU"), overrides("a=CPU;b=CPU")];
    assert_eq!(second("-ot", "x=CPU,a=CPU;b=CPU", cells).unwrap(), "a=CPU;b=CPU");
    let kv = |text| json!({"type_k": text});
    assert_eq!(second("-ctk", "f16,q8_0", [kv("f16"), kv("q8_0")]).unwrap(), "q8_0");
}

#[test]
fn a_ranges_cell_is_its_number() {
    let cells = || [json!({"n_threads": 2}), json!({"n_threads": 4})];
    assert_eq!(second("-t", "2-8*2", cells()).unwrap(), "4");
    assert_eq!(second("-t", "1,2-4+2", cells()).unwrap(), "4");
    assert_eq!(second("-t", "8-9", cells()).unwrap_err().reason, Reason::InvalidValue);
}

#[test]
fn a_flag_given_twice_is_one_list() {
    let given = params(&[("-b", "512"), ("--batch-size", "1024")]);
    let chosen = choose_params(&given, &two_batches(), &case(3)).unwrap();
    assert_eq!(chosen.params, params(&[("-b", "1024")]));
}

#[test]
fn a_new_flag_is_found_by_its_long_name() {
    let cells = [json!({"brand_new": 1}), json!({"brand_new": 2})];
    assert_eq!(second("--brand-new", "1,2", cells).unwrap(), "2");
}

#[test]
fn a_list_that_the_results_do_not_tell_apart_is_refused() {
    let given = params(&[("-b", "512,1024"), ("-lzm", "on,off")]);
    let refusal = choose_params(&given, &two_batches(), &case(1)).unwrap_err();
    assert_eq!(refusal.reason, Reason::InvalidValue);
    assert!(refusal.message.starts_with("-lzm on,off cannot be applied"), "{}", refusal.message);
    let same = params(&[("-b", "512,1024"), ("-fa", "on,1")]);
    assert_eq!(value(&choose_params(&same, &two_batches(), &case(1)).unwrap(), "-fa"), "on");
}

#[test]
fn another_build_or_machine_is_no_other_cell() {
    let mut cases = matrix(&[json!({"build_commit": "a"}), json!({"build_commit": "b"})]);
    assert_eq!(cases.len(), 4);
    let given = params(&[("-b", "512")]);
    assert_eq!(choose_params(&given, &cases, &ApplyOptions::default()).unwrap().case, None);
    cases.clear();
    assert_eq!(choose_params(&given, &cases, &ApplyOptions::default()).unwrap().params, given);
}

#[test]
fn the_servers_flags_go_over_and_the_benchmarks_own_are_skipped() {
    let given = params(&[("-p", "512,1024"), ("-r", "5"), ("-b", "512"), ("-nkvo", "0"), ("-hfx", "a")]);
    let translated = translate(&given).unwrap();
    let applied = [("-b", "512"), ("-nkvo", "0")].map(|(flag, value)| (flag.to_owned(), value.to_owned()));
    assert_eq!(translated.applied, applied);
    assert_eq!(translated.changes.len(), 2);
    let skipped: Vec<&str> = translated.skipped.iter().map(|(flag, _)| flag.as_str()).collect();
    assert_eq!(skipped, ["-p", "-r", "-hfx"]);
}

#[test]
fn nothing_to_apply_and_what_cannot_be_applied_are_refused() {
    let refusal = translate(&params(&[("-p", "512"), ("-n", "128")])).unwrap_err();
    assert_eq!(refusal.reason, Reason::NothingToApply);
    let refusal = translate(&params(&[("-b", "512"), ("-nkvo", "2")])).unwrap_err();
    assert_eq!(refusal.reason, Reason::InvalidValue);
}
