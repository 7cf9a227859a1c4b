//! From the bytes of `records.jsonl` to records, sorted by target and case. Reads what is there and
//! counts what it cannot read; judges nothing.

use std::collections::BTreeMap;

use super::request_record::{
    CaseEnded, CaseSkipped, CaseStarted, CountedTokens, Line, Record, TargetFacts, TurnEnded,
};

/// What a run measured so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Records {
    /// Of each target, once for each of its models that was asked for.
    pub targets: Vec<TargetFacts>,
    /// By the index in the plan's cases. One that is absent has not begun.
    pub passes: BTreeMap<usize, PassRecords>,
    /// Lines that are no records; one of them, the last, where writing was interrupted.
    pub bad_lines: u64,
}

/// One case of the plan, one repeat.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PassRecords {
    pub started: Option<CaseStarted>,
    pub ended: Option<CaseEnded>,
    /// In the order in which they ended.
    pub records: Vec<Record>,
    /// Of a conversation.
    pub turns: Vec<TurnEnded>,
    pub skipped: Option<CaseSkipped>,
}

impl Records {
    /// What a target said of a model, `None` being the one that it names first. A run that was resumed has it
    /// twice.
    pub fn facts(&self, target: usize, model: Option<&str>) -> Option<&TargetFacts> {
        let mut of_target = self.targets.iter().rev().filter(|facts| facts.target == target);
        of_target.find(|facts| model.is_none() || facts.model.as_deref() == model)
    }
}

/// Reads all lines; a torn one costs itself only. A case that was started twice counts from its last
/// start, as its clock began anew there. Tokens that were counted afterwards are put into their request's
/// record, where its answer told none.
pub fn read_records(bytes: &[u8]) -> Records {
    let mut read = Records::default();
    let mut counted: BTreeMap<usize, BTreeMap<u64, CountedTokens>> = BTreeMap::new();
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        match serde_json::from_slice(line) {
            Ok(Line::Target(facts)) => {
                read.targets.push(facts);
            }
            Ok(Line::Started(started)) => {
                counted.remove(&started.index);
                let pass = PassRecords { started: Some(started.clone()), ..PassRecords::default() };
                read.passes.insert(started.index, pass);
            }
            Ok(Line::Request(record)) => {
                read.passes.entry(record.index).or_default().records.push(record);
            }
            Ok(Line::Turn(turn)) => read.passes.entry(turn.index).or_default().turns.push(turn),
            Ok(Line::Skipped(skipped)) => {
                let pass = read.passes.entry(skipped.index).or_default();
                pass.skipped = Some(skipped);
            }
            Ok(Line::Ended(ended)) => {
                let pass = read.passes.entry(ended.index).or_default();
                pass.ended = Some(ended);
            }
            Ok(Line::Counted(tokens)) => {
                counted.entry(tokens.index).or_default().insert(tokens.n, tokens);
            }
            Err(_) => read.bad_lines += 1,
        }
    }
    for (index, pass) in &mut read.passes {
        let Some(counted) = counted.get(index) else { continue };
        for record in pass.records.iter_mut().filter(|record| !record.warmup) {
            if let Some(tokens) = counted.get(&record.n) {
                put(tokens, record);
            }
        }
    }
    read
}

fn put(counted: &CountedTokens, record: &mut Record) {
    if record.tokens_out.is_none() {
        record.tokens_out = Some(counted.tokens_out);
        record.tokens_in = record.tokens_in.or(counted.tokens_in);
        record.token_source = Some(counted.source);
    }
}

#[cfg(test)]
mod tests {
    use super::super::request_record::TokenSource;
    use super::*;

    fn line(line: &Line) -> String {
        let mut text = serde_json::to_string(line).unwrap();
        text.push('\n');
        text
    }

    fn started(index: usize) -> String {
        line(&Line::Started(CaseStarted {
            index,
            unix_ms: 0,
            threads: 1,
            model: None,
            cache: "salted".to_owned(),
        }))
    }

    fn request(index: usize, n: u64) -> String {
        line(&Line::Request(Record { index, n, end_us: 10, ..Record::default() }))
    }

