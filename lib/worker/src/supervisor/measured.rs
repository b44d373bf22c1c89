//! Starts, stops and the last word of every child, as metrics.

use super::hooks::{Event, Hooks, Notice};

/// Counts what happens to children: hook it to a [`Tree`](super::Tree). The label `child` is the path below the tree's name;
/// children that are numbered, as those of a pool are, count together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measured;

impl Hooks for Measured {
    fn notice(&self, notice: &Notice) {
        let child = || label(&notice.child).to_owned();
        match &notice.event {
            Event::AfterStart => metrics::counter!("lanner_child_starts_total", "child" => child()).increment(1),
            Event::AfterStop(reason) => {
                let reason = reason.kind().word();
                metrics::counter!("lanner_child_stops_total", "child" => child(), "reason" => reason).increment(1);
            }
            Event::GaveUp(_) => metrics::counter!("lanner_child_given_up_total", "child" => child()).increment(1),
            Event::BeforeStart | Event::BeforeBackoff(_) => {}
        }
    }
}

/// `process/merge-newest/handlers/17` is `merge-newest/handlers`.
fn label(path: &str) -> &str {
    let below = path.split_once('/').map_or(path, |(_, below)| below);
    match below.rsplit_once('/') {
        Some((pool, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => pool,
        _ => below,
    }
}

#[cfg(test)]
mod tests {
    use super::label;

    #[test]
    fn children_of_a_pool_are_counted_together() {
        let cases = [
            ("process/merge-newest/handlers/17", "merge-newest/handlers"),
            ("process/merge-newest/poll", "merge-newest/poll"),
            ("process/probes", "probes"),
        ];
        for (path, expected) in cases {
            assert_eq!(label(path), expected, "{path}");
        }
    }
}
