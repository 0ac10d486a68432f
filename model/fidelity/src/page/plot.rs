//! A plot as inline SVG, drawn by the plotters crate; its legend is HTML beside it.
//!
//! plotters draws in fixed colours and fonts, as attributes of each element. That suits a page that is read in light
//! and in dark: an attribute yields to the page's style sheet, which gives every colour of [`INKS`] and black a value
//! for each. Ranges and ticks are those of [`Scale`], not plotters' own: these want finite ranges that have a width.

use std::fmt::Write as _;

use plotters::prelude::*;

use super::markup::{allowed, element, escape};
use super::scale::Scale;
use super::{Curve, Plot, Style};

/// Width and height in pixels of the drawing, which the page scales to its own width.
const SIZE: (u32, u32) = (1280, 640);

/// Colours of the curves in order, told apart by people with any colour vision (Okabe and Ito, "Color universal
/// design", 2008). Further curves begin anew.
pub(super) const INKS: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
];

/// An axis title longer than this would leave the drawing.
const LONGEST_LABEL: usize = 80;

/// Adds `plot` as a `<figure>`.
pub(super) fn figure(out: &mut String, plot: &Plot) {
    out.push_str("<figure>");
    element(out, "figcaption", &plot.caption);
    match drawing(plot) {
        Some(svg) => {
            out.push_str("<svg role=\"img\" aria-label=\"");
            escape(out, &plot.caption);
            let _ = write!(out, "\" viewBox=\"0 0 {} {}\">", SIZE.0, SIZE.1);
            out.push_str(&svg);
        }
        None => element(out, "p class=\"none\"", "Nothing to draw: no curve has a value."),
    }
    out.push_str("<ul class=\"legend\">");
    for (number, curve) in plot.curves.iter().enumerate() {
        let _ = write!(out, "<li><i class=\"ink{}\"></i>", number % INKS.len());
        escape(out, &curve.name);
        out.push_str("</li>");
    }
    out.push_str("</ul></figure>");
}

/// What stands between `<svg>` and the end of `</svg>`.
fn drawing(plot: &Plot) -> Option<String> {
    let points = || plot.curves.iter().flat_map(|curve| drawable(plot, curve));
    let x = Scale::of(points().map(|(x, _)| x), plot.x.log)?;
    let y = Scale::of(points().map(|(_, y)| y), plot.y.log)?;
    let mut svg = String::new();
    // The backend writes to a string, so drawing cannot fail; should it all the same, there is no drawing.
    draw(&mut svg, plot, (x, y)).ok()?;
    let start = svg.find('>')? + 1;
    Some(svg.split_off(start).trim().to_owned())
}

type DrawError<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn draw<'a>(svg: &'a mut String, plot: &Plot, (x, y): (Scale, Scale)) -> Result<(), DrawError<'a>> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .margin_top(12)
        .margin_right(40)
        .x_label_area_size(84)
        .y_label_area_size(130)
        .build_cartesian_2d(x.clone(), y.clone())?;
    let font = |size: u32| ("sans-serif", size);
    chart
        .configure_mesh()
        .x_desc(label(&plot.x.label))
        .y_desc(label(&plot.y.label))
        .label_style(font(26))
        .axis_desc_style(font(28))
        .draw()?;
    for (number, curve) in plot.curves.iter().enumerate() {
        let ink = INKS[number % INKS.len()];
        let line = line(plot, curve, (&x, &y));
        if curve.style == Style::Marks || line.len() == 1 {
            chart.draw_series(line.iter().map(|&at| Circle::new(at, 6, ink.filled())))?;
        }
        chart.draw_series(LineSeries::new(line, ink.stroke_width(3)))?;
    }
    root.present()
}

fn label(text: &str) -> String {
    text.chars().take(LONGEST_LABEL).map(allowed).collect()
}

/// Points of a curve that have a place on both axes.
fn drawable<'a>(plot: &'a Plot, curve: &'a Curve) -> impl Iterator<Item = (f64, f64)> + 'a {
    let has_place = |value: f64, log: bool| value.is_finite() && (!log || value > 0.0);
    curve.points.iter().copied().filter(move |&(x, y)| has_place(x, plot.x.log) && has_place(y, plot.y.log))
}

