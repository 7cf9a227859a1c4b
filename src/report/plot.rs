//! Plots as SVG that stands inline in a page: no script, no file, colours by the page's classes so that
//! they follow its light or dark scheme. Draws what it is given; chooses and computes no figure.

use std::fmt::Write as _;

use super::escape::html;
use super::plot_axis::Axis;
pub use super::plot_axis::Scale;

/// What a page that shows plots has to say of their classes; its own `--c0` to `--c7` are the colours.
pub const STYLE: &str = include_str!("plot.css");

/// Colours there are, and so curves that a plot can tell apart.
pub const MOST_CURVES: usize = 8;

/// A picture with its caption.
#[derive(Debug, Clone)]
pub struct Figure {
    pub title: String,
    /// What it shows is made up.
    pub simulated: bool,
    pub chart: Chart,
}

#[derive(Debug, Clone)]
pub enum Chart {
    Lines(Plot),
    /// Bars that lie one below the other, each of one part or several, with dots beside it for single
    /// samples. Bars of several parts name them.
    Bars {
        bars: Vec<Bar>,
        parts: Vec<String>,
        axis: String,
    },
}

#[derive(Debug, Clone)]
pub struct Plot {
    pub x_title: String,
    pub y_title: String,
    pub x_scale: Scale,
    /// Value and text; `None` for round ones.
    pub x_ticks: Option<Vec<(f64, String)>>,
    /// `None`: from zero to above the highest.
    pub y_range: Option<[f64; 2]>,
    pub curves: Vec<Curve>,
}

#[derive(Debug, Clone)]
pub struct Curve {
    pub name: String,
    /// By x.
    pub points: Vec<[f64; 2]>,
    pub mark: Mark,
    /// Which of the colours.
    pub colour: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Line,
    LineAndDots,
    /// A line that is broken where samples are missing.
    Samples,
}

#[derive(Debug, Clone)]
pub struct Bar {
    pub label: String,
    /// One after the other; an unknown one takes no room.
    pub parts: Vec<Option<f64>>,
    pub dots: Vec<f64>,
    /// What stands at the end.
    pub value: String,
}

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 260.0;
/// Of a character of the smallest text, on average.
const CHARACTER: f64 = 6.4;

/// The names of what the colours mean; none where there is one curve alone.
pub fn legend(chart: &Chart) -> Vec<(usize, &str)> {
    match chart {
        Chart::Lines(plot) if plot.curves.len() > 1 => {
            plot.curves.iter().map(|curve| (curve.colour % MOST_CURVES, curve.name.as_str())).collect()
        }
        Chart::Lines(_) => Vec::new(),
        Chart::Bars { parts, .. } => parts.iter().map(String::as_str).enumerate().collect(),
    }
}

/// The picture; `None` where there is nothing to draw.
pub fn svg(figure: &Figure) -> Option<String> {
    match &figure.chart {
        Chart::Lines(plot) => lines(&figure.title, plot),
        Chart::Bars { bars, axis, .. } => bar_chart(&figure.title, bars, axis),
    }
}

fn open(title: &str, height: f64) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\" xmlns=\"http://www.w3.org/2000/svg\">",
        html(title)
    )
}

