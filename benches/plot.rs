//! Plots as SVG: lines over a logarithmic axis, made to be read in a page, light or dark.

use std::fmt::Write as _;

/// One line, and what it is called.
pub(crate) struct Line {
    pub(crate) name: String,
    /// From left to right.
    pub(crate) points: Vec<(f64, f64)>,
}

/// A picture of some lines.
pub(crate) struct Plot<'p> {
    pub(crate) title: &'p str,
    /// What the horizontal axis counts; logarithmic.
    pub(crate) x: &'p str,
    /// What the vertical axis counts, from 0.
    pub(crate) y: &'p str,
    pub(crate) lines: Vec<Line>,
}

impl Plot<'_> {
    /// Draws it.
    pub(crate) fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| line.points.iter().copied());
        let least = points().map(|(x, _)| x).fold(f64::MAX, f64::min).log10().floor();
        let most = points().map(|(x, _)| x).fold(1.0, f64::max).log10().ceil().max(least + 1.0);
        let top = step_above(points().map(|(_, y)| y).fold(0.0, f64::max));
        let across = |x: f64| LEFT + (x.log10() - least) / (most - least) * (WIDTH - LEFT - RIGHT);
        let up = |y: f64| HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{0}\">\n\
             <style>text{{font:13px sans-serif;fill:#777}}line{{stroke:#7774}}polyline{{fill:none;stroke-width:2}}</style>\n\
             <text x=\"{LEFT}\" y=\"20\" style=\"font-weight:bold\">{0}</text>\n",
            self.title
        );
        for part in 0..=4 {
            let y = top * f64::from(part) / 4.0;
            let _ = writeln!(svg, "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{1:.1}\" y2=\"{1:.1}\"/>", WIDTH - RIGHT, up(y));
            let _ = writeln!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{y}</text>", LEFT - 8.0, up(y) + 4.0);
        }
        let mut power = least;
        while power <= most {
            let (x, below) = (across(10_f64.powf(power)), HEIGHT - BOTTOM);
            let _ = writeln!(svg, "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{below}\"/>");
            let label = if power < 0.0 {
                format!("{:.*}", places(power), 10_f64.powf(power))
            } else {
                format!("{:.0}", 10_f64.powf(power))
            };
            let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>", below + 18.0);
            power += 1.0;
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            HEIGHT - 8.0,
            self.x
        );
        let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"40\">{}</text>", self.y);
        for (index, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let path: Vec<String> =
                line.points.iter().map(|(x, y)| format!("{:.1},{:.1}", across(*x), up(*y))).collect();
            let _ = writeln!(svg, "<polyline points=\"{}\" stroke=\"{colour}\"/>", path.join(" "));
            let y = TOP + 16.0 * index as f64;
            let x = WIDTH - RIGHT + 12.0;
            let _ = writeln!(svg, "<text x=\"{x}\" y=\"{:.1}\" style=\"fill:{colour}\">{}</text>", y + 4.0, line.name);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// The next round number that four steps lead to.
fn step_above(value: f64) -> f64 {
    let unit = 10_f64.powf(value.max(f64::MIN_POSITIVE).log10().floor());
    let rounds = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0];
    rounds.into_iter().map(|round| round * unit).find(|round| *round >= value).unwrap_or(unit * 10.0)
}

/// How many decimal places a power of ten below one has.
fn places(power: f64) -> usize {
    (1..9).find(|places| f64::from(-places) <= power).map_or(9, |places: i32| usize::try_from(places).unwrap_or(9))
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 130.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 44.0;
/// Told apart by people who see few colours as well (Okabe and Ito 2008).
const COLOURS: [&str; 7] = ["#999999", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
