//! What changes between two texts, for a person to confirm.

/// A unified diff with three lines of context; empty where the texts are equal.
pub fn unified(path: &str, old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let (before, after) = (format!("a/{path}"), format!("b/{path}"));
    similar::TextDiff::from_lines(old, new)
        .unified_diff()
        .context_radius(3)
        .header(&before, &after)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_shows_the_line_and_three_around_it() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let diff = unified("compose.yml", old, &old.replace('5', "five"));
        assert!(diff.starts_with("--- a/compose.yml\n+++ b/compose.yml\n@@ -2,7 +2,7 @@\n"), "{diff}");
        assert!(diff.contains("-5\n+five\n"));
        assert_eq!(unified("x", old, old), "");
    }
}
