//! Command line arguments: words, options, and suggestions for misspelled words.

use std::collections::VecDeque;

/// An invalid command line, with an error message that can suggest a correction.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Arguments that are not parsed yet.
#[derive(Clone, Debug)]
pub(crate) struct Args {
    words: VecDeque<String>,
}

impl Args {
    /// Returns the command line of this process, without the program's name.
    pub(crate) fn from_process() -> Self {
        Self { words: std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect() }
    }

    /// Takes the next word.
    pub(crate) fn next(&mut self) -> Option<String> {
        self.words.pop_front()
    }

    /// Returns all remaining words.
    pub(crate) fn rest(self) -> Vec<String> {
        self.words.into()
    }

    /// Removes a switch at any position. Returns whether it was present.
    pub(crate) fn switch(&mut self, name: &str) -> bool {
        let before = self.words.len();
        self.words.retain(|word| word != name);
        self.words.len() != before
    }

    /// Removes an option at any position, and returns its value. The forms are `--name value` and `--name=value`.
    pub(crate) fn option(&mut self, name: &str) -> Result<Option<String>, Usage> {
        let mut value = None;
        let mut kept = VecDeque::new();
        while let Some(word) = self.words.pop_front() {
            if word == name {
                let next = self.words.pop_front();
                value = Some(next.ok_or_else(|| Usage(format!("{name} needs a value")))?);
            } else if let Some(text) = word.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
                value = Some(text.to_owned());
            } else {
                kept.push_back(word);
            }
        }
        self.words = kept;
        Ok(value)
    }

    /// Fails if any word is left.
    pub(crate) fn end(mut self, known: &[&str]) -> Result<(), Usage> {
        self.next().map_or(Ok(()), |word| Err(unknown(&word, known)))
    }
}

impl From<&str> for Args {
    fn from(words: &str) -> Self {
        Self { words: words.split_whitespace().map(str::to_owned).collect() }
    }
}

/// Returns the error for an unknown word, with the most similar known one.
pub(crate) fn unknown(word: &str, known: &[&str]) -> Usage {
    let nearest = known.iter().map(|known| (distance(word, known), known)).min();
    let hint = match nearest {
        Some((distance, meant)) if distance * 2 <= meant.len().max(2) => format!("; did you mean `{meant}`?"),
        _ if known.is_empty() => String::new(),
        _ => format!("; expected one of: {}", known.join(", ")),
    };
    Usage(format!("unknown word `{word}`{hint}"))
}

/// Returns the Levenshtein distance of two words.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, letter) in left.chars().enumerate() {
        let mut diagonal = line;
        let mut before = line + 1;
        let mut next = vec![before];
        for (&other, &above) in right.iter().zip(row.iter().skip(1)) {
            let replaced = diagonal + usize::from(letter != other);
            before = replaced.min(above + 1).min(before + 1);
            diagonal = above;
            next.push(before);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_parsed_in_both_forms() -> Result<(), Usage> {
        let mut words = Args::from("demo --load=kind --kubeconfig file --keep");
        assert_eq!(words.option("--load")?.as_deref(), Some("kind"));
        assert_eq!(words.option("--kubeconfig")?.as_deref(), Some("file"));
        assert!(words.switch("--keep"));
        assert_eq!(words.rest(), ["demo"]);
        Ok(())
    }

    #[test]
    fn an_option_without_a_value_is_an_error() {
        assert!(Args::from("demo --load").option("--load").is_err());
    }

    #[test]
    fn a_misspelled_word_gets_a_suggestion() {
        assert_eq!(distance("clutser", "cluster"), 2);
        assert!(unknown("demoo", &["demo", "test"]).0.contains("did you mean `demo`"));
        assert!(unknown("wholly-other", &["demo", "test"]).0.contains("expected one of: demo, test"));
    }
}