    fn ended(index: usize) -> String {
        line(&Line::Ended(CaseEnded {
            index,
            unix_ms: 1,
            wall_us: 10,
            client_cpu_us: 1,
            busiest_thread_cpu_us: 1,
            cut_short: false,
            early: None,
        }))
    }

    #[test]
    fn records_are_sorted_by_their_case() {
        let facts = line(&Line::Target(TargetFacts { target: 1, ..TargetFacts::default() }));
        let text =
            [facts, started(0), request(0, 0), ended(0), started(2), request(2, 0), request(2, 1)].concat();
        let read = read_records(text.as_bytes());
        assert_eq!(read.targets.iter().map(|facts| facts.target).collect::<Vec<_>>(), [1]);
        assert_eq!(read.passes.keys().collect::<Vec<_>>(), [&0, &2]);
        assert!(read.passes[&0].ended.is_some() && read.passes[&2].ended.is_none());
        assert_eq!(read.passes[&2].records.iter().map(|record| record.n).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(read.bad_lines, 0);
    }

    fn counted(index: usize, n: u64, tokens_out: u64) -> String {
        let source = TokenSource::Tokenizer;
        line(&Line::Counted(CountedTokens { index, n, tokens_in: Some(3), tokens_out, source }))
    }

    #[test]
    fn tokens_that_were_counted_afterwards_are_put_where_none_were_told() {
        let told = Record {
            n: 1,
            tokens_in: Some(8),
            tokens_out: Some(9),
            token_source: Some(TokenSource::Usage),
            ..Record::default()
        };
        let warm = Record { n: 0, warmup: true, ..Record::default() };
        let chunks = Record { token_source: Some(TokenSource::Chunks), ..Record::default() };
        let [told, warm, chunks] = [told, warm, chunks].map(|record| line(&Line::Request(record)));
        let counts = [counted(0, 0, 5), counted(0, 1, 6), counted(0, 7, 7), counted(1, 0, 8)].concat();
        let text = [started(0), warm, chunks, told, ended(0), counts].concat();
        let read = read_records(text.as_bytes());
        let found: Vec<_> = read.passes[&0]
            .records
            .iter()
            .map(|record| (record.tokens_in, record.tokens_out, record.token_source))
            .collect();
        let (usage, tokenizer) = (Some(TokenSource::Usage), Some(TokenSource::Tokenizer));
        assert_eq!(
            found,
            [(None, None, None), (Some(3), Some(5), tokenizer), (Some(8), Some(9), usage)],
            "warm-up, chunks, told"
        );
        assert_eq!((read.passes.len(), read.bad_lines), (1, 0));
    }

    #[test]
    fn counts_of_a_first_try_are_left_behind_with_it() {
        let text = [started(0), request(0, 0), counted(0, 0, 5), started(0), request(0, 0)].concat();
        assert_eq!(read_records(text.as_bytes()).passes[&0].records[0].tokens_out, None);
    }

    #[test]
    fn a_torn_last_line_costs_only_itself() {
        let text = [started(0), request(0, 0), request(0, 1)].concat();
        for cut in 1..request(0, 1).len() - 1 {
            let read = read_records(&text.as_bytes()[..text.len() - 1 - cut]);
            assert_eq!((read.passes[&0].records.len(), read.bad_lines), (1, 1), "cut {cut}");
        }
        let whole = read_records(&text.as_bytes()[..text.len() - 1]);
        assert_eq!((whole.passes[&0].records.len(), whole.bad_lines), (2, 0));
    }

    #[test]
    fn other_lines_are_counted_and_nothing_else() {
        let text = format!("{}garbage\n\n{{\"other\":1}}\n\u{fffd}\n{}", started(0), request(0, 0));
        let read = read_records(text.as_bytes());
        assert_eq!((read.passes[&0].records.len(), read.bad_lines), (1, 3));
        assert_eq!(read_records(b""), Records::default());
    }

    #[test]
    fn a_case_that_begins_anew_leaves_its_first_try_behind() {
        let text = [started(0), request(0, 0), request(0, 1), started(0), request(0, 0)].concat();
        assert_eq!(read_records(text.as_bytes()).passes[&0].records.len(), 1);
    }
}
