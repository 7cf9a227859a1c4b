//! The pictures of a report alone, in the order in which it has them. Draws nothing.

use super::content::Report;
use super::outline::{Block, measured};
use super::plot::Figure;

/// Every picture of what the run measured; that of the request's history is none of them. A picture of one case
/// has that case in its title, because it stands under no heading here.
pub fn figures(report: &Report) -> Vec<Figure> {
    let mut found = Vec::new();
    collect(&measured(report), &mut None, &mut found);
    found
}

fn collect(blocks: &[Block], case: &mut Option<String>, found: &mut Vec<Figure>) {
    let titled = |before: &str, figure: &Figure| Figure {
        title: format!("{before}: {}", figure.title),
        ..figure.clone()
    };
    for block in blocks {
        match block {
            Block::Heading(level, text) => *case = (*level > 2).then(|| text.clone()),
            Block::Figures(figures) => match &case {
                Some(case) => found.extend(figures.iter().map(|figure| titled(case, figure))),
                None => found.extend(figures.iter().cloned()),
            },
            Block::Gallery(title, figures) => {
                *case = None;
                found.extend(figures.iter().map(|figure| titled(title, figure)));
            }
            Block::Fold(_, blocks) => collect(blocks, case, found),
            Block::Notice(_)
            | Block::Text(_)
            | Block::Facts(_)
            | Block::List(_)
            | Block::Table(_)
            | Block::Verbatim(_) => {}
        }
    }
}