fn lines(title: &str, plot: &Plot) -> Option<String> {
    let finite = |point: &[f64; 2]| point[0].is_finite() && point[1].is_finite();
    let points = || plot.curves.iter().flat_map(|curve| &curve.points).filter(|point| finite(point));
    let (x_low, x_high) = (low(points().map(|p| p[0]))?, high(points().map(|p| p[0]))?);
    let y_high = high(points().map(|p| p[1]))?;
    let y = match plot.y_range {
        Some([from, to]) => Axis::over(Scale::Linear, from, to.max(y_high), 5),
        None => Axis::over(Scale::Linear, low(points().map(|p| p[1]))?.min(0.0), y_high, 5),
    };
    let longest = y.ticks.iter().map(|(_, text)| text.chars().count()).max().unwrap_or(1);
    let (left, right, top, bottom) = (longest as f64 * CHARACTER + 14.0, 16.0, 24.0, 40.0);
    let (wide, tall) = (WIDTH - left - right, HEIGHT - top - bottom);
    let x = match &plot.x_ticks {
        None => Axis::over(plot.x_scale, x_low, x_high, 6),
        Some(ticks) => {
            let longest = ticks.iter().map(|(_, text)| text.chars().count()).max().unwrap_or(1);
            let room = (longest as f64 + 1.5) * CHARACTER / wide;
            given(plot.x_scale, x_low, x_high).with_ticks(ticks, room)
        }
    };
    let place = |point: &[f64; 2]| (left + x.part(point[0]) * wide, top + (1.0 - y.part(point[1])) * tall);
    let mut svg = open(title, HEIGHT);
    for (value, text) in &y.ticks {
        let at = top + (1.0 - y.part(*value)) * tall;
        put(&mut svg, format_args!("<path class=\"grid\" d=\"M{left:.1} {at:.1}H{:.1}\"/>", WIDTH - right));
        let (before, below) = (left - 6.0, at + 4.0);
        put(
            &mut svg,
            format_args!("<text class=\"tick end\" x=\"{before:.1}\" y=\"{below:.1}\">{}</text>", html(text)),
        );
    }
    for (value, text) in &x.ticks {
        let at = left + x.part(*value) * wide;
        let foot = HEIGHT - bottom;
        put(&mut svg, format_args!("<path class=\"axis\" d=\"M{at:.1} {foot:.1}v4\"/>"));
        // Long ones at the ends stay inside of the picture.
        let half = text.chars().count() as f64 * CHARACTER / 2.0;
        let at = at.clamp(half, (WIDTH - half).max(half));
        let below = foot + 16.0;
        put(
            &mut svg,
            format_args!("<text class=\"tick mid\" x=\"{at:.1}\" y=\"{below:.1}\">{}</text>", html(text)),
        );
    }
    let foot = HEIGHT - bottom;
    put(&mut svg, format_args!("<path class=\"axis\" d=\"M{left:.1} {foot:.1}H{:.1}\"/>", WIDTH - right));
    put(&mut svg, format_args!("<text class=\"unit\" x=\"2\" y=\"12\">{}</text>", html(&plot.y_title)));
    let (middle, end) = (left + wide / 2.0, HEIGHT - 6.0);
    put(
        &mut svg,
        format_args!(
            "<text class=\"unit mid\" x=\"{middle:.1}\" y=\"{end:.1}\">{}</text>",
            html(&plot.x_title)
        ),
    );
    let usual = usual_distance(points());
    for curve in &plot.curves {
        let points: Vec<&[f64; 2]> = curve.points.iter().filter(|point| finite(point)).collect();
        let colour = curve.colour % MOST_CURVES;
        let dotted = curve.mark == Mark::LineAndDots;
        for piece in pieces(&points, curve.mark, usual) {
            if let ([only], false) = (piece, dotted) {
                dot(&mut svg, place(only), colour, &describe(plot, curve, only));
                continue;
            }
            let mut path = String::new();
            for (at, point) in piece.iter().enumerate() {
                let (x, y) = place(point);
                let _ = write!(path, "{}{x:.1} {y:.1}", if at == 0 { 'M' } else { 'L' });
            }
            put(&mut svg, format_args!("<path class=\"line s{colour}\" d=\"{path}\"/>"));
        }
        if dotted {
            for point in points {
                dot(&mut svg, place(point), colour, &describe(plot, curve, point));
            }
        }
    }
    svg.push_str("</svg>");
    Some(svg)
}

/// An axis whose ticks the caller gives: a little wider than them, so that no dot lies on its end.
fn given(scale: Scale, low: f64, high: f64) -> Axis {
    let axis = Axis { scale, low, high, ticks: Vec::new() };
    match scale {
        Scale::Log if low > 0.0 && high > low => {
            let room = (high / low).powf(0.04);
            Axis { low: low / room, high: high * room, ..axis }
        }
        Scale::Log | Scale::Linear => {
            let room = if high > low { (high - low) * 0.04 } else { 1.0 };
            Axis { scale: Scale::Linear, low: low - room, high: high + room, ..axis }
        }
    }
}

