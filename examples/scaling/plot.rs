//! The picture of a scenario, an SVG: a row for each signal, pods on the left, bad requests on the right.

use std::fmt::Write as _;

use crate::scenario::{Run, Scenario};
use crate::simulation::Moment;

const WIDTH: f64 = 840.0;
const TOP: f64 = 62.0;
const ROW: f64 = 128.0;
const PLOT: (f64, f64) = (340.0, 84.0);
/// Where the two columns begin.
const LEFT: [f64; 2] = [56.0, 480.0];

/// The picture, as text.
pub(crate) fn picture(scenario: &Scenario, runs: &[Run]) -> String {
    let height = TOP + ROW * runs.len() as f64 + 26.0;
    let most = runs.iter().flat_map(|run| &run.outcome.course);
    let most = most.map(|moment| moment.pods).max().unwrap_or(1).max(20);
    let title = format!(
        "{}: pods and bad requests over time, scaled on each signal",
        scenario.name
    );
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<title>{title}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{}\" y=\"22\" font-size=\"15\" font-weight=\"bold\">{}</text>\n",
        LEFT[0], scenario.name
    );
    let [pods, bad] = LEFT;
    text(&mut svg, pods, 46.0, "pods; dashed: needed to be 70 % busy");
    text(
        &mut svg,
        bad,
        46.0,
        "requests over 1 s, given up or refused, %",
    );
    for (number, run) in runs.iter().enumerate() {
        let top = TOP + ROW * number as f64 + 20.0;
        let label = format!("{}, target {}", run.signal.name(), run.target());
        let _ = writeln!(
            svg,
            "<text x=\"{pods}\" y=\"{}\" font-weight=\"bold\">{label}</text>",
            top - 6.0
        );
        let across = |left: f64, at: f64| left + PLOT.0 * at / scenario.seconds;
        let count = |pods: usize| top + PLOT.1 * (1.0 - pods as f64 / most as f64);
        let course = &run.outcome.course;
        frame(
            &mut svg,
            pods,
            top,
            &[(count(0), "0"), (count(most), &most.to_string())],
        );
        let share = |share: f64| top + PLOT.1 * (1.0 - share);
        frame(
            &mut svg,
            bad,
            top,
            &[(share(0.0), "0"), (share(1.0), "100")],
        );
        let needed = steps(course, |moment| {
            (across(pods, moment.at), count(scenario.needed(moment.at)))
        });
        line(&mut svg, &needed, "#767676", " stroke-dasharray=\"4 3\"");
        let there = steps(course, |moment| {
            (across(pods, moment.at), count(moment.pods))
        });
        line(&mut svg, &there, "#0b62a3", "");
        let shares = steps(course, |moment| (across(bad, moment.at), share(moment.bad)));
        line(&mut svg, &shares, "#b3261e", "");
    }
    let bottom = TOP + ROW * runs.len() as f64 + 8.0;
    for left in LEFT {
        for minute in (0..=scenario.seconds as u32 / 60).step_by(5) {
            let x = left + PLOT.0 * f64::from(minute) * 60.0 / scenario.seconds;
            text(&mut svg, x - 4.0, bottom, &minute.to_string());
        }
        text(&mut svg, left + PLOT.0 - 44.0, bottom + 14.0, "minutes");
    }
    svg + "</svg>\n"
}

fn text(svg: &mut String, x: f64, y: f64, text: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"#333\">{text}</text>"
    );
}

fn frame(svg: &mut String, left: f64, top: f64, ticks: &[(f64, &str)]) {
    let (width, height) = PLOT;
    let _ = writeln!(
        svg,
        "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" fill=\"none\" stroke=\"#bbb\"/>"
    );
    for (y, name) in ticks {
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#333\">{name}</text>",
            left - 6.0,
            y + 4.0
        );
    }
}

/// What stays until the next moment.
fn steps(course: &[Moment], at: impl Fn(&Moment) -> (f64, f64)) -> String {
    let mut path = String::new();
    for moment in course {
        let (x, y) = at(moment);
        let _ = match path.is_empty() {
            true => write!(path, "M{x:.1} {y:.1}"),
            false => write!(path, "H{x:.1}V{y:.1}"),
        };
    }
    path
}

fn line(svg: &mut String, path: &str, colour: &str, more: &str) {
    let _ = writeln!(
        svg,
        "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"{more}/>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{SCENARIOS, Signal};
    use crate::simulation;

    #[test]
    fn a_picture_is_whole_and_says_what_it_shows() {
        let scenario = Scenario {
            seconds: 60.0,
            ..SCENARIOS[0]
        };
        let run = Run {
            signal: Signal::Cpu,
            target: 0.7,
            outcome: simulation::run(&scenario, None, 1),
        };
        let svg = picture(&scenario, &[run]);
        assert!(svg.contains("role=\"img\"") && svg.contains("<title>CPU-bound, load × 5:"));
        assert!(svg.contains("CPU, target 70 %"), "{svg}");
        assert_eq!(svg.matches("<path").count(), 3);
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN"));
    }
}
