//! From paths to numbers, by patterns: a radix tree.

use path_tree::PathTree;

use crate::pattern::Pattern;

/// Patterns and what each stands for. (One type for all routers keeps one copy of their code in the module.)
#[derive(Default)]
pub struct Router(PathTree<usize>);

impl Router {
    /// Has paths that match `pattern` lead to `value`; the pattern must be new.
    pub fn insert(&mut self, pattern: &Pattern, value: usize) {
        let _ = self.0.insert(&pattern.template(), value);
    }

    /// What the most specific pattern that matches `path` leads to. (The tree itself is asked, because it
    /// takes bytes; the router around it wants them to be proven UTF-8 and collects parameters.)
    pub fn find(&self, path: &[u8]) -> Option<usize> {
        let (id, _) = self.0.node.find(path)?;
        self.0.get_route(*id).map(|(value, _)| *value)
    }
}
