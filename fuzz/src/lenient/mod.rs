//! Readers that forgive what servers in use forgive, and find all that any of them could.

pub mod disguise;
pub mod forms;
pub mod graphql;
pub mod json;
pub mod path;

/// Whether a forgiving parser takes a key for a name: whatever the case, as Unicode has it in either direction,
/// and whatever stands between the letters; up to a NUL, which ends texts in C.
pub fn is_like(key: &str, name: &str) -> bool {
    let letters = |text: &str| folded(text).chars().filter(|c| c.is_alphanumeric()).collect::<String>();
    letters(key.split('\0').next().unwrap_or_default()) == letters(name)
}

/// In lower case, by way of the upper, letter by letter: all letters become one that some server takes for
/// the same.
pub fn folded(text: &str) -> String {
    let alone = |letters: &mut dyn Iterator<Item = char>, c| match (letters.next(), letters.next()) {
        (Some(letter), None) => letter,
        _ => c,
    };
    let fold = |c: char| match alone(&mut c.to_uppercase(), c) {
        // Becomes two in lower case: an i, and a dot above it.
        'İ' => 'i',
        upper => alone(&mut upper.to_lowercase(), upper),
    };
    text.chars().map(fold).collect()
}
