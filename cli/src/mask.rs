//! Makes control characters visible before output; Secrets are masked by [`mask_secrets`].

pub(crate) use domain::mask::mask_secrets;

/// Makes control characters visible, so that a terminal does not execute them.
///
/// Any client with write access to a member can put control characters into the member's messages.
pub(crate) fn printable(text: &str) -> String {
    let obeyed = |c: char| (c.is_control() && c != '\n' && c != '\t') || is_direction(c);
    if !text.contains(obeyed) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if obeyed(c) {
            // JSON and YAML use the same escape, so structured output stays valid.
            shown.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Characters that change the direction of the text after them.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        for (text, shown) in [
            ("two\nlines\tand a tab", "two\nlines\tand a tab"),
            ("\u{1b}[2Jgone", "\\u001b[2Jgone"),
            ("\u{9b}31m red", "\\u009b31m red"),
            ("back\rwards", "back\\u000dwards"),
            ("evil\u{202e}txt", "evil\\u202etxt"),
            ("grün → ok", "grün → ok"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }
}
