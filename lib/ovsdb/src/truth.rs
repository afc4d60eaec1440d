//! Truths in columns of strings.

/// Whether an option is set, as Open vSwitch and OVN read options: `true` and `false` count in upper and lower case, and
/// anything else is the default.
pub fn truth(text: Option<impl AsRef<str>>, default: bool) -> bool {
    let other = if default { "false" } else { "true" };
    default != text.is_some_and(|text| text.as_ref().eq_ignore_ascii_case(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_other_value_is_not_the_default() {
        for (text, off_by_default, on_by_default) in [
            (None, false, true),
            (Some(""), false, true),
            (Some("true"), true, true),
            (Some("TRUE"), true, true),
            (Some("False"), false, false),
            (Some("1"), false, true),
            (Some(" true"), false, true),
        ] {
            let read = (truth(text, false), truth(text, true));
            assert_eq!(read, (off_by_default, on_by_default), "{text:?}");
        }
    }
}
