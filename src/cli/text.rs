//! Text of others on our terminal and in our log: what would steer them is shown, not obeyed.

use std::fmt::{self, Write};

/// Whether a character ends lines, steers terminals, hides, or turns the text around it.
pub(super) fn is_harmful(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Writes text with every harmful character escaped.
pub(super) struct Escaping<'a, W>(pub(super) &'a mut W);

impl<W: Write> Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, letter)) = rest.char_indices().find(|(_, letter)| is_harmful(*letter)) {
            let (before, after) = rest.split_at(at);
            write!(self.0, "{before}{}", letter.escape_default())?;
            rest = after.get(letter.len_utf8()..).unwrap_or_default();
        }
        self.0.write_str(rest)
    }
}

/// `text` with every harmful character escaped.
pub(super) fn printable(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    // A `String` takes everything.
    let _written = Escaping(&mut escaped).write_str(text);
    escaped
}

/// The same, but lines stay lines.
pub(super) fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_shown() {
        assert_eq!(printable("a\r\nb\u{1b}[2J\u{9b}\u{2028}\u{202e}z"), "a\\r\\nb\\u{1b}[2J\\u{9b}\\u{2028}\\u{202e}z");
        assert_eq!(printable("naïve – 日本 🦀"), "naïve – 日本 🦀");
        assert_eq!(printable_lines("a\n\tb"), "a\n\\tb");
    }
}
