//! What was probably meant.

/// How alike two names have to be: 1 is equal. Two letters swapped in a short name are still alike.
const ALIKE: f64 = 0.8;

/// The candidate that is most like `word`, if one is. The last part of a name counts more than its section.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    // What all variables begin with makes none of them alike.
    let plain = |name: &str| name.trim_start_matches("LANNER_").to_lowercase();
    let word = plain(word);
    let alike = |candidate: &str| {
        let candidate = plain(candidate);
        let (mine, other) = (last(&word), last(&candidate));
        let part =
            strsim::normalized_damerau_levenshtein(&mine, &other).max(strsim::jaro_winkler(&mine, &other) - 0.05);
        // Where the last part is equal, the section decides.
        part * 0.9 + strsim::normalized_damerau_levenshtein(&word, &candidate) * 0.1
    };
    let scored = candidates.into_iter().map(|candidate| (alike(candidate), candidate));
    scored.filter(|(score, _)| *score >= ALIKE).max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, candidate)| candidate)
}

/// `: did you mean X?`, or else `: LIST` of what there is.
pub(super) fn hint<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
    otherwise: impl FnOnce() -> String,
) -> String {
    nearest(word, candidates).map_or_else(|| format!(": {}", otherwise()), |name| format!(": did you mean {name}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_what_was_meant_and_nonsense_finds_nothing() {
        let names = ["workers.in_flight", "workers.batch_max", "workers.backoff_max_ms", "log.filter", "data.dir"];
        for (word, meant) in [
            ("workers.in_fligth", Some("workers.in_flight")),
            ("in_flight", Some("workers.in_flight")),
            ("worker.in_flight", Some("workers.in_flight")),
            ("log.in_flight", Some("workers.in_flight")),
            ("workers.batchmax", Some("workers.batch_max")),
            ("log.fliter", Some("log.filter")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, names), meant, "{word}");
        }
    }
}
