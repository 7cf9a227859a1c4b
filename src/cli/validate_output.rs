//! How `validate` prints problems: with the source for people, as JSON, as GitHub's annotations.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value, json};

use super::error::CliError;
use super::output::{Console, clean};
use super::validate::{Checked, Report};
use crate::report::escape::visible;
use crate::request::diagnostic::{Diagnostic, Severity};

/// The source line with a mark below the place, and a summary.
pub fn text(report: &Report, console: &mut Console) -> Result<(), CliError> {
    let renderer = if console.colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    for file in &report.files {
        for problem in &file.problems {
            let shown = renderer.render(&groups(file, problem));
            // The renderer's own colours are the only control characters; without them there are none.
            let shown = if console.colour { shown.into() } else { visible(&shown) };
            console.line(shown)?;
            console.line("")?;
        }
    }
    console.line(summary(report))
}

fn groups<'f>(file: &'f Checked, problem: &'f Diagnostic) -> Vec<Group<'f>> {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(clean(&problem.message));
    let mut group = match &problem.place.span {
        Some(span) => {
            let end = file.source.len();
            let start = file.source.floor_char_boundary(span.start.min(end));
            // A block's span is many lines long; its first line says where it is.
            let line_end = file.source[start..].find('\n').map_or(end, |at| start + at);
            let stop = file.source.floor_char_boundary(span.end.clamp(start, line_end));
            let snippet = Snippet::source(file.source.as_ref())
                .path(clean(&file.shown))
                .annotation(AnnotationKind::Primary.span(start..stop));
            title.element(snippet)
        }
        None => title.element(annotate_snippets::Origin::path(clean(&file.shown))),
    };
    if let Some(hint) = &problem.hint {
        group = group.element(Level::HELP.message(clean(hint)));
    }
    vec![group]
}

fn summary(report: &Report) -> String {
    let counted = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    };
    let (errors, warnings) = (report.count(Severity::Error), report.count(Severity::Warning));
    let (data, files) = (report.data().count(), report.files.len());
    let requests = match (report.requests(), data) {
        (requests, 0) => counted(requests, "valid request"),
        (0, data) => counted(data, "conversations file"),
        (requests, data) => {
            format!("{} and {}", counted(requests, "valid request"), counted(data, "conversations file"))
        }
    };
    let files = counted(files, "file");
    match (errors, warnings) {
        (0, 0) => format!("{requests} in {files}"),
        (0, _) => format!("{requests} in {files}, {}", counted(warnings, "warning")),
        (_, 0) => format!("{requests} in {files}, {}", counted(errors, "error")),
        (_, _) => {
            format!("{requests} in {files}, {}, {}", counted(errors, "error"), counted(warnings, "warning"))
        }
    }
}

/// One object with all problems in the order of the files.
pub fn json(report: &Report, console: &mut Console) -> Result<(), CliError> {
    let mut problems = Vec::new();
    let mut requests = Vec::new();
    for file in &report.files {
        for problem in &file.problems {
            let mut value = serde_json::to_value(problem.locate(&file.source))?;
            let whole = json!({ "file": file.shown });
            if let (Some(fields), Value::Object(mut whole)) = (value.as_object_mut(), whole) {
                fields["severity"] = json!(word(problem));
                whole.append(fields);
                problems.push(Value::Object(whole));
            }
        }
        for request in &file.requests {
            requests.push(json!({
                "file": file.shown,
                "name": request.name,
                "kind": request.spec.kind(),
                "specHash": request.spec_hash,
            }));
        }
    }
    console.json(&json!({
        "valid": report.count(Severity::Error) == 0,
        "files": report.files.len(),
        "requests": requests,
        "conversations": report.data().map(|file| &file.shown).collect::<Vec<_>>(),
        "problems": problems,
    }))
}

fn word(problem: &Diagnostic) -> &'static str {
    match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// `::error file=…,line=…,col=…::message`, one a line.
pub fn github(report: &Report, console: &mut Console) -> Result<(), CliError> {
    for file in &report.files {
        for problem in &file.problems {
            let located = problem.locate(&file.source);
            let mut line = format!("::{} file={}", word(problem), property(&file.shown));
            if let (Some(number), Some(column)) = (located.line, located.column) {
                line.push_str(&format!(",line={number},col={column}"));
            }
            let message = match &located.hint {
                Some(hint) => format!("{} ({hint})", located.message),
                None => located.message,
            };
            line.push_str(&format!("::{}", data(&message)));
            console.line(clean(&line))?;
        }
    }
    Ok(())
}

/// What would end the message or begin an escape.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// In a property a comma and a colon end it as well.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_an_annotation_is_escaped() {
        assert_eq!(property("a,b:c%.yaml"), "a%2Cb%3Ac%25.yaml");
        assert_eq!(data("one\ntwo: 100 %, \r"), "one%0Atwo: 100 %25, %0D");
    }
}
