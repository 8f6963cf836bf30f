//! Writes HTML. Tags and attributes' names are literals of this program; all else goes through [`shown`], so that nothing
//! can be forgotten.

use crate::sanitize;

/// What was written so far.
#[derive(Default)]
pub(super) struct Markup {
    out: String,
}

/// Attributes of a tag.
pub(super) type Attributes<'a> = &'a [(&'static str, &'a str)];

impl Markup {
    /// The text.
    pub(super) fn finish(self) -> String {
        self.out
    }

    /// A literal, as it is.
    pub(super) fn literal(&mut self, markup: &'static str) {
        self.out.push_str(markup);
    }

    /// Words from anywhere.
    pub(super) fn text(&mut self, text: &str) {
        self.out.push_str(&shown(text));
    }

    /// A tag without an end. An attribute without a value is left out.
    pub(super) fn void(&mut self, tag: &'static str, attributes: Attributes<'_>) {
        self.out.push('<');
        self.out.push_str(tag);
        for (name, value) in attributes.iter().filter(|(_, value)| !value.is_empty()) {
            self.out.push(' ');
            self.out.push_str(name);
            self.out.push_str("=\"");
            self.text(value);
            self.out.push('"');
        }
        self.out.push('>');
    }

    /// A tag, what is inside, and its end.
    pub(super) fn element(&mut self, tag: &'static str, attributes: Attributes<'_>, inside: impl FnOnce(&mut Self)) {
        self.void(tag, attributes);
        inside(self);
        self.out.push_str("</");
        self.out.push_str(tag);
        self.out.push('>');
    }

    /// A tag with words inside.
    pub(super) fn words(&mut self, tag: &'static str, attributes: Attributes<'_>, text: &str) {
        self.element(tag, attributes, |inside| inside.text(text));
    }

    /// JSON that a browser keeps and does not run. Inside of it only `</script` and `<!--` mean anything to a browser, and
    /// in JSON a `<` is in a string, where an escape says the same.
    pub(super) fn data(&mut self, id: &'static str, json: &str) {
        self.element("script", &[("type", "application/json"), ("id", id)], |inside| {
            for c in json.chars() {
                match c {
                    '<' | '>' | '&' => inside.out.push_str(&format!("\\u{:04x}", u32::from(c))),
                    c => inside.out.push(c),
                }
            }
        });
    }
}

/// The text with what means something in HTML, or would act instead of being seen, made visible.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in sanitize(text).chars() {
        match c {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '"' => shown.push_str("&quot;"),
            '\'' => shown.push_str("&#39;"),
            c => shown.push(c),
        }
    }
    shown
}
