use super::*;

fn shown(text: &str) -> String {
    let found = commands(&letters(text), Dialect::Shell);
    let words = |simple: &Simple| simple.words.iter().map(Word::text).collect::<Vec<_>>().join("·");
    found.commands.iter().map(words).collect::<Vec<_>>().join(" | ")
}

#[test]
fn words_quotes_and_separators() {
    assert_eq!(shown("a b; c&&d||e|f & g\nh"), "a·b | c | d | e | f | g | h");
    assert_eq!(shown("a 'b c' \"d e\"f \\\n g\\ h # no"), "a·b c·d ef·g h");
    assert_eq!(shown("if a; then b; else c; fi; for i in 1 2; do d; done"), "a | b | c | d");
    assert_eq!(shown("case $x in a) b;; c) d;; esac"), "b | c | d");
    assert_eq!(shown("f() { a; }\n(b; c)"), "f | a | b | c");
    assert_eq!(shown("x=$(a b) c \"$(d 'e f')\" `g h`"), "a·b | d·e f | g·h | x=$(a b)·c·$(d 'e f')·`g h`");
    assert_eq!(shown("echo $((1<<2)) ${x:-y z} 2>&1 >/dev/null <<<x"), "echo·$((1<<2))·${x:-y z}");
    assert_eq!(shown("cat <<EOF; b\nnot this\nEOF\nc"), "cat | b | c");
}

#[test]
fn places_are_those_of_the_file() {
    let found = commands(&letters("x\n  sysctl -w \"a=b c\"\n"), Dialect::Shell);
    let word = &found.commands[1].words[2];
    assert_eq!(word.at, Span { line: 2, column: 13, end: 20 });
    assert_eq!(span(&word.letters), Some(Span { line: 2, column: 14, end: 19 }));
    assert!(word.is_literal);
}

#[test]
fn branches_hold_apart() {
    let found = commands(&letters("a\nif b; then c; else d; fi\ne || f; g\n"), Dialect::Shell);
    let branches: Vec<_> = found.commands.iter().map(|command| command.branch).collect();
    assert_eq!((branches[0], branches[4], branches[6]), (0, 0, 0));
    assert!(branches[2] != branches[3] && branches[2] > 0 && branches[5] > 0, "{branches:?}");
}

#[test]
fn what_is_not_closed_is_said() {
    for (text, column) in [("a 'b\nc", 3), ("a \"b", 3), ("a $(b", 4), ("a ${b", 3), ("a $'b", 3), ("a $'\\", 3)] {
        let found = commands(&letters(text), Dialect::Shell);
        assert_eq!(found.unclosed.map(|letter| letter.column), Some(column), "{text}");
    }
    assert_eq!(commands(&letters("a 'b' \"$(c)\""), Dialect::Shell).unclosed, None);
}

#[test]
fn a_tower_of_brackets_is_no_deep_recursion() {
    for tower in ["$(", "(", "`", "<(", "\"$(", "${"] {
        commands(&letters(&tower.repeat(100_000)), Dialect::Shell);
    }
}
