//! Other spellings of a path, each of which some origin reads as that path.

/// What is put in place of a slash.
const FOR_A_SLASH: [&str; 19] = [
    "//",
    "///",
    "/./",
    "/x/../",
    "/x/%2e%2e/",
    "/x/.%2E/",
    "/%2e/",
    "/.;a/",
    "/x/..;/",
    "\\",
    "/\\",
    "%2f",
    "%2F/",
    "%5c",
    "%252f",
    "%c0%af",
    "%e0%80%af",
    ";a=1/",
    "%3b/",
];

/// What is put behind the last segment.
const AT_THE_END: [&str; 17] = [
    ";", ";a=1", ";a/b", "%3ba", "%00", "%00.png", "%0a", "%0d%0a", "%09", "#", "#a", "%23a", "%2f", "//",
    "/.", "/x/..", "%3fa=1",
];

/// What is put in front of all.
const IN_FRONT: [&str; 8] = ["/", "/.", "/x/..", "/%2e", "/;a", "http://a.example", "\\", "%2f"];

/// What stands for a segment's end, to who drops it, as Windows does.
const DROPPED: [&str; 6] = [".", "...", "%20", "%20%20", ".%20", "%2e"];

/// A path that is spelled otherwise.
pub struct Disguise {
    /// It.
    pub path: Vec<u8>,
    /// Whether the origin takes one name for another, as in [`super::path::Reading`].
    pub is_alias: bool,
}

/// All of them for a path that all origins read alike.
pub fn disguises(path: &[u8]) -> Vec<Disguise> {
    let mut found = Vec::new();
    let mut add = |is_alias, parts: [&[u8]; 3]| found.push(Disguise { path: parts.concat(), is_alias });
    IN_FRONT.iter().for_each(|front| add(false, [front.as_bytes(), path, b""]));
    AT_THE_END.iter().for_each(|end| add(false, [path, end.as_bytes(), b""]));
    add(true, [path, b"/", b""]);
    add(true, [&path.to_ascii_uppercase(), b"", b""]);
    for (at, byte) in path.iter().enumerate() {
        let (before, after) = (&path[..at], &path[at + 1..]);
        match byte {
            b'/' => {
                FOR_A_SLASH.iter().for_each(|slash| add(false, [before, slash.as_bytes(), after]));
                if at > 0 {
                    DROPPED.iter().for_each(|end| add(true, [before, end.as_bytes(), &path[at..]]));
                }
            }
            // A letter of an escape is none of the path.
            _ if before.ends_with(b"%") || before.iter().rev().nth(1) == Some(&b'%') => {}
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => {
                for escape in [format!("%{byte:02x}"), format!("%{byte:02X}"), format!("%25{byte:02x}")] {
                    add(false, [before, escape.as_bytes(), after]);
                }
                let alike: &[&str] = match byte {
                    b's' | b'S' => &["%C5%BF"],
                    b'k' | b'K' => &["%E2%84%AA"],
                    b'i' | b'I' => &["%C4%B0", "%c4%b1"],
                    _ => &[],
                };
                alike.iter().for_each(|other| add(true, [before, other.as_bytes(), after]));
                if byte.is_ascii_alphabetic() {
                    add(true, [before, &[byte ^ 0x20], after]);
                }
            }
            _ => {}
        }
    }
    if !path.ends_with(b"/") {
        DROPPED.iter().for_each(|end| add(true, [path, end.as_bytes(), b""]));
    }
    found
}
