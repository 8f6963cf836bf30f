//! A chart of lines on two logarithmic axes, as SVG: the growth of a cost is its slope.

use std::fmt::Write as _;

/// A method and what it took: (sockets, milliseconds), in order.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 460.0;
/// Left, right, top, bottom. The names of the lines stand on the right.
const MARGINS: (f64, f64, f64, f64) = (70.0, 270.0, 40.0, 50.0);
/// Told apart in grey, too, by their dashes.
const COLOURS: [&str; 8] = ["#444444", "#999999", "#0b6e4f", "#c0392b", "#1f5fa8", "#8e44ad", "#b9770e", "#117a8b"];
const DASHES: [&str; 3] = ["", "6 3", "2 3"];

pub(super) fn svg(lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let span = |of: fn(&(f64, f64)) -> f64| {
        let (least, most) = points().map(of).fold((f64::INFINITY, 0.0_f64), |(l, m), v| (l.min(v), m.max(v)));
        // Whole powers of ten.
        (least.log10().floor(), most.log10().ceil().max(least.log10().floor() + 1.0))
    };
    let ((x0, x1), (y0, y1)) = (span(|p| p.0), span(|p| p.1));
    let (left, right, top, bottom) = MARGINS;
    let x = |v: f64| left + (v.log10() - x0) / (x1 - x0) * (WIDTH - left - right);
    let y = |v: f64| HEIGHT - bottom - (v.log10() - y0) / (y1 - y0) * (HEIGHT - top - bottom);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <text x=\"{left}\" y=\"22\" font-size=\"15\">Counting sockets: wall time of the whole process, ms</text>\n"
    );
    if points().next().is_none() {
        svg.push_str("</svg>\n");
        return svg;
    }
    for power in x0 as i32..=x1 as i32 {
        let (at, label) = (x(10_f64.powi(power)), power_of_ten(power));
        let (above, below, text) = (top, HEIGHT - bottom, HEIGHT - bottom + 18.0);
        let _ = writeln!(svg, "<path d=\"M{at:.1} {above}V{below}\" stroke=\"#dddddd\"/>");
        let _ = writeln!(svg, "<text x=\"{at:.1}\" y=\"{text}\" text-anchor=\"middle\">{label}</text>");
    }
    for power in y0 as i32..=y1 as i32 {
        let (at, label) = (y(10_f64.powi(power)), power_of_ten(power));
        let (end, text) = (WIDTH - right, left - 8.0);
        let _ = writeln!(svg, "<path d=\"M{left} {at:.1}H{end}\" stroke=\"#dddddd\"/>");
        let _ = writeln!(svg, "<text x=\"{text}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", at + 4.0);
    }
    let middle = (left + WIDTH - right) / 2.0;
    let _ = writeln!(svg, "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">sockets</text>", HEIGHT - 10.0);
    let ends: Vec<f64> = lines.iter().map(|line| line.points.last().map_or(HEIGHT, |last| y(last.1))).collect();
    let labels = apart(&ends, 16.0);
    for (at, (line, label)) in lines.iter().zip(labels).enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let dash = DASHES[at / 3 % DASHES.len()];
        let path: Vec<_> = line.points.iter().map(|(n, ms)| format!("{:.1},{:.1}", x(*n), y(*ms))).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>",
            path.join(" ")
        );
        for (n, ms) in &line.points {
            let _ = writeln!(svg, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>", x(*n), y(*ms));
        }
        let Some(last) = line.points.last() else { continue };
        let (at, text) = (x(last.0), escaped(&line.name));
        let start = WIDTH - right + 12.0;
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1} {:.1}L{start} {label:.1}\" stroke=\"{colour}\" stroke-width=\"0.5\"/>",
            at + 4.0,
            y(last.1)
        );
        let shown = format!("{text}: {:.1}", last.1);
        let _ =
            writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{shown}</text>", start + 4.0, label + 4.0);
    }
    svg.push_str("</svg>\n");
    svg
}

/// Moves places apart by at least that much, keeping their order.
fn apart(places: &[f64], by: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by(|a, b| places[*a].total_cmp(&places[*b]));
    let mut moved = places.to_vec();
    for pair in order.windows(2) {
        moved[pair[1]] = moved[pair[1]].max(moved[pair[0]] + by);
    }
    moved
}

fn power_of_ten(power: i32) -> String {
    match power {
        6.. => format!("{} M", 10_i64.pow(power.unsigned_abs() - 6)),
        3..6 => format!("{} k", 10_i64.pow(power.unsigned_abs() - 3)),
        0..3 => 10_i64.pow(power.unsigned_abs()).to_string(),
        _ => format!("{}", 10_f64.powi(power)),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_every_line_with_its_last_value() {
        let line = |name: &str, ms: f64| Line { name: name.into(), points: vec![(1e3, ms), (1e6, ms * 200.0)] };
        let svg = svg(&[line("a | b", 20.0), line("x <y>", 4.0), line("z", 4.0)]);
        assert_eq!(svg.matches("<polyline").count(), 3);
        assert!(svg.contains("a | b: 4000.0") && svg.contains("x &lt;y&gt;: 800.0") && svg.contains(">1 M<"));
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && !svg.contains("NaN"));
        assert!(svg.lines().all(|line| !line.contains("inf")));
    }

    #[test]
    fn nothing_measured_is_an_empty_chart() {
        let svg = svg(&[]);
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN"));
    }

    #[test]
    fn labels_stand_apart_in_their_order() {
        assert_eq!(apart(&[50.0, 10.0, 12.0], 16.0), [50.0, 10.0, 26.0]);
    }
}
