//! A report as one HTML file: no script, nothing fetched, read on a screen of any width, in the dark, and on paper.

use tcproof_core::limits::percent;

use super::Report;
use super::content::{Block, Card, Cell, Chart, Column, Content, Field, Section, Step, Table, Tone, content};
use super::markup::Markup;
use crate::{json, verify};

const STYLE: &str = include_str!("report.css");
/// Nothing is fetched or run, whatever got in.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

const INSIDE: &str = "The whole check as JSON (tcproof/check/1) is in this file: the element with the id “check”.";
const INSIDE_BOTH: &str = "Both checks as JSON (tcproof/check/1) are in this file, in the elements with the ids “check” and \
                           “check-after”, and what was judged of them (tcproof/verify/1) in “verify”.";

/// The file.
pub fn html(report: &Report<'_>) -> String {
    let content = content(report);
    let mut page = Markup::default();
    page.literal("<!doctype html>\n");
    page.element("html", &[("lang", "en")], |page| {
        page.element("head", &[], |page| {
            page.void("meta", &[("charset", "utf-8")]);
            page.void("meta", &[("http-equiv", "Content-Security-Policy"), ("content", POLICY)]);
            page.void("meta", &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")]);
            page.void("meta", &[("name", "color-scheme"), ("content", "light dark")]);
            page.words("title", &[], &content.title);
            page.element("style", &[], |page| page.literal(STYLE));
        });
        page.element("body", &[], |page| {
            page.element("main", &[], |page| main(page, &content));
            page.element("footer", &[], |page| {
                page.words("p", &[], if report.change.is_some() { INSIDE_BOTH } else { INSIDE });
            });
            page.data("check", report.json);
            if let Some(change) = report.change {
                page.data("check-after", &json::check(&change.after.diagnosis));
                page.data("verify", &verify::json(change.verification));
            }
        });
    });
    page.literal("\n");
    page.finish()
}

fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "plain",
        Tone::Limiting => "limiting",
        Tone::Near => "near",
        Tone::Clear => "clear",
    }
}

fn badge(page: &mut Markup, tone: Tone, word: &str) {
    page.words("span", &[("class", &format!("badge {}", class(tone)))], word);
}

fn main(page: &mut Markup, content: &Content) {
    page.element("header", &[("class", class(content.tone))], |page| {
        page.element("h1", &[], |page| {
            badge(page, content.tone, content.verdict);
            page.literal(" ");
            page.text(&content.headline);
        });
        if !content.lead.is_empty() {
            page.words("p", &[("class", "lead")], &content.lead);
        }
        page.element("dl", &[("class", "facts")], |page| {
            for (label, text) in &content.facts {
                page.element("div", &[], |page| {
                    page.words("dt", &[], label);
                    page.words("dd", &[], text);
                });
            }
        });
    });
    content.sections.iter().for_each(|one| section(page, one));
}

fn section(page: &mut Markup, section: &Section) {
    let title = format!("{}-title", section.id);
    page.literal("\n");
    page.element("section", &[("id", section.id), ("aria-labelledby", &title)], |page| match section.folded {
        true => page.element("details", &[], |page| {
            page.element("summary", &[], |page| page.words("h2", &[("id", &title)], section.title));
            section.blocks.iter().for_each(|one| block(page, one));
        }),
        false => {
            page.words("h2", &[("id", &title)], section.title);
            section.blocks.iter().for_each(|one| block(page, one));
        }
    });
}

fn block(page: &mut Markup, block: &Block) {
    match block {
        Block::Text(text) => page.words("p", &[], text),
        Block::List(lines) => list(page, lines),
        Block::Card(one) => card(page, one),
        Block::Table(one) => table(page, one),
    }
}

fn list(page: &mut Markup, lines: &[String]) {
    page.element("ul", &[], |page| lines.iter().for_each(|line| page.words("li", &[], line)));
}

fn card(page: &mut Markup, card: &Card) {
    page.literal("\n");
    page.element("article", &[("class", class(card.tone))], |page| {
        page.element("h3", &[], |page| {
            if !card.word.is_empty() {
                badge(page, card.tone, card.word);
                page.literal(" ");
            }
            page.text(&card.title);
        });
        page.element("dl", &[("class", "fields")], |page| {
            for (label, value) in &card.fields {
                page.words("dt", &[], label);
                page.element("dd", &[], |page| field(page, value));
            }
        });
        if let Some(one) = &card.table {
            table(page, one);
        }
    });
}

