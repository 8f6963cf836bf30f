//! The TCP state machine as a drawing, with a count at each state.

use std::collections::BTreeMap;

use tcproof_core::states::State;

use crate::layout::{Cell, Role, Screen, Style, thousands};
use crate::sanitize::NO_BREAK;

/// Columns that the drawing takes.
const WIDTH: usize = 75;
/// Columns of a state's name in the list, for a screen that is too narrow for the drawing.
const LABEL: usize = 16;

/// `@` and a letter (A is state 1) begin the place of a state's count; it ends with the last dot.
const DRAWING: &str = "\
\x20                        ┌────────────────┐  bind(2)   ┌────────────────┐
                         │ CLOSE          ├───────────►│ BOUND-INACTIVE │
                         │ @G............ │            │ @M............ │
                         └──┬──────────┬──┘            └────────────────┘
                  listen(2) │          │ connect(2): SYN out
           ┌────────────────┘          └─────────────────┐
           ▼                                             ▼
   ┌────────────────┐                            ┌────────────────┐
   │ LISTEN         │                            │ SYN-SENT       │
   │ @J............ │                            │ @B............ │
   └───────┬────┬───┘                            └───┬────┬───────┘
    SYN in │    │ Fast Open                   SYN in │    │ SYN-ACK in
           │    └────────────┐    ┌──────────────────┘    │
           ▼                 ▼    ▼                       │
   ┌────────────────┐     ┌────────────────┐              │
   │ NEW-SYN-RECV   │     │ SYN-RECV       │              │
   │ @L............ │     │ @C............ │              │
   └───────┬────────┘     └───────┬────────┘              │
    ACK in │               ACK in │                       │
           ▼                      ▼                       ▼
   ┌──────────────────────────────────────────────────────────────────────┐
   │ ESTABLISHED                                                          │
   │ @A............                                                       │
   └───────┬────────────────────────────────────────┬─────────────────────┘
           │ closed here first: FIN out             │ closed there first:
           ▼                                        ▼ FIN in
   ┌────────────────┐                       ┌────────────────┐
   │ FIN-WAIT-1     │ FIN in                │ CLOSE-WAIT     │
   │ @D............ ├─────────┐             │ @H............ │
   └───────┬────────┘         ▼             └───────┬────────┘
    ACK in │         ┌────────────────┐             │ closed here: FIN out
           ▼         │ CLOSING        │             ▼
   ┌────────────────┐│ @K............ │     ┌────────────────┐
   │ FIN-WAIT-2     │└────────┬───────┘     │ LAST-ACK       │
   │ @E............ │         │ ACK in      │ @I............ │
   └───────┬────────┘         │             └───────┬────────┘
    FIN in │                  │                     │ ACK in
           ▼                  ▼                     ▼
   ┌───────────────────────────────────┐          CLOSE
   │ TIME-WAIT                         │
   │ @F............                    │
   └───────┬───────────────────────────┘
           │ 60 s
           ▼
         CLOSE
";

/// The drawing, with `-` where nothing was counted; on a screen too narrow for it, a list. Both end with a line break.
pub fn draw(counts: &BTreeMap<State, u64>, style: &Style) -> String {
    if style.columns() < WIDTH {
        return list(counts, style);
    }
    let mut drawn = String::with_capacity(DRAWING.len());
    let mut rest = DRAWING;
    while let Some((before, slot)) = rest.split_once('@') {
        drawn.push_str(before);
        let letter = slot.bytes().next().unwrap_or_default();
        let state = letter.checked_sub(b'A' - 1).and_then(State::of_number);
        let after = slot.trim_start_matches(|c: char| c.is_ascii_uppercase()).trim_start_matches('.');
        let width = 1 + slot.len() - after.len();
        drawn.push_str(&format!("{:width$}", state.map_or_else(String::new, |state| count(counts, state, width))));
        rest = after;
    }
    drawn.push_str(rest);
    if style.unicode { drawn } else { drawn.chars().map(plain).collect() }
}