/// Runs of points without a gap of more than twice the usual distance between two.
fn pieces<'p, 'a>(points: &'p [&'a [f64; 2]], mark: Mark, usual: f64) -> Vec<&'p [&'a [f64; 2]]> {
    match mark {
        Mark::Line | Mark::LineAndDots => vec![points],
        Mark::Samples => points.chunk_by(|a, b| b[0] - a[0] <= usual * 2.0).collect(),
    }
}

/// The median distance between two samples, those of all curves taken together: one curve alone may have
/// more gaps than samples.
fn usual_distance<'a>(points: impl Iterator<Item = &'a [f64; 2]>) -> f64 {
    let mut places: Vec<f64> = points.map(|point| point[0]).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let mut gaps: Vec<f64> = places.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_by(f64::total_cmp);
    gaps.get(gaps.len() / 2).copied().unwrap_or(f64::INFINITY)
}

fn describe(plot: &Plot, curve: &Curve, point: &[f64; 2]) -> String {
    let x = plot.x_ticks.iter().flatten().find(|(value, _)| *value == point[0]);
    let x = x.map_or_else(|| point[0].to_string(), |(_, text)| text.clone());
    format!("{}: {} {} at {x}", curve.name, crate::run::load_words::short(point[1]), plot.y_title)
}

fn dot(svg: &mut String, (x, y): (f64, f64), colour: usize, words: &str) {
    put(
        svg,
        format_args!(
            "<circle class=\"dot s{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.2\"><title>{}</title></circle>",
            html(words)
        ),
    );
}

fn bar_chart(title: &str, bars: &[Bar], axis_title: &str) -> Option<String> {
    let longest = |bar: &Bar| {
        let whole: f64 = bar.parts.iter().flatten().filter(|part| part.is_finite()).sum();
        bar.dots.iter().copied().filter(|dot| dot.is_finite()).fold(whole, f64::max)
    };
    let most = high(bars.iter().map(longest)).filter(|most| *most > 0.0)?;
    let row = 34.0;
    let (left, top, bottom) = (2.0, 4.0, 38.0);
    let words = bars.iter().map(|bar| bar.value.chars().count()).max().unwrap_or(0);
    let wide = WIDTH - left - words as f64 * CHARACTER - 14.0;
    let height = top + row * bars.len() as f64 + bottom;
    let x = Axis::over(Scale::Linear, 0.0, most, 5);
    let mut svg = open(title, height);
    let foot = height - bottom;
    for (value, text) in &x.ticks {
        let at = left + x.part(*value) * wide;
        put(&mut svg, format_args!("<path class=\"grid\" d=\"M{at:.1} {top}V{foot:.1}\"/>"));
        let half = text.chars().count() as f64 * CHARACTER / 2.0;
        let (at, below) = (at.max(half), foot + 14.0);
        put(
            &mut svg,
            format_args!("<text class=\"tick mid\" x=\"{at:.1}\" y=\"{below:.1}\">{}</text>", html(text)),
        );
    }
    let (middle, end) = (left + wide / 2.0, height - 6.0);
    put(
        &mut svg,
        format_args!("<text class=\"unit mid\" x=\"{middle:.1}\" y=\"{end:.1}\">{}</text>", html(axis_title)),
    );
    for (number, bar) in bars.iter().enumerate() {
        let above = top + row * number as f64;
        let label: String = bar.label.chars().take(84).collect();
        put(
            &mut svg,
            format_args!(
                "<text class=\"label\" x=\"{left}\" y=\"{:.1}\">{}</text>",
                above + 11.0,
                html(&label)
            ),
        );
        let (mut from, y) = (0.0, above + 15.0);
        for (colour, part) in bar.parts.iter().enumerate() {
            let Some(part) = part.filter(|part| part.is_finite() && *part > 0.0) else { continue };
            let (start, stop) = (left + x.part(from) * wide, left + x.part(from + part) * wide);
            let width = (stop - start).max(0.5);
            put(
                &mut svg,
                format_args!(
                    "<rect class=\"bar s{}\" x=\"{start:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"13\"/>",
                    colour % MOST_CURVES
                ),
            );
            from += part;
        }
        for value in bar.dots.iter().filter(|dot| dot.is_finite()) {
            let at = left + x.part(*value) * wide;
            put(
                &mut svg,
                format_args!("<circle class=\"sample\" cx=\"{at:.1}\" cy=\"{:.1}\" r=\"2.2\"/>", y + 6.5),
            );
        }
        let at = left + x.part(longest(bar)) * wide + 6.0;
        put(
            &mut svg,
            format_args!(
                "<text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\">{}</text>",
                y + 10.5,
                html(&bar.value)
            ),
        );
    }
    svg.push_str("</svg>");
    Some(svg)
}

