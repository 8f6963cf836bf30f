//! Histories as dots of braille, four to a row and two to a column; or in ASCII.

/// Dots of a braille character, from below: the left column and the right one.
const DOTS: [[u8; 4]; 2] = [[0x40, 0x04, 0x02, 0x01], [0x80, 0x20, 0x10, 0x08]];
const BLANK: u32 = 0x2800;
/// In ASCII a row has as many heights.
const HEIGHTS: [char; 4] = ['.', ':', '+', '#'];

/// The rows of a graph, the highest first; the newest value is at the right. Two values to a column either way. A value is
/// seen as soon as it is more than nothing; where there is none, nothing is.
pub(super) fn graph(values: &[f32], most: f32, (width, height): (usize, usize), unicode: bool) -> Vec<String> {
    let steps = height * 4;
    let level = |value: Option<&f32>| match value.copied() {
        Some(value) if value >= 0.0 => {
            let share = if most > 0.0 { (value / most).clamp(0.0, 1.0) } else { 0.0 };
            // What is full, and only that, is drawn full.
            ((share * steps as f32) as usize).clamp(1, if share < 1.0 { steps.max(2) - 1 } else { steps })
        }
        // Also what is not a number.
        _ => 0,
    };
    let at = |place: usize| level((values.len() + place).checked_sub(width * 2).and_then(|at| values.get(at)));
    let rows = (0..height).map(|row| {
        let below = (height - 1 - row) * 4;
        let cell = |column: usize| {
            let levels = [at(column * 2), at(column * 2 + 1)].map(|level| level.saturating_sub(below).min(4));
            if !unicode {
                let highest = levels[0].max(levels[1]);
                return highest.checked_sub(1).map_or(' ', |at| HEIGHTS[at]);
            }
            let dots = levels.iter().zip(DOTS).flat_map(|(level, dots)| dots.into_iter().take(*level));
            let bits = dots.fold(0, |bits, dot| bits | u32::from(dot));
            if bits == 0 { ' ' } else { char::from_u32(BLANK + bits).unwrap_or(' ') }
        };
        (0..width).map(cell).collect()
    });
    rows.collect()
}

/// The largest of them.
pub(super) fn largest(values: &[f32]) -> f32 {
    values.iter().copied().filter(|value| value.is_finite()).fold(0.0, f32::max)
}

/// A bar of that many columns; never empty for more than nothing, never full for less than all.
pub(super) fn bar(share: f64, width: usize, unicode: bool) -> String {
    let steps = if unicode { 8 } else { 1 };
    let all = width * steps;
    let lowest = usize::from(share > 0.0);
    let filled = if share >= 1.0 {
        all
    } else {
        ((share * all as f64) as usize).clamp(lowest.min(all), all.saturating_sub(1).max(lowest.min(all)))
    };
    let (whole, part) = (filled / steps, filled % steps);
    if !unicode {
        return format!("{}{}", "#".repeat(whole), ".".repeat(width - whole));
    }
    let eighths = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    format!("{}{}", "█".repeat(whole), eighths[part])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_value_is_at_the_right_and_what_is_not_known_is_blank() {
        let values = [0.0, 0.25, 0.5, f32::NAN, 0.75, 1.0];
        assert_eq!(graph(&values, 1.0, (3, 1), true), ["⣀⡄⣾"]);
        assert_eq!(graph(&values, 1.0, (3, 1), false), [".:#"]);
        assert_eq!(graph(&values, 1.0, (5, 1), true), ["  ⣀⡄⣾"]);
        assert_eq!(graph(&values, 1.0, (1, 2), true), ["⣼", "⣿"]);
        assert_eq!(graph(&values[..5], 1.0, (3, 1), true), ["⢀⣠⢰"]);
        assert_eq!(graph(&[], 1.0, (2, 1), true), ["  "]);
    }

    #[test]
    fn only_what_is_full_is_drawn_full() {
        assert_eq!(graph(&[0.999, 0.999], 1.0, (1, 1), true), ["⣶"]);
        assert_eq!(graph(&[7.0, 1e9], 1.0, (1, 1), false), ["#"]);
        assert_eq!(graph(&[0.0, 0.0], 0.0, (1, 1), false), ["."]);
        assert_eq!(bar(0.999, 10, true), "█████████▉");
        assert_eq!(
            (bar(1.0, 3, false), bar(1e-9, 3, true), bar(0.0, 3, false)),
            ("###".into(), "▏".into(), "...".into())
        );
        assert_eq!(bar(f64::NAN, 0, true), "");
    }
}
