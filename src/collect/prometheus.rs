//! Reads the Prometheus text format, and of OpenMetrics what looks the same:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>. Fetches nothing and knows no
//! engine's names. What is no sample is passed over, since one odd line must not cost all others.

use std::collections::BTreeMap;

use crate::run::measure_plan::CollectorPlan;

/// The value of every name, its series added up. Left out are the parts of histograms and summaries
/// that do not add up (buckets and quantiles; `_sum` and `_count` stay), NaN and infinities.
pub fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for (name, value) in series(text) {
        *sums.entry(name).or_default() += value;
    }
    sums.into_iter().filter(|(_, sum)| sum.is_finite()).map(|(name, sum)| (name.to_owned(), sum)).collect()
}

/// What a collector asks for of the text that its endpoint gave, as `<collector>.<metric>`; a metric
/// that the text lacks is left out.
pub fn collector_values(text: &str, plan: &CollectorPlan) -> BTreeMap<String, f64> {
    let values = parse(text);
    plan.metrics
        .iter()
        .filter_map(|metric| Some((format!("{}.{metric}", plan.name), *values.get(metric)?)))
        .collect()
}

/// Each series' name and its value, in the text's order, without what [`parse`] leaves out.
pub(super) fn series(text: &str) -> impl Iterator<Item = (&str, f64)> {
    text.lines().filter_map(sample)
}

/// `name{label="value",…} value [timestamp]`.
fn sample(line: &str) -> Option<(&str, f64)> {
    let line = line.trim();
    let (name, rest) = line.split_at(line.find(|c: char| c == '{' || c.is_whitespace())?);
    if !is_name(name) {
        return None;
    }
    let rest = rest.trim_start();
    let rest = match rest.strip_prefix('{') {
        Some(labels) => after_labels(labels)?,
        None => rest,
    };
    let value: f64 = rest.split_whitespace().next()?.parse().ok()?;
    value.is_finite().then_some((name, value))
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

/// What follows the brace that closes the labels; `None` where none does, or where a label says that
/// this is one bucket or quantile of several.
fn after_labels(labels: &str) -> Option<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let mut label = 0;
    for (at, character) in labels.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            ',' => label = at + 1,
            '=' if matches!(labels[label..at].trim(), "le" | "quantile") => return None,
            '}' => return Some(&labels[at + 1..]),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, name: &str) -> Option<f64> {
        parse(text).get(name).copied()
    }

    #[test]
    fn series_of_one_name_are_added_up() {
        let text = "# HELP a Help.\n# TYPE a counter\na{engine=\"0\"} 1.5\na{engine=\"1\"} 2\n\nb 7\n";
        assert_eq!(parse(text), BTreeMap::from([("a".to_owned(), 3.5), ("b".to_owned(), 7.0)]));
    }

    #[test]
    fn labels_may_hold_braces_quotes_commas_and_backslashes() {
        let text = r#"a{path="C:\\",say="\"}\" le=1,",} 4"#;
        assert_eq!(value(text, "a"), Some(4.0));
        assert_eq!(value(r#"a { x = "1" } 5"#, "a"), Some(5.0));
        assert_eq!(value("a{} 6", "a"), Some(6.0));
    }

    #[test]
    fn timestamps_and_exemplars_are_no_part_of_the_value() {
        assert_eq!(value("a 3 1395066363000", "a"), Some(3.0));
        assert_eq!(value("a{x=\"y\"} 1.795e+09 1395066363.5 # {trace=\"z\"} 9", "a"), Some(1.795e9));
        assert_eq!(value("a\t-2E-3\r\n", "a"), Some(-0.002));
    }

    #[test]
    fn what_is_not_a_number_is_left_out_and_costs_no_other_series() {
        let text = "a{x=\"1\"} NaN\na{x=\"2\"} 2\nb NaN\nc +Inf\nd -Inf\n";
        assert_eq!(parse(text), BTreeMap::from([("a".to_owned(), 2.0)]));
    }

    #[test]
    fn buckets_and_quantiles_are_not_added_up_while_sum_and_count_stay() {
        let text = "h_bucket{le=\"0.5\"} 1\nh_bucket{x=\"y\", le=\"+Inf\"} 3\nh_sum 0.7\nh_count 3\n\
                    s{quantile=\"0.5\"} 9\nleaky_bucket 4\n";
        let expected = [("h_sum", 0.7), ("h_count", 3.0), ("leaky_bucket", 4.0)];
        assert_eq!(parse(text), expected.map(|(name, value)| (name.to_owned(), value)).into());
    }

    #[test]
    fn text_that_is_no_metric_is_passed_over() {
        for text in ["", "a", "a{x=\"1\" 5", "<html> 5", "404 1", "a{x=\"1\"}", "a one", "{\"a.b\"} 1"] {
            assert_eq!(parse(text), BTreeMap::new(), "{text}");
        }
        assert_eq!(value("a{x=\"cut\nb 2\n", "b"), Some(2.0));
    }

    #[test]
    fn a_collector_gets_the_metrics_that_it_names_under_its_own_name() {
        let plan = CollectorPlan {
            name: "node".to_owned(),
            url: "http://127.0.0.1:9100/metrics".to_owned(),
            metrics: vec!["up".to_owned(), "absent".to_owned()],
        };
        let found = collector_values("up{a=\"1\"} 1\nup{a=\"2\"} 1\nother 5\n", &plan);
        assert_eq!(found, BTreeMap::from([("node.up".to_owned(), 2.0)]));
    }
}
