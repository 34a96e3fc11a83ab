//! The samples in the documents, so that tests can run them as they are printed.
//!
//! A sample is a fenced block with `<!-- sample: name -->` on the line above it. That each has a
//! name which some test takes is checked by xtask's tidy test.

use std::path::Path;

use anyhow::{Context as _, Result};

/// The text of the sample `name` in a document, whose path is from the repository's root.
///
/// # Errors
/// When there is no such document, or no such sample in it.
pub fn sample(document: &str, name: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(document);
    let text = std::fs::read_to_string(&path).with_context(|| document.to_owned())?;
    find(&text, name).with_context(|| format!("{document} has no sample `{name}`"))
}

fn find(text: &str, name: &str) -> Option<String> {
    let mark = format!("<!-- sample: {name} -->");
    let mut lines = text.lines().skip_while(|line| line.trim() != mark).skip(1);
    let fence = lines.next()?.trim_start();
    fence.starts_with("```").then_some(())?;
    let block: Vec<&str> = lines.take_while(|line| line.trim() != "```").collect();
    Some(block.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_block_by_the_name_above_it() {
        let text =
            "x\n<!-- sample: one -->\n```sh\necho 1\n```\n<!-- sample: two -->\n```yaml\na: 1\nb: 2\n```\n";
        assert_eq!(find(text, "one").as_deref(), Some("echo 1\n"));
        assert_eq!(find(text, "two").as_deref(), Some("a: 1\nb: 2\n"));
        assert_eq!(find(text, "three"), None);
    }
}
