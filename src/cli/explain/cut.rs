/// Longest shown value, in characters.
const LONGEST: usize = 60;

/// Returns a value in one line, truncated if it is long.
pub(super) fn cut(value: &str) -> String {
    let line = value.replace('\n', "\\n");
    if line.chars().count() <= LONGEST {
        return line;
    }
    line.chars().take(LONGEST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_and_stay_on_one_line() {
        assert_eq!(cut("a\nb"), "a\\nb");
        assert_eq!(cut(&"é".repeat(61)).chars().count(), LONGEST);
    }
}
