//! A report as Markdown that reads well on a Git host: headings, tables, fenced blocks, folds. Renders
//! the outline; pictures are HTML's.

use super::content::Report;
use super::escape::{markdown as escaped, markdown_block};
use super::outline::{self, Block, Table};

pub fn render(report: &Report) -> String {
    let mut out = String::new();
    for block in outline::blocks(report) {
        put(&mut out, &block);
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn put(out: &mut String, block: &Block) {
    match block {
        Block::Heading(level, text) => {
            let marks = "#".repeat(usize::from(*level));
            out.push_str(&format!("{marks} {}\n\n", escaped(text)));
        }
        Block::Notice(text) => out.push_str(&format!("> **{}**\n\n", escaped(text))),
        Block::Text(text) => out.push_str(&format!("{}\n\n", escaped(text))),
        Block::Facts(facts) => {
            for (name, value) in facts {
                out.push_str(&format!("- **{}**: {}\n", escaped(name), escaped(value)));
            }
            out.push('\n');
        }
        Block::List(lines) => {
            for line in lines {
                out.push_str(&format!("- {}\n", escaped(line)));
            }
            out.push('\n');
        }
        Block::Table(table) => out.push_str(&table_text(table)),
        Block::Verbatim(text) => {
            out.push_str(&markdown_block(text));
            out.push('\n');
        }
        Block::Figures(_) | Block::Gallery(_, _) => {}
        Block::Fold(title, blocks) => {
            let mut inside = String::new();
            blocks.iter().for_each(|block| put(&mut inside, block));
            if !inside.is_empty() {
                let title = super::escape::html(title);
                out.push_str(&format!("<details><summary>{title}</summary>\n\n{inside}</details>\n\n"));
            }
        }
    }
}

fn table_text(table: &Table) -> String {
    let mark = if table.simulated { " (simulated)" } else { "" };
    let mut out = format!("**{}**{mark}\n\n", escaped(&table.title));
    let names: Vec<String> = table.columns.iter().map(|column| escaped(column.name)).collect();
    let rules: Vec<&str> =
        table.columns.iter().map(|column| if column.number { "---:" } else { "---" }).collect();
    out.push_str(&format!("| {} |\n| {} |\n", names.join(" | "), rules.join(" | ")));
    for row in &table.rows {
        let cells: Vec<String> = row.iter().map(|cell| escaped(cell)).collect();
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    out.push('\n');
    out
}
