//! One message of a server, read for what it says of tools.
//!
//! `ListToolsResult`, `Tool` and `ToolAnnotations` in the `schema.ts` of every revision since 2025-03-26.

use crate::{
    body::json_rpc::Doubt,
    json::{Scanner, Value},
};

/// More tools in one answer are more than there are; it teaches nothing.
const MAX_LISTED: usize = 512;
/// A tool with a longer name is not learned; bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// What a server says of some of its tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lesson(Vec<(String, bool)>);

impl Lesson {
    /// The tools, and whether each is said to read; one that is listed twice reads if it does both times.
    pub fn tools(&self) -> impl Iterator<Item = (&str, bool)> {
        self.0.iter().map(|(name, reads)| (name.as_str(), *reads))
    }

    /// Whether anything is said of a tool.
    pub fn names(&self, tool: &[u8]) -> bool {
        self.0.iter().any(|(name, _)| name.as_bytes() == tool)
    }

    fn add(&mut self, name: String, reads: bool) -> Result<(), Doubt> {
        if let Some((_, known)) = self.0.iter_mut().find(|(known, _)| *known == name) {
            *known &= reads;
        } else if self.0.len() == MAX_LISTED {
            return Err(Doubt::TooMany);
        } else {
            self.0.push((name, reads));
        }
        Ok(())
    }
}

/// What the answer to the call with this id teaches; none if the message is something else.
pub fn read_answer(text: &[u8], id: &[u8]) -> Result<Option<Lesson>, Doubt> {
    const MEMBERS: [&str; 5] = ["jsonrpc", "id", "method", "result", "error"];
    let mut scanner = Scanner::new(text)?;
    if scanner.peek() != Some(b'{') {
        return Err(Doubt::NotAMessage);
    }
    let mut object = scanner.open(b'{')?;
    let (mut has_version, mut is_answer, mut is_other) = (false, false, false);
    let (mut has_result, mut lesson) = (false, None);
    while let Some(key) = scanner.key(&mut object)? {
        if key.raw == "result" {
            has_result = true;
            lesson = result(&mut scanner)?;
            continue;
        }
        let (value, raw) = scanner.raw_value()?;
        match (key.raw, value) {
            ("jsonrpc", Value::Text(version)) => has_version = version.decoded() == "2.0",
            ("id", _) => is_answer = raw == id,
            ("method" | "error", _) => is_other = true,
            _ if MEMBERS.iter().any(|member| key.resembles(member)) => return Err(Doubt::KeyInAnotherCase),
            _ => {}
        }
    }
    scanner.finish()?;
    match (has_version, has_result, is_other) {
        (true, true, false) if is_answer => lesson.ok_or(Doubt::NotAMessage).map(Some),
        (true, true, false) | (true, false, true) => Ok(None),
        _ => Err(Doubt::NotAMessage),
    }
}

/// What a result lists, if it lists tools.
fn result(scanner: &mut Scanner<'_>) -> Result<Option<Lesson>, Doubt> {
    if scanner.peek() != Some(b'{') {
        scanner.value()?;
        return Ok(None);
    }
    let mut object = scanner.open(b'{')?;
    let mut lesson = None;
    while let Some(key) = scanner.key(&mut object)? {
        if key.raw != "tools" || scanner.peek() != Some(b'[') {
            scanner.value()?;
            continue;
        }
        let mut array = scanner.open(b'[')?;
        let mut tools = Lesson::default();
        while scanner.has_next(&mut array, b']')? {
            let (name, reads) = tool(scanner)?;
            // The name of a tool that is called must be one that can be kept.
            let is_sound = !name.is_empty() && !name.bytes().any(|byte| byte.is_ascii_control());
            if is_sound && name.len() <= MAX_NAME_BYTES {
                tools.add(name, reads)?;
            }
        }
        lesson = Some(tools);
    }
    Ok(lesson)
}

/// The name of the tool that starts here, and whether it is said to read.
fn tool(scanner: &mut Scanner<'_>) -> Result<(String, bool), Doubt> {
    if scanner.peek() != Some(b'{') {
        return Err(Doubt::NotAMessage);
    }
    let mut object = scanner.open(b'{')?;
    let (mut name, mut reads) = (None, false);
    while let Some(key) = scanner.key(&mut object)? {
        match key.raw {
            "annotations" if scanner.peek() == Some(b'{') => reads = read_only_hint(scanner)?,
            raw => match (raw, scanner.value()?) {
                ("name", Value::Text(text)) => name = Some(text.decoded().into_owned()),
                ("name", _) => return Err(Doubt::NotAMessage),
                _ => {}
            },
        }
    }
    name.map(|name| (name, reads)).ok_or(Doubt::NotAMessage)
}

fn read_only_hint(scanner: &mut Scanner<'_>) -> Result<bool, Doubt> {
    let mut object = scanner.open(b'{')?;
    let mut reads = false;
    while let Some(key) = scanner.key(&mut object)? {
        let value = scanner.value()?;
        if key.raw == "readOnlyHint" {
            reads = matches!(value, Value::Bool(true));
        }
    }
    Ok(reads)
}