fn field(page: &mut Markup, field: &Field) {
    match field {
        Field::Text(text) => page.text(text),
        Field::Code(text) => page.words("code", &[], text),
        Field::List(lines) => list(page, lines),
        Field::Steps(steps) => page.element("ol", &[], |page| steps.iter().for_each(|one| step(page, one))),
    }
}

fn step(page: &mut Markup, step: &Step) {
    page.element("li", &[], |page| {
        page.text(&step.text);
        page.literal(" ");
        page.words("span", &[("class", "who")], step.who);
        if let Some(change) = &step.change {
            page.element("p", &[], |page| page.words("code", &[], change));
        }
        for (label, text) in &step.notes {
            page.element("p", &[("class", "note")], |page| {
                page.words("span", &[("class", "label")], label);
                page.literal(" ");
                page.text(text);
            });
        }
    });
}

fn table(page: &mut Markup, table: &Table) {
    page.element("table", &[], |page| {
        page.words("caption", &[], &table.caption);
        page.element("thead", &[], |page| {
            page.element("tr", &[], |page| {
                for Column { title, number } in &table.columns {
                    let class = if *number { "number" } else { "" };
                    page.words("th", &[("scope", "col"), ("class", class)], title);
                }
            });
        });
        page.element("tbody", &[], |page| {
            for row in &table.rows {
                page.literal("\n");
                page.element("tr", &[], |page| {
                    for (at, (one, column)) in row.iter().zip(&table.columns).enumerate() {
                        let class = if column.number { "number" } else { "" };
                        match at {
                            0 => page.element("th", &[("scope", "row")], |page| cell(page, one)),
                            _ => page.element("td", &[("class", class)], |page| cell(page, one)),
                        }
                    }
                });
            }
        });
    });
}

fn cell(page: &mut Markup, cell: &Cell) {
    if let Some((tone, word)) = cell.badge {
        badge(page, tone, word);
        page.literal(" ");
    }
    if let Some(one) = &cell.chart {
        chart(page, one);
    }
    for (at, line) in cell.lines.iter().enumerate() {
        match at {
            0 if cell.code => page.words("code", &[], line),
            0 => page.words("span", &[], line),
            _ => page.words("span", &[("class", "line")], line),
        }
    }
}

/// A bar of a hundred units, as wide as there is room.
fn chart(page: &mut Markup, chart: &Chart) {
    let (label, parts): (String, Vec<(f64, String)>) = match chart {
        Chart::Share(share, tone) => {
            let width = if share.is_finite() { (share * 100.0).clamp(0.0, 100.0) } else { 0.0 };
            (format!("{} %", percent(*share)), vec![(width, format!("used {}", class(*tone)))])
        }
        Chart::Looks(looks) => {
            let all = looks.iter().map(|n| f64::from(*n)).sum::<f64>().max(1.0);
            let names = ["empty", "some", "over", "full"];
            let parts = names.iter().zip(looks).map(|(name, n)| (f64::from(*n) / all * 100.0, (*name).to_string()));
            let [empty, some, over, full] = looks;
            (format!("looks: {empty} empty, {some} up to half full, {over} over half, {full} full"), parts.collect())
        }
    };
    let attributes = [
        ("class", "bar"),
        ("viewBox", "0 0 100 8"),
        ("preserveAspectRatio", "none"),
        ("role", "img"),
        ("aria-label", &*label),
    ];
    page.element("svg", &attributes, |page| {
        page.element("rect", &[("class", "track"), ("width", "100"), ("height", "8")], |_| ());
        let mut from = 0.0;
        for (width, class) in parts.iter().filter(|(width, _)| *width > 0.0) {
            let (x, width) = (format!("{from:.2}"), format!("{width:.2}"));
            page.element("rect", &[("class", class), ("x", &x), ("width", &width), ("height", "8")], |_| ());
            from += width.parse().unwrap_or(0.0);
        }
    });
}