/// The corners of a curve. What would fall into one column of pixels is drawn by its first, lowest, highest and last
/// value, so that the size of the page does not grow with the number of points.
fn line(plot: &Plot, curve: &Curve, (x, y): (&Scale, &Scale)) -> Vec<(f64, f64)> {
    let mut corners: Vec<(f64, f64)> = Vec::new();
    for (x, y) in drawable(plot, curve) {
        if curve.style == Style::Steps
            && let Some(&(_, before)) = corners.last()
        {
            corners.push((x, before));
        }
        corners.push((x, y));
    }
    let column = |at: &(f64, f64)| x.share(at.0).map(|share| (share * f64::from(SIZE.0)) as u32);
    corners.retain(|at| column(at).is_some() && y.share(at.1).is_some());
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for group in corners.chunk_by(|a, b| column(a) == column(b)) {
        let of = |choose: fn(&(f64, f64), &(f64, f64)) -> bool| {
            group.iter().copied().reduce(|best, at| if choose(&at, &best) { at } else { best })
        };
        let four =
            [group.first().copied(), of(|a, b| a.1 < b.1), of(|a, b| a.1 > b.1), group.last().copied()];
        kept.extend(four.into_iter().flatten());
    }
    kept.dedup();
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Axis;
    use super::super::markup::text_of;
    use super::*;

    fn plot(points: Vec<(f64, f64)>, style: Style, log: bool) -> Plot {
        let axis = |label: &str| Axis { label: label.into(), log };
        let curve = Curve { name: "real & <other>".into(), style, points };
        Plot { caption: "gaps".into(), x: axis("gap <us>"), y: axis("share"), curves: vec![curve] }
    }

    fn svg(plot: &Plot) -> String {
        let mut out = String::new();
        figure(&mut out, plot);
        out
    }

    #[test]
    fn axes_labels_and_curves_are_drawn() {
        let markup = svg(&plot(vec![(1.0, 0.25), (1000.0, 1.0)], Style::Steps, false));
        let text = text_of(&markup);
        for part in ["gap <us>", "share", "real & <other>", "1000", "0.4"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // A step goes to the right before it goes up.
        let line = markup.split("stroke=\"#0072B2\"").nth(1).expect("a curve");
        let points = line.split("points=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("points");
        let at: Vec<(i32, i32)> = points
            .split_whitespace()
            .map(|at| {
                at.split_once(',')
                    .map(|(x, y)| (x.parse().expect("x"), y.parse().expect("y")))
                    .expect("a pair")
            })
            .collect();
        assert_eq!(at.len(), 3, "{at:?}");
        assert!(at[0].1 == at[1].1 && at[1].0 == at[2].0 && at[2].1 < at[1].1, "{at:?}");
    }

    #[test]
    fn without_values_there_is_a_sentence() {
        for (points, log) in [(vec![], false), (vec![(f64::NAN, 1.0)], false), (vec![(0.0, 0.0)], true)] {
            let markup = svg(&plot(points, Style::Line, log));
            assert!(text_of(&markup).contains("Nothing to draw") && !markup.contains("<svg"), "{markup}");
        }
    }

    #[test]
    fn many_points_are_no_large_drawing() {
        let points = (0..200_000).map(|i| (f64::from(i), f64::from(i % 977))).collect();
        let markup = svg(&plot(points, Style::Line, false));
        assert!(markup.len() < 100_000, "{} bytes", markup.len());
    }

    #[test]
    fn inks_are_those_of_the_style_sheet() {
        for (number, RGBColor(red, green, blue)) in INKS.into_iter().enumerate() {
            let rule = format!("[stroke=\"#{red:02X}{green:02X}{blue:02X}\"]{{stroke:var(--ink{number})");
            assert!(super::super::html::STYLE.contains(&rule), "{rule}");
        }
    }

    fn number() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>(),
            -10.0..10.0,
            Just(0.0),
            Just(f64::NAN),
            Just(f64::INFINITY),
            Just(f64::NEG_INFINITY),
            Just(f64::MAX),
            Just(f64::MIN),
            Just(f64::MIN_POSITIVE),
        ]
    }

    proptest! {
        #[test]
        fn any_numbers_and_names_are_well_formed(
            curves in prop::collection::vec(
                (any::<String>(), 0..3_u8, prop::collection::vec((number(), number()), 0..20)), 0..8),
            (caption, x, y) in any::<(String, String, String)>(),
            (x_log, y_log) in any::<(bool, bool)>(),
        ) {
            let style = |n: u8| [Style::Line, Style::Steps, Style::Marks][usize::from(n)];
            let curves = curves
                .into_iter()
                .map(|(name, n, points)| Curve { name, style: style(n), points })
                .collect();
            let (x, y) = (Axis { label: x, log: x_log }, Axis { label: y, log: y_log });
            text_of(&svg(&Plot { caption, x, y, curves }));
        }
    }
}
