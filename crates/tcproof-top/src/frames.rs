//! Frames at several sizes, and whatever is typed.

use std::time::Duration;

use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;

use crate::examples::{hostile, second};
use crate::{App, Effect, Event, Go, Key, Look, Options, Step, frame};

const LOOK: Look = Look { unicode: true, color: false };

fn app_with(look: Look, is_replay: bool, (width, height): (u16, u16)) -> App {
    App::new(Options { look, window: Duration::from_secs(5), is_replay }, width, height)
}

/// After so many seconds of a host in trouble.
fn hurt(size: (u16, u16), seconds: u64) -> App {
    let mut app = app_with(LOOK, false, size);
    (0..seconds).for_each(|at| assert_eq!(app.update(Event::Step(Box::new(second(at)))), None));
    app
}

fn press(app: &mut App, keys: &str) {
    for key in keys.chars() {
        let key = match key {
            '\n' => Key::Enter,
            '\x1b' => Key::Esc,
            '\t' => Key::Tab,
            key => Key::Char(key),
        };
        app.update(Event::Key(key));
    }
}

fn drawn(app: &App) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, app.size.0, app.size.1));
    frame(app, buffer.area, &mut buffer);
    buffer
}

fn text(buffer: &Buffer) -> String {
    let rows = buffer.content.chunks(usize::from(buffer.area.width).max(1));
    let lines = rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_string());
    lines.collect::<Vec<_>>().join("\n")
}

fn shows(app: &App) -> String {
    text(&drawn(app))
}

#[test]
fn panes_at_80_columns() {
    let hurt = hurt((80, 24), 8);
    for (number, pane) in (1..).zip(crate::Pane::ALL) {
        let mut app = hurt.clone();
        press(&mut app, &number.to_string());
        insta::assert_snapshot!(format!("80x24-{}", pane.name().to_lowercase()), shows(&app));
    }
}

#[test]
fn panes_at_160_columns() {
    let hurt = hurt((160, 50), 80);
    for (number, pane) in (1..).zip(crate::Pane::ALL) {
        let mut app = hurt.clone();
        press(&mut app, &number.to_string());
        insta::assert_snapshot!(format!("160x50-{}", pane.name().to_lowercase()), shows(&app));
    }
}

