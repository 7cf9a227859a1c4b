//! A report as one HTML page that needs nothing else: style and pictures inside, no script, light or dark
//! as the reader's system is. Renders the outline.

use super::content::Report;
use super::escape::html as escaped;
use super::outline::{self, Block, Table};
use super::plot::{self, Figure};

const STYLE: &str = include_str!("page.css");

pub fn render(report: &Report) -> String {
    let title = escaped(&format!("{}: {} report", report.request.name, report.request.kind));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{STYLE}{}</style>\n</head>\n<body>\n<main>\n",
        plot::STYLE
    );
    for block in outline::blocks(report) {
        put(&mut out, &block);
    }
    let version = report.system.as_ref().and_then(|system| system.benchlet_version.as_deref());
    let by = version.map(|version| format!("benchlet {version}")).unwrap_or_else(|| "benchlet".to_owned());
    out.push_str(&format!(
        "<footer>Measured by {} · run {}</footer>\n</main>\n</body>\n</html>\n",
        escaped(&by),
        escaped(&report.run.id)
    ));
    out
}

fn put(out: &mut String, block: &Block) {
    match block {
        Block::Heading(level, text) => out.push_str(&format!("<h{level}>{}</h{level}>\n", escaped(text))),
        Block::Notice(text) => {
            out.push_str(&format!("<p class=\"notice\" role=\"note\">{}</p>\n", escaped(text)));
        }
        Block::Text(text) => out.push_str(&format!("<p>{}</p>\n", escaped(text))),
        Block::Facts(facts) => {
            out.push_str("<dl>\n");
            for (name, value) in facts {
                out.push_str(&format!("<dt>{}</dt><dd>{}</dd>\n", escaped(name), escaped(value)));
            }
            out.push_str("</dl>\n");
        }
        Block::List(lines) => {
            let items = lines.iter().map(|line| format!("<li>{}</li>\n", escaped(line)));
            out.push_str(&format!("<ul>\n{}</ul>\n", items.collect::<String>()));
        }
        Block::Table(table) => out.push_str(&table_text(table)),
        Block::Verbatim(text) => out.push_str(&format!("<pre tabindex=\"0\">{}</pre>\n", escaped(text))),
        Block::Figures(figures) => gallery(out, figures),
        Block::Gallery(title, figures) => {
            out.push_str(&format!("<h2>{}</h2>\n", escaped(title)));
            gallery(out, figures);
        }
        Block::Fold(title, blocks) => {
            out.push_str(&format!("<details>\n<summary>{}</summary>\n", escaped(title)));
            blocks.iter().for_each(|block| put(out, block));
            out.push_str("</details>\n");
        }
    }
}

fn gallery(out: &mut String, figures: &[Figure]) {
    let drawn: String = figures.iter().filter_map(figure).collect();
    if !drawn.is_empty() {
        out.push_str(&format!("<div class=\"figures\">\n{drawn}</div>\n"));
    }
}

fn figure(figure: &Figure) -> Option<String> {
    let svg = plot::svg(figure)?;
    let keys: String = plot::legend(&figure.chart)
        .into_iter()
        .map(|(colour, name)| format!("<span class=\"key s{colour}\">{}</span> ", escaped(name)))
        .collect();
    let keys = if keys.is_empty() { keys } else { format!("<div class=\"keys\">{keys}</div>") };
    let title = escaped(&figure.title);
    let mark = mark(figure.simulated);
    Some(format!("<figure>\n<figcaption>{title}{mark}{keys}</figcaption>\n{svg}\n</figure>\n"))
}

fn mark(simulated: bool) -> &'static str {
    if simulated { " <span class=\"simulated\">simulated</span>" } else { "" }
}

fn table_text(table: &Table) -> String {
    let class = |number: bool| if number { " class=\"n\"" } else { "" };
    let heads: String = table
        .columns
        .iter()
        .map(|column| format!("<th scope=\"col\"{}>{}</th>", class(column.number), escaped(column.name)))
        .collect();
    let mut out = format!(
        "<div class=\"scroll\" tabindex=\"0\">\n<table>\n<caption>{}{}</caption>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n",
        escaped(&table.title),
        mark(table.simulated)
    );
    for row in &table.rows {
        let cells: String = table
            .columns
            .iter()
            .zip(row)
            .map(|(column, cell)| format!("<td{}>{}</td>", class(column.number), escaped(cell)))
            .collect();
        out.push_str(&format!("<tr>{cells}</tr>\n"));
    }
    out.push_str("</tbody>\n</table>\n</div>\n");
    out
}
