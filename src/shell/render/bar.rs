//! One bar of a chart: to the right of where nothing is, or to the left of it, in blocks of an eighth of a column.

/// Left parts of a column, from one eighth to seven.
const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];
const FULL: char = '█';
/// The right half of a column: no finer right parts are in every font.
const RIGHT_HALF: char = '▐';
const ZERO: char = '│';

/// Where bars begin and how far they go. They are told as parts of the longest: from -1 to 1.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    /// Columns to the left of zero; if there are any, a line stands at zero.
    left: usize,
    right: usize,
    /// How many columns a bar of 1 has.
    unit: f64,
}

impl Axis {
    /// The axis of bars from the lowest to the highest, in so many columns; three at least, where some are below zero.
    pub fn new(lowest: f64, highest: f64, room: usize) -> Axis {
        let (below, above) = (lowest.min(0.0).abs(), highest.max(0.0));
        if below == 0.0 {
            let right = room.max(1);
            return Axis { left: 0, right, unit: right as f64 };
        }
        let room = room.saturating_sub(1).max(2);
        if above == 0.0 {
            return Axis { left: room, right: 0, unit: room as f64 / below };
        }
        let left = ((room as f64 * below / (below + above)).round() as usize).clamp(1, room - 1);
        let right = room - left;
        Axis { left, right, unit: (left as f64 / below).min(right as f64 / above) }
    }

    /// A bar, with the line at zero if there is one. What is not nothing is seen, however short.
    pub fn bar(self, part: f64) -> String {
        let columns = part.abs() * self.unit;
        let parts =
            |of: usize, most: usize| ((columns * of as f64).round() as usize).clamp(1, (of * most).max(1));
        let mut bar = String::new();
        if self.left > 0 {
            let halves = if part < 0.0 { parts(2, self.left) } else { 0 };
            bar.extend(std::iter::repeat_n(' ', self.left.saturating_sub(halves.div_ceil(2))));
            bar.extend((halves % 2 == 1).then_some(RIGHT_HALF));
            bar.extend(std::iter::repeat_n(FULL, halves / 2));
            bar.push(ZERO);
        }
        if part > 0.0 && self.right > 0 {
            let eighths = parts(8, self.right);
            bar.extend(std::iter::repeat_n(FULL, eighths / 8));
            bar.extend((eighths % 8).checked_sub(1).and_then(|part| EIGHTHS.get(part)));
        }
        bar
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_exact_to_an_eighth() {
        let axis = Axis::new(0.0, 1.0, 10);
        assert_eq!(axis.bar(1.0), "██████████");
        assert_eq!(axis.bar(0.5), "█████");
        assert_eq!(axis.bar(0.4875), "████▉");
        assert_eq!(axis.bar(0.0125), "▏");
    }

    #[test]
    fn nothing_has_no_bar_and_little_has_one() {
        let axis = Axis::new(0.0, 1.0, 10);
        assert_eq!(axis.bar(0.0), "");
        assert_eq!(axis.bar(-0.0), "");
        assert_eq!(axis.bar(f64::NAN), "");
        assert_eq!(axis.bar(f64::MIN_POSITIVE), "▏");
        assert_eq!(Axis::new(-1.0, 1.0, 9).bar(-f64::MIN_POSITIVE), "   ▐│");
    }

    #[test]
    fn bars_below_zero_go_to_the_left_of_a_line() {
        let axis = Axis::new(-1.0, 1.0, 9);
        assert_eq!(axis.bar(1.0), "    │████");
        assert_eq!(axis.bar(-1.0), "████│");
        assert_eq!(axis.bar(-0.625), " ▐██│");
        assert_eq!(axis.bar(0.0), "    │");
        let axis = Axis::new(-1.0, 0.0, 9);
        assert_eq!(axis.bar(-1.0), "████████│");
        assert_eq!(axis.bar(-0.5), "    ████│");
    }

    #[test]
    fn no_bar_is_wider_than_the_room() {
        for room in 0..40 {
            for (lowest, highest) in
                [(0.0, 1.0), (-1.0, 0.0), (-1.0, 1.0), (-1e-9, 1.0), (-1.0, 1e-9), (0.0, 0.0)]
            {
                let axis = Axis::new(lowest, highest, room);
                for part in [lowest, highest, lowest / 3.0, highest / 3.0, f64::INFINITY, f64::NEG_INFINITY] {
                    let width = axis.bar(part).chars().count();
                    assert!(width <= room.max(3), "{part} from {lowest} to {highest} in {room} has {width}");
                }
            }
        }
    }
}