fn list(counts: &BTreeMap<State, u64>, style: &Style) -> String {
    let mut screen = Screen::new(style);
    for state in State::ALL {
        let text = count(counts, state, usize::MAX);
        screen.row(&[Cell::new(Role::Plain, state.about().name, LABEL)], Role::Plain, &text);
    }
    screen.finish()
}

fn count(counts: &BTreeMap<State, u64>, state: State, width: usize) -> String {
    let Some(n) = counts.get(&state) else { return "-".into() };
    let text = thousands(*n).replace(NO_BREAK, " ");
    if text.len() <= width { text } else { format!("{:.1e}", *n as f64) }
}

/// The nearest ASCII of a letter of the drawing.
fn plain(c: char) -> char {
    match c {
        '─' => '-',
        '│' => '|',
        '▼' => 'v',
        '►' => '>',
        c if c.is_ascii() => c,
        _ => '+',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use textwrap::core::display_width;

    fn counts() -> BTreeMap<State, u64> {
        let counted = State::ALL.into_iter().filter(|state| *state != State::Close);
        counted.map(|state| (state, u64::from(state.number()) * 1_009 % 13_000)).collect()
    }

    #[test]
    fn the_drawing() {
        insta::assert_snapshot!(draw(&counts(), &Style::default()));
    }

    #[test]
    fn the_drawing_in_ascii() {
        insta::assert_snapshot!(draw(&counts(), &Style { unicode: false, ..Style::default() }));
    }

    #[test]
    fn a_narrow_screen_has_a_list() {
        insta::assert_snapshot!(draw(&counts(), &Style { width: 60, ..Style::default() }), @"
        CLOSE           -
        BOUND-INACTIVE  117
        LISTEN          10 090
        NEW-SYN-RECV    12 108
        SYN-RECV        3027
        SYN-SENT        2018
        ESTABLISHED     1009
        FIN-WAIT-1      4036
        FIN-WAIT-2      5045
        CLOSING         11 099
        TIME-WAIT       6054
        CLOSE-WAIT      8072
        LAST-ACK        9081
        ");
    }

    #[test]
    fn every_state_has_one_place_and_its_name_above_it() {
        for state in State::ALL {
            let slot = format!("@{}", char::from(b'A' - 1 + state.number()));
            assert_eq!(DRAWING.matches(&slot).count(), 1, "{state}");
            let lines: Vec<Vec<char>> = DRAWING.lines().map(|line| line.chars().collect()).collect();
            let at = |line: &Vec<char>| line.windows(2).position(|two| two.iter().collect::<String>() == slot);
            let (row, column) = lines.iter().enumerate().find_map(|(row, line)| Some((row, at(line)?))).unwrap();
            let above: String = lines[row - 1][column..].iter().collect();
            assert!(above.starts_with(&format!("{state} ")), "{state}: {above}");
        }
    }

    #[test]
    fn nothing_counted_is_not_zero() {
        let drawn = draw(&BTreeMap::from([(State::Listen, 0)]), &Style::default());
        assert_eq!(drawn.matches("│ -  ").count(), 12);
        assert!(drawn.contains("│ LISTEN         │") && drawn.contains("│ 0              │"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn no_count_moves_a_line(numbers in prop::collection::btree_map(0_u8..16, any::<u64>(), 0..14), unicode in any::<bool>()) {
            let counts = numbers.into_iter().filter_map(|(number, n)| Some((State::of_number(number)?, n))).collect();
            let drawn = draw(&counts, &Style { unicode, ..Style::default() });
            for (drawn, line) in drawn.lines().zip(DRAWING.lines()) {
                prop_assert_eq!(display_width(drawn), display_width(line));
                prop_assert!(display_width(drawn) <= WIDTH);
            }
            prop_assert!(unicode || drawn.is_ascii());
        }
    }
}