fn put(svg: &mut String, piece: std::fmt::Arguments<'_>) {
    // Writing to a text cannot fail.
    let _ = svg.write_fmt(piece);
}

fn low(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.reduce(f64::min)
}

fn high(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<[f64; 2]>, mark: Mark) -> Figure {
        let curve = Curve { name: "<a>".to_owned(), points, mark, colour: 0 };
        let plot = Plot {
            x_title: "x".to_owned(),
            y_title: "y".to_owned(),
            x_scale: Scale::Linear,
            x_ticks: None,
            y_range: None,
            curves: vec![curve],
        };
        Figure { title: "a \"plot\"".to_owned(), simulated: false, chart: Chart::Lines(plot) }
    }

    #[test]
    fn nothing_to_draw_is_no_picture_and_what_is_no_number_is_left_out() {
        assert_eq!(svg(&plot(Vec::new(), Mark::Line)), None);
        let drawn = svg(&plot(vec![[0.0, 1.0], [f64::NAN, 2.0], [1.0, f64::INFINITY]], Mark::Line)).unwrap();
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
    }

    #[test]
    fn names_and_titles_are_escaped_in_the_picture() {
        let drawn = svg(&plot(vec![[0.0, 1.0], [1.0, 2.0]], Mark::LineAndDots)).unwrap();
        assert!(
            drawn.contains("aria-label=\"a &quot;plot&quot;\"") && drawn.contains("&lt;a&gt;: "),
            "{drawn}"
        );
    }

    #[test]
    fn a_line_of_samples_is_broken_where_samples_are_missing() {
        let points: Vec<[f64; 2]> = [0.0, 1.0, 2.0, 50.0, 51.0, 52.0].map(|at| [at, 1.0]).to_vec();
        let lines = |mark| svg(&plot(points.clone(), mark)).unwrap().matches("class=\"line").count();
        assert_eq!((lines(Mark::Line), lines(Mark::Samples)), (1, 2));
    }

    #[test]
    fn a_higher_value_lies_higher_and_a_longer_bar_is_longer() {
        let drawn = svg(&plot(vec![[0.0, 0.0], [10.0, 10.0]], Mark::Line)).unwrap();
        let path = drawn.split("class=\"line s0\" d=\"M").nth(1).unwrap().split('"').next().unwrap();
        let (first, last) = path.split_once('L').unwrap();
        let place = |text: &str| -> (f64, f64) {
            let (x, y) = text.split_once(' ').unwrap();
            (x.parse().unwrap(), y.parse().unwrap())
        };
        assert!(place(last).0 > place(first).0 && place(last).1 < place(first).1, "{path}");
        let bar = |part: f64| Bar {
            label: String::new(),
            parts: vec![Some(part), None],
            dots: vec![],
            value: String::new(),
        };
        let chart = Chart::Bars { bars: vec![bar(10.0), bar(20.0)], parts: Vec::new(), axis: String::new() };
        let drawn = svg(&Figure { title: String::new(), simulated: false, chart }).unwrap();
        let widths: Vec<f64> = drawn
            .split("<rect")
            .skip(1)
            .map(|bar| bar.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(widths.len(), 2);
        assert!((widths[1] / widths[0] - 2.0).abs() < 0.01, "{widths:?}");
    }
}
