//! A tree in words and lines: what a reader checks the documentation against.

use std::fmt::{self, Write as _};

use super::child::{Body, Child, Leaf};
use super::policy::{Policy, Reset};
use super::tree::Tree;

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name)?;
        writeln!(f, "│   stop: {}", self.bounds)?;
        f.write_str(&describe_all(&self.children)?)
    }
}

/// Children with the same description and consecutive numbers for names are described once, as `1 to 512`.
fn describe_all(children: &[Child]) -> Result<String, fmt::Error> {
    let mut pools: Vec<(&str, &str, String)> = Vec::new();
    for child in children {
        let last = pools.last().map_or(usize::MAX, |(_, last, _)| last.parse().unwrap_or(usize::MAX));
        let follows = child.name.parse::<usize>().is_ok_and(|number| last.checked_add(1) == Some(number));
        let below = describe_below(child)?;
        match pools.last_mut() {
            Some((_, last, same)) if follows && *same == below => *last = &child.name,
            _ => pools.push((&child.name, &child.name, below)),
        }
    }
    let mut words = String::new();
    for (index, (first, last, below)) in pools.iter().enumerate() {
        let (branch, beside) = if index + 1 == pools.len() { ("└─", "   ") } else { ("├─", "│  ") };
        let name = if first == last { (*first).to_owned() } else { format!("{first} to {last}") };
        let mut lines = below.lines();
        writeln!(words, "{branch} {name}{}", lines.next().unwrap_or_default())?;
        for line in lines {
            writeln!(words, "{beside}{line}")?;
        }
    }
    Ok(words)
}

/// What stands behind and below a child's name.
fn describe_below(child: &Child) -> Result<String, fmt::Error> {
    let mut words = String::new();
    match &child.body {
        Body::Leaf(leaf) => {
            writeln!(words, " ({})", leaf.phase.word())?;
            describe_policy(&child.policy, "    ", &mut words)?;
            describe_leaf(leaf, &child.policy, "    ", &mut words)?;
        }
        Body::Supervisor(children) => {
            writeln!(words, " (supervisor)")?;
            describe_policy(&child.policy, "│   ", &mut words)?;
            words.push_str(&describe_all(children)?);
        }
    }
    Ok(words)
}

fn describe_policy(policy: &Policy, indent: &str, words: &mut String) -> fmt::Result {
    writeln!(words, "{indent}on: {}", policy.directives)?;
    let backoff = policy.backoff;
    let (min, max) = (backoff.delay(1, 0.0), backoff.delay(u32::MAX, 0.0));
    let random_factor = 1.0 - backoff.delay(1, 1.0).as_secs_f64() / min.as_secs_f64();
    write!(words, "{indent}backoff: {min:?} to {max:?}, random factor {random_factor:.2}, reset ")?;
    match policy.reset {
        Reset::After(quiet) => writeln!(words, "after {quiet:?}")?,
        Reset::Manual => writeln!(words, "by hand")?,
    }
    writeln!(words, "{indent}limit: {} restarts within {:?}", policy.limit.max, policy.limit.within)
}

fn describe_leaf(leaf: &Leaf, policy: &Policy, indent: &str, words: &mut String) -> fmt::Result {
    if let Some(silence) = policy.hang_after {
        writeln!(words, "{indent}hangs after: {silence:?}")?;
    }
    match &leaf.post {
        Some(post) => writeln!(words, "{indent}mailbox: {}", post.mailbox()),
        None => Ok(()),
    }
}
