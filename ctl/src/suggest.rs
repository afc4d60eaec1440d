//! What somebody may have meant who mistyped a word.

/// The one of `known` that is nearest to `word`, if it is near: at most a third of its letters are wrong, missing, too many,
/// or two of them exchanged.
pub fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let most = (word.chars().count() / 3).max(1);
    known
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| (1..=most).contains(distance))
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must be changed, added, left out or exchanged with their neighbour (the optimal string alignment
/// distance).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // Names are short; what is far longer or shorter is not meant anyway.
    if a.len().abs_diff(b.len()) > 8 || a.len().max(b.len()) > 64 {
        return usize::MAX;
    }
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        rows[i][0] = i;
        for j in 1..=b.len() {
            let changed = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1)
                .min(rows[i][j - 1] + 1)
                .min(rows[i - 1][j - 1] + changed);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant() {
        let known = || ["ls-add", "ls-del", "lsp-add", "lsp-set-addresses", "show"].into_iter();
        for (word, meant) in [
            ("ls-dad", Some("ls-add")),
            ("lsad", None),
            ("lsp-ad", Some("lsp-add")),
            ("lsp-set-adresses", Some("lsp-set-addresses")),
            ("shwo", Some("show")),
            ("show", None),
            ("frobnicate", None),
        ] {
            assert_eq!(nearest(word, known()), meant, "{word}");
        }
    }
}
