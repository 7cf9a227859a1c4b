//! What engines say of themselves at `/metrics`, in the names of [`crate::run::series`]. Fetches
//! nothing. What an engine does not say is left out.

use std::collections::BTreeMap;

use super::prometheus::series;
use crate::run::measure_plan::Dialect;

/// The engine's own metrics of the text that its `/metrics` gave. Names carry their engine's prefix,
/// so behind a dialect that several engines speak each is looked for.
pub fn engine_values(text: &str, dialect: &Dialect) -> BTreeMap<String, f64> {
    let scrape = Scrape::of(text);
    let found: Vec<(&str, Option<f64>)> = match dialect {
        Dialect::LlamaCpp => llama_cpp(&scrape).into(),
        Dialect::Vllm => vllm(&scrape).into(),
        Dialect::OpenAi | Dialect::Custom(_) => llama_cpp(&scrape).into_iter().chain(vllm(&scrape)).collect(),
        // It has no such endpoint.
        Dialect::Ollama => Vec::new(),
    };
    found.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Prompt tokens that an engine looked for in its prefix cache, and those that it found there, since it
/// started.
pub fn prefix_cache_counters(text: &str, dialect: &Dialect) -> Option<(f64, f64)> {
    let values = engine_values(text, dialect);
    Some((*values.get(PREFIX_QUERIES)?, *values.get(PREFIX_HITS)?))
}

const RUNNING: &str = "engine_requests_running";
const WAITING: &str = "engine_requests_waiting";
const KV_CACHE: &str = "engine_kv_cache_percent";
const PREFIX_HITS: &str = "engine_prefix_cache_hits_total";
const PREFIX_QUERIES: &str = "engine_prefix_cache_queries_total";

/// vLLM 0.32, and the names of its KV cache before 0.11.
fn vllm(scrape: &Scrape) -> [(&'static str, Option<f64>); 5] {
    let either = |new: &str, old: &str| scrape.sum(new).or_else(|| scrape.sum(old));
    let kv_cache =
        scrape.mean("vllm:kv_cache_usage_perc").or_else(|| scrape.mean("vllm:gpu_cache_usage_perc"));
    [
        (RUNNING, scrape.sum("vllm:num_requests_running")),
        (WAITING, scrape.sum("vllm:num_requests_waiting")),
        // Its "perc" is a share of 1.
        (KV_CACHE, kv_cache.map(|share| share * 100.0)),
        (PREFIX_HITS, either("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total")),
        (PREFIX_QUERIES, either("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total")),
    ]
}

/// llama-server with `--metrics`. The share of its KV cache is told by old builds only, the tokens
/// that came from the cache by new ones only.
fn llama_cpp(scrape: &Scrape) -> [(&'static str, Option<f64>); 5] {
    let cached = scrape.sum("llamacpp:prompt_tokens_cached_total");
    // Counts what was computed; vLLM's queries count what was asked for.
    let computed = scrape.sum("llamacpp:prompt_tokens_total");
    [
        (RUNNING, scrape.sum("llamacpp:requests_processing")),
        (WAITING, scrape.sum("llamacpp:requests_deferred")),
        (KV_CACHE, scrape.mean("llamacpp:kv_cache_usage_ratio").map(|share| share * 100.0)),
        (PREFIX_HITS, cached),
        (PREFIX_QUERIES, cached.zip(computed).map(|(cached, computed)| cached + computed)),
    ]
}

/// Sum and number of each name's series.
struct Scrape<'a>(BTreeMap<&'a str, (f64, f64)>);

impl<'a> Scrape<'a> {
    fn of(text: &'a str) -> Self {
        let mut names = BTreeMap::new();
        for (name, value) in series(text) {
            let (sum, count) = names.entry(name).or_insert((0.0, 0.0));
            *sum += value;
            *count += 1.0;
        }
        Self(names)
    }

    fn sum(&self, name: &str) -> Option<f64> {
        self.0.get(name).map(|(sum, _)| *sum).filter(|sum| sum.is_finite())
    }

    /// Shares of several engines behind one endpoint do not add up; their caches are of one size.
    fn mean(&self, name: &str) -> Option<f64> {
        self.0.get(name).map(|(sum, count)| sum / count).filter(|mean| mean.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VLLM: &str = include_str!("../../tests/fixtures/engines/vllm-metrics.txt");
    const LLAMA_CPP: &str = include_str!("../../tests/fixtures/llama-cpp/server/metrics.body");

    fn values(expected: &[(&str, f64)]) -> BTreeMap<String, f64> {
        expected.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn vllms_own_text_is_read() {
        let idle =
            [(RUNNING, 0.0), (WAITING, 0.0), (KV_CACHE, 0.0), (PREFIX_HITS, 0.0), (PREFIX_QUERIES, 24.0)];
        assert_eq!(engine_values(VLLM, &Dialect::Vllm), values(&idle));
        assert_eq!(engine_values(VLLM, &Dialect::OpenAi), values(&idle), "vLLM behind its API's own name");
    }

    #[test]
    fn llama_servers_own_text_is_read_and_what_it_does_not_tell_is_left_out() {
        let found = engine_values(LLAMA_CPP, &Dialect::LlamaCpp);
        let expected = [(RUNNING, 0.0), (WAITING, 0.0), (PREFIX_HITS, 148.0), (PREFIX_QUERIES, 204.0)];
        assert_eq!(found, values(&expected));
    }

    #[test]
    fn an_old_llama_server_tells_its_kv_cache_and_no_cached_tokens() {
        let text = "llamacpp:kv_cache_usage_ratio 0.25\nllamacpp:requests_processing 2\n\
                    llamacpp:requests_deferred 1\nllamacpp:prompt_tokens_total 10\n";
        let expected = [(RUNNING, 2.0), (WAITING, 1.0), (KV_CACHE, 25.0)];
        assert_eq!(engine_values(text, &Dialect::LlamaCpp), values(&expected));
    }

    #[test]
    fn several_vllm_engines_add_their_requests_and_share_their_caches_mean() {
        let text = "vllm:num_requests_running{engine=\"0\"} 3\nvllm:num_requests_running{engine=\"1\"} 5\n\
                    vllm:kv_cache_usage_perc{engine=\"0\"} 0.5\nvllm:kv_cache_usage_perc{engine=\"1\"} 1\n";
        assert_eq!(engine_values(text, &Dialect::Vllm), values(&[(RUNNING, 8.0), (KV_CACHE, 75.0)]));
    }

    #[test]
    fn vllms_older_names_are_known_and_do_not_count_twice_beside_the_new_ones() {
        let old = "vllm:gpu_cache_usage_perc 0.5\nvllm:gpu_prefix_cache_hits_total 1\n\
                   vllm:gpu_prefix_cache_queries_total 4\n";
        let expected = values(&[(KV_CACHE, 50.0), (PREFIX_HITS, 1.0), (PREFIX_QUERIES, 4.0)]);
        assert_eq!(engine_values(old, &Dialect::Vllm), expected);
        let both = format!("{old}{}", old.replace("gpu_", "").replace("vllm:cache", "vllm:kv_cache"));
        assert_eq!(engine_values(&both, &Dialect::Vllm), expected);
    }

    #[test]
    fn another_engines_text_and_an_engine_without_metrics_say_nothing() {
        assert_eq!(engine_values(VLLM, &Dialect::LlamaCpp), BTreeMap::new());
        assert_eq!(engine_values(VLLM, &Dialect::Ollama), BTreeMap::new());
        assert_eq!(engine_values("<html>Not Found</html>", &Dialect::OpenAi), BTreeMap::new());
    }
}
