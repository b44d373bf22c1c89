//! A tree in words: what a reader checks the documentation against.

use std::fmt;

use super::child::{Body, Child, Leaf};
use super::policy::{Policy, Reset};
use super::tree::Tree;

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name)?;
        writeln!(f, "  stop: {}", self.bounds)?;
        self.children.iter().try_for_each(|child| describe(child, 1, f))
    }
}

fn describe(child: &Child, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let indent = "  ".repeat(depth);
    match &child.body {
        Body::Leaf(leaf) => {
            writeln!(f, "{indent}{} ({})", child.name, leaf.phase.word())?;
            describe_policy(&child.policy, &indent, f)?;
            describe_leaf(leaf, &child.policy, &indent, f)
        }
        Body::Supervisor(children) => {
            writeln!(f, "{indent}{} (supervisor)", child.name)?;
            describe_policy(&child.policy, &indent, f)?;
            children.iter().try_for_each(|child| describe(child, depth + 1, f))
        }
    }
}

fn describe_policy(policy: &Policy, indent: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "{indent}  on: {}", policy.directives)?;
    let backoff = policy.backoff;
    let (min, max) = (backoff.delay(1, 0.0), backoff.delay(u32::MAX, 0.0));
    let random_factor = 1.0 - backoff.delay(1, 1.0).as_secs_f64() / min.as_secs_f64();
    write!(f, "{indent}  backoff: {min:?} to {max:?}, random factor {random_factor:.2}, reset ")?;
    match policy.reset {
        Reset::After(quiet) => writeln!(f, "after {quiet:?}")?,
        Reset::Manual => writeln!(f, "by hand")?,
    }
    writeln!(f, "{indent}  limit: {} restarts within {:?}", policy.limit.max, policy.limit.within)
}

fn describe_leaf(leaf: &Leaf, policy: &Policy, indent: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Some(silence) = policy.hang_after {
        writeln!(f, "{indent}  hangs after: {silence:?}")?;
    }
    match &leaf.post {
        Some(post) => writeln!(f, "{indent}  mailbox: {}", post.mailbox()),
        None => Ok(()),
    }
}
