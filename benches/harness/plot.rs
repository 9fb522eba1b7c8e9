//! Plots as SVG: lines over two axes, made to be read in a page, light or dark.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// A picture of some lines.
pub(crate) struct Plot<'p> {
    pub(crate) title: &'p str,
    pub(crate) x: Axis<'p>,
    /// From 0, if it is linear.
    pub(crate) y: Axis<'p>,
    pub(crate) lines: Vec<Line>,
}

/// What one axis counts, and how.
pub(crate) struct Axis<'p> {
    /// With its unit.
    pub(crate) label: &'p str,
    pub(crate) scale: Scale,
}

/// How numbers are laid out along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// From 0 to a round number.
    Linear,
    /// From one power of ten to another.
    Logarithmic,
}

/// One line, and what it is called.
pub(crate) struct Line {
    pub(crate) name: String,
    /// From left to right.
    pub(crate) points: Vec<(f64, f64)>,
}

impl Plot<'_> {
    /// Draws it into a file, whose directory is made if need be.
    pub(crate) fn write(&self, file: &Path) {
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory).expect("it can be made");
        }
        fs::write(file, self.svg()).expect("the plot can be written");
        println!("\nplot: {}", file.display());
    }

    fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| line.points.iter().copied());
        let x = self.x.range(points().map(|(x, _)| x));
        let y = self.y.range(points().map(|(_, y)| y));
        let across = |value: f64| LEFT + x.part(value) * (WIDTH - LEFT - RIGHT);
        let up = |value: f64| HEIGHT - BOTTOM - y.part(value) * (HEIGHT - TOP - BOTTOM);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{0}\">\n\
             <style>text{{font:13px sans-serif;fill:#808080}}line{{stroke:#80808066}}.minor{{stroke:#80808022}}polyline{{fill:none;stroke-width:2}}</style>\n\
             <text x=\"{LEFT}\" y=\"20\" style=\"font-weight:bold\">{0}</text>\n\
             <text x=\"{LEFT}\" y=\"42\">{1}</text>\n\
             <text x=\"{2}\" y=\"{3}\" text-anchor=\"end\">{4}</text>\n",
            self.title,
            self.y.label,
            WIDTH - RIGHT,
            HEIGHT - 8.0,
            self.x.label,
        );
        for tick in y.ticks() {
            let (right, at) = (WIDTH - RIGHT, up(tick));
            let _ = writeln!(svg, "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>");
            let (left, at) = (LEFT - 8.0, at + 4.0);
            let _ = writeln!(svg, "<text x=\"{left}\" y=\"{at:.1}\" text-anchor=\"end\">{}</text>", told(tick));
        }
        for tick in x.minor_ticks() {
            let (at, below) = (across(tick), HEIGHT - BOTTOM);
            let _ = writeln!(svg, "<line class=\"minor\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{below}\"/>");
        }
        for tick in x.ticks() {
            let (at, below) = (across(tick), HEIGHT - BOTTOM);
            let _ = writeln!(svg, "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{below}\"/>");
            let below = below + 18.0;
            let _ = writeln!(svg, "<text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\">{}</text>", told(tick));
        }
        for (index, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let path = thin(line.points.iter().map(|&(x, y)| (across(x), up(y))));
            let path: Vec<String> = path.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let _ = writeln!(svg, "<polyline points=\"{}\" stroke=\"{colour}\"/>", path.join(" "));
            let (x, y) = (WIDTH - RIGHT + 12.0, TOP + 18.0 * index as f64 + 4.0);
            let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" style=\"fill:{colour}\">{}</text>", line.name);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// What an axis spans.
struct Range {
    scale: Scale,
    /// Powers of ten, if it is logarithmic.
    least: f64,
    most: f64,
}

impl Axis<'_> {
    fn range(&self, values: impl Iterator<Item = f64> + Clone) -> Range {
        let most = values.clone().fold(0.0, f64::max);
        match self.scale {
            Scale::Linear => Range { scale: self.scale, least: 0.0, most: step_above(most) },
            Scale::Logarithmic => {
                let least = values.filter(|value| *value > 0.0).fold(f64::MAX, f64::min).log10().floor();
                Range { scale: self.scale, least, most: most.log10().ceil().max(least + 1.0) }
            }
        }
    }
}

impl Range {
    /// Where between its ends a value lies.
    fn part(&self, value: f64) -> f64 {
        let value = if self.scale == Scale::Linear { value } else { value.log10().max(self.least) };
        (value - self.least) / (self.most - self.least)
    }

    /// Where lines are drawn across.
    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => (0..=4).map(|part| self.most * f64::from(part) / 4.0).collect(),
            Scale::Logarithmic => {
                std::iter::successors(Some(self.least), |power| Some(power + 1.0).filter(|power| *power <= self.most))
                    .map(|power| 10_f64.powf(power))
                    .collect()
            }
        }
    }

    /// Fainter lines between those: twice to nine times a power of ten, so that a logarithmic axis can be read.
    fn minor_ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => Vec::new(),
            Scale::Logarithmic => {
                let powers = self.ticks().into_iter().filter(|power| power.log10() < self.most - 0.5);
                powers.flat_map(|power| (2..10).map(move |times| power * f64::from(times))).collect()
            }
        }
    }
}

/// Leaves out points that fall on the one before.
fn thin(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for (x, y) in points {
        if kept.last().is_none_or(|last| (last.0 - x).abs() + (last.1 - y).abs() >= 0.5) {
            kept.push((x, y));
        }
    }
    kept
}

/// The next round number that four steps lead to.
fn step_above(value: f64) -> f64 {
    let unit = 10_f64.powf(value.max(f64::MIN_POSITIVE).log10().floor());
    let rounds = [1.0, 1.2, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    rounds.into_iter().map(|round| round * unit).find(|round| *round >= value).unwrap_or(unit * 10.0)
}

/// Without the noise of binary fractions, and with thousands apart.
fn told(value: f64) -> String {
    if value < 1_000.0 {
        return format!("{}", (value * 1e6).round() / 1e6);
    }
    let digits = format!("{value:.0}");
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
    groups.join(",")
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 58.0;
const BOTTOM: f64 = 48.0;
/// Told apart by people who see few colours as well (Okabe and Ito 2008, the blue lighter so that it shows on black).
const COLOURS: [&str; 7] = ["#999999", "#2c8ed6", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
