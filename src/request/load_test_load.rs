//! `load:` and `output:` of a load test: how requests arrive, when a case ends, what is asked for.

use super::fields::Fields;
use super::load_test::{Amount, Arrivals, Load, LoadShape, Output};
use super::load_test_schema::{LOAD, OUTPUT};
use super::load_test_size::{MOST_CONCURRENT, MOST_ENTRIES, MOST_REQUESTS, MOST_TOKENS};
use super::quantities;

const DEFAULT_CONCURRENCY: u32 = 1;

/// `default_requests` is the preset's.
pub fn decode(spec: &Fields<'_>, default_requests: u32) -> Load {
    let fields = spec.get("load").and_then(|node| Fields::new(node, "spec.load", LOAD, spec.problems));
    let Some(fields) = fields else {
        return Load {
            shape: LoadShape::Closed { concurrency: vec![DEFAULT_CONCURRENCY] },
            amount: Amount::Requests(vec![default_requests]),
            ramp_up_ms: 0,
        };
    };
    Load {
        shape: shape(&fields),
        amount: amount(&fields, default_requests),
        ramp_up_ms: fields.parsed("rampUp", quantities::time_or_zero).unwrap_or(0),
    }
}

fn shape(fields: &Fields<'_>) -> LoadShape {
    let concurrency = fields.parsed_list("concurrency", MOST_ENTRIES, concurrency);
    let rates = fields.parsed_list("rate", MOST_ENTRIES, quantities::rate);
    let arrivals =
        fields.choice("arrivals", &[("Poisson", Arrivals::Poisson), ("Constant", Arrivals::Constant)]);
    match (fields.get("concurrency").is_some(), fields.get("rate").is_some()) {
        (true, true) => fields.refuse(
            "rate",
            "cannot stand beside concurrency",
            "keep rate for requests that arrive whatever the server does, concurrency for workers that wait",
        ),
        (_, false) => {
            fields.refuse("arrivals", "needs a rate", "with concurrency a request follows the end of another")
        }
        (false, true) => {}
    }
    match rates {
        Some(rates) => LoadShape::Open { rates, arrivals: arrivals.unwrap_or_default() },
        None => LoadShape::Closed { concurrency: concurrency.unwrap_or_else(|| vec![DEFAULT_CONCURRENCY]) },
    }
}

fn amount(fields: &Fields<'_>, default_requests: u32) -> Amount {
    let counts = fields.parsed_list("requests", MOST_ENTRIES, requests);
    let duration = fields.parsed("duration", quantities::time);
    if fields.get("requests").is_some() && fields.get("duration").is_some() {
        fields.refuse(
            "duration",
            "cannot stand beside requests",
            "a case ends after so many requests or after a time; keep one of them",
        );
    }
    match duration {
        Some(duration) => Amount::DurationMs(duration),
        None => Amount::Requests(counts.unwrap_or_else(|| vec![default_requests])),
    }
}

pub fn decode_output(spec: &Fields<'_>) -> Output {
    let fields = spec.get("output").and_then(|node| Fields::new(node, "spec.output", OUTPUT, spec.problems));
    let fields = fields.as_ref();
    Output {
        max_tokens: fields.and_then(|fields| fields.parsed("maxTokens", tokens)).unwrap_or(512),
        temperature: fields.and_then(|fields| fields.parsed("temperature", temperature)).unwrap_or(0.7),
        ignore_eos: fields.and_then(|fields| fields.boolean("ignoreEos")).unwrap_or(false),
    }
}

pub(super) fn concurrency(text: &str) -> Result<u32, String> {
    quantities::whole(text, 1, MOST_CONCURRENT)
}

pub(super) fn requests(text: &str) -> Result<u32, String> {
    quantities::whole(text, 1, MOST_REQUESTS)
}

pub(super) fn tokens(text: &str) -> Result<u32, String> {
    quantities::whole(text, 1, MOST_TOKENS)
}

pub(super) fn temperature(text: &str) -> Result<f64, String> {
    quantities::number(text, 0.0, 2.0)
}