#[test]
fn other_sizes() {
    insta::assert_snapshot!("100x30", shows(&hurt((100, 30), 20)));
    let mut wide = hurt((400, 120), 200);
    insta::assert_snapshot!("400x120", shows(&wide));
    press(&mut wide, "3");
    insta::assert_snapshot!("400x120-listeners", shows(&wide));
    insta::assert_snapshot!(shows(&hurt((40, 10), 3)), @r"
    40x10 is too small
    expected 60x12 or more
    q quits
    ");
    assert_eq!(shows(&hurt((0, 0), 1)), "");
}

#[test]
fn what_is_opened() {
    let mut app = hurt((80, 24), 8);
    press(&mut app, "\n");
    insta::assert_snapshot!("finding", shows(&app));
    press(&mut app, "e");
    assert!(shows(&app).contains("The queue of finished handshakes"), "{}", shows(&app));
    press(&mut app, "\x1b\x1bp");
    insta::assert_snapshot!("plan", shows(&app));
    press(&mut app, "\x1b?");
    insta::assert_snapshot!("keys", shows(&app));
    press(&mut app, "2\n");
    insta::assert_snapshot!("headroom-opened", shows(&app));
    press(&mut app, "3\n");
    insta::assert_snapshot!("listener-opened", shows(&app));
    press(&mut app, "4\n");
    insta::assert_snapshot!("destination-opened", shows(&app));
    press(&mut app, "5\n");
    insta::assert_snapshot!("flow-opened", shows(&app));
    press(&mut app, "7\n");
    insta::assert_snapshot!("counter-opened", shows(&app));
}

#[test]
fn in_ascii_every_character_is_and_without_colour_there_is_none() {
    for size in [(80, 24), (160, 50)] {
        let mut app = app_with(Look { unicode: false, color: false }, false, size);
        (0..8).for_each(|at| assert_eq!(app.update(Event::Step(Box::new(second(at)))), None));
        for keys in ["", "\n", "2", "\n", "3s", "4", "5", "6", "7", "\n", "p", "?", ":wind", "\n", "/a"] {
            press(&mut app, keys);
            let buffer = drawn(&app);
            assert!(text(&buffer).chars().all(|c| c == '\n' || (' '..='~').contains(&c)), "{}", text(&buffer));
            let colours = buffer.content.iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
            assert_eq!(colours.count(), 0, "{keys:?}");
        }
    }
    let mut app = app_with(Look { unicode: false, color: false }, false, (80, 24));
    (0..30).for_each(|at| assert_eq!(app.update(Event::Step(Box::new(second(at)))), None));
    press(&mut app, "2s");
    insta::assert_snapshot!("ascii", shows(&app));
}

#[test]
fn no_colour_says_what_no_word_or_mark_does() {
    let mut app = app_with(Look { unicode: true, color: true }, false, (80, 24));
    (0..8).for_each(|at| assert_eq!(app.update(Event::Step(Box::new(second(at)))), None));
    for keys in ["", "2", "3"] {
        press(&mut app, keys);
        let buffer = drawn(&app);
        assert!(buffer.content.iter().any(|cell| cell.fg == Color::Red), "{}", text(&buffer));
        for row in buffer.content.chunks(80).filter(|row| row.iter().any(|cell| cell.fg == Color::Red)) {
            let line: String = row.iter().map(|cell| cell.symbol()).collect();
            // The bar of the full queue, in the verdict, has its percentage beside it.
            assert!(["LIMITING", "!", "100 %"].iter().any(|word| line.contains(word)), "{line}");
        }
    }
}

#[test]
fn a_quiet_start_and_a_recording_that_ends() {
    insta::assert_snapshot!("nothing-yet", shows(&app_with(LOOK, false, (80, 24))));
    let mut app = app_with(LOOK, true, (80, 24));
    app.update(Event::Jump);
    (0..6).for_each(|at| assert_eq!(app.update(Event::Past(Box::new(second(at)))), None));
    app.update(Event::Step(Box::new(second(6))));
    assert!(shows(&app).contains("recording · 5 s · 2026-12-01 14:05:07 UTC"), "{}", shows(&app));
    assert_eq!(app.update(Event::Key(Key::Char(' '))), Some(Effect::Play(true)));
    assert!(shows(&app).contains("playing · 5 s"), "{}", shows(&app));
    assert_eq!(app.update(Event::Key(Key::Char('{'))), Some(Effect::Go(Go::By(-60_000))));
    assert_eq!(app.update(Event::Key(Key::Char('('))), Some(Effect::Go(Go::Start)));
    app.update(Event::Ended);
    assert!(shows(&app).contains("the recording ends · 5 s"), "{}", shows(&app));
    assert_eq!(app.update(Event::Key(Key::Char(' '))), Some(Effect::Play(false)));
    // From somewhere else on, nothing is left of before.
    app.update(Event::Jump);
    app.update(Event::Step(Box::new(second(1))));
    assert!(shows(&app).contains("recording · 1 s · 2026-12-01 14:05:02 UTC"), "{}", shows(&app));
}

#[test]
fn held_still_it_goes_on_where_the_host_is() {
    let mut app = hurt((80, 24), 3);
    press(&mut app, "7 ");
    let held = shows(&app);
    app.update(Event::Step(Box::new(second(3))));
    assert_eq!(shows(&app), held);
    assert!(shows(&app).contains("PAUSED · 3 s · 14:05:03 UTC"), "{}", shows(&app));
    press(&mut app, " ");
    assert!(shows(&app).contains("live · 4 s · 14:05:04 UTC"), "{}", shows(&app));
    assert_eq!(app.update(Event::Key(Key::Char('['))), None);
    assert!(shows(&app).contains("[ moves in a recording"), "{}", shows(&app));
}

#[test]
fn filters_sorts_and_the_row_that_stays_chosen() {
    let mut app = hurt((80, 24), 8);
    press(&mut app, "3j");
    let chosen = |app: &App| app.chosen().map(|row| row.id.clone());
    let second_row = chosen(&app);
    press(&mut app, "ss");
    assert!(shows(&app).contains("queue ↓"), "{}", shows(&app));
    assert_eq!(chosen(&app), second_row);
    press(&mut app, "S");
    assert!(shows(&app).contains("queue ↑"), "{}", shows(&app));
    press(&mut app, "/8080");
    assert!(shows(&app).contains("/8080▏") && !shows(&app).contains(":22"), "{}", shows(&app));
    press(&mut app, "\n");
    assert!(shows(&app).contains("/8080: Esc shows all") && shows(&app).contains("1 of 1"), "{}", shows(&app));
    press(&mut app, "/x\n");
    assert!(shows(&app).contains("nothing of 3 has \"8080x\" in it"), "{}", shows(&app));
    press(&mut app, "\x1b");
    assert!(shows(&app).contains("of 3"), "{}", shows(&app));
    // A pane's own filter and order stay with it.
    press(&mut app, "23");
    assert!(shows(&app).contains("queue ↑"), "{}", shows(&app));
}

#[test]
fn commands_and_what_is_none() {
    let mut app = hurt((80, 24), 8);
    let said = |app: &mut App, command: &str| {
        press(app, &format!(":{command}\n"));
        app.message.clone().unwrap_or_default()
    };
    assert_eq!(said(&mut app, "window 2s"), "");
    assert!(shows(&app).contains("live · 2 s"), "{}", shows(&app));
    assert_eq!(said(&mut app, "window 2h"), "window expects a time from 1s to 60s");
    assert_eq!(said(&mut app, "list"), "");
    assert_eq!(app.pane, crate::Pane::Listeners);
    assert_eq!(said(&mut app, "filter 22"), "");
    assert!(shows(&app).contains("/22: Esc shows all"), "{}", shows(&app));
    assert_eq!(said(&mut app, "sort drops"), "");
    assert!(said(&mut app, "sort colour").starts_with("sort expects one of: listener, queue, "));
    assert!(said(&mut app, "apply").contains("\"apply\" is no command"));
    assert!(said(&mut app, "explain nonsense").contains("\"nonsense\" is no limit"));
    for topic in ["syn-queue", "somaxconn", "ListenOverflows", "placebo", "net.ipv4.tcp_rmem"] {
        assert_eq!(said(&mut app, &format!("explain {topic}")), "", "{topic}");
        assert_eq!(app.pages.len(), 1);
        press(&mut app, "\x1b");
    }
    assert_eq!(said(&mut app, ""), "");
    press(&mut app, ":mouse off");
    assert_eq!(app.update(Event::Key(Key::Enter)), Some(Effect::Mouse(false)));
    press(&mut app, ":q");
    assert_eq!(app.update(Event::Key(Key::Enter)), Some(Effect::Quit));
    assert_eq!(app.update(Event::Key(Key::Ctrl('c'))), Some(Effect::Quit));
    assert_eq!(app.update(Event::Stop), Some(Effect::Quit));
}

#[test]
fn the_mouse_shows_chooses_and_opens() {
    let mut app = hurt((80, 24), 8);
    // The third tab.
    app.update(Event::Click { x: 24, y: 0 });
    assert_eq!(app.pane, crate::Pane::Listeners);
    app.update(Event::Click { x: 10, y: 5 });
    assert_eq!(app.place().row, 2);
    app.update(Event::Click { x: 10, y: 20 });
    assert_eq!((app.place().row, app.pages.len()), (2, 0));
    app.update(Event::Click { x: 10, y: 5 });
    assert_eq!(app.pages.len(), 1);
    press(&mut app, "\x1b");
    app.update(Event::Wheel { down: false });
    assert_eq!(app.place().row, 0);
}

#[test]
fn every_line_of_what_is_opened_can_be_reached() {
    let mut hurt = hurt((80, 24), 8);
    press(&mut hurt, "2\n");
    for height in 12..40 {
        let mut app = hurt.clone();
        app.update(Event::Resize { width: 80, height });
        let all = app.shown.lines.len();
        let seen: std::collections::BTreeSet<String> = (0..=all)
            .flat_map(|_| {
                let frame = shows(&app);
                app.update(Event::Key(Key::Down));
                frame.lines().map(ToString::to_string).collect::<Vec<_>>()
            })
            .collect();
        for line in &app.shown.lines {
            let line: String = line.iter().map(|span| span.text.as_str()).collect();
            assert!(seen.contains(line.trim_end()), "{height} rows hide {line:?}");
        }
    }
}

#[test]
fn ports_are_counted_only_for_whoever_looks_at_them() {
    let mut app = hurt((80, 24), 1);
    assert!(!app.wants_ports());
    press(&mut app, "4");
    assert!(app.wants_ports());
    press(&mut app, "\t");
    assert!(!app.wants_ports());
}

fn event() -> impl Strategy<Value = Event> {
    let key = prop_oneof![
        8 => proptest::sample::select("1234567/sSeEpv?:gGjk [](){}q".chars().collect::<Vec<_>>()).prop_map(Key::Char),
        2 => any::<char>().prop_map(Key::Char),
        4 => proptest::sample::select(vec![
            Key::Enter, Key::Esc, Key::Tab, Key::BackTab, Key::Backspace, Key::Up, Key::Down, Key::Left, Key::Right,
            Key::PageUp, Key::PageDown, Key::Home, Key::End, Key::Ctrl('u'),
        ]),
    ];
    prop_oneof![
        12 => key.prop_map(Event::Key),
        2 => (0..500_u16, 0..200_u16).prop_map(|(x, y)| Event::Click { x, y }),
        1 => any::<bool>().prop_map(|down| Event::Wheel { down }),
        2 => (0..220_u16, 0..70_u16).prop_map(|(width, height)| Event::Resize { width, height }),
        2 => (0..40_u64).prop_map(|at| Event::Step(Box::new(second(at)))),
        2 => (0..40_u64, any::<String>()).prop_map(|(at, name)| Event::Step(Box::new(hostile(at, &name)))),
        1 => Just(Event::Jump),
        1 => Just(Event::Ended),
        1 => any::<String>().prop_map(Event::Said),
        1 => Just(Event::Step(Box::new(Step { wall_ms: i64::MIN, interval: Default::default() }))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn whatever_happens_it_draws_within_its_place(
        events in proptest::collection::vec(event(), 0..40),
        (unicode, color, is_replay) in any::<(bool, bool, bool)>(),
        (x, y, width, height) in (0..30_u16, 0..30_u16, 0..220_u16, 0..70_u16),
    ) {
        let mut app = app_with(Look { unicode, color }, is_replay, (80, 24));
        let mut buffer = Buffer::empty(Rect::new(0, 0, 200, 60));
        for event in events {
            app.update(event);
            for cell in &mut buffer.content {
                cell.set_symbol("#");
            }
            // Not always where and as large as it was told.
            let place = Rect { x, y, width, height };
            frame(&app, place, &mut buffer);
            let inside = place.intersection(buffer.area);
            for (at, cell) in buffer.content.iter().enumerate() {
                let (x, y) = (at as u16 % 200, at as u16 / 200);
                let is_inside = inside.contains(ratatui::layout::Position { x, y });
                prop_assert!(is_inside || cell.symbol() == "#", "{x},{y}: {:?}", cell.symbol());
                let is_odd = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || (!unicode && !c.is_ascii());
                prop_assert!(!cell.symbol().chars().any(is_odd), "{x},{y}: {:?}", cell.symbol());
            }
            let _ = drawn(&app);
        }
    }
}
